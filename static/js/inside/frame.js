/**
 * The activity frame: what the server has sent of the inside of a run, decoded. Columns are kept from update to update, because
 * each brings only those that are missing here. Pure functions: none changes what it is given.
 *
 * @typedef {object} Columns each row of an array is one column of the pictures
 * @property {Uint32Array} last the last iteration of the column's stretch
 * @property {Int16Array} fields the field after it, cells times FULL
 * @property {Float32Array} plasticity
 * @property {Uint32Array} chosen how often each action was chosen until then
 * @property {Uint32Array} patterns how often each pattern won until then
 * @property {Float32Array} rates mean firing rate of each network's output, NaN where none was sampled
 *
 * @typedef {object} Frame
 * @property {Columns} columns
 * @property {Int16Array} field
 * @property {object} message the rest of the `inside_update` as it came
 */

/** What a cell of 1 is in the arrays of the field. */
export const FULL = 32_767;

const KINDS = { last: Uint32Array, fields: Int16Array, plasticity: Float32Array, chosen: Uint32Array, patterns: Uint32Array, rates: Float32Array };

/** @param {?Frame} before @param {object} update an `inside_update` @returns {?Frame} null where columns are missing in between */
export function applyUpdate(before, update) {
  const from = update.columns.from;
  const held = before?.columns.last.length ?? 0;
  if (from > held) return null;
  const columns = Object.fromEntries(
    Object.entries(KINDS).map(([name, Kind]) => [name, append(before?.columns[name], from, held, decode(update.columns[name], Kind))]),
  );
  return { columns, field: decode(update.field, Int16Array), message: update };
}

function append(old, from, held, added) {
  if (from === 0) return added;
  const kept = old.subarray(0, (old.length / held) * from);
  const all = new added.constructor(kept.length + added.length);
  all.set(kept);
  all.set(added, kept.length);
  return all;
}

/** @param {string} text base64 of little-endian numbers @param {Function} Kind a typed array @returns {object} one of that kind */
function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

/** @param {object} layer as it was sent @returns {Uint8Array} 1 where a neuron fires: a row for each time step */
export function spikesOf(layer) {
  const packed = decode(layer.spikes, Uint8Array);
  const bits = new Uint8Array(layer.time_steps * layer.neurons.length);
  return bits.map((_, place) => (packed[place >> 3] >> (7 - (place & 7))) & 1);
}

/**
 * @param {Uint32Array} totals until the end of each column, a row for each @param {number} width of a row
 * @returns {number[][]} for each place in a row, its share of each column's own counts
 */
export function shares(totals, width) {
  const series = Array.from({ length: width }, () => []);
  for (let start = 0; start < totals.length; start += width) {
    const own = Array.from({ length: width }, (_, place) => totals[start + place] - (start ? totals[start - width + place] : 0));
    const all = own.reduce((sum, count) => sum + count, 0);
    own.forEach((count, place) => series[place].push(all ? count / all : null));
  }
  return series;
}
