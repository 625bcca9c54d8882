/** The pictures of matrices: the field over time and now, the spikes of each network, values and visits of the Q-table. */

import { scaleOf } from "../lib/colour_scale.js";
import { byId, setText } from "../lib/dom.js";
import { metric, percent, whole } from "../lib/format.js";
import { Grid } from "../lib/grid.js";
import { NETWORK_NAMES } from "../lib/network_names.js";
import { actionName } from "./charts.js";
import { FULL, spikesOf } from "./frame.js";
import { themeColour } from "../lib/theme_colours.js";

const NETWORKS = ["field_update", "syntropy", "feedback"];
const LAYER_NAMES = ["hidden 1", "hidden 2", "output"];
const GRIDS = ["strip", "now", ...NETWORKS, "values", "visits"];
// Rows that a layer of few neurons takes at least, and that are left between two layers.
const THINNEST_LAYER = 6;
const GAP = 3;
// Every how manieth cell is looked at for the ends of the scale, and which share of them lies within.
const SAMPLED = 7;
const WITHIN = 0.99;
const ROUNDED_TO = 0.05;

/** @returns {{grids: Record<string, Grid>, draw: (inside: import("./frame.js").Frame) => void}} */
export function createInsideGrids() {
  const grids = Object.fromEntries(GRIDS.map((name) => [name, new Grid(byId(`inside-${name}`), byId(`inside-${name}-told`))]));
  return { grids, draw: (frame) => drawAll(grids, frame) };
}

function drawAll(grids, frame) {
  const colours = { ink: themeColour("--text"), paper: themeColour("--panel") };
  drawField(grids, frame, colours);
  for (const name of NETWORKS) drawSpikes(grids[name], name, frame.message.networks[name], colours);
  drawTable(grids, frame.message, colours);
}

function drawField(grids, { columns, field, message }, colours) {
  const reach = reachOf([columns.fields, field], message.set_point);
  const [least, most] = [message.set_point - reach, message.set_point + reach];
  const scale = scaleOf([themeColour("--loss"), colours.paper, themeColour("--variance")]);
  for (const [id, value] of [["least", least], ["middle", message.set_point], ["most", most]]) setText(byId(`inside-field-${id}`), String(Number(value.toFixed(2))));
  const shared = { least: least * FULL, most: most * FULL, scale, ...colours };
  const count = columns.last.length;
  const every = message.stride === 1 ? "one column for each" : `one column every ${whole(message.stride)} iterations`;
  const range = count ? `${whole(columns.last[0])} to ${whole(columns.last.at(-1))}` : "none yet";
  grids.strip.draw({
    ...shared,
    width: count,
    height: message.rows,
    values: columns.fields,
    describe: (column, row) => `Iteration ${whole(columns.last[column])}, ${cells(row, message)}: ${metric(columns.fields[column * message.rows + row] / FULL)}`,
    summary: `Iterations ${range}, ${every}`,
    label: `Field over iterations ${range}, ${every}, cells from top to bottom`,
  });
  for (const [id, text] of [["first", count ? whole(columns.last[0]) : ""], ["last", count ? whole(columns.last.at(-1)) : ""]]) setText(byId(`inside-strip-${id}`), text);
  const summary = `Iteration ${whole(message.iteration)}: ${metric(smallest(field) / FULL)} to ${metric(largest(field) / FULL)}`;
  grids.now.draw({
    ...shared,
    width: message.rows,
    height: 1,
    values: field,
    describe: (column) => `${cells(column, message)}: ${metric(field[column] / FULL)}`,
    summary,
    label: `Field now. ${summary}`,
  });
  setText(byId("inside-cells"), message.rows < message.field_size ? `Each row is the mean of about ${whole(message.field_size / message.rows)} of ${whole(message.field_size)} neighbouring cells.` : `Each row is one of ${whole(message.field_size)} cells.`);
}

const smallest = (values) => values.reduce((least, value) => Math.min(least, value), Infinity);
const largest = (values) => values.reduce((most, value) => Math.max(most, value), -Infinity);

/** How far the scale reaches from the set point on both sides: nearly all cells lie within. */
function reachOf(arrays, middle) {
  const distances = [];
  for (const array of arrays) {
    for (let place = 0; place < array.length; place += SAMPLED) distances.push(Math.abs(array[place] / FULL - middle));
  }
  distances.sort((a, b) => a - b);
  const reach = distances[Math.floor((distances.length - 1) * WITHIN)] ?? 0;
  return Math.max(ROUNDED_TO, Math.ceil(reach / ROUNDED_TO) * ROUNDED_TO);
}

function cells(row, { rows, field_size: size }) {
  const [from, to] = [row, row + 1].map((each) => Math.floor((each * size) / rows));
  return to - from > 1 ? `cells ${whole(from)} to ${whole(to - 1)}` : `cell ${whole(from)}`;
}

function drawSpikes(grid, name, layers, colours) {
  const steps = layers[0].time_steps;
  const rows = layers.flatMap((layer, number) => rowsOf(layer, number));
  const fired = layers.map(spikesOf);
  const values = new Float32Array(steps * rows.length);
  rows.forEach((row, place) => {
    for (let step = 0; step < steps; step++) {
      values[step * rows.length + place] = row ? fired[row.layer][step * layers[row.layer].neurons.length + row.index] : NaN;
    }
  });
  const summary = layers.map((layer, number) => `${LAYER_NAMES[number]} ${percent(layer.rate)}`).join(" · ");
  grid.draw({
    ...colours,
    width: steps,
    height: rows.length,
    values,
    least: 0,
    most: 1,
    scale: scaleOf([themeColour("--grid"), themeColour("--text")], 2),
    describe: (column, place) => describeSpike(rows, place, column, layers, values[column * rows.length + place]),
    summary,
    label: `Spikes of the network ${NETWORK_NAMES[name]}, ${steps} time steps from left to right; rates: ${summary}`,
  });
}

/** For each row of the picture, which neuron of which layer it shows; null between layers. */
function rowsOf({ neurons }, layer) {
  const thickness = Math.ceil(THINNEST_LAYER / neurons.length);
  const own = neurons.flatMap((_, index) => Array.from({ length: thickness }, () => ({ layer, index })));
  return layer === 0 ? own : [...Array(GAP).fill(null), ...own];
}

function describeSpike(rows, place, step, layers, value) {
  const row = rows[place];
  if (!row) return "between two layers";
  const neuron = layers[row.layer].neurons[row.index];
  return `${LAYER_NAMES[row.layer]}, neuron ${whole(neuron)}, step ${step + 1}: ${value ? "spike" : "silent"}`;
}

function drawTable(grids, { q_table: table, actions }, colours) {
  const [values, visits] = [table.values.flat(), table.visits.flat()];
  const shared = { ...colours, width: table.states.length, height: actions.length, scale: scaleOf([colours.paper, themeColour("--loss")]) };
  const marks = table.values.map((row, column) => ({ column, row: row.indexOf(Math.max(...row)) }));
  const describe = (column, row) => {
    const greedy = marks[column].row === row ? ", the greedy choice" : "";
    return `State ${table.states[column]}, ${actionName(actions[row])}: value ${metric(table.values[column][row])}${greedy}; ${whole(table.visits[column][row])} visits`;
  };
  const [least, most] = [Math.min(0, smallest(values)), Math.max(0, largest(values))];
  const counts = `${whole(table.states.length)} of ${whole(table.total)} states`;
  const summary = `${counts}, ${visitsOf(table)}`;
  grids.values.draw({ ...shared, values, least, most, marks, describe, summary, label: `Values of the Q-table: ${counts}, from left to right by the mean of the field, and three actions` });
  const busiest = Math.max(1, largest(visits));
  const logarithms = visits.map((count) => Math.log1p(count));
  grids.visits.draw({ ...shared, values: logarithms, least: 0, most: Math.log1p(busiest), describe, summary: `At most ${whole(busiest)} visits of one state and action`, label: `Visits of the same states and actions, at most ${whole(busiest)}` });
  for (const [id, text] of [["values-least", metric(least)], ["values-most", metric(most)], ["visits-most", whole(busiest)], ["values-first", table.states[0] ?? ""], ["values-last", table.states.at(-1) ?? ""]]) setText(byId(`inside-${id}`), text);
  setText(byId("inside-states"), table.states.length < table.total ? `The ${whole(table.states.length)} most visited of ${whole(table.total)} states.` : `All ${whole(table.total)} states.`);
}

function visitsOf({ all_visits: visits }) {
  return visits === 1 ? "1 visit in all" : `${whole(visits)} visits in all`;
}
