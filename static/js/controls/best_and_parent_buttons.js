/** The buttons that load one certain state: the best one, the last good one before strikes, and the parent run. */

import { enable } from "../lib/disabled_reasons.js";
import { byId, setText } from "../lib/dom.js";
import { iterations, metric, whole } from "../lib/format.js";
import { actsOnly } from "../lib/role.js";
import { whyUnavailable } from "./availability.js";

/**
 * @param {import("../core/model.js").Model} model
 * @param {(source: string) => Promise<?boolean>} load
 * @returns {(model: import("../core/model.js").Model) => void} draws the buttons
 */
export function createBestAndParentButtons(model, load) {
  byId("best-button").addEventListener("click", () => load(model.status.best.id));
  byId("rescue-button").addEventListener("click", () => load(model.status.rescue.state));
  byId("branch-button").addEventListener("click", () => load(model.status.parent.split("@")[0]));
  for (const id of ["rescue-button", "branch-button"]) actsOnly(byId(id));
  return draw;
}

function draw({ status, connection }) {
  const explanation = status?.best && `Iteration ${whole(status.best.iteration_count)}, mean reward ${metric(status.best.reward)}. What is unsaved is saved first.`;
  enable(byId("best-button"), whyUnavailable(status, connection) ?? whyNotBest(status), explanation);
  if (status) drawParentNotice(status);
}

function whyNotBest(status) {
  if (!status.best) return "No best state yet: it takes as many iterations as its reward is smoothed over.";
  return status.refusals.load ?? null;
}

function drawParentNotice({ parent, saved_states: states = [], run }) {
  const [id, at] = parent?.split("@") ?? [];
  const state = states.find((each) => each.id === id && id !== run);
  byId("branch-notice").hidden = !state;
  if (state) setText(byId("branch-text"), `This run went on from iteration ${whole(Number(at))} of run ${id.slice(0, 8)}, which is kept with ${iterations(state.iteration_count)} (the faint line).`);
}
