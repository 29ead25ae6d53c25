// A report of a lab: who, which guesses, which runs, which answers; to print, or to hand in as a file that can be repeated.

/** The seed that belongs to a student's name or number: FNV-1a, as `lab-cli` has it, below a million. */
export function ownSeed(student) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(student.trim().toLowerCase())) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % 1_000_000;
}

/** What is handed in. `rows` are the list of runs. */
export function pack(section, student, rows) {
  const guesses = [...section.querySelectorAll('form[data-predict]')].filter((form) => form.said !== undefined && form.said !== null)
    .map((form) => ({ metric: form.dataset.predict, setting: form.dataset.setting ?? '', question: form.querySelector('legend').textContent.trim(), said: form.said }));
  const answers = [...document.querySelectorAll('form.quiz')].map((form) => ({ id: form.dataset.quiz, question: questionOf(form), ...stateOf(form) }));
  return {
    format: 'efficient-ai-report', version: 1, lab: section.dataset.lab, title: titleOf(section), page: location.href.split(/[?#]/)[0], book: document.documentElement.dataset.book || document.title,
    written: new Date().toISOString(), student: student.trim(), seed_of_student: student.trim() ? ownSeed(student) : null, guesses, answers, runs: rows,
  };
}

const titleOf = (section) => section.querySelector('h3')?.textContent.trim() ?? section.dataset.lab;
const questionOf = (form) => form.querySelector('.quiz-question')?.textContent.replace(/\s+/g, ' ').trim() ?? form.dataset.quiz;
/** Whether the question was answered right; null where it was not answered. */
function stateOf(form) {
  const right = form.querySelector('[data-quiz-result]')?.dataset.right;
  const chosen = [...form.querySelectorAll('input:checked, input[type=text]')].map((field) => (field.type === 'text' ? field.value.trim() : field.closest('label')?.textContent.replace(/\s+/g, ' ').trim()));
  return { right: right === undefined ? null : right === 'true', given: right === undefined ? [] : chosen };
}

/** The form in the list of runs: a name, its seed, the report. @param {{rows: object[], storage: object}} state */
export function reportForm(section, state, { node, button }) {
  const field = document.createElement('input');
  field.type = 'text';
  field.name = 'student';
  field.maxLength = 80;
  field.autocomplete = 'off';
  field.value = state.storage.read('student') ?? '';
  field.addEventListener('change', () => state.storage.write('student', field.value.trim()));
  const says = node('span');
  says.setAttribute('role', 'status');
  const own = button('own-seed', 'Set my own seed');
  own.addEventListener('click', () => {
    const control = section.querySelector('[data-lab-widget] [name=seed]');
    if (!field.value.trim()) { says.textContent = 'Enter your name or number first.'; field.focus(); return; }
    const seed = ownSeed(field.value);
    control.value = String(seed);
    for (const kind of ['input', 'change']) control.dispatchEvent(new Event(kind, { bubbles: true }));
    says.textContent = `The seed is ${seed} now: run the lab.`;
  });
  own.hidden = !section.querySelector('[data-lab-widget] [name=seed]') || Boolean(section.dataset.without?.split(' ').includes('seed'));
  const make = button('report', 'Make a report');
  make.addEventListener('click', async () => { await state.kept; open(section, pack(section, field.value, state.rows.map(({ n, unkept, ...row }) => row)), await state.module('pictures'), make); });
  const row = node('p', node('label', 'Your name or number ', field), own, make, says);
  row.className = 'lab-runs-actions';
  return row;
}

/** Shows the report in place of the page, until it is closed. */
async function open(section, report, { save, svgOf }, opener) {
  // The charts of the last run, as they stand: a page that is hidden draws nothing.
  const charts = [];
  for (const figure of section.querySelectorAll('[data-source=run] .lab-figure')) {
    try {
      const image = document.createElement('img');
      image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(await svgOf(figure))}`;
      image.alt = figure.querySelector('figcaption')?.textContent.trim() ?? '';
      charts.push(make('figure', image, make('figcaption', image.alt)));
    } catch { /* a chart that is not drawn is not in the report; its numbers are */ }
  }
  const sheet = document.createElement('article');
  sheet.className = 'report';
  sheet.dataset.report = report.lab;
  sheet.tabIndex = -1;
  sheet.setAttribute('aria-label', `Report: ${report.title}`);
  const close = () => {
    delete document.documentElement.dataset.reporting;
    sheet.remove();
    removeEventListener('keydown', onKey, true);
    opener.focus();
  };
  const onKey = (event) => { if (event.key === 'Escape') { event.stopPropagation(); close(); } };
  const press = (action, words, act) => {
    const element = Object.assign(make('button', words), { type: 'button', className: 'button', onclick: act });
    element.dataset.action = action;
    return element;
  };
  const print = press('print-report', 'Print, or save as PDF', () => globalThis.print());
  const file = press('hand-in', 'Save as a file to hand in', () => save(`${report.lab}-report.json`, new Blob([JSON.stringify(report, null, 1)], { type: 'application/json' })));
  const back = press('close-report', 'Back to the page', close);
  const actions = make('p', print, ' ', file, ' ', back);
  actions.className = 'report-actions';
  sheet.append(actions, ...words(section, report), ...(charts.length ? [make('h2', 'Charts of the last run'), ...charts] : []));
  document.body.append(sheet);
  document.documentElement.dataset.reporting = '';
  addEventListener('keydown', onKey, true);
  scrollTo(0, 0);
  sheet.focus();
}

function words(section, report) {
  const last = report.runs.at(-1);
  const parts = [make('h1', `Report: ${report.title}`)];
  const facts = [['By', report.student || 'nobody named'], ['Written', new Date(report.written).toLocaleString('en', { dateStyle: 'long', timeStyle: 'short' })], ['Page', report.page], ['Edition', last?.record.environment?.engine_version ?? 'unknown'],
    ['Seed of this name', report.seed_of_student ?? 'none'], ['Last run on', device(last)]];
  parts.push(make('dl', ...facts.flatMap(([name, value]) => [make('dt', name), make('dd', String(value))])));
  parts.push(make('h2', 'Guesses'));
  const judged = new Map([...section.querySelectorAll('[data-predicted]')].map((item) => [item.dataset.predicted, item]));
  parts.push(report.guesses.length ? make('ul', ...report.guesses.map(({ metric, question, said }) => make('li', judged.get(metric)?.textContent.trim() ?? `${question} Said: ${said}.`))) : make('p', 'None was committed.'));
  parts.push(make('h2', `Runs (${report.runs.length})`));
  if (last) {
    parts.push(table(['Run', 'When', 'Setting', 'Seed', 'Device', 'Took'], report.runs.map((row, i) => [i + 1, new Date(row.at).toLocaleString('en'), setting(row), row.record.seed ?? '', device(row), `${row.seconds} s`])));
    parts.push(make('h2', 'Numbers of the last run'));
    parts.push(table(['Number', 'Value', '95 % interval', 'Baseline', 'Kind'], last.record.metrics.filter((metric) => !metric.detail).map((metric) => [metric.label, `${figure(metric.value)} ${metric.unit ?? ''}`, metric.interval ? `${figure(metric.interval.low)} to ${figure(metric.interval.high)}` : '', metric.baseline === undefined || metric.baseline === null ? '' : figure(metric.baseline), metric.kind])));
  } else parts.push(make('p', 'The lab was not run.'));
  parts.push(make('h2', 'Questions of the page'));
  parts.push(report.answers.length ? table(['Question', 'Answer', ''], report.answers.map(({ question, given, right }) => [question, given.join('; '), right === null ? 'not answered' : right ? 'right' : 'not right'])) : make('p', 'The page asks none.'));
  return parts;
}

const device = (row) => row?.record.environment?.device?.name ?? '';
const setting = (row) => [...new URLSearchParams(row.query)].filter(([name]) => !['lab', 'device', 'seed'].includes(name)).map((pair) => pair.join('=')).join(' ') || 'as it stands';
const figure = (value) => (Number.isFinite(value) ? Number(value.toPrecision(5)).toLocaleString('en', { maximumSignificantDigits: 5 }) : String(value));

function make(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}

function table(heads, rows) {
  const head = (text) => Object.assign(make('th', text), { scope: 'col' });
  const place = make('div', make('table', make('thead', make('tr', ...heads.map(head))), make('tbody', ...rows.map((row) => make('tr', ...row.map((cell) => make('td', String(cell))))))));
  place.className = 'report-table';
  return place;
}
