/**
 * Thinning: a long series becomes one of few points that keeps every extreme. Pure functions: none changes what it is given.
 *
 * @typedef {import("./series.js").Series} Series
 */

import { METRICS, columnsOf, newest } from "./series.js";

/** The most points of the whole history that are drawn. */
export const LIMIT = 4000;

/**
 * Thins a series of more iterations than the limit exactly as the server does (`History.slice`), so that a page that has been
 * open for long shows what one shows that was just opened: of each column the last iteration and those with the smallest and
 * largest value of each metric stay. A column is a stretch of 2^k iterations that begins at a multiple of its width.
 * @param {Series} series of all iterations, or thinned to columns that are no wider @param {number} [limit] @returns {Series}
 */
export function thin(series, limit = LIMIT) {
  const [first, last] = [series.iteration[0] - 1, newest(series) - 1];
  if (series.iteration.length === 0 || last - first < limit) return series;
  const width = columnWidth(first, last, Math.max(1, Math.floor((limit - 1) / (2 * METRICS.length + 1))));
  const kept = [...keptIndices(series, width)].sort((a, b) => a - b);
  return columnsOf((name) => kept.map((index) => series[name][index]));
}

function columnWidth(first, last, most) {
  let width = 1;
  while (Math.floor(last / width) - Math.floor(first / width) >= most) width *= 2;
  return width;
}

function keptIndices(series, width) {
  const kept = new Set([0]);
  for (const [from, to] of stretches(series.iteration, width)) {
    kept.add(to - 1);
    for (const name of METRICS) addExtremes(kept, series[name], from, to);
  }
  return kept;
}

function* stretches(iterations, width) {
  const columnOf = (index) => Math.floor((iterations[index] - 1) / width);
  for (let from = 0; from < iterations.length; ) {
    let to = from + 1;
    while (to < iterations.length && columnOf(to) === columnOf(from)) to++;
    yield [from, to];
    from = to;
  }
}

// Of values that are lost throughout, the first stays, so that the gap shows.
function addExtremes(kept, values, from, to) {
  let [low, high] = [-1, -1];
  for (let index = from; index < to; index++) {
    const value = values[index];
    if (value === null) continue;
    if (low < 0 || value < values[low]) low = index;
    if (high < 0 || value > values[high]) high = index;
  }
  kept.add(low < 0 ? from : low).add(high < 0 ? from : high);
}
