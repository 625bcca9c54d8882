/** The colours of the page's theme, which `theme.js` sets. */

/** @param {() => void} changed called after the colours have changed */
export function onThemeChange(changed) {
  document.addEventListener("themechange", changed);
}

/** @returns {(variable: string) => string} the present value of a variable of the theme */
export function themeColours() {
  const style = getComputedStyle(document.documentElement);
  return (variable) => style.getPropertyValue(variable).trim();
}
