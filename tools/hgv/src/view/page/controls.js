// The controls beside the curve: mode, light, box, detail, background.

import { fromHex, short, toHex } from './transfer.js';

const LIGHT = ['azimuth', 'elevation', 'ambient', 'diffuse', 'specular'];
const AXES = ['x', 'y', 'z'];

const find = (id) => document.getElementById(id);

function option(select, value, text) {
  const element = document.createElement('option');
  element.value = value;
  element.textContent = text;
  select.append(element);
}

export class Controls {
  // `changed` is called after every change.
  constructor(changed) {
    this.changed = changed;
    this.look = null;
    const panel = find('panel');
    panel.addEventListener('submit', (event) => event.preventDefault());
    for (const id of ['mode', 'surface', 'background', 'lod', 'level', ...LIGHT.map((name) => `light-${name}`)]) {
      find(id).addEventListener('input', () => this.read());
    }
    this.sides = AXES.map((axis, a) => this.pair(axis, a));
  }

  // Two sliders for the box along an axis.
  pair(axis, a) {
    const row = document.createElement('div');
    row.className = 'pair';
    const name = document.createElement('span');
    name.textContent = axis;
    const sliders = ['from', 'to'].map((word) => {
      const slider = document.createElement('input');
      slider.type = 'range';
      slider.id = `clip-${axis}-${word}`;
      slider.setAttribute('aria-label', `Box along ${axis}, ${word}`);
      slider.addEventListener('input', () => this.clip(a, slider));
      return slider;
    });
    const output = document.createElement('output');
    row.append(name, ...sliders, output);
    find('clip').append(row);
    return { sliders, output };
  }

  // At least one voxel stays between the sides.
  clip(a, moved) {
    const [from, to] = this.sides[a].sliders;
    if (from.valueAsNumber >= to.valueAsNumber) {
      if (moved === from) from.value = to.valueAsNumber - 1;
      else to.value = from.valueAsNumber + 1;
    }
    this.read();
  }

  setVolume({ extent, range, lods, levels }) {
    this.extent = extent;
    this.sides.forEach(({ sliders }, a) => {
      for (const slider of sliders) [slider.min, slider.max, slider.step] = [0, extent[a], 1];
    });
    const surface = find('surface');
    [surface.min, surface.max, surface.step] = [...range, (range[1] - range[0]) / 500];
    surface.value = (range[0] + range[1]) / 2;
    for (const id of ['lod', 'level']) find(id).replaceChildren();
    for (let lod = 0; lod < lods; lod++) option(find('lod'), lod, lod === 0 ? 'full' : `1/${2 ** lod} of each side`);
    for (let level = levels - 1; level >= 0; level--) {
      option(find('level'), level, level === levels - 1 ? `level ${level} (best)` : `level ${level}`);
    }
    find('lod').disabled = lods < 2;
    find('level').disabled = levels < 2;
    find('detail').open = lods > 1 || levels > 1;
  }

  // Shows a look, all but its transfer function.
  set(look) {
    this.look = structuredClone(look);
    const { mode, lighting, clip, background, lod, level } = look;
    find('mode').value = typeof mode === 'string' ? mode : 'surface';
    if (typeof mode !== 'string') find('surface').value = mode.surface;
    for (const name of LIGHT) find(`light-${name}`).value = lighting[name];
    this.sides.forEach(({ sliders }, a) => sliders.forEach((slider, i) => (slider.value = clip[i][a])));
    find('background').value = toHex(background);
    find('lod').value = lod;
    find('level').value = level;
    this.label();
  }

  read() {
    if (!this.look) return;
    const mode = find('mode').value;
    this.look.mode = mode === 'surface' ? { surface: find('surface').valueAsNumber } : mode;
    for (const name of LIGHT) this.look.lighting[name] = find(`light-${name}`).valueAsNumber;
    this.look.clip = [0, 1].map((i) => this.sides.map(({ sliders }) => sliders[i].valueAsNumber));
    this.look.background = fromHex(find('background').value);
    this.look.lod = Number(find('lod').value);
    this.look.level = Number(find('level').value);
    this.label();
    this.changed();
  }

  label() {
    find('surface-row').hidden = find('mode').value !== 'surface';
    for (const id of ['surface', ...LIGHT.map((name) => `light-${name}`)]) {
      const output = document.querySelector(`output[for="${id}"]`);
      const degrees = /azimuth|elevation/.test(id) ? '°' : '';
      output.textContent = short(find(id).valueAsNumber) + degrees;
    }
    for (const { sliders, output } of this.sides) {
      output.textContent = sliders.map((slider) => slider.value).join(' – ');
    }
  }
}
