/** The marks as they are drawn in the charts: ticks along the bottom for saves, a shape of its own for every other kind. */

import { byId } from "../lib/dom.js";
import { MARK_KINDS, summarize } from "./marks.js";

// Where a kind stands, in pixels from the upper (positive) or lower (negative) edge of the chart.
const PLACES = { named: -17, load: 8, branch: 8, strike: 22 };
const TICK_COLUMN = 4;
const SHAPE_COLUMN = 10;
const [SHORTEST, LONGEST] = [4, 10];
const NEAR = 6;
const MOST_LINES = 4;

export class MarkPainter {
  /** @type {Map<string, import("../core/model.js").Mark[]>} */
  #byKind = new Map();
  #colours = {};
  // The legend has the shapes; here they are drawn once more.
  #shapes = new Map(MARK_KINDS.map((kind) => [kind, new Path2D(byId(`mark-${kind}`).querySelector("path").getAttribute("d"))]));

  /** The Chart.js plugin of every chart that shows marks. */
  plugin = { id: "marks", afterDatasetsDraw: (chart) => this.#draw(chart) };

  /** @param {import("../core/model.js").Mark[]} marks ascending @param {string[]} hidden kinds */
  show(marks, hidden) {
    const kinds = MARK_KINDS.filter((kind) => !hidden.includes(kind));
    this.#byKind = new Map(kinds.map((kind) => [kind, marks.filter((mark) => mark.kind === kind)]));
  }

  /** @param {(variable: string) => string} colour of the theme */
  paint(colour) {
    this.#colours = { ground: colour("--panel"), text: colour("--text"), tick: colour("--muted"), strike: colour("--bad") };
  }

  /** @param {object} chart @param {number} iteration @returns {string[]} what is marked there, within a few pixels */
  near(chart, iteration) {
    const { x } = chart.scales;
    const reach = (NEAR * (x.max - x.min)) / Math.max(1, x.width);
    const lines = MARK_KINDS.flatMap((kind) => {
      const found = (this.#byKind.get(kind) ?? []).filter((mark) => Math.abs(mark.iteration - iteration) <= reach);
      if (found.length === 0) return [];
      return found.length === 1 && found[0].iteration === iteration ? [found[0].text] : [summarize(found)];
    });
    return lines.slice(0, MOST_LINES);
  }

  #draw(chart) {
    const { ctx, chartArea } = chart;
    ctx.save();
    for (const [kind, marks] of this.#byKind) {
      if (kind === "save") this.#drawTicks(ctx, chartArea, columns(chart, marks, TICK_COLUMN));
      else if (kind in PLACES) this.#drawShapes(ctx, chartArea, kind, columns(chart, marks, SHAPE_COLUMN));
    }
    ctx.restore();
  }

  // Of several in one column there is one tick, which is the longer the more there are.
  #drawTicks(ctx, { bottom }, found) {
    ctx.fillStyle = this.#colours.tick;
    for (const { x, count } of found) {
      const height = Math.min(LONGEST, SHORTEST + 2 * Math.log2(count));
      ctx.fillRect(Math.round(x) - 1, bottom - height, 2, height);
    }
  }

  #drawShapes(ctx, { top, bottom }, kind, found) {
    const y = PLACES[kind] > 0 ? top + PLACES[kind] : bottom + PLACES[kind];
    const colour = this.#colours[kind] ?? this.#colours.text;
    for (const { x } of found) {
      if (kind === "branch") drawLine(ctx, x, top, bottom, colour);
      this.#drawShape(ctx, this.#shapes.get(kind), x, y, colour);
    }
  }

  // With an edge in the colour of the ground, so that it stands apart from the line behind it.
  #drawShape(ctx, shape, x, y, colour) {
    ctx.save();
    ctx.translate(x, y);
    for (const [strokeStyle, lineWidth] of [[this.#colours.ground, 6], [colour, 2]]) {
      Object.assign(ctx, { strokeStyle, lineWidth, lineJoin: "round" });
      ctx.stroke(shape);
    }
    ctx.fillStyle = colour;
    ctx.fill(shape);
    ctx.restore();
  }
}

function drawLine(ctx, x, top, bottom, colour) {
  ctx.save();
  Object.assign(ctx, { strokeStyle: colour, lineWidth: 1 });
  ctx.setLineDash([2, 4]);
  ctx.beginPath();
  ctx.moveTo(x, top);
  ctx.lineTo(x, bottom);
  ctx.stroke();
  ctx.restore();
}

// Where the marks of a kind are drawn: those too close to each other share one place, that of the last.
function columns({ scales }, marks, width) {
  const found = new Map();
  for (const { iteration } of marks) {
    if (iteration < scales.x.min || iteration > scales.x.max) continue;
    const x = scales.x.getPixelForValue(iteration);
    const column = Math.floor(x / width);
    found.set(column, { x, count: (found.get(column)?.count ?? 0) + 1 });
  }
  return [...found.values()];
}
