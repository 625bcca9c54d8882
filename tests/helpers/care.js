/* What a view must be beyond what axe looks at. Returns a sentence for every breach; run by tests/helpers/care.py in the page. */
() => {
  const scope = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body;
  const found = new Set();
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (element) => {
    const id = element.id ? `#${element.id}` : "";
    const text = (element.getAttribute("aria-label") ?? element.textContent).trim().slice(0, 40);
    return `${element.localName}${id}.${element.getAttribute("class") ?? ""} "${text}"`;
  };

  const texts = [];
  const walker = document.createTreeWalker(scope, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() && !parent.closest("script, style, noscript") && isShown(parent)) texts.push([walker.currentNode.data, parent]);
  }

  function sizes() {
    for (const [, parent] of texts) {
      const scale = parent.ownerSVGElement ? parent.getScreenCTM().a : 1;
      const size = parseFloat(getComputedStyle(parent).fontSize) * scale;
      if (size < 11.99) found.add(`text of ${size.toFixed(1)} px: ${name(parent)}`);
    }
    for (const chart of Object.values(globalThis.Chart?.instances ?? {})) {
      const { scales, plugins, font } = chart.options;
      const fonts = [font, ...Object.values(scales).flatMap(({ ticks, title }) => [ticks.font, title.font])];
      if (plugins.tooltip) fonts.push(plugins.tooltip.titleFont, plugins.tooltip.bodyFont, plugins.tooltip.footerFont);
      const smallest = Math.min(...fonts.map((each) => each?.size ?? font.size));
      if (smallest < 12) found.add(`text of ${smallest} px: ${name(chart.canvas)}`);
    }
  }

  function figures() {
    for (const [text, parent] of texts) {
      if (/\d/.test(text) && !getComputedStyle(parent).fontVariantNumeric.includes("tabular-nums")) found.add(`figures that are not tabular: ${name(parent)}`);
    }
  }

  // A document that is kept and printed, as the report is, has no "now".
  const isLive = document.querySelector("script") !== null;
  const RELATIVE = /\bago\b|\bjust now\b/;
  const ABSOLUTE = /\d{1,2} [A-Z][a-z]+ \d{4}/;

  function times() {
    if (!isLive) return;
    for (const [text, parent] of texts) {
      if (!RELATIVE.test(text) && !ABSOLUTE.test(text)) continue;
      // The text once more by itself: in a cell it may follow its label without a space.
      const context = `${text} ${parent.closest("li, p, td, dd, div")?.textContent} ${parent.closest("[title]")?.title}`;
      if (!RELATIVE.test(context) || !ABSOLUTE.test(context)) found.add(`a time that is not both relative and absolute: ${name(parent)}`);
    }
    for (const element of scope.querySelectorAll("time")) {
      if (isNaN(Date.parse(element.dateTime)) || !ABSOLUTE.test(element.title)) found.add(`a time without its date: ${name(element)}`);
    }
  }

  function width() {
    for (const element of new Set([document.documentElement, scope])) {
      if (element.scrollWidth > element.clientWidth) found.add(`wider than the screen by ${element.scrollWidth - element.clientWidth} px: ${name(element)}`);
    }
  }

  const CONTROLS = "a[href], button, input:not([type=hidden], [hidden]), select, textarea, summary";

  function targets() {
    for (const element of scope.querySelectorAll(CONTROLS)) {
      const inSentence = element.matches("a, .link") && getComputedStyle(element).display === "inline" && element.parentElement.textContent.trim() !== element.textContent.trim();
      if (!isShown(element) || inSentence) continue;
      const boxes = [element, ...(element.labels ?? [])].map((each) => each.getBoundingClientRect()).filter((box) => box.width > 1);
      const fits = boxes.some((box) => box.width > 23.9 && box.height > 23.9);
      if (!fits) found.add(`a target of ${boxes.map((box) => `${box.width.toFixed(0)} x ${box.height.toFixed(0)} px`)}: ${name(element)}`);
    }
  }

  function focus() {
    const before = document.activeElement;
    for (const element of scope.querySelectorAll(`${CONTROLS}, [tabindex="0"]`)) {
      if (!isShown(element) || element.disabled) continue;
      element.focus({ preventScroll: true });
      const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
      const isSeen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && !/, 0\)$|transparent/.test(outlineColor);
      if (document.activeElement === element && !isSeen) found.add(`a focus that is not seen: ${name(element)}`);
    }
    before?.focus?.({ preventScroll: true });
  }

  for (const check of [sizes, figures, times, width, targets, focus]) check();
  return [...found];
}
