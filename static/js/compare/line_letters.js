/** The letters of the compared states at the ends of their lines, for everyone who cannot distinguish the colours. */

const GAP = 13;
const ASIDE = 5;

/** Pixels that a letter needs at the right of a chart. */
export const ROOM = 16;

/** A Chart.js plugin. */
export const letters = {
  id: "letters",
  afterDatasetsDraw(chart) {
    const { ctx, canvas } = chart;
    ctx.save();
    Object.assign(ctx, { font: `700 12px ${getComputedStyle(canvas).fontFamily}`, textBaseline: "middle" });
    for (const { letter, colour, x, y } of apart(ends(chart), chart.chartArea)) {
      ctx.fillStyle = colour;
      ctx.fillText(letter, x + ASIDE, y);
    }
    ctx.restore();
  },
};

function ends(chart) {
  return chart.getSortedVisibleDatasetMetas().flatMap(({ data, index }) => {
    const { x, y } = data.findLast((point) => !point.skip) ?? {};
    const { label, pointBackgroundColor } = chart.data.datasets[index];
    return x === undefined ? [] : [{ letter: label, colour: pointBackgroundColor, x, y }];
  });
}

// Lines that end at one place would have their letters on each other: from the top down each keeps clear of those before.
function apart(found, { bottom }) {
  const placed = [];
  for (const end of found.sort((a, b) => a.y - b.y)) {
    const neighbours = placed.filter(({ x }) => Math.abs(x - end.x) < ROOM);
    placed.push({ ...end, y: Math.max(end.y, ...neighbours.map(({ y }) => y + GAP)) });
  }
  const over = Math.max(0, ...placed.map(({ y }) => y - bottom));
  return placed.map((end) => ({ ...end, y: end.y - over }));
}
