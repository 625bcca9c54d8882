/** The table of saved states: its columns, their order, and the filter. Draws only; sends nothing. */

import { make } from "../lib/dom.js";
import { absolute, age, metric, size, whole } from "../lib/format.js";

const KINDS = { current: "on the page", run: "run", slot: "named", point: "restore point", best: "best", save: "last saves" };
const COLUMNS = [
  { title: "Compare", key: null, name: "choose" },
  { title: "State", key: (state) => title(state).toLowerCase(), name: "state" },
  { title: "Iteration", key: (state) => state.iteration_count, name: "iteration" },
  { title: "Saved", key: order, name: "saved" },
  { title: "Loss", key: (state) => state.loss ?? Infinity, name: "loss" },
  { title: "Reward", key: (state) => state.reward ?? -Infinity, name: "reward" },
  { title: "Size", key: (state) => state.size, name: "size" },
  { title: "Load, and more", key: null, name: "do" },
];
const FIRST_ORDER = { column: "saved", down: true };

/** @param {object} state @returns {string} what people call it */
export function title(state) {
  return state.name || `run ${state.run.slice(0, 8)}`;
}

/** @param {object[]} states @param {{search: string, kind: string, order: ?object}} filter @returns {object[]} */
export function filterStates(states, { search, kind, order }) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = states.filter((state) => isOfKind(state, kind) && words.every((word) => text(state).includes(word)));
  const { column, down } = order ?? FIRST_ORDER;
  const key = COLUMNS.find(({ name }) => name === column).key;
  const sign = down ? -1 : 1;
  return found.sort((a, b) => sign * compare(key(a), key(b)) || b.iteration_count - a.iteration_count);
}

/** A clock may have been set back between two saves, their numbers never are; saves of before there were numbers have 0. */
function order(state) {
  return `${String(state.save_number).padStart(16, "0")} ${state.saved_at}`;
}

function isOfKind(state, kind) {
  if (kind === "deleted") return Boolean(state.deleted_at);
  if (state.deleted_at) return false;
  return !kind || state.kinds.includes(kind) || (kind === "run" && state.kinds.includes("current"));
}

function compare(a, b) {
  return a < b ? -1 : Number(a > b);
}

function text(state) {
  return [state.name, state.note, state.run, state.id, state.iteration_count, state.saved_at].join(" ").toLowerCase();
}

/** @param {?object} order @param {(column: string) => void} sort @returns {HTMLElement[]} */
export function headings(order, sort) {
  const { column, down } = order ?? FIRST_ORDER;
  return COLUMNS.map(({ title: heading, key, name }) => {
    const cell = make("th", { scope: "col", className: name });
    if (!key) {
      cell.append(make("span", { className: "visually-hidden", textContent: heading }));
      return cell;
    }
    const isSorted = name === column;
    if (isSorted) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    const mark = isSorted ? (down ? " ↓" : " ↑") : "";
    cell.append(make("button", { type: "button", className: "link", textContent: heading + mark, onclick: () => sort(name) }));
    return cell;
  });
}

/**
 * @param {object} state
 * @param {{now: number, isChosen: boolean, isOpen: boolean, choose: Function, open: Function, load: ?HTMLElement, details: () => HTMLElement}} parts
 * @returns {HTMLElement[]} one row, and a second one with what can be done where it is open
 */
export function rows(state, { now, isChosen, isOpen, choose, open, load, details }) {
  const row = make(
    "tr",
    {},
    make("td", { className: "choose" }, make("label", {}, box(state, isChosen, choose))),
    make("td", { className: "state" }, ...naming(state)),
    value("iteration", "Iteration", whole(state.iteration_count)),
    value("saved", "Saved", age(state.saved_at, now, "narrow"), absolute(state.saved_at)),
    value("loss", "Loss", metric(state.loss)),
    value("reward", "Reward", metric(state.reward)),
    value("size", "Size", size(state.size)),
    make("td", { className: "do" }, ...(load ? [load] : []), more(state, isOpen, open)),
  );
  row.dataset.id = state.id;
  if (!isOpen) return [row];
  return [row, make("tr", { className: "details" }, make("td", { colSpan: COLUMNS.length }, details()))];
}

function box(state, isChosen, choose) {
  const input = make("input", { type: "checkbox", checked: isChosen, disabled: Boolean(state.deleted_at), title: "Choose it for a comparison" });
  input.setAttribute("aria-label", `Compare ${title(state)}, iteration ${state.iteration_count}`);
  input.addEventListener("change", () => choose(input.checked));
  return input;
}

function naming(state) {
  const badges = [...state.kinds.map((kind) => KINDS[kind]), state.pinned && "pinned", state.deleted_at && "deleted"].filter(Boolean);
  const head = make("span", { className: "choice-head" }, make("strong", { textContent: title(state) }), ...badges.map((badge) => make("span", { className: "badge", textContent: badge })));
  const note = state.note ? [make("span", { className: "choice-facts", textContent: state.note.split("\n")[0] })] : [];
  return [head, ...note];
}

function value(name, label, textContent, hint = "") {
  const cell = make("td", { className: name, title: hint }, make("span", { className: "cell-label", textContent: label }), make("span", { textContent }));
  return cell;
}

function more(state, isOpen, open) {
  const button = make("button", { type: "button", className: "button small", textContent: isOpen ? "Less" : "More" });
  button.setAttribute("aria-expanded", String(isOpen));
  button.setAttribute("aria-label", `${isOpen ? "Less" : "More"} about ${title(state)}, iteration ${state.iteration_count}`);
  button.addEventListener("click", open);
  return button;
}
