/** Distances of each layer's weights and biases from the reference's. */

import { byId, make, showText } from "../lib/dom.js";
import { NO_VALUE, metric } from "../lib/format.js";
import { NETWORK_NAMES } from "../lib/network_names.js";
import { chip, letter } from "./sides.js";

const MEASURES = [
  ["relative", "relative distance"],
  ["cosine", "cosine"],
  ["distance", "distance"],
  ["norm", "norm"],
];

/** @param {object} comparison an answer of api/compare */
export function drawWeights({ states, layers }) {
  const largest = Math.max(0, ...layers.flatMap(({ relative }) => relative));
  const lines = layers.flatMap((row, index) => {
    const opens = row.network !== layers[index - 1]?.network;
    return [...(opens ? [groupLine(row.network, states.length)] : []), line(row, largest)];
  });
  byId("layers").replaceChildren(make("table", { className: "measures" }, header(states), make("tbody", {}, ...lines)));
  showText(byId("layers-reasons"), reasons(layers));
}

// The reference has nothing to be measured against but itself.
function measuresOf(number) {
  return number === 0 ? MEASURES.slice(-1) : MEASURES;
}

function header(states) {
  const corner = make("th", { scope: "col", rowSpan: 2, textContent: "Tensor" });
  const groups = states.map((state, number) => make("th", { scope: "colgroup", colSpan: measuresOf(number).length, className: "first", title: state.label }, chip(number)));
  const names = states.flatMap((_, number) => measuresOf(number).map(([, name], index) => make("th", { scope: "col", className: index ? "" : "first", textContent: name })));
  return make("thead", {}, make("tr", {}, corner, ...groups), make("tr", {}, ...names));
}

function groupLine(network, count) {
  const span = 2 + MEASURES.length * (count - 1);
  const name = make("span", { textContent: NETWORK_NAMES[network] });
  return make("tr", { className: "network" }, make("th", { scope: "rowgroup", colSpan: span }, name));
}

function line(row, largest) {
  const name = make("th", { scope: "row" }, make("code", { textContent: row.tensor }));
  const cells = row.norm.flatMap((_, number) => measuresOf(number).map(([key], index) => cell(row, key, number, index, largest)));
  return make("tr", {}, name, ...cells);
}

function cell(row, key, number, index, largest) {
  const value = row[key][number];
  const element = make("td", { textContent: value === null ? NO_VALUE : text(key, value), title: value === null ? (row.reason[number] ?? "") : String(value) });
  if (index === 0) element.classList.add("first");
  if (key === "relative" && value !== null) {
    element.classList.add("filled");
    element.dataset.side = String(number);
    element.style.setProperty("--share", `${(100 * value) / (largest || 1)}%`);
  }
  return element;
}

function text(key, value) {
  return key === "cosine" ? value.toFixed(4) : metric(value);
}

function reasons(layers) {
  const counted = new Map();
  for (const row of layers) {
    row.reason.forEach((reason, number) => {
      if (reason) counted.set(number, [...(counted.get(number) ?? []), `${row.network}.${row.tensor}: ${reason}`]);
    });
  }
  const lines = [...counted].map(([number, found]) => `${letter(number)} cannot be measured everywhere (${found[0]}${found.length > 1 ? `, and ${found.length - 1} more` : ""}).`);
  return lines.join(" ");
}
