/* How the surface explorer draws: maps with contours, profiles along the radius, and a box with one scale of heights, a mesh in it, and what is marked.
   `seen` is what two surfaces share: turn and tilt in degrees, the half width shown, level(height)
   in [0, 1] and ticks. A surface brings its mesh of heights, and points as [x, y, height]. */
window.surfaceView = (() => {
  "use strict";
  const { number } = window.explorers;

  /* Matplotlib's cividis (CC0): dark is low, light is high, for every colour vision. */
  const RAMP = ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838"]
    .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  function colour(t) {
    const place = Math.min(1, Math.max(0, t)) * (RAMP.length - 1), low = Math.min(RAMP.length - 2, Math.floor(place));
    return `rgb(${RAMP[low].map((c, i) => Math.round(c + (place - low) * (RAMP[low + 1][i] - c)))})`;
  }

  const RISE = 1.5, CORNER = Math.SQRT2, SIDE_MARGIN = 42, FOOT = 44, SQUAT = 2.75;

  /* Parallel projection: x, y in [-1, 1], z in [0, 1] to pixels, and how far away that is. */
  function camera(width, { turn: turned, tilt: tilted }) {
    const turn = turned * Math.PI / 180, tilt = tilted * Math.PI / 180;
    const fits = (width - 2 * SIDE_MARGIN) / (2 * CORNER), tall = Math.round(fits * SQUAT + FOOT);
    const size = fits * Math.min(1, SQUAT / (RISE * Math.cos(tilt) + 2 * CORNER * Math.sin(tilt)));
    const middle = (tall - FOOT) / 2 + 8;
    const project = (x, y, z) => {
      const across = x * Math.cos(turn) - y * Math.sin(turn), away = x * Math.sin(turn) + y * Math.cos(turn);
      const up = (z - 0.5) * RISE * Math.cos(tilt) + away * Math.sin(tilt);
      return [width / 2 + size * across, middle - size * up, away];
    };
    return { project, size, tall, tilt };
  }

  const trace = (context, points) => {
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  };

  /* Floor, the two walls behind with a line at every round height, and what the axes are. */
  function drawBox(context, { project, tilt }, seen, ink) {
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
    const away = corners.map(([x, y]) => project(x, y, 0)[2]);
    const far = away.indexOf(Math.max(...away)), near = (far + 2) % 4;
    const sides = [corners[(far + 3) % 4], corners[far], corners[(far + 1) % 4]];
    context.lineWidth = 1;
    context.strokeStyle = ink.line;
    trace(context, [...corners, corners[0]].map(([x, y]) => project(x, y, 0)));
    context.stroke();
    for (const [x, y] of sides) {
      trace(context, [project(x, y, 0), project(x, y, 1)]);
      context.stroke();
    }
    const [left] = [sides[0], sides[2]].sort((a, b) => project(...a, 0)[0] - project(...b, 0)[0]);
    context.fillStyle = ink.text;
    let free = Infinity;
    for (const h of seen.ticks) {
      const z = seen.level(h), [x, y] = project(...left, z);
      trace(context, sides.map((corner) => project(...corner, z)));
      context.stroke();
      if (Math.cos(tilt) < 0.2 || free - y < 13) continue;
      context.textAlign = "right";
      context.fillText(number(h), x - 5, y + 4);
      free = y;
    }
    const labels = [(near + 3) % 4, (near + 1) % 4].map((other) => {
      const [a, b] = [corners[near], corners[other]];
      const name = a[1] === b[1] ? "direction 1" : "direction 2";
      const [x, y] = project((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, 0);
      return { name: `${name}, ±${number(seen.shown)}`, x, y: y + 20 };
    }).sort((a, b) => a.x - b.x);
    const wide = labels.map(({ name }) => context.measureText(name).width);
    const width = context.canvas.clientWidth;
    labels.forEach((label, i) => {
      const low = wide[i] / 2 + 2;
      label.x = Math.min(width - low, Math.max(low, label.x + (i ? 34 : -34)));
    });
    const apart = labels[1].x - labels[0].x, level = Math.abs(labels[1].y - labels[0].y);
    if (apart < (wide[0] + wide[1]) / 2 + 6 && level < 14) labels[1].y = labels[0].y + 15;
    context.textAlign = "center";
    for (const { name, x, y } of labels) context.fillText(name, x, y);
  }

  function drawMesh(context, { project, size }, { along, mesh, apart }, seen, ink) {
    const lines = size * apart / seen.shown > 5; /* Closer ones would hide the colours. */
    const corner = (i, j) => project(along[i].t / seen.shown, along[j].t / seen.shown, seen.level(mesh[i][j]));
    const screen = mesh.map((row, i) => row.map((_, j) => corner(i, j)));
    const faces = [];
    for (let i = 0; i + 1 < along.length; i++) for (let j = 0; j + 1 < along.length; j++) {
      const ring = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const points = ring.map(([p, q]) => screen[p][q]);
      const mean = ring.reduce((sum, [p, q]) => sum + seen.level(mesh[p][q]), 0) / 4;
      faces.push({ i, j, points, mean, away: points.reduce((sum, point) => sum + point[2], 0) });
    }
    faces.sort((a, b) => b.away - a.away); /* The nearer hides the farther. */
    for (const { i, j, points: [a, b, c, d], mean } of faces) {
      trace(context, [a, b, c, d, a]);
      context.fillStyle = context.strokeStyle = colour(mean);
      context.lineWidth = 0.7;
      context.fill();
      context.stroke();
      context.strokeStyle = mean < 0.45 ? ink.meshOnDark : ink.meshOnLight;
      for (const [line, from, to] of [
        [along[i].line, a, d], [along[i + 1].line, b, c], [along[j].line, a, b], [along[j + 1].line, d, c],
      ]) {
        if (!line || !lines) continue;
        trace(context, [from, to]);
        context.stroke();
      }
    }
  }

  /* The circle, the network itself and the marked point, over the surface. */
  function drawMarks(context, { project }, { ring, middle, marked }, seen, ink) {
    const spot = ([x, y, h]) => project(x / seen.shown, y / seen.shown, seen.level(h));
    const twice = (width, outer, draw) => [[width + 2, ink.back], [width, outer]].forEach(([line, style]) => {
      context.lineWidth = line;
      context.strokeStyle = style;
      draw();
      context.stroke();
    });
    if (ring) {
      const round = ring.map(spot);
      context.setLineDash([5, 4]);
      twice(1.5, ink.text, () => trace(context, [...round, round[0]]));
      context.setLineDash([]);
    }
    const [x, y] = spot(middle);
    twice(2, ink.text, () => {
      context.beginPath();
      context.moveTo(x - 6, y);
      context.lineTo(x + 6, y);
      context.moveTo(x, y - 6);
      context.lineTo(x, y + 6);
    });
    if (!marked) return;
    const [u, v] = spot(marked), [, floor] = project(marked[0] / seen.shown, marked[1] / seen.shown, 0);
    trace(context, [[u, v], [u, floor]]);
    context.lineWidth = 1;
    context.strokeStyle = ink.accent;
    context.stroke();
    twice(2.5, ink.accent, () => {
      context.beginPath();
      context.arc(u, v, 6, 0, 2 * Math.PI);
    });
  }

  /* An empty canvas of this size, and the colours that `root` has now. */
  const widthOf = (canvas) => canvas.parentElement.clientWidth || 320;
  function prepare(root, canvas, tall) {
    const density = window.devicePixelRatio || 1, context = canvas.getContext("2d");
    canvas.style.height = `${tall}px`;
    canvas.width = Math.round(widthOf(canvas) * density);
    canvas.height = Math.round(tall * density);
    context.scale(density, density);
    const style = getComputedStyle(root), css = (name) => style.getPropertyValue(name).trim();
    context.font = `12px ${style.fontFamily}`;
    context.lineJoin = "round";
    return [context, {
      text: css("--xp-text"), line: css("--xp-line"), back: css("--xp-back"), accent: css("--xp-accent"),
      other: css("--xp-other"), coarse: css("--xp-coarse"),
      transfer: css("--xp-transfer"), multigrid: css("--xp-multigrid"), meshOnDark: "rgba(255, 255, 255, 0.45)", meshOnLight: "rgba(0, 0, 0, 0.45)",
    }];
  }

  const write = (context, text, x, y, align) => {
    context.textAlign = align;
    context.fillText(text, x, y);
  };
  /* A white line on a black one is seen on every colour of a map. */
  function outlined(context, width, draw) {
    for (const [line, style] of [[width + 2, "#000"], [width, "#fff"]]) {
      context.lineWidth = line;
      context.strokeStyle = style;
      draw();
    }
  }

  /* Where a contour can carry its label: inside the map, on the first ray that meets it there. */
  function labelled({ ratio }, level, shown) {
    for (const degree of [45, 225, 135, 315, 0, 90, 180, 270]) {
      const angle = degree * Math.PI / 180, [c, d] = [Math.cos(angle), Math.sin(angle)];
      for (let r = 0.02; r * Math.max(Math.abs(c), Math.abs(d)) < 0.9; r += 0.01) {
        if (ratio(shown * r * c, shown * r * d) >= level) return [r * c, r * d];
      }
    }
    return null;
  }

  const BLOCK = 4;
  /* One map: colours of the ratio to the centre, a line at each level. */
  function paintMap(root, canvas, s, seen, unit) {
    const [left, foot] = [44, 40], side = Math.min(widthOf(canvas) - left - 14, 300);
    const [context, ink] = prepare(root, canvas, side + foot + 6), end = s.along.at(-1).t * (1 + 1e-9);
    const spot = (x, y) => [left + (x / seen.shown + 1) * side / 2, 6 + (1 - y / seen.shown) * side / 2];
    for (let p = 0; p < side; p += BLOCK) for (let q = 0; q < side; q += BLOCK) {
      const x = ((p + BLOCK / 2) / side * 2 - 1) * seen.shown, y = (1 - (q + BLOCK / 2) / side * 2) * seen.shown;
      if (Math.max(Math.abs(x), Math.abs(y)) > end) continue;
      context.fillStyle = colour(seen.shade(s.ratio(x, y)));
      context.fillRect(left + p, 6 + q, Math.min(BLOCK, side - p), Math.min(BLOCK, side - q));
    }
    for (const [, segments] of s.contours) {
      outlined(context, 1.5, () => {
        context.beginPath();
        for (const [a, b] of segments) {
          context.moveTo(...spot(...a));
          context.lineTo(...spot(...b));
        }
        context.stroke();
      });
    }
    const [x, y] = spot(0, 0);
    context.setLineDash([5, 4]);
    outlined(context, 1, () => {
      context.beginPath();
      context.arc(x, y, side / 4, 0, 2 * Math.PI);
      context.stroke();
    });
    context.setLineDash([]);
    outlined(context, 2, () => {
      trace(context, [[x - 6, y], [x + 6, y]]);
      context.stroke();
      trace(context, [[x, y - 6], [x, y + 6]]);
      context.stroke();
    });
    context.textAlign = "center";
    for (const [level, segments] of s.contours) {
      const at = segments.length && labelled(s, level, seen.shown);
      if (!at) continue;
      const [u, v] = spot(at[0] * seen.shown, at[1] * seen.shown);
      context.fillStyle = "#fff";
      context.fillRect(u - 15, v - 9, 30, 18);
      context.fillStyle = "#000";
      context.fillText(`×${level}`, u, v + 4);
    }
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.strokeRect(left, 6, side, side);
    context.fillStyle = ink.text;
    [-seen.shown, 0, seen.shown].forEach((t, i) => {
      write(context, number(t), left + i * side / 2, side + 21, ["left", "center", "right"][i]);
      write(context, number(t), left - 5, 6 + (1 - i / 2) * side + [0, 4, 9][i], "right");
    });
    write(context, `direction 1, ${unit}`, left + side / 2, side + 38, "center");
    context.save();
    context.translate(12, 6 + side / 2);
    context.rotate(-Math.PI / 2);
    write(context, "direction 2", 0, 0, "center");
    context.restore();
  }

  /* Both profiles on one logarithmic axis, with a line at each level of the contours. */
  function paintProfile(root, canvas, seen, unit, marks) {
    const [left, tall, foot] = [44, 190, 38], wide = widthOf(canvas) - left - 14, high = tall - foot - 8;
    const [context, ink] = prepare(root, canvas, tall);
    const spot = (radius, ratio) => [left + radius / seen.shown * wide, 8 + (1 - seen.shade(ratio)) * high];
    context.lineWidth = 1;
    context.fillStyle = ink.text;
    context.strokeStyle = ink.line;
    for (const mark of marks) write(context, `×${number(mark)}`, left - 5, spot(0, mark)[1] + 4, "right");
    for (const [level] of seen.pair[0].contours) {
      if (level > seen.high) continue;
      trace(context, [spot(0, level), spot(seen.shown, level)]);
      context.stroke();
    }
    context.strokeRect(left, 8, wide, high);
    for (let i = 0; i <= 4; i++) {
      write(context, number(seen.shown * i / 4), left + wide * i / 4, tall - foot + 15, i < 4 ? "center" : "right");
    }
    write(context, `distance from the centre, ${unit}`, left + wide / 2, tall - 4, "center");
    seen.pair.forEach(({ rings, network }, i) => {
      const style = ink[network];
      trace(context, [...rings.map(([r, , low]) => spot(r, low)), ...rings.map(([r, , , top]) => spot(r, top)).reverse()]);
      context.globalAlpha = 0.18;
      context.fillStyle = style;
      context.fill();
      context.globalAlpha = 1;
      trace(context, rings.map(([r, mean]) => spot(r, mean)));
      context.setLineDash(i ? [7, 4] : []);
      context.lineWidth = 2.5;
      context.strokeStyle = style;
      context.stroke();
    });
    context.setLineDash([]);
  }

  function paintRamp(canvas) {
    const context = canvas.getContext("2d");
    [canvas.width, canvas.height] = [200, 1];
    for (let x = 0; x < 200; x++) {
      context.fillStyle = colour(x / 199);
      context.fillRect(x, 0, 1, 1);
    }
  }

  /* Draw one surface in the colours that `root` has now. */
  function paint(root, canvas, s, seen) {
    const view = camera(widthOf(canvas), seen), [context, ink] = prepare(root, canvas, view.tall);
    drawBox(context, view, seen, ink);
    drawMesh(context, view, s, seen, ink);
    drawMarks(context, view, s, seen, ink);
  }

  return { camera, paint, paintMap, paintProfile, paintRamp };
})();
