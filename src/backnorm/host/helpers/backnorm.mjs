// backnorm's program protocol, version 1, for JavaScript (Node). Audit with: backnorm audit --program 'node norm.mjs'
//
//   import { serve } from "./backnorm.mjs";
//   serve("kind=batch sample=3,2,2 params=3 dtypes=float64", (c, train) => {
//     const y = ..., dx = ..., dgamma = ..., dbeta = ...;     // c.x is a typed array, c.shape.x its shape
//     return c.dy ? { y, dx, dgamma, dbeta } : { y };         // typed arrays or plain ones, shaped as their inputs
//   });
//
// A layer with statistics passes { "state.mean": [0, 0, 0] } as a third argument, reads c["state.mean"], and returns
// { y, ..., "state.mean": newMean }. With can=higher among the facts, c.what is "higher" where derivatives are asked for.
import fs from "node:fs";
const TYPES = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array };
const LIKE = { y: "x", dx: "x", dgamma: "gamma", dbeta: "beta" };
let held = Buffer.alloc(0);
console.log = console.error; // what libraries print goes to stderr

function more() {
  const chunk = Buffer.alloc(1 << 16);
  for (;;) {
    try {
      const count = fs.readSync(0, chunk, 0, chunk.length, null);
      if (!count) process.exit(0);
      held = Buffer.concat([held, chunk.subarray(0, count)]);
      return;
    } catch (error) { if (error.code === "EOF") process.exit(0); if (error.code !== "EAGAIN") throw error; } } }
function take(count) { while (held.length < count) more(); const part = held.subarray(0, count); held = held.subarray(count); return part; }
function line() { while (held.indexOf(10) < 0) more(); return take(held.indexOf(10) + 1).toString().trim(); }
function write(bytes) {
  for (let at = 0; at < bytes.length;) try { at += fs.writeSync(1, bytes, at); } catch (error) { if (error.code !== "EAGAIN") throw error; }
}
function say(head, dtype, arrays, shapes) {
  const parts = [];
  for (const [name, values] of Object.entries(arrays)) {
    const typed = TYPES[dtype].from(values), shape = shapes[LIKE[name] ?? name] ?? [typed.length];
    if (typed.length !== shape.reduce((p, q) => p * q, 1)) throw new Error(`${name} has ${typed.length} values, not shape ${shape}`);
    head += ` ${name}=${dtype}[${shape}]`;
    parts.push(Buffer.from(typed.buffer, typed.byteOffset, typed.byteLength));
  }
  write(Buffer.concat([Buffer.from(head + "\n"), ...parts]));
}
export function serve(facts, call, state = {}) {
  const sample = /sample=([\d,]+)/.exec(facts)[1];
  for (;;) {
    const [what, ...words] = line().split(" "), given = { what, shape: {} };
    let dtype = /dtypes=(\w+)/.exec(facts)[1];
    for (const word of words) {
      const found = /^([\w.]+)=(\w+)\[([\d,]*)\]$/.exec(word);
      if (!found) continue;
      const shape = found[3] ? found[3].split(",").map(Number) : [], type = TYPES[found[2]];
      const raw = Uint8Array.from(take(shape.reduce((p, q) => p * q, 1) * type.BYTES_PER_ELEMENT));
      given[found[1]] = new type(raw.buffer); given.shape[found[1]] = shape; dtype = found[1] === "x" ? found[2] : dtype;
    }
    try {
      if (what === "hello") { say("ok " + facts, dtype, state, {}); continue; }
      if (`${given.shape.x.slice(1)}` !== sample) throw new Error(`x has samples of shape ${given.shape.x.slice(1)}, not ${sample}`);
      say("ok", dtype, call(given, words[0] === "train"), given.shape);
    } catch (error) { say("error " + String(error.message ?? error).replaceAll("\n", " "), dtype, {}, {}); }
  }
}
