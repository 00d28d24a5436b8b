/* The surface explorer: contours and radial profiles of two recorded loss surfaces, and the surfaces to
   turn; steps in two units of length.
   Values are those of the records, by book/tools/surface_data.py; between them the logarithm is
   interpolated as mgcore.lab.figures.baseline.rise does. tests/book/test_surface_explorer.py holds both to it. */
(() => {
  "use strict";
  const root = document.getElementById("surface-explorer");
  if (!root || !window.surfaceView || !window.surfaceData) return;
  const { number } = window.explorers;
  const { camera, paint, paintMap, paintProfile, paintRamp } = window.surfaceView;
  const { records, trial } = window.surfaceData;
  const SIDES = ["first", "second"];
  const NAMES = { coarse: "coarse minimum", transfer: "copied initialisation", multigrid: "Galerkin initialisation" };
  const DEFAULT = { turn: -35, tilt: 25 };
  const TINY = 1e-9;

  const find = (selector) => root.querySelector(selector);
  const choices = {};
  for (const field of root.querySelectorAll("select, input")) choices[field.name] = field;
  const option = (name) => choices[name].value;
  /* The marked point and `widest` are in the unit chosen. */
  const now = { view: "contours", units: "relative", widest: 1, point: [0.5, 0] };

  /* ---- Numerics ---- */

  const record = () => `${option("network")}-${option("images")}-paper`;

  /* One network of the chosen record; `unit` is the length of a step of 1 as it is measured now. */
  function surface(network) {
    const { steps, [network]: found } = records[record()];
    const centre = found.values[(found.values.length - 1) / 2];
    return { ...found, network, steps, centre, unit: now.units === "absolute" ? found.length : 1 };
  }

  /* Between recorded points the logarithm is bilinear; null beyond them. a, b: × filters. */
  function at({ steps, values }, a, b) {
    const k = steps.length, last = steps[k - 1];
    if (Math.max(Math.abs(a), Math.abs(b)) > last * (1 + TINY)) return null;
    const place = (t) => {
      const x = Math.min(k - 1, Math.max(0, (t - steps[0]) / (last - steps[0]) * (k - 1)));
      const low = Math.min(k - 2, Math.floor(x + TINY));
      return [low, x - low];
    };
    const [i, u] = place(a), [j, v] = place(b);
    const log = (p, q) => Math.log(values[(i + p) * k + j + q]);
    return Math.exp((1 - u) * ((1 - v) * log(0, 0) + v * log(0, 1)) + u * ((1 - v) * log(1, 0) + v * log(1, 1)));
  }

  /* x, y and the radius are in the unit chosen. */
  const value = (s, x, y) => at(s, x / s.unit, y / s.unit);
  const circle = (s, radius) => Array.from({ length: 360 }, (_, degree) => {
    const angle = degree * Math.PI / 180, x = radius * Math.cos(angle), y = radius * Math.sin(angle);
    return [x, y, value(s, x, y)];
  });

  /* The mean on a circle as a multiple of the centre; null where the circle leaves the record. */
  function rise(s, radius) {
    const values = circle(s, radius).map((point) => point[2]);
    return values.includes(null) ? null : values.reduce((sum, v) => sum + v, 0) / values.length / s.centre;
  }

  /* Mean, smallest and largest value on circles of growing radius, as multiples of the centre, as far as
     the record reaches. */
  const RINGS = 40;
  function profile(s, shown) {
    const found = [[0, 1, 1, 1]], end = Math.min(shown, s.steps.at(-1) * s.unit);
    for (let i = 1; i <= RINGS; i++) {
      const radius = end * i / RINGS, values = circle(s, radius).map((point) => point[2] / s.centre);
      found.push([radius, values.reduce((sum, v) => sum + v, 0) / values.length, Math.min(...values), Math.max(...values)]);
    }
    return found;
  }

  /* The smallest radius at which the mean has doubled, by bisection; null where it is not reached. */
  function doubling(s) {
    const i = s.rings.findIndex(([, mean]) => mean >= 2);
    if (i < 0) return null;
    let [low, high] = [s.rings[i - 1][0], s.rings[i][0]];
    for (let k = 0; k < 20; k++) {
      const middle = (low + high) / 2;
      if (rise(s, middle) < 2) low = middle;
      else high = middle;
    }
    return high;
  }

  /* Line segments where the surface is `level` times its centre: crossings of the sides of a cell, in
     pairs. On a side the logarithm is linear, so that a crossing is exact. */
  const LEVELS = [2, 5, 10];
  function contour({ along, ratios }, level) {
    const segments = [];
    for (let i = 0; i + 1 < along.length; i++) for (let j = 0; j + 1 < along.length; j++) {
      const ring = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], cross = [];
      ring.forEach(([p, q], k) => {
        const [u, v] = ring[(k + 1) % 4], a = Math.log(ratios[p][q] / level), b = Math.log(ratios[u][v] / level);
        if ((a < 0) === (b < 0)) return;
        const t = a / (a - b), between = (m, n) => along[m].t + t * (along[n].t - along[m].t);
        cross.push([between(p, u), between(q, v)]);
      });
      for (let k = 0; k + 1 < cross.length; k += 2) segments.push([cross[k], cross[k + 1]]);
    }
    return segments;
  }

  const recorded = (s, x, y) => [x, y].every((t) => s.steps.some((step) => Math.abs(step * s.unit - t) < 1e-6 * s.unit));
  const nearestStep = (s, t) => s.steps.reduce((best, step) =>
    (Math.abs(step * s.unit - t) < Math.abs(best * s.unit - t) - TINY ? step : best));

  /* Places along one side of what is shown: recorded steps and the two ends, subdivided. */
  function places(s, reach) {
    const end = Math.min(reach, s.steps.at(-1) * s.unit);
    const inner = s.steps.map((step) => step * s.unit).filter((t) => Math.abs(t) < end * (1 - 1e-6));
    const whole = s.steps.at(-1) * s.unit <= reach * (1 + TINY);
    const knots = [[-end, whole], ...inner.map((t) => [t, true]), [end, whole]];
    const parts = Math.ceil(20 / (knots.length - 1));
    return knots.flatMap(([t, line], i) => (i === knots.length - 1 ? [{ t, line }]
      : Array.from({ length: parts }, (_, p) =>
        ({ t: t + (knots[i + 1][0] - t) * p / parts, line: p === 0 && line }))));
  }

  const height = (s, v) => (option("height") === "ratio" ? v / s.centre : v);
  const within = (reach) => (t) => Math.abs(t) <= reach * (1 + TINY);

  /* All that is drawn: for both sides the mesh and its heights, and the one scale they share. */
  function compute() {
    const shown = now.widest * Number(option("shown")) / 100;
    const log = option("scale") === "log";
    const pair = SIDES.map((side) => {
      const s = surface(option(side)), along = places(s, shown);
      const mesh = along.map(({ t: x }) => along.map(({ t: y }) => height(s, value(s, x, y))));
      const ratios = along.map(({ t: x }) => along.map(({ t: y }) => value(s, x, y) / s.centre));
      const lifted = ([x, y, v]) => [x, y, height(s, v)], mean = rise(s, shown / 2), here = value(s, ...now.point);
      return {
        ...s, side, along, mesh, ratios, rise: mean, apart: (s.steps[1] - s.steps[0]) * s.unit, middle: lifted([0, 0, s.centre]),
        ring: mean !== null && circle(s, shown / 2).map(lifted),
        marked: here !== null && now.point.every(within(shown)) && lifted([...now.point, here]),
      };
    });
    const all = pair.flatMap(({ mesh }) => mesh.flat());
    const top = Math.max(...all), bottom = log ? Math.min(...all) : 0;
    const level = (h) => (log ? Math.log(h / bottom) / Math.log(top / bottom) : h / top);
    const view = { turn: Number(option("turn")), tilt: Number(option("tilt")) };
    if (now.view === "contours") {
      const ratios = pair.flatMap((s) => s.ratios.flat()), low = Math.min(...ratios), high = Math.max(2, ...ratios);
      Object.assign(view, { low, high, shade: (ratio) => Math.log(ratio / low) / Math.log(high / low) });
      for (const s of pair) {
        s.rings = profile(s, shown);
        s.doubled = doubling(s);
        s.contours = LEVELS.map((level) => [level, contour(s, level)]);
        s.ratio = (x, y) => value(s, x, y) / s.centre;
      }
    }
    return { ...view, shown, pair, top, bottom, level, ticks: ticks(log, top, bottom) };
  }

  /* Round numbers between the ends of the scale. */
  function ticks(log, top, bottom) {
    const found = [];
    if (log) {
      const wide = top / bottom > 100;
      for (let e = Math.floor(Math.log10(bottom)); e <= Math.log10(top); e++) {
        for (const m of wide ? [1] : [1, 2, 5]) found.push(Number(`${m}e${e}`));
      }
      return found.filter((h) => h >= bottom * (1 - TINY) && h <= top);
    }
    const raw = top / 4, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((m) => m * power >= raw);
    for (let h = 0; h <= top; h += step) found.push(h);
    return found;
  }

  /* ---- Words ---- */

  const exact = (x) => String(Number(x.toPrecision(5))).replace("-", "−");
  const UNITS = { relative: "filter lengths", absolute: "absolute units" };
  const unit = () => UNITS[now.units];
  const end = (s) => number(s.steps.at(-1) * s.unit);

  function described(s) {
    const [x, y] = now.point, v = value(s, x, y), place = `○ ${number(x)}, ${number(y)} ${unit()}`;
    if (v === null) return `${place}: beyond what was recorded, ±${end(s)}.`;
    const [other, factor] = now.units === "relative" ? ["absolute", s.length] : ["relative", 1 / s.length];
    const translated = `${number(x * factor)}, ${number(y * factor)} ${UNITS[other]}`;
    const how = recorded(s, x, y) ? "" : " (interpolated)";
    return `${place} (${translated}): objective ${exact(v)}${how}, ${exact(v / s.centre)} × the centre’s ${exact(s.centre)}.`;
  }

  function summary({ pair, shown }) {
    const parts = pair.map((s) => (s.rise === null
      ? `around the ${NAMES[s.network]} nothing is recorded beyond ±${end(s)}`
      : `around the ${NAMES[s.network]} the objective is on average ${number(s.rise)} times what it is at the centre`));
    const [a, b] = [...pair].sort((p, q) => q.length - p.length);
    const longer = a.length / b.length > 1.005
      ? ` One filter length is ${number(a.length / b.length)} times as far around the ${NAMES[a.network]} as around the ${NAMES[b.network]}.` : "";
    return `On the dashed circle, ${number(shown / 2)} ${unit()} away: ${parts.join(", ")}.${longer}`;
  }

  function showTable() {
    const rows = Object.keys(NAMES).map((network) => surface(network));
    find("#sx-numbers").textContent = `Trial ${trial} of the record ${record()}: length of the filters, objective and loss at the centre, `
      + "and how far away the loss has doubled, in filter lengths and in absolute units.";
    find("[data-numbers]").innerHTML = rows.map((s) => `<tr><th scope="row">${NAMES[s.network]}</th>`
      + [s.length, s.centre, s.loss, s.radius, s.reach].map((x) => `<td>${number(x)}</td>`).join("") + "</tr>").join("");
  }

  function write(name, text) {
    for (const place of root.querySelectorAll(`[data-${name}]`)) place.textContent = text;
  }

  function showContours() {
    for (const s of current.pair) {
      const reach = LEVELS.filter((_, i) => s.contours[i][1].length).map((level) => `×${level}`);
      const canvas = find(`[data-map=${s.side}]`);
      paintMap(root, canvas, s, current, unit());
      canvas.setAttribute("aria-label", `Map around the ${NAMES[s.network]}: the objective as a multiple of the centre reaches `
        + `${number(Math.max(...s.ratios.flat()))} within ±${number(s.along.at(-1).t)} ${unit()}; contours ${reach.join(", ") || "at none of the levels"}.`);
    }
    const far = current.pair.map((s) => {
      return s.doubled === null ? `does not double around the ${NAMES[s.network]}`
        : `doubles ${number(s.doubled)} ${unit()} away from the ${NAMES[s.network]}`;
    });
    const said = `Within what is shown, the mean on a circle ${far[0]}, and ${far[1]}.`;
    paintProfile(root, find("[data-profile]"), current, unit(), ticks(true, current.high, current.low));
    find("[data-profile]").setAttribute("aria-label", said);
    write("doubled", said);
    paintRamp(find("[data-ramp=bar]"));
    write("ramp=low", `×${number(current.low)}`);
    write("ramp=high", `×${number(current.high)}`);
  }

  let current, timer, frame;
  function update() {
    current = compute();
    const what = option("height") === "ratio" ? "objective as a multiple of the centre" : "objective";
    write("quantity", what);
    for (const part of root.querySelectorAll("[data-shows]")) part.hidden = part.dataset.shows !== now.view;
    for (const s of current.pair) {
      write(`heading=${s.side}`, `Around the ${NAMES[s.network]}`);
      write(`name=${s.side}`, NAMES[s.network]);
    }
    if (now.view === "contours") showContours();
    else for (const s of current.pair) {
      const all = s.mesh.flat(), canvas = find(`[data-surface=${s.side}]`);
      paint(root, canvas, s, current);
      find(`[data-point=${s.side}]`).textContent = described(s);
      canvas.setAttribute("aria-label", `Around the ${NAMES[s.network]}, the ${what}: from ${number(Math.min(...all))} `
        + `to ${number(Math.max(...all))} within ±${number(s.along.at(-1).t)} ${unit()}.`);
    }
    for (const button of root.querySelectorAll("[data-units], [data-view]")) {
      button.setAttribute("aria-pressed", String([now.units, now.view].includes(button.dataset.units || button.dataset.view)));
    }
    const shown = `±${number(current.shown)} ${unit()}`;
    for (const [name, text] of [["turn", `${option("turn")}°`.replace("-", "−")], ["tilt", `${option("tilt")}°`], ["shown", shown]]) {
      find(`[data-value=${name}]`).textContent = text;
      choices[name].setAttribute("aria-valuetext", text);
    }
    clearTimeout(timer); /* A screen reader hears where the reader stopped, not every step. */
    timer = setTimeout(() => { find("[role=status]").textContent = summary(current); }, 300);
  }
  const soon = () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(update); };

  /* ---- What the reader does ---- */

  /* As wide as the record of either is; at first only as wide as that of both. */
  function fit() {
    const reaches = SIDES.map((side) => surface(option(side))).map((s) => s.steps.at(-1) * s.unit);
    now.widest = Math.max(...reaches);
    choices.shown.value = Math.max(5, Math.floor(100 * Math.min(...reaches) / now.widest + TINY));
  }

  /* The marked point stays the same step of the shorter filters. */
  function measure(units) {
    const short = () => SIDES.map((side) => surface(option(side))).reduce((a, b) => (b.length < a.length ? b : a));
    const before = short().unit;
    now.units = units;
    const s = short(), inside = (t) => nearestStep(s, t / before * s.unit) * s.unit;
    now.point = now.point.map(inside);
    fit();
    update();
  }

  function turnTo(turn, tilt) {
    choices.turn.value = ((Math.round(turn) + 540) % 360) - 180;
    choices.tilt.value = Math.min(90, Math.max(0, Math.round(tilt)));
  }

  /* The recorded point of this side that is drawn nearest to a place on its canvas. */
  function pick(side, px, py) {
    const s = current.pair.find((one) => one.side === side);
    const { project } = camera(find(`[data-surface=${side}]`).clientWidth, current);
    let best = Infinity;
    const inside = s.steps.map((step) => step * s.unit).filter(within(current.shown));
    for (const x of inside) for (const y of inside) {
      const z = current.level(height(s, value(s, x, y)));
      const [u, v, away] = project(x / current.shown, y / current.shown, z);
      const distance = Math.hypot(u - px, v - py) + 2 * away; /* Of two that cover each other, the nearer. */
      if (distance < best) [best, now.point] = [distance, [x, y]];
    }
    update();
  }

  /* One recorded step on; the screen's directions, as the surface is turned now. */
  function move(side, across, up) {
    const s = current.pair.find((one) => one.side === side), turn = Number(option("turn")) * Math.PI / 180;
    const x = across * Math.cos(turn) + up * Math.sin(turn), y = -across * Math.sin(turn) + up * Math.cos(turn);
    const axis = Math.abs(x) >= Math.abs(y) ? 0 : 1, sign = Math.sign(axis ? y : x);
    const places = s.steps.map((step) => step * s.unit).filter(within(current.shown));
    const snapped = now.point.map((t) => nearestStep(s, t) * s.unit);
    const next = places.filter((t) => sign * (t - snapped[axis]) > TINY).sort((a, b) => sign * (a - b))[0];
    if (next !== undefined) snapped[axis] = next;
    now.point = snapped;
    update();
    find("[data-said]").textContent = described(s);
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  for (const canvas of root.querySelectorAll("[data-surface]")) {
    const side = canvas.dataset.surface;
    let held = null;
    canvas.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if ((!arrow && event.key !== "Home") || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      if (arrow && event.shiftKey) return move(side, ...arrow);
      if (arrow) turnTo(Number(option("turn")) + 5 * arrow[0], Number(option("tilt")) - 5 * arrow[1]);
      else turnTo(DEFAULT.turn, DEFAULT.tilt);
      update();
      find("[data-said]").textContent = `Turned to ${option("turn")} degrees, tilted by ${option("tilt")}.`;
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held = { x: event.clientX, y: event.clientY, turn: Number(option("turn")), tilt: Number(option("tilt")), far: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) {
        if (event.pointerType === "mouse") pick(side, event.offsetX, event.offsetY);
        return;
      }
      const dx = event.clientX - held.x, dy = event.clientY - held.y;
      held.far ||= Math.hypot(dx, dy) > 5;
      if (!held.far) return;
      turnTo(held.turn + dx / 2, held.tilt + dy / 2);
      soon();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (held && !held.far) pick(side, event.offsetX, event.offsetY);
      held = null;
    });
    canvas.addEventListener("pointercancel", () => { held = null; }); /* The page scrolls instead. */
  }
  for (const button of root.querySelectorAll("[data-units]")) {
    button.addEventListener("click", () => measure(button.dataset.units));
  }
  for (const button of root.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => {
      now.view = button.dataset.view;
      update();
    });
  }
  for (const name of ["turn", "tilt", "shown", "height", "scale"]) choices[name].addEventListener("input", update);
  for (const name of ["network", "images", ...SIDES]) {
    choices[name].addEventListener("change", () => {
      showTable();
      fit();
      update();
    });
  }
  new ResizeObserver(soon).observe(root);
  new MutationObserver(soon).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  window.surfaceExplorer = {
    /* All that is computed now; lengths in the unit chosen, `values` those of the record. */
    state: () => {
      const options = Object.fromEntries(Object.keys(choices).map((name) => [name, option(name)]));
      return {
        ...options, view: now.view, units: now.units, low: current.low, high: current.high, shown: current.shown, point: [...now.point],
        bottom: current.bottom, top: current.top, ticks: current.ticks,
        pair: current.pair.map(({ network, unit: step, length, centre, loss, radius, reach, values, rise: mean, along, mesh, rings, contours, doubled, ...s }) => ({
          network, unit: step, length, centre, loss, radius, reach, values, rise: mean,
          rings, contours, doubled, places: along.map(({ t }) => t), heights: mesh, at: value({ ...s, values, unit: step }, ...now.point),
        })),
      };
    },
  };
  showTable();
  fit();
  update();
  find("[role=status]").textContent = summary(current);
  root.dataset.ready = "true";
})();
