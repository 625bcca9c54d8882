/** The range of iterations that the charts show: all, the one that was zoomed to, or the newest. */

import { iterations, whole } from "../lib/format.js";
import { newest } from "../core/series.js";

/** @typedef {{min: number, max: number}} Range of iterations, both included; not always whole numbers */

const SMALLEST_WIDTH = 4;

/** @param {import("../core/series.js").Series} series @param {import("../core/series.js").Series} parentSeries @returns {Range} what can be shown */
function boundsOf(series, parentSeries) {
  const first = series.iteration[0] ?? 0;
  return { min: first, max: Math.max(newest(series), newest(parentSeries), first) };
}

/**
 * Moves a range into the bounds, and narrows it only where it is wider than they are.
 * @param {Range} range @param {Range} bounds @returns {Range}
 */
function fit(range, bounds) {
  const width = Math.min(Math.max(range.max - range.min, SMALLEST_WIDTH), bounds.max - bounds.min);
  const middle = (range.min + range.max) / 2;
  const min = Math.min(Math.max(middle - width / 2, bounds.min), bounds.max - width);
  return { min, max: min + width };
}

/** @param {Range} range @returns {{start: number, end: number}} the whole iterations in it */
export function wholeIterations({ min, max }) {
  return { start: Math.ceil(min), end: Math.floor(max) };
}

/** @param {import("../core/series.js").Series} series @param {Range} range @returns {string} how much of the range is drawn */
export function caption(series, range) {
  const { start, end } = wholeIterations(range);
  const held = series.iteration.filter((iteration) => iteration >= start && iteration <= end).length;
  if (held === 0) return "";
  const all = Math.min(end, newest(series)) - start + 1;
  return held < all ? `${whole(held)} of ${whole(all)} points, extremes kept` : iterations(all);
}

export class VisibleRange {
  #run = null;
  #bounds = { min: 0, max: 0 };
  #newest = 0;
  /** @type {?Range} */
  #zoomed = null;
  /** @type {?number} how many of the newest iterations are followed */
  #followed = null;
  #changed;

  /** @param {() => void} changed called after every choice */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @returns {"whole"|"zoomed"|"following"} */
  get mode() {
    if (this.#zoomed) return "zoomed";
    return this.#followed === null ? "whole" : "following";
  }

  /** @returns {?number} how many iterations are followed */
  get followed() {
    return this.#followed;
  }

  /** Adapts to the series that there are now; a range of another run, or beyond the end, is given up. @param {object} model */
  update(model) {
    this.#bounds = boundsOf(model.series, model.parentSeries);
    this.#newest = newest(model.series);
    if (model.run !== this.#run || (this.#zoomed && this.#zoomed.max > this.#bounds.max)) this.#zoomed = null;
    this.#run = model.run;
  }

  /** @returns {Range} */
  get range() {
    const { min, max } = this.#bounds;
    if (this.#zoomed) return this.#zoomed;
    if (this.#followed === null) return { min, max };
    return { min: Math.max(min, this.#newest - this.#followed + 1), max: Math.max(min, this.#newest) };
  }

  /** @param {Range} range as wide as all there is: the whole history */
  zoom(range) {
    const fitting = fit(range, this.#bounds);
    const isAll = fitting.min <= this.#bounds.min && fitting.max >= this.#bounds.max;
    this.#zoomed = isAll ? null : fitting;
    this.#followed = null;
    this.#changed();
  }

  /** Moves the range. @param {number} part of its width, backwards where it is negative; infinite: to the first or newest iteration */
  move(part) {
    const { min, max } = this.range;
    const most = this.#bounds.max - this.#bounds.min;
    const step = Math.min(Math.max((max - min) * part, -most), most);
    this.zoom({ min: min + step, max: max + step });
  }

  /** Widens or narrows the range around its middle. @param {number} factor of its width */
  scale(factor) {
    const { min, max } = this.range;
    const [middle, reach] = [(min + max) / 2, ((max - min) * factor) / 2];
    this.zoom({ min: middle - reach, max: middle + reach });
  }

  /** Shows an iteration from near by. @param {number} iteration */
  show(iteration) {
    const { min, max } = this.range;
    const reach = Math.max((max - min) / 20, 10 * SMALLEST_WIDTH);
    this.zoom({ min: iteration - reach, max: iteration + reach });
  }

  /** @param {?number} count of the newest iterations; null: the whole history */
  follow(count) {
    this.#zoomed = null;
    this.#followed = count;
    this.#changed();
  }
}
