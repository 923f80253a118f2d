// Which model the page talks to: the page's address names it, and a request to the server changes it.

/** @returns {string | null} The model that the address names. */
export function wantedModel() {
  return new URLSearchParams(location.search).get("model");
}

/** @param {string} name */
export function setWantedModel(name) {
  history.replaceState(null, "", `?model=${encodeURIComponent(name)}`);
}

/**
 * Asks for `model` in the place of `replaced`. Returns once that is done: null, or the error of a server that refuses.
 * @param {string} model
 * @param {string | null} replaced
 * @returns {Promise<import("../shared/language.js").Problem | null>}
 */
export async function swapModel(model, replaced) {
  const answer = await fetch("/api/swap", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, replace: replaced }),
  }).catch(() => null); // the socket reports a lost connection
  return answer && !answer.ok ? (await answer.json()).error : null;
}
