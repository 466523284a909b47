// What scrolls sideways can be reached by the keyboard, and the bars of buttons in blocks of code, all without a name, are no
// landmarks. The theme adds both kinds of elements while the page is open.
const SCROLLED = ".md-typeset__scrollwrap, .md-typeset pre > code, .formula";

function reach(one) {
  if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
  else one.removeAttribute("tabindex");
}

const sizes = new ResizeObserver(entries => entries.forEach(entry => reach(entry.target)));
const seen = new WeakSet();

function look() {
  for (const one of document.querySelectorAll(SCROLLED)) {
    if (!seen.has(one)) { seen.add(one); sizes.observe(one); }
    reach(one);
  }
  for (const one of document.querySelectorAll(".md-code__nav")) one.setAttribute("role", "none");
}

new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
look();
