/** The parent run, which was left by going back: its history from there on is the faint line in the charts. */

import { fetchJson } from "../core/connection.js";
import { empty, fromHistory } from "../core/series.js";

/** @param {object} status @returns {?{run: string, address: string}} the parent run, and where its history is fetched from */
export function parentRun(status) {
  const run = status?.parent?.split("@")[0];
  return run ? { run, address: `api/states/${run}/history` } : null;
}

/** @returns {(model: import("../core/model.js").Model) => void} keeps `model.parentSeries` up to date */
export function createParentRun() {
  let wanted = null;
  return (model) => {
    const key = keyOf(model.status);
    if (key === wanted) return;
    wanted = key;
    model.parentSeries = empty();
    if (key !== null) fetchParentSeries(model, key, () => wanted === key);
  };
}

function keyOf(status) {
  const [run, at] = status?.parent?.split("@") ?? [];
  const left = status?.saved_states?.find((state) => state.id === run && run !== status.run);
  return left && left.iteration_count > Number(at) ? `${run}@${at}` : null;
}

async function fetchParentSeries(model, key, isWanted) {
  const [run, at] = key.split("@");
  const answer = await fetchJson(`api/states/${run}/history?start=${at}`).catch((error) => model.record(`The line of the run that was left could not be drawn: ${error.message}`, "warning"));
  if (!answer?.body || !isWanted()) return;
  model.parentSeries = fromHistory(answer.body);
  model.changed();
}
