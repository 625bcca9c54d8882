/*
 * The theme, light or dark: by the system's preference, or by hand. A classic script in the head, so that the page is never
 * painted in the wrong one first. The choice is kept by the browser; every other page that is open follows it.
 */
(function () {
  "use strict";

  const KEY = "quadra.theme";
  const CHOICES = ["system", "light", "dark"];
  const DARK = matchMedia("(prefers-color-scheme: dark)");
  let choice = remembered();

  function remembered() {
    try {
      const kept = localStorage.getItem(KEY);
      return CHOICES.includes(kept) ? kept : "system";
    } catch {
      // A browser that refuses storage has the system's preference, until somebody chooses on this page.
      return "system";
    }
  }

  function apply() {
    const theme = choice === "system" ? (DARK.matches ? "dark" : "light") : choice;
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  }

  function choose(next) {
    choice = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // It then holds as long as this page.
    }
    apply();
  }

  DARK.addEventListener("change", apply);
  globalThis.addEventListener("storage", ({ key }) => {
    if (key !== KEY) return;
    choice = remembered();
    apply();
  });
  globalThis.quadraTheme = { CHOICES, choose, choice: () => choice };
  apply();
})();
