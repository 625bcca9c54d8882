/** The dialog of "Load what is there": the state directory was exchanged under the live server; training stops, then a person is asked. */

import { ask } from "../lib/dialog.js";
import { byId, setText } from "../lib/dom.js";
import { iterations } from "../lib/format.js";

const CANCELLED = "Nothing was loaded; the run stays in memory.";

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {Promise<?object>} the payload of load_state; null when cancelled
 */
export async function confirmTakeover(model, send) {
  if (model.status.running && !(await stop(model, send))) return null;
  drawTakeover(model);
  if (await ask(byId("takeover-dialog"))) return { discard_unsaved: true };
  model.say(CANCELLED, "info", "takeover");
  return null;
}

/** Redraws the dialog while it is open. @param {import("../core/model.js").Model} model */
export function drawTakeoverDialog(model) {
  if (byId("takeover-dialog").open) drawTakeover(model);
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

function drawTakeover({ status }) {
  // Somebody else has answered it, or the folder is back.
  if (status.save_error?.code !== "folder_changed") byId("takeover-dialog").close();
  const { iteration_count: count, unsaved_iterations: unsaved } = status;
  const rest = unsaved < count ? "the others were saved only in the folder as it was before" : "there is no save of it";
  const lost = `${iterations(unsaved)} ${unsaved === 1 ? "was" : "were"} never saved, ${rest}.`;
  setText(byId("takeover-loss"), `Training is stopped. Loading gives up the run in memory, ${iterations(count)}: ${lost}`);
}
