/**
 * Puts the page together: one model, one connection, and views that are drawn at most once a frame. What shows how the run
 * stands comes first; the rest of the page, which most of the modules are for, when that has been drawn.
 */

import { drawCards } from "./panels/cards.js";
import { createCharts } from "./charts/charts.js";
import { openSocket } from "./core/connection.js";
import { byId } from "./lib/dom.js";
import { Model } from "./core/model.js";
import { drawBanners } from "./panels/banners.js";
import { drawRunStatus } from "./panels/run_status.js";
import { drawSaving } from "./panels/saving.js";
import { Sync } from "./core/sync.js";

// Ages tick and progress moves also when the server is silent.
const TICK_MS = 1000;
// A server that does not answer holds the rest of the page up no longer.
const PATIENCE_MS = 1000;
const SAID_BY_BANNER = /^Failed to save state\b/;

const model = new Model();
const socket = openSocket();
// Before anything is waited for: the first answers come meanwhile.
new Sync(model, socket);

// The charts last: how much room they have depends on what the others say.
const firstViews = [drawCards, drawBanners, drawRunStatus, drawSaving, createCharts(model)];
let views = firstViews;

let frame = null;
function scheduleDraw() {
  frame ??= requestAnimationFrame(() => {
    frame = null;
    for (const draw of views) draw(model);
  });
}

/** The first picture is painted, or keeps one waiting. @returns {Promise<void>} */
function firstPicture() {
  return new Promise((resolve) => {
    setTimeout(resolve, PATIENCE_MS);
    const drawn = () => {
      fetchRest();
      requestAnimationFrame(() => setTimeout(resolve));
    };
    views = [...firstViews, ({ complete }) => complete && drawn()];
  });
}

// Not before what comes first is here, because it would take turns with that; but while it is painted.
function fetchRest() {
  document.head.append(byId("rest").content);
}

async function addRest() {
  const pressed = heldPresses();
  await firstPicture();
  const { createRest } = await import("./deferred.js");
  const rest = createRest(model, socket);
  views = [...rest.views, ...firstViews, markReady];
  globalThis.quadra.inside = rest.inside;
  // Only now is there somebody to hear all that the server says.
  socket.connect();
  scheduleDraw();
  pressed()?.click();
}

// The button that was pressed last before anything answered it; those of the charts answer from the beginning.
function heldPresses() {
  let button = null;
  const hold = ({ target }) => (button = target.closest?.("button:not(.board button)") ?? button);
  document.addEventListener("click", hold);
  return () => {
    document.removeEventListener("click", hold);
    return button;
  };
}

function markReady({ complete, connection }) {
  if (complete && connection === "connected") document.documentElement.dataset.ready = "true";
}

function recordEvents() {
  socket.on("status_message", ({ message, type }) => {
    const isSaid = SAID_BY_BANNER.test(message) || model.pending.size;
    if ((type === "error" || type === "warning") && !isSaid) model.say(message, type);
  });
  socket.on("progress", (progress) => model.applyProgress(progress));
  socket.on("connect", () => model.record("Connected to the server", "info"));
  socket.on("disconnect", () => model.record("Connection to the server lost; trying again", "warning"));
}

globalThis.quadra = { model };
model.subscribe(scheduleDraw);
setInterval(scheduleDraw, TICK_MS);
recordEvents();
scheduleDraw();
/** Settles when the whole page works. */
export const pageReady = addRest();
