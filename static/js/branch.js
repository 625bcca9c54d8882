/** The run that was left by going back: its history, for the faint line in the charts. */

import { fetchJson } from "./connection.js";
import { METRICS, empty, fromHistory } from "./series.js";

/** @returns {(model: import("./model.js").Model) => void} keeps `model.branch` true */
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
  const answer = await fetchJson(`api/states/${run}/history`).catch((error) => model.record(`The line of the run that was left could not be drawn: ${error.message}`, "warning"));
  if (!answer?.body || !isWanted()) return;
  model.branch = since(fromHistory(answer.body), Number(at));
  model.changed();
}

function since(series, iteration) {
  const from = series.iteration.findIndex((each) => each >= iteration);
  if (from < 0) return empty();
  return Object.fromEntries(["iteration", ...METRICS].map((name) => [name, series[name].slice(from)]));
}
