/** The drawer of settings: what applies now, and what the next run gets. */

import { byId, setAttribute, setText, showText } from "../lib/dom.js";
import { isBeingFilledIn, isFine, showProblem } from "../lib/number_inputs.js";
import { iterations, whole } from "../lib/format.js";
import { WATCHER_REASON } from "../lib/role.js";

const PACE = { least: 0.01, most: 1_000_000, whole: false };
const SAVE_EVERY = { least: 0, most: 1_000_000_000, empty: false };

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {(model: import("../core/model.js").Model) => void} draws the drawer while it is open
 */
export function createSettings(model, send) {
  const dialog = byId("settings-dialog");
  byId("settings-button").addEventListener("click", () => openSettings());
  byId("new-run-button").addEventListener("click", () => openSettings("field-size-input"));
  byId("settings-close").addEventListener("click", () => dialog.close());
  // A press on what lies behind the drawer closes it.
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  createNumber("exact-pace", PACE, (value) => apply("exact-pace", "set_pace", { iterations_per_second: value }));
  createNumber("save-every", SAVE_EVERY, (value) => apply("save-every", "set_save_every", { iterations: value }));
  createTheme();
  const drawSmoothing = mirrorSmoothing();
  return () => {
    if (!dialog.open) return;
    drawNumbers(model);
    drawSmoothing();
    drawRun(model.status);
  };

  async function apply(name, event, payload) {
    showText(byId(`${name}-done`), "Applying …");
    const answer = await send(event, payload);
    showProblem(name, answer.ok ? null : answer.error.message);
    showText(byId(`${name}-done`), answer.ok ? "Applied." : null);
    model.changed();
  }
}

/** @param {string} [focus] id of the field to begin with */
export function openSettings(focus) {
  const dialog = byId("settings-dialog");
  if (!dialog.open) dialog.showModal();
  if (focus) byId(focus).focus();
  globalThis.quadra?.model.changed();
}

function createNumber(name, limits, apply) {
  const input = byId(`${name}-input`);
  input.addEventListener("input", () => {
    showText(byId(`${name}-done`), null);
    if (input.getAttribute("aria-invalid")) isFine(name, limits);
  });
  input.addEventListener("change", () => {
    if (isFine(name, limits)) apply(input.value.trim() === "" ? null : Number(input.value));
  });
}

function drawNumbers({ status, connection }) {
  const values = { "exact-pace": status?.pace ?? "", "save-every": status?.save_every ?? "" };
  for (const [name, value] of Object.entries(values)) {
    const input = byId(`${name}-input`);
    input.readOnly = WATCHER_REASON !== null || connection !== "connected";
    setAttribute(input, "title", WATCHER_REASON ?? (input.readOnly ? "Not connected to the server." : null));
    if (!isBeingFilledIn(name) && input.value !== String(value)) input.value = String(value);
  }
}

function drawRun(status) {
  if (!status) return;
  const { run, field_size: size, seed, corpus, new_run: fresh } = status;
  const facts = run ? `The run on the page keeps its own: field size ${whole(size)}, seed ${seed}, ${corpus}.` : "There is no run yet.";
  setText(byId("settings-run"), facts);
  setAttribute(byId("field-size-input"), "placeholder", String(fresh.field_size));
  setAttribute(byId("seed-input"), "placeholder", fresh.seed === null ? "random" : String(fresh.seed));
  setText(byId("save-every-hint"), status.save_every ? `A crash takes back at most ${iterations(status.save_every)}.` : "Auto-save is off: a crash takes back all since the last Stop.");
}

function createTheme() {
  const { choose, choice } = globalThis.quadraTheme;
  for (const input of document.querySelectorAll('input[name="theme"]')) {
    input.checked = input.value === choice();
    input.addEventListener("change", () => choose(input.value));
  }
}

// The slider above the charts is the one that counts; this one moves it.
function mirrorSmoothing() {
  const [own, charts] = [byId("settings-smoothing-input"), byId("smoothing-input")];
  own.addEventListener("input", () => {
    charts.value = own.value;
    charts.dispatchEvent(new Event("input"));
  });
  return () => {
    if (own.value !== charts.value) own.value = charts.value;
    setText(byId("settings-smoothing-value"), Number(own.value).toFixed(2));
  };
}
