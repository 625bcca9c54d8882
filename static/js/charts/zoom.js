/** Zooming by wheel, pinch, drag and double click; a zoom in one chart moves them all. */

/** @param {import("./range.js").VisibleRange} view @returns {object} the options of the zoom plugin */
export function zoomOptions(view) {
  const take = ({ chart }) => view.zoom({ min: chart.scales.x.min, max: chart.scales.x.max });
  return {
    // By the mouse with Shift, because dragging selects; by touch without.
    pan: { enabled: true, mode: "x", modifierKey: "shift", onPan: take },
    zoom: {
      mode: "x",
      wheel: { enabled: true },
      pinch: { enabled: true },
      drag: { enabled: true, threshold: 5, borderWidth: 1, drawTime: "afterDatasetsDraw" },
      onZoomStart: ({ event }) => !isForThePage(event),
      onZoom: take,
    },
  };
}

// Where the page scrolls, the wheel alone scrolls it; with Ctrl, as a pinch on a touch pad sends it, it zooms.
function isForThePage(event) {
  return event.type === "wheel" && !event.ctrlKey && document.documentElement.scrollHeight > window.innerHeight;
}

/** @param {object} chart @param {import("./range.js").VisibleRange} view */
export function resetOnDoubleClick(chart, view) {
  chart.canvas.addEventListener("dblclick", () => view.follow(null));
}

/** @param {object} chart @param {string} colour */
export function paintSelection(chart, colour) {
  Object.assign(chart.options.plugins.zoom.zoom.drag, { backgroundColor: `${colour}33`, borderColor: colour });
}
