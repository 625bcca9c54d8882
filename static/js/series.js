/**
 * The four metric series over their iterations. Pure functions: none changes what it is given.
 *
 * @typedef {{iteration: number[], loss: ?number[], reward: ?number[], variance: ?number[], mean: ?number[]}} Series
 */

export const METRICS = ["loss", "reward", "variance", "mean"];
export const COLUMNS = ["iteration", ...METRICS];
export const LIMIT = 4000;

/** @returns {Series} */
export function empty() {
  return fromHistory({});
}

/** @param {object} history an answer of api/history @returns {Series} */
export function fromHistory(history) {
  return columns((name) => history[name] ?? []);
}

/** @param {Series} series @returns {number} the newest iteration, 0 when there is none */
export function newest(series) {
  return series.iteration.at(-1) ?? 0;
}

/** @param {Series} series @param {Series} points @returns {boolean} whether iterations between the two are missing */
export function isGap(series, points) {
  const last = newest(series);
  const first = points.iteration.find((iteration) => iteration > last);
  return first !== undefined && first !== last + 1;
}

/** @param {Series} series @param {Series} points in ascending order; those already held are ignored @returns {Series} */
export function append(series, points) {
  const last = newest(series);
  const from = points.iteration.findIndex((iteration) => iteration > last);
  if (from < 0) return series;
  return thin(columns((name) => series[name].concat(points[name].slice(from))));
}

/**
 * Thins a series that has grown beyond the limit, by stretches of equal length in iterations.
 * Each stretch keeps the smallest and largest value of each metric, so no spike vanishes.
 * @param {Series} series @param {number} [limit] @returns {Series}
 */
export function thin(series, limit = LIMIT) {
  if (series.iteration.length <= limit) return series;
  // Well below the limit, so that growing series are not thinned at every update.
  const stretches = Math.floor((limit * 0.75) / (2 * METRICS.length));
  const kept = [...keptIndices(series, stretches)].sort((a, b) => a - b);
  return columns((name) => kept.map((index) => series[name][index]));
}

function columns(make) {
  return Object.fromEntries(COLUMNS.map((name) => [name, make(name)]));
}

function keptIndices(series, stretches) {
  const kept = new Set([0, series.iteration.length - 1]);
  for (const [from, to] of ranges(series.iteration, stretches)) {
    for (const name of METRICS) addExtremes(kept, series[name], from, to);
  }
  return kept;
}

function* ranges(iterations, stretches) {
  const [first, last] = [iterations[0], iterations.at(-1)];
  const width = (last - first + 1) / stretches;
  let from = 0;
  for (let stretch = 1; stretch <= stretches; stretch++) {
    let to = from;
    while (to < iterations.length && iterations[to] < first + stretch * width) to++;
    if (to > from) yield [from, to];
    from = to;
  }
}

function addExtremes(kept, values, from, to) {
  let [low, high] = [-1, -1];
  for (let index = from; index < to; index++) {
    const value = values[index];
    if (value === null) continue;
    if (low < 0 || value < values[low]) low = index;
    if (high < 0 || value > values[high]) high = index;
  }
  if (low >= 0) kept.add(low).add(high);
}
