// The engine's state: the pill in the header, and a panel with the steps of a start or the cause of a failure.

import { icon, make, withCode } from "../shared/dom.js";
import { t, tell, tellMessage } from "../shared/language.js";

/** @typedef {import("./page_state.js").PageState} PageState */
/** @typedef {import("./protocol.js").EngineStatus} EngineStatus */
/** @typedef {import("./protocol.js").Phase} Phase */

/** @type {Phase[]} In the order in which they happen. */
const PHASES = [
  "detecting_device",
  "choosing_model",
  "fetching_model",
  "installing_engine",
  "planning",
  "launching_engine",
  "loading_weights",
  "profiling",
  "compiling",
  "capturing_graphs",
  "warming_up",
];
/** @type {("draining" | Phase)[]} With a change of models the device is known and the model is on disk. */
const CHANGE_STEPS = ["draining", ...PHASES.slice(PHASES.indexOf("planning"))];
/** Larger totals are bytes, which are shown as a percentage. */
const LARGEST_COUNT = 1000;
const REFRESH_MS = 250;

export class EnginePanel {
  /**
   * @param {PageState} state
   * @param {{ pill: HTMLElement, pillText: HTMLElement, panel: HTMLElement }} elements
   */
  constructor(state, { pill, pillText, panel }) {
    this.state = state;
    this.pill = pill;
    this.pillText = pillText;
    this.panel = panel;
    this.shownPill = "";
    setInterval(() => this.showTime(), REFRESH_MS);
  }

  show() {
    const { status, isConnected, nextModel } = this.state;
    if (!status) {
      this.showPill("connecting", t("connecting"));
      return;
    }
    if (!isConnected) {
      this.showPill("lost", t("lost"));
      this.showFailure(t("lost"), [t("lostHint")]);
      return;
    }
    const { engine } = status;
    const name = t(`state_${engine.state}`);
    this.showPill(engine.state, nextModel === null ? name : t("changing"), engine.model);
    if (engine.state === "ready") this.panel.hidden = true;
    else if (engine.state === "preparing" || engine.state === "starting" || nextModel !== null) this.showSteps(engine);
    else if (engine.cause) this.showFailure(t("engineFailed"), tell(engine.cause));
    else this.showFailure(name, [t("engineStoppedHint")]);
  }

  /**
   * @param {string} state
   * @param {string} text
   * @param {string | null} model For screen readers: the menu beside the pill shows it.
   */
  showPill(state, text, model = null) {
    const shown = [state, text, model].join(" ");
    if (shown === this.shownPill) return; // a screen reader would read it out again
    this.shownPill = shown;
    this.pill.dataset.state = state;
    this.pillText.replaceChildren(text, ...(model === null ? [] : [make("span", "unseen", ` · ${model}`)]));
  }

  /**
   * @param {string} title
   * @param {string[]} sentences
   */
  showFailure(title, sentences) {
    this.panel.className = "engine bad";
    this.panel.replaceChildren(make("h2", "", title), ...sentences.map((each) => make("p", "", ...withCode(each))));
    this.panel.hidden = false;
  }

  /** @param {EngineStatus} engine */
  showSteps(engine) {
    const model = this.state.nextModel;
    this.panel.className = "engine";
    this.panel.replaceChildren(
      make("h2", "", model === null ? t("engineStarting") : t("changingTo", { model })),
      make("p", "", t(model === null ? "engineStartingHint" : "changingHint")),
    );
    if (engine.cause) this.panel.append(make("p", "", ...withCode(tell(engine.cause).join(" "))));
    const steps = model === null ? PHASES : CHANGE_STEPS;
    const at = steps.findIndex((step) => step === (engine.phase ?? engine.state));
    const list = make("ol", "steps");
    list.append(
      ...steps.map((step, index) => (index === at ? currentStep(step, engine) : otherStep(step, index < at))),
    );
    this.panel.append(list);
    this.panel.hidden = false;
    this.showTime();
  }

  showTime() {
    const time = this.panel.querySelector(".now .time");
    const { status, phaseBeganMs } = this.state;
    if (!time || !status) return;
    time.textContent = amount(status.engine) + elapsed(performance.now() - phaseBeganMs);
  }
}

/**
 * @param {"draining" | Phase} step
 * @param {EngineStatus} engine
 */
function currentStep(step, { done, total, detail, detail_message: message }) {
  const line = make("li", "now", make("span", "ring"), make("span", "", t(`phase_${step}`)), make("span", "time"));
  line.setAttribute("aria-current", "step");
  if (total) line.append(Object.assign(make("progress"), { value: done ?? 0, max: total }));
  if (detail && message) line.children[1].append(` · ${tellMessage(message, detail)}`);
  return line;
}

/**
 * @param {"draining" | Phase} step
 * @param {boolean} isDone
 */
function otherStep(step, isDone) {
  const mark = isDone ? icon("check") : make("span", "ring");
  return make("li", isDone ? "before" : "later", mark, make("span", "", t(`phase_${step}`)), make("span", "time"));
}

/** @param {EngineStatus} engine */
function amount({ done, total }) {
  if (!total) return "";
  return total > LARGEST_COUNT ? `${Math.floor((100 * (done ?? 0)) / total)} % · ` : `${done ?? 0}/${total} · `;
}

/** @param {number} ms */
function elapsed(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
