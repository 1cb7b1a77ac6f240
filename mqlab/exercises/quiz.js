// The quiz in the page: radio buttons, and below each question what is to be said of the choice.
let quizzes = 0;

function make(tag, attributes = {}, ...inside) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...inside);
  return el;
}

function html(tag, attributes, markup) {
  const el = make(tag, attributes);
  el.innerHTML = markup; // made and escaped by quiz.py
  return el;
}

function render({ model, el }) {
  const name = `mqlab-quiz-${quizzes++}`;
  const root = make("div", { class: "mqlab mqlab-quiz", role: "group", "aria-label": "Quiz" });
  const count = make("p", { class: "mqlab-quiz-count" });

  model.get("_questions").forEach((question, at) => {
    const n = at + 1;
    const said = make("div", { class: "mqlab-quiz-why", role: "status" });
    const mark = make("span", { class: "mqlab-quiz-mark" });
    const legend = html("legend", {}, `${n}. ${question.ask} `);
    legend.append(mark);
    const choices = question.choices.map((choice, c) => {
      const input = make("input", { type: "radio", name: `${name}-${n}`, value: c });
      input.addEventListener("change", () => {
        said.className = `mqlab-quiz-why ${choice.right ? "mqlab-quiz-right" : "mqlab-quiz-wrong"}`;
        said.innerHTML = `<strong>${choice.right ? "✓ Right." : "✕ Not quite."}</strong> ${choice.why}`;
        model.send({ question: n, choice: c });
      });
      return make("label", {}, input, html("span", {}, choice.text));
    });
    root.append(make("fieldset", { "data-question": n }, legend, ...choices, said));
  });
  root.append(count);

  const tell = () => {
    const solved = model.get("_solved");
    root.querySelectorAll("fieldset").forEach((field) => {
      const done = solved.includes(Number(field.dataset.question));
      field.querySelector(".mqlab-quiz-mark").textContent = done ? "✓ answered" : "";
    });
    count.textContent = `${solved.length} of ${root.querySelectorAll("fieldset").length} answered right.`;
  };
  tell();
  model.on("change:_solved", tell);
  // A plain key means the quiz, and not the cell.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Tab") event.stopPropagation();
  });
  el.append(root);
  return () => model.off("change:_solved", tell);
}

export default { render };
