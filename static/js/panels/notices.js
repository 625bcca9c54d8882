/** What stands on the page as long as it is true: header, banners, notices, progress, facts of the run. */

import { byId, setAttribute, setText, showText } from "../lib/dom.js";
import { absolute, age, duration, iterations, size, whole } from "../lib/format.js";

const CONNECTIONS = { connecting: "Connecting …", connected: "Connected", lost: "Connection lost, retrying …" };

/** @param {import("../core/model.js").Model} model */
export function drawNotices(model) {
  drawConnection(model);
  if (!model.status) return;
  drawBanners(model);
  drawSavedNotice(model.status, model.now());
  drawProgress(model.status);
  drawRun(model.status);
  drawTitle(model.status, model.alerts.length);
}

function drawConnection({ connection, pending }) {
  setText(byId("connection-state"), CONNECTIONS[connection]);
  setAttribute(byId("connection-state"), "data-state", connection);
  byId("connection-banner").hidden = connection !== "lost";
  setAttribute(document.documentElement, "data-connection", connection);
  setAttribute(document.documentElement, "data-busy", pending.size ? "true" : null);
}

function drawBanners({ status, isWaiting }) {
  const changed = status.save_error?.code === "folder_changed";
  const free = status.save_health?.free_bytes ?? null;
  showText(byId("save-banner"), status.save_error && !changed ? saveError(status) : null);
  byId("folder-banner").hidden = !changed;
  setText(byId("folder-detail"), changed ? folderChanged(status) : "");
  byId("waiting-banner").hidden = !isWaiting;
  showText(byId("space-banner"), free === null ? null : `Little space is left on the disk: ${size(free)}. Without more room saves will fail.`);
  byId("autosave-notice").hidden = status.save_every !== 0;
}

// What is read out anew at every change holds nothing that changes by the second.
function saveError({ running, save_error }) {
  const { code, message } = save_error;
  const reason = code === "save_timeout" ? "the disk does not answer" : message.replace(/\.$/, "");
  const retry = running ? "training goes on, and every save is tried again" : "it is tried again by itself";
  return `Saving fails: ${reason}. ${nothingSince(save_error)}; ${retry}.`;
}

function folderChanged({ running, save_error }) {
  return `${nothingSince(save_error)}; ${running ? "training goes on in memory" : "the run is in memory only"}. ${save_error.message}`;
}

function nothingSince({ since }) {
  return `Nothing has been saved since iteration ${whole(since)}`;
}

function drawSavedNotice({ initialized, saved, newer, saved_states }, now) {
  const notice = byId("saved-notice");
  notice.hidden = initialized || !saved;
  if (notice.hidden) return;
  setText(byId("saved-headline"), `Saved state: ${iterations(saved.iteration_count)}, ${age(saved.saved_at, now)}`);
  setAttribute(byId("saved-headline"), "title", absolute(saved.saved_at));
  const next = whole(saved.iteration_count + 1);
  const choice = saved_states?.length > 1 ? `There are ${saved_states.length} saved states; Load Saved State lets you choose.` : "";
  const cut = newer ? `A newer one with ${iterations(newer.iteration_count)}, ${age(newer.saved_at, now)}, was cut off.` : "";
  const does = `Load Saved State brings back the networks, the Q-table, the field and the whole history in the charts; training then continues with iteration ${next}.`;
  const other = "Initialize System begins a new run and keeps the saved one.";
  setText(byId("saved-detail"), [does, choice, cut, other].filter(Boolean).join(" "));
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
