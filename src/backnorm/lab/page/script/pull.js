// Part 2, second half: one x is pulled, and every y follows along three paths.

const pull = { which: 0, by: 0.5, cut: { mean: false, variance: false } };
const PATHS = ["direct", "mean", "variance"];
const PULL_ROW = 46;

// Row i: what the pull of one x does to y_i along each path that is not cut, their sum, and the measured slope.
function pulled() {
  const n = batch.x.length;
  const exact = slopes(values => forward(values).xHat, batch.x, pull.which);
  return batch.x.map((_, i) => {
    const parts = paths(batch.x, unit(n, i));
    const kept = PATHS.map(name => (pull.cut[name] ? 0 : parts[name][pull.which]));
    return { kept, whole: sum(kept), measured: exact[i] };
  });
}

function pullRow(row, i, width, scale) {
  const y = 24 + i * PULL_ROW, ring = scale(row.measured * pull.by);
  const group = svg("g", {}, inDrawing(`y_${i + 1}`, 4, y + 5, { class: "name" }),
    svg("line", { class: "axis", x1: 34, x2: width - 8, y1: y + 17, y2: y + 17 }),
    svg("line", { class: "centre", x1: scale(0), x2: scale(0), y1: y - 16, y2: y + 17 }));
  let at = 0;
  row.kept.forEach((part, lane) => {
    const next = at + part * pull.by, height = y + (lane - 1) * 10;
    if (!pull.cut[PATHS[lane]]) {
      group.append(arrow(scale(at), scale(next), height, PATHS[lane]),
        svg("line", { class: "drop", x1: scale(next), x2: scale(next), y1: height, y2: y + 17 }));
    }
    at = next;
  });
  group.append(svg("line", { class: "miss", x1: scale(at), x2: ring, y1: y + 17, y2: y + 17 }),
    svg("circle", { class: "ring", cx: ring, cy: y + 17, r: 6 }), svg("circle", { class: "sum", cx: scale(at), cy: y + 17, r: 3 }));
  return group;
}

function arrow(from, to, y, path) {
  const size = Math.min(6, Math.abs(to - from)) * Math.sign(to - from);
  return svg("g", { class: `arrow ${path}` }, svg("line", { x1: from, x2: to, y1: y, y2: y }),
    svg("path", { d: `M${to} ${y}l${-size} -4v8z` }));
}

segments(byId("pull-which"), batch.x.map((_, j) => {
  const label = html("span");
  label.innerHTML = indexed("x", j);
  return { value: String(j), label };
}), "0", value => { pull.which = Number(value); announce("pull"); });

byId("pull-by").addEventListener("input", event => { pull.by = Number(event.target.value); announce("pull"); });
for (const name of ["mean", "variance"]) {
  byId(`cut-${name}`).addEventListener("change", event => { pull.cut[name] = event.target.checked; announce("pull"); });
}

sized(byId("pull-drawing"), ["batch", "pull"], width => {
  const rows = pulled();
  // No chain of arrows is longer than the direct one, r; the pull of 1 fills the half.
  const reach = (width - 42) / 2 - 10;
  const scale = linear(0, forward(batch.x).r, 34 + (width - 42) / 2, 34 + (width - 42) / 2 + reach);
  const root = canvas(width, rows.length * PULL_ROW + 8);
  root.append(...rows.map((row, i) => pullRow(row, i, width, scale)));
  byId("pull-drawing").replaceChildren(root);
});

listen(["batch", "pull", "words"], () => {
  const rows = pulled();
  byId("pull-by-value").textContent = format(pull.by, 2);
  fill(byId("pull-table"), rows.map((row, i) => [indexed("y", i), ...row.kept, row.whole, row.measured]));
  const worst = rows.map(row => Math.abs(row.whole - row.measured));
  const i = worst.indexOf(Math.max(...worst));
  const cut = pull.cut.mean || pull.cut.variance;
  const verdict = byId("pull-verdict");
  verdict.className = `verdict ${cut ? "bad" : "good"}`;
  say(verdict, cut ? text("pull.wrong", {
    y: indexed("y", i), formula: formatResult(rows[i].whole), measured: formatResult(rows[i].measured), error: format(worst[i]),
  }) : text("pull.right", { x: indexed("x", pull.which) }));
  verdict.dataset.value = String(worst[i]);
});
