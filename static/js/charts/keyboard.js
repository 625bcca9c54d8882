/** Zooming and moving by keyboard, in whichever chart has the focus. */

import { byId, setText } from "../lib/dom.js";
import { whole } from "../lib/format.js";
import { wholeIterations } from "./range.js";

const STEP = 0.25;
const ZOOM = 0.5;

const ACTIONS = {
  ArrowLeft: (view) => view.move(-STEP),
  ArrowRight: (view) => view.move(STEP),
  ArrowUp: (view) => view.scale(ZOOM),
  "+": (view) => view.scale(ZOOM),
  ArrowDown: (view) => view.scale(1 / ZOOM),
  "-": (view) => view.scale(1 / ZOOM),
  Home: (view) => view.move(-Infinity),
  End: (view) => view.move(Infinity),
  Escape: (view) => view.follow(null),
  0: (view) => view.follow(null),
};

/** @param {HTMLCanvasElement} canvas @param {import("./range.js").VisibleRange} view */
export function zoomByKeys(canvas, view) {
  canvas.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : ACTIONS[event.key];
    if (!act) return;
    event.preventDefault();
    act(view);
    const { start, end } = wholeIterations(view.range);
    setText(byId("range-spoken"), view.mode === "whole" ? "The whole history is shown" : `Iterations ${whole(start)} to ${whole(end)} are shown`);
  });
}
