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
  /* `place` is the index of the last step among those of the cycle, -1 before the first of them.
     `work` is counted in sweeps over the fine grid. */
  const now = {
    stage: 0, error: [], before: null, residual: null, coarse: null, history: [], alone: [], place: -1, work: 0,
  };
  const WORK = { sweep: 1, restrict: 1, solve: 1 };
  let operators;

  function choose() {
    const p = prolongation(option("prolongation"));
    operators = { p, coarse: coarseOperator(option("coarse"), p) };
  }

  /* A new error: what the coarse grid held belonged to the old one. */
  function become(error, step) {
    const size = norm(error), last = now.history.at(-1);
    now.history.push({ step, norm: size, factor: last ? size / last.norm : NaN, work: now.work });
    Object.assign(now, { before: last ? now.error : null, error, stage: 0, residual: null, coarse: null });
  }

  /* The steps of one cycle, and the place in it of a step that is taken now. Sweeps beyond those of
     the cycle stay at its last one before the correction, and begin a new cycle after it. */
  const sweeps = (name) => Number(option(name));
  const plan = () => [...Array(sweeps("pre")).fill("sweep"), "restrict", "solve", "correct",
    ...Array(sweeps("post")).fill("sweep")];
  function placeOf(step) {
    const pre = sweeps("pre"), last = plan().length - 1, after = now.place >= pre + 2;
    if (step === "reset") return -1;
    if (step === "cycle") return last;
    if (step !== "sweep") return pre + ["restrict", "solve", "correct"].indexOf(step);
    if (after && now.place < last) return now.place + 1;
    if (after) return pre ? 0 : last > 2 ? last : -1;
    return Math.min(now.place + 1, pre - 1);
  }

  /* Norms after 0, 1, … sweeps of Jacobi alone from the same start. */
  let jacobi;
  function alone(count) {
    while (now.alone.length <= count) {
      now.alone.push(norm(jacobi));
      jacobi = sweep(jacobi);
    }
    return now.alone.slice(0, count + 1);
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
      now.work += WORK.sweep;
      become(sweep(now.error), "sweep");
      return `One sweep. ${change()}`;
    },
    restrict: () => {
      if (now.stage < 1) now.work += WORK.restrict;
      Object.assign(now, { stage: 1, residual: restricted(now.error), coarse: null });
      return "The residual A e has been averaged to the coarse grid. The error has not changed.";
    },
    solve: () => {
      if (now.stage < 1) return wanting[0];
      if (now.stage < 2) now.work += WORK.solve;
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
      const pre = sweeps("pre"), post = sweeps("post");
      now.work += (pre + post) * WORK.sweep + WORK.restrict + WORK.solve;
      let e = now.error;
      for (let i = 0; i < pre; i++) e = sweep(e);
      e = corrected(e, solve(operators.coarse, restricted(e)));
      for (let i = 0; i < post; i++) e = sweep(e);
      become(e, `cycle (${pre}, ${post})`);
      return `A whole cycle. ${change()}`;
    },
    reset: () => {
      jacobi = START[option("start")](Number(option("k")));
      Object.assign(now, { history: [], alone: [], work: 0 });
      become(jacobi, "start");
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

  const HEIGHT = 190, LEFT = 46, TOP = 8, BOTTOM = 33, RIGHT = 8;

  /* A frame around marks that `draw` places in it; `y` maps [-1, 1] or [0, 1] to pixels. `levels` are
     places on the vertical axis with their labels, of which those in `lines` get a line. */
  function frame(place, { signed, levels, lines = [0], label, said, draw, ticks }) {
    const width = Math.max(200, place.clientWidth || 320);
    const w = width - LEFT - RIGHT, h = HEIGHT - TOP - BOTTOM;
    const y = (t) => (signed ? h / 2 - t * h / 2.1 : h - t * h / 1.05);
    const text = (x, at, content, anchor) => svg("text", { x, y: at, "text-anchor": anchor }, content);
    place.innerHTML = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": said },
      levels.map(([t, content]) => text(LEFT - 6, TOP + y(t) + 4, content, "end")).join("")
      + ticks.map(([x, content, anchor]) => text(LEFT + x * w, HEIGHT - BOTTOM + 14, content, anchor)).join("")
      + text(LEFT + w / 2, HEIGHT - 5, label, "middle")
      + svg("svg", { x: LEFT, y: TOP, width: w, height: h },
        lines.map((t) => svg("line", { class: "tg-zero", x1: 0, x2: w, y1: y(t), y2: y(t) })).join("")
        + draw(w, y, h))
      + svg("rect", { class: "tg-axis", x: LEFT, y: TOP, width: w, height: h }));
  }

  const linear = (size, ...places) => places.map((t) => [t, number(t * size, size)]);

  /* A logarithmic axis from 10^low to 10^high: labels, and the place of a value, 0 at the lower end. */
  const power = (e) => (e ? `10${[...String(e)].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")}` : "1");
  function decades(low, high) {
    const step = Math.ceil((high - low) / 5), levels = [];
    for (let e = high; e >= low; e -= step) levels.push([(e - low) / (high - low), power(e)]);
    const lines = levels.map(([t]) => t);
    return { levels, lines, at: (value) => (Math.log10(Math.max(value, 1e-30)) - low) / (high - low) };
  }
  const exponent = (value) => Math.log10(Math.max(value, 1e-15));

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
      signed: true, levels: linear(size, 1, 0, -1), label: "place x", ticks: ENDS,
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
      signed: true, levels: linear(own, 1, 0, -1), label: "place x", ticks: ENDS,
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
    const log = option("axis") === "log", top = Math.ceil(exponent(size) - 1e-9);
    const axis = log ? decades(Math.max(-15, Math.min(top - 4, Math.floor(exponent(largest(c))) - 3)), top)
      : { levels: linear(size, 1, 0), lines: [0], at: (value) => value / size };
    frame(find("[data-figure=spectrum]"), {
      ...axis, signed: false, label: "mode k",
      ticks: [1, 8, 16, 24, 32].map((k) => [(k - 0.5) / N, String(k), "middle"]),
      said: `Amplitudes of the ${N} sine modes: at most ${part(0, HALF)} among the smooth ones, 1 to ${HALF}, `
        + `and ${part(HALF, N)} among the oscillatory ones, ${HALF + 1} to ${N}; strongest mode ${strongest()}.`,
      draw: (w, y, h) => {
        const bar = w / N, at = (value) => y(axis.at(value)).toFixed(1);
        const text = (x, content, anchor) => svg("text", { x, y: 14, "text-anchor": anchor }, content);
        const kind = (i) => (i < HALF ? "tg-smooth" : "tg-rough");
        /* On a logarithmic axis a bar has no foot: a mark stands for the value, a stem for the change. */
        const marks = c.map((value, i) => (log
          ? (past ? svg("line", { class: "tg-stem", x1: (i + 0.5) * bar, x2: (i + 0.5) * bar, y1: at(past[i]), y2: at(value) }) : "")
            + svg("circle", { class: kind(i), cx: ((i + 0.5) * bar).toFixed(1), cy: at(value), r: 3 })
          : svg("rect", {
            class: kind(i), x: (i * bar + bar / 5).toFixed(1), width: (bar * 0.6).toFixed(1),
            y: at(value), height: (h - at(value)).toFixed(1),
          })));
        return text(w / 2 - 8, "smooth", "end") + text(w / 2 + 8, "oscillatory", "start")
          + svg("line", { class: "tg-axis", x1: w / 2, x2: w / 2, y1: 0, y2: h }) + marks.join("")
          + (past || []).map((value, i) => svg("line", {
            class: "tg-past", x1: (i * bar).toFixed(1), x2: ((i + 1) * bar).toFixed(1), y1: at(value), y2: at(value),
          })).join("");
      },
    });
  }

  /* The race: what has been reached with the steps taken, and by sweeps alone, at equal work. */
  function showRace() {
    const rows = now.history, [{ norm: first }] = rows, { work, norm: reached } = rows.at(-1);
    const until = Math.max(12, work), sweepsAlone = alone(until).map((size) => size / first);
    const mine = rows.map((row) => [row.work, row.norm / first]);
    const all = [...sweepsAlone, ...mine.map((point) => point[1])].map(exponent);
    const axis = decades(Math.min(-1, Math.floor(Math.min(...all))), Math.max(0, Math.ceil(Math.max(...all) - 1e-9)));
    const apart = [2, 5, 10, 20, 50, 100, 200, 500].find((step) => until / step <= 7) || until;
    const place = (x) => (x + 0.02 * until) / (1.04 * until);
    const compared = `After work of ${work} sweeps the error is ${number(reached / first)} of the start with the steps taken, `
      + `${number(sweepsAlone[work])} with Jacobi alone.`;
    find("[data-race]").textContent = compared;
    frame(find("[data-figure=race]"), {
      ...axis, signed: false, label: "work in sweeps over the fine grid",
      ticks: filled(1, Math.floor(until / apart) + 1, (_, i) => i * apart)[0].map((x) => [place(x), String(x), "middle"]),
      said: `Norm of the error against work. ${compared}`,
      draw: (w, y) => {
        const spot = ([x, value]) => [place(x) * w, y(axis.at(value))], list = mine.map(spot);
        return line("tg-alone", sweepsAlone.map((value, x) => spot([x, value])))
          + line("tg-now", list) + dots("tg-now-mark", list, 3.5);
      },
    });
  }

  /* The cycle as a V: sweeps on the level of the fine grid, the solution on that of the coarse one. */
  function showCycle() {
    const place = find("[data-figure=cycle]"), width = Math.max(200, place.clientWidth || 320);
    const [pre, post] = ["pre", "post"].map(sweeps), middle = (width + 66) / 2, [up, down] = [30, 78];
    const text = (x, y, content, anchor, step = NaN) =>
      svg("text", { x, y, "text-anchor": anchor, class: step === now.place ? "tg-here" : "" }, content);
    const left = middle - 46, right = middle + 46, names = ["before the cycle", ...plan()];
    const edge = (x, y, toX, toY, step) => svg("line", { x1: x, y1: y, x2: toX, y2: toY, class: step === now.place ? "tg-edge tg-here" : "tg-edge" });
    const node = (x, y, step) => svg("circle", { cx: x, cy: y, r: 6.5, class: step === now.place ? "tg-node tg-here" : "tg-node" });
    const count = (sweep) => (sweep === 1 ? "1 sweep" : `${sweep || "no"} sweeps`);
    const spots = [...filled(1, pre, (_, i) => [left - 18 * (pre - 1 - i), up, i])[0], [middle, down, pre + 1],
      ...filled(1, post, (_, i) => [right + 18 * i, up, pre + 3 + i])[0]];
    place.innerHTML = svg("svg", {
      viewBox: `0 0 ${width} 104`, role: "img",
      "aria-label": `A cycle: ${count(pre)}, restrict, solve, correct, ${count(post)}. Present step: ${names[now.place + 1]}.`,
    }, svg("line", { class: "tg-zero", x1: 70, x2: width, y1: up, y2: up })
      + svg("line", { class: "tg-zero", x1: 70, x2: width, y1: down, y2: down })
      + text(0, up + 4, "fine grid", "start") + text(0, down + 4, "coarse grid", "start")
      + edge(left - 18 * Math.max(0, pre - 1), up, left, up, NaN) + edge(right, up, right + 18 * Math.max(0, post - 1), up, NaN)
      + edge(left, up, middle, down, pre) + edge(middle, down, right, up, pre + 2)
      + spots.map((spot) => node(...spot)).join("")
      + text(left + 6, up - 13, count(pre), "end") + text(right - 6, up - 13, count(post), "start")
      + text(left + 14, 60, "restrict", "end", pre) + text(right - 14, 60, "correct", "start", pre + 2)
      + text(middle, down + 22, "solve", "middle", pre + 1));
  }

  const SHOWN = 8;
  function showHistory() {
    const first = now.history[0].norm, from = Math.max(0, now.history.length - SHOWN);
    find("[data-history]").innerHTML = now.history.slice(from).map(({ step, norm: size, factor, work }, i) =>
      `<tr><td>${from + i}</td><th scope="row">${step}</th><td>${number(size / first, 1e-6)}</td>`
      + `<td>${number(factor, 1e-6)}</td><td>${work}</td></tr>`).reverse().join("");
  }

  function show() {
    const zoom = choices.zoom.checked, start = now.scale;
    showError(zoom ? largest(now.error) || 1 : start.error);
    showCoarse(zoom ? Math.max(largest(apply(R, now.error)), largest(now.coarse || [0])) || 1 : start.error);
    showSpectrum(zoom ? largest(amplitudes(now.error)) || 1 : start.spectrum);
    showRace();
    showCycle();
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
    for (const button of root.querySelectorAll("button[data-step]")) {
      const step = button.dataset.step, early = { solve: 1, correct: 2 }[step] > now.stage;
      button.classList.toggle("xp-next", step === next);
      button.setAttribute("aria-disabled", String(early));
    }
  }

  /* ---- What the reader does ---- */

  const status = find("[role=status]");
  function take(step) {
    const early = { solve: 1, correct: 2 }[step] > now.stage;
    const sentence = STEPS[step]();
    if (!early) now.place = placeOf(step);
    if (step === "reset") now.scale = { error: largest(now.error), spectrum: largest(amplitudes(now.error)) };
    show();
    status.textContent = sentence;
  }

  /* Play takes the steps of cycles in turn, and ends with a cycle. Where the reader prefers reduced
     motion, nothing moves by itself: each press takes one step. */
  const PLAY = { pause: 800, cycles: 10, goal: 1e-6 };
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const button = find("[data-play]");
  let timer = 0, cycles = 0;
  const relative = () => now.history.at(-1).norm / now.history[0].norm;
  const ended = () => now.place === plan().length - 1;
  const labelPlay = () => { button.textContent = timer ? "Pause" : still.matches ? "Next step" : "Play cycles"; };
  const next = () => take(plan()[(now.place + 1) % plan().length]);
  function stop(why = "") {
    clearInterval(timer);
    timer = 0;
    status.removeAttribute("aria-live");
    if (why) status.textContent += ` ${why}`;
    labelPlay();
  }
  function go() {
    next();
    cycles += ended();
    if (ended() && relative() <= PLAY.goal) stop(`Finished: at most ${number(PLAY.goal)} of the error at the start is left.`);
    else if (ended() && cycles >= PLAY.cycles) stop(`Finished: ${cycles} cycles.`);
  }
  button.addEventListener("click", () => {
    if (timer) return stop("Paused.");
    if (ended() && relative() <= PLAY.goal) take("reset");
    if (still.matches) return next();
    cycles = 0;
    status.setAttribute("aria-live", "off"); /* A screen reader hears the end, not every step. */
    timer = setInterval(go, PLAY.pause);
    labelPlay();
    go();
  });
  still.addEventListener("change", () => stop());

  for (const one of root.querySelectorAll("button[data-step]")) {
    one.addEventListener("click", () => {
      stop();
      take(one.dataset.step);
    });
  }
  for (const name of ["start", "k"]) {
    choices[name].addEventListener("input", () => {
      stop();
      take("reset");
    });
  }
  for (const name of ["coarse", "prolongation"]) {
    choices[name].addEventListener("change", () => {
      choose();
      Object.assign(now, { stage: 0, residual: null, coarse: null, place: -1 });
      show();
      status.textContent = "The coarse grid starts afresh; the error has not changed.";
    });
  }
  for (const name of ["pre", "post"]) {
    choices[name].addEventListener("change", () => {
      now.place = now.stage ? sweeps("pre") - 1 + now.stage : -1;
      show();
    });
  }
  choices.axis.addEventListener("change", show);
  choices.zoom.addEventListener("change", show);
  new ResizeObserver(() => show()).observe(root);

  window.twoGridExplorer = {
    /* All that is computed now; `residual` and `solution` live on the coarse grid, null before their step. */
    state: () => ({
      n: N, stage: now.stage, error: [...now.error], spectrum: amplitudes(now.error),
      means: apply(R, now.error), residual: now.residual, solution: now.coarse,
      history: now.history.map((row) => ({ ...row })), alone: [...now.alone], work: now.work,
      plan: plan(), place: now.place, playing: timer !== 0,
      coarse: option("coarse"), prolongation: option("prolongation"), start: option("start"), k: Number(option("k")),
    }),
  };
  choose();
  take("reset");
  labelPlay();
  root.dataset.ready = "true";
})();
