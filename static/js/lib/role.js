/** The role of this page: with the watchers' token it shows everything and changes nothing. */

export const isWatcher = document.documentElement.dataset.role === "watcher";

/** What a button that would change something says of itself then. @type {?string} */
export const WATCHER_REASON = isWatcher ? "Watching only: your token may see everything and change nothing." : null;

/**
 * What to press is told only to whom can press it.
 * @param {string} text that names a button @param {string} otherwise what a watcher is told instead @returns {string}
 */
export function toOperators(text, otherwise = "") {
  return isWatcher ? otherwise : text;
}

/**
 * Disables what would change something, with the reason; the server refuses it in any case.
 * @param {HTMLButtonElement|HTMLInputElement} control
 * @returns {HTMLElement} the same
 */
export function actsOnly(control) {
  if (WATCHER_REASON !== null) {
    control.disabled = true;
    control.title = WATCHER_REASON;
  }
  return control;
}
