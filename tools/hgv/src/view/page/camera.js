// Where the camera is, and the gestures and keys that move it.

const TURN = 0.35; // degrees for each pixel of a drag
const STEP = 5; // degrees for each press of a key
const ZOOM = 1.0015; // factor for each pixel of a wheel

const radians = (degrees) => (degrees * Math.PI) / 180;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class OrbitCamera {
  // `changed` is called after every move.
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.size = [100, 100, 100];
    this.field = 0.5;
    this.orthographic = false;
    this.pointers = new Map();
    canvas.addEventListener('pointerdown', (event) => this.press(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('keydown', (event) => this.key(event));
  }

  // The volume that it looks at: lengths of the sides of its box, and the vertical field of view in radians.
  setVolume(size, field) {
    this.size = size;
    this.field = field;
    this.reset();
  }

  // Shows all of the volume.
  reset() {
    this.target = this.size.map((length) => length / 2);
    this.azimuth = 30;
    this.elevation = 20;
    this.distance = this.fitting();
    this.changed();
  }

  // Distance from which all corners of the box are in the picture.
  fitting() {
    const [right, up, forward] = this.axes();
    const slope = Math.tan(this.field / 2) / 1.08;
    const aspect = this.canvas.clientWidth / Math.max(this.canvas.clientHeight, 1) || 1;
    const along = (corner, axis) => corner.reduce((sum, part, a) => sum + part * axis[a], 0);
    let distance = 1e-3;
    for (let i = 0; i < 8; i++) {
      const corner = this.size.map((length, a) => ((i >> a) & 1 ? length / 2 : -length / 2));
      const aside = Math.max(Math.abs(along(corner, up)), Math.abs(along(corner, right)) / aspect);
      distance = Math.max(distance, aside / slope - along(corner, forward));
    }
    return distance;
  }

  // Right, up and forward.
  axes() {
    const [a, e] = [radians(this.azimuth), radians(this.elevation)];
    const forward = [-Math.cos(e) * Math.sin(a), Math.cos(e) * Math.cos(a), -Math.sin(e)];
    const right = [Math.cos(a), Math.sin(a), 0];
    const up = [-Math.sin(e) * Math.sin(a), Math.sin(e) * Math.cos(a), Math.cos(e)];
    return [right, up, forward];
  }

  turn(azimuth, elevation) {
    this.azimuth = ((this.azimuth + azimuth + 540) % 360) - 180;
    this.elevation = clamp(this.elevation + elevation, -90, 90);
    this.changed();
  }

  // Moves what is seen by so many pixels to the right and down.
  pan(x, y) {
    const [right, up] = this.axes();
    const pixel = (2 * this.distance * Math.tan(this.field / 2)) / Math.max(this.canvas.clientHeight, 1);
    const moved = this.target.map((t, a) => t - pixel * x * right[a] + pixel * y * up[a]);
    // The target stays near the volume, so that it can be found again.
    this.target = moved.map((t, a) => clamp(t, -this.size[a], 2 * this.size[a]));
    this.changed();
  }

  zoom(factor) {
    const largest = Math.max(...this.size);
    this.distance = clamp(this.distance * factor, largest / 500, largest * 50);
    this.changed();
  }

  press(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const pan = event.shiftKey || event.button === 2 || event.button === 1;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, pan });
    event.preventDefault();
  }

  move(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return;
    const before = this.spread();
    const [x, y] = [event.clientX - pointer.x, event.clientY - pointer.y];
    [pointer.x, pointer.y] = [event.clientX, event.clientY];
    if (this.pointers.size > 1) {
      // Each of two fingers moves the middle between them by half.
      this.pan(x / 2, y / 2);
      const after = this.spread();
      if (before > 0 && after > 0) this.zoom(before / after);
    } else if (pointer.pan || event.shiftKey) {
      this.pan(x, y);
    } else {
      this.turn(-x * TURN, y * TURN);
    }
  }

  // Distance between two fingers.
  spread() {
    const [a, b] = [...this.pointers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.zoom(ZOOM ** clamp(pixels, -400, 400));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = event.shiftKey ? (x, y) => this.pan(x * 24, y * 24) : (x, y) => this.turn(x * -STEP, y * STEP);
    const keys = {
      ArrowLeft: () => move(-1, 0),
      ArrowRight: () => move(1, 0),
      ArrowUp: () => move(0, -1),
      ArrowDown: () => move(0, 1),
      '+': () => this.zoom(1 / 1.1),
      '=': () => this.zoom(1 / 1.1),
      '-': () => this.zoom(1.1),
      PageUp: () => this.zoom(1 / 1.3),
      PageDown: () => this.zoom(1.3),
      Home: () => this.reset(),
    };
    const act = keys[event.key];
    if (!act) return;
    act();
    event.preventDefault();
  }

  // The message to the program, for a picture of `size` pixels.
  message(size) {
    const { target, azimuth, elevation, distance, orthographic } = this;
    return { type: 'camera', target, azimuth, elevation, distance, orthographic, size };
  }
}
