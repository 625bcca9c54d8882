/** The history of the range that is shown, fetched wherever the page's own series is too coarse for it. */

import { fetchJson } from "../core/connection.js";
import { columnsOf, fromHistory, newest } from "../core/series.js";

const POINTS = 2000;
const DEBOUNCE_MS = 150;
const RETRY_MS = 1000;

/** @param {import("../core/series.js").Series} series @param {number} start @param {number} end both included @returns {import("../core/series.js").Series} */
export function cut(series, start, end) {
  const from = series.iteration.findIndex((iteration) => iteration >= start);
  const past = series.iteration.findIndex((iteration) => iteration > end);
  const to = past < 0 ? series.iteration.length : past;
  return columnsOf((name) => (from < 0 ? [] : series[name].slice(from, to)));
}

export class RangeHistory {
  /** @type {?{run: string, start: number, end: number, followed: ?number, series: import("../core/series.js").Series}} */
  #held = null;
  #wanted = "";
  #isBusy = false;
  #timer = null;
  #changed;

  /** @param {() => void} changed called when a better series is here */
  constructor(changed) {
    this.#changed = changed;
  }

  /**
   * The best series at hand for the whole iterations that cover a range; a better one is fetched where there is one.
   * @param {{run: ?string, series: import("../core/series.js").Series, address: string}} whole what is drawn far out, and where more is asked for
   * @param {import("./range.js").Range} range
   * @param {?number} followed how many of the newest iterations the range follows; null: it stays where it is
   * @returns {import("../core/series.js").Series}
   */
  of(whole, range, followed) {
    const [start, end] = [Math.max(Math.floor(range.min), whole.series.iteration[0] ?? 0), Math.ceil(range.max)];
    const last = Math.min(end, newest(whole.series));
    const coarse = cut(whole.series, start, end);
    if (coarse.iteration.length >= last - start + 1) return coarse;
    this.#extend(whole, start, end);
    const asked = { run: whole.run, address: whole.address, start, end, followed };
    if (!this.#fits(asked, last)) this.#ask(asked);
    return this.#covers(start, followed ? start : last) && this.#isDenser(coarse, start, end) ? cut(this.#held.series, start, end) : coarse;
  }

  // What was trained since belongs to it as long as nothing between is missing.
  #extend({ run, series }, start, end) {
    if (this.#held?.run !== run) this.#held = null;
    if (!this.#held) return;
    const last = newest(this.#held.series);
    const until = this.#held.followed ? end : this.#held.end;
    const newer = cut(series, last + 1, until);
    if (newer.iteration.length === 0 || newer.iteration.length < newest(newer) - last) return;
    const longer = columnsOf((name) => this.#held.series[name].concat(newer[name]));
    this.#held.series = this.#held.followed ? cut(longer, start, until) : longer;
  }

  #covers(start, end) {
    return this.#held !== null && this.#held.start <= start && newest(this.#held.series) >= end;
  }

  #isDenser(coarse, start, end) {
    return cut(this.#held.series, start, end).iteration.length > coarse.iteration.length;
  }

  // One that was fetched for a wider range would be too coarse.
  #fits({ start, end, followed }, last) {
    if (!this.#covers(start, last) || this.#held.followed !== followed) return false;
    return followed !== null || (this.#held.start === start && this.#held.end === end);
  }

  // While one zooms on, only the last range is fetched; a range that moves by itself never comes to rest.
  #ask(asked) {
    const wanted = JSON.stringify(asked);
    const goesOn = this.#isBusy && asked.followed !== null && JSON.parse(this.#wanted).followed === asked.followed;
    if (wanted === this.#wanted || goesOn) return;
    this.#wanted = wanted;
    this.#isBusy = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fetch(asked, wanted), DEBOUNCE_MS);
  }

  async #fetch(asked, wanted) {
    const { start, end, run, address } = asked;
    const answer = await fetchJson(`${address}?start=${start}&end=${end}&points=${POINTS}`).catch(() => null);
    if (wanted !== this.#wanted) return;
    if (answer?.body.run === run) this.#held = { ...asked, series: fromHistory(answer.body) };
    else await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    if (wanted !== this.#wanted) return;
    this.#wanted = "";
    this.#isBusy = false;
    this.#changed();
  }
}
