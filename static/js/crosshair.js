/** One crosshair for all charts: what is pointed at in one is read off in each. */

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
    this.apply(chart);
  }

  /** Points at the same iteration again, wherever it now stands. @param {?object} [except] a chart that knows it already */
  apply(except = null) {
    for (const chart of this.#charts) {
      if (chart !== except) this.#point(chart);
      chart.draw();
    }
  }

  #point(chart) {
    const index = this.#iteration === null ? -1 : chart.data.labels.indexOf(this.#iteration);
    const elements = index < 0 ? [] : [{ datasetIndex: 0, index }];
    if (elements.length === 0 && chart.getActiveElements().length === 0) return;
    chart.setActiveElements(elements);
    const { x = 0, y = 0 } = chart.getDatasetMeta(0).data[index] ?? {};
    chart.tooltip.setActiveElements(elements, { x, y });
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
