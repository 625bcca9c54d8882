/** The dialog of the Load button: which saved state to load, where there are several. */

import { ask } from "../lib/dialog.js";
import { byId, make } from "../lib/dom.js";
import { absolute, age, iterations } from "../lib/format.js";

/**
 * @param {import("../core/model.js").Model} model
 * @returns {Promise<?object>} the payload of load_state; null when cancelled
 */
export async function chooseSource(model) {
  const { saved, newer, saved_states: states = [] } = model.status;
  if (states.length < 2) return {};
  const choices = states.map((state) => choice(state, { saved, newer, now: model.now() }));
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
