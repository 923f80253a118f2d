// The menu of models: the served ones, to talk to another, and the installed ones, to replace the current one.

import { closest, find, make, withCode } from "../shared/dom.js";
import { onLanguage, t } from "../shared/language.js";

/** @typedef {import("./protocol.js").State} State */
/**
 * A model of this machine (serve/api/served_models.py).
 * @typedef {object} ListedModel
 * @property {string} name
 * @property {State | "installed"} state
 * @property {boolean} serving
 * @property {boolean | null} sees
 */

export class ModelMenu {
  root = find("standing", HTMLElement);
  button = find("model", HTMLButtonElement);
  name = find("model-name", HTMLElement);
  popup = find("models", HTMLElement);
  list = find("model-list", HTMLElement);
  hint = find("models-hint", HTMLElement);

  /**
   * @param {object} handlers
   * @param {(model: string) => void} handlers.onSwitch A served model was chosen.
   * @param {(model: string) => void} handlers.onSwap A model was chosen that has to be started first.
   */
  constructor({ onSwitch, onSwap }) {
    this.onSwitch = onSwitch;
    this.onSwap = onSwap;
    /** @type {ListedModel[]} */
    this.models = [];
    this.maySwap = false;
    /** @type {string | null} The current one. */
    this.model = null;
    /** @type {string | null} The one that is about to replace it. */
    this.nextModel = null;
    this.button.addEventListener("click", () => (this.popup.hidden ? this.open() : this.close()));
    this.root.addEventListener("keydown", (event) => this.press(event));
    this.list.addEventListener("click", (event) => this.choose(closest(event, "[role=option]")));
    document.addEventListener("pointerdown", (event) => {
      if (!this.root.contains(/** @type {Node} */ (event.target))) this.close();
    });
    onLanguage(() => this.show());
  }

  /**
   * @param {string | null} model
   * @param {string | null} nextModel
   */
  update(model, nextModel) {
    if (model === this.model && nextModel === this.nextModel) return;
    this.model = model;
    this.nextModel = nextModel;
    this.show();
    this.refresh();
  }

  async refresh() {
    const answer = await fetch("/api/models").catch(() => null); // the socket reports a lost connection
    if (!answer?.ok) return;
    const { models, swap_allowed: maySwap } = await answer.json();
    this.models = models;
    this.maySwap = maySwap;
    this.show();
  }

  open() {
    this.popup.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.show();
    (this.optionOf(this.model) ?? this.options[0])?.focus();
    this.refresh();
  }

  close() {
    this.popup.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  /** @returns {HTMLElement[]} */
  get options() {
    return [...this.list.querySelectorAll(/** @type {"div"} */ ("[role=option]"))];
  }

  /** @param {string | null | undefined} model */
  optionOf(model) {
    return this.options.find((option) => option.dataset.model === model);
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    event.stopPropagation(); // the keys of the page mean nothing here
    if (event.key === "Tab") return this.close();
    const { options } = this;
    const at = options.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: options.length - 1 };
    const to = targets[event.key];
    if (this.popup.hidden) {
      if (to === undefined) return;
      this.open();
    } else if (to !== undefined) options[Math.min(Math.max(to, 0), options.length - 1)]?.focus();
    else if (event.key === "Escape") this.leave();
    else if (at >= 0 && (event.key === "Enter" || event.key === " ")) this.choose(options[at]);
    else return;
    event.preventDefault();
  }

  leave() {
    this.close();
    this.button.focus();
  }

  /** @param {HTMLElement | null} option */
  choose(option) {
    if (!option || option.getAttribute("aria-disabled") === "true") return;
    const model = this.models.find(({ name }) => name === option.dataset.model);
    this.leave();
    if (!model || model.name === this.model) return;
    if (model.serving) this.onSwitch(model.name);
    else this.onSwap(model.name);
  }

  show() {
    this.button.hidden = !this.model;
    this.name.textContent = this.model ?? "";
    this.name.title = this.model ?? "";
    this.button.setAttribute("aria-busy", String(this.nextModel !== null));
    if (this.popup.hidden) return;
    const focused = this.options.find((option) => option === document.activeElement);
    const served = this.models.filter(({ serving }) => serving);
    const others = this.models.filter(({ serving }) => !serving);
    const groups = [this.group(t("served"), served, false)];
    if (others.length) groups.push(this.group(t("installed"), others, this.nextModel !== null || !this.maySwap));
    this.list.replaceChildren(...groups);
    this.hint.replaceChildren(...withCode(this.aboutOthers(others.length > 0)));
    if (focused) this.optionOf(focused.dataset.model)?.focus();
  }

  /**
   * What happens when an installed model is chosen.
   * @param {boolean} areThereOthers
   */
  aboutOthers(areThereOthers) {
    if (this.nextModel !== null) return t("oneChange", { model: this.nextModel });
    if (!this.maySwap) return t("swapForbidden");
    return t(areThereOthers ? "replaces" : "noOthers", { model: this.model });
  }

  /**
   * @param {string} title
   * @param {ListedModel[]} models
   * @param {boolean} isDisabled
   */
  group(title, models, isDisabled) {
    const head = make("p", "caption", title);
    head.setAttribute("aria-hidden", "true");
    const group = make("div", "group", head, ...models.map((model) => this.option(model, isDisabled)));
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", title);
    return group;
  }

  /**
   * @param {ListedModel} model
   * @param {boolean} isDisabled
   */
  option({ name, state, sees }, isDisabled) {
    const notes = state === "installed" ? [] : [t(`state_${state}`)];
    if (state === "ready" && !sees) notes.push(t("textOnly"));
    const option = make("div", "option", make("span", "name", name), make("span", "state", notes.join(" · ")));
    option.dataset.model = name;
    option.tabIndex = -1;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", String(name === this.model));
    if (isDisabled) {
      option.setAttribute("aria-disabled", "true");
      option.setAttribute("aria-describedby", this.hint.id);
    }
    return option;
  }
}
