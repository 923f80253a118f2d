// The live socket: connects, connects again when it is lost, and speaks the words of serve/messages.py.

const HEADER_BYTES = 12;
const LONGEST_PAUSE_MS = 5000;

export class LiveSocket {
  /**
   * `handlers`: open(), lost(), frame(id, blob), and one for each type of message. `model`: which of several served
   * ones to look at; null: the first.
   */
  constructor(handlers, model) {
    this.handlers = handlers;
    this.model = model;
    this.pause = 250;
    this.connect();
  }

  /** Looks at another of several served models. */
  look(model) {
    this.model = model;
    clearTimeout(this.waiting);
    Object.assign(this.socket, { onopen: null, onmessage: null, onclose: null });
    this.socket.close();
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const query = this.model === null ? "" : `?model=${encodeURIComponent(this.model)}`;
    const socket = new WebSocket(`${scheme}//${location.host}/api/live${query}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.pause = 250;
      this.handlers.open();
    };
    socket.onmessage = ({ data }) => this.receive(data);
    socket.onclose = () => {
      this.handlers.lost();
      this.waiting = setTimeout(() => this.connect(), this.pause);
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
    };
    this.socket = socket;
  }

  receive(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      this.handlers[message.type]?.(message);
    } else {
      const id = new DataView(data).getUint32(0);
      this.handlers.frame(id, new Blob([data.slice(HEADER_BYTES)], { type: "image/jpeg" }));
    }
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** A frame for ask `id`: how long the ask was held and how old the picture is by now, both in ms. */
  sendFrame(id, heldMs, ageMs, picture) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(HEADER_BYTES + picture.byteLength);
    const header = new DataView(message.buffer);
    header.setUint32(0, id);
    header.setUint32(4, Math.round(heldMs * 1000));
    header.setUint32(8, Math.round(ageMs * 1000));
    message.set(new Uint8Array(picture), HEADER_BYTES);
    this.socket.send(message);
  }
}
