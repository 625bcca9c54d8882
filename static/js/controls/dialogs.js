/** The questions: which saved state to load, whether to give up the run in memory, whether to delete everything. */

import { byId, make, setText } from "../lib/dom.js";
import { absolute, age, iterations } from "../lib/format.js";

/**
 * @param {import("../core/model.js").Model} model
 * @returns {Promise<?object>} the payload of load_state; null when called off
 */
export async function chooseSource(model) {
  const { saved, newer, saved_states: states = [] } = model.status;
  if (states.length < 2) return {};
  const newestFirst = [...states].sort((a, b) => Date.parse(b.saved_at) - Date.parse(a.saved_at));
  const choices = newestFirst.map((state) => choice(state, { saved, newer, now: model.now() }));
  byId("load-list").replaceChildren(...choices);
  byId("load-newer").hidden = !newer;
  const confirmed = await ask(byId("load-dialog"));
  const source = byId("load-dialog").querySelector("input[name=source]:checked")?.value;
  return confirmed && source ? { source } : null;
}

function choice(state, { saved, newer, now }) {
  const preselected = state.id === saved?.id;
  const input = make("input", { type: "radio", name: "source", value: state.id, checked: preselected, autofocus: preselected });
  const head = make("span", { className: "choice-head" }, make("strong", { textContent: iterations(state.iteration_count) }), ...badges(state, saved, newer));
  const when = `${age(state.saved_at, now)} (${absolute(state.saved_at)})`;
  const facts = [when, state.ended, `field size ${state.field_size}`, `seed ${state.seed}`].join(" · ");
  const text = make("span", { className: "choice-text" }, head, make("span", { className: "choice-facts", textContent: facts }));
  return make("li", {}, make("label", {}, input, text));
}

function badges(state, saved, newer) {
  const texts = [
    state.id === saved?.id && "default",
    state.id === newer?.id && "newer, cut off",
    state.current && "in memory now",
  ];
  return texts.filter(Boolean).map((text) => make("span", { className: "badge", textContent: text }));
}

/**
 * @param {import("../core/model.js").Model} model
 * @returns {Promise<?object>} the payload of reset_system; null when called off
 */
export async function confirmReset(model) {
  drawReset(model);
  return (await ask(byId("reset-dialog"))) ? {} : null;
}

/**
 * @param {import("../core/model.js").Model} model
 * @returns {Promise<boolean>} whether the run in memory may be given up
 */
export async function confirmTakeover(model) {
  drawTakeover(model);
  return ask(byId("takeover-dialog"));
}

/** Keeps an open question true while saves go on. @param {import("../core/model.js").Model} model */
export function drawOpenDialogs(model) {
  if (byId("reset-dialog").open) drawReset(model);
  if (byId("takeover-dialog").open) drawTakeover(model);
}

function drawTakeover({ status }) {
  // Somebody else has answered it, or the folder is back.
  if (status.save_error?.code !== "folder_changed") byId("takeover-dialog").close();
  const { iteration_count: count, unsaved_iterations: unsaved } = status;
  const rest = unsaved < count ? "the others were saved only in the folder as it was before" : "there is no save of it";
  const lost = `${iterations(unsaved)} ${unsaved === 1 ? "was" : "were"} never saved, ${rest}.`;
  setText(byId("takeover-loss"), `Training is stopped. Loading gives up the run in memory, ${iterations(count)}: ${lost}`);
}

function drawReset({ status }) {
  const list = byId("reset-list");
  const items = status.reset_deletes ?? [];
  if (list.dataset.drawn !== JSON.stringify(items)) {
    list.replaceChildren(...items.map((text) => make("li", { textContent: text })));
    list.dataset.drawn = JSON.stringify(items);
  }
  byId("reset-disk").textContent = items.length ? `In the folder ${status.state_dir}:` : `Nothing is saved in the folder ${status.state_dir}.`;
  byId("reset-memory").textContent = inMemory(status);
}

function inMemory({ initialized, running, iteration_count: count }) {
  if (!initialized) return "No run is in memory.";
  return `The run in memory, ${iterations(count)}${running ? "; training is stopped first." : "."}`;
}

/** Makes the buttons that call a question off do so. */
export function prepareDialogs() {
  for (const dialog of [byId("load-dialog"), byId("takeover-dialog"), byId("reset-dialog"), byId("restore-dialog")]) {
    dialog.querySelector("button[type=button]").addEventListener("click", () => dialog.close());
  }
}

/** @param {HTMLDialogElement} dialog @returns {Promise<boolean>} whether it was confirmed */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "confirm"), { once: true });
  });
}
