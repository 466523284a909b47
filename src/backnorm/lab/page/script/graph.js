// Part 3: the graph of the forward pass, the backward pass through it, and nodes that can be detached.

const NODES = {
  x: { at: [0.06, 0.5], label: "x" },
  m: { at: [0.27, 0.5], label: "m" },
  c: { at: [0.5, 0.17], label: "x − m" },
  v: { at: [0.46, 0.83], label: "v" },
  r: { at: [0.66, 0.83], label: "r" },
  xHat: { at: [0.78, 0.42], label: "x̂" },
  y: { at: [0.94, 0.42], label: "y" },
};
// Each edge with the path that it belongs to. What goes through "m>v" is 0.
const EDGES = {
  "x>m": "mean", "x>c": "direct", "m>c": "mean", "x>v": "variance", "m>v": "", "v>r": "variance",
  "c>xHat": "direct", "r>xHat": "variance", "xHat>y": "",
};
const BACKWARD = ["y", "xHat", "c", "r", "v", "m", "x"];
const TERMS = { D: ["c", "xHat"], M: ["m", "c", "xHat"], V: ["v", "r", "xHat"] };
const GRAPH_HEIGHT = 250;

const graph = { detached: new Set(), reached: 0 };
const drawnGraph = drawGraph();

function drawGraph() {
  const root = canvas(0, GRAPH_HEIGHT);
  root.removeAttribute("aria-hidden");
  const edges = Object.fromEntries(Object.keys(EDGES).map(name => [name, root.appendChild(svg("path", { class: "edge" }))]));
  const nodes = Object.fromEntries(Object.keys(NODES).map(name => [name, root.appendChild(drawNode(name))]));
  byId("graph-drawing").append(root);
  return { root, edges, nodes };
}

function drawNode(name) {
  const { label } = NODES[name], half = label.length > 2 ? 31 : 21;
  const node = svg("g", { class: "node" }, svg("rect", { x: -half, y: -21, width: 2 * half, height: 42, rx: 21 }),
    inDrawing(label, 0, 5, { class: "name", "text-anchor": "middle", "aria-hidden": "true" }));
  if (name === "x" || name === "y") return node;
  filled(node, { role: "button", tabindex: 0 }, []);
  const toggle = () => {
    if (!graph.detached.delete(name)) graph.detached.add(name);
    announce("graph");
  };
  node.addEventListener("click", toggle);
  node.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle();
  });
  return node;
}

const reachedNodes = () => new Set(BACKWARD.slice(0, graph.reached));
const carries = name => {
  const [to, from] = name.split(">");
  return reachedNodes().has(from) && !graph.detached.has(to) && !isSilent(from);
};
// A detached node and those that only it would have fed get no gradient.
const isSilent = name => [throughGraph(batch.x, batch.dy, graph.detached)[name]].flat().every(value => value === 0);

function edgePath(name, width) {
  const [[x1, y1], [x2, y2]] = name.split(">").map(end => NODES[end].at);
  return `M${x1 * width} ${y1 * GRAPH_HEIGHT}L${x2 * width} ${y2 * GRAPH_HEIGHT}`;
}

sized(byId("graph-drawing"), ["batch", "graph", "words"], width => {
  filled(drawnGraph.root, { width, viewBox: `0 0 ${width} ${GRAPH_HEIGHT}` }, []);
  for (const [name, edge] of Object.entries(drawnGraph.edges)) {
    const cut = graph.detached.has(name.split(">")[0]);
    filled(edge, { d: edgePath(name, width), class: `edge ${EDGES[name]} ${cut ? "cut" : carries(name) ? "carries" : ""}` }, []);
  }
  const last = BACKWARD[graph.reached - 1];
  for (const [name, node] of Object.entries(drawnGraph.nodes)) {
    const [x, y] = NODES[name].at, detached = graph.detached.has(name);
    const state = detached ? "detached" : reachedNodes().has(name) ? "reached" : "";
    filled(node, { transform: `translate(${x * width} ${y * GRAPH_HEIGHT})`, class: `node ${state} ${name === last ? "last" : ""}` }, []);
    if (node.getAttribute("role") !== "button") continue;
    const label = text(detached ? "graph.detached" : "graph.attached", { node: NODES[name].label });
    filled(node, { "aria-pressed": String(detached), "aria-label": label }, []);
  }
});

function describeStep(gradients) {
  const said = byId("graph-said"), name = BACKWARD[graph.reached - 1];
  if (!name) {
    say(said, text("graph.start"));
    return;
  }
  const values = [gradients[name]].flat();
  say(said, sentences(text(`graph.at_${name}`, { values: values.map(value => formatResult(value)).join(", ") }),
    graph.detached.has(name) && text("graph.nothing")));
  said.dataset.value = JSON.stringify(values);
}

function describeTerms() {
  const kept = Object.keys(TERMS).filter(term => !TERMS[term].some(name => graph.detached.has(name)));
  for (const term of Object.keys(TERMS)) byId(`term-${term}`).style.display = kept.includes(term) ? "" : "none";
  byId("term-0").style.display = kept.length ? "none" : "";
  say(byId("graph-terms"), text("graph.terms", { terms: kept.join(" + ") || "0" }));
}

listen(["batch", "graph", "words"], () => {
  const gradients = throughGraph(batch.x, batch.dy, graph.detached);
  const exact = measuredGradient(batch.x, batch.dy);
  describeStep(gradients);
  describeTerms();
  fill(byId("graph-table"), batch.x.map((_, j) => [
    indexed("x", j), batch.dy[j], gradients.x[j], exact[j], Math.abs(gradients.x[j] - exact[j])]));
});

const goTo = step => () => { graph.reached = step(); announce("graph"); };
byId("graph-step").addEventListener("click", goTo(() => Math.min(BACKWARD.length, graph.reached + 1)));
byId("graph-all").addEventListener("click", goTo(() => BACKWARD.length));
byId("graph-again").addEventListener("click", () => {
  graph.detached.clear();
  graph.reached = 0;
  announce("graph");
});
