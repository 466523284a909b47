// Part 4: the matrix dy/dx as colours, and what it does to a constant and to x_hat.

const SPREAD = [1, 2, 4, 8, 3, 7, 5.5, 0.5, 6, 9, 2.5, 4.5, 7.5, 1.5, 9.5, 3.5];
const THROUGHS = ["both", "mean", "variance", "none"];
const shownJacobian = { n: 6, through: "both" };

const throughChoices = () => THROUGHS.map(value => ({ value, label: worded("span", `through.${value}`) }));

function cell(value, scale, x, y, size) {
  return show(svg("rect", {
    class: value < 0 ? "cell negative" : "cell positive", "fill-opacity": Math.min(1, Math.abs(value) / scale),
    x, y, width: size - 1, height: size - 1,
  }), value);
}

sized(byId("jacobian-drawing"), ["jacobian"], width => {
  const { n, through } = shownJacobian, x = SPREAD.slice(0, n);
  const matrix = jacobian(x, through), { r, xHat } = forward(x);
  const size = Math.floor(Math.min(360, width - 4) / (n + 3.4)), top = 26;
  const columns = [times(matrix, x.map(() => 1)), times(matrix, xHat)];
  const start = k => (n + 0.7 + k * 1.7) * size;
  const root = canvas(Math.ceil((n + 3.4) * size), top + n * size + 2);
  root.append(inDrawing("J", n * size / 2, 16, { class: "name", "text-anchor": "middle" }),
    svg("rect", { class: "frame", x: 0, y: top, width: n * size, height: n * size }),
    ...matrix.flatMap((row, i) => row.map((value, j) => cell(value, r, j * size + 0.5, top + i * size + 0.5, size))));
  columns.forEach((column, k) => root.append(
    inDrawing(["J·1", "J·x̂"][k], start(k) + size / 2, 16, { class: "name", "text-anchor": "middle" }),
    svg("rect", { class: "frame", x: start(k), y: top, width: size, height: n * size }),
    svg("g", { "data-product": k ? "xHat" : "ones" },
      ...column.map((value, i) => cell(value, r, start(k) + 0.5, top + i * size + 0.5, size)))));
  byId("jacobian-drawing").replaceChildren(root);
  byId("jacobian-drawing").dataset.x = JSON.stringify(x);
});

listen(["jacobian", "words"], () => {
  const { n, through } = shownJacobian, x = SPREAD.slice(0, n), matrix = jacobian(x, through);
  byId("jacobian-n-value").textContent = n;
  const verdict = byId("jacobian-verdict");
  const ones = largest(times(matrix, x.map(() => 1))), xHat = largest(times(matrix, forward(x).xHat));
  // What is left of a sum that cancels is rounding.
  const isZero = value => value < 1e-12;
  const product = value => text(isZero(value) ? "jacobian.zero" : "jacobian.not_zero", { value: format(value) });
  const key = n === 2 && through === "both" ? "jacobian.two" : isZero(ones) && isZero(xHat) ? "jacobian.right" : "jacobian.wrong";
  verdict.className = `verdict ${through === "both" ? "good" : "bad"}`;
  say(verdict, sentences(
    text("jacobian.products", { ones: product(ones), x_hat: product(xHat) }), text(key, { r: format(forward(x).r) })));
});

byId("jacobian-n").addEventListener("input", event => { shownJacobian.n = Number(event.target.value); announce("jacobian"); });
segments(byId("jacobian-through"), throughChoices(), "both", value => { shownJacobian.through = value; announce("jacobian"); });
