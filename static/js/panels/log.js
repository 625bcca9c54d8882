/** The panel "Log", newest line first: searched, copied and downloaded. */

import { fetchJson } from "../core/connection.js";
import { byId, make, setText } from "../lib/dom.js";
import { absolute, clock, whole } from "../lib/format.js";
import { toOperators } from "../lib/role.js";
import { asText, filterLines } from "../core/log_lines.js";

const SYMBOLS = { info: "i", success: "✓", warning: "!", error: "✗" };
// The terminal's own sign stands in a column of its own here.
const SIGN = /^(?:[✓✗]|\[ok\]|\[failed\]) /;
const SAID_MS = 3000;

/**
 * @param {import("../core/model.js").Model} model
 * @param {object} socket
 * @returns {(model: import("../core/model.js").Model) => void}
 */
export function createLog(model, socket) {
  const filters = [...document.querySelectorAll("input[name=log-kind]")];
  const view = { elements: new Map(), drawn: null, search: "", shown: [] };
  const redraw = () => {
    view.drawn = null;
    model.changed();
  };
  for (const input of [byId("log-search"), ...filters]) input.addEventListener("input", redraw);
  byId("log-copy").addEventListener("click", () => copy(textOf(view.shown)));
  byId("log-download").addEventListener("click", () => download(textOf(view.shown), model.now()));
  follow(model, socket);
  return ({ log }) => {
    if (log.lines === view.drawn) return;
    view.drawn = log.lines;
    const types = new Set(filters.filter((input) => input.checked).map((input) => input.value));
    view.shown = filterLines(log.lines, types, byId("log-search").value);
    drawLines(view);
    drawState(view.shown.length, log.lines.length);
  };
}

function follow(model, socket) {
  const add = (start, lines) => {
    model.log.add(start, lines);
    model.changed();
  };
  socket.on("log_line", (line) => add(line.start, [line]));
  socket.on("connect", async () => {
    const answer = await fetchJson("api/log").catch((error) => model.record(`The log of the server could not be fetched: ${error.message}`, "warning"));
    if (answer) add(answer.body.start, answer.body.lines);
  });
}

function drawState(shown, all) {
  const empty = all ? "No line is like that." : `Nothing has happened yet. ${toOperators("Press Initialize System, or load a saved state: whatever is done is listed here.", "Whatever is done is listed here.")}`;
  byId("log-empty").hidden = shown > 0;
  setText(byId("log-empty"), empty);
  setText(byId("log-count"), shown === all ? "" : `${whole(shown)} of ${whole(all)} lines`);
  for (const id of ["log-copy", "log-download"]) byId(id).disabled = shown === 0;
}

// Elements that stay are not moved, so that the place somebody reads at stays too.
function drawLines(view) {
  const list = byId("log");
  const old = view.elements;
  view.elements = new Map(view.shown.map((line) => [line.id, old.get(line.id)?.line === line ? old.get(line.id) : { line, element: makeLine(line) }]));
  for (const [id, { element }] of old) {
    const next = view.elements.get(id)?.element;
    if (!next) element.remove();
    else if (next !== element) element.replaceWith(next);
  }
  let place = list.firstElementChild;
  for (const { element } of [...view.elements.values()].reverse()) {
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
  }
}

function makeLine({ time, type, text, count, since, own }) {
  const line = make(
    "li",
    { title: count > 1 ? `${count} times since ${absolute(since)}` : absolute(time) },
    make("time", { dateTime: time.toISOString(), title: absolute(time), textContent: clock(time) }),
    make("span", { className: "symbol", ariaHidden: "true", textContent: SYMBOLS[type] ?? SYMBOLS.info }),
    make("span", { className: "visually-hidden", textContent: `${type}: ` }),
    make("span", { className: "text", textContent: text.replace(SIGN, "") }, ...(count > 1 ? [make("span", { className: "count", textContent: ` × ${whole(count)}` })] : [])),
    ...(own ? [make("span", { className: "own", textContent: "this browser" })] : []),
  );
  line.dataset.type = type;
  return line;
}

function textOf(lines) {
  return lines.map((line) => `${asText(line)}\n`).join("");
}

async function copy(text) {
  const done = await toClipboard(text);
  const button = byId("log-copy");
  setText(button, done ? "Copied" : "Not allowed");
  setText(byId("log-said"), done ? "The lines that are shown were copied." : "This browser does not let the page copy; use Download.");
  setTimeout(() => {
    setText(button, "Copy");
    setText(byId("log-said"), "");
  }, SAID_MS);
}

// The clipboard is there in secure contexts only; the older way works on plain http too.
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyFromField(text);
  }
}

function copyFromField(text) {
  const before = document.activeElement;
  const field = make("textarea", { className: "visually-hidden", value: text, ariaLabel: "Lines to copy" });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  return done;
}

function download(text, now) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const name = `quadramatrix-log-${new Date(now).toISOString().slice(0, 19).replaceAll(":", "-")}.txt`;
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), SAID_MS);
}
