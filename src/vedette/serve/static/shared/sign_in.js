// Shows a key to the server, which gives the browser a cookie for it.

/**
 * Returns null once the key is accepted, or the error of a server that refuses it.
 * @param {string} key
 * @returns {Promise<import("./language.js").Problem | null>}
 */
export async function showKey(key) {
  const answer = await fetch("/api/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ key }),
  });
  return answer.ok ? null : (await answer.json()).error;
}

/** Leads to the login page if the server asks for a key by now: one was revoked, or a cookie has expired. */
export async function logInAgain() {
  const answer = await fetch("/api/models").catch(() => null);
  if (answer?.status === 401) location.replace("/login");
}

/**
 * Shows the key in the part of the page's address after #, as of `vedette open`, and takes it out of the address.
 * Returns whether there was one and it was accepted.
 */
export async function showKeyOfAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return false;
  history.replaceState(null, "", location.pathname + location.search);
  return (await showKey(key).catch(() => "no answer")) === null;
}
