/** The dialog of "Restore a backup": which one; the server fetches and verifies it, keeps it as a named saved state, then loads it. */

import { ask } from "../lib/dialog.js";
import { byId, make, showText } from "../lib/dom.js";
import { absolute, age, iterations, size, whole } from "../lib/format.js";

const MOST_SHOWN = 100;

/**
 * @param {import("../core/model.js").Model} model
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {Promise<?object>} the payload of load_state; null when cancelled, or when training goes on
 */
export async function restoreBackup(model, send) {
  const found = await command(model, send, "list_backups", {}, "Looking for backups …", ({ backups, place }) => `Complete backups at ${place}: ${whole(backups.length)}.`);
  if (!found?.backups.length) return null;
  const name = await choose(found.backups, model);
  if (!name) return null;
  const done = ({ iteration_count: count, title, warnings }) => [`Kept as the saved state “${title}”: ${iterations(count)}.`, ...warnings].join(" ");
  const restored = await command(model, send, "restore_backup", { name }, "Fetching and verifying …", done);
  return restored && !model.status.running ? { source: restored.id } : null;
}

async function command(model, send, event, payload, doing, done) {
  model.begin("restore", doing);
  const answer = await send(event, payload);
  model.end("restore", answer.ok ? { type: answer.warnings?.length ? "warning" : "success", text: done(answer) } : { type: "error", text: answer.error.message });
  return answer.ok ? answer : null;
}

async function choose(backups, model) {
  const shown = backups.slice(0, MOST_SHOWN);
  byId("restore-list").replaceChildren(...shown.map((backup, index) => choice(backup, index === 0, model.now())));
  showText(byId("restore-more"), backups.length > shown.length ? `The newest ${whole(shown.length)} of ${whole(backups.length)}.` : null);
  const confirmed = await ask(byId("restore-dialog"));
  return confirmed ? byId("restore-dialog").querySelector("input[name=backup]:checked")?.value : null;
}

function choice(backup, preselected, now) {
  const input = make("input", { type: "radio", name: "backup", value: backup.name, checked: preselected, autofocus: preselected });
  const head = make("span", { className: "choice-head" }, make("strong", { textContent: iterations(backup.iteration_count) }));
  const when = `${age(backup.saved_at, now)} (${absolute(backup.saved_at)})`;
  const facts = [when, backup.ended, `run ${backup.run.slice(0, 8)}`, `field size ${backup.field_size}`, `seed ${backup.seed}`, size(backup.size)].join(" · ");
  const text = make("span", { className: "choice-text" }, head, make("span", { className: "choice-facts", textContent: facts }));
  return make("li", {}, make("label", {}, input, text));
}
