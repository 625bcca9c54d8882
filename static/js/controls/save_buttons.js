/** The buttons beside the five: save under a name, load the best state, and the ways back. */

import { byId, setText } from "../lib/dom.js";
import { iterations, metric, whole } from "../lib/format.js";
import { enable } from "../lib/disabled_reasons.js";
import { WATCHING, actsOnly } from "../lib/role.js";

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @param {(source: string) => Promise<?boolean>} load
 * @returns {(model: import("../core/model.js").Model) => void}
 */
export function createShelf(model, send, load) {
  byId("slot-button").addEventListener("click", () => openSlot());
  byId("slot-cancel").addEventListener("click", () => byId("slot-dialog").close());
  byId("slot-dialog").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    saveSlot(model, send);
  });
  byId("best-button").addEventListener("click", () => load(model.status.best.id));
  byId("rescue-button").addEventListener("click", () => load(model.status.rescue.state));
  byId("branch-button").addEventListener("click", () => load(model.status.parent.split("@")[0]));
  for (const id of ["rescue-button", "branch-button"]) actsOnly(byId(id));
  return draw;
}

function openSlot() {
  byId("slot-taken").hidden = true;
  byId("slot-dialog").showModal();
  byId("slot-name").select();
}

async function saveSlot(model, send) {
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

function draw(model) {
  const { status, connection, pending } = model;
  const why = whyNot(status, connection);
  enable(byId("slot-button"), why ?? (status.run ? null : "There is no run to save."), "Keep the run as it is now under a name.");
  enable(byId("best-button"), why ?? whyNotBest(status), status?.best && `Iteration ${whole(status.best.iteration_count)}, mean reward ${metric(status.best.reward)}. What is unsaved is saved first.`);
  byId("slot-confirm").disabled = pending.has("slot");
  if (!status) return;
  drawRescue(status);
  drawBranch(status);
}

function whyNot(status, connection) {
  if (WATCHING !== null) return WATCHING;
  if (connection !== "connected") return "Not connected to the server.";
  return status ? null : "Waiting for the server's first answer.";
}

function whyNotBest(status) {
  if (!status.best) return "No best state yet: it takes as many iterations as its reward is smoothed over.";
  return status.refusals.load ?? null;
}

function drawRescue({ rescue, running }) {
  byId("rescue-banner").hidden = !rescue || running;
  if (rescue) setText(byId("rescue-text"), `Training ended at iteration ${whole(rescue.struck_at)} after three void iterations in a row. The last good state from before is iteration ${whole(rescue.iteration_count)}.`);
}

function drawBranch({ parent, saved_states: states = [], run }) {
  const [before, at] = parent?.split("@") ?? [];
  const left = states.find((state) => state.id === before && before !== run);
  byId("branch-notice").hidden = !left;
  if (left) setText(byId("branch-text"), `This run went on from iteration ${whole(Number(at))} of run ${before.slice(0, 8)}, which is kept with ${iterations(left.iteration_count)} (the faint line).`);
}
