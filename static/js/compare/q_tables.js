/** The Q-tables as heat maps beside each other; a cell that is not equal to the reference's is outlined. */

import { byId, make, setText } from "../lib/dom.js";
import { metric, whole } from "../lib/format.js";
import { chip, letter } from "./sides.js";

/** @param {object} comparison an answer of api/compare */
export function drawQTables({ states, q_tables: tables }) {
  const range = valueRange(tables.rows);
  const table = make("table", { className: "heat" }, header(states, tables.actions), body(tables, range));
  byId("q-tables").replaceChildren(table);
  byId("q-scale").replaceChildren(metric(range.least), make("span", { className: "gradient" }), metric(range.most));
  setText(byId("q-key"), `outlined: not as in ${letter(0)}`);
  setText(byId("q-counts"), counts(tables));
  const only = byId("q-only-changed");
  only.addEventListener("change", () => table.classList.toggle("only-changed", only.checked));
}

function valueRange(rows) {
  let [least, most] = [0, 0];
  for (const { values } of rows) {
    for (const value of values.flat()) {
      if (value === null) continue;
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  }
  return { least, most };
}

function counts({ actions, rows, visited, changed }) {
  const each = visited.map((count, number) => {
    const cells = number === 0 ? "" : `, ${whole(changed[number])} of ${whole(rows.length * actions.length)} cells changed`;
    return `${letter(number)}: ${whole(count)} table states visited${cells}`;
  });
  return `${each.join("; ")}.`;
}

function header(states, actions) {
  const corner = make("th", { scope: "col", rowSpan: 2, textContent: "State" });
  const groups = states.map((state, number) => {
    const title = make("span", { className: "group", title: state.label }, chip(number), " ", make("span", { textContent: state.label }));
    return make("th", { scope: "colgroup", colSpan: actions.length, className: "first" }, title);
  });
  const names = states.flatMap(() => actions.map((action, index) => make("th", { scope: "col", className: index ? "" : "first", textContent: action.replaceAll("_", " ") })));
  return make("thead", {}, make("tr", {}, corner, ...groups), make("tr", {}, ...names));
}

function body({ actions, rows }, range) {
  return make("tbody", {}, ...rows.map((row) => line(row, actions, range)));
}

function line(row, actions, range) {
  const cells = row.values.flatMap((_, number) => actions.map((_, index) => cell(row, actions, number, index, range)));
  const element = make("tr", {}, make("th", { scope: "row", textContent: row.state }), ...cells);
  if (row.changed.flat().some(Boolean)) element.dataset.changed = "true";
  return element;
}

function cell(row, actions, number, index, { least, most }) {
  const value = row.values[number]?.[index] ?? null;
  const element = make("td", { textContent: value === null ? "·" : value.toFixed(2), title: cellTitle(row, actions, number, index) });
  if (index === 0) element.classList.add("first");
  if (row.greedy[number] === actions[index]) element.classList.add("greedy");
  if (row.changed[number][index]) element.dataset.changed = "true";
  if (value === null) element.dataset.visited = "false";
  else element.style.setProperty("--share", `${(100 * (value - least)) / (most - least || 1)}%`);
  return element;
}

function cellTitle(row, actions, number, index) {
  const place = `State ${row.state}, ${actions[index].replaceAll("_", " ")}`;
  const [before, value] = [row.values[0]?.[index] ?? null, row.values[number]?.[index] ?? null];
  if (value === null) return `${place}: ${letter(number)} was never in this state`;
  if (!row.changed[number][index]) return `${place}: ${letter(number)} ${metric(value)}`;
  if (before === null) return `${place}: ${letter(number)} ${metric(value)}; ${letter(0)} was never in this state`;
  const difference = row.differences[number][index];
  return `${place}: ${letter(0)} ${metric(before)}, ${letter(number)} ${metric(value)} (${difference > 0 ? "+" : ""}${metric(difference)})`;
}
