// A small panel of curves: the median of the seeds as a line, their range as a band.

const PANEL = { height: 170, left: 46, right: 8, top: 12, bottom: 24 };

// A round step that gives about four lines between two bounds.
function roundStep(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map(factor => factor * power).find(value => value >= rough);
}

const boundsOf = series => series.flatMap(({ points }) => points).filter(Boolean).flatMap(({ low, high }) => [low, high]);

// An axis: the bounds of all curves, moved outwards to round numbers, the round numbers between them, and the place of
// a value between two ends.
function even(series) {
  const bounds = boundsOf(series), low = Math.min(...bounds), high = Math.max(...bounds);
  const step = roundStep(low, high > low ? high : low + 1);
  const first = Math.floor(low / step), last = Math.max(first + 1, Math.ceil(high / step));
  const values = Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  return { values, between: (start, end) => linear(values[0], values.at(-1), start, end) };
}

// The values of each decade between which the axis has lines; wide axes have a line in every second decade, and so on.
const LADDERS = [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]];

function rungs(ladder, low, high) {
  const first = Math.floor(Math.log10(low)), decades = Math.ceil(Math.log10(high)) - first + 1;
  const values = Array.from({ length: decades }, (_, k) => ladder.map(factor => Number(`${factor}e${first + k}`))).flat();
  const from = values.findLastIndex(value => value <= low), to = values.findIndex(value => value >= high);
  return values.slice(from, Math.max(to, from + 1) + 1);
}

// Zero and what is below the smallest positive value stand at the lower end.
function logarithmic(series) {
  const bounds = boundsOf(series).filter(value => value > 0), low = Math.min(...bounds), high = Math.max(...bounds);
  const choices = LADDERS.map(ladder => rungs(ladder, low, high));
  const all = choices.find(values => values.length <= 6) ?? choices.at(-1), stride = Math.ceil(all.length / 6);
  const values = all.filter((_, k) => (all.length - 1 - k) % stride === 0);
  const place = value => Math.log(Math.max(value, all[0]));
  return { values, between: (start, end) => { const at = linear(place(all[0]), place(all.at(-1)), start, end); return value => at(place(value)); } };
}

function drawPanel(container, width, series, axis) {
  const root = canvas(width, PANEL.height), { values, between } = axis(series);
  const epochs = Math.max(...series.map(({ points }) => points.length));
  const toX = linear(1, Math.max(2, epochs), PANEL.left, width - PANEL.right);
  const toY = between(PANEL.height - PANEL.bottom, PANEL.top);
  for (const value of values) {
    root.append(svg("line", { class: "grid", x1: PANEL.left, x2: width - PANEL.right, y1: toY(value), y2: toY(value) }),
      inDrawing(shortNumber(value), PANEL.left - 6, toY(value) + 4, { class: "tick", "text-anchor": "end" }));
  }
  root.append(inDrawing("1", toX(1), PANEL.height - 6, { class: "tick", "text-anchor": "middle" }),
    inDrawing(String(epochs), toX(epochs), PANEL.height - 6, { class: "tick", "text-anchor": "end" }));
  const drawn = series.map(one => ({ ...one, known: one.points.map((point, k) => point && { ...point, x: toX(k + 1) }).filter(Boolean) }));
  for (const { name, known } of drawn) root.append(svg("path", { class: `range ${name}`, d: outline(known, toY) }));
  for (const { name, known } of drawn) root.append(svg("path", { class: `curve ${name}`, d: way(known.map(point => [point.x, toY(point.median)])) }));
  container.replaceChildren(root);
}

const shortNumber = value => String(Number(value.toPrecision(3))).replace("-", "−");
const way = points => (points.length ? "M" + points.map(point => point.map(entry => entry.toFixed(1)).join(" ")).join("L") : "");
const outline = (known, toY) => way([
  ...known.map(point => [point.x, toY(point.high)]), ...known.map(point => [point.x, toY(point.low)]).reverse()]);
