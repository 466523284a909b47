// The words of the page, in the language that is on, and what listens to a change of words or of the batch.

const TEXTS = JSON.parse(document.getElementById("texts").textContent);
const LANGUAGES = Object.values(TEXTS);
let words = LANGUAGES.find(table => table.language === document.documentElement.lang);

// A text with numbers in the place of {names}.
function text(key, numbers = {}) {
  if (!(key in words)) throw new Error(`no text for ${key}`);
  return words[key].replace(/\{(\w+)\}/g, (_, name) => numbers[name]);
}

// Sentences one after the other: Chinese has no space between them.
const sentences = (...parts) => parts.filter(Boolean).join(text("between"));

const LISTENERS = [];

// Draw now and whenever one of the topics changes: "words", "batch", or a name that a part has chosen.
function listen(topics, draw) {
  LISTENERS.push({ topics, draw });
  draw();
}

function announce(topic) {
  for (const { topics, draw } of LISTENERS) if (topics.includes(topic)) draw();
}

function translate() {
  document.documentElement.lang = words.language;
  document.title = words.title;
  for (const node of document.querySelectorAll("[data-text]")) node.innerHTML = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
}

document.getElementById("language").addEventListener("click", () => {
  words = LANGUAGES[(LANGUAGES.indexOf(words) + 1) % LANGUAGES.length];
  translate();
  announce("words");
});
