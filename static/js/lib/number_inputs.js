/** Number inputs of the settings: checked as they are filled in, with what is wrong shown beside the input itself. */

import { byId, setAttribute, showText } from "./dom.js";

/**
 * @param {string} text
 * @param {{least: number, most: number, whole?: boolean, empty?: boolean}} limits `empty`: whether it may be left empty
 * @returns {?string} what is wrong with it; null: nothing
 */
export function problem(text, { least, most, whole = true, empty = true }) {
  const given = text.trim();
  const range = `from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
  if (given === "") return empty ? null : `Give a number ${range}.`;
  const kind = whole ? "a whole number" : "a number";
  if (!(whole ? /^-?\d+$/ : /^-?\d+(\.\d+)?$/).test(given)) return `This is not ${kind}; it must be ${range}.`;
  const number = Number(given);
  return number < least || number > most ? `It must be ${range}.` : null;
}

/** @param {string} name of the input, whose elements are `${name}-input` and `${name}-error` @param {?string} reason */
export function showProblem(name, reason) {
  showText(byId(`${name}-error`), reason);
  setAttribute(byId(`${name}-input`), "aria-invalid", reason ? "true" : null);
}

/** @param {string} name @param {object} limits as `problem` takes them @returns {boolean} whether it is fine; otherwise that is shown */
export function isFine(name, limits) {
  const reason = problem(byId(`${name}-input`).value, limits);
  showProblem(name, reason);
  return reason === null;
}

/** @param {string} name @returns {boolean} whether somebody is filling it in, or has to correct it: then nobody else changes it */
export function isBeingFilledIn(name) {
  const input = byId(`${name}-input`);
  return document.activeElement === input || input.getAttribute("aria-invalid") === "true";
}
