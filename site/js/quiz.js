// Quizzes: checks an answer and shows the feedback of every option chosen. Questions and answers are in the page already.

/** @param {{storage: {read: Function, write: Function, keys: Function, remove: Function}, module: Function}} page */
export function start({ storage, module }) {
  const forms = [...document.querySelectorAll('form.quiz')];
  const sum = summary(forms);
  for (const form of forms) enhance(form, storage, module, sum);
  sum();
}

/** How the page's questions stand, after the last of them. @returns what brings it up to date */
function summary(forms) {
  if (forms.length < 2) return () => {};
  const place = document.createElement('p');
  place.className = 'quiz-summary';
  place.dataset.quizSummary = '';
  forms.at(-1).after(place);
  const named = (form) => {
    const link = document.createElement('a');
    link.href = `#${form.id}`;
    link.textContent = form.querySelector('.quiz-kicker')?.textContent.toLowerCase() ?? form.dataset.quiz;
    return link;
  };
  const list = (some) => some.flatMap((form, i) => [i ? ', ' : '', named(form)]);
  return () => {
    const state = (form) => form.querySelector('[data-quiz-result]').dataset.right;
    const right = forms.filter((form) => state(form) === 'true');
    const wrong = forms.filter((form) => state(form) === 'false');
    const open = forms.filter((form) => state(form) === undefined);
    place.dataset.right = right.length;
    place.replaceChildren(`${right.length} of ${forms.length} questions on this page answered right.`, ...(wrong.length ? [' Look again at ', ...list(wrong), '.'] : []), ...(open.length && open.length < forms.length ? [' Still open: ', ...list(open), '.'] : []));
  };
}

function enhance(form, storage, module, sum) {
  const actions = form.querySelector('[data-quiz-actions]');
  const result = form.querySelector('[data-quiz-result]');
  const says = document.createElement('div');
  actions.hidden = false;
  actions.after(says);
  result.classList.add('quiz-result');
  const fields = [...form.querySelectorAll(`[name="quiz-${CSS.escape(form.dataset.quiz)}"]`)];
  const isNumber = form.dataset.kind !== 'single' && form.dataset.kind !== 'multiple';
  const again = document.createElement('button');
  again.type = 'button';
  again.textContent = 'Try again';
  again.dataset.action = 'retry';
  again.hidden = true;
  result.before(again, ' ');

  const check = async (remember) => {
    const answer = form.dataset.kind === 'run' ? await checkRun(form, fields[0], storage, module) : isNumber ? checkNumber(form, fields[0]) : checkChoice(form, fields);
    says.replaceChildren();
    delete result.dataset.right;
    if (typeof answer === 'string' || answer instanceof Node) { result.replaceChildren(answer); sum(); return; }
    result.dataset.right = answer.right;
    result.textContent = answer.words;
    says.append(...answer.feedback.map(({ right, item }) => {
      const box = document.createElement('div');
      box.className = 'quiz-says';
      box.dataset.right = right;
      box.append(...[...item.children].filter((child) => !(isNumber && child.className === 'quiz-verdict')).map((child) => child.cloneNode(true)));
      return box;
    }));
    again.hidden = answer.right;
    // Where it is explained: as the author says, else the section that speaks of it most.
    const see = answer.right ? null : form.querySelector('.quiz-see')?.cloneNode(true) ?? readAgain(form);
    if (see) says.append(see);
    sum();
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
  const clear = () => { says.replaceChildren(); result.textContent = ''; delete result.dataset.right; again.hidden = true; sum(); };
  form.addEventListener('change', clear);
  again.addEventListener('click', () => {
    for (const field of fields) { if (isNumber) field.value = ''; else field.checked = false; }
    storage.remove(answerKey(form));
    clear();
    fields[0].focus();
  });

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
  const moved = storage.keys().filter((key) => key.startsWith('answer:') && key.endsWith(`#${id}`)).map(read).find((given) => given !== null);
  if (moved) return moved;
  // Earlier editions: by address and place.
  const places = storage.keys().filter((key) => key.startsWith('quiz:') && key.endsWith(`#quiz-${id}`)).map(read).find((given) => given !== null) ?? null;
  return places && form.dataset.kind !== 'number' ? places.map(Number) : places;
}

/** The section of this page that shares most of a question's rarer words: headings with an address, and what stands under them. */
function readAgain(form) {
  const wordsOf = (text) => new Set(text.toLowerCase().match(/[a-zà-ÿ]{4,}|\d+/g) ?? []);
  const heads = [...document.querySelectorAll('main > :is(h2, h3)[id]')].filter((head) => head.compareDocumentPosition(form) & Node.DOCUMENT_POSITION_FOLLOWING);
  const sections = heads.map((head) => {
    let text = head.textContent;
    for (let at = head.nextElementSibling; at && !/^H[123]$/.test(at.tagName); at = at.nextElementSibling) if (!at.matches('form, section, .listing')) text += ` ${at.textContent}`;
    return { head, words: wordsOf(text) };
  }).filter(({ words }) => words.size > 20);
  const asked = wordsOf([form.querySelector('.quiz-question'), ...form.querySelectorAll('[data-correct=true]')].map((part) => part?.textContent ?? '').join(' '));
  const score = ({ words }) => [...asked].reduce((sum, word) => sum + (words.has(word) ? Math.log(sections.length / sections.filter((other) => other.words.has(word)).length) : 0), 0);
  const [best] = sections.map((section) => [score(section), section.head]).sort(([a], [b]) => b - a);
  if (!best || best[0] < 2) return null;
  const link = document.createElement('a');
  link.href = `#${best[1].id}`;
  link.textContent = best[1].textContent.trim();
  const place = document.createElement('p');
  place.className = 'quiz-see';
  // Found by words, not by an author: a guess, and called one.
  place.append('Perhaps it helps to read again: ', link);
  return place;
}

/** A number beside what the reader's own last run of that setting found. */
async function checkRun(form, field, storage, module) {
  const value = readNumber(field.value, form.querySelector('.quiz-unit')?.textContent ?? '');
  if (typeof value === 'string') return value;
  const { lab, of, setting, percent } = form.dataset;
  const { same } = await module('predictions');
  // What is wrong with them is told by the list of runs.
  const { rows } = await (await module('store')).rowsOf(storage, lab);
  const run = rows.filter((row) => same(setting, `?${row?.query ?? ''}`)).at(-1);
  const found = run?.record?.metrics?.find((metric) => metric.id === of)?.value;
  if (typeof found !== 'number') {
    const words = document.createElement('span');
    const link = document.createElement('a');
    // The lab may stand on another page: the link finds it.
    link.href = `?lab=${lab}${setting ? `&${setting}` : ''}`;
    link.textContent = setting ? 'with this setting' : 'as it stands';
    words.append('It is checked against your own run: run the lab ', link, ' first, then check again.');
    return words;
  }
  const right = Math.abs(value - found) <= (Number(percent) / 100 + 1e-9) * Math.abs(found);
  const item = options(form).find((entry) => (entry.dataset.correct === 'true') === right);
  return { right, words: right ? 'Right, by your own run.' : 'Not what your run found.', feedback: item ? [{ right, item }] : [] };
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

const RAISED = '⁰¹²³⁴⁵⁶⁷⁸⁹';
/** `10⁻⁶` as `10^-6`: to normalize it would make 10-6 of it, and 106 of `10⁶`. */
const lowered = (text) => text.replace(/[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+/g, (raised) => `^${[...raised].map((c) => (c === '⁻' ? '-' : c === '⁺' ? '+' : RAISED.indexOf(c))).join('')}`);

/** A number as people write it, or what to say about it: `1,000`, `3e-14`, `3 × 10^-14`, `10⁶`, `−2`, `1 000 J`. */
export function readNumber(text, unit = '') {
  const whole = text.trim();
  const named = unit.trim();
  // Before powers are read: a unit may hold one (m²).
  let words = lowered(named && whole.endsWith(named) ? whole.slice(0, -named.length) : whole).normalize('NFKC').replace(/[\u2212\u2013]/g, '-').replace(/[\s_'’]+/g, '');
  const name = unit.normalize('NFKC').replace(/\s+/g, '');
  if (name && words.endsWith(name)) words = words.slice(0, -name.length);
  if (!words) return 'Enter a number.';
  words = words.replace(/[×x*·]10(?:\^|\*\*)?\(?([+-]?\d+)\)?$/i, 'e$1').replace(/^([+-]?)10(?:\^|\*\*)\(?([+-]?\d+)\)?$/, (all, sign, power) => `${sign}1e${power}`);
  if (words.includes(',')) {
    // Commas part thousands, as in this book.
    if (/^[+-]?\d{1,3}(,\d{3})+(\.\d*)?(e[+-]?\d+)?$/i.test(words) && !/^[+-]?0,/.test(words)) words = words.replaceAll(',', '');
    else if (/^[+-]?\d*,\d+(e[+-]?\d+)?$/i.test(words)) return `Write a point before the decimals: ${words.replace(',', '.')}.`;
    else return 'Write the number without commas, with a point before the decimals.';
  }
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(words) ? Number(words) : NaN;
  if (!Number.isFinite(value)) return `Enter a number${/[/^=*]/.test(words) ? ', worked out' : ''}: digits, with a point before the decimals, or such as 3e-14.`;
  return value;
}
