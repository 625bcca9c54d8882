/** What can be done on the page, and what is looked at only after the charts: it comes when those have been drawn. */

import { createAlerts } from "./panels/alerts.js";
import { bringBack } from "./states/backups.js";
import { createBranch } from "./charts/left_run.js";
import { createButtons } from "./controls/buttons.js";
import { createPerformer } from "./controls/commands.js";
import { send } from "./core/connection.js";
import { createPace, createUntilCleaner, readUntil } from "./controls/pace.js";
import { chooseSource, confirmReset, drawOpenDialogs, prepareDialogs } from "./controls/dialogs.js";
import { InsideView } from "./inside/inside.js";
import { createKeys } from "./controls/shortcuts.js";
import { createLog } from "./panels/log.js";
import { createMarks } from "./charts/marks.js";
import { createNewRun, readNewRun } from "./controls/new_run.js";
import { createOwnText } from "./controls/own_text.js";
import { explainRefusals } from "./lib/disabled_reasons.js";
import { createSettings } from "./controls/settings.js";
import { createShelf } from "./controls/save_buttons.js";
import { createStates } from "./states/states.js";
import { giveUpMemory } from "./controls/takeover.js";

/**
 * @param {import("./core/model.js").Model} model
 * @param {object} socket not yet connected
 * @returns {{views: ((model: import("./core/model.js").Model) => void)[], inside: InsideView}}
 */
export function createRest(model, socket) {
  const sendCommand = (event, payload) => send(socket, event, payload);
  const perform = createPerformer(model, sendCommand, questions(model, sendCommand));
  const load = (source) => perform("load", source);
  const inside = new InsideView(model, socket, sendCommand);
  const views = [
    createButtons(perform),
    createPace(model, sendCommand),
    createUntilCleaner(),
    createNewRun(model),
    createOwnText(model),
    createSettings(model, sendCommand),
    createBranch(),
    createMarks(socket),
    createShelf(model, sendCommand, load),
    createStates(model, socket, sendCommand, load),
    createAlerts(model, socket, sendCommand),
    createLog(model, socket),
    () => inside.draw(),
    drawOpenDialogs,
  ];
  prepareDialogs();
  explainRefusals(model);
  createKeys();
  return { views, inside };
}

function questions(model, sendCommand) {
  return {
    initialize: readNewRun,
    start: readUntil,
    stop: () => ({}),
    load: (source) => (source ? { source } : chooseSource(model)),
    reset: () => confirmReset(model),
    takeover: () => giveUpMemory(model, sendCommand),
    fork: () => ({}),
    backup: () => ({}),
    restore: () => bringBack(model, sendCommand),
  };
}
