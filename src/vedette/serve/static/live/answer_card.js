// One answer on the page: its frame, its text, its reasoning apart, and its figures.

import { icon, make, withCode } from "../shared/dom.js";
import { t } from "../shared/language.js";

/** @typedef {import("./protocol.js").Done} Done */

export class AnswerCard {
  /**
   * @param {string | null} question Null where it is that of the answer before.
   * @param {Blob | null} picture
   * @param {string | null} truth What the scene really shows.
   */
  constructor(question, picture, truth) {
    this.truth = truth;
    this.content = "";
    this.reasoning = "";
    this.url = "";
    /** @type {{ box: HTMLDetailsElement, title: HTMLElement, text: HTMLElement } | null} */
    this.thoughts = null;
    this.element = make("li", "answer");
    this.element.dataset.state = "streaming";
    if (picture) {
      this.url = URL.createObjectURL(picture);
      this.element.append(Object.assign(new Image(), { src: this.url, alt: t("frameOf") }));
    }
    this.said = make("p", "said");
    this.words = make("div", "words");
    if (question) this.words.append(make("p", "question", question));
    this.words.append(this.said);
    this.element.append(this.words);
  }

  get isEmpty() {
    return !this.content && !this.reasoning;
  }

  get text() {
    return this.content.trim();
  }

  /** @param {import("./protocol.js").Words} words */
  add({ content = "", reasoning = "" }) {
    if (reasoning) {
      this.thoughts ??= this.openThoughts();
      this.reasoning += reasoning;
      this.thoughts.text.textContent = this.reasoning.trim();
    }
    if (content) {
      if (!this.content) this.closeThoughts();
      this.content += content;
      this.said.textContent = this.text;
    }
  }

  openThoughts() {
    const title = make("summary", "", t("thinking"));
    const text = make("p");
    const box = make("details", "reasoning", title, text);
    box.open = true;
    this.said.before(box);
    return { box, title, text };
  }

  closeThoughts() {
    if (!this.thoughts) return;
    this.thoughts.title.textContent = t("thoughts");
    this.thoughts.box.open = false;
  }

  /**
   * Shows the answer as complete.
   * @param {Done} figures
   */
  finish(figures) {
    this.element.dataset.state = "done";
    this.closeThoughts();
    if (this.truth !== null) this.showTruth(this.truth);
    if (figures.finish_reason === "length") {
      this.addNote(t(this.text ? "cutLength" : "cutThinking"));
      if (this.thoughts && !this.text) this.thoughts.box.open = true;
    }
    this.words.append(make("p", "figures", ...figureList(figures)));
  }

  /**
   * Shows that the answer will never be complete.
   * @param {"stopped" | "broken"} state
   * @param {string} sentence
   */
  breakOff(state, sentence) {
    this.element.dataset.state = state;
    if (this.thoughts) this.thoughts.title.textContent = t("thoughts");
    this.addNote(sentence);
  }

  /** @param {string} sentence */
  addNote(sentence) {
    this.words.append(make("p", "note", ...withCode(sentence)));
  }

  /** @param {string} truth */
  showTruth(truth) {
    const isSame = this.text === truth;
    const text = make("span", "", t("truth", { text: truth }));
    this.words.append(make("p", isSame ? "truth same" : "truth", icon(isSame ? "check" : "eye"), text));
  }

  remove() {
    this.element.remove();
    if (this.url) URL.revokeObjectURL(this.url);
  }
}

/**
 * The figures in words, with the numbers emphasized. Unknown ones are left out.
 * @param {Done} figures
 */
function figureList(figures) {
  /** @type {[import("../shared/language.js").Key, number | null][]} */
  const all = [
    ["frameToRequest", figures.frame_to_request_ms],
    ["firstToken", figures.first_token_ms],
    ["total", figures.total_ms],
    ["count", figures.tokens],
    ["speed", figures.tokens_per_s],
  ];
  return all.flatMap(([key, value]) => {
    if (value === null) return [];
    const parts = t(key, { n: Math.round(value) }).split("*");
    return [make("span", "", ...parts.map((part, index) => (index % 2 ? make("b", "", part) : part))), " "];
  });
}
