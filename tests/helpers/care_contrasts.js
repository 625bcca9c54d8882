/*
 * The least contrast of a text with what is behind it: the nearest ground that lets nothing through, under whatever lies
 * on it; of a gradient its worst stop. For the texts of which axe says that it cannot tell; run by tests/helpers/care.py.
 */
selectors => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const painted = (layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const layer of layers) {
      canvas.fillStyle = layer;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (layers) => {
    const [r, g, b] = painted(layers).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const grounds = (element) => {
    const { backgroundColor, backgroundImage, backgroundSize } = getComputedStyle(element);
    const isOpaque = painted([backgroundColor])[3] === 255;
    const behind = isOpaque || !element.parentElement ? [[backgroundColor]] : grounds(element.parentElement);
    const stops = backgroundImage.match(/[a-z]+\([^()]*\)/g) ?? [];
    const bare = stops.length && backgroundSize === "auto" ? [] : behind;
    return [...bare, ...behind.flatMap((layers) => stops.map((stop) => [...layers, stop]))];
  };
  return selectors.map((selector) => {
    const element = document.querySelector(selector);
    if (!element) return Infinity; // a live page has replaced it meanwhile
    const ink = luminance([getComputedStyle(element).color]);
    return Math.min(...grounds(element).map(luminance).map((ground) => Math.max(ink, ground) / Math.min(ink, ground)));
  });
}
