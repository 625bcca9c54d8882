/** The crosshair of all charts: the iteration that is pointed at in one is read off in each. */

/** The name of the interaction mode that finds the point of the line, not of what else is drawn, nearest to the pointer. */
export const NEAREST = "nearestOfLine";

function nearestOfLine(chart, { x, y }) {
  if (!chart.isPointInArea({ x, y })) return [];
  const index = nearestIndex(chart.data.labels, chart.scales.x.getValueForPixel(x));
  const element = chart.getDatasetMeta(0).data[index];
  return element && !element.skip ? [{ element, datasetIndex: 0, index }] : [];
}

function nearestIndex(ascending, value) {
  const after = ascending.findIndex((each) => each >= value);
  if (after < 0) return ascending.length - 1;
  return after > 0 && value - ascending[after - 1] < ascending[after] - value ? after - 1 : after;
}

export class Crosshair {
  #charts = [];
  /** @type {?number} */
  #iteration = null;
  #colour = "";

  /** The Chart.js plugin of every chart that takes part. */
  plugin = {
    id: "crosshair",
    afterEvent: (chart, { event }) => this.#follow(chart, event),
    afterDatasetsDraw: (chart) => this.#drawLine(chart),
  };

  constructor() {
    globalThis.Chart.Interaction.modes[NEAREST] = nearestOfLine;
  }

  /** @param {object[]} charts */
  join(charts) {
    this.#charts = charts;
  }

  /** @param {string} colour of the line */
  paint(colour) {
    this.#colour = colour;
  }

  #follow(chart, event) {
    const [active] = event.type === "mouseout" ? [] : chart.getActiveElements();
    const iteration = active ? chart.data.labels[active.index] : null;
    if (iteration === this.#iteration) return;
    this.#iteration = iteration ?? null;
    for (const other of this.#charts) {
      if (other !== chart) this.#point(other);
      other.draw();
    }
  }

  /** Points at the same iteration again, wherever it now stands. @param {object} chart that has just been drawn anew */
  apply(chart) {
    if (this.#point(chart)) chart.draw();
  }

  // Whether there is, or was, something to point at.
  #point(chart) {
    const index = this.#iteration === null ? -1 : chart.data.labels.indexOf(this.#iteration);
    const element = chart.getDatasetMeta(0).data[index];
    const elements = element ? [{ datasetIndex: 0, index }] : [];
    if (elements.length === 0 && chart.getActiveElements().length === 0) return false;
    chart.setActiveElements(elements);
    const { x = 0, y = 0 } = element ?? {};
    chart.tooltip.setActiveElements(elements, { x, y });
    return true;
  }

  #drawLine(chart) {
    const { ctx, chartArea, scales } = chart;
    if (this.#iteration === null || !(scales.x.min <= this.#iteration && this.#iteration <= scales.x.max)) return;
    const x = scales.x.getPixelForValue(this.#iteration);
    ctx.save();
    Object.assign(ctx, { strokeStyle: this.#colour, lineWidth: 1 });
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(x, chartArea.top);
    ctx.lineTo(x, chartArea.bottom);
    ctx.stroke();
    ctx.restore();
  }
}
