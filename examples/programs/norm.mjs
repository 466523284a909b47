// Batch normalization with running statistics in JavaScript. With an argument, evaluation has the gradient of training.
//   backnorm program js > backnorm.mjs && backnorm audit --program 'node norm.mjs'
import { serve } from "./backnorm.mjs";

const C = 3, eps = 1e-5, keep = 0.9, wrong = process.argv.length > 2;
const facts = "kind=batch sample=3 params=3 dtypes=float64"; // x has shape (n, C)

function call(c, train) {
  const n = c.shape.x[0], out = { y: [], dx: [], dgamma: [], dbeta: [], "state.mean": [], "state.var": [] };
  for (let k = 0; k < C; k++) {
    const column = (values) => Array.from({ length: n }, (_, i) => values[i * C + k]);
    const average = (values) => values.reduce((sum, value) => sum + value, 0) / n;
    const x = column(c.x), own = average(x), spread = average(x.map((v) => (v - own) ** 2));
    const mean = train ? own : c["state.mean"][k], r = 1 / Math.sqrt((train ? spread : c["state.var"][k]) + eps);
    const hat = x.map((v) => (v - mean) * r);
    hat.forEach((h, i) => { out.y[i * C + k] = c.gamma[k] * h + c.beta[k]; });
    out["state.mean"][k] = train ? keep * c["state.mean"][k] + (1 - keep) * own : c["state.mean"][k];
    out["state.var"][k] = train ? keep * c["state.var"][k] + (1 - keep) * spread : c["state.var"][k];
    if (!c.dy) continue;
    const dy = column(c.dy), sum = average(dy), along = average(dy.map((d, i) => d * hat[i])), whole = train || wrong;
    dy.forEach((d, i) => { out.dx[i * C + k] = c.gamma[k] * r * (whole ? d - sum - hat[i] * along : d); });
    out.dgamma[k] = along * n;
    out.dbeta[k] = sum * n;
  }
  const { y, dx, dgamma, dbeta, ...state } = out;
  return c.dy ? out : { y, ...state };
}

serve(facts, call, { "state.mean": [0, 0, 0], "state.var": [1, 1, 1] });
