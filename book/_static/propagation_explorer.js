/* The propagation explorer: a digit in the layers of three networks, epoch by epoch of retraining.
   Maps and numbers are recorded, by book/tools/propagation_data.py, and nothing is computed here
   but shades of grey. tests/book/test_explorer_of_propagation.py holds the pictures to the record. */
(() => {
  "use strict";
  const root = document.getElementById("propagation-explorer");
  const here = document.currentScript.src;
  if (!root || !window.explorers || !window.propagationData) return;
  const { number, percent } = window.explorers;
  const studies = window.propagationData;
  const ARMS = ["new", "transfer", "multigrid"]; /* as in the records */
  const NAMES = { new: "random", transfer: "copied", multigrid: "Galerkin" };
  const LAYERS = [0, 1];
  const LEVELS = 31; /* of grey beyond black: pixels are digits to base 32 */

  const find = (selector) => root.querySelector(selector);
  const choices = {};
  for (const field of root.querySelectorAll("select, input")) choices[field.name] = field;
  const option = (name) => choices[name].value;
  const now = { images: option("images") }; /* The study shown; the one chosen may still be on its way. */

  /* ---- The record ---- */

  const levels = (text) => Uint8Array.from(text, (digit) => parseInt(digit, 32));

  /* Maps of all epochs: the first as it is, then differences modulo 32 to the one before. */
  const decoded = new Map();
  function epochs(text, size) {
    if (!decoded.has(text)) {
      const all = levels(text);
      for (let i = size; i < all.length; i++) all[i] = (all[i] + all[i - size]) % (LEVELS + 1);
      decoded.set(text, all);
    }
    return decoded.get(text);
  }

  /* The largest value of a layer, over the maps shown in all networks and epochs. */
  const layerMost = (digit, layer) => Math.max(...ARMS.flatMap((arm) => digit[arm].largest[layer].flat()));

  /* All that is shown now. */
  function compute() {
    const study = studies[now.images], digit = study.digits[option("digit")];
    const epoch = Number(option("epoch")), size = study.side ** 2;
    const maps = ARMS.flatMap((arm) => LAYERS.flatMap((layer) => study.channels[layer].map((channel, k) => {
      const largest = digit[arm].largest[layer][k][epoch];
      return {
        arm, layer, channel, k, largest,
        white: option("white") === "own" ? largest : layerMost(digit, layer),
        levels: epochs(digit[arm].maps[layer][k], size).subarray(epoch * size, (epoch + 1) * size),
      };
    })));
    const rows = ARMS.map((arm) => ({
      arm, accuracy: study.accuracy[arm][epoch], answer: digit[arm].answers[epoch], changed: digit[arm].changed[epoch],
    }));
    return { study, digit, epoch, last: study.counts.length - 1, maps, rows };
  }

  /* ---- Pictures and words ---- */

  /* `strength`: the share of white that the highest level has. */
  function paint(canvas, side, values, strength = 1) {
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d"), picture = context.createImageData(side, side);
    values.forEach((level, i) => {
      const grey = Math.round(255 * strength * level / LEVELS);
      picture.data.set([grey, grey, grey, 255], 4 * i);
    });
    context.putImageData(picture, 0, 0);
  }

  const when = ({ epoch, last }) => (epoch === 0 ? "not yet begun" : `after epoch ${epoch} of ${last}`);
  const moment = ({ epoch }) => (epoch === 0 ? "before retraining" : `after epoch ${epoch}`);
  const each = (rows, text) => rows.map((row) => `${text(row)} (${NAMES[row.arm]})`).join(", ");

  function summary({ rows, epoch, last }) {
    if (epoch === 0) return `Before retraining, validation accuracy is ${each(rows, (r) => percent(r.accuracy[1] / 100))}.`;
    return `After epoch ${epoch} of ${last}, validation accuracy is ${each(rows, (r) => percent(r.accuracy[1] / 100))}; `
      + `since then, the maps of layer 2 have changed by ${each(rows, (r) => percent(r.changed[1]))}.`;
  }

  function showTable({ study, epoch, rows }) {
    const [training, validation] = study.counts[epoch].map((count) => count.toLocaleString("en"));
    find("#px-numbers").textContent = `${epoch === 0 ? "Before retraining" : `After epoch ${epoch}`}, in trial ${study.trial} of the record ${study.record} (run again): `
      + `accuracy on ${training} training and ${validation} validation images, and results for the digit shown.`;
    find("[data-numbers]").innerHTML = rows.map(({ arm, accuracy, answer, changed }) => `<tr><th scope="row">${NAMES[arm]}</th>`
      + [...accuracy.map((a) => percent(a / 100)), `${answer[0]} (${percent(answer[1])})`, ...changed.map(percent)]
        .map((text) => `<td>${text}</td>`).join("") + "</tr>").join("");
  }

  let current, timer;
  function update() {
    current = compute();
    const { study, digit, maps } = current;
    paint(find("[data-input]"), study.side, levels(digit.image));
    find("[data-input]").setAttribute("aria-label", `The input, a ${digit.label}, ${study.side} by ${study.side} pixels.`);
    for (const map of maps) {
      const figure = find(`[data-maps=${map.arm}-${map.layer}]`).children[map.k], canvas = figure.firstChild;
      const dark = map.levels.filter((level) => level === 0).length / map.levels.length;
      const most = map.largest > 0 ? number(map.largest) : "0";
      paint(canvas, study.side, map.levels, map.white > 0 ? map.largest / map.white : 0);
      canvas.setAttribute("aria-label", `${NAMES[map.arm]} initialisation, layer ${map.layer + 1}, channel ${map.channel}, ${moment(current)}: `
        + (map.largest > 0 ? `largest value ${most}, ${percent(dark)} of the map is black or nearly so.` : "0 everywhere."));
      figure.lastChild.innerHTML = `<span>ch. ${map.channel}:</span> <span>${most}</span>`;
    }
    for (const layer of LAYERS) {
      find(`[data-white="${layer}"]`).textContent = option("white") === "own"
        ? "of each network; white is each map’s own maximum"
        : `of each network; white is ${number(layerMost(digit, layer))}, the maximum here over networks and epochs`;
    }
    find("[data-value=epoch]").textContent = when(current);
    choices.epoch.setAttribute("aria-valuetext", when(current));
    showTable(current);
    clearTimeout(timer); /* A screen reader hears where the reader stopped, not every step. */
    timer = setTimeout(() => { find("[role=status]").textContent = summary(current); }, 300);
  }

  /* ---- What the reader does ---- */

  /* The page comes with one study; the other is asked for when it is chosen. */
  function choose() {
    const images = option("images");
    if (studies[images]) {
      now.images = images;
      update();
      return;
    }
    const script = document.createElement("script");
    script.src = new URL(`propagation_data_${images}.js`, here);
    script.onload = script.onerror = () => {
      script.remove();
      if (option("images") !== images) return; /* The reader has gone back meanwhile. */
      if (studies[images]) {
        choose();
        return;
      }
      choices.images.value = now.images;
      clearTimeout(timer);
      find("[role=status]").textContent = "The other study could not be loaded; choose it again to try once more.";
    };
    document.head.append(script);
  }

  const opening = studies[now.images];
  choices.digit.innerHTML = opening.digits.map(({ label }, i) => `<option value="${i}">a ${label}</option>`).join("");
  choices.epoch.max = opening.counts.length - 1;
  for (const arm of ARMS) {
    for (const layer of LAYERS) {
      find(`[data-maps=${arm}-${layer}]`).innerHTML = opening.channels[layer]
        .map(() => '<div><canvas role="img"></canvas><p class="kx-note"></p></div>').join("");
    }
  }
  for (const name of ["digit", "white", "epoch"]) choices[name].addEventListener("input", update);
  choices.images.addEventListener("change", choose);

  window.propagationExplorer = {
    state: () => ({
      images: now.images, record: current.study.record, digit: current.digit.label, epoch: current.epoch, rows: current.rows,
      maps: current.maps.map((map) => ({ ...map, levels: [...map.levels] })),
    }),
  };
  update();
  find("[role=status]").textContent = summary(current);
  root.dataset.ready = "true";
})();
