/** Firing rates of the compared states' networks for the same probes: bars by layer, and the output probe by probe. */

import { byId, make, setText } from "../lib/dom.js";
import { NETWORK_NAMES } from "../lib/network_names.js";
import { chip } from "./sides.js";

const LAYER_NAMES = { fc1: "First hidden layer", fc2: "Second hidden layer", fc3: "Output" };

/** @param {object} comparison an answer of api/compare */
export function drawFiringRates({ firing_rates: { probes, layers, outputs } }) {
  const largest = Math.max(...layers.flatMap(({ rates }) => rates)) || 1;
  const networks = [...new Set(layers.map(({ network }) => network))];
  byId("rates").replaceChildren(...networks.map((name) => network(name, layers.filter((row) => row.network === name), largest)));
  setText(byId("rates-hint"), sentence(probes.length, largest));
  byId("rates-outputs").replaceChildren(outputTable(probes, outputs));
}

function sentence(count, largest) {
  return `The share of time steps at which a neuron fires, on average over a layer and ${count} fixed inputs that every state is shown; the longest bar is ${rate(largest)}.`;
}

function network(name, rows, largest) {
  const title = make("h3", { textContent: NETWORK_NAMES[name] });
  const table = make("table", { className: "bars" }, ...rows.map((row) => layer(row, largest)));
  return make("div", { className: "network-rates" }, title, table);
}

function layer({ layer: name, rates }, largest) {
  const title = make("tr", {}, make("th", { scope: "rowgroup", colSpan: 3, textContent: LAYER_NAMES[name] }));
  return make("tbody", {}, title, ...rates.map((value, number) => bar(value, number, largest)));
}

function bar(value, number, largest) {
  const fill = make("span", { className: "fill" });
  fill.dataset.side = String(number);
  fill.style.setProperty("--share", `${(100 * value) / largest}%`);
  return make("tr", {}, make("th", { scope: "row" }, chip(number)), make("td", { className: "track" }, fill), make("td", { textContent: rate(value) }));
}

function outputTable(probes, outputs) {
  const count = outputs[0].rates.length;
  const groups = outputs.map(({ network: name }) => make("th", { scope: "colgroup", colSpan: count, className: "first", textContent: NETWORK_NAMES[name] }));
  const chips = outputs.flatMap(({ rates }) => rates.map((_, number) => make("th", { scope: "col", className: number ? "" : "first" }, chip(number))));
  const head = make("thead", {}, make("tr", {}, make("th", { scope: "col", rowSpan: 2, textContent: "Probe" }), ...groups), make("tr", {}, ...chips));
  const lines = probes.map((text, index) => {
    const cells = outputs.flatMap(({ rates }) => rates.map((ofState, number) => make("td", { className: number ? "" : "first", textContent: rate(ofState[index]) })));
    return make("tr", {}, make("th", { scope: "row", className: "probe", textContent: text }), ...cells);
  });
  return make("table", { className: "measures" }, head, make("tbody", {}, ...lines));
}

function rate(value) {
  return value.toFixed(3);
}
