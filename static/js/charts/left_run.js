/** The run that was left by going back: its history, for the faint line in the charts. */

import { fetchJson } from "../core/connection.js";
import { empty, fromHistory } from "../core/series.js";

/** @param {object} status @returns {?{run: string, address: string}} the run that was left, and where its history is asked for */
export function leftRun(status) {
  const run = status?.parent?.split("@")[0];
  return run ? { run, address: `api/states/${run}/history` } : null;
}

/** @returns {(model: import("../core/model.js").Model) => void} keeps `model.branch` true */
export function createBranch() {
  let wanted = null;
  return (model) => {
    const key = keyOf(model.status);
    if (key === wanted) return;
    wanted = key;
    model.branch = empty();
    if (key !== null) fetchBranch(model, key, () => wanted === key);
  };
}

function keyOf(status) {
  const [run, at] = status?.parent?.split("@") ?? [];
  const left = status?.saved_states?.find((state) => state.id === run && run !== status.run);
  return left && left.iteration_count > Number(at) ? `${run}@${at}` : null;
}

async function fetchBranch(model, key, isWanted) {
  const [run, at] = key.split("@");
  const answer = await fetchJson(`api/states/${run}/history?start=${at}`).catch((error) => model.record(`The line of the run that was left could not be drawn: ${error.message}`, "warning"));
  if (!answer?.body || !isWanted()) return;
  model.branch = fromHistory(answer.body);
  model.changed();
}
