/** The log, newest line first. */

import { byId, make } from "./dom.js";
import { absolute, clock } from "./format.js";

const SYMBOLS = { info: "i", success: "✓", warning: "!", error: "✗" };

/** @returns {(model: import("./model.js").Model) => void} adds what is new since the last call */
export function createLog() {
  const list = byId("log");
  const lines = new Map();
  let drawn = null;
  return ({ log }) => {
    if (log === drawn) return;
    for (const entry of log) drawEntry(list, lines, entry);
    forgetOld(lines, log);
    drawn = log;
    byId("log-empty").hidden = log.length > 0;
  };
}

function drawEntry(list, lines, entry) {
  const line = lines.get(entry.id);
  if (line?.entry === entry) return;
  const element = makeLine(entry);
  if (line) line.element.replaceWith(element);
  else list.prepend(element);
  lines.set(entry.id, { entry, element });
}

function forgetOld(lines, log) {
  const oldest = log[0]?.id ?? Infinity;
  for (const [id, line] of lines) {
    if (id >= oldest) break;
    line.element.remove();
    lines.delete(id);
  }
}

function makeLine({ time, type, text, count }) {
  const line = make(
    "li",
    {},
    make("time", { dateTime: time.toISOString(), title: absolute(time), textContent: clock(time) }),
    make("span", { className: "symbol", ariaHidden: "true", textContent: SYMBOLS[type] ?? SYMBOLS.info }),
    make("span", { className: "visually-hidden", textContent: `${type}: ` }),
    make("span", { className: "text", textContent: count > 1 ? `${text} (${count} times)` : text }),
  );
  line.dataset.type = type;
  return line;
}
