/** The axes that all line charts share, and their colours. */

import { themeColour } from "./theme_colours.js";

/** What cannot be negative: it is not drawn with room below zero, and may be drawn on a logarithmic scale. */
export const POSITIVE = ["loss", "variance"];

/** @param {string} name of a metric @param {boolean} [logarithmic] only for what cannot be negative @returns {object} the scales of its chart */
export function scaleOptions(name, logarithmic = false) {
  return {
    x: { type: "linear", ticks: { maxTicksLimit: 7, maxRotation: 0, precision: 0, includeBounds: false } },
    y: logarithmic && POSITIVE.includes(name) ? logarithmicAxis() : linear(name),
  };
}

function logarithmicAxis() {
  return { type: "logarithmic", ticks: { maxTicksLimit: 6, callback: power } };
}

// Chart.js says which lines get a label; its own labels write all zeros out.
function power(value, index, ticks) {
  if (globalThis.Chart.Ticks.formatters.logarithmic.call(this, value, index, ticks) === "") return "";
  return value < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(2)));
}

function linear(name) {
  return { type: "linear", min: POSITIVE.includes(name) ? 0 : undefined, ticks: { maxTicksLimit: 6 } };
}

/** Gives a chart's scales the colours of the theme. @param {object} chart */
export function paintScales(chart) {
  const { fontFamily: family } = getComputedStyle(document.documentElement);
  for (const scale of Object.values(chart.options.scales)) {
    Object.assign(scale.ticks, { color: themeColour("--muted"), font: { size: 12, family } });
    Object.assign(scale, { grid: { color: themeColour("--grid") }, border: { color: themeColour("--border") } });
  }
}
