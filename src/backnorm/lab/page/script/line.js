// Part 2, first half: values on a line that can be dragged, above the same values normalized.

const LINE = { height: 204, above: 62, below: 156, margin: 22 };
const line = drawLine();

function drawLine() {
  const root = canvas(0, LINE.height);
  root.removeAttribute("aria-hidden");
  const add = (tag, attributes) => root.appendChild(svg(tag, attributes));
  const ticks = svg("g", { "aria-hidden": "true" });
  root.append(ticks);
  const bands = [add("line", { class: "band" }), add("line", { class: "band" })];
  const centres = [add("line", { class: "centre" }), add("line", { class: "centre" })];
  const links = batch.x.map(() => add("line", { class: "link" }));
  const images = batch.x.map(() => add("circle", { class: "image", r: 6 }));
  const handles = batch.x.map((_, j) => root.appendChild(handle(j)));
  byId("line-drawing").append(root);
  return { root, ticks, bands, centres, links, images, handles, toPixel: null, width: 0 };
}

function handle(j) {
  const node = svg("g", { class: "handle", role: "slider", tabindex: 0, "aria-valuemin": LOWEST, "aria-valuemax": HIGHEST },
    svg("circle", { class: "reach", r: 22 }), svg("circle", { class: "grip", r: 9 }),
    inDrawing(`x_${j + 1}`, 0, -18, { class: "name", "text-anchor": "middle", "aria-hidden": "true" }));
  node.addEventListener("keydown", event => {
    const step = { ArrowRight: 0.1, ArrowUp: 0.1, ArrowLeft: -0.1, ArrowDown: -0.1, PageUp: 1, PageDown: -1 }[event.key];
    const target = { Home: LOWEST, End: HIGHEST }[event.key] ?? (step && batch.x[j] + step);
    if (target === undefined) return;
    event.preventDefault();
    move(j, target);
  });
  node.addEventListener("pointerdown", event => {
    event.preventDefault();
    node.focus();
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", event => {
    if (!node.hasPointerCapture(event.pointerId)) return;
    const share = (event.clientX - line.root.getBoundingClientRect().left - LINE.margin) / (line.width - 2 * LINE.margin);
    move(j, LOWEST + share * (HIGHEST - LOWEST));
  });
  return node;
}

function drawTicks(toX, toHat) {
  const axis = (scale, y, values) => [
    svg("line", { class: "axis", x1: LINE.margin, x2: line.width - LINE.margin, y1: y, y2: y }),
    ...values.map(value => inDrawing(format(value, 0), scale(value), y + 24, { class: "tick", "text-anchor": "middle" })),
  ];
  line.ticks.replaceChildren(...axis(toX, LINE.above, [0, 2, 4, 6, 8, 10]), ...axis(toHat, LINE.below, [-2, -1, 0, 1, 2]),
    inDrawing("x", 2, LINE.above + 5, { class: "name" }), inDrawing("x̂", 2, LINE.below + 5, { class: "name" }));
}

function place(node, x1, y1, x2, y2) {
  for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) node.setAttribute(name, value);
}

sized(byId("line-drawing"), ["batch", "words"], width => {
  line.width = width;
  filled(line.root, { width, viewBox: `0 0 ${width} ${LINE.height}` }, []);
  const toX = linear(LOWEST, HIGHEST, LINE.margin, width - LINE.margin);
  const toHat = linear(-2, 2, LINE.margin, width - LINE.margin);
  drawTicks(toX, toHat);
  const { m, v, xHat } = forward(batch.x), deviation = Math.sqrt(v);
  const rows = [[toX, LINE.above, m, deviation], [toHat, LINE.below, 0, 1]];
  rows.forEach(([scale, y, middle, reach], row) => {
    place(line.bands[row], scale(Math.max(LOWEST - 0.5, middle - reach)), y, scale(Math.min(HIGHEST + 0.5, middle + reach)), y);
    place(line.centres[row], scale(middle), y - 14, scale(middle), y + 10);
  });
  batch.x.forEach((value, j) => {
    place(line.links[j], toX(value), LINE.above, toHat(xHat[j]), LINE.below);
    filled(line.images[j], { cx: toHat(xHat[j]), cy: LINE.below }, []);
    // Where handles are close to each other, their names stand one above the other.
    const before = batch.x.filter((other, i) => i < j && Math.abs(toX(other) - toX(value)) < 24).length;
    line.handles[j].querySelector("text").setAttribute("y", -18 - 15 * before);
    filled(line.handles[j], {
      transform: `translate(${toX(value)} ${LINE.above})`, "aria-label": `x${j + 1}`, "aria-valuenow": value,
      "aria-valuetext": text("line.valuetext", { x: format(value, 2), y: formatResult(xHat[j]) }),
    }, []);
  });
});

listen(["batch"], () => {
  const { m, v, r, xHat } = forward(batch.x);
  show(byId("line-mean"), m);
  show(byId("line-variance"), v);
  show(byId("line-scale"), r);
  fill(byId("line-table"), [["<var>x</var>", ...batch.x], ["<var>x̂</var>", ...xHat]]);
});
