/** The commands: the event that each sends, and what is said while it is under way and afterwards. */

import { iterations } from "../lib/format.js";

/**
 * @typedef {object} Command
 * @property {string} event
 * @property {string} doing said while the command is under way
 * @property {(answer: object, status: object) => string} done said when it has ended well
 * @property {string|string[]} next the command that naturally follows, or the first of these that can
 */

/** @type {Record<string, Command>} */
export const COMMANDS = {
  initialize: {
    event: "initialize_system",
    doing: "Initializing a new run …",
    done: (answer, status) => `New run ready: field size ${answer.field_size ?? status.field_size}, seed ${answer.seed ?? status.seed}.`,
    next: "start",
  },
  start: {
    event: "start_training",
    doing: "Starting …",
    done: (answer, status) => {
      if (!answer.until) return "Training.";
      // A short run may have ended before its start was acknowledged.
      const over = !status.running && status.iteration_count >= answer.until;
      return over ? `Trained until iteration ${answer.until}.` : `Training until iteration ${answer.until}.`;
    },
    next: "stop",
  },
  stop: {
    event: "stop_training",
    doing: "Stopping and saving …",
    done: (answer, status) => `Stopped and saved: ${iterations(answer.iteration_count ?? status.iteration_count)}.`,
    next: "start",
  },
  load: {
    event: "load_state",
    doing: "Loading …",
    done: (answer, status) => `Loaded: ${iterations(answer.iteration_count ?? status.iteration_count)} restored.`,
    next: "start",
  },
  reset: {
    event: "reset_system",
    doing: "Deleting everything …",
    done: () => "Reset: nothing is left in memory or on disk.",
    next: "initialize",
  },
  takeover: {
    event: "load_state",
    doing: "Loading what is there …",
    done: (answer) => `Loaded what is there: ${iterations(answer.iteration_count)} restored.`,
    next: "start",
  },
  backup: {
    event: "backup_now",
    doing: "Backing up …",
    done: (answer) => `Backed up: ${iterations(answer.iteration_count)}.`,
    next: "backup",
  },
  restore: {
    event: "load_state",
    doing: "Loading the restored state …",
    done: (answer) => `Restored and loaded: ${iterations(answer.iteration_count)}.`,
    next: "start",
  },
  fork: {
    event: "save_as_new_run",
    doing: "Saving as a new run …",
    done: (answer) => `Saved as a new run: ${iterations(answer.iteration_count)}. What is there was kept.`,
    next: ["stop", "start"],
  },
};

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @param {Record<string, () => ?object|Promise<?object>>} payloads what each command asks first; null cancels it
 * @returns {(name: string, choice?: *) => Promise<?boolean>} performs one, with what was chosen for it: whether it ended well, or null when cancelled
 */
export function createPerformer(model, send, payloads) {
  return async (name, choice) => {
    if (model.pending.has(name)) return null;
    const payload = await payloads[name](choice);
    if (payload === null) return null;
    model.begin(name, COMMANDS[name].doing);
    const answer = await send(COMMANDS[name].event, payload);
    model.end(name, outcome(COMMANDS[name], answer, model.status));
    return answer.ok === true;
  };
}

function outcome(command, answer, status) {
  if (!answer.ok) return { type: "error", text: answer.error?.message ?? "The server refused without a reason." };
  const remarks = [...(answer.warnings ?? []), ...cutOff(answer.newer)];
  return { type: remarks.length ? "warning" : "success", text: [command.done(answer, status), ...remarks].join(" ") };
}

function cutOff(newer) {
  return newer ? [`A newer save with ${iterations(newer.iteration_count)} was cut off and not loaded.`] : [];
}
