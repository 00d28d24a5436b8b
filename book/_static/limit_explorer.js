/* The limit h → 0 of one stencil: its weights copied to finer grids, and its operator kept. The
   arithmetic is that of mgcore.operators; tests/book/test_pictures.py holds the two together. */
(() => {
  "use strict";
  const root = document.getElementById("limit-explorer");
  if (!root || !window.explorers) return;
  const { number, svg } = window.explorers;
  const START = 0.5, POINTS = 120, END = 2; /* the first mesh size; points of a curve on [0, END] */

  /* Operators of orders 0, 1 and 2: weights at mesh size h, and the derivative of g(u) = sin 3u. */
  const OPERATORS = {
    one: { order: 0, weights: [0.25, 0.5, 0.25], exact: (u) => Math.sin(3 * u) },
    slope: { order: 1, weights: [-0.5, 0, 0.5], exact: (u) => 3 * Math.cos(3 * u) },
    second: { order: 2, weights: [1, -2, 1], exact: (u) => -9 * Math.sin(3 * u) },
  };
  const CURVES = [["exact", "tg-past", "h → 0"], ["copied", "xp-transfer", "copied"], ["scaled", "xp-multigrid", "operator kept"]];
  const find = (selector) => root.querySelector(selector);
  const field = (name) => find(`[name=${name}]`);

  function compute() {
    const { order, weights, exact } = OPERATORS[field("operator").value], h = START / 2 ** field("halvings").value;
    const at = (mesh) => weights.map((w) => w / mesh ** order);
    const kernels = { copied: at(START), scaled: at(h) };
    const places = Array.from({ length: POINTS + 1 }, (_, i) => END * i / POINTS);
    const curves = { exact: places.map(exact) }, off = {};
    const size = Math.max(...curves.exact.map(Math.abs));
    for (const [kind, theta] of Object.entries(kernels)) {
      curves[kind] = places.map((u) => theta.reduce((sum, w, i) => sum + w * Math.sin(3 * (u + (i - 1) * h)), 0));
      off[kind] = Math.max(...curves[kind].map((y, i) => Math.abs(y - curves.exact[i]))) / size;
    }
    return { h, kernels, places, curves, off };
  }

  let current;
  function show() {
    current = compute();
    const { h, kernels, curves, off } = current, place = find("[data-curves]");
    const width = Math.max(260, place.clientWidth || 320), [x0, y0, w, tall] = [46, 28, width - 56, 160];
    const top = Math.max(...Object.values(curves).flat().map(Math.abs));
    const text = (x, y, content, anchor) => svg("text", { x, y, "text-anchor": anchor }, content);
    const y = (value) => y0 + tall / 2 - value / top * tall / 2.1;
    const line = (kind, points) => svg("polyline", { class: kind, points });
    const apart = Math.min(130, (width - 110) / 2);
    const said = `At h = ${number(h)} the copied stencil is off by ${number(100 * off.copied, 100)} % of the largest value of the limit, `
      + `the stencil with its operator kept by ${number(100 * off.scaled, 100)} %.`;
    place.innerHTML = svg("svg", { viewBox: `0 0 ${width} 224`, role: "img", "aria-label": `Responses to sin 3u. ${said}` },
      CURVES.map(([, kind, name], i) => line(kind, `${i * apart},12 ${i * apart + 20},12`) + text(i * apart + 24, 16, name, "start")).join("")
      + [top, 0, -top].map((t) => text(x0 - 6, y(t) + 4, number(t, top), "end")).join("")
      + svg("line", { class: "tg-zero", x1: x0, x2: x0 + w, y1: y(0), y2: y(0) })
      + svg("rect", { class: "tg-axis", x: x0, y: y0, width: w, height: tall })
      + CURVES.map(([name, kind]) => line(kind, curves[name].map((value, i) =>
        `${(x0 + i * w / POINTS).toFixed(1)},${y(value).toFixed(1)}`).join(" "))).join("")
      + [0, 1, 2].map((u) => text(x0 + u * w / END, y0 + tall + 14, String(u), u === 2 ? "end" : "middle")).join("")
      + text(x0 + w / 2, y0 + tall + 30, "u", "middle"));
    for (const [kind, theta] of Object.entries(kernels)) {
      find(`[data-weights=${kind}]`).querySelectorAll("td").forEach((cell, i) => { cell.textContent = number(theta[i]); });
    }
    find("[data-value=h]").textContent = number(h);
    field("halvings").setAttribute("aria-valuetext", `h = ${number(h)}`);
    find("[role=status]").textContent = said;
  }

  for (const name of ["operator", "halvings"]) field(name).addEventListener("input", show);
  new ResizeObserver(show).observe(root);
  window.limitExplorer = { state: () => current };
  show();
  root.dataset.ready = "true";
})();
