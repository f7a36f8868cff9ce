// The connection to the program: words both ways, frames to the page.

const HEAD = 16; // bytes before the file in a frame
const SAVED = 3;
const REPLACED = 4001;
const AGAIN = 2000; // milliseconds until a lost connection is tried again

export class Link {
  // `on` has hello, stats, error, frame(bitmap, {kind, number}), saved(blob), lost(replaced).
  constructor(on) {
    this.on = on;
    this.wanted = new Map();
    this.queue = Promise.resolve();
    this.connect();
  }

  connect() {
    const address = new URL('socket', location.href);
    address.protocol = 'ws:';
    const socket = new WebSocket(address);
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => (typeof data === 'string' ? this.words(JSON.parse(data)) : this.take(data));
    socket.onclose = ({ code }) => {
      if (socket !== this.socket) return;
      this.on.lost(code === REPLACED);
      if (code !== REPLACED) setTimeout(() => this.connect(), AGAIN);
    };
    this.socket = socket;
  }

  words(message) {
    const { type } = message;
    if (type === 'hello') this.on.hello(message);
    if (type === 'stats') this.on.stats(message);
    if (type === 'error') this.on.error(message.message);
  }

  // Frames are shown in the order in which they came; the program sends no third one before the first is.
  take(data) {
    this.queue = this.queue.then(() => this.show(data));
  }

  async show(data) {
    const head = new DataView(data, 0, HEAD);
    const [kind, number] = [head.getUint32(0, true), head.getUint32(4, true)];
    const type = kind === SAVED ? 'image/png' : 'image/jpeg';
    const blob = new Blob([new Uint8Array(data, HEAD)], { type });
    try {
      if (kind === SAVED) {
        this.on.saved(blob);
      } else {
        const bitmap = await createImageBitmap(blob);
        this.on.frame(bitmap, { kind, number });
        bitmap.close();
      }
    } catch (error) {
      this.on.error(`a frame cannot be shown: ${error.message}`);
    }
    this.send({ type: 'shown', frame: number });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Sends `make()` with the next frame of the screen; of several messages of a name only the last.
  soon(name, make) {
    if (this.wanted.size === 0) {
      requestAnimationFrame(() => {
        const all = [...this.wanted.values()];
        this.wanted.clear();
        for (const make of all) this.send(make());
      });
    }
    this.wanted.set(name, make);
  }
}
