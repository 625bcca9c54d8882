/** The downloads of a chart: as a picture (PNG), and its range as a table of every iteration (CSV). */

import { byId, make, setAttribute } from "../lib/dom.js";
import { whole } from "../lib/format.js";
import { wholeIterations } from "./range.js";

const HEAD = 30;
const MARGIN = 10;
const REVOKED_AFTER_MS = 10_000;

/** @param {string} name of the metric @param {() => ?object} chartOf once there is one @param {() => string} describe what is shown, for the picture's headline and file name */
export function offerPicture(name, chartOf, describe) {
  byId(`${name}-png`).addEventListener("click", () => {
    const chart = chartOf();
    if (!chart) return;
    const { title, file } = describe();
    picture(chart, title).toBlob((blob) => save(blob, `${file}.png`), "image/png");
  });
}

/** @param {string} name of the metric @param {import("./range.js").Range} range that is shown */
export function linkTable(name, range) {
  const { start, end } = wholeIterations(range);
  setAttribute(byId(`${name}-csv`), "href", `api/history.csv?start=${Math.max(1, start)}&end=${end}`);
}

/**
 * @param {string} name of the metric @param {?string} run @param {import("./range.js").Range} range
 * @returns {{title: string, file: string}} the headline and the file name of a picture
 */
export function describe(name, run, range) {
  const { start, end } = wholeIterations(range);
  const title = byId(`${name}-title`).textContent.trim();
  return {
    title: `${title}, iterations ${whole(start)} to ${whole(end)} (${byId(`${name}-caption`).textContent})`,
    file: `quadramatrix-${(run ?? "no-run").slice(0, 8)}-${name}-${start}-${end}`,
  };
}

// The chart itself has no ground of its own, and its title stands outside of it.
function picture(chart, title) {
  const style = getComputedStyle(document.documentElement);
  const scale = chart.currentDevicePixelRatio;
  const canvas = make("canvas", { width: chart.canvas.width + 2 * MARGIN * scale, height: chart.canvas.height + (HEAD + MARGIN) * scale });
  const context = canvas.getContext("2d");
  context.fillStyle = style.getPropertyValue("--panel").trim();
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = style.getPropertyValue("--text").trim();
  context.font = `600 ${13 * scale}px ${style.fontFamily}`;
  context.fillText(title, MARGIN * scale, 20 * scale, canvas.width - 2 * MARGIN * scale);
  context.drawImage(chart.canvas, MARGIN * scale, HEAD * scale);
  return canvas;
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  // Not at once: the browser reads it only after the click.
  setTimeout(() => URL.revokeObjectURL(address), REVOKED_AFTER_MS);
}
