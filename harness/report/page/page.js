"use strict";
// Search and filter of the changed questions, and what a link to one, and a printer, need: an open question.
const questions = [...document.querySelectorAll(".question")].map((element) => ({
  element,
  kind: element.dataset.kind,
  task: element.dataset.task,
  words: element.textContent.toLowerCase(),
}));
const form = document.querySelector(".filter");

function show() {
  const [words, kind, task] = ["words", "kind", "task"].map((name) => form.elements[name].value);
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const question of questions) {
    const fits =
      (!kind || question.kind === kind) &&
      (!task || question.task === task) &&
      wanted.every((word) => question.words.includes(word));
    question.element.hidden = !fits;
    shown += fits;
  }
  form.querySelector("output").textContent = `${shown} of ${questions.length} shown`;
}

function open() {
  const found = questions.find(({ element }) => `#${element.id}` === location.hash);
  if (!found) return;
  if (found.element.hidden) {
    form.reset();
    show();
  }
  found.element.querySelector("details").open = true;
  found.element.scrollIntoView();
}

if (form) {
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("button").addEventListener("click", () => {
    const shown = questions.filter(({ element }) => !element.hidden).map(({ element }) => element.querySelector("details"));
    const opening = shown.some((details) => !details.open);
    for (const details of shown) details.open = opening;
  });
  show();
  open();
  addEventListener("hashchange", open);
}
