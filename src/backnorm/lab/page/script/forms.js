// Part 5: the gradient as Caffe computes it from y, and as MXNet computes it from x.

const HELD = 10; // what stands in the buffer before
const STORED = { m: 3, v: 4 }; // the statistics of evaluation
const forms = { request: "write", global: false };

batch.dy.forEach((value, j) => {
  const name = html("span");
  name.innerHTML = indexed("ẏ", j);
  const input = html("input", { type: "number", step: 0.5, min: -9, max: 9, value, id: `forms-dy-${j + 1}` });
  input.addEventListener("input", () => { if (input.checkValidity() && input.value !== "") pass(j, Number(input.value)); });
  byId("forms-dy").append(html("label", {}, name, input));
});

segments(byId("forms-request"), Object.keys(REQUESTS).map(value => ({ value, label: html("code", {}, value) })), "write",
  value => { forms.request = value; announce("forms"); });
byId("forms-global").addEventListener("change", event => { forms.global = event.target.checked; announce("forms"); });

listen(["batch", "words"], () => {
  const { m, r, xHat } = forward(batch.x);
  const caffe = fromOutput(xHat, batch.dy, r), mxnet = fromInput(batch.x, batch.dy, m, r);
  const exact = measuredGradient(batch.x, batch.dy);
  fill(byId("forms-table"), batch.x.map((value, j) => [indexed("x", j), value, xHat[j], caffe[j], mxnet[j], exact[j]]));
  byId("forms-verdict").className = "verdict good";
  say(byId("forms-verdict"), text("forms.equal", {
    error: format(largest(difference(caffe, mxnet))), n: batch.x.length,
    m: format(m), r: format(r), s0: formatResult(sum(batch.dy)), s1: formatResult(dot(batch.dy, forward(batch.x).centred)),
  }));
});

listen(["batch", "forms", "words"], () => {
  const { m, r } = forward(batch.x);
  const computed = forms.global
    ? gradient(batch.x, batch.dy, "none", { frozen: STORED }) : fromInput(batch.x, batch.dy, m, r);
  const held = batch.x.map(() => HELD), after = REQUESTS[forms.request](computed, held);
  fill(byId("forms-buffer"), batch.x.map((_, j) => [
    indexed("x", j), held[j], forms.request === "null" ? "–" : computed[j], after[j]]));
  say(byId("forms-said"), sentences(text(`forms.${forms.request}`), text(forms.global ? "forms.frozen" : "forms.batch", STORED)));
});
