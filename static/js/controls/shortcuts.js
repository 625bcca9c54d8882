/** Keyboard shortcuts: single keys, which can be switched off, and the window that lists them. */

import { byId, make } from "../lib/dom.js";
import { read, write } from "../lib/storage.js";
import { openSettings } from "./settings.js";

const KEY = "quadra.shortcuts";
const TYPED_INTO = 'textarea, select, [contenteditable], input:not([type="range"], [type="checkbox"], [type="radio"], [type="button"])';
const LAST = "500";

/** @typedef {{key: string, what: string, act: () => void, needs?: string}} Shortcut `needs`: id of what must be on the page */

/** @type {Shortcut[]} */
const SHORTCUTS = [
  { key: "i", what: "Initialize System", act: () => byId("initialize-button").click() },
  { key: "s", what: "Start or Stop Training", act: startOrStop },
  { key: "l", what: "Load Saved State", act: () => byId("load-button").click() },
  { key: "n", what: "Save under a name", act: () => byId("slot-button").click() },
  { key: "g", what: "Saved states", act: () => byId("states-button").click() },
  { key: ",", what: "Settings", act: () => openSettings() },
  { key: "f", what: `Follow the last ${LAST} iterations, or show everything`, act: follow },
  { key: "0", what: "Whole history", act: wholeHistory },
  { key: "/", what: "Search the log", act: () => byId("log-search").focus(), needs: "log-search" },
  { key: "?", what: "These keys", act: showHelp },
];
const ALWAYS = [
  ["Tab", "To the next part of the page"],
  ["Enter", "Press the button that has the focus"],
  ["Esc", "Close a window, answer a question with no"],
];
const IN_CHARTS = ["← → + −", "In a chart that has the focus: move and zoom"];

/** Starts listening for keys. */
export function createShortcuts() {
  const allowed = byId("shortcuts-input");
  // On, until somebody switches them off.
  allowed.checked = read(KEY) !== "off";
  allowed.addEventListener("change", () => write(KEY, allowed.checked ? "on" : "off"));
  byId("help-button").addEventListener("click", showHelp);
  byId("settings-help").addEventListener("click", () => {
    byId("settings-dialog").close();
    showHelp();
  });
  byId("help-close").addEventListener("click", () => byId("help-dialog").close());
  document.addEventListener("keydown", (event) => {
    if (!allowed.checked || isForSomebodyElse(event)) return;
    const shortcut = SHORTCUTS.find(({ key }) => key === event.key);
    if (!shortcut || !isThere(shortcut)) return;
    event.preventDefault();
    shortcut.act();
  });
}

function isForSomebodyElse(event) {
  const { ctrlKey, metaKey, altKey, repeat, isComposing, defaultPrevented, target } = event;
  if (ctrlKey || metaKey || altKey || repeat || isComposing || defaultPrevented) return true;
  return document.querySelector("dialog[open]") !== null || target.closest?.(TYPED_INTO) !== null;
}

function isThere({ needs }) {
  return !needs || byId(needs) !== null;
}

function startOrStop() {
  const running = globalThis.quadra.model.status?.running;
  byId(running ? "stop-button" : "start-button").click();
}

function follow() {
  const select = byId("follow-select");
  select.value = select.value === LAST ? "" : LAST;
  select.dispatchEvent(new Event("change"));
}

function wholeHistory() {
  const select = byId("follow-select");
  select.value = "";
  select.dispatchEvent(new Event("change"));
}

function showHelp() {
  const keys = SHORTCUTS.filter(isThere).map(({ key, what }) => [key, what]);
  const charts = byId("loss-chart").tabIndex >= 0 ? [IN_CHARTS] : [];
  byId("help-keys").replaceChildren(...rows(keys));
  byId("help-always").replaceChildren(...rows([...ALWAYS, ...charts]));
  byId("help-off").hidden = byId("shortcuts-input").checked;
  byId("help-dialog").showModal();
}

function rows(keys) {
  return keys.map(([key, what]) => make("div", {}, make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: what })));
}
