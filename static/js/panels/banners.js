/**
 * The banners and notices above the page, each shown as long as it is true. Texts with numbers or reasons stand here, fixed ones
 * in `templates/dashboard/banners.html`.
 */

import { byId, setAttribute, setText, showText } from "../lib/dom.js";
import { absolute, age, iterations, size, whole } from "../lib/format.js";
import { toOperators } from "../lib/role.js";

const WAYS_OUT = "Load what is there, or go on as a new saved run."; // the buttons below, at the end of what the server says

/** @param {import("../core/model.js").Model} model */
export function drawBanners(model) {
  byId("connection-banner").hidden = model.connection !== "lost";
  if (!model.status) return;
  drawSavingBanners(model);
  const { slow_because: reason } = model.status;
  showText(byId("slow-banner"), reason ? `Torch trains this run, slower, because the compiled training step cannot be used here: ${reason}` : null);
  drawSavedNotice(model.status, model.now());
}

/** Draws the banner of a run that ended after strikes, whose button loads the last good state. @param {import("../core/model.js").Model} model */
export function drawRescueBanner({ status }) {
  if (!status) return;
  const { rescue, running } = status;
  byId("rescue-banner").hidden = !rescue || running;
  if (rescue) setText(byId("rescue-text"), `Training ended at iteration ${whole(rescue.struck_at)} after three void iterations in a row. The last good state from before is iteration ${whole(rescue.iteration_count)}.`);
}

function drawSavingBanners({ status, isWaiting }) {
  const changed = status.save_error?.code === "folder_changed";
  const free = status.save_health?.free_bytes ?? null;
  showText(byId("save-banner"), status.save_error && !changed ? saveError(status) : null);
  byId("folder-banner").hidden = !changed;
  setText(byId("folder-detail"), changed ? folderChanged(status) : "");
  byId("waiting-banner").hidden = !isWaiting;
  showText(byId("space-banner"), free === null ? null : `Little space is left on the disk: ${size(free)}. Without more room saves will fail.`);
  byId("names-notice").hidden = status.keeps_names !== false;
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
  return `${nothingSince(save_error)}; ${running ? "training goes on in memory" : "the run is in memory only"}. ${toOperators(save_error.message, save_error.message.replace(WAYS_OUT, ""))}`;
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
  const choice = saved_states?.length > 1 ? `There are ${saved_states.length} saved states${toOperators("; Load Saved State lets you choose")}.` : "";
  const cut = newer ? `A newer one with ${iterations(newer.iteration_count)}, ${age(newer.saved_at, now)}, was cut off.` : "";
  const does = toOperators(`Load Saved State brings back the networks, the Q-table, the field and the whole history in the charts; training then continues with iteration ${next}.`);
  const other = toOperators("Initialize System begins a new run and keeps the saved one.");
  setText(byId("saved-detail"), [does, choice, cut, other].filter(Boolean).join(" "));
}
