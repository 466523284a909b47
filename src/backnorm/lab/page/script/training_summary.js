// What the recorded runs of one network and learning rate come to, over their seeds.

const measured = values => values.filter(value => value !== null);

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function spread(values) {
  const known = measured(values);
  if (!known.length) return null;
  return { median: median(known), low: Math.min(...known), high: Math.max(...known) };
}

const runsOf = (experiment, network, rate, through) => experiment.runs.filter(
  run => run.network === network && run.rate === rate && run.through === through);

// One spread an epoch; null where no run has a finite value.
function curveOf(runs, quantity) {
  const epochs = Math.max(0, ...runs.map(run => run[quantity].length));
  return Array.from({ length: epochs }, (_, epoch) => spread(runs.map(run => run[quantity][epoch] ?? null)));
}
