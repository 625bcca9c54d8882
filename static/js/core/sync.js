/**
 * Keeps the model equal to the server: live updates are applied as they come, and whatever they cannot explain
 * (a gap, another run, a reconnect) is answered by fetching status and history anew.
 */

import { fetchJson } from "./connection.js";
import { isGap, newest } from "./series.js";
import { LIMIT } from "./thinning.js";

const HISTORY_URL = `api/history?points=${LIMIT}`;
const PAUSE_MS = 300;

export class Sync {
  #model;
  #socket;
  #held = [];
  #wanted = false;
  #looping = false;
  #statusEvents = 0;
  #connections = 0;

  /** @param {import("./model.js").Model} model @param {object} socket */
  constructor(model, socket) {
    this.#model = model;
    this.#socket = socket;
    socket.on("connect", () => this.#onConnect());
    socket.on("disconnect", () => model.setConnection("lost"));
    socket.on("training_status", (status) => this.#onStatus(status));
    socket.on("metrics_update", (update, acknowledge) => this.#receive(update, acknowledge));
    for (const event of ["system_initialized", "state_loaded", "system_reset"]) socket.on(event, () => this.#startOver());
    // At once, beside connecting; what was missed between the two shows as a gap.
    this.refresh();
  }

  #onConnect() {
    this.#model.setConnection("connected");
    const isFirst = this.#connections++ === 0;
    if (!(isFirst && (this.#looping || this.#model.complete))) this.#startOver();
  }

  // Updates from before a load or reset belong to what it replaced.
  #startOver() {
    this.#held = [];
    this.refresh();
  }

  #onStatus(status) {
    // Older servers send only `running` here.
    if (!status.refusals) return this.refresh();
    this.#statusEvents++;
    const runBefore = this.#model.run;
    this.#model.applyStatus(status);
    // While a history is being fetched, it is compared when it is here.
    if (!this.#looping && (this.#model.run !== runBefore || this.#isBehind())) this.refresh();
  }

  #isBehind() {
    const { status, series } = this.#model;
    return !status.running && (status.iteration_count ?? 0) !== newest(series);
  }

  // The server sends the next update only after this one is acknowledged, so that a slow page is never flooded.
  #receive(update, acknowledge) {
    try {
      this.#onUpdate(update);
    } finally {
      acknowledge?.();
    }
  }

  #onUpdate(update) {
    const { run, series } = this.#model;
    // One that was thinned may have been so more coarsely than what is shown.
    const unexplained = update.run !== run || update.thinned || isGap(series, update.points);
    if (!this.#looping && !unexplained) return this.#model.applyUpdate(update);
    this.#held.push(update);
    if (!this.#looping) this.refresh();
  }

  /** Fetches status and history; asked for again while under way, it runs once more afterwards. */
  refresh() {
    this.#wanted = true;
    if (!this.#looping) this.#loop();
  }

  async #loop() {
    this.#looping = true;
    while (this.#wanted && (this.#socket.connected || this.#connections === 0)) {
      this.#wanted = false;
      const understood = await this.#fetchOnce().catch(() => false);
      if (understood) continue;
      this.#wanted = true;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.#looping = false;
  }

  async #fetchOnce() {
    const eventsBefore = this.#statusEvents;
    const [status, history] = await Promise.all([fetchJson("api/status"), fetchJson(HISTORY_URL)]);
    this.#model.clockOffset = status.clockOffset;
    // A status that came by socket meanwhile is the newer one.
    if (this.#statusEvents === eventsBefore) this.#model.applyStatus(status.body);
    if (this.#model.run !== (history.body.run ?? null)) return false;
    this.#model.replaceSeries(history.body);
    this.#applyHeld();
    if (this.#statusEvents !== eventsBefore && this.#isBehind()) this.#wanted = true;
    this.#model.complete = true;
    this.#model.changed();
    return true;
  }

  #applyHeld() {
    const held = this.#held;
    this.#held = [];
    for (const update of held) {
      if (update.run !== this.#model.run || update.iteration <= newest(this.#model.series)) continue;
      if (update.thinned || isGap(this.#model.series, update.points)) this.#wanted = true;
      else this.#model.applyUpdate(update);
    }
  }
}
