/* The kernel explorer: a 3×3 kernel, its operators, and its response on three grids.
   The arithmetic is that of mgcore.kernels, mgcore.operators and mgcore.grids; tests/book/test_explorers.py
   holds the two together. Kernels and images are flat arrays in row-major order. */
(() => {
  "use strict";
  const root = document.getElementById("kernel-explorer");
  if (!root || !window.explorers || !window.explorerData) return;
  const { number, decimals, fixed, bare, percent, diverging, inkOn } = window.explorers;
  const { generator, normal, svg } = window.explorers;
  const SIZES = [14, 28, 56];
  const ROWS = ["copied", "refined"];
  const PARTS = ["whole", "smooth", "rest"]; /* x, P R x and x − P R x, on 28×28 */
  const LIMIT = 1e6;

  /* ---- Numerics ---- */

  /* M₁⁻¹, the inverse of the Galerkin map on kernels in one dimension. */
  const REFINE = {
    bilinear: [[2.5, -0.5, 0.5], [-2, 2, -2], [0.5, -0.5, 2.5]],
    constant: [[2, 0, 0], [-1, 1, -1], [0, 0, 2]],
  };
  /* The outer weight a of the kernel [a, 1 - 2a, a] of the operator 1. */
  const OUTER = { thesis: 1 / 4, galerkin: 1 / 6, nodal: 0 };
  /* Orders along u (down the rows) and v (along the columns), in the thesis's order of β₁ … β₉. */
  const ORDERS = [[0, 0], [1, 0], [0, 1], [1, 1], [2, 0], [0, 2], [2, 1], [1, 2], [2, 2]];

  /* m k mᵀ: the Kronecker square of m on a flattened 3×3 kernel. */
  function bothAxes(m, k) {
    const result = [];
    for (let r = 0; r < 3; r++) for (let c = 0; c < 3; c++) {
      let sum = 0;
      for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) sum += m[r][i] * k[3 * i + j] * m[c][j];
      result.push(sum);
    }
    return result;
  }

  const refine = (kernel, prolongation) => bothAxes(REFINE[prolongation], kernel);

  function toOperators(kernel, h, basis) {
    const a = OUTER[basis];
    const inverse = [[1, 1, 1], [-1, 0, 1], [0.5 - a, -a, 0.5 - a]];
    const beta = bothAxes(inverse, kernel);
    return ORDERS.map(([u, v]) => beta[3 * u + v] * h ** (u + v));
  }

  /* Correlation with zero padding, as torch.nn.functional.conv2d. */
  function correlate(image, n, kernel) {
    const out = new Float64Array(n * n);
    for (let r = 0; r < n; r++) for (let c = 0; c < n; c++) {
      let sum = 0;
      for (let i = -1; i <= 1; i++) for (let j = -1; j <= 1; j++) {
        const y = r + i, x = c + j;
        if (y >= 0 && y < n && x >= 0 && x < n) sum += kernel[3 * i + j + 4] * image[n * y + x];
      }
      out[n * r + c] = sum;
    }
    return out;
  }

  function restrict(image, n) {
    const half = n / 2;
    return Float64Array.from({ length: half * half }, (_, i) => {
      const at = 2 * n * Math.floor(i / half) + 2 * (i % half);
      return (image[at] + image[at + 1] + image[at + n] + image[at + n + 1]) / 4;
    });
  }

  /* P with the edge's own value beyond the edge. */
  function prolong(image, n, prolongation) {
    const near = prolongation === "constant" ? 1 : 0.75;
    const beyond = (i) => Math.min(n - 1, Math.max(0, (i >> 1) + (i % 2 ? 1 : -1)));
    return Float64Array.from({ length: 4 * n * n }, (_, at) => {
      const r = Math.floor(at / (2 * n)), c = at % (2 * n);
      const row = (i) =>
        near * image[n * i + (c >> 1)] + (1 - near) * image[n * i + beyond(c)];
      return near * row(r >> 1) + (1 - near) * row(beyond(r));
    });
  }

  /* How far a response is from the coarse one once it is averaged down, relative, in the 2-norm. */
  function difference(response, n, coarse) {
    for (; n > 14; n /= 2) response = restrict(response, n);
    const norm = (of) => Math.sqrt(coarse.reduce((sum, y, i) => sum + of(y, i) ** 2, 0));
    return norm((y, i) => response[i] - y) / norm((y) => y);
  }

  const size2 = (values) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

  /* x, P R x and x − P R x, the response of each kernel to them, and norms as fractions of that of x. */
  function split(x, kernels, prolongation) {
    const smooth = prolong(restrict(x, SIZES[1]), SIZES[0], prolongation);
    const images = [x, smooth, x.map((value, i) => value - smooth[i])];
    const rows = { image: images };
    for (const row of ROWS) rows[row] = images.map((part) => correlate(part, SIZES[1], kernels[row][1]));
    const shares = {};
    for (const row of Object.keys(rows)) shares[row] = rows[row].map((values) => size2(values) / size2(rows[row][0]));
    return { rows, shares };
  }

  /* |Σ k e^{ijθ}| along one axis, where the image is constant along the other. */
  function gain(kernel, axis, theta) {
    const [a, b, c] = [0, 1, 2].map((i) =>
      [0, 1, 2].reduce((sum, j) => sum + kernel[axis === "u" ? 3 * i + j : 3 * j + i], 0));
    return Math.hypot(b + (a + c) * Math.cos(theta), (c - a) * Math.sin(theta));
  }
  const POINTS = 56;
  /* From frequency 0 to the Nyquist frequency of 28×28; that of 14×14 is in the middle. */
  function gains(kernels, axis) {
    const curve = (kernel, count, most) =>
      Array.from({ length: count + 1 }, (_, i) => gain(kernel, axis, most * i / POINTS));
    return {
      original: curve(kernels.copied[0], POINTS / 2, 2 * Math.PI),
      copied: curve(kernels.copied[1], POINTS, Math.PI), refined: curve(kernels.refined[1], POINTS, Math.PI),
    };
  }

  /* ---- What can be chosen ---- */

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const digits = window.explorerData.digits.map(({ label, pixels }) => ({
    label,
    images: SIZES.map((n) => Float64Array.from(bytes(pixels[n]), (ink) => ink / 255)),
  }));
  const trained = new Float32Array(bytes(window.explorerData.trained.values).buffer);
  const { channels, record } = window.explorerData.trained;
  const random = generator(2019);
  let turn = -1;

  const PRESETS = {
    identity: () => ["identity", [0, 0, 0, 0, 1, 0, 0, 0, 0]],
    mean: () => ["mean of nine", Array(9).fill(1 / 9)],
    sobelU: () => ["Sobel along u", [-1, -2, -1, 0, 0, 0, 1, 2, 1].map((x) => x / 8)],
    sobelV: () => ["Sobel along v", [-1, 0, 1, -2, 0, 2, -1, 0, 1].map((x) => x / 8)],
    laplacian: () => ["Laplacian", [0, 1, 0, 1, -4, 1, 0, 1, 0]],
    trained: () => {
      turn = (turn + 1) % channels.length;
      const name = `trained (channel ${channels[turn] + 1} in the record ${record})`;
      return [name, Array.from(trained.subarray(9 * turn, 9 * turn + 9))];
    },
    random: () => {
      const draw = () => Math.round(50 * normal(random)) / 100;
      return ["random", Array.from({ length: 9 }, draw)];
    },
  };

  const chosen = { preset: "sobelV", name: "", kernel: [] };
  const choices = {};
  for (const select of root.querySelectorAll("select")) choices[select.name] = select;
  const option = (name) => choices[name].value;

  /* Everything that follows from the choices. */
  function compute() {
    const prolongation = option("prolongation");
    const images = [...digits[Number(option("digit"))].images];
    if (option("images") === "prolonged") {
      for (const i of [1, 2]) images[i] = prolong(images[i - 1], SIZES[i - 1], prolongation);
    }
    const once = refine(chosen.kernel, prolongation);
    const kernels = {
      copied: SIZES.map(() => chosen.kernel),
      refined: [chosen.kernel, once, refine(once, prolongation)],
    };
    const result = { images, kernels, operators: {}, responses: {}, differences: {} };
    for (const row of ROWS) {
      result.operators[row] = kernels[row].map((kernel, i) =>
        toOperators(kernel, 0.5 ** i, option("basis")));
      const responses = kernels[row].map((kernel, i) => correlate(images[i], SIZES[i], kernel));
      result.responses[row] = responses;
      result.differences[row] = responses.map((y, i) => difference(y, SIZES[i], responses[0]));
    }
    Object.assign(result, { parts: split(images[1], kernels, prolongation), gains: gains(kernels, option("axis")) });
    return result;
  }

  /* ---- What is shown ---- */

  const range = (values) => [Math.min(...values), Math.max(...values)];
  const largest = (values) => Math.max(...range(values).map(Math.abs));
  const find = (selector) => root.querySelector(selector);
  const inputs = [...root.querySelectorAll("input[type=number]")];
  const presets = [...root.querySelectorAll("button[data-preset]")];

  function paint(canvas, values, n, colour, label) {
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(n, n);
    values.forEach((value, i) => {
      const [r, g, b] = colour(value);
      picture.data[4 * i] = r;
      picture.data[4 * i + 1] = g;
      picture.data[4 * i + 2] = b;
      picture.data[4 * i + 3] = 255;
    });
    context.putImageData(picture, 0, 0);
    canvas.setAttribute("aria-label", label);
  }

  /* The numbers of a kernel, on the colours of its own scale. */
  function table(kernel, label) {
    const places = decimals(kernel), size = largest(kernel) || 1;
    const cell = (x) => {
      const rgb = diverging(x / size);
      return `<td style="background:rgb(${rgb});color:${inkOn(rgb)}">${bare(fixed(x, places))}</td>`;
    };
    const row = (i) => `<tr>${kernel.slice(3 * i, 3 * i + 3).map(cell).join("")}</tr>`;
    return `<table class="xp-stencil" aria-label="${label}"><tbody>${[0, 1, 2].map(row).join("")}`
      + "</tbody></table>";
  }

  function showResponses(result) {
    const label = digits[Number(option("digit"))].label;
    const all = Math.max(...ROWS.flatMap((row) => result.responses[row].map(largest)));
    result.images.forEach((image, i) => {
      const n = SIZES[i], ink = (x) => Array(3).fill(Math.round(253 - 233 * x));
      const [low, high] = range(image);
      const said = `The digit ${label} on ${n} by ${n} pixels, ink from ${number(low)} to ${number(high)}.`;
      paint(find(`[data-picture="digit-${n}"]`), image, n, ink, said);
    });
    for (const row of ROWS) SIZES.forEach((n, i) => {
      const values = result.responses[row][i], [low, high] = range(values);
      const size = (option("scale") === "all" ? all : largest(values)) || 1;
      const kind = i ? `${row} kernel` : "kernel";
      const places = decimals([low, high]);
      const bounds = `${fixed(low, places)} to ${fixed(high, places)}`;
      const said = `Response of the ${kind} at ${n} by ${n} pixels: values from ${bounds}.`;
      paint(find(`[data-picture="${row}-${n}"]`), values, n, (x) => diverging(x / size), said);
      const how = ["Kernel on", `${row === "copied" ? "Copied" : "Refined"} kernel on`][Math.min(i, 1)];
      find(`[data-kernel="${row}-${n}"]`).innerHTML =
        table(result.kernels[row][i], `${how} ${n} by ${n}`);
      find(`[data-range="${row}-${n}"]`).textContent = bounds;
      const off = find(`[data-difference="${row}-${n}"]`);
      if (off) off.textContent = percent(result.differences[row][i]);
    });
    const [left, right] = option("scale") === "all"
      ? [number(-all), number(all)] : ["−largest", "largest of each"];
    find("[data-scale=low]").textContent = left;
    find("[data-scale=high]").textContent = right;
  }

  const NAMES = {
    rows: { image: "The image", copied: "Response of the copied kernel", refined: "Response of the refined kernel" },
    parts: { whole: "x", smooth: "P R x", rest: "x − P R x" },
  };
  const board = find("[data-parts]");
  board.innerHTML = Object.values(NAMES.parts).map((name) => `<p class="kx-head">${name}</p>`).join("")
    + Object.entries(NAMES.rows).map(([row, name]) => `<p class="kx-row">${name}</p>` + PARTS.map((part) =>
      `<div><canvas role="img" data-part="${row}-${part}"></canvas><p class="kx-note" data-share="${row}-${part}"></p></div>`).join("")).join("");

  function showParts({ parts: { rows, shares } }) {
    for (const [row, three] of Object.entries(rows)) {
      const size = Math.max(...three.map(largest)) || 1;
      three.forEach((values, i) => {
        const share = percent(shares[row][i]), name = `${row}-${PARTS[i]}`, what = NAMES.parts[PARTS[i]];
        find(`[data-share=${name}]`).textContent = share;
        paint(find(`[data-part=${name}]`), values, SIZES[1], (x) => diverging(x / size),
          `${NAMES.rows[row]}, ${what}: its norm is ${share} of that for x.`);
      });
    }
  }

  const CURVES = [["original", "tg-past"], ["copied", "xp-transfer"], ["refined", "xp-multigrid"]];
  function showGains({ gains: curves }) {
    const place = find("[data-gains]"), width = Math.max(260, place.clientWidth || 320);
    const [x0, y0, w, h] = [46, 30, width - 60, 130], top = Math.max(...Object.values(curves).flat()) || 1;
    const text = (x, y, content, anchor) => svg("text", { x, y, "text-anchor": anchor }, content);
    const at = (value) => y0 + h - value / top * h / 1.05;
    const line = (kind, points) => svg("polyline", { class: kind, points });
    const apart = Math.min(130, (width - 8) / 3);
    place.innerHTML = svg("svg", {
      viewBox: `0 0 ${width} 200`, role: "img", "aria-label": `Frequency response along ${option("axis")}: at the Nyquist `
        + `frequency of its own grid ${CURVES.map(([name]) => `${number(curves[name].at(-1), top)} (${name})`).join(", ")}.`,
    }, CURVES.map(([name, kind], i) => line(kind, `${i * apart},12 ${i * apart + 20},12`) + text(i * apart + 24, 16, name, "start")).join("")
      + [0, 1].map((t) => text(x0 - 6, at(t * top) + 4, number(t * top, top), "end")).join("")
      + svg("line", { class: "tg-zero", x1: x0 + w / 2, x2: x0 + w / 2, y1: y0, y2: y0 + h })
      + svg("rect", { class: "tg-axis", x: x0, y: y0, width: w, height: h })
      + CURVES.map(([name, kind]) => line(kind, curves[name].map((value, i) =>
        `${(x0 + i * w / POINTS).toFixed(1)},${at(value).toFixed(1)}`).join(" "))).join("")
      + text(x0, y0 + h + 15, "0", "middle") + text(x0 + w / 2, y0 + h + 15, "14×14", "middle")
      + text(x0 + w, y0 + h + 15, "28×28", "end")
      + text(x0 + w / 2, y0 + h + 34, `frequency along ${option("axis")} (ticks: Nyquist frequencies)`, "middle"));
  }

  function showOperators(result) {
    const size = largest(result.operators.copied[0]) || 1;
    const columns = [["copied", 0], ["copied", 1], ["copied", 2], ["refined", 1], ["refined", 2]];
    find("[data-operators]").querySelectorAll("tr").forEach((row, p) => {
      row.querySelectorAll("td").forEach((cell, column) => {
        const [kind, i] = columns[column];
        cell.textContent = bare(number(result.operators[kind][i][p], size));
      });
    });
    const coarse = result.operators.copied[0];
    const there = coarse.map((beta) => Math.abs(beta) > 1e-9 * size);
    const count = (kind, test) => result.operators[kind][2].filter(test).length;
    const same = (beta, p) => Math.abs(beta - coarse[p]) <= 1e-9 * size;
    const kept = ROWS.map((kind) => count(kind, (beta, p) => there[p] && same(beta, p)));
    const added = count("refined", (beta, p) => !there[p] && !same(beta, p));
    const present = there.filter(Boolean).length;
    find("[data-kept]").textContent =
      `Of the ${present} operators in this kernel, copying to 56×56 keeps the β of ${kept[0]} and `
      + `refining that of ${kept[1]}${added ? `, and adds ${added} that were not there` : ""}.`;
  }

  function showChoices() {
    inputs.forEach((input, i) => {
      if (document.activeElement === input && Number(input.value) === chosen.kernel[i]) return;
      input.value = Math.round(1e4 * chosen.kernel[i]) / 1e4;
      input.removeAttribute("aria-invalid");
    });
    for (const button of presets) {
      button.setAttribute("aria-pressed", String(button.dataset.preset === chosen.preset));
    }
  }

  function summary({ differences }) {
    const off = (row, i) => percent(differences[row][i]);
    return `Kernel: ${chosen.name}; P: ${option("prolongation")}. Averaged down to 14×14, the copied kernel's `
      + `response is off by ${off("copied", 1)} on 28×28 and by ${off("copied", 2)} on 56×56, the refined `
      + `kernel's by ${off("refined", 1)} and ${off("refined", 2)}.`;
  }

  let current, timer;
  function update() {
    current = compute();
    showChoices();
    showResponses(current);
    showOperators(current);
    showParts(current);
    showGains(current);
    clearTimeout(timer); /* A screen reader hears where the reader stopped, not every key. */
    timer = setTimeout(() => { find("[role=status]").textContent = summary(current); }, 300);
  }

  function choose(preset) {
    find("[data-refused]").textContent = "";
    [chosen.name, chosen.kernel] = PRESETS[preset]();
    chosen.preset = preset;
    update();
  }

  /* ---- What the reader does ---- */

  digits.forEach(({ label }, i) => choices.digit.add(new Option(String(label), String(i))));
  presets.forEach((button) => button.addEventListener("click", () => choose(button.dataset.preset)));
  Object.values(choices).forEach((select) => select.addEventListener("change", update));
  const refused = find("[data-refused]");
  function set(i, value) {
    chosen.kernel = chosen.kernel.map((old, j) => (i === j ? value : old));
    Object.assign(chosen, { preset: "", name: "edited" });
    refused.textContent = "";
    inputs[i].removeAttribute("aria-invalid");
    update();
  }
  function refuse(i, what) {
    refused.textContent = `${what} was refused: a cell takes a number from ${fixed(-LIMIT, 0)} to ${fixed(LIMIT, 0)}. `
      + `Row ${Math.floor(i / 3) + 1}, column ${i % 3 + 1} keeps ${number(chosen.kernel[i], 1e-3)}.`;
  }

  /* One step of a drag or of an arrow key: a tenth of the power of ten of the largest weight. */
  const unit = () => 10 ** (Math.floor(Math.log10(largest(chosen.kernel) || 1)) - 1);
  function move(i, from, by) {
    const value = Math.min(LIMIT, Math.max(-LIMIT, Number((from + by).toPrecision(10))));
    inputs[i].value = Math.abs(value) < 1e-9 * Math.abs(by) ? 0 : value;
    set(i, Number(inputs[i].value));
  }

  inputs.forEach((input, i) => {
    let held = null;
    input.addEventListener("beforeinput", (event) => { /* A browser drops letters without a word. */
      if (/[^\d.,eE+-]/.test(event.data || "")) refuse(i, `“${event.data}”`);
    });
    input.addEventListener("input", () => {
      const value = input.value.trim() === "" ? NaN : Number(input.value);
      if (Math.abs(value) <= LIMIT) return set(i, value);
      input.setAttribute("aria-invalid", "true");
      refuse(i, input.value ? `“${input.value}”` : input.validity.badInput ? "A text that is no number" : "An empty cell");
    });
    input.addEventListener("change", showChoices); /* A refused value gives way to the number in use. */
    input.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      move(i, chosen.kernel[i], by * unit() * (event.shiftKey ? 10 : 1));
    });
    input.addEventListener("pointerdown", (event) => {
      if (!event.button) held = { y: event.clientY, from: chosen.kernel[i], unit: unit(), far: false };
    });
    input.addEventListener("pointermove", (event) => {
      if (!held) return;
      const dy = held.y - event.clientY;
      if (!held.far && Math.abs(dy) > 6) {
        held.far = true;
        input.setPointerCapture(event.pointerId);
      }
      if (held.far) move(i, held.from, Math.round(dy / 6) * held.unit);
    });
    for (const kind of ["pointerup", "pointercancel"]) input.addEventListener(kind, () => { held = null; });
  });

  const bar = find("[data-bar]");
  bar.width = 201;
  bar.height = 1;
  for (let x = 0; x <= 200; x++) {
    bar.getContext("2d").fillStyle = `rgb(${diverging(x / 100 - 1)})`;
    bar.getContext("2d").fillRect(x, 0, 1, 1);
  }

  window.kernelExplorer = {
    /* All that is computed now; lists of three are for 14, 28 and 56 pixels. */
    state: () => {
      const plain = (list) => list.map((values) => Array.from(values));
      const each = (rows, how) => Object.fromEntries(ROWS.map((row) => [row, how(rows[row])]));
      const options = Object.fromEntries(Object.keys(choices).map((name) => [name, option(name)]));
      return {
        ...options, name: chosen.name, kernel: [...chosen.kernel], sizes: [...SIZES],
        pictures: plain(current.images), kernels: each(current.kernels, plain),
        operators: each(current.operators, plain), responses: each(current.responses, plain),
        differences: each(current.differences, (list) => [...list]),
        parts: Object.fromEntries(Object.entries(current.parts.rows).map(([row, three]) => [row, plain(three)])),
        shares: current.parts.shares, gains: current.gains,
      };
    },
  };
  new ResizeObserver(() => showGains(current)).observe(root);
  choose("sobelV");
  root.dataset.ready = "true";
})();
