/** Who the compared states are: their letters, their cards, and in which settings they differ. */

import { byId, make, setText } from "../lib/dom.js";
import { absolute, age, iterations, metric, whole } from "../lib/format.js";

const SHOWN_DIGITS = 12; // of a fingerprint

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

function corpusName(path) {
  return path === null ? "built-in corpus" : path.split(/[\\/]/).at(-1) || path;
}

/** @param {object} comparison an answer of api/compare */
export function drawConfiguration({ states, configuration }) {
  const different = configuration.filter(({ differs }) => differs);
  const equal = configuration.filter(({ differs }) => !differs);
  setText(byId("configuration-hint"), sentence(different.length));
  byId("configuration-differences").replaceChildren(...(different.length ? [settings(different, states)] : []));
  byId("configuration-differences").hidden = !different.length;
  byId("configuration-equal").replaceChildren(settings(equal, states));
  byId("configuration-rest").hidden = !equal.length;
  setText(byId("configuration-rest-summary"), `${equal.length} settings that are equal`);
}

function sentence(count) {
  if (count === 0) return "The states have the same settings, seed and text: what differs below came by training.";
  return `${count === 1 ? "One setting differs" : `${count} settings differ`}; everything else that the runs are a function of is equal.`;
}

function settings(rows, states) {
  const titles = make("tr", {}, make("th", { scope: "col", textContent: "Setting" }), ...states.map((_, number) => make("th", { scope: "col" }, chip(number))));
  const lines = rows.map(({ name, values }) =>
    make("tr", {}, make("th", { scope: "row" }, make("code", { textContent: name })), ...values.map((value) => valueCell(name, value))),
  );
  return make("table", { className: "settings" }, make("thead", {}, titles), make("tbody", {}, ...lines));
}

function valueCell(name, value) {
  const text = shown(name, value);
  return make("td", { textContent: text, title: String(value ?? "") });
}

function shown(name, value) {
  if (name === "corpus") return corpusName(value);
  if (value === null) return "not set";
  if (name.endsWith("fingerprint")) return `${value.slice(0, SHOWN_DIGITS)} …`;
  return Array.isArray(value) ? value.join(", ") : String(value);
}
