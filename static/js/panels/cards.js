/** The status cards. */

import { byId, setValue, setAttribute } from "../lib/dom.js";
import { firstStep } from "../core/first_step.js";
import { NO_VALUE, absolute, age, metric, rate, whole } from "../lib/format.js";
import { drawRisk, newestSave } from "./saving.js";

const STATE_NAMES = { uninitialized: "Uninitialized", ready: "Ready", training: "Training" };
const METRIC_CARDS = { loss: metric, reward: metric, variance: metric, mean: metric };
const COUNT_CARDS = { qtable: "qtable_size", strikes: "integrity_strikes" };

/** @param {import("../core/model.js").Model} model */
export function drawCards(model) {
  const { status } = model;
  if (!status) return;
  drawState(status);
  drawMetrics(status);
  drawSaved(status, model.now());
  drawRisk("risk", whole(status.unsaved_iterations ?? 0), status);
}

function drawState(status) {
  setValue("status", STATE_NAMES[status.state] ?? status.state, status.state);
  setValue("iteration", whole(status.iteration_count ?? 0), status.iteration_count ?? 0);
  const speed = status.running ? status.iterations_per_second ?? null : null;
  setValue("rate", rate(speed), speed);
}

function drawMetrics(status) {
  const metrics = status.current_metrics ?? {};
  for (const [name, format] of Object.entries(METRIC_CARDS)) setValue(name, format(metrics[name]), metrics[name] ?? null);
  for (const [name, field] of Object.entries(COUNT_CARDS)) setValue(name, whole(metrics[field]), metrics[field] ?? null);
  setAttribute(byId("strikes-value"), "data-tone", metrics.integrity_strikes ? "warning" : null);
  setValue("pattern", metrics.pattern == null ? NO_VALUE : whole(metrics.pattern), metrics.pattern ?? null);
  setValue("plasticity", metrics.plasticity == null ? "" : `× ${metric(metrics.plasticity)}`, metrics.plasticity ?? null);
  setValue("text", metrics.text ?? (status.iteration_count ? NO_VALUE : `none yet. ${firstStep(status)}`));
  setAttribute(byId("text-value"), "title", metrics.text ?? null);
}

function drawSaved(status, now) {
  const save = newestSave(status);
  setValue("saved", save ? age(save.saved_at, now, "narrow") : "never", save?.iteration_count ?? null);
  setAttribute(byId("saved-value"), "title", save ? `Iteration ${whole(save.iteration_count)}, ${absolute(save.saved_at)}` : null);
}
