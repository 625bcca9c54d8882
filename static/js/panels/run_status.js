/** The header's connection state and the page's title, the progress of "train until", and the facts of the run. */

import { byId, setAttribute, setText } from "../lib/dom.js";
import { duration, iterations, whole } from "../lib/format.js";

const CONNECTIONS = { connecting: "Connecting …", connected: "Connected", lost: "Connection lost, retrying …" };

/** @param {import("../core/model.js").Model} model */
export function drawRunStatus(model) {
  drawConnection(model);
  if (!model.status) return;
  drawProgress(model.status);
  drawRun(model.status);
  drawTitle(model.status, model.alerts.length);
}

function drawConnection({ connection, pending }) {
  setText(byId("connection-state"), CONNECTIONS[connection]);
  setAttribute(byId("connection-state"), "data-state", connection);
  setAttribute(document.documentElement, "data-connection", connection);
  setAttribute(document.documentElement, "data-busy", pending.size ? "true" : null);
}

function drawProgress(status) {
  const { until, iteration_count: count = 0 } = status;
  byId("until-status").hidden = !until;
  if (!until) return;
  const bar = byId("until-progress");
  bar.max = until;
  bar.value = Math.min(count, until);
  setText(byId("until-text"), `${whole(count)} of ${whole(until)}${remaining(status)}`);
}

function remaining({ running, until, iteration_count: count, iterations_per_second: speed }) {
  if (!running || !(speed > 0) || count >= until) return "";
  return `, ${duration((until - count) / speed)} left`;
}

function drawRun(status) {
  const run = status.run ? [`Run ${status.run.slice(0, 8)}`, `seed ${status.seed}`, `field size ${whole(status.field_size)}`] : ["No run in memory"];
  const saving = status.save_every ? `saved every ${iterations(status.save_every)}` : "saved by Stop only";
  const facts = [...run, status.corpus, status.device, `${saving} in ${status.state_dir}`];
  setText(byId("run-facts"), facts.filter(Boolean).join(" · "));
  byId("run-downloads").hidden = !status.iteration_count;
}

// Browsers do much for a title: one that changes at every update costs more than it tells.
const TITLE_MS = 1000;
let titledAt = -Infinity;

function drawTitle({ running, iteration_count: count }, alerts) {
  const mark = alerts ? `(${alerts}) ` : "";
  const title = mark + (running ? `${whole(count)} · training · QuadraMatrix` : "QuadraMatrix");
  if (document.title === title || (running && performance.now() - titledAt < TITLE_MS)) return;
  document.title = title;
  titledAt = performance.now();
}
