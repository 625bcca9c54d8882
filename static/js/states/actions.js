/** The actions on one saved state: name, note and pin, downloads, proof, deletion and its undoing. */

import { make } from "../lib/dom.js";
import { absolute, age } from "../lib/format.js";
import { actsOnly } from "../lib/role.js";

/**
 * @param {object} state
 * @param {{act: (event: string, payload: object, done: string) => void, prove: (state: object) => void, remove: (state: object) => void}} acts
 * @returns {HTMLElement} the opened part of its row
 */
export function details(state, acts) {
  const address = `api/states/${encodeURIComponent(state.id)}`;
  return make(
    "div",
    { className: "state-details" },
    make("p", { className: "hint", textContent: why(state, acts.now) }),
    state.deleted_at ? make("span") : labels(state, acts.act),
    make(
      "div",
      { className: "state-acts" },
      ...(state.deleted_at
        ? [button("Take back", () => acts.act("undelete_state", { id: state.id }, "Taken back."))]
        : [
            button(state.pinned ? "Unpin" : "Pin", () => acts.act("label_state", { id: state.id, pinned: !state.pinned }, state.pinned ? "Unpinned." : "Pinned.")),
            link("Download", `${address}/archive`),
            link("Report", `${address}/report`),
            link("CSV", `${address}/history.csv`),
            link("JSON", `${address}/history.json`),
            button("Prove it", () => acts.prove(state)),
            ...(canGo(state) ? [button("Delete", () => acts.remove(state), "danger")] : []),
          ]),
    ),
  );
}

function canGo({ kinds }) {
  return !kinds.includes("current") && !kinds.includes("save");
}

function why(state, now) {
  const facts = [`Run ${state.run}`, state.ended, `field size ${state.field_size}`, state.seed === null ? null : `seed ${state.seed}`, `${age(state.saved_at, now)} (${absolute(state.saved_at)})`];
  const parent = state.parent ? `Its run went on from iteration ${state.parent.split("@")[1]} of run ${state.parent.slice(0, 8)}.` : null;
  const kept = state.deleted_at ? "Deleted; its files go an hour after that." : state.kept;
  return [`${facts.filter(Boolean).join(" · ")}.`, kept, parent].filter(Boolean).join(" ");
}

function labels(state, act) {
  const name = make("input", { type: "text", maxLength: 120, value: state.name, placeholder: "name", autocomplete: "off" });
  const note = make("textarea", { maxLength: 2000, rows: 2, value: state.note, placeholder: "note" });
  name.setAttribute("aria-label", "Name");
  note.setAttribute("aria-label", "Note");
  const form = make("form", { className: "labels" }, name, note, actsOnly(make("button", { className: "button small", textContent: "Keep name and note" })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("label_state", { id: state.id, name: name.value, note: note.value }, "Name and note are kept.");
  });
  return form;
}

function button(textContent, onclick, kind = "") {
  return actsOnly(make("button", { type: "button", className: `button small ${kind}`, textContent, onclick }));
}

function link(textContent, href) {
  return make("a", { className: "button small", textContent, href, download: "" });
}
