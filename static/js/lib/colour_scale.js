/** Colour scales: the colours between those of the theme, mixed in OKLab, where equal steps look equal. */

const [TO_CONE, TO_LAB] = [
  [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]],
  [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]],
];
const [FROM_LAB, FROM_CONE] = [
  [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]],
  [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965], [-0.0041960863, -0.7034186147, 1.707614701]],
];

const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const encoded = (value) => (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055);
const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, factor, place) => sum + factor * vector[place], 0));

function lab(hex) {
  const channels = [1, 3, 5].map((start) => linear(parseInt(hex.slice(start, start + 2), 16) / 255));
  return times(TO_LAB, times(TO_CONE, channels).map(Math.cbrt));
}

function channelsOf(colour) {
  const channels = times(FROM_CONE, times(FROM_LAB, colour).map((value) => value ** 3));
  return channels.map((value) => Math.round(255 * encoded(Math.min(1, Math.max(0, value)))));
}

/** @param {string[]} stops "#rrggbb", evenly spread @param {number} [steps] @returns {number[][]} red, green and blue of each step */
export function scaleOf(stops, steps = 256) {
  const known = stops.map(lab);
  return Array.from({ length: steps }, (_, step) => {
    const at = (step / Math.max(1, steps - 1)) * (known.length - 1);
    const from = Math.min(Math.floor(at), known.length - 2);
    return channelsOf(known[from].map((value, place) => value + (at - from) * (known[from + 1][place] - value)));
  });
}

/** @param {number[]} colour red, green and blue @returns {string} as CSS writes it */
export function css([red, green, blue]) {
  return `#${[red, green, blue].map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}
