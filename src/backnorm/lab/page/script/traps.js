// Part 7: places where a gradient goes wrong, each computed with the batch of part 2.

// `how` says what a choice means for the forward pass. `compute` returns this for the chosen forward pass, which is
// measured, and the gradient of the chosen backward pass.
const GRADIENT_TRAPS = {
  divisor: {
    choices: { forward: ["n", "n1"], backward: ["n", "n1"] },
    how: chosen => ({ lost: chosen === "n1" ? 1 : 0 }),
    compute: ({ forward: ahead, backward }, how) => [how(ahead), gradient(batch.x, batch.dy, "both", how(ahead), how(backward))],
  },
  eps: {
    choices: { forward: ["inside", "outside"], backward: ["inside", "outside"] },
    how: chosen => ({ eps: 1, outside: chosen === "outside" }),
    compute: ({ forward: ahead, backward }, how) => [how(ahead), gradient(batch.x, batch.dy, "both", how(ahead), how(backward))],
  },
  evaluation: {
    choices: { forward: ["batch", "stored"], backward: ["both", "none"] },
    how: chosen => (chosen === "stored" ? { frozen: STORED } : {}),
    compute: ({ forward: ahead, backward }, how) => [how(ahead), gradient(batch.x, batch.dy, backward, how(ahead))],
  },
  detach: {
    choices: { backward: ["attached", "m>v", "m>c", "m"] },
    compute: ({ backward }) => [{}, throughGraph(batch.x, batch.dy, new Set([backward])).x],
  },
};

const FIRST = { divisor: { forward: "n1" }, eps: { forward: "outside" }, evaluation: { forward: "stored" }, detach: { backward: "m>v" } };

const trapText = (name, value) => { const word = value.replace(">", "_"); return `traps.${name}.${word}`; };

// The error is that of the finite difference, about 1e-10, where the gradient is right.
const isRight = error => error < 1e-6;

function gradientTrap(name, trap) {
  const chosen = Object.fromEntries(Object.entries(trap.choices).map(([side, values]) => [side, FIRST[name][side] ?? values[0]]));
  const table = html("table", {}, worded("caption", "traps.caption"), html("thead"), html("tbody"));
  const verdict = html("p", { class: "verdict", role: "status" });
  const controls = html("div", { class: "controls" });
  for (const [side, values] of Object.entries(trap.choices)) {
    const fieldset = html("fieldset", { class: "segments", id: `trap-${name}-${side}` }, worded("legend", `traps.${side}`));
    segments(fieldset, values.map(value => ({ value, label: worded("span", trapText(name, value)) })),
      chosen[side], value => { chosen[side] = value; announce("traps"); });
    controls.append(fieldset);
  }
  const heads = batch.x.map((_, j) => { const head = html("th", { scope: "col" }); head.innerHTML = indexed("x", j); return head; });
  table.tHead.append(html("tr", {}, html("th", { scope: "col" }, worded("span", "value")), ...heads));
  listen(["batch", "traps", "words"], () => {
    const [how, computed] = trap.compute(chosen, trap.how), exact = measuredGradient(batch.x, batch.dy, how);
    const error = largest(difference(computed, exact));
    fill(table, [[text("traps.code"), ...computed], [text("path.measured"), ...exact]]);
    verdict.className = `verdict ${isRight(error) ? "good" : "bad"}`;
    say(verdict, text(isRight(error) ? "traps.right" : "traps.wrong", { error: format(error) }));
    verdict.dataset.value = String(error);
  });
  return [controls, table, verdict];
}

function precisionTrap() {
  const slider = html("input", { type: "range", min: 0, max: 6, step: 0.5, value: 4, id: "trap-precision-ratio" });
  const output = html("output", { for: slider.id });
  const table = html("table", {}, worded("caption", "traps.precision.caption"), html("thead", {}, html("tr", {},
    worded("th", "traps.precision.way", { scope: "col" }), worded("th", "line.variance", { scope: "col" }), worded("th", "error", { scope: "col" }))), html("tbody"));
  const verdict = html("p", { class: "verdict", role: "status" });
  listen(["batch", "traps", "words"], () => {
    const ratio = 10 ** Number(slider.value);
    const result = float32Variances(forward(batch.x).xHat.map(value => value + ratio));
    const error = value => Math.abs(value - result.exact);
    output.textContent = ratio < 1e4 ? format(ratio, 0) : powerOfTen(ratio);
    fill(table, ["onePass", "twoPass", "exact"].map(way => [text(`traps.precision.${way}`), result[way], error(result[way])]));
    const noisy = error(result.onePass) > 0.01;
    verdict.className = `verdict ${noisy ? "bad" : "good"}`;
    say(verdict, text(noisy ? "traps.precision.noise" : "traps.precision.good", { value: format(result.onePass), exact: format(result.exact) }));
  });
  slider.addEventListener("input", () => announce("traps"));
  const label = html("label", { class: "slider" }, worded("span", "traps.precision.ratio"), slider, output);
  return [html("div", { class: "controls" }, label), table, verdict];
}

function card(name, children) {
  return html("figure", { class: "trap", id: `trap-${name}` }, worded("h3", `traps.${name}.title`), worded("p", `traps.${name}.sentence`), ...children);
}

for (const name of ["divisor", "eps", "evaluation"]) byId("traps-list").append(card(name, gradientTrap(name, GRADIENT_TRAPS[name])));
byId("traps-list").append(card("precision", precisionTrap()), card("detach", gradientTrap("detach", GRADIENT_TRAPS.detach)));
