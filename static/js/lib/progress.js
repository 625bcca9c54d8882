/** The sentence on how far a long command has come: how much of how much, how many percent, how long still. */

import { duration, size } from "./format.js";

/**
 * @typedef {object} Progress
 * @property {"load"|"restore"|"import"} command
 * @property {string} doing
 * @property {number} done @property {number} total bytes
 * @property {?number} seconds_left null while nothing can be said of it
 */

// What the page waits for while the server tells of these.
const SHOWN_FOR = { load: ["load", "takeover", "restore"], restore: ["restore"], import: ["import"] };

/**
 * @param {?Progress} progress @param {?string} command the one that the page waits for
 * @returns {?string} "Reading and checking 45 MB of 80 MB (56 %), 9 s left"; null where nothing is known of it
 */
export function progressText(progress, command) {
  if (!progress || !SHOWN_FOR[progress.command]?.includes(command)) return null;
  const { doing, done, total, seconds_left: left } = progress;
  const still = left === null || done >= total ? "" : `, ${duration(left)} left`;
  return `${doing} ${size(done)} of ${size(total)} (${Math.floor((100 * done) / Math.max(total, 1))} %)${still}`;
}
