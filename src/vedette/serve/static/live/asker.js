// Asks the server: sends wishes and frames over the live socket, and passes the answers on.

import { tell } from "../shared/language.js";
import { Socket } from "../shared/socket.js";
import { setWantedModel, wantedModel } from "./model_choice.js";
import { decodeFrame, encodeFrame } from "./protocol.js";

/** @typedef {import("./protocol.js").PageMessage} PageMessage */
/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */

export class Asker {
  /**
   * Connects at once.
   * @param {object} parts
   * @param {import("./page_state.js").PageState} parts.state
   * @param {import("./feed.js").Feed} parts.feed
   * @param {import("../shared/banner.js").Banner} parts.fault
   * @param {() => Omit<import("./protocol.js").Start, "type" | "source" | "once">} parts.wish
   * @param {import("./stage.js").Stage} parts.stage
   */
  constructor({ state, feed, fault, wish, stage }) {
    this.state = state;
    this.feed = feed;
    this.fault = fault;
    this.wish = wish;
    this.stage = stage;
    this.socket = new Socket("/api/live", wantedModel(), {
      onOpen: () => state.connect(),
      onLost: () => this.lose(),
      onText: (text) => this.receive(JSON.parse(text)),
      onBinary: (data) => {
        const { id, picture } = decodeFrame(data);
        this.keep(id, picture);
      },
    });
  }

  // ---- What the person does ----

  async start() {
    if (!(await this.stage.makeReady())) return;
    this.fault.hide();
    this.state.start();
    this.sendStart();
  }

  stop() {
    if (!this.state.isRunning) return;
    this.state.stop();
    this.send({ type: "stop" });
  }

  toggle() {
    if (this.state.isRunning) this.stop();
    else this.start();
  }

  /** New wishes count from the next frame on; a single answer has no next frame. */
  changeWish() {
    if (this.state.isRunning && !this.state.isOnce) this.sendStart();
  }

  /**
   * Talks to another of the served models; a run continues with it.
   * @param {string} model
   */
  switchTo(model) {
    setWantedModel(model);
    this.feed.stop();
    this.state.forgetFrames();
    this.socket.switchTo(model);
  }

  // ---- What the server sends ----

  /** @param {ServerMessage} message */
  receive(message) {
    switch (message.type) {
      case "status":
        return this.receiveStatus(message);
      case "ask":
        return this.answerAsk(message.id, message.max_pixels);
      case "begin":
        this.fault.hide();
        return this.feed.begin(message.prompt, this.state.takeFrame(message.id), message.truth, this.state.model);
      case "words":
        return this.feed.add(message);
      case "done":
        return this.feed.finish(message);
      case "stopped":
        this.feed.stop();
        return this.state.stop();
      case "error":
        this.feed.interrupt();
        // While the engine is down its panel tells the cause. A person who has stopped needs no more telling.
        if (message.code === "overloaded" || (this.state.isReady && this.state.isRunning))
          this.fault.show(tell(message).join(" "));
    }
  }

  /** @param {import("./protocol.js").Status} status */
  receiveStatus(status) {
    const before = this.state.isFirstStatus ? null : this.state.model;
    if (this.state.isFirstStatus) this.fault.hide(); // there is room for this page again
    const { model } = status.engine;
    // An address that names a model follows to the one that replaces it.
    if (before && model && model !== before && wantedModel() === before) setWantedModel(model);
    const order = this.state.receiveStatus(status);
    if (order === "stop") this.stop();
    if (order === "restart") this.sendStart();
  }

  lose() {
    this.feed.interrupt();
    this.state.disconnect();
  }

  /**
   * Sends the newest frame of the page's source.
   * @param {number} id
   * @param {number} maxPixels
   */
  async answerAsk(id, maxPixels) {
    const beganMs = performance.now();
    const frame = await this.stage.grab(maxPixels);
    if (!frame) {
      this.send({ type: "no_frame", id });
      return;
    }
    const picture = await frame.blob.arrayBuffer();
    this.keep(id, frame.blob);
    this.socket.sendBinary(encodeFrame(id, performance.now() - beganMs, Math.max(frame.ageMs, 0), picture));
  }

  /**
   * @param {number} id
   * @param {Blob} picture
   */
  keep(id, picture) {
    this.state.keepFrame(id, picture);
    this.stage.flash();
  }

  sendStart() {
    this.send({ type: "start", source: this.state.sendSource(), once: this.state.isOnce, ...this.wish() });
  }

  /** @param {PageMessage} message */
  send(message) {
    this.socket.send(message);
  }
}
