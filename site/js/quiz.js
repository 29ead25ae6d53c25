// Quizzes: checks an answer and shows the feedback of every option chosen. Questions and answers are in the page already.

/** @param {{storage: {read: Function, write: Function}}} page */
export function start({ storage }) {
  for (const form of document.querySelectorAll('form.quiz')) enhance(form, storage);
}

function enhance(form, storage) {
  const actions = form.querySelector('[data-quiz-actions]');
  const result = form.querySelector('[data-quiz-result]');
  const says = document.createElement('div');
  actions.hidden = false;
  actions.after(says);
  result.classList.add('quiz-result');
  const fields = [...form.querySelectorAll(`[name="quiz-${CSS.escape(form.dataset.quiz)}"]`)];
  const key = `quiz:${location.pathname}#${form.id}`;

  const check = (remember) => {
    const answer = form.dataset.kind === 'number' ? checkNumber(form, fields[0]) : checkChoice(form, fields);
    says.replaceChildren();
    delete result.dataset.right;
    if (typeof answer === 'string') { result.textContent = answer; return; }
    result.dataset.right = answer.right;
    result.textContent = answer.words;
    says.append(...answer.feedback.map(({ right, item }) => {
      const box = document.createElement('div');
      box.className = 'quiz-says';
      box.dataset.right = right;
      box.append(...[...item.children].filter((child) => !(form.dataset.kind === 'number' && child.className === 'quiz-verdict')).map((child) => child.cloneNode(true)));
      return box;
    }));
    if (remember) storage.write(key, JSON.stringify(fields.filter((field) => field.checked || field.type === 'number').map((field) => field.value)));
  };
  form.addEventListener('submit', (event) => { event.preventDefault(); check(true); });
  form.addEventListener('change', () => { says.replaceChildren(); result.textContent = ''; });

  // What was answered before, as it was.
  try {
    const old = JSON.parse(storage.read(key) ?? 'null');
    if (Array.isArray(old) && old.length) {
      for (const field of fields) {
        if (field.type === 'number') [field.value] = old; else field.checked = old.includes(field.value);
      }
      check(false);
    }
  } catch { /* not ours */ }
}

const options = (form) => [...form.querySelectorAll('.quiz-answers li')];

function checkChoice(form, fields) {
  const chosen = new Set(fields.filter((field) => field.checked).map((field) => field.value));
  if (!chosen.size) return form.dataset.kind === 'multiple' ? 'Choose all that hold.' : 'Choose one.';
  const items = options(form);
  const isRight = (item) => item.dataset.correct === 'true';
  const right = items.every((item) => isRight(item) === chosen.has(item.dataset.option));
  const wrong = items.some((item) => !isRight(item) && chosen.has(item.dataset.option));
  let words = right ? 'Right.' : 'Not right.';
  if (!right && form.dataset.kind === 'multiple') words = `Not right yet: ${wrong ? 'not all of these hold' : 'more hold than these'}.`;
  const feedback = items.filter((item) => chosen.has(item.dataset.option)).map((item) => ({ right: isRight(item), item }));
  return { right, words, feedback };
}

function checkNumber(form, field) {
  const list = form.querySelector('[data-answer]');
  const value = field.valueAsNumber;
  if (!Number.isFinite(value)) return 'Enter a number.';
  const right = Math.abs(value - Number(list.dataset.answer)) <= Number(list.dataset.tolerance) + 1e-9;
  // The verdict of the right answer gives it away: a wrong answer gets its own feedback only.
  const item = options(form).find((entry) => (entry.dataset.correct === 'true') === right);
  return { right, words: right ? 'Right.' : 'Not right.', feedback: item ? [{ right, item }] : [] };
}
