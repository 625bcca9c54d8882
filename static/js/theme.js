/** The colours of the page: by the system's preference, or by hand through `data-theme` of the root element. */

/** @param {() => void} changed called after the colours have changed */
export function onThemeChange(changed) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  new MutationObserver(changed).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
}

/** @returns {(variable: string) => string} the present value of a variable of the theme */
export function themeColours() {
  const style = getComputedStyle(document.documentElement);
  return (variable) => style.getPropertyValue(variable).trim();
}
