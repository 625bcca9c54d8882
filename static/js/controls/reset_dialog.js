/** The dialog of the Reset button: what it deletes, kept up to date while it is open. */

import { ask } from "../lib/dialog.js";
import { byId, make } from "../lib/dom.js";
import { iterations } from "../lib/format.js";

/**
 * @param {import("../core/model.js").Model} model
 * @returns {Promise<?object>} the payload of reset_system; null when cancelled
 */
export async function confirmReset(model) {
  drawReset(model);
  return (await ask(byId("reset-dialog"))) ? {} : null;
}

/** Redraws the dialog while it is open, because saves go on. @param {import("../core/model.js").Model} model */
export function drawResetDialog(model) {
  if (byId("reset-dialog").open) drawReset(model);
}

function drawReset({ status }) {
  const list = byId("reset-list");
  const items = status.reset_deletes ?? [];
  if (list.dataset.drawn !== JSON.stringify(items)) {
    list.replaceChildren(...items.map((text) => make("li", { textContent: text })));
    list.dataset.drawn = JSON.stringify(items);
  }
  byId("reset-disk").textContent = items.length ? `In the folder ${status.state_dir}:` : `Nothing is saved in the folder ${status.state_dir}.`;
  byId("reset-memory").textContent = inMemory(status);
}

function inMemory({ initialized, running, iteration_count: count }) {
  if (!initialized) return "No run is in memory.";
  return `The run in memory, ${iterations(count)}${running ? "; training is stopped first." : "."}`;
}
