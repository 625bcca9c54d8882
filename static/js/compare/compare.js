/** The page that compares saved states: it fetches the comparison once, then every part draws its share. */

import { byId, showText } from "../lib/dom.js";
import { drawConfiguration } from "./configuration.js";
import { drawCurves } from "./curves.js";
import { drawFiringRates } from "./firing_rates.js";
import { drawQTables } from "./q_tables.js";
import { drawSides } from "./sides.js";
import { drawWeights } from "./weights.js";

const TIMEOUT_MS = 60_000;
const PARTS = [drawSides, drawConfiguration, drawCurves, drawQTables, drawWeights, drawFiringRates];

async function fetchComparison() {
  const ids = new URLSearchParams(location.search).get("ids") ?? "";
  const options = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
  const response = await fetch(`api/compare?ids=${encodeURIComponent(ids)}`, options).catch(() => null);
  if (!response) throw new Error("The server does not answer. Look whether it still runs, then reload the page.");
  const body = await response.json().catch(() => null);
  if (!response.ok || !body) throw new Error(body?.error?.message ?? `The server answered ${response.status}.`);
  return body;
}

async function start() {
  let state = "true";
  try {
    const comparison = await fetchComparison();
    byId("comparison").hidden = false;
    for (const draw of PARTS) draw(comparison);
  } catch (error) {
    showText(byId("compare-error"), `These saved states cannot be compared. ${error.message}`);
    state = "failed";
  }
  byId("compare-waiting").hidden = true;
  document.documentElement.dataset.ready = state;
}

start();
