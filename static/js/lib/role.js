/** Whether this page was let in with the watchers' token: it shows everything and changes nothing. */

export const isWatching = document.documentElement.dataset.role === "watcher";

/** What a button that would change something says of itself then. @type {?string} */
export const WATCHING = isWatching ? "Watching only: your token may see everything and change nothing." : null;

/**
 * Disables what would change something, with the reason; the server refuses it in any case.
 * @param {HTMLButtonElement|HTMLInputElement} control
 * @returns {HTMLElement} the same
 */
export function actsOnly(control) {
  if (WATCHING !== null) {
    control.disabled = true;
    control.title = WATCHING;
  }
  return control;
}
