/* The front page's picture: a digit between smoothed and sharp, and what two networks answer.
   Every answer and accuracy is recorded, by book/tools/sharpness_data.py; only the pixels between
   the ends are computed here. tests/book/test_sharpness_explorer.py holds the page to the record. */
(() => {
  "use strict";
  const root = document.getElementById("sharpness-explorer");
  if (!root || !window.explorers || !window.sharpnessData) return;
  const { svg } = window.explorers;
  const { steps, accuracy, digits, side, levels, trial, trials, images, headline, record } = window.sharpnessData;
  const NAMES = { transfer: "copied", multigrid: "Galerkin" };
  const CONDITIONS = Object.keys(NAMES);
  const LAST = steps.length - 1;

  const find = (selector, inside = root) => inside.querySelector(selector);
  const slider = find("[name=step]");
  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
  const means = Object.fromEntries(CONDITIONS.map((name) =>
    [name, steps.map((_, k) => mean(accuracy[name].map((one) => one[k])))]));
  const pixels = (text) => Array.from(text, (digit) => parseInt(digit, 32) / levels);
  const pairs = digits.map(({ smoothed, original }) => [pixels(smoothed), pixels(original)]);

  /* ---- What is shown now ---- */

  /* The class with the highest probability, and whether it is the digit's own. */
  function answer(digit, name, step) {
    const probabilities = digits[digit][name][step].map((p) => p / 1000);
    const guess = probabilities.indexOf(Math.max(...probabilities));
    return { name, probabilities, guess, right: guess === digit };
  }

  /* The page opens with a digit on which the networks part, if there is one among the ten. */
  const parts = (digit) => answer(digit, "transfer", LAST).right && !answer(digit, "multigrid", LAST).right
    && answer(digit, "multigrid", 0).right;
  const opening = digits.findIndex((_, digit) => parts(digit));
  const shown = { digit: Math.max(0, opening), predicted: null };

  const asking = () => root.hasAttribute("data-predict-first") && shown.predicted === null;

  function compute() {
    const step = Number(slider.value), t = steps[step];
    const [smoothed, original] = pairs[shown.digit];
    return {
      digit: shown.digit, step, t,
      pixels: smoothed.map((p, i) => Math.min(1, Math.max(0, p + t * (original[i] - p)))),
      answers: CONDITIONS.map((name) => answer(shown.digit, name, step)),
      accuracy: Object.fromEntries(CONDITIONS.map((name) => [name, means[name][step]])),
      right: Object.fromEntries(CONDITIONS.map((name) =>
        [name, digits.filter((_, digit) => answer(digit, name, step).right).length])),
    };
  }

  /* ---- Pictures and words ---- */

  function paint(canvas, values) {
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d"), picture = context.createImageData(side, side);
    values.forEach((value, i) => {
      const grey = Math.round(255 * value);
      picture.data.set([grey, grey, grey, 255], 4 * i);
    });
    context.putImageData(picture, 0, 0);
  }

  const percent = (share) => `${Math.round(100 * share)} %`;
  const sharpness = (t) => (t === 0 ? "smoothed" : t === 1 ? "sharp" : `${Math.round(100 * t)} % sharp`);

  /* Ten bars, drawn in the pixels that they get, so that their labels keep their size. */
  function bars(place, { name, probabilities, guess, right }, digit) {
    const width = place.clientWidth || 200, height = 88, base = height - 18, gap = width / 10;
    const columns = probabilities.map((p, k) => {
      const x = gap * k, tall = Math.max(p * (base - 4), 1);
      const kind = k === guess ? `sh-bar-guess sh-fill-${name}` : "sh-bar";
      return svg("rect", { x: (x + gap * 0.12).toFixed(1), y: (base - tall).toFixed(1), width: (gap * 0.76).toFixed(1), height: tall.toFixed(1), class: kind })
        + svg("text", { x: (x + gap / 2).toFixed(1), y: height - 4, "text-anchor": "middle", class: k === digit ? "sh-true" : "" }, k);
    });
    place.setAttribute("viewBox", `0 0 ${width} ${height}`);
    place.setAttribute("height", height);
    place.innerHTML = svg("line", { x1: 0, x2: width, y1: base, y2: base, class: "sh-axis" }) + columns.join("");
    place.setAttribute("aria-label", `${NAMES[name]}: ${percent(probabilities[guess])} for ${guess}`
      + (right ? "." : `, ${percent(probabilities[digit])} for ${digit}.`));
  }

  /* The slider's thumb moves over the same pixels as the chart's marker: both leave half a thumb free. */
  const EDGE = 12;
  function chart({ step, accuracy: now }) {
    const place = find("[data-chart]"), width = place.clientWidth || 600, narrow = width < 480;
    const height = narrow ? 190 : 210, top = 26, bottom = height - 22;
    const lowest = Math.max(0, Math.floor((Math.min(...CONDITIONS.flatMap((name) => accuracy[name].flat())) - 8) / 20) * 20);
    const x = (k) => EDGE + steps[k] * (width - 2 * EDGE);
    const y = (a) => bottom - (a - lowest) / (100 - lowest) * (bottom - top);
    const points = (values) => values.map((a, k) => `${x(k).toFixed(1)},${y(a).toFixed(1)}`).join(" ");
    const ticks = [];
    for (let a = lowest; a <= 100; a += 20) ticks.push(a);
    const grid = ticks.map((a) => svg("line", { x1: EDGE, x2: width - EDGE, y1: y(a), y2: y(a), class: "sh-grid" })
      + svg("text", { x: EDGE, y: y(a) - 3, class: "sh-tick" }, `${a} %`));
    const curves = CONDITIONS.map((name) => accuracy[name]
      .map((values) => svg("polyline", { points: points(values), class: `sh-trial sh-line-${name}` })).join("")
      + svg("polyline", { points: points(means[name]), class: `sh-mean sh-line-${name}` }));
    /* The upper label stands above its curve, the lower one where a falling curve leaves room. */
    const left = x(step) > width / 2, [above, below] = [...CONDITIONS].sort((a, b) => now[b] - now[a]);
    const marks = CONDITIONS.map((name) => {
      const at = y(now[name]), free = left && at < bottom - 24;
      const lift = name === above ? -10 : free || y(now[below]) - y(now[above]) < 22 ? 21 : -10;
      return svg("circle", { cx: x(step), cy: at, r: 5, class: `sh-mark sh-fill-${name}` })
        + svg("text", { x: x(step) + (left ? -8 : 8), y: at + lift, "text-anchor": left ? "end" : "start", class: `sh-label sh-ink-${name}` },
          `${NAMES[name]} ${now[name].toFixed(1)} %`);
    });
    place.setAttribute("viewBox", `0 0 ${width} ${height}`);
    place.setAttribute("height", height);
    place.innerHTML = grid.join("") + svg("line", { x1: x(step), x2: x(step), y1: top, y2: bottom, class: "sh-here" })
      + curves.join("") + marks.join("")
      + svg("text", { x: width / 2, y: height - 4, "text-anchor": "middle", class: "sh-tick" }, "accuracy on held-out digits");
    place.setAttribute("aria-label", "Accuracy on held-out digits from smoothed to sharp: "
      + CONDITIONS.map((name) => `${NAMES[name]} from ${means[name][0].toFixed(1)} to ${means[name][LAST].toFixed(1)} %`).join(", ") + ".");
  }

  const verdict = ({ right }) => (right ? "✓ right" : "✗ wrong");

  function summary({ digit, t, answers, accuracy: now }) {
    const each = answers.map(({ name, guess, right }) => `${NAMES[name]} answers ${guess}, ${right ? "right" : "wrong"}`).join("; ");
    return `The ${digit}, ${sharpness(t)}: ${each}. Of all held-out digits at this sharpness, `
      + CONDITIONS.map((name) => `${NAMES[name]} classifies ${now[name].toFixed(1)} % correctly`).join(", ") + ".";
  }

  let current, timer, frame;
  function update() {
    current = compute();
    const { digit, t, answers, right } = current;
    paint(find("[data-digit]"), current.pixels);
    find("[data-digit]").setAttribute("aria-label", `A handwritten ${digit}, ${sharpness(t)}.`);
    for (const one of answers) {
      const card = find(`[data-card=${one.name}]`), said = find("[data-verdict]", card);
      find("[data-class]", card).textContent = one.guess;
      said.textContent = verdict(one);
      said.className = one.right ? "sh-right" : "sh-wrong";
      bars(find("[data-bars]", card), one, digit);
    }
    chart(current);
    find("[data-value]").textContent = percent(t);
    slider.setAttribute("aria-valuetext", sharpness(t));
    for (const button of root.querySelectorAll("[data-pick]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.pick) === digit));
    }
    find("[data-told]").textContent = `Of all held-out digits at this sharpness: ${CONDITIONS.map((name) => `${NAMES[name]} ${current.accuracy[name].toFixed(1)} % right`).join(", ")}. Of the ten digits shown: ${CONDITIONS.map((name) => `${NAMES[name]} ${right[name]}`).join(", ")}; ten are too few to compare networks.`;
    clearTimeout(timer); /* A screen reader hears where the reader stopped, not every step. */
    timer = setTimeout(() => { find("[role=status]").textContent = asking() ? "" : summary(current); }, 300);
  }
  const soon = () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(update); };

  /* ---- What the reader does ---- */

  find(".sh-picker").innerHTML = digits.map((_, digit) => `<button type="button" data-pick="${digit}" aria-label="Show the ${digit}"><canvas></canvas></button>`).join("");
  digits.forEach((_, digit) => paint(find(`[data-pick="${digit}"] canvas`), pairs[digit][1]));
  for (const button of root.querySelectorAll("[data-pick]")) {
    button.addEventListener("click", () => {
      shown.digit = Number(button.dataset.pick);
      update();
    });
  }
  slider.max = LAST;
  slider.addEventListener("input", update);

  /* Students choose an answer before they may move the slider. */
  function ask() {
    find("[data-ask]").hidden = !root.hasAttribute("data-predict-first");
    find("[data-sweep]").hidden = find("[data-told]").hidden = asking();
    for (const button of root.querySelectorAll("[data-predict]")) {
      button.setAttribute("aria-pressed", String(button.dataset.predict === shown.predicted));
    }
  }
  for (const button of root.querySelectorAll("[data-predict]")) {
    button.addEventListener("click", () => {
      shown.predicted = button.dataset.predict;
      ask();
      update();
      slider.focus();
    });
  }
  if (root.hasAttribute("data-predict-first")) slider.value = 0;

  const runs = trials === 1 ? "one trial" : `${trials} trials, each a thin line`;
  const [small, large, heldOut] = images.map((count) => count.toLocaleString("en"));
  const [more, andMore] = headline.map((count) => count.toLocaleString("en"));
  const other = more === small && andMore === large ? "" : ` (those of the headline: ${more} and ${andMore})`;
  find("[data-source]").textContent = `Networks of the record ${record}: they learned from ${small} small and ${large} large images${other}. `
    + `The digits are the first of each class among ${heldOut} held-out ones; their answers are those of trial ${trial}, the curves those of ${runs}.`;

  window.sharpnessExplorer = { state: () => ({ ...current, predicted: shown.predicted }) };
  ask();
  update();
  root.setAttribute("data-ready", "");
  new ResizeObserver(soon).observe(root);
})();
