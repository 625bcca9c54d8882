/**
 * The four metric series over their iterations. Pure functions: none changes what it is given.
 *
 * @typedef {{iteration: number[], loss: ?number[], reward: ?number[], variance: ?number[], mean: ?number[]}} Series
 */

export const METRICS = ["loss", "reward", "variance", "mean"];
const COLUMNS = ["iteration", ...METRICS];

/** @returns {Series} */
export function empty() {
  return fromHistory({});
}

/** @param {object} history an answer of api/history @returns {Series} */
export function fromHistory(history) {
  return columnsOf((name) => history[name] ?? []);
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
  return columnsOf((name) => series[name].concat(points[name].slice(from)));
}

/** @param {(name: string) => *} make the column of this name @returns {object} all columns */
export function columnsOf(make) {
  return Object.fromEntries(COLUMNS.map((name) => [name, make(name)]));
}
