// Part 1. The answer stands in the page only after a vote.

let vote = null;

for (const button of document.querySelectorAll("[data-vote]")) {
  button.addEventListener("click", () => {
    vote = button.dataset.vote;
    for (const other of document.querySelectorAll("[data-vote]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    announce("vote");
  });
}

listen(["vote", "words"], () => {
  const answer = byId("vote-answer");
  answer.className = vote ? "answer" : "";
  say(answer, vote ? `<p><strong>${text(`vote.after_${vote}`)}</strong></p><p>${text("vote.answer")}</p>` : "");
});
