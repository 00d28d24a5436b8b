/* A kernel that slides over a small image, with the dot product of each place written out: the
   correlation of torch.nn.functional.conv2d with zeros around the image, as tests/book/test_pictures.py checks. */
(() => {
  "use strict";
  const root = document.getElementById("sliding-explorer");
  if (!root || !window.explorers) return;
  const { diverging, inkOn, fixed } = window.explorers;

  const KERNELS = {
    slope: [-1, 0, 1, -1, 0, 1, -1, 0, 1],
    down: [-1, -1, -1, 0, 0, 0, 1, 1, 1],
    sum: [1, 1, 1, 1, 1, 1, 1, 1, 1],
    laplacian: [0, 1, 0, 1, -4, 1, 0, 1, 0],
    identity: [0, 0, 0, 0, 1, 0, 0, 0, 0],
  };
  /* A digit 7: ink from 0 to 4. */
  const N = 7;
  const IMAGE = [..."0000000044444000002400001410000420000240000042000"].map(Number);
  const find = (selector) => root.querySelector(selector);
  const field = (name) => find(`[name=${name}]`);

  /* The nine pairs of a weight and a pixel at one place; beyond the image a pixel is 0. */
  function pairs(kernel, row, column) {
    return kernel.map((weight, k) => {
      const r = row + Math.floor(k / 3) - 1, c = column + k % 3 - 1;
      return [weight, r >= 0 && r < N && c >= 0 && c < N ? IMAGE[N * r + c] : 0];
    });
  }
  const dot = (list) => list.reduce((sum, [weight, pixel]) => sum + weight * pixel, 0);

  function compute() {
    const kernel = KERNELS[field("kernel").value], row = field("row").value - 1, column = field("column").value - 1;
    const output = IMAGE.map((_, i) => dot(pairs(kernel, Math.floor(i / N), i % N)));
    return { kernel, row, column, output, pairs: pairs(kernel, row, column), value: output[N * row + column] };
  }

  /* A table of numbers on their colours; `marked` tells which cells get a frame. */
  function table(values, n, label, marked) {
    const size = Math.max(...values.map(Math.abs)) || 1;
    const cell = (x, i) => {
      const rgb = diverging(x / size), kind = marked(Math.floor(i / n), i % n) ? ' class="sl-here"' : "";
      return `<td${kind} style="background:rgb(${rgb});color:${inkOn(rgb)}">${fixed(x, 0)}</td>`;
    };
    const rows = Array.from({ length: values.length / n }, (_, r) =>
      `<tr>${values.slice(n * r, n * r + n).map((x, c) => cell(x, n * r + c)).join("")}</tr>`);
    return `<table class="xp-stencil" aria-label="${label}"><tbody>${rows.join("")}</tbody></table>`;
  }

  const bracket = (x) => (x < 0 ? `(${fixed(x, 0)})` : fixed(x, 0));
  function show() {
    const now = compute(), { row, column } = now;
    const near = (r, c) => Math.abs(r - row) <= 1 && Math.abs(c - column) <= 1;
    find("[data-grid=image]").innerHTML = table(IMAGE, N, "Image, 7 by 7", near);
    find("[data-grid=kernel]").innerHTML = table(now.kernel, 3, "Kernel, 3 by 3", () => false);
    find("[data-grid=output]").innerHTML = table(now.output, N, "Result, 7 by 7", (r, c) => r === row && c === column);
    const terms = now.pairs.map(([weight, pixel]) => `${bracket(weight)}·${pixel}`);
    find("[role=status]").innerHTML = `Row ${row + 1}, column ${column + 1}: `
      + [0, 3, 6].map((k) => `<span>${terms.slice(k, k + 3).join(" + ")}</span>`).join(" + ") + ` = <b>${fixed(now.value, 0)}</b>`;
    for (const name of ["row", "column"]) find(`[data-value=${name}]`).textContent = field(name).value;
  }

  function moveTo(row, column) {
    field("row").value = row + 1;
    field("column").value = column + 1;
    show();
  }
  for (const name of ["kernel", "row", "column"]) field(name).addEventListener("input", show);
  find("[data-next]").addEventListener("click", () => {
    const { row, column } = compute(), next = (N * row + column + 1) % (N * N);
    moveTo(Math.floor(next / N), next % N);
  });
  /* A cell of the image or of the result is a place of the kernel. */
  for (const grid of root.querySelectorAll("[data-grid=image], [data-grid=output]")) {
    grid.addEventListener("click", (event) => {
      const cell = event.target.closest("td");
      if (cell) moveTo(cell.parentElement.rowIndex, cell.cellIndex);
    });
  }

  window.slidingExplorer = { state: () => ({ image: [...IMAGE], ...compute() }) };
  show();
  root.dataset.ready = "true";
})();
