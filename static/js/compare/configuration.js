/** The settings of the compared states: those that differ, and those that are equal. */

import { byId, make, setText } from "../lib/dom.js";
import { chip, corpusName } from "./sides.js";

const SHOWN_DIGITS = 12; // of a fingerprint

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
  const text = settingText(name, value);
  return make("td", { textContent: text, title: String(value ?? "") });
}

function settingText(name, value) {
  if (name === "corpus") return corpusName(value);
  if (value === null) return "not set";
  if (name.endsWith("fingerprint")) return `${value.slice(0, SHOWN_DIGITS)} …`;
  return Array.isArray(value) ? value.join(", ") : String(value);
}
