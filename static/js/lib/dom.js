/** DOM helpers that the views share. Each writes only what differs, because views are drawn many times a second. */

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  return document.getElementById(id);
}

/** @param {HTMLElement} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} element @param {string} name @param {?string} value null removes the attribute */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** @param {HTMLElement} element @param {?string} text null or empty hides the element */
export function showText(element, text) {
  element.hidden = !text;
  setText(element, text ?? "");
}

/**
 * @param {string} name of the value, whose element is `${name}-value`
 * @param {string} text
 * @param {?(number|string)} [value] the unrounded one, for scripts that read the page
 */
export function setValue(name, text, value = null) {
  const element = byId(`${name}-value`);
  setText(element, text);
  setAttribute(element, "data-value", value === null ? null : String(value));
}

/**
 * @param {string} tag
 * @param {object} [properties]
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
