// All numbers of the page that are not recorded come from here. It is about one channel with gamma = 1 and
// beta = 0, in plain arrays of float64. Names and formulas are those of the mathematics page: m, v, r and x_hat;
// D, M and V are the direct path and the paths through the mean and through the variance.

const sum = values => values.reduce((total, value) => total + value, 0);
const average = values => sum(values) / values.length;
const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
const largest = values => Math.max(...values.map(Math.abs));
const difference = (a, b) => a.map((value, i) => value - b[i]);
const unit = (n, i) => Array.from({ length: n }, (_, j) => (i === j ? 1 : 0));

// `lost` is 1 where the variance is divided by n - 1. `outside` is true where r = 1/(sqrt(v) + eps). `frozen` holds
// the stored mean and variance of evaluation.
function forward(x, { eps = 0, lost = 0, outside = false, frozen = null } = {}) {
  const n = x.length;
  const m = frozen ? frozen.m : average(x);
  const centred = x.map(value => value - m);
  const v = frozen ? frozen.v : dot(centred, centred) / (n - lost);
  const r = outside ? 1 / (Math.sqrt(v) + eps) : 1 / Math.sqrt(v + eps);
  return { n, m, v, r, centred, xHat: centred.map(value => value * r) };
}

// D, M and V for every x_j. The derivative of r depends on where eps stands, the derivative of v on its divisor.
// `assumed` is what the backward pass takes the forward pass to be; where the two differ, the gradient is wrong.
function paths(x, dy, how = {}, assumed = how) {
  const { n, v, r, centred } = forward(x, how);
  const slopeOfR = assumed.outside ? -r * r / (2 * Math.sqrt(v)) : -(r ** 3) / 2;
  const toVariance = dot(dy, centred) * slopeOfR;
  return {
    direct: dy.map(value => r * value),
    mean: x.map(() => -r * sum(dy) / n),
    variance: centred.map(value => toVariance * 2 * value / (n - (assumed.lost || 0))),
  };
}

const PATHS_OF = {
  both: ["direct", "mean", "variance"],
  mean: ["direct", "mean"],
  variance: ["direct", "variance"],
  none: ["direct"],
};

function gradient(x, dy, through = "both", how = {}, assumed = how) {
  const parts = paths(x, dy, how, assumed);
  return x.map((_, j) => sum(PATHS_OF[through].map(name => parts[name][j])));
}

// The slope of a function of x along x_j, from two values of the function and from no formula.
function slopes(value, x, j) {
  const step = 1e-5 * Math.max(1, Math.sqrt(forward(x).v));
  const moved = by => value(x.map((entry, i) => (i === j ? entry + by : entry)));
  const after = moved(step), before = moved(-step);
  return after.map((entry, i) => (entry - before[i]) / (2 * step));
}

// The slope of L = sum(dy * y) along every x_j, measured.
function measuredGradient(x, dy, how = {}) {
  return x.map((_, j) => slopes(values => [dot(dy, forward(values, how).xHat)], x, j)[0]);
}

// Row i is the gradient of y_i.
function jacobian(x, through = "both") {
  return x.map((_, i) => gradient(x, unit(x.length, i), through));
}

const times = (matrix, vector) => matrix.map(row => dot(row, vector));

// The backward pass through the graph x -> m -> (c, v), (x, m) -> c = x - m, (x, m) -> v -> r, (c, r) -> x_hat = y.
// `detached` has names of nodes that take no gradient, or of edges such as "m>v" that carry no gradient.
function throughGraph(x, dy, detached) {
  const { n, r, centred } = forward(x);
  const zeros = x.map(() => 0);
  const takes = name => !detached.has(name);
  const xHat = takes("xHat") ? dy : zeros;
  const c = takes("c") ? xHat.map(value => value * r) : zeros;
  const atR = takes("r") ? dot(xHat, centred) : 0;
  const v = takes("v") ? atR * -(r ** 3) / 2 : 0;
  const inC = takes("m>c") ? -sum(c) : 0;
  const inV = takes("m>v") ? v * -2 * sum(centred) / n : 0;
  const m = takes("m") ? inC + inV : 0;
  return { y: dy, xHat, c, r: atR, v, m, x: x.map((_, j) => c[j] + m / n + v * 2 * centred[j] / n) };
}

// Caffe's form of the gradient needs y and r, and no x.
function fromOutput(y, dy, r) {
  const shift = average(dy), slope = dot(dy, y) / y.length;
  return y.map((value, j) => r * (dy[j] - shift - value * slope));
}

// MXNet's form needs x, m and r, and no y.
function fromInput(x, dy, m, r) {
  const shift = average(dy), slope = dot(dy, x.map(value => value - m)) / x.length;
  return x.map((value, j) => r * (dy[j] - shift - (value - m) * r * r * slope));
}

// What a request does with a gradient that already stands in the buffer.
const REQUESTS = {
  write: computed => computed,
  add: (computed, held) => computed.map((value, j) => held[j] + value),
  null: (_, held) => held,
};

// The variance in float32, every operation rounded: as E[x^2] - E[x]^2, and from the deviations.
function float32Variances(values) {
  const round = Math.fround, n = values.length;
  const x = values.map(round);
  const added = terms => terms.reduce((total, term) => round(total + term), 0);
  const m = round(added(x) / n);
  const square = value => round(value * value);
  return {
    onePass: round(round(added(x.map(square)) / n) - square(m)),
    twoPass: round(added(x.map(value => square(round(value - m)))) / n),
    exact: forward(x).v,
  };
}
