/** The pace slider: how many iterations a second. */

import { byId, setAttribute, setText } from "../lib/dom.js";
import { rate } from "../lib/format.js";
import { WATCHER_REASON, actsOnly, isWatcher } from "../lib/role.js";

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
    input.disabled = !status || connection !== "connected" || isWatcher;
    setAttribute(input, "title", WATCHER_REASON ?? (input.disabled ? "Not connected to the server." : null));
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
