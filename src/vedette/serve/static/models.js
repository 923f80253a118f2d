// The menu of models: those that are served, to look at another; those that lie here, to take the present one's place.

import { stateName } from "./engine.js";
import { onLanguage, t, withCode } from "./strings.js";

export class ModelMenu {
  /** `onLook(name)`: a served model was chosen. `onSwap(name)`: one was that has to be started first. */
  constructor({ root, button, name, popup, list, hint, onLook, onSwap }) {
    Object.assign(this, { button, name, popup, list, hint, onLook, onSwap });
    this.models = [];
    this.maySwap = false;
    this.model = null;
    this.changing = null;
    button.addEventListener("click", () => (popup.hidden ? this.open() : this.close()));
    root.addEventListener("keydown", (event) => this.press(event));
    list.addEventListener("click", (event) => this.choose(event.target.closest("[role=option]")));
    document.addEventListener("pointerdown", (event) => { if (!root.contains(event.target)) this.close(); });
    onLanguage(() => this.show());
  }

  /** What is looked at, and what is about to take its place; null: nothing that is known. */
  update(model, changing) {
    if (model === this.model && changing === this.changing) return;
    Object.assign(this, { model, changing });
    this.show();
    this.refresh();
  }

  async refresh() {
    const answer = await fetch("/api/models").catch(() => null); // the socket says so when vedette is gone
    if (!answer?.ok) return;
    const { models, swap_allowed: maySwap } = await answer.json();
    Object.assign(this, { models, maySwap });
    this.show();
  }

  open() {
    this.popup.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.show();
    (this.options.find((option) => option.dataset.model === this.model) ?? this.options[0])?.focus();
    this.refresh();
  }

  close() {
    this.popup.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  get options() {
    return [...this.list.querySelectorAll("[role=option]")];
  }

  press(event) {
    event.stopPropagation(); // the page's own keys have no meaning here
    const { options } = this;
    const at = options.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: options.length - 1 }[event.key];
    if (event.key === "Tab") this.close();
    if (event.key === "Tab" || (this.popup.hidden && to === undefined)) return;
    if (this.popup.hidden) this.open();
    else if (to !== undefined) options[Math.min(Math.max(to, 0), options.length - 1)]?.focus();
    else if (event.key === "Escape") this.leave();
    else if (at >= 0 && (event.key === "Enter" || event.key === " ")) this.choose(options[at]);
    else return;
    event.preventDefault();
  }

  leave() {
    this.close();
    this.button.focus();
  }

  choose(option) {
    if (!option || option.getAttribute("aria-disabled") === "true") return;
    const model = this.models.find(({ name }) => name === option.dataset.model);
    this.leave();
    if (model.name === this.model) return;
    if (model.serving) this.onLook(model.name);
    else this.onSwap(model.name);
  }

  show() {
    this.button.hidden = !this.model;
    this.name.textContent = this.name.title = this.model ?? "";
    this.button.setAttribute("aria-busy", String(this.changing !== null));
    if (this.popup.hidden) return;
    const focused = document.activeElement?.dataset.model;
    const served = this.models.filter(({ serving }) => serving);
    const others = this.models.filter(({ serving }) => !serving);
    const groups = [this.group(t("served"), served, false)];
    if (others.length) groups.push(this.group(t("installed"), others, this.changing !== null || !this.maySwap));
    this.list.replaceChildren(...groups);
    this.hint.replaceChildren(...withCode(this.aboutOthers(others.length > 0)));
    this.options.find((option) => option.dataset.model === focused)?.focus();
  }

  /** What becomes of a choice among the models that are not served. */
  aboutOthers(thereAreSome) {
    if (this.changing !== null) return t("oneChange", { model: this.changing });
    if (!this.maySwap) return t("swapForbidden");
    return t(thereAreSome ? "takesPlace" : "noOthers", { model: this.model });
  }

  group(title, models, isDisabled) {
    const group = make("div", "group");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", title);
    const head = make("p", "caption", title);
    head.setAttribute("aria-hidden", "true");
    group.append(head, ...models.map((model) => this.option(model, isDisabled)));
    return group;
  }

  option({ name, state, serving, sees }, isDisabled) {
    const option = make("div", "option");
    option.dataset.model = name;
    option.tabIndex = -1;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", String(name === this.model));
    if (isDisabled) {
      option.setAttribute("aria-disabled", "true");
      option.setAttribute("aria-describedby", this.hint.id);
    }
    const standing = serving ? [stateName(state), ...(state === "ready" && !sees ? [t("textOnly")] : [])] : [];
    option.append(make("span", "name", name), make("span", "state", standing.join(" · ")));
    return option;
  }
}

/** The model that the page's address names, or null. */
export function wantedModel() {
  return new URLSearchParams(location.search).get("model");
}

export function wantModel(name) {
  history.replaceState(null, "", `?model=${encodeURIComponent(name)}`);
}

/** Has a model take the place of `replaced`. Returns, once it answers, null; if it will not, the server's error. */
export async function askForSwap(model, replaced) {
  const answer = await fetch("/api/swap", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, replace: replaced }),
  }).catch(() => null); // the socket says so when vedette is gone
  return answer && !answer.ok ? (await answer.json()).error : null;
}

function make(tag, name, text = "") {
  return Object.assign(document.createElement(tag), { className: name, textContent: text });
}
