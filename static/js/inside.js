/** The view of what is inside the run. The server is asked for pictures only while the view is open and the page is seen. */

import { byId, setText, showText } from "./dom.js";
import { whole } from "./format.js";
import { createInsideCharts } from "./inside_charts.js";
import { createInsideGrids } from "./inside_grids.js";
import { taken } from "./inside_record.js";

const KEY = "quadra.inside";

/**
 * @param {object} model
 * @param {object} socket
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {{inside: ?import("./inside_record.js").Inside, grids: ?object, draw: () => void}} the view; `inside` is what it draws
 */
export function createInside(model, socket, send) {
  const details = byId("inside");
  const view = { inside: null, grids: null, draw: () => drawEmpty(view, model) };
  let [watching, drawCharts] = [false, null];

  const show = () => {
    if (!view.inside || !details.open) return;
    if (!drawCharts) {
      const grids = createInsideGrids();
      [drawCharts, view.grids, view.drawGrids] = [createInsideCharts(), grids.grids, grids.draw];
    }
    view.drawGrids(view.inside);
    drawCharts(view.inside);
    const first = view.inside.told.beginning + 1;
    setText(byId("inside-since"), `Recorded from iteration ${whole(first)} on: since this run was taken into memory.`);
  };
  const settle = async () => {
    const wanted = details.open && !document.hidden;
    if (wanted === watching || !socket.connected) return;
    watching = wanted;
    // A new watch begins with a whole picture, so what is here may be kept on screen until then.
    const answer = await send("watch_inside", { open: wanted });
    if (!answer.ok) showText(byId("inside-trouble"), `No pictures: ${answer.error?.message ?? "the server refused."}`);
  };

  socket.on("inside_update", (update, acknowledge) => {
    const inside = taken(view.inside, update);
    if (!inside) {
      watching = false;
      settle();
      return;
    }
    view.inside = inside;
    requestAnimationFrame(() => {
      showText(byId("inside-trouble"), null);
      view.draw();
      show();
      acknowledge?.();
    });
  });
  socket.on("disconnect", () => (watching = false));
  socket.on("connect", settle);
  document.addEventListener("visibilitychange", settle);
  details.addEventListener("toggle", () => {
    remember(details.open);
    settle();
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  details.open = remembered();
  return view;
}

// The picture of another run than that of the page is not shown; it may be that of the run which the page will know next.
function drawEmpty({ inside }, { status }) {
  const fits = Boolean(inside && status && inside.told.run === status.run);
  byId("inside-pictures").hidden = !fits;
  showText(byId("inside-empty"), fits ? null : emptiness(status));
}

function emptiness(status) {
  if (!status) return "Waiting for the server …";
  return status.initialized ? "Waiting for the first picture …" : "There is no run in memory. Press Initialize System or Load Saved State: the pictures begin then.";
}

function remembered() {
  try {
    return localStorage.getItem(KEY) === "open";
  } catch {
    return false;
  }
}

function remember(isOpen) {
  try {
    localStorage.setItem(KEY, isOpen ? "open" : "closed");
  } catch {
    // A browser that refuses storage forgets the choice with the page, and nothing else.
  }
}
