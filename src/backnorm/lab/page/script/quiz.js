// Part 8: each option has an explanation, the wrong ones too.

const RIGHT = ["b", "a", "c", "b", "c", "a", "b", "c"];
const OPTIONS = ["a", "b", "c"];
const picked = RIGHT.map(() => null);

function question(k) {
  const key = `quiz.${k + 1}`, why = html("p", { class: "why", role: "status" });
  const buttons = OPTIONS.map(option => {
    const button = worded("button", `${key}.${option}`, { type: "button", class: "choice", "aria-pressed": "false", "data-option": option });
    button.addEventListener("click", () => {
      picked[k] = option;
      announce("quiz");
    });
    return button;
  });
  listen(["quiz", "words"], () => {
    for (const button of buttons) {
      const { option } = button.dataset, chosen = option === picked[k];
      button.setAttribute("aria-pressed", String(chosen));
      button.className = `choice ${chosen ? (option === RIGHT[k] ? "good" : "bad") : ""}`;
    }
    const isRightOption = picked[k] === RIGHT[k];
    why.className = `why ${picked[k] ? (isRightOption ? "good" : "bad") : ""}`;
    say(why, picked[k] ? `<strong>${text(isRightOption ? "quiz.right" : "quiz.wrong")}</strong> ${text(`${key}.${picked[k]}.why`)}` : "");
  });
  const title = worded("p", key, { class: "question", id: `quiz-${k + 1}` });
  return html("li", {}, title, html("div", { class: "choices", role: "group", "aria-labelledby": title.id }, ...buttons), why);
}

byId("quiz-list").append(...RIGHT.map((_, k) => question(k)));

listen(["quiz", "words"], () => {
  const answered = picked.filter(Boolean).length, right = picked.filter((option, k) => option === RIGHT[k]).length;
  say(byId("quiz-score"), answered ? text("quiz.score", { right, answered, of: RIGHT.length }) : "");
});
