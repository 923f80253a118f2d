// A box with a sentence about what went wrong, hidden while there is none.

import { withCode } from "./dom.js";

export class Banner {
  /**
   * @param {HTMLElement} box
   * @param {HTMLElement} text The part of the box that holds the sentence.
   */
  constructor(box, text = box) {
    this.box = box;
    this.text = text;
  }

  /** @param {string} sentence */
  show(sentence) {
    this.text.replaceChildren(...withCode(sentence));
    this.box.hidden = false;
  }

  hide() {
    this.box.hidden = true;
  }
}
