/** Exponential smoothing of the values that are drawn. */

/**
 * Each smoothed value is `weight` parts of the one before and `1 - weight` parts of the new value, divided by the sum of all
 * weights so far; so the first values are not drawn towards zero.
 * @param {?number[]} values null where one is lost: it stays lost, and the next goes on from the last
 * @param {number} weight from 0 (the values themselves) to below 1
 * @returns {?number[]} as long as the values
 */
export function smooth(values, weight) {
  let [sum, weights] = [0, 0];
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    weights = weight * weights + (1 - weight);
    return sum / weights;
  });
}
