/** The settings of the next run (field size, seed, corpus), checked where they are filled in. */

import { byId, make, setText } from "../lib/dom.js";
import { isFine } from "../lib/number_inputs.js";
import { size, whole } from "../lib/format.js";
import { openSettings } from "./settings.js";
import { actsOnly } from "../lib/role.js";

const LIMITS = {
  "field-size": { least: 2, most: 1_000_000 },
  seed: { least: 0, most: Number.MAX_SAFE_INTEGER },
};
const DEFAULT = "";
const BUILT_IN = "built-in";

let corpus = DEFAULT;
// Whether the server has named it: a text that was just given is known here a moment earlier.
let isNamed = true;

/** @returns {?object} the payload of initialize_system; null when a field needs correcting first */
export function readNewRun() {
  const wrong = Object.keys(LIMITS).filter((name) => !isFine(name, LIMITS[name]));
  if (wrong.length) {
    openSettings(`${wrong[0]}-input`);
    return null;
  }
  const [fieldSize, seed] = [byId("field-size-input").value.trim(), byId("seed-input").value.trim()];
  return { ...(fieldSize && { field_size: Number(fieldSize) }), ...(seed && { seed: Number(seed) }), ...(corpus && { corpus }) };
}

/** @param {string} text id of an own text that the next run shall train on */
export function chooseText(text) {
  [corpus, isNamed] = [text, false];
}

/** @param {import("../core/model.js").Model} model @returns {() => void} draws what the next run gets */
export function createNewRun(model) {
  for (const name of Object.keys(LIMITS)) {
    actsOnly(byId(`${name}-input`)).addEventListener("input", () => {
      isFine(name, LIMITS[name]);
      model.changed();
    });
  }
  let drawn = null;
  return () => {
    if (!model.status) return;
    const choices = choicesOf(model.status);
    const isOffered = choices.some(({ value }) => value === corpus);
    // A text that a reset has deleted cannot be trained on any more.
    if (isNamed && !isOffered) corpus = DEFAULT;
    isNamed ||= isOffered;
    const picture = JSON.stringify([choices, corpus]);
    if (picture !== drawn) byId("corpus-choices").replaceChildren(...choices.map((choice) => row(choice, model)));
    drawn = picture;
    setText(byId("new-run-summary"), summary(choices));
  };
}

function choicesOf({ texts = [], new_run: fresh }) {
  const server = { value: DEFAULT, name: fresh.corpus, facts: fresh.is_built_in ? "comes with the program" : "given by --corpus when the server was started" };
  const builtIn = { value: BUILT_IN, name: "built-in corpus", facts: "comes with the program" };
  const own = texts.map((text) => ({ value: text.id, name: text.name, facts: `own text · ${factsOf(text)}` }));
  return [server, ...(fresh.is_built_in ? [] : [builtIn]), ...own];
}

/** @param {{lines: number, bytes: number, cut: number}} text @returns {string} "120 lines, 4.2 kB" */
export function factsOf({ lines, bytes, cut }) {
  const long = cut ? `; ${whole(cut)} of them cut at 10,000 characters` : "";
  return `${whole(lines)} line${lines === 1 ? "" : "s"}, ${size(bytes)}${long}`;
}

function row({ value, name, facts }, model) {
  const input = make("input", { type: "radio", name: "corpus", value, checked: value === corpus });
  input.addEventListener("change", () => {
    corpus = value;
    model.changed();
  });
  const text = make("span", { className: "choice-text" }, make("strong", { textContent: name }), make("span", { className: "choice-facts", textContent: facts }));
  return make("li", {}, make("label", {}, input, text));
}

function summary(choices) {
  const [fieldSize, seed] = [byId("field-size-input").value, byId("seed-input").value];
  const text = corpus && choices.find(({ value }) => value === corpus)?.name;
  const chosen = [fieldSize && `field size ${fieldSize}`, seed && `seed ${seed}`, text].filter(Boolean);
  return chosen.length ? chosen.join(", ") : "defaults";
}
