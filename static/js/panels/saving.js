/** The panel "Saving": what is safe, what that costs, and what a crash would take back. */

import { byId, setValue, setAttribute, showText } from "../lib/dom.js";
import { firstStep } from "../core/first_step.js";
import { NO_VALUE, absolute, age, iterations, milliseconds, size, whole } from "../lib/format.js";

/** @param {import("../core/model.js").Model} model */
export function drawSaving(model) {
  const { status } = model;
  if (!status) return;
  const health = status.save_health ?? {};
  drawLastSave(status, model.now());
  drawStall(health);
  drawVerified(health, model.now());
  drawRisk("saving-risk", iterations(status.unsaved_iterations ?? 0), status);
  drawWear(status, health);
  drawBackup(status, model.now());
}

/** @param {object} status @returns {?object} the newest save of the run in memory; where there is none, of what Load would bring */
export function newestSave(status) {
  return status.last_save ?? status.saved_states?.find((state) => state.current) ?? (status.initialized ? null : status.saved);
}

/** @param {string} name of the value @param {string} text @param {object} status */
export function drawRisk(name, text, status) {
  const risk = status.unsaved_iterations ?? 0;
  setValue(name, text, risk);
  // Up to twice the interval a save may simply be under way.
  const much = status.save_error || risk > 2 * status.save_every;
  setAttribute(byId(`${name}-value`), "data-tone", risk && much ? "warning" : null);
}

function drawLastSave(status, now) {
  const save = newestSave(status);
  drawMoment("saving-iteration", "saving-age", save?.iteration_count, save?.saved_at, now);
  // How large and quick it was is known of this server's own saves.
  const { size: bytes = null, duration_ms: took = null } = status.last_save ?? {};
  setValue("saving-size", bytes === null ? NO_VALUE : size(bytes), bytes);
  setValue("saving-duration", took === null ? "" : milliseconds(took), took);
}

function drawStall({ stall_median_ms: median = 0, stall_worst_ms: worst = 0 }) {
  const measured = worst > 0;
  setValue("saving-stall-median", measured ? milliseconds(median) : NO_VALUE, measured ? median : null);
  setValue("saving-stall-worst", measured ? milliseconds(worst) : "", measured ? worst : null);
}

function drawVerified({ verified_iteration: iteration, verified_at: when }, now) {
  drawMoment("saving-verified", "saving-verified-age", iteration, when, now);
}

function drawMoment(name, ageName, iteration, when, now) {
  const known = iteration != null && when;
  setValue(name, known ? whole(iteration) : "none yet", known ? iteration : null);
  setValue(ageName, known ? age(when, now, "narrow") : "", known ? when : null);
  setAttribute(byId(`${ageName}-value`), "title", known ? absolute(when) : null);
}

function drawWear(status, { bytes_per_second: wear = 0 }) {
  const { save_every: every, running, save_error: error } = status;
  const written = running && !error ? wear : 0;
  setValue("saving-wear", `${nothingYet(status)}${wearText(every, written)}`, written);
  byId("saving-advice").hidden = !written;
}

function nothingYet(status) {
  return newestSave(status) || status.iteration_count ? "" : `Nothing is saved yet. ${firstStep(status)} `;
}

function wearText(every, wear) {
  if (every === 0) return "Auto-save is off: only Stop saves.";
  if (!wear) return `While training, a save is made every ${iterations(every)}.`;
  return `Writes ${size(wear)} a second to disk`;
}

function drawBackup({ backup, run }, now) {
  byId("backup").hidden = !backup;
  if (!backup) return;
  // What was backed up of another run says nothing of the one on the page.
  const { iteration_count: iteration, at } = run && backup.run !== run ? {} : backup;
  drawMoment("backup-iteration", "backup-age", iteration, at, now);
  setAttribute(byId("backup"), "title", `Mirrored to ${backup.place}`);
  showText(byId("backup-trouble"), backup.reason && backupTrouble(backup));
  byId("backup-sending").hidden = !backup.pending || Boolean(backup.reason);
}

// What is read out anew at every change holds nothing that changes by the second.
function backupTrouble({ failing_since: since, reason }) {
  return `Backups fail since ${absolute(since)}: ${reason.replace(/\.$/, "")}. They are tried again by themselves; training and saving go on.`;
}
