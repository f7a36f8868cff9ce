// The editor of opacity and colour: a curve over the histogram whose points can be moved.

const [WIDTH, HEIGHT, EDGE] = [320, 150, 10];
const NAMESPACE = 'http://www.w3.org/2000/svg';

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const between = (a, b, t) => a + (b - a) * t;

export const toHex = (rgb) =>
  '#' + rgb.map((c) => Math.round(clamp(c, 0, 1) * 255).toString(16).padStart(2, '0')).join('');
export const fromHex = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);

// A number with about four digits that matter.
export const short = (value) => String(Number(value.toPrecision(4)));

// What a list of points has at a value: constant outside of them.
function at(points, value, of) {
  const behind = points.findIndex((p) => p.value > value);
  if (behind === 0) return of(points[0]);
  if (behind < 0) return of(points[points.length - 1]);
  const [a, b] = [points[behind - 1], points[behind]];
  const t = (value - a.value) / (b.value - a.value);
  const [from, to] = [of(a), of(b)];
  return Array.isArray(from) ? from.map((c, i) => between(c, to[i], t)) : between(from, to, t);
}

function shape(name, attributes, parent) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

export class TransferEditor {
  // `changed` is called after every edit.
  constructor(svg, fields, changed) {
    this.svg = svg;
    this.fields = fields;
    this.changed = changed;
    this.points = [];
    this.selected = 0;
    this.range = [0, 1];
    svg.addEventListener('dblclick', (event) => this.addAt(event));
    fields.value.addEventListener('change', () => this.edit({ value: fields.value.valueAsNumber }));
    fields.opacity.addEventListener('input', () => this.edit({ opacity: fields.opacity.valueAsNumber }));
    fields.colour.addEventListener('input', () => this.edit({ rgb: fromHex(fields.colour.value) }));
    fields.add.addEventListener('click', () => this.addBeside(this.selected));
    fields.remove.addEventListener('click', () => this.remove(this.selected));
  }

  setVolume(range, histogram) {
    this.range = range;
    this.handles = null;
    const most = Math.max(...histogram, 1);
    const bar = (count, i) => {
      const x = EDGE + (i * (WIDTH - 2 * EDGE)) / histogram.length;
      // Logarithmic: air is a thousand times as frequent as what is looked for.
      return `${x},${HEIGHT - (Math.log1p(count) / Math.log1p(most)) * (HEIGHT - 2 * EDGE)}`;
    };
    this.bars = `${EDGE},${HEIGHT} ${histogram.map(bar).join(' ')} ${WIDTH - EDGE},${HEIGHT}`;
  }

  // Shows a transfer function.
  set({ opacity, colour }) {
    const values = [...new Set([...opacity, ...colour].map((p) => p.value))].sort((a, b) => a - b);
    this.points = values.map((value) => ({
      value,
      opacity: at(opacity, value, (p) => p.opacity),
      rgb: at(colour, value, (p) => p.rgb),
    }));
    this.selected = clamp(this.selected, 0, this.points.length - 1);
    this.draw();
  }

  // The transfer function that is shown.
  get() {
    return {
      opacity: this.points.map(({ value, opacity }) => ({ value, opacity })),
      colour: this.points.map(({ value, rgb }) => ({ value, rgb })),
    };
  }

  // Small opacities matter most: the axis is that of their square root.
  place({ value, opacity }) {
    const [low, high] = this.range;
    const x = EDGE + ((value - low) / (high - low)) * (WIDTH - 2 * EDGE);
    return [clamp(x, EDGE, WIDTH - EDGE), HEIGHT - EDGE - Math.sqrt(opacity) * (HEIGHT - 2 * EDGE)];
  }

  // Value and opacity under a pointer.
  under(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const y = ((event.clientY - box.top) / box.height) * HEIGHT;
    const [low, high] = this.range;
    const value = between(low, high, clamp((x - EDGE) / (WIDTH - 2 * EDGE), 0, 1));
    return { value, opacity: clamp((HEIGHT - EDGE - y) / (HEIGHT - 2 * EDGE), 0, 1) ** 2 };
  }

  // Changes the selected point; it stays between its neighbours.
  edit(change) {
    const point = this.points[this.selected];
    const next = { ...point, ...change };
    if (!point || ![next.value, next.opacity].every(Number.isFinite)) return;
    const before = this.points[this.selected - 1]?.value ?? -Infinity;
    const after = this.points[this.selected + 1]?.value ?? Infinity;
    next.value = clamp(next.value, before, after);
    next.opacity = clamp(next.opacity, 0, 1);
    this.points[this.selected] = next;
    this.draw();
    this.changed();
  }

  addAt(event) {
    if (event.target.closest('.handle')) return;
    this.add(this.under(event));
  }

  // Adds a point in the middle between one and the next.
  addBeside(index) {
    const last = index >= this.points.length - 1;
    const [a, b] = last ? [this.points[index - 1], this.points[index]] : [this.points[index], this.points[index + 1]];
    const value = a && b ? between(a.value, b.value, 0.5) : between(...this.range, 0.5);
    this.add({ value, opacity: at(this.points, value, (p) => p.opacity) });
  }

  add({ value, opacity }) {
    const rgb = at(this.points, value, (p) => p.rgb);
    const behind = this.points.findIndex((p) => p.value > value);
    this.selected = behind < 0 ? this.points.length : behind;
    this.points.splice(this.selected, 0, { value, opacity, rgb });
    this.draw(true);
    this.changed();
  }

  remove(index) {
    if (this.points.length < 2) return;
    this.points.splice(index, 1);
    this.selected = clamp(index, 0, this.points.length - 1);
    this.draw(true);
    this.changed();
  }

  select(index) {
    this.selected = index;
    this.draw();
  }

  key(event, index) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    this.selected = index;
    const far = event.shiftKey ? 10 : 1;
    const { value, opacity } = this.points[index];
    const width = ((this.range[1] - this.range[0]) / 200) * far;
    const height = (sign) => clamp(Math.sqrt(opacity) + sign * 0.02 * far, 0, 1) ** 2;
    const keys = {
      ArrowLeft: () => this.edit({ value: value - width }),
      ArrowRight: () => this.edit({ value: value + width }),
      ArrowUp: () => this.edit({ opacity: height(1) }),
      ArrowDown: () => this.edit({ opacity: height(-1) }),
      Insert: () => this.addBeside(index),
      '+': () => this.addBeside(index),
      Delete: () => this.remove(index),
      Backspace: () => this.remove(index),
    };
    const act = keys[event.key];
    if (!act) return;
    act();
    event.preventDefault();
  }

  draw(focus = false) {
    if (!this.handles || this.handles.length !== this.points.length) this.build();
    const places = this.points.map((p) => this.place(p));
    const [first, last] = [places[0], places[places.length - 1]];
    const line = [[EDGE, first[1]], ...places, [WIDTH - EDGE, last[1]]].map((p) => p.join(',')).join(' ');
    this.curve.setAttribute('points', line);
    this.area.setAttribute('points', `${EDGE},${HEIGHT - EDGE} ${line} ${WIDTH - EDGE},${HEIGHT - EDGE}`);
    this.points.forEach((point, i) => {
      const [x, y] = places[i];
      const handle = this.handles[i];
      handle.setAttribute('transform', `translate(${x} ${y})`);
      handle.setAttribute('aria-valuenow', short(point.opacity));
      handle.setAttribute('aria-valuetext', `value ${short(point.value)}, opacity ${short(point.opacity)}`);
      handle.classList.toggle('selected', i === this.selected);
      handle.querySelector('.dot').setAttribute('fill', toHex(point.rgb));
      const stop = this.stops[i];
      stop.setAttribute('offset', (x - EDGE) / (WIDTH - 2 * EDGE));
      stop.setAttribute('stop-color', toHex(point.rgb));
    });
    this.show();
    if (focus) this.handles[this.selected].focus();
  }

  // The fields of the selected point; one that is typed into is left alone.
  show() {
    const { value, opacity, rgb } = this.points[this.selected];
    const { fields } = this;
    if (document.activeElement !== fields.value) fields.value.value = short(value);
    if (document.activeElement !== fields.opacity) fields.opacity.value = short(opacity);
    fields.colour.value = toHex(rgb);
    fields.remove.disabled = this.points.length < 2;
  }

  build() {
    const { svg } = this;
    svg.replaceChildren();
    const gradient = shape('linearGradient', { id: 'colours', gradientUnits: 'userSpaceOnUse', x1: EDGE, x2: WIDTH - EDGE }, shape('defs', {}, svg));
    this.stops = this.points.map(() => shape('stop', {}, gradient));
    this.area = shape('polygon', { fill: 'url(#colours)', 'fill-opacity': 0.75 }, svg);
    shape('polygon', { class: 'bars', points: this.bars ?? '' }, svg);
    this.curve = shape('polyline', { class: 'curve' }, svg);
    this.handles = this.points.map((_, i) => this.handle(i));
  }

  handle(index) {
    const group = shape('g', {
      class: 'handle', tabindex: 0, role: 'slider', 'aria-label': `Point ${index + 1}`,
      'aria-valuemin': 0, 'aria-valuemax': 1, 'aria-orientation': 'vertical',
    }, this.svg);
    shape('circle', { class: 'grip', r: 15 }, group);
    shape('circle', { class: 'ring', r: 10 }, group);
    shape('circle', { class: 'dot', r: 6 }, group);
    group.addEventListener('focus', () => this.select(index));
    group.addEventListener('keydown', (event) => this.key(event, index));
    group.addEventListener('pointerdown', (event) => {
      group.setPointerCapture(event.pointerId);
      group.focus();
      event.preventDefault();
    });
    group.addEventListener('pointermove', (event) => {
      if (!group.hasPointerCapture(event.pointerId)) return;
      this.selected = index;
      this.edit(this.under(event));
    });
    return group;
  }
}
