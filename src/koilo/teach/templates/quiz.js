"use strict";
// One question at a time: the answer comes into the page's text only when the learner has given one.
const { quiz, classes, questions } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const storage = "koilo-quiz-" + quiz;
let answers = [];
let learner = "";
let shownAt = 0;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function show(section) {
  for (const id of ["start", "ask", "end"]) byId(id).hidden = id !== section;
}

function keep() {
  // A browser may forbid storage for local files: then a reload begins again, and nothing else is lost.
  try { localStorage.setItem(storage, JSON.stringify({ answers, learner })); } catch { /* see above */ }
}

function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(storage) || "{}");
    answers = Array.isArray(kept.answers) ? kept.answers.slice(0, questions.length) : [];
    learner = kept.learner || "";
  } catch { answers = []; }
}

function ask() {
  if (answers.length >= questions.length) return finish();
  const question = questions[answers.length];
  byId("place").textContent = `Cell ${answers.length + 1} of ${questions.length}`;
  byId("bar").style.width = `${(100 * answers.length) / questions.length}%`;
  byId("cell").src = question.picture;
  byId("mark").hidden = !question.synthetic;
  const hasScale = question.side_um !== null;
  byId("scale").hidden = !hasScale;
  if (hasScale) byId("scale").style.width = `${1000 / question.side_um}%`;
  byId("caption").textContent = "The cell in the middle is asked." + (hasScale ? " Bar: 10 µm." : "");
  byId("feedback").hidden = true;
  byId("options").replaceChildren(...classes.map(option));
  show("ask");
  shownAt = performance.now();
}

function option(item, index) {
  const button = element("button");
  button.type = "button";
  button.append(
    element("span", "key", String(index + 1)),
    element("span", "label", item.name.replaceAll("+", "+\u200b")), // may break after a plus
    element("span", "meaning", item.meaning),
    element("span", "sign"),
  );
  button.addEventListener("click", () => answer(item.name));
  return button;
}

function answer(name) {
  const question = questions[answers.length];
  const seconds = Math.round((performance.now() - shownAt) / 100) / 10;
  answers.push({ question: question.id, answer: name, seconds });
  keep();
  const isRight = name === question.answer;
  [...byId("options").children].forEach((button, index) => {
    button.disabled = true;
    const here = classes[index].name;
    const sign = here === question.answer ? "right" : here === name ? "wrong" : "";
    if (sign) button.classList.add(sign);
    button.lastChild.textContent = { right: "✓", wrong: "✗" }[sign] || "";
  });
  byId("feedback").className = isRight ? "" : "wrong";
  byId("verdict").textContent = isRight
    ? `Right: ${question.answer}`
    : `You said ${name}. It is ${question.answer}.`;
  const known = question.reasons.length > 0;
  const texts = known ? question.reasons : question.hints;
  byId("why").textContent = known
    ? "Seen in this cell:"
    : texts.length
      ? `Nothing is recorded of this cell. What readers look for in ${question.answer}:`
      : "Nothing is recorded of this cell.";
  byId("reasons").replaceChildren(...texts.map((text) => element("li", "", text)));
  byId("next").textContent = answers.length < questions.length ? "Next cell" : "See your score";
  byId("bar").style.width = `${(100 * answers.length) / questions.length}%`;
  byId("feedback").hidden = false;
  byId("next").focus();
}

function finish() {
  const truth = new Map(questions.map((question) => [question.id, question.answer]));
  const right = answers.filter((each) => truth.get(each.question) === each.answer).length;
  byId("total").textContent =
    `${right} of ${answers.length} right (${Math.round((100 * right) / answers.length)} %).`;
  byId("rows").replaceChildren(...classes.map(({ name }) => {
    const mine = answers.filter((each) => truth.get(each.question) === name);
    const others = new Map();
    for (const each of mine) {
      if (each.answer !== name) others.set(each.answer, (others.get(each.answer) || 0) + 1);
    }
    const row = element("tr");
    row.append(
      element("th", "", name),
      element("td", "number", String(mine.filter((each) => each.answer === name).length)),
      element("td", "number", String(mine.length)),
      element("td", "", [...others].map(([other, n]) => `${other} ${n}`).join(", ") || "–"),
    );
    row.firstChild.scope = "row";
    return row;
  }));
  show("end");
}

function save(name, type, text) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function asCsv() {
  // A leading = + - @ would be a formula in a spreadsheet.
  const quoted = (value) => `"${String(value).replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
  const rows = answers.map((each) => [quiz, learner, each.question, each.answer, each.seconds]);
  const lines = rows.map((row) => row.map(quoted).join(","));
  return ["quiz,learner,question,answer,seconds", ...lines].join("\n") + "\n";
}

byId("begin").addEventListener("click", () => { learner = byId("learner").value.trim(); keep(); ask(); });
byId("next").addEventListener("click", ask);
byId("again").addEventListener("click", () => { answers = []; keep(); show("start"); });
byId("save-csv").addEventListener("click", () => save(`answers-${quiz}.csv`, "text/csv", asCsv()));
byId("save-json").addEventListener("click", () =>
  save(`answers-${quiz}.json`, "application/json", JSON.stringify({ quiz, learner, answers }, null, 2) + "\n"));
document.addEventListener("keydown", (event) => {
  const place = Number(event.key) - 1;
  const asks = !byId("ask").hidden && byId("feedback").hidden;
  if (asks && classes[place] && !event.ctrlKey && !event.metaKey && !event.altKey) answer(classes[place].name);
});
recall();
byId("learner").value = learner;
if (answers.length) ask();
