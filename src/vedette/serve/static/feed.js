// The answers: newest first, each with the picture that it speaks of, its reasoning apart, its figures below.

import { t, withCode } from "./strings.js";

const KEPT = 60;
const PACE_OVER = 12;

/** One answer on the page. */
class Answer {
  /** `question` is null where it is that of the answer before. */
  constructor(question, picture, truth) {
    this.truth = truth;
    this.content = "";
    this.reasoning = "";
    this.element = make("li", "answer");
    this.element.dataset.state = "streaming";
    if (picture) {
      this.url = URL.createObjectURL(picture);
      this.element.append(Object.assign(new Image(), { src: this.url, alt: t("frameOf") }));
    }
    this.words = make("div", "words");
    this.said = make("p", "said");
    if (question) this.words.append(make("p", "question", question));
    this.words.append(this.said);
    this.element.append(this.words);
  }

  add({ content = "", reasoning = "" }) {
    if (reasoning) {
      if (!this.thoughts) this.openThoughts();
      this.reasoning += reasoning;
      this.thoughts.lastChild.textContent = this.reasoning.trim();
    }
    if (content) {
      if (!this.content && this.thoughts) this.closeThoughts();
      this.content += content;
      this.said.textContent = this.content.trim();
    }
  }

  get isEmpty() {
    return !this.content && !this.reasoning;
  }

  openThoughts() {
    this.thoughts = make("details", "reasoning");
    this.thoughts.open = true;
    this.thoughts.append(make("summary", "", t("thinking")), make("p", ""));
    this.said.before(this.thoughts);
  }

  closeThoughts() {
    this.thoughts.firstChild.textContent = t("thoughts");
    this.thoughts.open = false;
  }

  /** The answer is complete; `figures` as the server counted them. */
  finish(figures) {
    this.element.dataset.state = "done";
    if (this.thoughts) this.closeThoughts();
    if (this.truth !== null) this.showTruth();
    if (figures.finish_reason === "length") {
      this.note(this.content.trim() ? t("cutLength") : t("cutThinking"));
      if (this.thoughts && !this.content.trim()) this.thoughts.open = true;
    }
    const list = make("p", "figures");
    for (const words of figureList(figures)) {
      const figure = make("span");
      figure.append(...words.split("*").map((part, index) => (index % 2 ? make("b", "", part) : part)));
      list.append(figure, " ");
    }
    this.words.append(list);
  }

  /** The answer will never be complete. */
  breakOff(state, sentence) {
    this.element.dataset.state = state;
    if (this.thoughts) this.thoughts.firstChild.textContent = t("thoughts");
    this.note(sentence);
  }

  note(sentence) {
    const note = make("p", "note");
    note.append(...withCode(sentence));
    this.words.append(note);
  }

  showTruth() {
    const same = this.content.trim() === this.truth;
    const line = make("p", same ? "truth same" : "truth");
    line.append(icon(same ? "i-check" : "i-eye"), make("span", "", t("truth", { text: this.truth })));
    this.words.append(line);
  }

  remove() {
    this.element.remove();
    if (this.url) URL.revokeObjectURL(this.url);
  }
}

/** The list of answers. */
export class Feed {
  constructor({ list, empty, spoken, caption, pace, clear }) {
    Object.assign(this, { list, empty, spoken, caption, pace, clearButton: clear });
    this.answers = [];
    this.question = null;
    this.model = null;
    this.current = null;
    this.ends = [];
    clear.addEventListener("click", () => this.clear());
  }

  begin(question, picture, truth, model) {
    const isOthers = this.model !== null && model !== this.model;
    const asked = isOthers ? `${model} · ${question}` : question === this.question ? null : question;
    this.current = new Answer(asked, picture, truth);
    Object.assign(this, { question, model });
    this.answers.unshift(this.current);
    this.list.prepend(this.current.element);
    if (this.answers.length > KEPT) this.answers.pop().remove();
    this.showWhetherEmpty();
  }

  add(words) {
    if (!this.current) return;
    this.current.add(words);
    this.caption.textContent = this.current.content.trim();
  }

  finish(figures) {
    if (!this.current) return;
    this.current.finish(figures);
    this.spoken.textContent = this.current.content;
    this.ends.push({ at: performance.now(), first: figures.first_token_ms });
    this.ends = this.ends.slice(-PACE_OVER);
    this.current = null;
    this.showPace();
  }

  /** The current answer will never be complete; one that the person stopped before its first word just goes. */
  breakOff(state, sentence) {
    if (!this.current) return;
    if (state === "stopped" && this.current.isEmpty) this.answers.shift().remove();
    else this.current.breakOff(state, sentence);
    this.current = null;
    this.showWhetherEmpty();
  }

  /** Forgets the pace: pauses between runs are no answers' time. */
  rest() {
    this.ends = [];
  }

  clear() {
    for (const answer of this.answers) if (answer !== this.current) answer.remove();
    this.answers = this.current ? [this.current] : [];
    this.pace.textContent = this.caption.textContent = "";
    this.question = null;
    this.showWhetherEmpty();
    this.list.focus();
  }

  showWhetherEmpty() {
    this.empty.hidden = this.clearButton.hidden = false;
    (this.answers.length ? this.empty : this.clearButton).hidden = true;
  }

  showPace() {
    if (this.ends.length < 3) return;
    const span = this.ends.at(-1).at - this.ends[0].at;
    const rate = Math.round(((this.ends.length - 1) * 60_000) / span);
    const first = this.ends.map((end) => end.first).sort((a, b) => a - b)[this.ends.length >> 1];
    this.pace.textContent = t("pace", { rate, first: Math.round(first) });
  }
}

/** Figures in words, each number between stars; those that are not known are left out. */
function figureList(figures) {
  return [
    ["frameToRequest", figures.frame_to_request_ms],
    ["firstToken", figures.first_token_ms],
    ["total", figures.total_ms],
    ["count", figures.tokens],
    ["speed", figures.tokens_per_s],
  ].filter(([, value]) => value !== null).map(([key, value]) => t(key, { n: Math.round(value) }));
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}
