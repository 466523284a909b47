// What the parts have added gets its words.

translate();

// A move in one part changes sentences in others. A screen reader reads those of the part that has the focus.
document.addEventListener("focusin", event => {
  const part = event.target.closest(".trap, section");
  for (const sentence of document.querySelectorAll("[role=status]")) {
    sentence.setAttribute("aria-live", part?.contains(sentence) ? "polite" : "off");
  }
});
