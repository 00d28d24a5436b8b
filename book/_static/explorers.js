/* What the explorers share: numbers as text, pieces of SVG, colours of a diverging scale. */
window.explorers = (() => {
  "use strict";

  /* Three significant digits, a true minus sign; what is rounding dust beside `size` is 0. */
  function number(x, size = 1) {
    if (!Number.isFinite(x)) return "–";
    if (Math.abs(x) <= 1e-9 * size) return "0";
    const small = Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5;
    const text = small ? x.toExponential(1) : String(Number(x.toPrecision(3)));
    return text.replace("e+", "e").replace(/-/g, "−");
  }

  /* A matrix is printed with as many decimals as its largest entry bears, at most 4. */
  function decimals(values) {
    const size = Math.max(...values.map(Math.abs));
    return size > 0 ? Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(size) + 1e-9))) : 0;
  }

  function fixed(x, places) {
    const text = x.toFixed(places);
    return Number(text) === 0 ? "0" : text.replace("-", "−");
  }

  /* −0.25 as −.25, where a table has to fit a narrow screen. */
  const bare = (text) => text.replace(/^(−?)0\./, "$1.");

  const percent = (x) => (Number.isFinite(x) ? `${number(100 * x, 100)} %` : "–");

  /* ColorBrewer's RdBu (Apache 2.0), blue below zero and red above: safe for every colour vision. */
  const RAMP = ["053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7",
    "fddbc7", "f4a582", "d6604d", "b2182b", "67001f"]
    .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

  /* The colour of t in [-1, 1], as [r, g, b]. */
  function diverging(t) {
    const place = (Math.min(1, Math.max(-1, t)) + 1) * (RAMP.length - 1) / 2;
    const low = Math.min(RAMP.length - 2, Math.floor(place));
    return RAMP[low].map((c, i) => Math.round(c + (place - low) * (RAMP[low + 1][i] - c)));
  }

  /* Black or white, whichever contrasts more: at least 4.5 to 1. */
  function inkOn(rgb) {
    const [r, g, b] = rgb.map((c) => (c <= 10.31 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
  }

  /* Markup of one SVG element; text content is ours, never the reader's. */
  function svg(name, attributes, content = "") {
    const list = Object.entries(attributes).map(([key, value]) => ` ${key}="${value}"`).join("");
    return `<${name}${list}>${content}</${name}>`;
  }

  /* Repeatable random numbers in [0, 1) (mulberry32). */
  function generator(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /* Standard normal numbers from uniform ones (Box and Muller). */
  const normal = (random) =>
    Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

  /* Set an explorer up for a challenge, "k=24; press=sweep,sweep": fields by their names, the value
     "last" for the end of a slider, and buttons by the value of one of their data attributes. */
  const PRESSED = ["preset", "step", "units", "view", "pick"];
  function setUp(root, text) {
    for (const part of text.split(";")) {
      const [name, value] = part.split("=").map((word) => word.trim());
      if (name === "press") {
        for (const key of value.split(",")) {
          root.querySelector(PRESSED.map((kind) => `button[data-${kind}="${key}"]`).join()).click();
        }
      } else {
        const field = root.querySelector(`[name="${name}"]`);
        field.value = value === "last" ? field.max : value;
        for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
      }
    }
  }

  /* Each challenge gets a button; an address that ends in #try-2 sets up the second one. */
  addEventListener("DOMContentLoaded", () => {
    const challenges = [...document.querySelectorAll(".xp[data-ready] [data-try]")];
    const start = (challenge) => {
      setUp(challenge.closest(".xp"), challenge.dataset.try);
      challenges.forEach((one) => one.classList.toggle("xp-chosen", one === challenge));
    };
    for (const challenge of challenges) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Set up";
      button.addEventListener("click", () => {
        start(challenge);
        challenge.closest(".xp").scrollIntoView({ block: "start" });
      });
      challenge.append(" ", button);
    }
    const open = () => {
      const asked = /^#try-(\d+)$/.exec(location.hash), challenge = asked && challenges[asked[1] - 1];
      if (challenge) start(challenge);
    };
    addEventListener("hashchange", open);
    open();
  });

  return { number, decimals, fixed, bare, percent, diverging, inkOn, svg, generator, normal };
})();
