// Quizzes: checks an answer and shows the feedback of every option chosen. Questions and answers are in the page already.

/** @param {{storage: {read: Function, write: Function, keys: Function}}} page */
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
  const isNumber = form.dataset.kind === 'number';

  const check = (remember) => {
    const answer = isNumber ? checkNumber(form, fields[0]) : checkChoice(form, fields);
    says.replaceChildren();
    delete result.dataset.right;
    if (typeof answer === 'string') { result.textContent = answer; return; }
    result.dataset.right = answer.right;
    result.textContent = answer.words;
    says.append(...answer.feedback.map(({ right, item }) => {
      const box = document.createElement('div');
      box.className = 'quiz-says';
      box.dataset.right = right;
      box.append(...[...item.children].filter((child) => !(isNumber && child.className === 'quiz-verdict')).map((child) => child.cloneNode(true)));
      return box;
    }));
    if (!remember) return;
    const given = isNumber ? [fields[0].value] : fields.filter((field) => field.checked).map(mark);
    if (!storage.write(answerKey(form), JSON.stringify(given)) && storage.firstLoss()) {
      const box = document.createElement('p');
      box.className = 'quiz-lost';
      box.textContent = 'This browser keeps nothing for this site (its storage is blocked or full): your answers are gone when you leave the page.';
      says.append(box);
    }
  };
  form.addEventListener('submit', (event) => { event.preventDefault(); check(true); });
  form.addEventListener('change', () => { says.replaceChildren(); result.textContent = ''; });

  // What was answered before, as it was.
  const old = recall(form, storage);
  if (!old?.length) return;
  for (const [i, field] of fields.entries()) {
    if (isNumber) [field.value] = old; else field.checked = old.includes(mark(field)) || old.includes(i);
  }
  check(false);
}

/** An answer belongs to the page by its own name and to the question: both stay when chapters move. */
export const answerKey = (form) => `answer:${pageOf(form)}#${form.dataset.quiz}`;

function pageOf(form) {
  const before = [...document.querySelectorAll('main h1[id]')].filter((h1) => h1.compareDocumentPosition(form) & Node.DOCUMENT_POSITION_FOLLOWING);
  return before.at(-1)?.id ?? '';
}

/** What was chosen, by its words: an edition may put options into another order. */
function mark(field) {
  const words = (field.closest('label')?.textContent ?? '').replace(/\s+/g, ' ').trim();
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(words)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return `w${hash.toString(36)}`;
}

/** The answer kept for a question, under whatever page: marks, or places, as earlier editions kept them. */
export function recall(form, storage) {
  const id = form.dataset.quiz;
  const read = (key) => {
    try {
      const value = JSON.parse(storage.read(key) ?? 'null');
      return Array.isArray(value) ? value : null;
    } catch { return null; /* not ours */ }
  };
  const own = read(answerKey(form));
  if (own) return own;
  const moved = storage.keys().find((key) => key.startsWith('answer:') && key.endsWith(`#${id}`));
  if (moved) return read(moved);
  // Earlier editions: by address and place.
  const early = storage.keys().find((key) => key.startsWith('quiz:') && key.endsWith(`#quiz-${id}`));
  const places = early ? read(early) : null;
  return places && form.dataset.kind !== 'number' ? places.map(Number) : places;
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
  const value = readNumber(field.value, form.querySelector('.quiz-unit')?.textContent ?? '');
  if (typeof value === 'string') return value;
  const right = isRight(value, Number(list.dataset.answer), Number(list.dataset.tolerance));
  // The verdict of the right answer gives it away: a wrong answer gets its own feedback only.
  const item = options(form).find((entry) => (entry.dataset.correct === 'true') === right);
  return { right, words: right ? 'Right.' : 'Not right.', feedback: item ? [{ right, item }] : [] };
}

/** Beyond the tolerance only what arithmetic in doubles loses: a billionth of the answer itself, so that 0 is no answer to 3e-14. */
export const isRight = (value, answer, tolerance) => Math.abs(value - answer) <= tolerance + 1e-9 * Math.abs(answer);

/** A number as people write it, or what to say about it: `1,000`, `3e-14`, `3 × 10^-14`, `−2`, `1 000 J`. */
export function readNumber(text, unit = '') {
  let words = text.normalize('NFKC').replace(/[\u2212\u2013]/g, '-').replace(/[\s_'’]+/g, '');
  const name = unit.normalize('NFKC').replace(/\s+/g, '');
  if (name && words.endsWith(name)) words = words.slice(0, -name.length);
  if (!words) return 'Enter a number.';
  words = words.replace(/[×x*·]10(?:\^|\*\*)?\(?([+-]?\d+)\)?$/i, 'e$1');
  if (words.includes(',')) {
    // Commas part thousands, as in this book.
    if (/^[+-]?\d{1,3}(,\d{3})+(\.\d*)?(e[+-]?\d+)?$/i.test(words) && !/^[+-]?0,/.test(words)) words = words.replaceAll(',', '');
    else if (/^[+-]?\d*,\d+(e[+-]?\d+)?$/i.test(words)) return `Write a point before the decimals: ${words.replace(',', '.')}.`;
    else return 'Write the number without commas, with a point before the decimals.';
  }
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(words) ? Number(words) : NaN;
  if (!Number.isFinite(value)) return `Enter a number${/[/^=]/.test(words) ? ', worked out' : ''}: digits, with a point before the decimals, or such as 3e-14.`;
  return value;
}
