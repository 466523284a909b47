// Elements that several parts are made of.

const byId = id => document.getElementById(id);

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const html = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => filled(
  document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const worded = (tag, key, attributes = {}) => {
  const node = html(tag, { "data-text": key, ...attributes });
  node.innerHTML = text(key);
  return node;
};

const powerOfTen = value => value.toExponential(0).replace("+", "");

// Three decimals where they say something, otherwise a power of ten. Zero is written only for zero.
function format(value, decimals = 3) {
  if (value === null) return "–";
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 0.5 * 10 ** -decimals && size < 1e5);
  const written = plain ? value.toFixed(size ? decimals : 0) : powerOfTen(value);
  return written.replace(/-/g, "−");
}

// Below this a result is rounding error: the values of the page are between 0 and 10.
const RESIDUE = 1e-9;
const formatResult = (value, decimals) => format(value !== null && Math.abs(value) < RESIDUE ? 0 : value, decimals);

// A number that people read, beside all digits for those who check it.
function show(node, value, decimals = 3) {
  node.textContent = formatResult(value, decimals);
  node.dataset.value = String(value);
  return node;
}

// A sentence that a screen reader may read aloud: it is set only when it has changed.
function say(node, sentence) {
  if (node.said !== sentence) node.innerHTML = node.said = sentence;
}

const indexed = (name, j) => `<var>${name}<sub>${j + 1}</sub></var>`;

// Fill the body of a table: the first cell of a row is its heading as HTML, a number becomes a cell with all digits.
function fill(table, rows, decimals = 3) {
  table.tBodies[0].replaceChildren(...rows.map(([heading, ...cells]) => {
    const head = html("th", { scope: "row" });
    head.innerHTML = heading;
    return html("tr", {}, head, ...cells.map(cell => {
      const node = html("td");
      if (typeof cell === "string") node.innerHTML = cell;
      else show(node, cell, decimals);
      return node;
    }));
  }));
}

// A row of buttons of which one is on: radio buttons, so that arrow keys move between them.
function segments(fieldset, choices, chosen, change) {
  for (const { value, label } of choices) {
    const input = html("input", { type: "radio", name: fieldset.id, value });
    input.checked = value === chosen;
    input.addEventListener("change", () => change(value));
    fieldset.append(html("label", {}, input, label));
  }
}

// Draw into a container in its own pixels, again when its width changes: text keeps its size on a phone.
function sized(container, topics, draw) {
  const redraw = () => { if (container.clientWidth) draw(container.clientWidth); };
  let width = 0;
  new ResizeObserver(() => {
    if (container.clientWidth === width) return;
    width = container.clientWidth;
    redraw();
  }).observe(container);
  listen(topics, redraw);
}

const canvas = (width, height) => svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });

// A text in a drawing; what follows "_" stands below the line.
function inDrawing(content, x, y, attributes = {}) {
  const [name, index] = content.split("_");
  const node = svg("text", { x, y, ...attributes }, name);
  if (index) node.append(svg("tspan", { class: "index", dy: 4 }, index));
  return node;
}

const linear = (from, to, start, end) => value => start + (value - from) / (to - from) * (end - start);
