/* A page with one explorer for a projector: the reader's theme, and the whole screen on request. */
(() => {
  "use strict";
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const dark = stored() === "dark" || (stored() !== "light" && system.matches);
    root.dataset.theme = dark ? "dark" : "light";
  };
  follow();
  system.addEventListener("change", follow);
  addEventListener("DOMContentLoaded", () => {
    const full = document.querySelector("[data-stage=full]");
    full.hidden = !root.requestFullscreen;
    full.addEventListener("click", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else root.requestFullscreen();
    });
    document.querySelector("[data-stage=theme]").addEventListener("click", () => {
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    });
  });
})();
