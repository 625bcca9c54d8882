/** Loading what somebody put into the state directory under the live server: training stops, then a person is asked. */

import { confirmTakeover } from "./dialogs.js";
import { iterations } from "../lib/format.js";

const CALLED_OFF = "Nothing was loaded; the run stays in memory.";

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {Promise<?object>} the payload of load_state; null when called off
 */
export async function giveUpMemory(model, send) {
  if (model.status.running && !(await stop(model, send))) return null;
  if (await confirmTakeover(model)) return { discard_unsaved: true };
  model.say(CALLED_OFF, "info", "takeover");
  return null;
}

async function stop(model, send) {
  model.begin("takeover", "Stopping …");
  const { ok, iteration_count: count, error } = await send("stop_training", {});
  // That the run cannot be saved there is the reason to be here; somebody else may have stopped it.
  const stopped = ["save_failed", "refused"].includes(error?.code);
  model.end("takeover", outcome());
  return stopped;

  function outcome() {
    if (ok) return { type: "success", text: `Stopped and saved: ${iterations(count)}. The folder is this server's own again.` };
    return stopped ? { type: "info", text: "Training has stopped." } : { type: "error", text: error.message };
  }
}
