// The page that asks for a key, and leads on to the live page.

import { closest, find, withCode } from "../shared/dom.js";
import { onLanguage, setLanguage, showLanguage, t, tell } from "../shared/language.js";
import { showKey, showKeyOfAddress } from "../shared/sign_in.js";

const input = find("key", HTMLInputElement);
const fault = find("fault", HTMLElement);
const about = find("about-key", HTMLElement);
/** @type {import("../shared/language.js").Problem | null} */
let problem = null;

function show() {
  about.replaceChildren(...withCode(t("aboutKey")));
  fault.hidden = problem === null;
  fault.replaceChildren(...(problem ? withCode(tell(problem).join(" ")) : []));
}

find("login", HTMLFormElement).addEventListener("submit", async (event) => {
  event.preventDefault();
  problem = await showKey(input.value);
  show();
  if (!problem) location.replace("/");
});
document.addEventListener("click", (event) => {
  const language = closest(event, "button[data-language]")?.dataset.language;
  if (language === "en" || language === "zh") setLanguage(language);
});
onLanguage(show);
showLanguage();
if (await showKeyOfAddress()) location.replace("/");
