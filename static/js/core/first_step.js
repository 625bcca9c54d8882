/** The sentence on what to do first, for every part of the page that has nothing to show yet. */

import { toOperators } from "../lib/role.js";

/** @param {?object} status of the server @returns {string} a sentence */
export function firstStep(status) {
  if (!status) return "Waiting for the server …";
  if (status.running) return "Waiting for the first iteration …";
  if (status.initialized) return toOperators("Press Start Training.", "Nobody has started training yet.");
  const next = status.saved ? "Press Load Saved State to go on from there, or Initialize System for a new run." : "Press Initialize System, then Start Training.";
  return toOperators(next, "Nobody has begun a run yet.");
}
