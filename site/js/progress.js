// Where the reader is: on a learning path, and on this page. It is counted from what the browser keeps; nothing is kept here.

/** @param {{storage: object}} page */
export function start({ storage }) {
  const seen = { storage, answered: new Set(), ran: new Set(), guessed: new Set(), lost: !works(storage) };
  const paths = [...document.querySelectorAll('[data-path-of]')];
  const line = pageLine();
  const show = () => {
    for (const path of paths) showPath(path, seen);
    if (line) showPage(line, seen);
  };
  show();
  // What happens on this page is kept by others, in listeners that may run after this one.
  const later = () => setTimeout(show);
  addEventListener('lab-record', (event) => {
    try { seen.ran.add(JSON.parse(event.detail).record.lab); } catch { return; /* no record */ }
    later();
  });
  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (form.matches('form.quiz')) setTimeout(() => { if (form.querySelector('[data-quiz-result]')?.dataset.right) seen.answered.add(form.dataset.quiz); show(); });
    else if (form.matches('form[data-predict]')) later();
  });
  // Skipping and changing a guess, forgetting runs.
  document.addEventListener('click', (event) => { if (event.target.closest?.('[data-action]')) later(); });
  // Another page of the book, in another tab or before going back to this one.
  addEventListener('storage', later);
  addEventListener('pageshow', (event) => { if (event.persisted) show(); });
  document.addEventListener('book-read', later);
}

/** Whether the browser keeps anything here. */
function works(storage) {
  const kept = storage.write('probe', '1');
  storage.remove('probe');
  return kept;
}

const json = (text) => { try { return JSON.parse(text ?? 'null'); } catch { return null; /* not ours */ } };

/** Ids of the titles of pages that were read. */
export const pagesRead = (storage) => new Set(Object.keys(json(storage.read('pages')) ?? {}));

/** Whether a lab was run: rows kept of it, or a run in this visit. */
export function wasRun(lab, { storage, ran }) {
  // Their number; earlier editions kept the rows themselves there.
  const { kept, rows } = json(storage.read(`runs:${lab}`)) ?? {};
  return ran.has(lab) || kept > 0 || (Array.isArray(rows) && rows.length > 0);
}

/** The words for a path, and the step that comes next. */
export function stateOf(steps, read, isRun) {
  const written = steps.filter((step) => step.page);
  const done = written.filter((step) => read.has(step.page)).length;
  const labs = new Set(steps.filter((step) => step.lab && isRun(step.lab)).map((step) => step.lab)).size;
  const next = written.find((step) => !read.has(step.page)) ?? null;
  const planned = steps.length - written.length;
  const words = [`${done} of ${steps.length} read`];
  if (labs) words.push(labs === 1 ? '1 lab run' : `${labs} labs run`);
  if (!next && written.length) words.push(planned ? `the rest is planned` : 'all read');
  return { words: words.join(', '), next };
}

function showPath(path, seen) {
  const place = path.querySelector('[data-path-state]');
  const items = [...path.querySelectorAll('.learning-path > li')];
  const read = pagesRead(seen.storage);
  const isRun = (lab) => wasRun(lab, seen);
  const steps = items.map((item) => ({ page: item.dataset.stepPage, lab: item.dataset.stepLab, link: item.querySelector('a[href]') }));
  const { words, next } = stateOf(steps, read, isRun);
  for (const [i, item] of items.entries()) {
    const { page, lab } = steps[i];
    const marks = [page && read.has(page) ? 'read' : '', lab && isRun(lab) ? 'lab run' : ''].filter(Boolean).join(', ');
    let mark = item.querySelector('.path-mark');
    if (!mark && marks) { mark = document.createElement('span'); mark.className = 'path-mark'; item.append(' ', mark); }
    if (mark) mark.textContent = marks ? `✓ ${marks}` : '';
    if (page && read.has(page)) item.dataset.read = ''; else delete item.dataset.read;
  }
  place.replaceChildren(words);
  if (next?.link) {
    const link = document.createElement('a');
    link.href = next.link.getAttribute('href');
    link.textContent = next.link.textContent;
    place.append(', next: ', link);
  }
  if (seen.lost) place.append('; this browser keeps nothing for this site, so it begins anew with each visit');
}

/** The line at the end of a page that asks or runs something. */
function pageLine() {
  const end = document.querySelector('.page-end');
  if (!end || !document.querySelector('form.quiz, form[data-predict], section.lab[id^="lab-"]')) return null;
  const line = document.createElement('p');
  line.className = 'page-progress';
  line.dataset.pageProgress = '';
  end.prepend(line);
  return line;
}

function showPage(line, seen) {
  const title = document.querySelector('main h1[id]')?.id ?? '';
  const of = (elements, done, what) => {
    if (!elements.length) return [];
    const one = elements.length === 1;
    return [`${elements.filter(done).length} of ${elements.length} ${one ? what[0] : what[1]}`];
  };
  const { storage } = seen;
  const keys = storage.keys();
  const answered = (form) => {
    const id = form.dataset.quiz;
    const given = json(storage.read(`answer:${title}#${id}`) ?? storage.read(keys.find((key) => key.startsWith('answer:') && key.endsWith(`#${id}`)) ?? ''));
    return seen.answered.has(id) || (Array.isArray(given) && given.length > 0);
  };
  const guessed = (form) => {
    const said = json(storage.read(`predict:${form.closest('[data-lab]')?.dataset.lab}#${form.dataset.predict}`))?.said ?? form.said;
    return said !== undefined && said !== null;
  };
  const list = (selector) => [...document.querySelectorAll(selector)];
  const parts = [
    ...of(list('form.quiz'), answered, ['question answered', 'questions answered']),
    ...of(list('form[data-predict]'), guessed, ['guess made', 'guesses made']),
    ...of(list('section.lab[id^="lab-"]'), (section) => wasRun(section.dataset.lab, seen), ['lab run', 'labs run']),
  ];
  const lost = seen.lost ? ' This browser keeps nothing for this site (its storage is blocked or full): this counts until you leave the page.' : '';
  const words = `On this page: ${parts.join(', ')}.${lost}`;
  // Left alone where it is the same.
  if (line.textContent !== words) line.textContent = words;
}
