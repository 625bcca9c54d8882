/** The view "Inside". The server sends activity frames only while the view is open and the page is visible. */

import { byId, setText, showText } from "../lib/dom.js";
import { whole } from "../lib/format.js";
import { createInsideCharts } from "./charts.js";
import { createInsideGrids } from "./grids.js";
import { applyUpdate } from "./frame.js";
import { read, write } from "../lib/storage.js";
import { onThemeChange } from "../lib/theme_colours.js";
import { toOperators } from "../lib/role.js";

const KEY = "quadra.inside";

export class InsideView {
  /** The activity frame that is drawn. @type {?import("./frame.js").Frame} */
  frame = null;
  /** @type {?Record<string, import("../lib/grid.js").Grid>} null until the first picture */
  grids = null;

  #model;
  #socket;
  #send;
  #details = byId("inside");
  #subscribed = false;
  #parts = [];

  /** @param {object} model @param {object} socket @param {(event: string, payload: object) => Promise<object>} send */
  constructor(model, socket, send) {
    [this.#model, this.#socket, this.#send] = [model, socket, send];
    socket.on("inside_update", (update, acknowledge) => this.#onUpdate(update, acknowledge));
    socket.on("disconnect", () => (this.#subscribed = false));
    socket.on("connect", () => this.#updateSubscription());
    document.addEventListener("visibilitychange", () => this.#updateSubscription());
    this.#details.addEventListener("toggle", () => this.#toggled());
    onThemeChange(() => this.#paint());
    this.#details.open = read(KEY) === "open";
  }

  /** Shows the pictures, unless they are of another run than the page: that may be the one which the page will know next. */
  draw() {
    const { status } = this.#model;
    const fits = Boolean(this.frame && status && this.frame.message.run === status.run);
    byId("inside-pictures").hidden = !fits;
    showText(byId("inside-empty"), fits ? null : emptiness(status));
  }

  #toggled() {
    write(KEY, this.#details.open ? "open" : "closed");
    this.#updateSubscription();
    this.#paint();
  }

  // What is here may stay on screen: a new watch begins with a whole picture.
  async #updateSubscription() {
    const wanted = this.#details.open && !document.hidden;
    if (wanted === this.#subscribed || !this.#socket.connected) return;
    this.#subscribed = wanted;
    const answer = await this.#send("watch_inside", { open: wanted });
    if (!answer.ok) showText(byId("inside-trouble"), `No pictures: ${answer.error?.message ?? "the server refused."}`);
  }

  #onUpdate(update, acknowledge) {
    const frame = applyUpdate(this.frame, update);
    if (!frame) {
      this.#subscribed = false;
      this.#updateSubscription();
      return;
    }
    this.frame = frame;
    requestAnimationFrame(() => {
      try {
        showText(byId("inside-trouble"), null);
        this.draw();
        this.#paint();
      } finally {
        // When it is drawn: a page that cannot keep up is sent fewer; also when it could not be, or none would ever come again.
        acknowledge?.();
      }
    });
  }

  #paint() {
    if (!this.frame || !this.#details.open) return;
    if (!this.grids) {
      const { grids, draw } = createInsideGrids();
      [this.grids, this.#parts] = [grids, [draw, createInsideCharts()]];
    }
    for (const draw of this.#parts) draw(this.frame);
    const first = whole(this.frame.message.beginning + 1);
    setText(byId("inside-since"), `Recorded from iteration ${first} on: since this run was taken into memory.`);
  }
}

function emptiness(status) {
  if (!status) return "Waiting for the server …";
  return status.initialized ? "Waiting for the first picture …" : `There is no run in memory. ${toOperators("Press Initialize System or Load Saved State: the pictures begin then.", "The pictures begin with one.")}`;
}
