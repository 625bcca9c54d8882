/** The page that sets saved states beside each other: asks for them once, then every part draws its share. */

import { drawLayers } from "./distances.js";
import { byId, showText } from "../lib/dom.js";
import { drawHeatMap } from "./heatmap.js";
import { drawCurves } from "./overlays.js";
import { drawRates } from "./rates.js";
import { drawConfiguration, drawSides } from "./sides.js";

const TIMEOUT_MS = 60_000;
const PARTS = [drawSides, drawConfiguration, drawCurves, drawHeatMap, drawLayers, drawRates];

async function compared() {
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
    const comparison = await compared();
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
