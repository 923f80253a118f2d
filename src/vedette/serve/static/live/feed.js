// The list of answers, newest first.

import { t } from "../shared/language.js";
import { AnswerCard } from "./answer_card.js";

/** @typedef {import("./protocol.js").Done} Done */
/**
 * @typedef {object} FeedElements
 * @property {HTMLElement} list
 * @property {HTMLElement} empty Shown while there is no answer.
 * @property {HTMLElement} spoken Read out by screen readers.
 * @property {HTMLElement} caption The newest answer over the picture, on narrow screens.
 * @property {HTMLElement} pace
 * @property {HTMLButtonElement} clear
 */

const ANSWERS_KEPT = 60;
/** The pace is that of so many answers. */
const PACE_ANSWERS = 12;
const LEAST_PACE_ANSWERS = 3;

export class Feed {
  /** @param {FeedElements} elements */
  constructor(elements) {
    this.elements = elements;
    /** @type {AnswerCard[]} */
    this.answers = [];
    /** @type {AnswerCard | null} */
    this.current = null;
    /** @type {string | null} */
    this.question = null;
    /** @type {string | null} */
    this.model = null;
    /** @type {{ atMs: number, firstTokenMs: number }[]} */
    this.ends = [];
    elements.clear.addEventListener("click", () => this.clear());
  }

  /**
   * @param {string} question
   * @param {Blob | null} picture
   * @param {string | null} truth
   * @param {string | null} model
   */
  begin(question, picture, truth, model) {
    const isRepeated = question === this.question;
    const isOtherModel = this.model !== null && model !== this.model;
    const title = isOtherModel ? `${model} · ${question}` : isRepeated ? null : question;
    this.current = new AnswerCard(title, picture, truth);
    this.question = question;
    this.model = model;
    this.answers.unshift(this.current);
    this.elements.list.prepend(this.current.element);
    if (this.answers.length > ANSWERS_KEPT) this.answers.pop()?.remove();
    this.showWhetherEmpty();
  }

  /** @param {import("./protocol.js").Words} words */
  add(words) {
    if (!this.current) return;
    this.current.add(words);
    this.elements.caption.textContent = this.current.text;
  }

  /** @param {Done} figures */
  finish(figures) {
    if (!this.current) return;
    this.current.finish(figures);
    this.elements.spoken.textContent = this.current.content;
    this.ends.push({ atMs: performance.now(), firstTokenMs: figures.first_token_ms ?? 0 });
    this.ends = this.ends.slice(-PACE_ANSWERS);
    this.current = null;
    this.showPace();
  }

  /** The current answer was interrupted. */
  interrupt() {
    this.current?.breakOff("broken", t("broken"));
    this.end();
  }

  /** The person stopped; an answer without a word yet is taken away. */
  stop() {
    if (this.current?.isEmpty) this.answers.shift()?.remove();
    else this.current?.breakOff("stopped", t("stopped"));
    this.end();
    this.ends = []; // the pause counts in no pace
  }

  end() {
    this.current = null;
    this.showWhetherEmpty();
  }

  clear() {
    for (const answer of this.answers) if (answer !== this.current) answer.remove();
    this.answers = this.current ? [this.current] : [];
    this.elements.pace.textContent = "";
    this.elements.caption.textContent = "";
    this.question = null;
    this.showWhetherEmpty();
    this.elements.list.focus();
  }

  showWhetherEmpty() {
    this.elements.empty.hidden = this.answers.length > 0;
    this.elements.clear.hidden = this.answers.length === 0;
  }

  showPace() {
    if (this.ends.length < LEAST_PACE_ANSWERS) return;
    const spanMs = this.ends[this.ends.length - 1].atMs - this.ends[0].atMs;
    const rate = Math.round(((this.ends.length - 1) * 60_000) / spanMs);
    const firsts = this.ends.map(({ firstTokenMs }) => firstTokenMs).sort((a, b) => a - b);
    this.elements.pace.textContent = t("pace", { rate, first: Math.round(firsts[firsts.length >> 1]) });
  }
}
