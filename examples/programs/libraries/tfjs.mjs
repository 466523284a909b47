// tensorflow.js: tf.layers.batchNormalization and tf.layers.layerNormalization, on its CPU backend.
//   npm install @tensorflow/tfjs
//   backnorm audit --program 'node tfjs.mjs batch' --program 'node tfjs.mjs layer'
import { serve } from "./backnorm.mjs";
console.warn = () => {};
const { default: tf } = await import("@tensorflow/tfjs");

const which = process.argv[2], C = 3, isBatch = which === "batch";
const layer = isBatch ? tf.layers.batchNormalization({ momentum: 0.9 }) : tf.layers.layerNormalization();
layer.build(isBatch ? [null, 2, 2, C] : [null, 3, 6]);
const shape = isBatch ? "kind=batch sample=3,2,2 params=3" : "kind=layer sample=3,6 params=6";
const facts = `${shape} dtypes=float32 name=tf.layers.${which}Normalization version=${tf.version.tfjs}`;
const state = isBatch ? { "state.mean": [0, 0, 0], "state.var": [1, 1, 1] } : {};

serve(facts, (c, train) => tf.tidy(() => {
  const tensor = (name) => tf.tensor(c[name], c.shape[name]);
  const last = (x) => (isBatch ? x.transpose([0, 2, 3, 1]) : x), back = (y) => (isBatch ? y.transpose([0, 3, 1, 2]) : y);
  layer.setWeights([tensor("gamma"), tensor("beta"), ...Object.keys(state).map(tensor)]);
  const run = (x) => back(layer.apply(last(x), { training: train }));
  let found;
  if (c.dy) {
    const x = tf.variable(tensor("x")), [gamma, beta] = layer.trainableWeights.map((one) => one.val);
    let y;
    const { grads } = tf.variableGrads(() => { y = tf.keep(run(x)); return y.mul(tensor("dy")).sum(); }, [x, gamma, beta]);
    found = { y, dx: grads[x.name], dgamma: grads[gamma.name], dbeta: grads[beta.name] };
    x.dispose();
  } else found = { y: run(tensor("x")) };
  layer.nonTrainableWeights.forEach((one, i) => { found[Object.keys(state)[i]] = one.read(); });
  const values = Object.fromEntries(Object.entries(found).map(([name, one]) => [name, one.dataSync()]));
  if (c.dy) found.y.dispose();
  return values;
}), state);
