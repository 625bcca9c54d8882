/** "Train until iteration": what the Start button sends, and the field that empties itself when training has got there. */

import { byId } from "../lib/dom.js";
import { actsOnly } from "../lib/role.js";

/** @returns {?object} the payload of start_training; null when the field needs correcting first */
export function readUntil() {
  const input = byId("until-input");
  if (!input.reportValidity()) return null;
  return input.value === "" ? {} : { until: input.valueAsNumber };
}

/** Empties the "until" field when training has got there, so that the next start is not refused. */
export function createUntil() {
  const input = actsOnly(byId("until-input"));
  // How things stood when nothing was trained last: a short run is over before it was ever drawn as running.
  let before = null;
  return ({ status }) => {
    if (!status) return;
    const { run, running, iteration_count: count } = status;
    if (before?.run !== run) before = { run, count: running ? null : count };
    if (running) return;
    if (count !== before.count && input.valueAsNumber <= count) input.value = "";
    before.count = count;
  };
}
