/** Four charts over the recorded iterations: firing rates, chosen actions, patterns, and plasticity. */

import { paintScales, scaleOptions } from "../lib/axes.js";
import { css, scaleOf } from "../lib/colour_scale.js";
import { byId, make } from "../lib/dom.js";
import { metric, percent, whole } from "../lib/format.js";
import { NETWORK_NAMES } from "../lib/network_names.js";
import { shares } from "./frame.js";
import { themeColour } from "../lib/theme_colours.js";

const OF_NETWORKS = ["--loss", "--reward", "--variance"];
const CHARTS = ["firing", "choices", "patterns", "plasticity"];

/** @param {string} action @returns {string} */
export function actionName(action) {
  return action.replaceAll("_", " ");
}

/** @returns {(inside: import("./frame.js").Frame) => void} draws all four */
export function createInsideCharts() {
  const charts = Object.fromEntries(CHARTS.map((name) => [name, createChart(name)]));
  return (frame) => {
    const series = seriesOf(frame);
    for (const name of CHARTS) drawChart(charts[name], name, frame, series[name]);
  };
}

function seriesOf({ columns, message }) {
  const three = OF_NETWORKS.map(themeColour);
  const { last } = columns;
  const networks = Object.keys(message.networks).map((name, place) => ({
    label: NETWORK_NAMES[name] ?? name,
    values: Array.from(last, (_, column) => numberOrNull(columns.rates[column * three.length + place])),
    colour: three[place],
  }));
  const choices = shares(columns.chosen, message.actions.length).map((values, place) => ({ label: actionName(message.actions[place]), values, colour: three[place], share: true }));
  const width = last.length ? columns.patterns.length / last.length : 0;
  const shades = scaleOf([themeColour("--panel"), themeColour("--mean")], width + 1).slice(1);
  const patterns = shares(columns.patterns, width).map((values, place) => ({ label: `pattern ${place}`, values, colour: css(shades[place]), share: true }));
  const plasticity = [{ label: "plasticity", values: Array.from(columns.plasticity), colour: themeColour("--mean") }];
  return { firing: networks, choices, patterns, plasticity: [...plasticity, learningRate(plasticity[0], message)] };
}

// It is proportional: one line has both axes, and its own set of points is there to be read off.
function learningRate({ values, colour }, message) {
  return { label: "learning rate", values: values.map((value) => value * message.learning_rate), colour, aside: true };
}

function numberOrNull(value) {
  return Number.isNaN(value) ? null : value;
}

function createChart(name) {
  const { x, y } = scaleOptions(name);
  const shares = name === "choices" || name === "patterns";
  const fixed = shares ? { min: 0, max: 1, stacked: true } : { beginAtZero: true };
  const ticks = name === "plasticity" ? y.ticks : { ...y.ticks, callback: (value) => percent(value) };
  return new globalThis.Chart(byId(`inside-${name}-chart`), {
    type: "line",
    data: { datasets: [] },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      parsing: false,
      normalized: true,
      locale: "en",
      interaction: { mode: "index", intersect: false },
      scales: { x, y: { ...y, ...fixed, ticks }, ...(name === "plasticity" && { aside: { ...y, position: "right", beginAtZero: true } }) },
      plugins: { legend: { display: false }, tooltip: { callbacks: { title: ([item]) => (item ? `Iteration ${whole(item.parsed.x)}` : ""), label: tooltipLabel } } },
    },
  });
}

function tooltipLabel({ dataset, parsed }) {
  return `${dataset.label}: ${dataset.isPart ? percent(parsed.y) : metric(parsed.y)}`;
}

function drawChart(chart, name, { columns, message: { beginning } }, series) {
  const { last } = columns;
  chart.data.datasets = series.map((each, place) => dataset(each, place, last, name));
  const end = last.at(-1) ?? beginning + 1;
  Object.assign(chart.options.scales.x, { min: Math.min(last[0] ?? end, end - 1), max: end });
  paintScales(chart);
  if (chart.options.scales.aside) chart.options.scales.aside.grid.drawOnChartArea = false;
  chart.update();
  drawLegend(name, series, last.length);
}

function dataset({ label, values, colour, share, aside }, place, last, name) {
  return {
    label,
    data: values.map((y, column) => ({ x: last[column], y })),
    isPart: share || name === "firing",
    borderColor: share ? themeColour("--panel") : colour,
    backgroundColor: colour,
    borderWidth: share ? 1 : 2,
    showLine: !aside,
    pointRadius: !aside && last.length === 1 ? 3 : 0,
    pointHoverRadius: aside ? 0 : 3,
    fill: share ? (place === 0 ? "origin" : "-1") : false,
    spanGaps: true,
    tension: 0,
    ...(aside && { yAxisID: "aside" }),
  };
}

function drawLegend(name, series, count) {
  const parts = series.map((each) => {
    const newest = each.values.findLast((value) => value !== null) ?? null;
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = each.colour;
    const value = each.share || name === "firing" ? percent(newest) : metric(newest);
    return make("span", { className: "entry" }, ...(each.aside ? [] : [swatch]), `${each.label} `, make("b", { textContent: count ? value : "–" }));
  });
  byId(`inside-${name}-legend`).replaceChildren(...parts);
}
