/** The compared states themselves: their letters and their cards. */

import { byId, make } from "../lib/dom.js";
import { absolute, age, iterations, metric, whole } from "../lib/format.js";

/** @param {number} number of a state, from 0 @returns {string} "A" */
export function letter(number) {
  return String.fromCharCode(65 + number);
}

/** @param {number} number of a state, from 0 @returns {HTMLElement} its letter on its colour */
export function chip(number) {
  const element = make("span", { className: "chip", textContent: letter(number) });
  element.dataset.side = String(number);
  return element;
}

/** @param {object} comparison an answer of api/compare */
export function drawSides({ states }) {
  byId("sides").replaceChildren(...states.map(card));
}

function card(state, number) {
  const head = make("header", {}, chip(number), make("strong", { textContent: state.label }));
  if (number === 0) head.append(make("span", { className: "badge", textContent: "reference" }));
  const list = make("dl", {}, ...facts(state).map(([name, value, title = ""]) => fact(name, value, title)));
  const remarks = state.warnings.map((text) => make("p", { className: "remark", textContent: text }));
  return make("li", { className: "panel side" }, head, list, ...remarks);
}

function facts(state) {
  return [
    ["Trained", iterations(state.iteration_count)],
    ["Saved", `${age(state.saved_at, Date.now())} (${absolute(state.saved_at)}), ${state.ended}`],
    ["Loss, reward", `${metric(state.loss)}, ${metric(state.reward)}`],
    ["Field size, seed", `${whole(state.field_size)}, ${state.seed}`],
    ["Corpus", corpusName(state.corpus), state.corpus ?? ""],
    ["Run", state.run],
  ];
}

function fact(name, value, title) {
  return make("div", { title }, make("dt", { textContent: name }), make("dd", { textContent: value }));
}

/** @param {?string} path @returns {string} how the corpus of a state is named */
export function corpusName(path) {
  return path === null ? "built-in corpus" : path.split(/[\\/]/).at(-1) || path;
}
