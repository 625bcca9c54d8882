/*
 * Loads the two libraries from the CDN, or the pinned copies where the CDN does not answer, then starts the page. Run in the
 * head, so that all this and the first answers come while the rest of the page is still on its way.
 * A classic script, so that it can speak up even in a browser that cannot run the modules.
 */
(function () {
  "use strict";

  const CHART = {
    cdn: "https://cdn.jsdelivr.net/npm/chart.js@4.6.1/dist/chart.umd.min.js",
    integrity: "sha384-Emf5ZVIUiarAdhkgtqK+5/Z5qIvM6QoVrS+qAVtfyZVuD5lIHrac0me485+Antp0",
    local: "../vendor/chart-4.6.1.umd.min.js",
  };
  const SOCKET = {
    cdn: "https://cdn.jsdelivr.net/npm/socket.io-client@4.8.4/dist/socket.io.min.js",
    integrity: "sha384-fBrXvbDtHoeKWJ/hcA6M+YGueiDW+h45I7V6F2kD1S8bOkrF9rZYPLVkCR6BLR/1",
    local: "../vendor/socket.io-4.8.4.min.js",
  };
  const VENDOR = "../vendor/";
  // Only from here; the second looks for the first and for Chart.js as it runs.
  const HAMMER = "hammer-2.0.8.min.js";
  const ZOOM = "chartjs-plugin-zoom-2.2.0.min.js";
  // Short of the 700 ms allowed, so that the page also runs within a second on a busy machine.
  const CDN_PATIENCE_MS = 400;
  const BASE = document.currentScript.src;
  // What `sync.js` asks for first, just so; the page's head has the browser begin with it before this runs.
  const FIRST = ["api/status", "api/history?points=4000"];
  const FIRST_PATIENCE_MS = 15_000;

  function insert(tag, attributes) {
    return new Promise((resolve, reject) => {
      // Of a script that is inserted a browser thinks that nothing waits for it.
      const element = Object.assign(document.createElement(tag), { fetchPriority: "high", ...attributes });
      element.addEventListener("load", resolve);
      element.addEventListener("error", () => reject(new Error("could not load " + (element.src || element.href))));
      document.head.append(element);
    });
  }

  function fromCdn(library) {
    const fetched = { integrity: library.integrity, crossOrigin: "anonymous" };
    const patience = new Promise((_, reject) => setTimeout(reject, CDN_PATIENCE_MS, new Error("the CDN does not answer")));
    // Only a preload may hang: it neither holds up the page's load event nor runs anything when it arrives late.
    const preload = insert("link", { rel: "preload", as: "script", href: library.cdn, ...fetched });
    return Promise.race([preload, patience]).then(() => insert("script", { src: library.cdn, ...fetched }));
  }

  const here = (path) => new URL(path, BASE).href;
  const insertFromHere = (path) => insert("script", { src: here(path) });

  function fromHere(library) {
    document.querySelector('link[href="' + library.cdn + '"]').remove();
    return insertFromHere(library.local);
  }

  function load(library) {
    return fromCdn(library).catch(() => fromHere(library));
  }

  function loadCharts() {
    // Fetched at once, beside the libraries that it is run after.
    document.head.append(Object.assign(document.createElement("link"), { rel: "preload", as: "script", href: here(VENDOR + ZOOM) }));
    return Promise.all([load(CHART), insertFromHere(VENDOR + HAMMER)]).then(() => insertFromHere(VENDOR + ZOOM));
  }

  // Whoever asks for the same takes the answer, once; why there was none is found out by asking again.
  function askFirst(url) {
    const answer = fetch(url, { signal: AbortSignal.timeout(FIRST_PATIENCE_MS) }).then((response) => ({ response, arrived: Date.now() }));
    answer.catch(() => {});
    return [url, answer];
  }

  function whenParsed() {
    if (document.readyState !== "loading") return Promise.resolve();
    return new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve));
  }

  async function start() {
    const { pageReady } = await import(new URL("main.js", BASE).href);
    await pageReady;
  }

  async function fail(error) {
    await whenParsed();
    const notice = document.getElementById("load-error");
    notice.textContent = "The dashboard could not start: " + error.message + ". Reload the page; if this stays, look at the server's terminal.";
    notice.hidden = false;
  }

  globalThis.quadraFirst = new Map(FIRST.map(askFirst));
  Promise.all([loadCharts(), load(SOCKET), whenParsed()]).then(start).catch(fail);
  // The first of its kind takes some hundredths of a second, of which now, while all is on its way, there are enough.
  new Intl.NumberFormat("en").format(0);
})();
