/**
 * The part of the page that is fetched once the first picture has been drawn: controls, dialogs, and what is below the
 * charts.
 */

import { createMarks } from "./charts/marks.js";
import { createParentRun } from "./charts/parent_run.js";
import { createCommandButtons } from "./controls/command_buttons.js";
import { createPerformer } from "./controls/commands.js";
import { createBestAndParentButtons } from "./controls/best_and_parent_buttons.js";
import { chooseSource } from "./controls/load_dialog.js";
import { createNewRun, readNewRun } from "./controls/new_run.js";
import { createOwnText } from "./controls/own_text.js";
import { createPace } from "./controls/pace.js";
import { confirmReset, drawResetDialog } from "./controls/reset_dialog.js";
import { createSettings } from "./controls/settings.js";
import { createShortcuts } from "./controls/shortcuts.js";
import { createSlotDialog } from "./controls/slot_dialog.js";
import { confirmTakeover, drawTakeoverDialog } from "./controls/takeover_dialog.js";
import { createUntil, readUntil } from "./controls/until.js";
import { send } from "./core/connection.js";
import { InsideView } from "./inside/inside.js";
import { enableCancel } from "./lib/dialog.js";
import { explainRefusals } from "./lib/disabled_reasons.js";
import { byId } from "./lib/dom.js";
import { createAlerts } from "./panels/alerts.js";
import { drawRescueBanner } from "./panels/banners.js";
import { createLog } from "./panels/log.js";
import { restoreBackup } from "./states/restore_dialog.js";
import { createStates } from "./states/states.js";

/**
 * @param {import("./core/model.js").Model} model
 * @param {object} socket not yet connected
 * @returns {{views: ((model: import("./core/model.js").Model) => void)[], inside: InsideView}}
 */
export function createRest(model, socket) {
  const sendCommand = (event, payload) => send(socket, event, payload);
  const perform = createPerformer(model, sendCommand, payloadsOf(model, sendCommand));
  const load = (source) => perform("load", source);
  const inside = new InsideView(model, socket, sendCommand);
  const views = [
    createCommandButtons(perform),
    createPace(model, sendCommand),
    createUntil(),
    createNewRun(model),
    createOwnText(model),
    createSettings(model, sendCommand),
    createParentRun(),
    createMarks(socket),
    createSlotDialog(model, sendCommand),
    createBestAndParentButtons(model, load),
    drawRescueBanner,
    createStates(model, socket, sendCommand, load),
    createAlerts(model, socket, sendCommand),
    createLog(model, socket),
    () => inside.draw(),
    drawResetDialog,
    drawTakeoverDialog,
  ];
  enableCancel(["load-dialog", "takeover-dialog", "reset-dialog", "restore-dialog"].map(byId));
  explainRefusals(model);
  createShortcuts();
  return { views, inside };
}

/** @returns {Record<string, (choice: *) => ?object|Promise<?object>>} what each command asks first, and then sends */
function payloadsOf(model, sendCommand) {
  return {
    initialize: readNewRun,
    start: readUntil,
    stop: () => ({}),
    load: (source) => (source ? { source } : chooseSource(model)),
    reset: () => confirmReset(model),
    takeover: () => confirmTakeover(model, sendCommand),
    fork: () => ({}),
    backup: () => ({}),
    restore: () => restoreBackup(model, sendCommand),
  };
}
