/** The four line charts; together they draw exactly the model's series, or the range of it that was asked for. */

import { POSITIVE, paintScales, scaleOptions } from "../lib/axes.js";
import { leftRun } from "./left_run.js";
import { Drawing, createChartControls } from "./controls.js";
import { describe, linkTable, offerPicture } from "./files.js";
import { zoomByKeys } from "./keys.js";
import { Crosshair, NEAREST } from "./crosshair.js";
import { Detail } from "./detail.js";
import { byId, setText, showText } from "../lib/dom.js";
import { firstStep } from "../core/first_step.js";
import { metric, whole } from "../lib/format.js";
import { Marks } from "./marks_drawing.js";
import { createLegend } from "./marks_legend.js";
import { View, caption } from "./range.js";
import { METRICS } from "../core/series.js";
import { smooth } from "./smoothing.js";
import { onThemeChange, themeColour } from "../lib/theme_colours.js";
import { Turns } from "../lib/turns.js";
import { paintSelection, resetOnDoubleClick, zoomOptions } from "./zoom.js";

/**
 * @param {import("../core/model.js").Model} model
 * @returns {() => void} draws the charts; cheap where nothing has changed
 */
export function createCharts(model) {
  let [drawn, charts] = [[], null];
  const changed = () => {
    drawn = [];
    model.changed();
  };
  const [view, drawing, tools] = [new View(changed), new Drawing(), { crosshair: new Crosshair(), marks: new Marks() }];
  const turns = new Turns();
  const [detail, leftDetail] = [new Detail(changed), new Detail(changed)];
  const drawControls = createChartControls(view, drawing, changed);
  const drawLegend = createLegend(view, drawing, changed);
  for (const name of METRICS) offerPicture(name, () => charts?.[name], () => describe(name, model.run, view.range));
  onThemeChange(() => {
    if (charts) paintAll(charts, drawing, tools);
    changed();
  });
  return () => {
    drawInvitations(model);
    // With nothing to draw yet it would all be done twice.
    if (charts === null && !model.complete) return;
    const shown = [model.run, model.branch, model.series, model.marks];
    if (shown.every((part, place) => part === drawn[place])) return;
    const isLive = shown[0] === drawn[0] && shown[1] === drawn[1];
    if (isLive && !turns.isFree(() => model.changed())) return;
    drawn = shown;
    view.settle(model);
    const { range, mode } = view;
    const series = mode === "whole" ? model.series : detail.of(ownSource(model), range, view.followed);
    const branch = mode === "whole" ? model.branch : leftDetail.of(leftSource(model), range, null);
    tools.marks.show(model.marks, drawing.hiddenMarks);
    const bestAt = drawing.hiddenMarks.includes("best") ? null : model.status?.best?.iteration_count;
    const found = { series, range, branch, bestAt };
    // Before the charts, which are drawn again where these change the room that they have.
    drawControls();
    drawLegend(model.marks);
    if (charts === null) charts = createAll(view, drawing, tools, found);
    else redrawAll(charts, drawing, tools, { found, turns, isLive });
  };
}

function redrawAll(charts, drawing, { crosshair }, { found, turns, isLive }) {
  for (const name of METRICS) fill(charts[name], name, found, drawing);
  const draws = METRICS.map((name) => () => redraw(charts[name], crosshair));
  turns.drop();
  if (isLive) turns.begin(draws);
  else for (const draw of draws) draw();
}

const ownSource = ({ run, series }) => ({ run, series, address: "api/history" });
const leftSource = ({ status, branch }) => ({ run: null, address: "", ...leftRun(status), series: branch });

// The line of the run that was left, and the mark of the best state: neither has values to read off.
const ASIDE = { data: [], pointHoverRadius: 0, pointHitRadius: 0, tension: 0 };
const FAINT = "55";
// A line of so many points is a pixel wide: without a graphics card that is drawn in a tenth of the time of a wider one.
const DENSE = 1000;
const [THIN, NORMAL] = [1, 1.5];
const [LINE, LEFT, BEST, SMOOTHED] = [0, 1, 2, 3];

// Filled before Chart.js sees them, because it draws a chart as soon as it is made.
function createAll(view, drawing, tools, found) {
  const plans = Object.fromEntries(METRICS.map((name) => [name, plan(name, view, tools)]));
  paintAll(plans, drawing, tools);
  for (const name of METRICS) fill(plans[name], name, found, drawing);
  const charts = Object.fromEntries(METRICS.map((name) => [name, createChart(name, plans[name], view)]));
  tools.crosshair.join(Object.values(charts));
  return charts;
}

function createChart(name, planned, view) {
  const chart = new globalThis.Chart(byId(`${name}-chart`), planned);
  resetOnDoubleClick(chart, view);
  zoomByKeys(chart.canvas, view);
  return chart;
}

function plan(name, view, { crosshair, marks }) {
  return {
    type: "line",
    data: {
      labels: [],
      datasets: [
        { data: [], pointHoverRadius: 3, tension: 0, order: 2 },
        { ...ASIDE, borderWidth: NORMAL, pointRadius: 0, order: 3 },
        { ...ASIDE, showLine: false, pointStyle: "star", pointRadius: 7, borderWidth: 2, order: 0, clip: false },
        { ...ASIDE, borderWidth: 2, pointRadius: 0, order: 1 },
      ],
    },
    options: options(name, view, marks),
    plugins: [marks.plugin, crosshair.plugin],
  };
}

// Those of Chart.js that would work for every chart all the same, the legend even where it is not shown.
const UNUSED = { colors: false, decimation: false, filler: false, legend: false, subtitle: false, title: false };

function options(name, view, marks) {
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
    plugins: { ...UNUSED, tooltip: tooltip(marks), zoom: zoomOptions(view) },
  };
}

function tooltip(marks) {
  const title = ([item]) => (item ? `Iteration ${whole(item.parsed.x)}` : "");
  const footer = ([item]) => (item ? marks.near(item.chart, item.parsed.x) : "");
  return { displayColors: false, footerFont: { weight: "normal" }, callbacks: { title, label, footer } };
}

function label({ chart, dataIndex, parsed }) {
  const smoothed = chart.data.datasets[SMOOTHED].data[dataIndex];
  return smoothed == null ? metric(parsed.y) : [metric(parsed.y), `smoothed ${metric(smoothed)}`];
}

function paintAll(charts, drawing, { crosshair, marks }) {
  crosshair.paint(themeColour("--text"));
  marks.paint(themeColour);
  for (const name of METRICS) paint(charts[name], name, drawing);
}

function paint(chart, name, drawing) {
  const sets = chart.data.datasets;
  const own = themeColour(`--${name}`);
  sets[LINE].pointBackgroundColor = own;
  sets[LEFT].borderColor = own + FAINT;
  sets[BEST].borderColor = themeColour("--text");
  sets[SMOOTHED].borderColor = own;
  paintLine(chart, drawing);
  paintSelection(chart, themeColour("--text"));
  paintScales(chart);
}

// Faint behind its own smoothing.
function paintLine({ data: { datasets: sets } }, drawing) {
  sets[LINE].borderColor = drawing.smoothing > 0 ? sets[SMOOTHED].borderColor + FAINT : sets[SMOOTHED].borderColor;
}

function redraw(chart, crosshair) {
  chart.update();
  crosshair.apply(chart);
}

function fill(chart, name, { series, range, branch, bestAt }, drawing) {
  const alone = series.iteration.length === 1 && range.min === range.max;
  const sets = chart.data.datasets;
  chart.data.labels = series.iteration;
  const borderWidth = series.iteration.length > DENSE ? THIN : NORMAL;
  Object.assign(sets[LINE], { data: series[name], pointRadius: alone ? 3 : 0, borderWidth });
  sets[LEFT].data = points(branch, name);
  sets[BEST].data = mark(series, name, bestAt, range);
  sets[SMOOTHED].data = drawing.smoothing > 0 ? smooth(series[name], drawing.smoothing) : [];
  setScale(chart, name, drawing.logarithmic);
  paintLine(chart, drawing);
  // A single iteration gets some room on both sides; otherwise the line fills the whole width.
  const { min, max } = range;
  Object.assign(chart.options.scales.x, alone ? { min: min - 1, max: max + 1 } : { min, max: Math.max(max, min + 1) });
  setText(byId(`${name}-caption`), caption(series, range));
  linkTable(name, range);
}

function setScale(chart, name, logarithmic) {
  const { y } = scaleOptions(name, logarithmic);
  if (!POSITIVE.includes(name) || chart.options.scales.y.type === y.type) return;
  chart.options.scales.y = y;
  paintScales(chart);
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
