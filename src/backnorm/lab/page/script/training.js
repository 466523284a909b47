// Part 6: what training does, from the recorded runs.

const EXPERIMENT = JSON.parse(byId("experiment").textContent);
const AXES = { loss: logarithmic, accuracy: even, weight_norm: logarithmic, gradient_norm: logarithmic };
const training = { network: EXPERIMENT.networks[0], rate: EXPERIMENT.rates.length >> 1 };

const chosenRuns = through => runsOf(EXPERIMENT, training.network, EXPERIMENT.rates[training.rate], through);

const PANELS = Object.fromEntries(Object.keys(AXES).map(quantity => {
  const drawing = html("div", { class: "drawing", role: "img", "data-label": `training.drawing_${quantity}`, "data-quantity": quantity });
  byId("training-panels").append(html("div", { class: "panel" }, worded("h3", `training.panel_${quantity}`), drawing));
  sized(drawing, ["training"], width => drawPanel(drawing, width,
    EXPERIMENT.through.map(name => ({ name, points: curveOf(chosenRuns(name), quantity) })), AXES[quantity]));
  return [quantity, drawing];
}));

byId("training-legend").append(...EXPERIMENT.through.map(name => worded("span", `through.${name}`, { class: `key ${name}` })));
byId("training-command").textContent = EXPERIMENT.command;

function rangeCell(values, decimals) {
  const range = spread(values);
  if (!range) return "–";
  const [low, high] = [range.low, range.high].map(value => format(value, decimals));
  return low === high ? low : `${low} – ${high}`;
}

function summaryRow(name) {
  const runs = chosenRuns(name), last = quantity => runs.map(run => run[quantity].at(-1) ?? null);
  return [`<span class="key ${name}">${text(`through.${name}`)}</span>`, rangeCell(runs.map(run => run.right), 0),
    rangeCell(last("loss"), 2), rangeCell(last("weight_norm"), 1), rangeCell(last("gradient_norm"), 2)];
}

// The median of the seeds for each path.
const mediansOf = count => Object.fromEntries(EXPERIMENT.through.map(
  name => [name, format(spread(chosenRuns(name).map(run => run[count]))?.median ?? null, 0)]));

listen(["training", "words"], () => {
  byId("training-rate-value").textContent = EXPERIMENT.rates[training.rate];
  byId("training-rate").setAttribute("aria-valuetext", EXPERIMENT.rates[training.rate]);
  fill(byId("training-table"), EXPERIMENT.through.map(summaryRow));
  say(byId("training-verdict"), sentences(...["right", "right_by_batch"].map(count => text(`training.${count}_verdict`, {
    rate: EXPERIMENT.rates[training.rate], of: EXPERIMENT.of, seeds: EXPERIMENT.seeds.length, ...mediansOf(count),
  }))));
});

filled(byId("training-rate"), { max: EXPERIMENT.rates.length - 1 }, []).value = training.rate;
byId("training-rate").addEventListener("input", event => { training.rate = Number(event.target.value); announce("training"); });
segments(byId("training-network"), EXPERIMENT.networks.map(value => ({ value, label: worded("span", `network.${value}`) })),
  training.network, value => { training.network = value; announce("training"); });
