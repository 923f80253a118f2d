// What is asked: the question, the ready-made questions, and how long and how thoughtful an answer may be.

import { find, make, setIcon } from "../shared/dom.js";
import { onLanguage, t } from "../shared/language.js";
import { readyQuestions } from "./ready_questions.js";

const SHORTEST_ANSWER_TOKENS = 8;
const FIRST_ANSWER_TOKENS = 256;
/** A person who types is done after this pause. */
const TYPING_PAUSE_MS = 400;

export class QuestionForm {
  prompt = find("prompt", HTMLTextAreaElement);
  system = find("system", HTMLTextAreaElement);
  presets = find("presets", HTMLElement);
  go = find("go", HTMLButtonElement);
  goText = find("go-text", HTMLElement);
  think = find("think", HTMLInputElement);
  thinkRow = find("think-row", HTMLElement);
  length = find("length", HTMLInputElement);
  lengthText = find("length-text", HTMLOutputElement);
  keys = find("keys", HTMLElement);

  /**
   * @param {import("./page_state.js").PageState} state
   * @param {() => void} onGo The start and stop button was pressed.
   * @param {() => void} onChange The person has changed a wish.
   */
  constructor(state, onGo, onChange) {
    this.state = state;
    this.onChange = onChange;
    /** @type {string | null} */
    this.presetsOf = null;
    /** @type {number | null} */
    this.mostTokens = null;
    this.typing = 0;
    this.go.addEventListener("click", onGo);
    this.prompt.addEventListener("input", () => {
      this.markPreset();
      this.noteChange();
    });
    this.system.addEventListener("input", () => this.noteChange());
    this.think.addEventListener("change", () => this.noteChange());
    this.length.addEventListener("input", () => {
      this.showLength();
      this.noteChange();
    });
    onLanguage(() => {
      this.showPresets();
      this.showLength();
      this.showKeys();
    });
  }

  /** What the person wishes, as a start message has it. */
  get wish() {
    return {
      prompt: this.prompt.value,
      system: this.system.value,
      max_tokens: Number(this.length.value),
      thinking: this.think.checked,
    };
  }

  noteChange() {
    clearTimeout(this.typing);
    this.typing = setTimeout(this.onChange, TYPING_PAUSE_MS);
  }

  /** Shows what has changed in the state. */
  update() {
    const { isRunning, isWaiting, isOnce, status, model } = this.state;
    this.go.dataset.running = String(isRunning);
    setIcon(this.go, isRunning ? "stop" : "play");
    this.goText.textContent = t(isWaiting ? "stopWaiting" : isRunning ? "stop" : isOnce ? "ask" : "start");
    if (!status) return;
    this.thinkRow.hidden = !status.thinks;
    if (model !== this.presetsOf) this.showPresets();
    if (status.limits) this.setMostTokens(status.limits.answer_tokens);
  }

  /** @param {number} tokens */
  setMostTokens(tokens) {
    if (tokens === this.mostTokens) return;
    this.mostTokens = tokens;
    this.length.min = String(Math.min(SHORTEST_ANSWER_TOKENS, tokens));
    this.length.max = String(tokens);
    this.length.step = "1";
    this.length.value = String(Math.min(tokens, FIRST_ANSWER_TOKENS));
    this.showLength();
  }

  showLength() {
    this.lengthText.textContent = t("tokens", { n: this.length.value });
  }

  showPresets() {
    this.presetsOf = this.state.model;
    const all = readyQuestions(this.presetsOf);
    if (!this.prompt.value) this.prompt.value = all[0][1];
    this.presets.replaceChildren(...all.map(([label, question]) => this.presetButton(label, question)));
    this.markPreset();
  }

  /**
   * @param {string} label
   * @param {string} question
   */
  presetButton(label, question) {
    const button = Object.assign(make("button", "", label), { type: "button", title: question });
    button.addEventListener("click", () => {
      this.prompt.value = question;
      this.markPreset();
      this.noteChange();
    });
    return button;
  }

  markPreset() {
    for (const button of this.presets.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.title === this.prompt.value));
    }
  }

  showKeys() {
    /** @type {Record<string, string[]>} */
    const names = { "{space}": [t("space")], "{slash}": ["/"], "{digits}": ["1", "2", "3"] };
    const parts = t("keys", { space: "{space}", slash: "{slash}", digits: "{digits}" }).split(/(\{\w+\})/);
    this.keys.replaceChildren(
      ...parts.flatMap((part) => names[part]?.map((/** @type {string} */ name) => make("kbd", "", name)) ?? [part]),
    );
  }
}
