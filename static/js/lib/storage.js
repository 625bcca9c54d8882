/** What a browser stores for the page. One that refuses storage forgets it with the page, and nothing else. */

/** @param {string} key @returns {?string} null where nothing is stored, or storage is refused */
export function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @returns {*} what was stored as JSON; null where there is none, or it is not ours */
export function readJson(key) {
  try {
    return JSON.parse(read(key));
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} text */
export function write(key, text) {
  try {
    localStorage.setItem(key, text);
  } catch {
    // Refused: it then holds as long as this page.
  }
}
