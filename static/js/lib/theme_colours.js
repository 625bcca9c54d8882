/** The colours of the page's theme, which `theme.js` sets. */

/** @param {() => void} changed called after the colours have changed */
export function onThemeChange(changed) {
  document.addEventListener("themechange", changed);
}

/** @param {string} variable of the theme @returns {string} its present value */
export function themeColour(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}
