/** The window "Saved states": fetched while it is open, drawn, and acted upon. */

import { fetchJson } from "../core/connection.js";
import { byId, make, setAttribute, setText, showText } from "../lib/dom.js";
import { firstStep } from "../core/first_step.js";
import { size, whole } from "../lib/format.js";
import { createImport } from "./import.js";
import { createProof } from "./proof_dialog.js";
import { enable } from "../lib/disabled_reasons.js";
import { details } from "./actions.js";
import { filterStates, headings, rows, title } from "./table.js";
import { WATCHER_REASON, actsOnly } from "../lib/role.js";

const PAGE = 100;
const FEWEST_COMPARED = 2;
const MOST_COMPARED = 8;
const PAUSE_MS = 1500;
const CHANGES = ["states_changed", "state_saved", "state_loaded", "system_initialized", "system_reset", "connect"];

/**
 * @param {import("../core/model.js").Model} model
 * @param {object} socket
 * @param {(event: string, payload: object) => Promise<object>} send
 * @param {(source: string) => Promise<?boolean>} load
 * @returns {(model: import("../core/model.js").Model) => void} draws the button and, while it is open, the window
 */
export function createStates(model, socket, send, load) {
  const window = new StatesWindow(model, socket, send, load);
  for (const event of CHANGES) socket.on(event, () => window.changed());
  return () => window.drawButtons();
}

class StatesWindow {
  #model;
  #send;
  #load;
  #dialog = byId("states-dialog");
  #states = [];
  #kept = null;
  #failure = "Looking …";
  #filter = { search: "", kind: "", order: null };
  #open = null;
  #compared = new Set();
  #most = PAGE;
  #timer = null;
  #prove;

  constructor(model, socket, send, load) {
    [this.#model, this.#send, this.#load] = [model, send, load];
    this.#prove = createProof(send);
    byId("states-button").addEventListener("click", () => this.#show());
    byId("states-close").addEventListener("click", () => this.#dialog.close());
    byId("states-search").addEventListener("input", ({ target }) => this.#filterBy({ search: target.value }));
    byId("states-kind").addEventListener("change", ({ target }) => this.#filterBy({ kind: target.value }));
    byId("states-more").addEventListener("click", () => this.#showMore());
    byId("states-compare").addEventListener("click", () => this.#compare());
    byId("back-form").addEventListener("submit", (event) => this.#goBack(event));
    createImport(socket, (text, type) => this.#say(text, type), () => this.#fetch());
    actsOnly(byId("import-button"));
    byId("delete-cancel").addEventListener("click", () => byId("delete-dialog").close());
  }

  #show() {
    this.#say(null);
    this.#dialog.showModal();
    this.#fetch();
    this.#draw();
  }

  /** Something on the disk has changed; of many changes in a row the last is looked at. */
  changed() {
    if (!this.#dialog.open || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#dialog.open) this.#fetch();
    }, PAUSE_MS);
  }

  async #fetch() {
    try {
      const { body } = await fetchJson("api/states");
      [this.#states, this.#kept, this.#failure] = [body.states, body.kept, null];
    } catch (error) {
      this.#failure = `The saved states could not be listed: ${error.message}`;
    }
    if (!this.#isBeingEdited()) this.#draw();
  }

  // What somebody is typing must not be drawn anew under their hands.
  #isBeingEdited() {
    return document.activeElement?.closest?.(".labels") !== null && document.activeElement?.closest?.(".labels") !== undefined;
  }

  #filterBy(change) {
    this.#filter = { ...this.#filter, ...change };
    this.#most = PAGE;
    this.#draw();
  }

  #showMore() {
    this.#most += PAGE;
    this.#draw();
  }

  #sort(column) {
    const { order } = this.#filter;
    this.#filterBy({ order: { column, down: order?.column === column ? !order.down : column !== "state" } });
  }

  drawButtons() {
    const { status, connection } = this.#model;
    enable(byId("states-button"), connection === "connected" ? null : "Not connected to the server.", "Every saved state: load, name, compare, download");
    if (this.#dialog.open) this.#drawTools(status);
  }

  #draw() {
    const found = filterStates(this.#states, this.#filter);
    const focused = document.activeElement?.getAttribute?.("aria-label");
    byId("states-columns").replaceChildren(...headings(this.#filter.order, (column) => this.#sort(column)));
    byId("states-rows").replaceChildren(...found.slice(0, this.#most).flatMap((state) => this.#rows(state)));
    if (focused) this.#dialog.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    showText(byId("states-empty"), this.#failure ?? (found.length ? null : this.#nothing()));
    byId("states-more").hidden = found.length <= this.#most;
    const all = this.#states.filter((state) => !state.deleted_at).length;
    setText(byId("states-count"), found.length === all ? whole(all) : `${whole(found.length)} of ${whole(this.#states.length)}`);
    this.#drawTools(this.#model.status);
  }

  #nothing() {
    return this.#states.length ? "No saved state is like that. Clear the search, or show everything." : `There is no saved state yet. ${firstStep(this.#model.status)}`;
  }

  #drawTools(status) {
    const points = this.#states.filter((state) => state.kinds.includes("point"));
    const used = points.reduce((sum, state) => sum + state.size, 0);
    const kept = this.#kept;
    setText(byId("states-budget"), kept ? `Restore points: ${size(used)} of ${size(kept.budget)}; older ones are thinned first. Best: mean reward of ${whole(kept.best_window)} iterations.` : "");
    const count = this.#compared.size;
    const button = byId("states-compare");
    const fits = count >= FEWEST_COMPARED && count <= MOST_COMPARED;
    setText(button, count ? `Compare ${count}` : "Compare");
    enable(button, fits ? null : `Choose ${FEWEST_COMPARED} to ${MOST_COMPARED} states.`, "Side by side, on a page of its own");
    enable(byId("back-button"), WATCHER_REASON ?? (status?.running ? "Stop training first." : status?.run ? null : "There is no run to go back in."));
  }

  #rows(state) {
    const isOpen = this.#open === state.id;
    return rows(state, {
      now: this.#model.now(),
      isChosen: this.#compared.has(state.id),
      isOpen,
      choose: (wanted) => this.#choose(state, wanted),
      open: () => this.#toggle(state),
      load: state.deleted_at ? null : this.#loadButton(state),
      details: () =>
        details(state, {
          now: this.#model.now(),
          act: (event, payload, done) => this.#act(event, payload, done),
          prove: (which) => this.#proveIt(which),
          remove: (which) => this.#remove(which),
        }),
    });
  }

  #loadButton(state) {
    const button = make("button", { type: "button", className: "button small load", textContent: "Load" });
    button.setAttribute("aria-label", `Load ${title(state)}, iteration ${state.iteration_count}`);
    const running = Boolean(this.#model.status?.running);
    enable(button, running ? "Stop training first." : null);
    button.addEventListener("click", () => this.#loadIt(state.id));
    return actsOnly(button);
  }

  #choose(state, wanted) {
    if (wanted) this.#compared.add(state.id);
    else this.#compared.delete(state.id);
    this.#drawTools(this.#model.status);
  }

  #toggle(state) {
    this.#open = this.#open === state.id ? null : state.id;
    this.#draw();
  }

  async #loadIt(source) {
    if (await this.#load(source)) this.#dialog.close();
    else this.#say(this.#model.message?.text ?? null, "error");
  }

  #goBack(event) {
    event.preventDefault();
    const wanted = byId("back-input").valueAsNumber;
    const { run } = this.#model.status;
    const before = this.#states.filter((state) => state.run === run && state.iteration_count <= wanted && !state.deleted_at);
    const nearest = before.sort((a, b) => b.iteration_count - a.iteration_count)[0];
    if (!nearest) return this.#say(`Nothing of this run is kept from before iteration ${whole(wanted)}.`, "error");
    return this.#loadIt(nearest.id);
  }

  async #act(event, payload, done) {
    const answer = await this.#send(event, payload);
    document.activeElement?.blur?.();
    await this.#fetch();
    this.#say(answer.ok ? done : answer.error.message, answer.ok ? "success" : "error");
    return answer.ok;
  }

  async #remove(state) {
    setText(byId("delete-text"), `${title(state)}, iteration ${whole(state.iteration_count)}${state.kinds.includes("run") ? ", and the restore points of this run" : ""}.`);
    const dialog = byId("delete-dialog");
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "confirm") return;
    if (await this.#act("delete_state", { id: state.id }, "Deleted.")) this.#offerUndo(state);
  }

  #offerUndo(state) {
    const undo = () => this.#act("undelete_state", { id: state.id }, "Taken back.");
    byId("states-message").append(" ", make("button", { type: "button", className: "link", textContent: "Undo", onclick: undo }));
  }

  async #proveIt(state) {
    this.#say("Proving: the state is trained twice, in one go and in two halves …", "busy");
    this.#say(await this.#prove(state), "error");
  }

  #compare() {
    globalThis.open(`compare?ids=${[...this.#compared].map(encodeURIComponent).join(",")}`, "_blank", "noopener");
  }

  #say(text, type = "info") {
    const line = byId("states-message");
    showText(line, text);
    setAttribute(line, "data-type", type);
  }
}
