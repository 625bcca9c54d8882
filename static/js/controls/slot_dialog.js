/** "Save as …": its button, and the dialog that saves the run under a name. */

import { enable } from "../lib/disabled_reasons.js";
import { byId, setText } from "../lib/dom.js";
import { iterations } from "../lib/format.js";
import { whyUnavailable } from "./availability.js";

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {(model: import("../core/model.js").Model) => void} draws the button and the dialog
 */
export function createSlotDialog(model, send) {
  byId("slot-button").addEventListener("click", () => open());
  byId("slot-cancel").addEventListener("click", () => byId("slot-dialog").close());
  byId("slot-dialog").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    save(model, send);
  });
  return draw;
}

function open() {
  byId("slot-taken").hidden = true;
  byId("slot-dialog").showModal();
  byId("slot-name").select();
}

async function save(model, send) {
  const name = byId("slot-name").value.trim();
  const overwrite = !byId("slot-taken").hidden && byId("slot-taken").dataset.name === name;
  if (model.pending.has("slot")) return;
  model.begin("slot", `Saving as “${name}” …`);
  const answer = await send("save_slot", { name, overwrite });
  if (answer.ok) {
    model.end("slot", { type: "success", text: `Saved as “${name}”: ${iterations(answer.iteration_count)}.` });
    byId("slot-dialog").close();
    byId("slot-name").value = "";
    return;
  }
  model.end("slot", { type: "error", text: answer.error.message });
  byId("slot-taken").hidden = false;
  setText(byId("slot-taken"), answer.error.code === "name_taken" ? "There is a saved state of this name already. Save again to replace it; the old one can be taken back for an hour." : answer.error.message);
  byId("slot-taken").dataset.name = answer.error.code === "name_taken" ? name : "";
}

function draw({ status, connection, pending }) {
  enable(byId("slot-button"), whyUnavailable(status, connection) ?? (status.run ? null : "There is no run to save."), "Keep the run as it is now under a name.");
  byId("slot-confirm").disabled = pending.has("slot");
}
