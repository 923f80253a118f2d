// What the live page knows, in one place, and how that changes. No elements and no socket here.
//
// Each method that changes something is one transition. Every view of the state subscribes to it.

/** @typedef {import("./protocol.js").Status} Status */
/** @typedef {"camera" | "file" | "scene"} SourceName */

/** Frames of asks whose answers never begin are forgotten after so many newer ones. */
const FRAMES_KEPT = 4;

export class PageState {
  /** @type {SourceName} */
  source = "camera";
  /** The person has chosen the source or pressed Start: the page no longer chooses by itself. */
  isChosenByHand = false;
  /** The file that is open is a picture, not a video. */
  isStill = false;
  /** Answers are wanted, one after another. */
  isRunning = false;
  /** @type {"page" | "scene" | "none"} Of the last start message. */
  sentSource = "none";
  /** The socket is open and has sent a status. */
  isConnected = false;
  isFirstStatus = true;
  /** @type {Status | null} The last one; it stays when the connection is lost. */
  status = null;
  /** The `performance.now()` at which the engine's phase began. */
  phaseBeganMs = 0;
  /** The model takes pictures; true as long as that is not known. */
  sees = true;
  /** @type {string | null} The model that this page has asked for, until that request is answered. */
  requestedModel = null;
  /** @type {Map<number, Blob>} Frames by the number of their ask, until their answer begins. */
  #frames = new Map();
  /** @type {(() => void)[]} */
  #listeners = [];

  /**
   * Calls `listener` after every transition.
   * @param {() => void} listener
   */
  subscribe(listener) {
    this.#listeners.push(listener);
  }

  get model() {
    return this.status?.engine.model ?? null;
  }

  get isReady() {
    return this.isConnected && this.status?.engine.state === "ready";
  }

  /** Answers are wanted, but the engine cannot give any yet. */
  get isWaiting() {
    return this.isRunning && !this.isReady;
  }

  /** @returns {string | null} The model that is about to replace the served one. */
  get nextModel() {
    const { next_model: next = null, model, state } = this.status?.engine ?? {};
    return next !== null && (next !== model || state !== "ready") ? next : this.requestedModel;
  }

  /** What moves is asked about again and again; a still picture, or no picture at all, once. */
  get isOnce() {
    return !this.sees || (this.source === "file" && this.isStill);
  }

  // ---- The connection ----

  connect() {
    this.isFirstStatus = true;
  }

  disconnect() {
    this.isConnected = false;
    this.#frames.clear();
    this.#notify();
  }

  /**
   * Takes a status. Returns what has to follow: "restart" on a new connection while running, "stop" when the model
   * that is running cannot see what it was asked about, else null.
   * @param {Status} status
   * @returns {"stop" | "restart" | null}
   */
  receiveStatus(status) {
    const isFirst = this.isFirstStatus;
    const { state, since } = status.engine;
    this.status = status;
    this.isConnected = true;
    this.isFirstStatus = false;
    // The elapsed time counts on from the server's clock: the page's own may be wrong.
    this.phaseBeganMs = performance.now() - (status.now - since) * 1000;
    if (state === "ready") this.sees = status.sees;
    this.#notify();
    if (this.isRunning && !this.sees && this.sentSource !== "none") return "stop";
    return this.isRunning && isFirst ? "restart" : null;
  }

  // ---- The run ----

  start() {
    this.isRunning = true;
    this.isChosenByHand = true;
    this.#notify();
  }

  stop() {
    this.isRunning = false;
    this.#notify();
  }

  /** The source for a start message, which is remembered as sent. */
  sendSource() {
    const moving = this.source === "scene" ? "scene" : "page";
    this.sentSource = this.sees ? moving : "none";
    return this.sentSource;
  }

  // ---- The choices ----

  /**
   * @param {SourceName} source
   * @param {boolean} isByHand
   */
  chooseSource(source, isByHand) {
    this.source = source;
    this.isChosenByHand ||= isByHand;
    this.#notify();
  }

  /** @param {boolean} isStill */
  openFile(isStill) {
    this.isStill = isStill;
    this.#notify();
  }

  /** @param {string | null} model */
  requestModel(model) {
    this.requestedModel = model;
    this.#notify();
  }

  // ---- The frames ----

  /**
   * @param {number} id
   * @param {Blob} picture
   */
  keepFrame(id, picture) {
    this.#frames.set(id, picture);
    for (const number of this.#frames.keys()) if (this.#frames.size > FRAMES_KEPT) this.#frames.delete(number);
  }

  /**
   * The frame of an ask whose answer begins; it and all older ones are forgotten.
   * @param {number} id
   */
  takeFrame(id) {
    const picture = this.#frames.get(id) ?? null;
    for (const number of this.#frames.keys()) if (number <= id) this.#frames.delete(number);
    return picture;
  }

  forgetFrames() {
    this.#frames.clear();
  }

  #notify() {
    for (const listener of this.#listeners) listener();
  }
}
