/** The buttons of the commands and the line that says how the last command went. */

import { COMMANDS } from "./commands.js";
import { byId, setAttribute, setText } from "./dom.js";
import { WATCHING } from "./watching.js";

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
const SYMBOLS = { busy: "…", info: "i", success: "✓", warning: "!", error: "✗" };

/**
 * @param {(name: string) => Promise<?boolean>} perform
 * @returns {(model: import("./model.js").Model) => void} draws the buttons
 */
export function createButtons(perform) {
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
  button.disabled = reason !== null;
  setAttribute(button, "title", reason ?? EXPLANATIONS[name]);
  setAttribute(button, "aria-description", reason ?? EXPLANATIONS[name]);
  setAttribute(button, "aria-busy", model.pending.has(name) ? "true" : null);
}

function whyNot(name, model) {
  if (WATCHING !== null) return WATCHING;
  if (model.pending.has(name)) return COMMANDS[name].doing;
  if (model.connection !== "connected") return "Not connected to the server.";
  if (!model.status) return "Waiting for the server's first answer.";
  if (name === "backup" && !model.status.run) return "There is no run to back up.";
  return model.status.refusals[name] ?? null;
}

function drawMessage({ message }) {
  const line = byId("message");
  line.hidden = !message;
  if (!message) return;
  setAttribute(line, "data-type", message.type);
  setText(byId("message-symbol"), SYMBOLS[message.type]);
  setText(byId("message-text"), message.text);
}

// A button that is disabled loses the focus; who works by keyboard gets it back on the button that follows.
function createFocusKeeper(buttons) {
  let wish = null;
  return {
    pressed: () => (wish = null),
    ended: (name, ok) => (wish = ok ? COMMANDS[name].next : name),
    restore() {
      const able = [wish].flat().find((name) => name && !buttons[name].disabled);
      if (!able) return;
      if (document.activeElement === document.body) buttons[able].focus({ preventScroll: true });
      wish = null;
    },
  };
}
