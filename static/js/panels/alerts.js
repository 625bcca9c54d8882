/** The panel "Alerts": the rules of the run on the page, and the notices of the alerts that they have set off. */

import { fetchJson } from "../core/connection.js";
import { byId, make, setAttribute, setText, showText } from "../lib/dom.js";
import { absolute, age, clock, whole } from "../lib/format.js";
import { createNotifications } from "./notifications.js";
import { WATCHER_REASON, actsOnly, toOperators } from "../lib/role.js";
import { readJson, write } from "../lib/storage.js";

const DISMISSED = "quadra-dismissed-alerts";
const MOST_REMEMBERED = 300;
const MOST_KEPT = 100;
const MOST_SHOWN = 3;
const KINDS = {
  loss_above: { words: (limit) => `Loss above ${limit}`, step: "any" },
  reward_below: { words: (limit) => `Reward below ${limit}`, step: "any" },
  variance_above: { words: (limit) => `Field variance above ${limit}`, step: "any" },
  strikes_at_least: { words: (limit) => `Integrity strikes at least ${limit}`, step: "1" },
  saves_failing: { words: () => "Saves failing" },
  run_finished: { words: () => "Run finished by itself" },
};

/**
 * @param {import("../core/model.js").Model} model
 * @param {object} socket
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {(model: import("../core/model.js").Model) => void}
 */
export function createAlerts(model, socket, send) {
  const notify = createNotifications();
  const take = (alerts) => {
    const gone = new Set(dismissed());
    const known = new Map(model.alerts.map((alert) => [alert.id, alert]));
    for (const alert of alerts) if (!gone.has(alert.id)) known.set(alert.id, alert);
    model.alerts = [...known.values()].sort((a, b) => Date.parse(a.at) - Date.parse(b.at)).slice(-MOST_KEPT);
    model.changed();
  };
  const dismiss = (alerts) => {
    const gone = new Set(alerts.map(({ id }) => id));
    remember([...gone]);
    model.alerts = model.alerts.filter(({ id }) => !gone.has(id));
    model.changed();
  };
  socket.on("alert", (alert) => {
    take([alert]);
    // Of its own, since the ages in the notices change by the second.
    setText(byId("alert-announcement"), alert.message);
    notify(alert, words(alert.rule));
  });
  socket.on("connect", async () => {
    const answer = await fetchJson("api/alerts").catch((error) => model.record(`The alerts could not be fetched: ${error.message}`, "warning"));
    if (answer) take(answer.body.fired);
  });
  // Another tab of this browser has dismissed some.
  addEventListener("storage", ({ key }) => key === DISMISSED && dismiss(model.alerts.filter(({ id }) => dismissed().includes(id))));
  const change = createChanger(model, send);
  const form = createForm(model, change);
  const notices = createNotices(dismiss);
  const rules = createRules(model, change);
  byId("alerts-dismiss").addEventListener("click", () => dismiss(model.alerts));
  return (now) => {
    form(now);
    rules(now);
    notices(now);
  };
}

function words({ kind, threshold }) {
  return KINDS[kind]?.words(threshold) ?? kind;
}

// --- the rules

function createChanger(model, send) {
  return async (rules) => {
    const { run, alerts: seen } = model.status;
    const answer = await send("set_alerts", { rules, run, seen });
    showText(byId("alert-error"), answer.ok ? null : answer.error.message);
    const newest = answer.error?.code === "rules_changed" ? await fetchRules(model) : { run, rules: answer.rules };
    if (newest?.rules && model.status.run === newest.run) model.status = { ...model.status, alerts: newest.rules };
    model.changed();
    return answer.ok === true;
  };
}

async function fetchRules(model) {
  const answer = await fetchJson("api/alerts").catch((error) => model.record(`The newest rules could not be fetched: ${error.message}`, "warning"));
  return answer?.body;
}

function createForm(model, change) {
  const [kind, limit] = [byId("alert-kind"), byId("alert-threshold")];
  const adapt = () => {
    const { step } = KINDS[kind.value];
    limit.hidden = !step;
    limit.required = Boolean(step);
    setAttribute(limit, "step", step ?? "any");
    setAttribute(limit, "min", kind.value === "strikes_at_least" ? "1" : null);
  };
  kind.addEventListener("change", adapt);
  byId("alert-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const threshold = limit.hidden ? null : limit.valueAsNumber;
    const added = await change([...model.status.alerts, { kind: kind.value, threshold }]);
    if (added) limit.value = "";
  });
  adapt();
  return ({ status, connection }) => {
    const reason = whyNot(status, connection);
    for (const element of byId("alert-form").elements) element.disabled = reason !== null;
    setAttribute(byId("alert-add"), "title", reason);
    showText(byId("alerts-empty"), emptyState(status));
  };
}

function whyNot(status, connection) {
  if (WATCHER_REASON !== null) return WATCHER_REASON;
  if (connection !== "connected") return "Not connected to the server.";
  return status?.run ? null : "Rules are kept with a run: initialize or load one first.";
}

function emptyState(status) {
  if (!status) return null;
  if (!status.run) return toOperators("Rules are kept with a run: initialize or load one first.", "Rules are kept with a run, and there is none in memory.");
  return status.alerts?.length ? null : toOperators("No rules yet. Choose what to be told of and press Add; the server watches, also while no browser looks.", "No rules yet.");
}

function createRules(model, change) {
  let drawn = null;
  return ({ status }) => {
    const rules = status?.alerts ?? [];
    const key = JSON.stringify(rules);
    if (key === drawn) return;
    drawn = key;
    setText(byId("alerts-count"), rules.length ? `${rules.length} rule${rules.length === 1 ? "" : "s"}` : "none");
    byId("alert-rules").replaceChildren(...rules.map((rule, number) => ruleLine(rule, () => change(without(model.status.alerts, rule)), number)));
  };
}

function without(rules, { kind, threshold }) {
  return rules.filter((rule) => rule.kind !== kind || rule.threshold !== threshold);
}

function ruleLine(rule, remove, number) {
  const button = make("button", { type: "button", className: "link", textContent: "Remove", ariaLabel: `Remove the rule: ${words(rule)}` });
  button.addEventListener("click", async () => {
    button.disabled = true;
    const removed = await remove();
    button.disabled = false;
    if (removed) focusAfter(number);
  });
  return make("li", {}, make("span", { textContent: words(rule) }), actsOnly(button));
}

// Who works by keyboard goes on where the line was.
function focusAfter(number) {
  requestAnimationFrame(() => {
    const left = byId("alert-rules").querySelectorAll("button");
    (left[Math.min(number, left.length - 1)] ?? byId("alert-kind")).focus();
  });
}

// --- the notices

function createNotices(dismiss) {
  const list = byId("alert-notices");
  let drawn = null;
  let ticking = [];
  return (model) => {
    const key = `${model.alerts.map(({ id }) => id).join()} ${model.run}`;
    if (key !== drawn) {
      drawn = key;
      ticking = drawNotices(list, grouped(model.alerts), model, dismiss);
    }
    for (const { element, at } of ticking) setText(element, age(at, model.now()));
  };
}

/** @returns {import("../core/model.js").Alert[][]} one rule's alerts together, the rule that was set off last first */
function grouped(alerts) {
  const groups = new Map();
  for (const alert of [...alerts].reverse()) {
    const key = `${alert.run} ${words(alert.rule)}`;
    groups.set(key, [...(groups.get(key) ?? []), alert]);
  }
  return [...groups.values()];
}

function drawNotices(list, groups, { run, alerts }, dismiss) {
  const shown = groups.slice(0, MOST_SHOWN);
  const ticking = [];
  list.replaceChildren(...shown.map((group) => notice(group, run, dismiss, ticking)));
  byId("alerts-standing").hidden = groups.length === 0;
  byId("alerts-more-line").hidden = alerts.length < 2;
  const hidden = groups.length - shown.length;
  setText(byId("alerts-more"), hidden > 0 ? `${whole(hidden)} more rule${hidden === 1 ? " was" : "s were"} set off; the log has all.` : "");
  return ticking;
}

function notice(group, run, dismiss, ticking) {
  const [newest] = group;
  const ago = make("span");
  ticking.push({ element: ago, at: newest.at });
  const times = group.reduce((sum, { times }) => sum + times, 0);
  const facts = [clock(new Date(newest.at)), newest.run === run ? null : `run ${newest.run?.slice(0, 8) ?? "unknown"}`, times > 1 ? `${whole(times)} times in all` : null];
  const button = make("button", { type: "button", className: "button small", textContent: "Dismiss", ariaLabel: `Dismiss: ${newest.message}` });
  button.addEventListener("click", () => dismiss(group));
  return make(
    "li",
    { className: "banner warning alert-notice" },
    make("span", { className: "symbol", ariaHidden: "true", textContent: "!" }),
    make("p", {}, make("strong", { textContent: newest.message }), " ", make("span", { className: "facts-of", title: absolute(newest.at) }, `${facts.filter(Boolean).join(" · ")} · `, ago)),
    button,
  );
}

// --- what this browser has dismissed

function dismissed() {
  return readJson(DISMISSED) ?? [];
}

function remember(ids) {
  write(DISMISSED, JSON.stringify([...new Set([...dismissed(), ...ids])].slice(-MOST_REMEMBERED)));
}
