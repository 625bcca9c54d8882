/** Pace and "train until". */

import { byId, setAttribute, setText } from "../lib/dom.js";
import { rate } from "../lib/format.js";
import { WATCHING, actsOnly, isWatching } from "../lib/role.js";

// null is "no limit".
const PACES = [1, 2, 5, 10, 20, 50, 100, 200, 500, null];
const SETTLE_MS = 150;

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {(model: import("../core/model.js").Model) => void} draws the pace control
 */
export function createPace(model, send) {
  const input = actsOnly(byId("pace-input"));
  let timer = null;
  let chosen;
  const submit = async () => {
    const sent = chosen;
    const answer = await send("set_pace", { iterations_per_second: sent });
    if (!answer.ok) model.say(answer.error.message, "error");
    if (sent === chosen) chosen = undefined;
    model.changed();
  };
  input.addEventListener("input", () => {
    chosen = PACES[input.valueAsNumber];
    clearTimeout(timer);
    timer = setTimeout(submit, SETTLE_MS);
    model.changed();
  });
  return ({ status, connection }) => {
    input.disabled = !status || connection !== "connected" || isWatching;
    setAttribute(input, "title", WATCHING ?? (input.disabled ? "Not connected to the server." : null));
    if (status) drawPace(input, chosen === undefined ? status.pace : chosen, chosen === undefined);
  };
}

function drawPace(input, pace, move) {
  if (move) input.value = String(nearest(pace));
  const text = pace == null ? "max" : `${rate(pace).replace(/\.0$/, "")} a second`;
  setText(byId("pace-value"), text);
  setAttribute(input, "aria-valuetext", pace == null ? "no limit" : `${text} iterations`);
}

function nearest(pace) {
  if (pace == null) return PACES.indexOf(null);
  const distances = PACES.map((stop) => (stop === null ? Infinity : Math.abs(Math.log(stop / pace))));
  return distances.indexOf(Math.min(...distances));
}

/** @returns {?object} the payload of start_training; null when the field needs correcting first */
export function readUntil() {
  const input = byId("until-input");
  if (!input.reportValidity()) return null;
  return input.value === "" ? {} : { until: input.valueAsNumber };
}

/** Empties the "until" field when training has got there, so that the next start is not refused. */
export function createUntilCleaner() {
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
