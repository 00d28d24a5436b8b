/* The page's folded code: one switch in the toolbar, remembered; links into folds open them. */
(() => {
  "use strict";
  const KEY = "mgcore-code", CODE = "details.cell-code, details.page-code";

  const remembered = () => {
    try { return localStorage.getItem(KEY) === "shown"; } catch { return false; }
  };
  const remember = (shown) => {
    try { localStorage.setItem(KEY, shown ? "shown" : "folded"); } catch { /* private window */ }
  };

  function addSwitch() {
    const bar = document.querySelector(".article-header-buttons");
    const folds = [...document.querySelectorAll(CODE)];
    if (!bar || !folds.length) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm code-switch";
    button.innerHTML = '<span aria-hidden="true">&lt;/&gt;</span> <span class="code-switch-name">Show code</span>';
    const show = (shown) => {
      folds.forEach((fold) => { fold.open = shown; });
      button.setAttribute("aria-pressed", String(shown));
    };
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      remember(shown);
      // What the reader looks at stays where it is while the page grows or shrinks above it.
      const held = [...document.querySelectorAll("main :is(h1, h2, h3, p, figure)")]
        .find((e) => e.offsetParent && e.getBoundingClientRect().top > 60);
      const before = held?.getBoundingClientRect().top;
      show(shown);
      if (held?.offsetParent) scrollBy({ top: held.getBoundingClientRect().top - before, behavior: "instant" });
    });
    show(remembered());
    bar.prepend(button);
  }

  /* An address that names something inside a fold opens the fold. */
  function reveal() {
    const place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    let opened = false;
    for (let fold = place.closest("details:not([open])"); fold; fold = fold.parentElement.closest("details:not([open])")) {
      fold.open = opened = true;
    }
    if (opened) place.scrollIntoView();
  }

  /* Paper has no folds: exercises, solutions, long tables and the quiz are printed, code is not. */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")].filter((fold) => !fold.matches(CODE));
    opened.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => { opened.forEach((fold) => { fold.open = false; }); });

  /* Search results quote a page's text, in which a formula would be its TeX source. */
  function readableSearch() {
    if (!window.Search?.htmlToText) return;
    const plain = window.Search.htmlToText;
    window.Search.htmlToText = (html, anchor) => plain(
      html.replace(/<(span|div) class="math[^"]*"[^>]*>[^]*?<\/\1>/g, " … "), anchor);
  }

  /* What an opened fold shows may scroll: the theme lets the keyboard reach it when it measures again. */
  document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), true);
  addEventListener("hashchange", reveal);
  addEventListener("DOMContentLoaded", () => { readableSearch(); addSwitch(); reveal(); });
})();
