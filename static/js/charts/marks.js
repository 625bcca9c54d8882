/** Marks: what happened along the curves (saves, loads, going back, the best state, strikes), fetched from the server. */

import { fetchJson } from "../core/connection.js";
import { whole } from "../lib/format.js";

/** In the order of the legend. */
export const MARK_KINDS = ["save", "named", "load", "branch", "best", "strike"];
// While training, new restore points are looked for only so often; the newest save comes with the status.
const REFRESH_MS = 5000;
const NO_MARKS = { saves: [], named: [], branches: [] };

/**
 * @param {object} socket
 * @returns {(model: import("../core/model.js").Model) => void} keeps `model.marks` up to date
 */
export function createMarks(socket) {
  const fetched = new FetchedMarks();
  for (const event of ["states_changed", "connect"]) socket.on(event, () => fetched.refresh());
  let before = null;
  return (model) => {
    const found = fetched.of(model);
    const { loaded_at = [], struck_at = [], best = null, last_save: save = null } = model.status ?? {};
    const shown = [found, JSON.stringify([loaded_at, struck_at, best, save?.iteration_count])];
    if (before && shown.every((part, place) => part === before[place])) return;
    before = shown;
    model.marks = marksOf(found, { loaded_at, struck_at, best, save });
  };
}

function marksOf({ saves, named, branches }, { loaded_at, struck_at, best, save }) {
  const saved = new Set(save ? [...saves, save.iteration_count] : saves);
  const marks = [
    ...[...saved].map((iteration) => ({ kind: "save", iteration, text: "Saved" })),
    ...named.map(({ iteration, name }) => ({ kind: "named", iteration, text: `Saved as “${name}”` })),
    ...loaded_at.map((iteration) => ({ kind: "load", iteration, text: "Loaded here, and went on" })),
    ...branches.map(({ iteration, run, went_on }) => ({ kind: "branch", iteration, text: branchText(run, went_on) })),
    ...struck_at.map((iteration) => ({ kind: "strike", iteration, text: "A void iteration: undone, and counted as a strike" })),
  ];
  if (best) marks.push({ kind: "best", iteration: best.iteration_count, text: "The best state: the highest mean reward" });
  return marks.sort((a, b) => a.iteration - b.iteration);
}

function branchText(run, wentOn) {
  const name = run.slice(0, 8);
  return wentOn ? `Went back to here, and left run ${name}` : `Run ${name} went on from here`;
}

/** @param {import("../core/model.js").Mark[]} marks of a kind, close to each other @returns {string} what they are */
export function summarize(marks) {
  const [first, last] = [marks[0], marks.at(-1)];
  if (marks.length === 1) return `Iteration ${whole(first.iteration)}: ${first.text}`;
  const span = `iterations ${whole(first.iteration)} to ${whole(last.iteration)}`;
  return first.kind === "save" ? `${whole(marks.length)} saves, ${span}` : `${whole(marks.length)} marks, ${span}; the first: ${first.text}`;
}

class FetchedMarks {
  #found = NO_MARKS;
  #asked = null;
  #askedAt = -Infinity;
  #saved = null;
  #changes = 0;

  /** Has them fetched anew, because the saved states may have changed. */
  refresh() {
    this.#changes++;
  }

  /** @param {import("../core/model.js").Model} model @returns {object} the newest answer for its run */
  of(model) {
    const { run = null, parent = null, last_save: save } = model.status ?? {};
    const key = JSON.stringify([run, parent, this.#changes]);
    const isLate = save?.iteration_count !== this.#saved && performance.now() - this.#askedAt > REFRESH_MS;
    if (JSON.parse(this.#asked ?? "[]")[0] !== run) this.#found = NO_MARKS;
    if (model.status && (key !== this.#asked || isLate)) this.#ask(model, key, save?.iteration_count);
    return this.#found;
  }

  async #ask(model, key, saved) {
    [this.#asked, this.#askedAt, this.#saved] = [key, performance.now(), saved];
    const answer = await fetchJson("api/marks").catch(() => null);
    if (key !== this.#asked) return;
    if (answer?.body.run === model.run) this.#found = answer.body;
    // Asked again at the next save, or change.
    else this.#saved = null;
    model.changed();
  }
}
