/** The buttons of the commands, and the line that says how the last command went. */

import { whyUnavailable } from "./availability.js";
import { COMMANDS } from "./commands.js";
import { byId, setAttribute, setText, showText } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { progressText } from "../lib/progress.js";
import { enable, isEnabled } from "../lib/disabled_reasons.js";
import { WATCHER_REASON } from "../lib/role.js";

const EXPLANATIONS = {
  initialize: "Begin a new run; saved states of earlier runs are kept",
  start: "Train until stopped, or until the iteration given below",
  stop: "Finish the iteration, save, and stop",
  load: "Bring back a saved run with its whole history",
  reset: "Delete everything from memory and disk; asks first",
  takeover: "Stop, give up the run in memory and load what now stands in the state directory; asks first",
  backup: "Mirror the newest save to the place of the backups now",
  restore: "Bring a backup back as a named saved state and, unless training runs, load it; asks which",
  fork: "Save the run in memory in the state directory as a new run; what is there is kept",
};
// From here on, what takes so long shows that it is still being done.
const LONG_MS = 1000;
const SYMBOLS = { busy: "…", info: "i", success: "✓", warning: "!", error: "✗" };

/**
 * @param {(name: string) => Promise<?boolean>} perform
 * @returns {(model: import("../core/model.js").Model) => void} draws the buttons
 */
export function createCommandButtons(perform) {
  const buttons = Object.fromEntries(Object.keys(COMMANDS).map((name) => [name, byId(`${name}-button`)]));
  const focus = createFocusKeeper(buttons);
  for (const [name, button] of Object.entries(buttons)) {
    button.addEventListener("click", async () => {
      focus.pressed(name);
      focus.ended(name, await perform(name));
    });
  }
  return (model) => {
    for (const [name, button] of Object.entries(buttons)) drawButton(button, name, model);
    drawMessage(model);
    focus.restore();
  };
}

function drawButton(button, name, model) {
  const reason = whyNot(name, model);
  enable(button, reason, EXPLANATIONS[name]);
  setAttribute(button, "aria-busy", model.pending.has(name) ? "true" : null);
}

function whyNot(name, model) {
  if (WATCHER_REASON === null && model.pending.has(name)) return COMMANDS[name].doing;
  const unavailable = whyUnavailable(model.status, model.connection);
  if (unavailable) return unavailable;
  if (name === "backup" && !model.status.run) return "There is no run to back up.";
  return model.status.refusals[name] ?? null;
}

function drawMessage({ message, progress }) {
  const line = byId("message");
  line.hidden = !message;
  drawElapsed(message, progress);
  if (!message) return;
  setAttribute(line, "data-type", message.type);
  setText(byId("message-symbol"), SYMBOLS[message.type]);
  setText(byId("message-text"), message.text);
}

function drawElapsed(message, progress) {
  const elapsed = message?.type === "busy" ? Date.now() - message.since : 0;
  const isLong = elapsed >= LONG_MS;
  const text = isLong ? progressText(progress, message.command) : null;
  showText(byId("message-elapsed"), isLong ? [duration(elapsed / 1000), text].filter(Boolean).join(" · ") : null);
  const bar = byId("message-progress");
  bar.hidden = !isLong;
  setAttribute(bar, "value", text ? String(progress.done / Math.max(progress.total, 1)) : null);
}

// Who works by keyboard goes on with the button that follows the one that cannot be pressed any more.
function createFocusKeeper(buttons) {
  let [wish, from] = [null, null];
  return {
    pressed: (name) => ([wish, from] = [null, buttons[name]]),
    ended: (name, ok) => (wish = ok ? COMMANDS[name].next : name),
    restore() {
      const able = [wish].flat().find((name) => name && isEnabled(buttons[name]));
      if (!able) return;
      const { activeElement } = document;
      const isOut = Object.values(buttons).includes(activeElement) && !(isEnabled(activeElement) && activeElement.checkVisibility());
      const isLost = activeElement === document.body || isOut;
      if (isLost) buttons[able].focus({ preventScroll: true });
      // A button in a banner goes with it, only after this.
      if (isLost || activeElement !== from) wish = null;
    },
  };
}
