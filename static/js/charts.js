/** The four line charts; together they draw exactly the model's series, or the range of it that was asked for. */

import { POSITIVE, paintScales, scaleOptions } from "./axes.js";
import { Drawing, createChartControls } from "./chart_controls.js";
import { describe, linkTable, offerPicture } from "./chart_files.js";
import { Crosshair, NEAREST } from "./crosshair.js";
import { Detail } from "./detail.js";
import { byId, setText, showText } from "./dom.js";
import { firstStep } from "./first_step.js";
import { metric, whole } from "./format.js";
import { View, caption } from "./ranges.js";
import { METRICS } from "./series.js";
import { smooth } from "./smoothing.js";
import { paintSelection, resetOnDoubleClick, zoomOptions } from "./zoom.js";

/**
 * @param {import("./model.js").Model} model
 * @returns {() => void} draws the charts; cheap where nothing has changed
 */
export function createCharts(model) {
  let drawn = [];
  const changed = () => {
    drawn = [];
    model.changed();
  };
  const [view, detail, drawing, crosshair] = [new View(changed), new Detail(changed), new Drawing(), new Crosshair()];
  const charts = createAll(view, drawing, crosshair);
  const drawControls = createChartControls(view, drawing, changed);
  for (const name of METRICS) offerPicture(name, charts[name], () => describe(name, model.run, view.range));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    paintAll(charts, drawing, crosshair);
    changed();
  });
  return () => {
    drawInvitations(model);
    const shown = [model.series, model.branch, model.status?.best?.iteration_count, model.run];
    if (shown.every((part, place) => part === drawn[place])) return;
    drawn = shown;
    view.settle(model);
    const series = view.mode === "whole" ? model.series : detail.of(model, view.range, view.followed);
    const picture = { series, range: view.range, branch: model.branch, bestAt: model.status?.best?.iteration_count };
    for (const name of METRICS) drawChart(charts[name], name, picture, drawing);
    crosshair.apply();
    drawControls();
  };
}

// The line of the run that was left, and the mark of the best state: neither has values to read off.
const ASIDE = { data: [], pointHoverRadius: 0, pointHitRadius: 0, tension: 0 };
const FAINT = "55";
const [LINE, LEFT, BEST, SMOOTHED] = [0, 1, 2, 3];

function createAll(view, drawing, crosshair) {
  const charts = Object.fromEntries(METRICS.map((name) => [name, createChart(name, view, crosshair)]));
  crosshair.join(Object.values(charts));
  paintAll(charts, drawing, crosshair);
  return charts;
}

function createChart(name, view, crosshair) {
  const chart = new globalThis.Chart(byId(`${name}-chart`), {
    type: "line",
    data: {
      labels: [],
      datasets: [
        { data: [], borderWidth: 1.5, pointHoverRadius: 3, tension: 0, order: 2 },
        { ...ASIDE, borderWidth: 1.5, pointRadius: 0, order: 3 },
        { ...ASIDE, showLine: false, pointStyle: "star", pointRadius: 7, borderWidth: 2, order: 0, clip: false },
        { ...ASIDE, borderWidth: 2, pointRadius: 0, order: 1 },
      ],
    },
    options: options(name, view),
    plugins: [crosshair.plugin],
  });
  resetOnDoubleClick(chart, view);
  return chart;
}

function options(name, view) {
  return {
    animation: false,
    // The zoom plugin updates by this name, which would otherwise be animated.
    transitions: { zoom: { animation: { duration: 0 } } },
    responsive: true,
    maintainAspectRatio: false,
    normalized: true,
    locale: "en",
    interaction: { mode: NEAREST },
    scales: scaleOptions(name),
    plugins: { legend: { display: false }, tooltip: tooltip(), zoom: zoomOptions(view) },
  };
}

function tooltip() {
  return {
    displayColors: false,
    callbacks: { title: ([item]) => (item ? `Iteration ${whole(item.parsed.x)}` : ""), label },
  };
}

function label({ chart, dataIndex, parsed }) {
  const smoothed = chart.data.datasets[SMOOTHED].data[dataIndex];
  return smoothed == null ? metric(parsed.y) : [metric(parsed.y), `smoothed ${metric(smoothed)}`];
}

function paintAll(charts, drawing, crosshair) {
  crosshair.paint(getComputedStyle(document.documentElement).getPropertyValue("--text").trim());
  for (const name of METRICS) paint(charts[name], name, drawing);
}

function paint(chart, name, drawing) {
  const style = getComputedStyle(document.documentElement);
  const colour = (variable) => style.getPropertyValue(variable).trim();
  const sets = chart.data.datasets;
  const own = colour(`--${name}`);
  Object.assign(sets[LINE], { borderColor: drawing.smoothing > 0 ? own + FAINT : own, pointBackgroundColor: own });
  sets[LEFT].borderColor = own + FAINT;
  sets[BEST].borderColor = colour("--text");
  sets[SMOOTHED].borderColor = own;
  paintSelection(chart, colour("--text"));
  paintScales(chart, style);
}

function drawChart(chart, name, { series, range, branch, bestAt }, drawing) {
  const alone = series.iteration.length === 1 && range.min === range.max;
  const sets = chart.data.datasets;
  chart.data.labels = series.iteration;
  Object.assign(sets[LINE], { data: series[name], pointRadius: alone ? 3 : 0 });
  sets[LEFT].data = points(branch, name);
  sets[BEST].data = mark(series, name, bestAt, range);
  sets[SMOOTHED].data = drawing.smoothing > 0 ? smooth(series[name], drawing.smoothing) : [];
  setScale(chart, name, drawing.logarithmic);
  paint(chart, name, drawing);
  // A single iteration gets some room on both sides; otherwise the line fills the whole width.
  const { min, max } = range;
  Object.assign(chart.options.scales.x, alone ? { min: min - 1, max: max + 1 } : { min, max: Math.max(max, min + 1) });
  chart.update();
  setText(byId(`${name}-caption`), caption(series, range));
  linkTable(name, range);
}

function setScale(chart, name, logarithmic) {
  const { y } = scaleOptions(name, logarithmic);
  if (POSITIVE.includes(name) && chart.options.scales.y.type !== y.type) chart.options.scales.y = y;
}

function points(series, name) {
  return series.iteration.map((x, place) => ({ x, y: series[name][place] }));
}

// Of a range, only what is in it: the star is drawn whole even at the edge, so it would also be drawn beyond.
function mark(series, name, at, range) {
  const place = at ? series.iteration.findLastIndex((iteration) => iteration <= at) : -1;
  const x = series.iteration[place];
  return place < 0 || x < range.min || at > range.max ? [] : [{ x, y: series[name][place] }];
}

function drawInvitations(model) {
  const text = model.series.iteration.length ? null : invitation(model);
  for (const name of METRICS) showText(byId(`${name}-empty`), text);
}

function invitation({ status, complete }) {
  if (!status || !complete) return "Waiting for the server …";
  if (status.running) return "Waiting for the first iteration …";
  if (status.initialized) return status.iteration_count ? "Loading the history …" : "Press Start Training: the line begins here.";
  return firstStep(status);
}
