/** The four line charts; they draw exactly the model's series. */

import { byId, setText, showText } from "./dom.js";
import { iterations, metric, whole } from "./format.js";
import { METRICS, newest } from "./series.js";

/** @returns {(model: import("./model.js").Model) => void} draws the charts; cheap where nothing has changed */
export function createCharts() {
  const charts = Object.fromEntries(METRICS.map((name) => [name, createChart(name)]));
  let drawn = [];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const name of METRICS) paint(charts[name], name);
  });
  return (model) => {
    drawInvitations(model);
    const shown = [model.series, model.branch, model.status?.best?.iteration_count];
    if (shown.every((part, place) => part === drawn[place])) return;
    drawn = shown;
    for (const name of METRICS) drawChart(charts[name], name, ...shown);
  };
}

// The line of the run that was left, and the mark of the best state: neither has values to read off.
const ASIDE = { data: [], pointHoverRadius: 0, pointHitRadius: 0, tension: 0 };
const FAINT = "55";

function createChart(name) {
  const chart = new globalThis.Chart(byId(`${name}-chart`), {
    type: "line",
    data: {
      labels: [],
      datasets: [
        { data: [], borderWidth: 1.5, pointHoverRadius: 3, tension: 0, order: 1 },
        { ...ASIDE, borderWidth: 1.5, pointRadius: 0, order: 2 },
        { ...ASIDE, showLine: false, pointStyle: "star", pointRadius: 7, borderWidth: 2, order: 0, clip: false },
      ],
    },
    options: options(name),
  });
  paint(chart, name);
  return chart;
}

function options(name) {
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    normalized: true,
    locale: "en",
    interaction: { mode: "index", intersect: false, axis: "x" },
    scales: scaleOptions(name),
    plugins: { legend: { display: false }, tooltip: tooltip() },
  };
}

/** @param {string} name of a metric @returns {object} the scales of its chart */
export function scaleOptions(name) {
  return {
    x: { type: "linear", ticks: { maxTicksLimit: 7, maxRotation: 0, precision: 0, includeBounds: false } },
    // What cannot be negative is not drawn with room below zero.
    y: { min: ["loss", "variance"].includes(name) ? 0 : undefined, ticks: { maxTicksLimit: 6 } },
  };
}

function tooltip() {
  return {
    displayColors: false,
    filter: (item) => item.datasetIndex === 0,
    callbacks: {
      title: ([item]) => `Iteration ${whole(item.parsed.x)}`,
      label: (item) => metric(item.parsed.y),
    },
  };
}

function paint(chart, name) {
  const style = getComputedStyle(document.documentElement);
  const colour = (variable) => style.getPropertyValue(variable).trim();
  const [line, left, best] = chart.data.datasets;
  Object.assign(line, { borderColor: colour(`--${name}`), pointBackgroundColor: colour(`--${name}`) });
  left.borderColor = colour(`--${name}`) + FAINT;
  best.borderColor = colour("--text");
  paintScales(chart, style);
  chart.update();
}

/** Gives a chart's scales the colours of the theme. @param {object} chart @param {CSSStyleDeclaration} style of the root */
export function paintScales(chart, style) {
  const colour = (variable) => style.getPropertyValue(variable).trim();
  for (const scale of Object.values(chart.options.scales)) {
    Object.assign(scale.ticks, { color: colour("--muted"), font: { size: 12, family: style.fontFamily } });
    Object.assign(scale, { grid: { color: colour("--grid") }, border: { color: colour("--border") } });
  }
}

function drawChart(chart, name, series, branch, bestAt) {
  chart.data.labels = series.iteration;
  const alone = series.iteration.length === 1;
  Object.assign(chart.data.datasets[0], { data: series[name], pointRadius: alone ? 3 : 0 });
  const [first, last] = [series.iteration[0] ?? 0, Math.max(newest(series), newest(branch))];
  chart.data.datasets[1].data = points(branch, name);
  chart.data.datasets[2].data = mark(series, name, bestAt);
  // A single iteration gets some room on both sides; otherwise the line fills the whole width.
  Object.assign(chart.options.scales.x, alone ? { min: first - 1, max: last + 1 } : { min: first, max: Math.max(last, first + 1) });
  chart.update();
  setText(byId(`${name}-caption`), caption(series));
}

function points(series, name) {
  return series.iteration.map((x, place) => ({ x, y: series[name][place] }));
}

function mark(series, name, at) {
  const place = at ? series.iteration.findLastIndex((iteration) => iteration <= at) : -1;
  return place < 0 ? [] : [{ x: series.iteration[place], y: series[name][place] }];
}

function caption(series) {
  const held = series.iteration.length;
  if (held === 0) return "";
  const all = newest(series) - series.iteration[0] + 1;
  return held < all ? `${whole(held)} of ${whole(all)} points, extremes kept` : iterations(all);
}

function drawInvitations(model) {
  const text = model.series.iteration.length ? null : invitation(model);
  for (const name of METRICS) showText(byId(`${name}-empty`), text);
}

function invitation({ status, complete }) {
  if (!status || !complete) return "Waiting for the server …";
  if (status.running) return "Waiting for the first iteration …";
  if (status.initialized) return status.iteration_count ? "Loading the history …" : "Press Start Training: the line begins here.";
  return status.saved
    ? "Press Load Saved State to see the saved history, or Initialize System for a new run."
    : "Press Initialize System, then Start Training.";
}
