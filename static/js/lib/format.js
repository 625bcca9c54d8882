/** Numbers, ages and durations as the page writes them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FOUR_DIGITS = new Intl.NumberFormat("en", { minimumSignificantDigits: 4, maximumSignificantDigits: 4 });
const SCIENTIFIC = new Intl.NumberFormat("en", { notation: "scientific", maximumFractionDigits: 3 });
const ONE_DECIMAL = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const THREE_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const TWO_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const ABSOLUTE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const AGES = {
  long: new Intl.RelativeTimeFormat("en", { style: "long" }),
  narrow: new Intl.RelativeTimeFormat("en", { style: "narrow" }),
};
const SIZES = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]];
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export const NO_VALUE = "–";

/** @param {?number} value @returns {string} "1,234" */
export function whole(value) {
  return value == null ? NO_VALUE : WHOLE.format(value);
}

/** @param {?number} value @returns {string} four significant digits: "0.05123" */
export function metric(value) {
  if (value == null) return NO_VALUE;
  if (value === 0) return "0";
  const tiny = Math.abs(value) < 1e-4;
  return tiny ? SCIENTIFIC.format(value) : FOUR_DIGITS.format(value);
}

/** @param {?number} value @returns {string} "9.8", or "1,250" where decimals say nothing */
export function rate(value) {
  if (value == null) return NO_VALUE;
  return value < 100 ? ONE_DECIMAL.format(value) : WHOLE.format(value);
}

/** @param {?number} count @returns {string} "1 iteration", "220 iterations" */
export function iterations(count) {
  return `${whole(count)} iteration${count === 1 ? "" : "s"}`;
}

/** @param {number} bytes @returns {string} "412 kB", "19.8 MB" */
export function size(bytes) {
  const [unit, of] = SIZES.find(([, least]) => bytes >= least) ?? ["bytes", 1];
  return `${THREE_DIGITS.format(bytes / of)} ${unit}`;
}

/** @param {number} ms @returns {string} "0.02 ms", "120 ms", "1.4 s" */
export function milliseconds(ms) {
  if (ms < 10) return `${TWO_DIGITS.format(ms)} ms`;
  return ms < 1000 ? `${WHOLE.format(ms)} ms` : `${ONE_DECIMAL.format(ms / 1000)} s`;
}

/**
 * @param {string} when ISO 8601
 * @param {number} now milliseconds, by the server's clock
 * @param {"long"|"narrow"} [style]
 * @returns {string} "3 minutes ago"
 */
export function age(when, now, style = "long") {
  const seconds = Math.round((now - Date.parse(when)) / 1000);
  if (!(seconds >= 2)) return "just now";
  const [unit, size] = UNITS.find(([, length]) => seconds >= length);
  return AGES[style].format(-Math.floor(seconds / size), unit);
}

/** @param {string|Date} when ISO 8601, or a time @returns {string} "23 Nov 2026, 09:24" */
export function absolute(when) {
  return ABSOLUTE.format(new Date(when));
}

/** @param {Date} time @returns {string} "09:24:31" */
export function clock(time) {
  return CLOCK.format(time);
}

/** @param {number} seconds @returns {string} the two largest units: "3 min 20 s" */
export function duration(seconds) {
  const total = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60];
  if (hours) return `${WHOLE.format(hours)} h ${minutes} min`;
  return minutes ? `${minutes} min ${total % 60} s` : `${total} s`;
}

/** @param {?number} share @returns {string} "12.5 %" */
export function percent(share) {
  return share == null ? NO_VALUE : `${THREE_DIGITS.format(100 * share)} %`;
}
