/** What can be done on the page, and what is looked at only after the charts: it comes when those have been drawn. */

import { createAlerts } from "./alerts.js";
import { bringBack } from "./backups.js";
import { createBranch } from "./branch.js";
import { createButtons } from "./buttons.js";
import { createPerformer } from "./commands.js";
import { send } from "./connection.js";
import { createPace, createUntilCleaner, readUntil } from "./controls.js";
import { chooseSource, confirmReset, drawOpenDialogs, prepareDialogs } from "./dialogs.js";
import { InsideView } from "./inside.js";
import { createKeys } from "./keys.js";
import { createLog } from "./log.js";
import { createMarks } from "./marks.js";
import { createNewRun, readNewRun } from "./new_run.js";
import { createOwnText } from "./own_text.js";
import { explainRefusals } from "./reasons.js";
import { createSettings } from "./settings.js";
import { createShelf } from "./shelf.js";
import { createStates } from "./states.js";
import { giveUpMemory } from "./takeover.js";

/**
 * @param {import("./model.js").Model} model
 * @param {object} socket not yet connected
 * @returns {{views: ((model: import("./model.js").Model) => void)[], inside: InsideView}}
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
