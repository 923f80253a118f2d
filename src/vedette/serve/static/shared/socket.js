// A WebSocket to vedette that connects again by itself when it is lost.

import { logInAgain } from "./sign_in.js";

const FIRST_BACKOFF_MS = 250;
const LONGEST_BACKOFF_MS = 5000;
/** vedette closes a socket with this code when too many pages are open (RFC 6455's registry: try again later). */
const TRY_AGAIN_LATER = 1013;
const FULL_BACKOFF_MS = 15000;

/**
 * @typedef {object} Handlers
 * @property {() => void} onOpen
 * @property {() => void} onLost
 * @property {(text: string) => void} onText
 * @property {(data: ArrayBuffer) => void} onBinary
 */

export class Socket {
  /**
   * Connects at once.
   * @param {string} path
   * @param {string | null} model Which of several served models to talk to; null: the first.
   * @param {Handlers} handlers
   */
  constructor(path, model, handlers) {
    this.path = path;
    this.model = model;
    this.handlers = handlers;
    this.backoffMs = FIRST_BACKOFF_MS;
    this.retry = 0;
    this.socket = this.connect();
  }

  /**
   * Talks to another of the served models.
   * @param {string} model
   */
  switchTo(model) {
    this.model = model;
    clearTimeout(this.retry);
    Object.assign(this.socket, { onopen: null, onmessage: null, onclose: null });
    this.socket.close();
    this.socket = this.connect();
  }

  /** @param {object} message */
  send(message) {
    if (this.isOpen) this.socket.send(JSON.stringify(message));
  }

  /** @param {Uint8Array<ArrayBuffer>} data */
  sendBinary(data) {
    if (this.isOpen) this.socket.send(data);
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const query = this.model === null ? "" : `?model=${encodeURIComponent(this.model)}`;
    const socket = new WebSocket(`${scheme}//${location.host}${this.path}${query}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.backoffMs = FIRST_BACKOFF_MS;
      this.handlers.onOpen();
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.handlers.onText(data);
      else this.handlers.onBinary(data);
    };
    socket.onclose = ({ code }) => {
      this.handlers.onLost();
      logInAgain();
      if (code === TRY_AGAIN_LATER) this.backoffMs = FULL_BACKOFF_MS;
      this.retry = setTimeout(() => {
        this.socket = this.connect();
      }, this.backoffMs);
      this.backoffMs = Math.min(this.backoffMs * 2, LONGEST_BACKOFF_MS);
    };
    return socket;
  }
}
