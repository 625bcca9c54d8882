/** Puts the page together: one model, one connection, and views that are drawn at most once a frame. */

import { createAlerts } from "./alerts.js";
import { createBranch } from "./branch.js";
import { bringBack } from "./backups.js";
import { createButtons } from "./buttons.js";
import { drawCards } from "./cards.js";
import { createCharts } from "./charts.js";
import { createPerformer } from "./commands.js";
import { openSocket, send } from "./connection.js";
import { createPace, createUntilCleaner, readUntil } from "./controls.js";
import { chooseSource, confirmReset, drawOpenDialogs, prepareDialogs } from "./dialogs.js";
import { InsideView } from "./inside.js";
import { createKeys } from "./keys.js";
import { createLog } from "./log.js";
import { createMarks } from "./marks.js";
import { Model } from "./model.js";
import { createNewRun, readNewRun } from "./new_run.js";
import { drawNotices } from "./notices.js";
import { createOwnText } from "./own_text.js";
import { explainRefusals } from "./reasons.js";
import { drawSaving } from "./saving.js";
import { createSettings } from "./settings.js";
import { createShelf } from "./shelf.js";
import { createStates } from "./states.js";
import { Sync } from "./sync.js";
import { giveUpMemory } from "./takeover.js";

// Ages tick and progress moves also when the server is silent.
const TICK_MS = 1000;
const SAID_BY_BANNER = /^Failed to save state\b/;

const model = new Model();
const socket = openSocket();
// Before the views are made: the first answers come meanwhile.
new Sync(model, socket);
const sendCommand = (event, payload) => send(socket, event, payload);
const perform = createPerformer(model, sendCommand, {
  initialize: readNewRun,
  start: readUntil,
  stop: () => ({}),
  load: (source) => (source ? { source } : chooseSource(model)),
  reset: () => confirmReset(model),
  takeover: () => giveUpMemory(model, sendCommand),
  fork: () => ({}),
  backup: () => ({}),
  restore: () => bringBack(model, sendCommand),
});

const inside = new InsideView(model, socket, sendCommand);
const load = (source) => perform("load", source);

const views = [
  createButtons(perform),
  createPace(model, sendCommand),
  createUntilCleaner(),
  createNewRun(model),
  createOwnText(model),
  createSettings(model, sendCommand),
  drawCards,
  drawNotices,
  drawSaving,
  createBranch(),
  createMarks(socket),
  createCharts(model),
  createShelf(model, sendCommand, load),
  createStates(model, socket, sendCommand, load),
  createAlerts(model, socket, sendCommand),
  createLog(model, socket),
  () => inside.draw(),
  drawOpenDialogs,
  markReady,
];

let frame = null;
function scheduleDraw() {
  frame ??= requestAnimationFrame(() => {
    frame = null;
    for (const draw of views) draw(model);
  });
}

function markReady({ complete, connection }) {
  if (complete && connection === "connected") document.documentElement.dataset.ready = "true";
}

function recordEvents() {
  socket.on("status_message", ({ message, type }) => {
    const standing = SAID_BY_BANNER.test(message) || model.pending.size;
    if ((type === "error" || type === "warning") && !standing) model.say(message, type);
  });
  socket.on("progress", (progress) => model.applyProgress(progress));
  socket.on("connect", () => model.record("Connected to the server", "info"));
  socket.on("disconnect", () => model.record("Connection to the server lost; trying again", "warning"));
}

model.subscribe(scheduleDraw);
setInterval(scheduleDraw, TICK_MS);
recordEvents();
prepareDialogs();
explainRefusals(model);
createKeys();
scheduleDraw();
globalThis.quadra = { model, inside };
