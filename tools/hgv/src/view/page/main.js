// Joins the connection, the camera, the controls and the picture.

import { OrbitCamera } from './camera.js';
import { Controls } from './controls.js';
import { Link } from './link.js';
import { TransferEditor, short } from './transfer.js';

const STILL = 2; // kind of a frame that has all pixels
const LARGEST = 2560; // pixels of the longer side of a picture

const find = (id) => document.getElementById(id);
const canvas = find('view');
const context = canvas.getContext('2d', { alpha: false });
const times = [];
let hello = null;

const camera = new OrbitCamera(canvas, () => sendCamera());
const editor = new TransferEditor(
  find('transfer'),
  {
    value: find('point-value'),
    opacity: find('point-opacity'),
    colour: find('point-colour'),
    add: find('point-add'),
    remove: find('point-remove'),
  },
  () => {
    find('preset').value = '';
    controls.look.transfer = editor.get();
    sendLook();
  },
);
const controls = new Controls(() => sendLook());
const link = new Link({ hello: begin, stats: showStats, error: (text) => say(text, true), frame, saved, lost });

function sendCamera() {
  if (hello) link.soon('camera', () => camera.message([canvas.width, canvas.height]));
}

function sendLook() {
  if (hello) link.soon('look', () => ({ type: 'look', ...controls.look }));
}

// The first message of a connection. After a lost one, the page keeps what it shows.
function begin(message) {
  const same = hello && hello.name === message.name && String(hello.extent) === String(message.extent);
  hello = message;
  find('notice').hidden = true;
  say('');
  if (same) {
    controls.look.lod = Math.min(controls.look.lod, message.lods - 1);
    controls.look.level = Math.min(controls.look.level, message.levels - 1);
    sendLook();
    sendCamera();
    return;
  }
  const { name, extent, spacing, range, histogram, field, look, presets, backend } = message;
  document.title = `${name} – hgv view`;
  find('name').textContent = name;
  find('name').title = `${name}: ${extent.join(' x ')} voxels`;
  find('stat-backend').textContent = backend;
  [find('range-low').textContent, find('range-high').textContent] = range.map(short);
  const list = find('preset');
  list.replaceChildren(list.firstElementChild);
  for (const preset of Object.keys(presets)) {
    const option = document.createElement('option');
    option.textContent = option.value = preset;
    list.append(option);
  }
  editor.setVolume(range, histogram);
  controls.setVolume(message);
  setLook(look);
  // Another window may have left another look.
  sendLook();
  resize();
  camera.setVolume(extent.map((n, a) => n * spacing[a]), field);
}

function setLook(look) {
  controls.set(look);
  editor.set(look.transfer);
  const same = Object.entries(hello.presets).find(([, p]) => JSON.stringify(p) === JSON.stringify(look.transfer));
  find('preset').value = same ? same[0] : '';
}

// The canvas has the pixels of the screen, which are those of the picture.
function resize() {
  const ratio = window.devicePixelRatio || 1;
  const longest = Math.max(canvas.clientWidth, canvas.clientHeight, 1) * ratio;
  const scale = ratio * Math.min(1, LARGEST / longest);
  const size = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.max(1, Math.round(n * scale)));
  if (size[0] === canvas.width && size[1] === canvas.height) return;
  // Setting the size clears the canvas: what was shown is kept until the next frame.
  const old = document.createElement('canvas');
  [old.width, old.height] = [canvas.width, canvas.height];
  old.getContext('2d').drawImage(canvas, 0, 0);
  [canvas.width, canvas.height] = size;
  context.drawImage(old, 0, 0, ...size);
  sendCamera();
}

function frame(bitmap, { kind, number }) {
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute('aria-busy', String(kind !== STILL));
  canvas.dataset.frame = number;
  times.push(performance.now());
}

function saved(blob) {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(blob);
  anchor.download = `${hello.name.replace(/\.[^.]*$/, '') || 'picture'}.png`;
  anchor.click();
  // The download has begun by then.
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60000);
  say('The picture was saved.');
}

function bytes(count) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit++;
  }
  return `${unit === 0 ? count : count.toPrecision(3)} ${units[unit]}`;
}

function showStats(stats) {
  find('stat-fetched').textContent = `${bytes(stats.fetched)} in ${stats.requests} requests`;
  const missing = stats.settled ? '' : `, ${stats.missing} pieces missing`;
  find('stat-bricks').textContent = `${stats.shown} of ${stats.bricks} shown${missing}`;
  find('stat-error').textContent = stats.error === 0 ? 'none' : short(stats.error);
  find('stat-size').textContent = `${stats.size.join(' x ')} in ${Math.round(stats.milliseconds)} ms`;
  if (stats.fault) say(`Not all can be read: ${stats.fault}`, true);
}

function showRate() {
  const since = performance.now() - 1000;
  while (times.length > 0 && times[0] < since) times.shift();
  find('stat-rate').textContent = times.length > 1 ? times.length : '–';
}

let silence = 0;
function say(text, bad = false) {
  const status = find('status');
  status.textContent = text;
  status.classList.toggle('bad', bad);
  clearTimeout(silence);
  if (text && !bad) silence = setTimeout(() => say(''), 4000);
}

function lost(replaced) {
  const text = replaced
    ? 'The volume is shown in another window.'
    : 'There is no connection to hgv view. If it still runs, this page will find it again.';
  find('notice-text').textContent = text;
  find('notice-button').textContent = replaced ? 'Show it here' : 'Try now';
  find('notice').hidden = false;
}

function toggleStats() {
  const hidden = (find('stats').hidden = !find('stats').hidden);
  find('stats-button').setAttribute('aria-pressed', String(!hidden));
}

function save() {
  link.send({ type: 'save' });
  say('Drawing the picture to save …');
}

function setOrthographic(on) {
  camera.orthographic = find('orthographic').checked = on;
  sendCamera();
}

find('save').addEventListener('click', save);
find('reset').addEventListener('click', () => camera.reset());
find('help').addEventListener('click', () => find('help-dialog').showModal());
find('stats-button').addEventListener('click', toggleStats);
find('orthographic').addEventListener('input', (event) => setOrthographic(event.target.checked));
find('notice-button').addEventListener('click', () => link.connect());
find('panel-button').addEventListener('click', (event) => {
  const wide = document.querySelector('main').classList.toggle('wide');
  event.currentTarget.setAttribute('aria-expanded', String(!wide));
});
find('reset-look').addEventListener('click', () => {
  setLook(hello.look);
  sendLook();
});
find('preset').addEventListener('input', ({ target }) => {
  const preset = hello.presets[target.value];
  if (!preset) return;
  controls.look.transfer = preset;
  editor.set(preset);
  sendLook();
});
canvas.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    s: save,
    o: () => setOrthographic(!camera.orthographic),
    i: toggleStats,
    '?': () => find('help-dialog').showModal(),
  };
  keys[event.key.toLowerCase()]?.();
});
new ResizeObserver(resize).observe(canvas);
setInterval(showRate, 250);
canvas.focus();
