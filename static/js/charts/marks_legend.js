/** The legend of the marks, with a switch for each kind, and the list of all of them as text. */

import { byId, make, setText } from "../lib/dom.js";
import { whole } from "../lib/format.js";
import { MARK_KINDS, summarize } from "./marks.js";
import { wholeIterations } from "./range.js";

const MOST_LISTED = 200;
const MOST_SAVES = 20;

/**
 * @param {import("./range.js").VisibleRange} view @param {import("./toolbar.js").ChartSettings} settings @param {() => void} changed
 * @returns {(marks: import("../core/model.js").Mark[]) => void} draws legend and list
 */
export function createLegend(view, settings, changed) {
  const input = (kind) => byId(`mark-${kind}-input`);
  const list = byId("marks-list");
  for (const kind of MARK_KINDS) {
    input(kind).checked = !settings.hiddenMarks.includes(kind);
    input(kind).addEventListener("change", () => {
      settings.change({ hiddenMarks: MARK_KINDS.filter((each) => !input(each).checked) });
      changed();
    });
  }
  list.addEventListener("toggle", changed);
  return (marks) => {
    const there = new Set(marks.map(({ kind }) => kind));
    for (const kind of MARK_KINDS) byId(`mark-${kind}`).hidden = !there.has(kind);
    list.hidden = marks.length === 0;
    if (list.open) drawList(marks.filter(({ kind }) => !settings.hiddenMarks.includes(kind)), view);
  };
}

function drawList(marks, view) {
  const { start, end } = wholeIterations(view.range);
  const shown = marks.filter(({ iteration }) => iteration >= start && iteration <= end);
  const saves = shown.filter(({ kind }) => kind === "save");
  const each = saves.length > MOST_SAVES ? shown.filter(({ kind }) => kind !== "save") : shown;
  const rows = each.slice(0, MOST_LISTED).map((mark) => row(mark, view));
  if (each !== shown) rows.unshift(make("li", {}, summarize(saves)));
  if (each.length > MOST_LISTED) rows.push(make("li", {}, `and ${whole(each.length - MOST_LISTED)} more; zoom in to see them`));
  const places = byId("marks-places");
  const text = rows.map((item) => item.textContent).join("");
  // Rewritten only where it differs: somebody may be reading it, or stand in it by keyboard.
  if (places.textContent !== text) places.replaceChildren(...rows);
  setText(byId("marks-summary"), `Marks in iterations ${whole(start)} to ${whole(end)}`);
}

function row({ iteration, text }, view) {
  const go = make("button", { type: "button", className: "link" }, `Iteration ${whole(iteration)}`);
  go.addEventListener("click", () => view.show(iteration));
  return make("li", {}, go, `: ${text}`);
}
