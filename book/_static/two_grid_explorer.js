/* The two-grid explorer: an error on 32 cells, and what each step of a two-grid cycle removes of it.
   The arithmetic is that of mgcore.multigrid.poisson and mgcore.multigrid.cycles; tests/book/test_explorers.py holds the two
   together. Here e = u − v as in (2.12), so that the residual is A e and a correction is subtracted. */
(() => {
  "use strict";
  const root = document.getElementById("two-grid-explorer");
  if (!root || !window.explorers) return;
  const { number, svg, generator } = window.explorers;
  const N = 32, HALF = N / 2, OMEGA = 2 / 3;

  /* ---- Numerics ---- */

  const apply = (matrix, x) => matrix.map((row) => row.reduce((sum, a, j) => sum + a * x[j], 0));
  const times = (a, b) => a.map((row) =>
    b[0].map((_, j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0)));
  const filled = (rows, columns, entry) =>
    Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => entry(i, j)));

  /* −d²/dx² with the value zero at both boundaries, which odd reflection makes 3 on the diagonal. */
  const poisson = (n) => filled(n, n, (i, j) => {
    if (i === j) return n * n * (i === 0 || i === n - 1 ? 3 : 2);
    return Math.abs(i - j) === 1 ? -n * n : 0;
  });
  const A = poisson(N);
  const R = filled(HALF, N, (i, j) => (j >> 1 === i ? 0.5 : 0));

  /* P: ¾ of the coarse cell around a fine one and ¼ of its neighbour, minus the cell's own value
     beyond a boundary; or the coarse cell's value alone. */
  const prolongation = (kind) => filled(N, HALF, (i, j) => {
    const own = i >> 1, other = own + (i % 2 ? 1 : -1);
    if (kind === "constant") return j === own ? 1 : 0;
    const beyond = other < 0 || other >= HALF;
    return (j === own ? 0.75 - (beyond ? 0.25 : 0) : 0) + (j === other ? 0.25 : 0);
  });

  const coarseOperator = (kind, p) => (kind === "galerkin" ? times(times(R, A), p) : poisson(HALF));

  /* Gaussian elimination with partial pivoting. */
  function solve(matrix, right) {
    const rows = matrix.map((row, i) => [...row, right[i]]), n = rows.length;
    for (let k = 0; k < n; k++) {
      let best = k;
      for (let i = k + 1; i < n; i++) if (Math.abs(rows[i][k]) > Math.abs(rows[best][k])) best = i;
      [rows[k], rows[best]] = [rows[best], rows[k]];
      for (let i = k + 1; i < n; i++) {
        const factor = rows[i][k] / rows[k][k];
        for (let j = k; j <= n; j++) rows[i][j] -= factor * rows[k][j];
      }
    }
    const x = Array(n).fill(0);
    for (let i = n - 1; i >= 0; i--) {
      let sum = rows[i][n];
      for (let j = i + 1; j < n; j++) sum -= rows[i][j] * x[j];
      x[i] = sum / rows[i][i];
    }
    return x;
  }

  const sweep = (e) => apply(A, e).map((r, i) => e[i] - OMEGA * r / A[i][i]);
  const mode = (k) => Array.from({ length: N }, (_, i) => Math.sin(k * Math.PI * (i + 0.5) / N));
  const MODES = filled(N, N, (k, i) => mode(k + 1)[i]);
  const amplitudes = (e) => apply(MODES, e).map((c, k) => c * (k === N - 1 ? 1 : 2) / N);
  const norm = (e) => Math.sqrt(e.reduce((sum, x) => sum + x * x, 0));
  const largest = (values) => Math.max(...values.map(Math.abs));

  const START = {
    mode: (k) => mode(k),
    mix: (k) => mode(k).map((x, i) => x + (k < N ? 0.5 * mode(N - k)[i] : 0)),
    random: (k) => {
      const random = generator(k);
      return Array.from({ length: N }, () => 2 * random() - 1);
    },
  };

  /* ---- The state, and the steps that change it ---- */

  const find = (selector) => root.querySelector(selector);
  const choices = {};
  for (const field of root.querySelectorAll("select, input")) choices[field.name] = field;
  const option = (name) => choices[name].value;
  const now = { stage: 0, error: [], before: null, residual: null, coarse: null, history: [] };
  let operators;

  function choose() {
    const p = prolongation(option("prolongation"));
    operators = { p, coarse: coarseOperator(option("coarse"), p) };
  }

  /* A new error: what the coarse grid held belonged to the old one. */
  function become(error, step) {
    const size = norm(error), last = now.history.at(-1);
    now.history.push({ step, norm: size, factor: last ? size / last.norm : NaN });
    Object.assign(now, { before: last ? now.error : null, error, stage: 0, residual: null, coarse: null });
  }

  const restricted = (e) => apply(R, apply(A, e));
  const corrected = (e, coarse) => apply(operators.p, coarse).map((x, i) => e[i] - x);
  const wanting = ["Restrict the residual first.", "Solve on the coarse grid first."];
  const change = () => {
    const { norm: size, factor } = now.history.at(-1), relative = size / now.history[0].norm;
    if (relative < 1e-13) return "Nothing but rounding is left of the error.";
    return `The error is multiplied by ${number(factor)} and is ${number(relative)} of what it was at the start.`
      + ` Its strongest mode is ${strongest()}.`;
  };

  /* Each returns the sentence that is announced. */
  const STEPS = {
    sweep: () => {
      become(sweep(now.error), "sweep");
      return `One sweep. ${change()}`;
    },
    restrict: () => {
      Object.assign(now, { stage: 1, residual: restricted(now.error), coarse: null });
      return "The residual A e has been averaged to the coarse grid. The error has not changed.";
    },
    solve: () => {
      if (now.stage < 1) return wanting[0];
      Object.assign(now, { stage: 2, coarse: solve(operators.coarse, now.residual) });
      const means = apply(R, now.error), off = norm(now.coarse.map((x, i) => x - means[i])) / norm(means);
      return `Solved on the coarse grid: the solution differs from the error's means by ${number(100 * off, 100)} %.`;
    },
    correct: () => {
      if (now.stage < 2) return wanting[now.stage];
      become(corrected(now.error, now.coarse), "correction");
      return `Prolonged and subtracted. ${change()}`;
    },
    cycle: () => {
      const pre = Number(option("pre")), post = Number(option("post"));
      let e = now.error;
      for (let i = 0; i < pre; i++) e = sweep(e);
      e = corrected(e, solve(operators.coarse, restricted(e)));
      for (let i = 0; i < post; i++) e = sweep(e);
      become(e, `cycle (${pre}, ${post})`);
      return `A whole cycle. ${change()}`;
    },
    reset: () => {
      now.history = [];
      become(START[option("start")](Number(option("k"))), "start");
      return `Start: ${describe()}.`;
    },
  };

  /* ---- What is shown ---- */

  function strongest() {
    const c = amplitudes(now.error).map(Math.abs);
    return c.indexOf(Math.max(...c)) + 1;
  }

  function describe() {
    const k = Number(option("k"));
    if (option("start") === "random") return `random error number ${k}`;
    const kind = k <= HALF ? "smooth" : "oscillatory";
    if (option("start") === "mode" || k === N) return `mode ${k} of ${N}, ${kind}`;
    return `mode ${k} and half as much of mode ${N - k}, which the coarse grid cannot tell apart`;
  }

  const HEIGHT = 190, LEFT = 46, TOP = 8, BOTTOM = 30, RIGHT = 8;

  /* A frame around marks that `draw` places in it; `y` maps [-1, 1] or [0, 1] to pixels. */
  function frame(place, { signed, size, label, said, draw, ticks }) {
    const width = Math.max(200, place.clientWidth || 320);
    const w = width - LEFT - RIGHT, h = HEIGHT - TOP - BOTTOM;
    const y = (t) => (signed ? h / 2 - t * h / 2.1 : h - t * h / 1.05);
    const text = (x, at, content, anchor) => svg("text", { x, y: at, "text-anchor": anchor }, content);
    const levels = signed ? [1, 0, -1] : [1, 0];
    place.innerHTML = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": said },
      levels.map((t) => text(LEFT - 6, TOP + y(t) + 4, number(t * size, size), "end")).join("")
      + ticks.map(([x, content, anchor]) => text(LEFT + x * w, HEIGHT - BOTTOM + 15, content, anchor)).join("")
      + text(LEFT + w / 2, HEIGHT - 2, label, "middle")
      + svg("svg", { x: LEFT, y: TOP, width: w, height: h },
        svg("line", { class: "tg-zero", x1: 0, x2: w, y1: y(0), y2: y(0) }) + draw(w, y, h))
      + svg("rect", { class: "tg-axis", x: LEFT, y: TOP, width: w, height: h }));
  }

  const ENDS = [[0, "boundary", "start"], [1, "boundary", "end"]];
  const points = (values, w, y, size) =>
    values.map((value, i) => [(i + 0.5) * w / values.length, y(value / size)]);
  const line = (name, list) =>
    svg("polyline", { class: name, points: list.map(([x, at]) => `${x.toFixed(1)},${at.toFixed(1)}`).join(" ") });
  const dots = (name, list, r) =>
    list.map(([x, at]) => svg("circle", { class: name, cx: x.toFixed(1), cy: at.toFixed(1), r })).join("");
  const diamonds = (name, list) => list.map(([x, at]) =>
    svg("path", { class: name, d: `M${x.toFixed(1)} ${(at - 5.5).toFixed(1)}l5 5.5-5 5.5-5-5.5z` })).join("");
  const span = (values) => `from ${number(Math.min(...values), largest(values))} to ${number(Math.max(...values), largest(values))}`;

  function showError(size) {
    frame(find("[data-figure=fine]"), {
      signed: true, size, label: "place x", ticks: ENDS,
      said: `The error on the fine grid of ${N} cells, ${span(now.error)}; strongest mode ${strongest()}.`,
      draw: (w, y) => {
        const list = points(now.error, w, y, size), ends = [[0, y(0)], ...list, [w, y(0)]];
        const past = now.before ? line("tg-past", points(now.before, w, y, size)) : "";
        return past + line("tg-now", ends) + dots("tg-now-mark", list, 3);
      },
    });
  }

  function showCoarse(size) {
    const means = apply(R, now.error);
    const [text, values, own] = [
      ["the error's means over pairs of cells, R e ○", means, size],
      ["the restricted residual R A e ◆, what the coarse grid is given", now.residual, largest(now.residual || [1]) || 1],
      ["its solution ◆, and the error's means R e ○, which it should meet", now.coarse, size],
    ][now.stage];
    find("[data-caption=coarse]").textContent = text;
    frame(find("[data-figure=coarse]"), {
      signed: true, size: own, label: "place x", ticks: ENDS,
      said: `On the coarse grid of ${HALF} cells: ${text}; values ${span(values)}.`,
      draw: (w, y) => {
        const list = points(values, w, y, own), open = points(means, w, y, size);
        if (now.stage === 0) return line("tg-now", open) + dots("tg-open-mark", open, 4);
        const seen = now.stage === 2 ? dots("tg-open-mark", open, 4) : "";
        return line("tg-coarse", list) + diamonds("tg-coarse-mark", list) + seen;
      },
    });
  }

  function showSpectrum(size) {
    const c = amplitudes(now.error).map(Math.abs);
    const past = now.before && amplitudes(now.before).map(Math.abs);
    const part = (from, to) => number(Math.max(...c.slice(from, to)), size);
    frame(find("[data-figure=spectrum]"), {
      signed: false, size, label: "mode k",
      ticks: [1, 8, 16, 24, 32].map((k) => [(k - 0.5) / N, String(k), "middle"]),
      said: `Amplitudes of the ${N} sine modes: at most ${part(0, HALF)} among the smooth ones, 1 to ${HALF}, `
        + `and ${part(HALF, N)} among the oscillatory ones, ${HALF + 1} to ${N}; strongest mode ${strongest()}.`,
      draw: (w, y, h) => {
        const bar = w / N;
        const text = (x, content, anchor) => svg("text", { x, y: 14, "text-anchor": anchor }, content);
        return text(w / 2 - 8, "smooth", "end") + text(w / 2 + 8, "oscillatory", "start")
          + svg("line", { class: "tg-axis", x1: w / 2, x2: w / 2, y1: 0, y2: h })
          + c.map((value, i) => svg("rect", {
            class: i < HALF ? "tg-smooth" : "tg-rough", x: (i * bar + bar / 5).toFixed(1),
            width: (bar * 0.6).toFixed(1), y: y(value / size).toFixed(1), height: (h - y(value / size)).toFixed(1),
          })).join("")
          + (past || []).map((value, i) => svg("line", {
            class: "tg-past", x1: (i * bar).toFixed(1), x2: ((i + 1) * bar).toFixed(1),
            y1: y(value / size).toFixed(1), y2: y(value / size).toFixed(1),
          })).join("");
      },
    });
  }

  const SHOWN = 8;
  function showHistory() {
    const first = now.history[0].norm, from = Math.max(0, now.history.length - SHOWN);
    find("[data-history]").innerHTML = now.history.slice(from).map(({ step, norm: size, factor }, i) =>
      `<tr><td>${from + i}</td><th scope="row">${step}</th><td>${number(size / first, 1e-6)}</td>`
      + `<td>${number(factor, 1e-6)}</td></tr>`).reverse().join("");
  }

  function show() {
    const zoom = choices.zoom.checked, start = now.scale;
    showError(zoom ? largest(now.error) || 1 : start.error);
    showCoarse(zoom ? Math.max(largest(apply(R, now.error)), largest(now.coarse || [0])) || 1 : start.error);
    showSpectrum(zoom ? largest(amplitudes(now.error)) || 1 : start.spectrum);
    showHistory();
    const k = Number(option("k")), damping = 1 - 2 * OMEGA * Math.sin(k * Math.PI / (2 * N)) ** 2;
    const theory = option("start") === "mode" ? `; a sweep multiplies it by ${number(damping)}, away from the boundaries` : "";
    find(".tg-start").textContent = describe() + theory;
    find("label[for=tg-k]").textContent = option("start") === "random" ? "Which random error" : "Mode k";
    choices.k.setAttribute("aria-valuetext", describe());
    const strength = -operators.coarse[1][2] / HALF ** 2; /* of its off-diagonal, beside −1/(2h)² */
    find("[data-operator]").textContent = "The coarse operator: away from the boundaries "
      + `${strength === 1 ? "" : `${number(strength)} · `}[−1 2 −1]/(2h)²`;
    const next = ["sweep", "solve", "correct"][now.stage];
    for (const button of root.querySelectorAll("button")) {
      const step = button.dataset.step, early = { solve: 1, correct: 2 }[step] > now.stage;
      button.classList.toggle("xp-next", step === next);
      button.setAttribute("aria-disabled", String(early));
    }
  }

  /* ---- What the reader does ---- */

  function take(step) {
    const sentence = STEPS[step]();
    if (step === "reset") now.scale = { error: largest(now.error), spectrum: largest(amplitudes(now.error)) };
    show();
    find("[role=status]").textContent = sentence;
  }

  for (const button of root.querySelectorAll("button")) {
    button.addEventListener("click", () => take(button.dataset.step));
  }
  for (const name of ["start", "k"]) choices[name].addEventListener("input", () => take("reset"));
  for (const name of ["coarse", "prolongation"]) {
    choices[name].addEventListener("change", () => {
      choose();
      Object.assign(now, { stage: 0, residual: null, coarse: null });
      show();
      find("[role=status]").textContent = "The coarse grid starts afresh; the error has not changed.";
    });
  }
  choices.zoom.addEventListener("change", show);
  new ResizeObserver(() => show()).observe(root);

  window.twoGridExplorer = {
    /* All that is computed now; `residual` and `solution` live on the coarse grid, null before their step. */
    state: () => ({
      n: N, stage: now.stage, error: [...now.error], spectrum: amplitudes(now.error),
      means: apply(R, now.error), residual: now.residual, solution: now.coarse,
      history: now.history.map((row) => ({ ...row })),
      coarse: option("coarse"), prolongation: option("prolongation"), start: option("start"), k: Number(option("k")),
    }),
  };
  choose();
  take("reset");
  root.dataset.ready = "true";
})();
