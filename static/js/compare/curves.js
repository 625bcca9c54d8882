/** The curves of all compared states in four charts, a colour for each state, and the legend that hides them. */

import { paintScales, scaleOptions } from "../lib/axes.js";
import { byId, make, setAttribute, setText } from "../lib/dom.js";
import { iterations, metric, whole } from "../lib/format.js";
import { ROOM, letters } from "./line_letters.js";
import { METRICS } from "../core/series.js";
import { chip, letter } from "./sides.js";
import { onThemeChange, themeColour } from "../lib/theme_colours.js";

/** @param {object} comparison an answer of api/compare */
export function drawCurves({ states, curves }) {
  const charts = METRICS.map((name) => createChart(name, curves));
  const paint = () => charts.forEach(paintChart);
  paint();
  onThemeChange(paint);
  byId("curves-legend").replaceChildren(...states.map((state, number) => entry(state, number, charts)));
}

function createChart(name, curves) {
  setText(byId(`${name}-caption`), caption(curves));
  return new globalThis.Chart(byId(`${name}-chart`), {
    type: "line",
    data: { datasets: curves.map((curve, number) => dataset(curve, name, number)) },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      parsing: false,
      layout: { padding: { right: ROOM } },
      locale: "en",
      interaction: { mode: "nearest", intersect: false, axis: "x" },
      scales: scales(name, curves),
      plugins: { legend: { display: false }, tooltip: tooltip() },
    },
    plugins: [letters],
  });
}

function scales(name, curves) {
  const { x, y } = scaleOptions(name);
  const last = Math.max(2, ...curves.map((curve) => curve.iteration.at(-1) ?? 0));
  return { x: { ...x, min: 1, max: last }, y };
}

function dataset(curve, name, number) {
  return {
    label: letter(number),
    data: curve.iteration.map((x, index) => ({ x, y: curve[name][index] ?? NaN })),
    // The reference lies beneath and is broader, so that it is still seen where another line covers it.
    borderWidth: number === 0 ? 4 : 1.5,
    order: -number,
    pointRadius: curve.iteration.length === 1 ? 3 : 0,
    pointHoverRadius: 3,
    tension: 0,
  };
}

function tooltip() {
  return {
    callbacks: {
      title: ([item]) => `Iteration ${whole(item.parsed.x)}`,
      label: (item) => `${item.dataset.label}: ${metric(item.parsed.y)}`,
    },
  };
}

function paintChart(chart) {
  chart.data.datasets.forEach((set, number) => {
    const colour = themeColour(`--side-${number}`);
    Object.assign(set, { borderColor: number === 0 ? `${colour}99` : colour, pointBackgroundColor: colour, backgroundColor: colour });
  });
  paintScales(chart);
  chart.update();
}

function caption(curves) {
  const thinned = curves.some((curve) => curve.thinned);
  const longest = Math.max(...curves.map((curve) => curve.total));
  return thinned ? `${iterations(longest)}, thinned, extremes kept` : iterations(longest);
}

function entry(state, number, charts) {
  const button = make("button", { type: "button", title: "Show or hide this state's curves" }, chip(number), state.label);
  setAttribute(button, "aria-pressed", "true");
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    setAttribute(button, "aria-pressed", String(shown));
    for (const chart of charts) {
      chart.setDatasetVisibility(number, shown);
      chart.update();
    }
  });
  return make("li", {}, button);
}
