/**
 * A matrix drawn in colours, one rectangle a cell; the cell under the pointer, or reached by the arrow keys, is written
 * below it.
 */

import { setAttribute, setText } from "./dom.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] };
const FAR = 10;

/**
 * @typedef {object} Matrix
 * @property {number} width in cells @property {number} height in cells
 * @property {ArrayLike<number>} values column by column; NaN: no cell is there
 * @property {number} least @property {number} most values at the ends of the scale
 * @property {number[][]} scale colours
 * @property {(column: number, row: number) => string} describe what one cell is
 * @property {string} summary said while no cell is pointed at
 * @property {string} label what the picture shows, for who cannot see it
 * @property {{column: number, row: number}[]} [marks] cells with a dot
 * @property {string} ink colour of marks and cursor @property {string} paper colour around them
 */

export class Grid {
  /** @type {?Matrix} */
  matrix = null;

  #canvas;
  #output;
  #image = document.createElement("canvas");
  /** @type {?{column: number, row: number}} */
  #cursor = null;

  /** @param {HTMLCanvasElement} canvas @param {HTMLElement} output for what is read off */
  constructor(canvas, output) {
    this.#canvas = canvas;
    this.#output = output;
    canvas.addEventListener("pointermove", (event) => this.#point(event));
    canvas.addEventListener("pointerdown", (event) => this.#point(event));
    canvas.addEventListener("pointerleave", () => this.#moveTo(null));
    canvas.addEventListener("blur", () => this.#moveTo(null));
    canvas.addEventListener("keydown", (event) => this.#step(event));
    new ResizeObserver(() => this.#paint()).observe(canvas);
  }

  /** @param {Matrix} matrix */
  draw(matrix) {
    this.matrix = matrix;
    setAttribute(this.#canvas, "aria-label", matrix.label);
    this.#fillImage();
    this.#moveTo(this.#cursor);
  }

  #fillImage() {
    const { width, height, values, least, most, scale } = this.matrix;
    if (width === 0 || height === 0) return;
    Object.assign(this.#image, { width, height });
    const context = this.#image.getContext("2d");
    const pixels = context.createImageData(width, height);
    const factor = (scale.length - 1) / (most - least || 1);
    for (let place = 0; place < width * height; place++) {
      const value = values[place];
      if (Number.isNaN(value)) continue;
      const step = Math.round(Math.min(most, Math.max(least, value)) * factor - least * factor);
      const at = 4 * ((place % height) * width + Math.floor(place / height));
      pixels.data.set(scale[step], at);
      pixels.data[at + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  }

  #paint() {
    const { clientWidth, clientHeight } = this.#canvas;
    if (!this.matrix || clientWidth === 0) return;
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this.#canvas, { width: Math.round(clientWidth * ratio), height: Math.round(clientHeight * ratio) });
    const context = this.#canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    if (this.matrix.width && this.matrix.height) context.drawImage(this.#image, 0, 0, this.#canvas.width, this.#canvas.height);
    for (const mark of this.matrix.marks ?? []) this.#dot(context, mark, ratio);
    if (this.#cursor) this.#outline(context, this.#cursor, ratio);
  }

  #cell({ column, row }) {
    const [across, down] = [this.#canvas.width / this.matrix.width, this.#canvas.height / this.matrix.height];
    return { x: column * across, y: row * down, across, down };
  }

  #dot(context, cell, ratio) {
    const { x, y, across, down } = this.#cell(cell);
    context.beginPath();
    context.arc(x + across / 2, y + down / 2, Math.max(1.5 * ratio, Math.min(across / 3, down / 3, 4 * ratio)), 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: this.matrix.ink, strokeStyle: this.matrix.paper, lineWidth: ratio });
    context.stroke();
    context.fill();
  }

  // Two lines of opposite colours are seen on every ground.
  #outline(context, cell, ratio) {
    const { x, y, across, down } = this.#cell(cell);
    const [width, height] = [Math.max(across, 5 * ratio), Math.max(down, 5 * ratio)];
    const [left, top] = [x + (across - width) / 2, y + (down - height) / 2];
    for (const [colour, out] of [[this.matrix.paper, 2 * ratio], [this.matrix.ink, ratio]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: ratio });
      context.strokeRect(left - out, top - out, width + 2 * out, height + 2 * out);
    }
  }

  #point({ offsetX, offsetY }) {
    if (!this.matrix) return;
    const { width, height } = this.matrix;
    this.#moveTo({ column: Math.floor((offsetX / this.#canvas.clientWidth) * width), row: Math.floor((offsetY / this.#canvas.clientHeight) * height) });
  }

  #step(event) {
    const step = STEPS[event.key];
    if (event.key === "Escape") this.#moveTo(null);
    if (!step || !this.matrix || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { width, height } = this.matrix;
    const { column, row } = this.#cursor ?? { column: width - 1, row: Math.floor(height / 2) };
    const times = this.#cursor === null ? 0 : event.shiftKey ? FAR : 1;
    this.#moveTo({ column: column + (step[0] * times || 0), row: row + (step[1] * times || 0) });
  }

  #moveTo(cell) {
    const { width = 0, height = 0 } = this.matrix ?? {};
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    this.#cursor = cell && width && height ? { column: within(cell.column, width), row: within(cell.row, height) } : null;
    if (this.matrix) setText(this.#output, this.#cursor ? this.matrix.describe(this.#cursor.column, this.#cursor.row) : this.matrix.summary);
    this.#paint();
  }
}
