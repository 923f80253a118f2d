// How the engine is: the pill in the bar, and a panel with its steps while it comes up or its cause when it failed.

import { PHASES, phaseName, t, told, withCode } from "./strings.js";

const MANY = 1000;
// A start drains nothing; with a change of models, the machine is known and the model lies here.
const [DRAINING, ...START] = PHASES;
const CHANGE = [DRAINING, ...PHASES.slice(PHASES.indexOf("planning"))];

export class EnginePanel {
  constructor(pill, pillText, panel) {
    Object.assign(this, { pill, pillText, panel });
    this.status = null;
    this.connected = false;
    this.asked = null; // the model that this page has asked for, until that is answered
    setInterval(() => this.showTime(), 250);
  }

  /** A status message of the server, or null while there is no connection. */
  update(message) {
    this.connected = message !== null;
    if (message) {
      this.status = message.engine;
      // Elapsed time counts on from the server's clock; the page's own may be wrong.
      this.phaseBegan = performance.now() - (message.now - (message.engine.since ?? message.now)) * 1000;
    }
    this.show();
  }

  get isReady() {
    return this.connected && this.status?.state === "ready";
  }

  /** The model that is about to take this one's place, or null. */
  get changing() {
    const { next_model, model, state } = this.status ?? {};
    return next_model && (next_model !== model || state !== "ready") ? next_model : this.asked;
  }

  show() {
    const { status } = this;
    if (!this.connected) {
      const known = status !== null;
      this.showPill(known ? "lost" : "connecting", t(known ? "lost" : "connecting"));
      if (known) this.showFailure(t("lost"), [t("lostHint")]);
      return;
    }
    const { changing } = this;
    const state = stateName(status.state);
    this.showPill(status.state, changing ? t("changing") : state, status.model);
    if (status.state === "ready") this.panel.hidden = true;
    else if (status.state === "preparing" || status.state === "starting" || changing) this.showSteps(changing);
    else if (status.cause) this.showFailure(t("failedTitle"), told(status.cause));
    else this.showFailure(state, [t("stoppedHint")]);
  }

  /** `model` is shown by its menu; here it is for those who hear the state. */
  showPill(state, text, model = null) {
    if (this.pill.dataset.state === state && this.pillText.dataset.of === `${text} ${model}`) return;
    this.pill.dataset.state = state;
    this.pillText.dataset.of = `${text} ${model}`;
    this.pillText.replaceChildren(text, ...(model ? [line("span", ` · ${model}`, "unseen")] : []));
  }

  showFailure(title, sentences) {
    this.panel.className = "engine bad";
    this.panel.replaceChildren(line("h2", title), ...sentences.map((sentence) => line("p", sentence)));
    this.panel.hidden = false;
  }

  /** `changing`: the model that takes the place of the one before, or null. */
  showSteps(changing) {
    const { phase, detail, done, total, cause, state } = this.status;
    this.panel.className = "engine";
    this.panel.replaceChildren(
      line("h2", changing ? t("changingTo", { model: changing }) : t("comingUp")),
      line("p", t(changing ? "changingHint" : "comingUpHint")),
    );
    if (cause) this.panel.append(line("p", told(cause).join(" ")));
    const steps = document.createElement("ol");
    steps.className = "steps";
    const phases = changing ? CHANGE : START;
    const at = phases.indexOf(phase ?? state);
    phases.forEach((name, index) => {
      const step = document.createElement("li");
      step.className = index < at ? "before" : index === at ? "now" : "later";
      step.append(mark(index < at), line("span", phaseName(name)), line("span", "", "time"));
      if (index === at) {
        step.setAttribute("aria-current", "step");
        if (total) {
          step.append(Object.assign(document.createElement("progress"), { value: done, max: total }));
        }
        if (detail) step.children[1].append(` · ${detail}`);
        this.amount = total ? (total > MANY ? `${Math.floor((100 * done) / total)} % · ` : `${done}/${total} · `) : "";
      }
      steps.append(step);
    });
    this.panel.append(steps);
    this.panel.hidden = false;
    this.showTime();
  }

  showTime() {
    const time = this.panel.querySelector(".now .time");
    if (time) time.textContent = this.amount + elapsed(performance.now() - this.phaseBegan);
  }
}

export function stateName(state) {
  return state === "stopped" ? t("stoppedState") : t(state);
}

function elapsed(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function line(tag, text, name = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.append(...withCode(text));
  return element;
}

function mark(isDone) {
  if (!isDone) return line("span", "", "ring");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#i-check");
  svg.append(use);
  return svg;
}
