/** The toolbar above the charts: what is followed, smoothing, the logarithmic scale, and the way back to the whole history. */

import { byId, setText } from "../lib/dom.js";
import { readJson, write } from "../lib/storage.js";

const KEY = "quadra.charts";
const MOST = 0.99;

/** How the lines are drawn; remembered by the browser where it allows that. */
export class ChartSettings {
  smoothing = 0;
  logarithmic = false;
  /** @type {string[]} kinds of marks that are not drawn */
  hiddenMarks = [];

  constructor() {
    const { smoothing, logarithmic, hiddenMarks } = readJson(KEY) ?? {};
    if (typeof smoothing === "number" && smoothing >= 0 && smoothing <= MOST) this.smoothing = smoothing;
    this.logarithmic = logarithmic === true;
    if (Array.isArray(hiddenMarks)) this.hiddenMarks = hiddenMarks;
  }

  /** @param {{smoothing?: number, logarithmic?: boolean, hiddenMarks?: string[]}} changes */
  change(changes) {
    Object.assign(this, changes);
    const { smoothing, logarithmic, hiddenMarks } = this;
    write(KEY, JSON.stringify({ smoothing, logarithmic, hiddenMarks }));
  }
}

/** @param {import("./range.js").VisibleRange} view @param {ChartSettings} settings @param {() => void} changed @returns {() => void} draws the row */
export function createToolbar(view, settings, changed) {
  const [follow, slider, scale, whole] = ["follow-select", "smoothing-input", "log-input", "whole-button"].map(byId);
  const change = (changes) => {
    settings.change(changes);
    changed();
  };
  slider.value = String(settings.smoothing);
  scale.checked = settings.logarithmic;
  follow.addEventListener("change", () => view.follow(Number(follow.value) || null));
  slider.addEventListener("input", () => change({ smoothing: Number(slider.value) }));
  scale.addEventListener("change", () => change({ logarithmic: scale.checked }));
  whole.addEventListener("click", () => {
    view.follow(null);
    // The button goes; whoever came by keyboard stays in the row.
    follow.focus();
  });
  return () => {
    follow.value = view.mode === "zoomed" ? "zoomed" : String(view.followed ?? "");
    whole.hidden = view.mode !== "zoomed";
    setText(byId("smoothing-value"), settings.smoothing.toFixed(2));
  };
}
