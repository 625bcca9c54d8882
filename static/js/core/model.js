/** The model: what the page knows. Views draw from it and from nothing else. */

import { LogLines } from "./log_lines.js";
import { append, empty, fromHistory } from "./series.js";
import { thin } from "./thinning.js";

// A slow disk is waited for at every save and not in between: what is said of it must not flicker.
const WAITING_LINGERS_MS = 3000;
const LIVE_METRICS = ["iteration", "loss", "reward", "variance", "mean", "integrity_strikes", "qtable_size", "plasticity", "pattern", "text"];

/** @typedef {import("./log_lines.js").MessageType} MessageType */
/** @typedef {{kind: string, iteration: number, text: string}} Mark something that happened along the curves */
/** @typedef {{kind: string, threshold: ?number}} Rule of alerts */
/** @typedef {{id: string, rule: Rule, run: string, iteration: number, value: ?number, times: number, message: string, at: string}} Alert */

export class Model {
  /** The server's status object, or null before the first. */
  status = null;
  /** @type {import("./series.js").Series} */
  series = empty();
  /** The history of the parent run, which was left by going back, from there on. @type {import("./series.js").Series} */
  parentSeries = empty();
  /** What happened along the curves, ascending. @type {Mark[]} */
  marks = [];
  /** The run that the series belongs to. */
  run = null;
  /** @type {"connecting"|"connected"|"lost"} */
  connection = "connecting";
  /** Whether the first status and history are here. */
  complete = false;
  /** @type {Set<string>} the commands that are under way */
  pending = new Set();
  /** @type {?{text: string, type: MessageType|"busy", command: ?string, since: number}} how the last command went, or the last warning */
  message = null;
  /** How far a long command has come, as the server said last. @type {?import("../lib/progress.js").Progress} */
  progress = null;
  log = new LogLines();
  /** The alerts of this server that this browser has not dismissed, oldest first. @type {Alert[]} */
  alerts = [];
  /** Milliseconds by which the server's clock is ahead of this one. */
  clockOffset = 0;

  #listeners = [];
  #waitedAt = -Infinity;

  /** @param {() => void} listener called after every change */
  subscribe(listener) {
    this.#listeners.push(listener);
  }

  changed() {
    for (const listener of this.#listeners) listener();
  }

  /** @returns {number} milliseconds, by the server's clock */
  now() {
    return Date.now() + this.clockOffset;
  }

  /** @returns {boolean} whether training has to wait for the disk, noticeably, now or a moment ago */
  get isWaiting() {
    const { running, save_error: error, save_health: health } = this.status ?? {};
    return Boolean(running && !error && (health?.waiting || this.now() - this.#waitedAt < WAITING_LINGERS_MS));
  }

  /** @param {Model["connection"]} state */
  setConnection(state) {
    this.connection = state;
    this.changed();
  }

  /** @param {object} status a full status object; one of another run empties the series */
  applyStatus(status) {
    const ended = this.status?.running && !status.running;
    // "Training until …" is no longer true.
    if (ended && this.message?.command === "start") this.message = null;
    this.status = status;
    if (status.save_health?.waiting) this.#waitedAt = this.now();
    const run = status.run ?? null;
    if (run !== this.run) {
      this.run = run;
      this.series = empty();
    }
    this.changed();
  }

  /** @param {object} history an answer of api/history, which replaces the series */
  replaceSeries(history) {
    this.run = history.run ?? null;
    this.series = thin(fromHistory(history));
    this.changed();
  }

  /** @param {object} update a metrics_update of the run on the page */
  applyUpdate(update) {
    const series = append(this.series, update.points);
    if (series !== this.series) this.series = thin(series);
    if (this.status?.run === update.run && update.iteration >= this.status.iteration_count) this.#applyMetrics(update);
    this.changed();
  }

  #applyMetrics(update) {
    const { iteration, iterations_per_second, unsaved_iterations } = update;
    const current_metrics = Object.fromEntries(LIVE_METRICS.map((name) => [name, update[name] ?? null]));
    this.status = { ...this.status, iteration_count: iteration, iterations_per_second, unsaved_iterations, current_metrics };
  }

  /** @param {string} command @param {string} text what is being done */
  begin(command, text) {
    this.pending.add(command);
    this.progress = null;
    this.say(text, "busy", command);
  }

  /** @param {string} command @param {{text: string, type: MessageType}} outcome */
  end(command, outcome) {
    this.pending.delete(command);
    this.say(outcome.text, outcome.type, command);
  }

  /**
   * Shows a message beside the buttons until the next one.
   * @param {string} text @param {MessageType|"busy"} type @param {?string} [command] the one it is about
   */
  say(text, type, command = null) {
    this.message = { text, type, command, since: Date.now() };
    this.changed();
  }

  /** @param {import("../lib/progress.js").Progress} progress */
  applyProgress(progress) {
    this.progress = progress;
    this.changed();
  }

  /** Notes a line of this browser's own in the log. @param {string} text @param {MessageType} type */
  record(text, type) {
    this.log.record(text, type, new Date(this.now()));
    this.changed();
  }
}
