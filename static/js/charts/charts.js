/** The four line charts; together they draw exactly the model's series, or the range of it that was chosen. */

import { POSITIVE, paintScales, scaleOptions } from "../lib/axes.js";
import { parentRun } from "./parent_run.js";
import { ChartSettings, createToolbar } from "./toolbar.js";
import { describe, linkTable, offerPicture } from "./downloads.js";
import { zoomByKeys } from "./keyboard.js";
import { Crosshair, NEAREST } from "./crosshair.js";
import { RangeHistory } from "./range_history.js";
import { byId, setText, showText } from "../lib/dom.js";
import { firstStep } from "../core/first_step.js";
import { metric, whole } from "../lib/format.js";
import { MarkPainter } from "./marks_drawing.js";
import { createLegend } from "./marks_legend.js";
import { VisibleRange, caption } from "./range.js";
import { METRICS } from "../core/series.js";
import { smooth } from "./smoothing.js";
import { onThemeChange, themeColour } from "../lib/theme_colours.js";
import { FrameScheduler } from "../lib/frame_scheduler.js";
import { toOperators } from "../lib/role.js";
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
  const [view, settings, tools] = [new VisibleRange(changed), new ChartSettings(), { crosshair: new Crosshair(), marks: new MarkPainter() }];
  const scheduler = new FrameScheduler();
  const [ownHistory, parentHistory] = [new RangeHistory(changed), new RangeHistory(changed)];
  const drawToolbar = createToolbar(view, settings, changed);
  const drawLegend = createLegend(view, settings, changed);
  for (const name of METRICS) offerPicture(name, () => charts?.[name], () => describe(name, model.run, view.range));
  onThemeChange(() => {
    if (charts) paintAll(charts, settings, tools);
    changed();
  });
  return () => {
    drawInvitations(model);
    // With nothing to draw yet it would all be done twice.
    if (charts === null && !model.complete) return;
    const shown = [model.run, model.parentSeries, model.series, model.marks];
    if (shown.every((part, place) => part === drawn[place])) return;
    const isLive = shown[0] === drawn[0] && shown[1] === drawn[1];
    if (isLive && !scheduler.isFree(() => model.changed())) return;
    drawn = shown;
    view.update(model);
    const { range, mode } = view;
    const series = mode === "whole" ? model.series : ownHistory.of(ownSource(model), range, view.followed);
    const parentSeries = mode === "whole" ? model.parentSeries : parentHistory.of(parentSource(model), range, null);
    tools.marks.show(model.marks, settings.hiddenMarks);
    const bestAt = settings.hiddenMarks.includes("best") ? null : model.status?.best?.iteration_count;
    const drawing = { series, range, parentSeries, bestAt };
    // Before the charts, which are drawn again where these change the room that they have.
    drawToolbar();
    drawLegend(model.marks);
    if (charts === null) charts = createAll(view, settings, tools, drawing);
    else redrawAll(charts, settings, tools, { drawing, scheduler, isLive });
  };
}

function redrawAll(charts, settings, { crosshair }, { drawing, scheduler, isLive }) {
  for (const name of METRICS) fill(charts[name], name, drawing, settings);
  const draws = METRICS.map((name) => () => redraw(charts[name], crosshair));
  scheduler.drop();
  if (isLive) scheduler.begin(draws);
  else for (const draw of draws) draw();
}

const ownSource = ({ run, series }) => ({ run, series, address: "api/history" });
const parentSource = ({ status, parentSeries }) => ({ run: null, address: "", ...parentRun(status), series: parentSeries });

// The line of the run that was left, and the mark of the best state: neither has values to read off.
const NOT_READ_OFF = { data: [], pointHoverRadius: 0, pointHitRadius: 0, tension: 0 };
const FAINT = "55";
// A line of so many points is a pixel wide: without a graphics card that is drawn in a tenth of the time of a wider one.
const DENSE = 1000;
const [THIN, NORMAL] = [1, 1.5];
const [LINE, PARENT, BEST, SMOOTHED] = [0, 1, 2, 3];

// Filled before Chart.js sees them, because it draws a chart as soon as it is made.
function createAll(view, settings, tools, drawing) {
  const plans = Object.fromEntries(METRICS.map((name) => [name, plan(name, view, tools)]));
  paintAll(plans, settings, tools);
  for (const name of METRICS) fill(plans[name], name, drawing, settings);
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
        { ...NOT_READ_OFF, borderWidth: NORMAL, pointRadius: 0, order: 3 },
        { ...NOT_READ_OFF, showLine: false, pointStyle: "star", pointRadius: 7, borderWidth: 2, order: 0, clip: false },
        { ...NOT_READ_OFF, borderWidth: 2, pointRadius: 0, order: 1 },
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

function paintAll(charts, settings, { crosshair, marks }) {
  crosshair.paint(themeColour("--text"));
  marks.paint(themeColour);
  for (const name of METRICS) paint(charts[name], name, settings);
}

function paint(chart, name, settings) {
  const sets = chart.data.datasets;
  const own = themeColour(`--${name}`);
  sets[LINE].pointBackgroundColor = own;
  sets[PARENT].borderColor = own + FAINT;
  sets[BEST].borderColor = themeColour("--text");
  sets[SMOOTHED].borderColor = own;
  paintLine(chart, settings);
  paintSelection(chart, themeColour("--text"));
  paintScales(chart);
}

// Faint behind its own smoothing.
function paintLine({ data: { datasets: sets } }, settings) {
  sets[LINE].borderColor = settings.smoothing > 0 ? sets[SMOOTHED].borderColor + FAINT : sets[SMOOTHED].borderColor;
}

function redraw(chart, crosshair) {
  chart.update();
  crosshair.apply(chart);
}

function fill(chart, name, { series, range, parentSeries, bestAt }, settings) {
  const alone = series.iteration.length === 1 && range.min === range.max;
  const sets = chart.data.datasets;
  chart.data.labels = series.iteration;
  const borderWidth = series.iteration.length > DENSE ? THIN : NORMAL;
  Object.assign(sets[LINE], { data: series[name], pointRadius: alone ? 3 : 0, borderWidth });
  sets[PARENT].data = points(parentSeries, name);
  sets[BEST].data = mark(series, name, bestAt, range);
  sets[SMOOTHED].data = settings.smoothing > 0 ? smooth(series[name], settings.smoothing) : [];
  setScale(chart, name, settings.logarithmic);
  paintLine(chart, settings);
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
  if (status.initialized) return status.iteration_count ? "Loading the history …" : toOperators("Press Start Training: the line begins here.", "Nobody has started training yet: the line begins here.");
  return firstStep(status);
}
