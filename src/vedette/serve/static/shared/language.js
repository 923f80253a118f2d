// The language of the page: which one it is, the page's own words in it, and the server's sentences.

import { hintOf, say } from "./sentence.js";
import { CHINESE, ENGLISH } from "./strings.js";

/** @typedef {"en" | "zh"} Language */
/** @typedef {keyof typeof ENGLISH} Key */
/** @typedef {import("./sentence.js").Message} Message */
/**
 * What the page reads of an error or a cause (serve/documents.py).
 * @typedef {object} Problem
 * @property {string} sentence
 * @property {string | null} hint
 * @property {Message} message
 */

const WORDS = { en: ENGLISH, zh: CHINESE };
const CODES = { en: "en", zh: "zh-Hans" };
const STORED_AS = "language";

/** @type {Language} */
let language = storedLanguage() ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
/** @type {Partial<Record<Language, import("./sentence.js").Table>>} The server's sentences, where loaded. */
const tables = {};
/** @type {(() => void)[]} */
const listeners = [];

export function getLanguage() {
  return language;
}

/**
 * The page's words for `key`, with {names} filled in.
 * @param {Key} key
 * @param {Record<string, string | number | null>} [values]
 */
export function t(key, values = {}) {
  return WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * An error or a cause as [sentence, hint]; in English where its code is not in the table of the language.
 * @param {Problem} problem
 */
export function tell({ sentence, hint, message }) {
  const table = tables[language];
  if (!table) return [sentence, hint ?? ""];
  try {
    return [say(message, table, language), hintOf(message, table, language)];
  } catch {
    return [sentence, hint ?? ""]; // from a vedette of another version than the table
  }
}

/**
 * The sentence of a message; `english` where its code is not in the table of the language.
 * @param {Message} message
 * @param {string} english
 */
export function tellMessage(message, english) {
  return tell({ sentence: english, hint: null, message })[0];
}

/**
 * Shows the page in another language, and remembers that.
 * @param {Language} name
 */
export function setLanguage(name) {
  language = name;
  try {
    localStorage.setItem(STORED_AS, name);
  } catch {
    // A browser that stores nothing for pages.
  }
  showLanguage();
}

/**
 * Calls `listener` whenever words have changed.
 * @param {() => void} listener
 */
export function onLanguage(listener) {
  listeners.push(listener);
}

/** Puts the words into everything marked with data-t…, and again once the server's sentences have come. */
export async function showLanguage() {
  document.documentElement.lang = CODES[language];
  for (const element of marked("t")) element.textContent = t(keyOf(element.dataset.t));
  for (const element of marked("t-label")) element.setAttribute("aria-label", t(keyOf(element.dataset.tLabel)));
  for (const element of marked("t-placeholder")) {
    element.setAttribute("placeholder", t(keyOf(element.dataset.tPlaceholder)));
  }
  for (const button of marked("language")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  notify();
  if (await loadTable(language)) notify();
}

function notify() {
  for (const listener of listeners) listener();
}

/**
 * Loads the server's sentences where they are not here yet; says whether they came just now.
 * @param {Language} name
 */
async function loadTable(name) {
  if (name === "en" || tables[name]) return false; // the server's messages have their English beside them
  const answer = await fetch(`/api/language/${name}`).catch(() => null);
  if (!answer?.ok) return false;
  tables[name] = await answer.json();
  return true;
}

/**
 * @param {string} name
 * @returns {NodeListOf<HTMLElement>}
 */
function marked(name) {
  return document.querySelectorAll(`[data-${name}]`);
}

/** @param {string | undefined} name */
function keyOf(name) {
  return /** @type {Key} */ (name); // a test compares the page's with those of the table
}

/** @returns {Language | null} The language chosen on an earlier visit. */
function storedLanguage() {
  try {
    const name = localStorage.getItem(STORED_AS);
    return name === "en" || name === "zh" ? name : null;
  } catch {
    return null;
  }
}
