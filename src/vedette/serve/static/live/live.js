// The live page: makes its parts and joins them.

import { Banner } from "../shared/banner.js";
import { closest, find } from "../shared/dom.js";
import { onLanguage, setLanguage, showLanguage, t, tell } from "../shared/language.js";
import { showKeyOfAddress } from "../shared/sign_in.js";
import { Asker } from "./asker.js";
import { EnginePanel } from "./engine_panel.js";
import { Feed } from "./feed.js";
import { acceptDrops } from "./file_source.js";
import { swapModel } from "./model_choice.js";
import { ModelMenu } from "./model_menu.js";
import { PageState } from "./page_state.js";
import { QuestionForm } from "./question_form.js";
import { Stage } from "./stage.js";

/** @type {import("./page_state.js").SourceName[]} In the order of their keys: 1, 2, 3. */
const SOURCES = ["camera", "file", "scene"];

await showKeyOfAddress(); // before anything is asked

const empty = find("empty", HTMLElement);
const emptyText = find("empty-text", HTMLElement);
const refusal = new Banner(find("refusal", HTMLElement), find("refusal-text", HTMLElement));

const state = new PageState();
const panel = new EnginePanel(state, {
  pill: find("pill", HTMLElement),
  pillText: find("pill-text", HTMLElement),
  panel: find("engine", HTMLElement),
});
const menu = new ModelMenu({
  onSwitch: (model) => {
    refusal.hide();
    asker.switchTo(model);
  },
  onSwap: swap,
});
const stage = new Stage(state, () => asker.stop());
const form = new QuestionForm(
  state,
  () => asker.toggle(),
  () => asker.changeWish(),
);
const feed = new Feed({
  list: find("answers", HTMLElement),
  empty,
  spoken: find("spoken", HTMLElement),
  caption: stage.caption,
  pace: find("pace", HTMLElement),
  clear: find("clear", HTMLButtonElement),
});
const fault = new Banner(find("fault", HTMLElement));
const asker = new Asker({ state, feed, fault, stage, wish: () => form.wish });

function update() {
  panel.show();
  menu.update(state.model, state.nextModel);
  stage.update();
  form.update();
  emptyText.textContent = t(state.sees ? "empty" : "emptyText");
}

/**
 * Replaces the served model; status messages show the progress.
 * @param {string} model
 */
async function swap(model) {
  refusal.hide();
  state.requestModel(model);
  const error = await swapModel(model, state.model);
  state.requestModel(null);
  if (error) refusal.show(tell(error).join(" "));
}

/** @param {KeyboardEvent} event */
function press(event) {
  const isTaken = closest(event, "input:not([type=radio]), textarea, select, button, summary, a");
  if (isTaken || event.ctrlKey || event.metaKey || event.altKey) return;
  const source = SOURCES[Number(event.key) - 1];
  if (event.key === " ") asker.toggle();
  else if (event.key === "/") form.prompt.focus();
  else if (source && state.sees) stage.choose(source);
  else return;
  event.preventDefault();
}

/** Chooses the scene where there is no camera, unless the person was faster. */
async function chooseFirstSource() {
  stage.choose("camera", false);
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => null)) ?? [];
  if (!state.isChosenByHand && !devices.some(({ kind }) => kind === "videoinput")) stage.choose("scene", false);
}

state.subscribe(update);
onLanguage(() => {
  update();
  stage.show();
});
find("refusal-close", HTMLButtonElement).addEventListener("click", () => refusal.hide());
document.addEventListener("keydown", press);
document.addEventListener("click", (event) => {
  const language = closest(event, "button[data-language]")?.dataset.language;
  if (language === "en" || language === "zh") setLanguage(language);
});
acceptDrops((file) => {
  if (state.sees) stage.openFile(file);
});
showLanguage();
chooseFirstSource();
