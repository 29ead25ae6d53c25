// The reader's runs of a lab: a row each, kept in the browser; two compared, and all of them as a file.

/** Rows that are shown before more are asked for: a browser lays out a thousand in a second, and nobody reads them. */
const SHOWN = 50;
/** A live lab runs at every turn of a control: what lasted a moment is no run to keep. */
const MOMENT_MS = 3000;

/** @param {HTMLElement} section @param {{storage: object, module: Function}} page @returns {Promise} when the rows that are kept are shown */
export function collect(section, { storage, module }) {
  const lab = section.dataset.lab;
  const live = 'live' in section.dataset;
  const asked = [...section.querySelectorAll('form[data-predict]')].map((form) => form.dataset.predict);
  const state = { section, lab, rows: [], storage, module, asked, words: '', picked: new Set(), own: null, charts: new Map(), shown: SHOWN, older: 0 };
  let began = 0;
  // The state is told at every step of a run, not only when it changes.
  new MutationObserver(([change]) => { if (section.dataset.state === 'running' && change.oldValue !== 'running') began = performance.now(); })
    .observe(section, { attributeFilter: ['data-state'], attributeOldValue: true });
  const none = () => { /* the list stays as it is until the next run */ };
  let layBehind = null;
  module('behind').then((found) => { ({ layBehind } = found); }, () => { /* charts without a second series */ });
  addEventListener('lab-record', (event) => {
    let message;
    try { message = JSON.parse(event.detail); } catch { return; }
    const { record } = message;
    if (record?.lab !== lab) return;
    const row = rowOf(record, section.dataset.ran, (performance.now() - began) / 1000);
    // Charts last as long as the page, as the run drew them.
    state.charts.set(row.id, (record.charts ?? []).map((chart) => (chart.series ? { ...chart, series: [...chart.series] } : chart)));
    if (state.charts.size > 20) state.charts.delete([...state.charts.keys()][0]);
    if (layBehind?.(section, record)) event.detail = JSON.stringify(message);
    state.kept = state.kept.then(() => add(state, row, live)).then(() => show(section, state)).catch(none);
  });
  if (!live) {
    const results = (changes) => { for (const { target } of changes) if (target.matches?.('.lab-results-body')) answerFirst(target, asked); };
    new MutationObserver(results).observe(section.querySelector('.lab-widget') ?? section, { childList: true, subtree: true });
    section.addEventListener('click', (event) => { if (event.isTrusted && event.target.closest('[data-action="run"]')) makeRoom(section); });
  }
  const load = async () => {
    const { rows, older, trouble, locked, lost } = await (await module('store')).rowsOf(storage, lab, SHOWN);
    // What this page ran and could not keep stays in its list.
    const unkept = state.rows.filter((row) => row.unkept && !rows.some(({ id }) => id === row.id));
    Object.assign(state, { rows: [...rows, ...unkept], older, words: trouble, locked });
    if (state.rows.length || (trouble && !lost)) show(section, state);
  };
  // The rows that are not shown come piece by piece: no task of the page takes long.
  const rest = async () => {
    const { before } = await module('store');
    while (state.older) {
      const { rows, older } = await before(lab, state.rows);
      state.rows = [...rows, ...state.rows];
      state.older = rows.length ? older : 0;
      if (!state.older) await markTried(section, state);
    }
  };
  const opened = load().catch(none);
  // Whatever is done with the list is done after what was begun before.
  state.kept = opened.then(rest).catch(none);
  module('store').then(({ watch }) => watch(lab, () => { state.kept = state.kept.then(load).then(rest).catch(none); }), none);
  return opened;
}

/** What is kept of a record: all but its charts and tables, which another run of the same setting draws again, and words that the lab has. */
export function rowOf(record, address = '', seconds = 0) {
  const at = address.indexOf('?');
  const query = at < 0 ? '' : address.slice(at + 1).split('#')[0];
  const { tables, charts, notes, metrics = [], ...kept } = record;
  const lean = { ...kept, metrics: metrics.map(({ help, ...metric }) => metric) };
  return { id: `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 6)}`, at: new Date().toISOString(), query, seconds: Math.round(seconds * 100) / 100, record: lean };
}

async function add(state, row, live) {
  const last = state.rows.at(-1);
  const instead = live && last && last.id === state.own && Date.parse(row.at) - Date.parse(last.at) < MOMENT_MS ? last.id : undefined;
  state.own = row.id;
  if (instead) state.rows.pop();
  state.rows = [...state.rows, row];
  if (state.locked) return;
  try {
    const store = await state.module('store');
    const { words, kept } = await store.add(state.storage, row, instead);
    state.words = words;
    row.unkept = !kept;
    if (kept) state.rows = state.rows.slice(-store.MOST);
  } catch {
    row.unkept = true;
    state.words = 'Your runs could not be kept: the list is gone when you leave the page.';
  }
}

/** A row as others get it: without what belongs to this page and this browser. */
const outside = ({ n, unkept, ...row }) => row;

function show(section, state) {
  let box = section.querySelector('[data-runs]');
  if (!box) {
    box = document.createElement('details');
    box.className = 'lab-runs';
    box.dataset.runs = '';
    section.querySelector('[data-lab-widget]').after(box);
    box.addEventListener('click', (event) => press(section, state, event.target.closest('[data-action]')));
    box.addEventListener('change', (event) => {
      const { value, checked } = event.target;
      if (checked) state.picked.add(value); else state.picked.delete(value);
      // The third takes the place of the first.
      if (state.picked.size > 2) state.picked.delete([...state.picked][0]);
      for (const field of box.querySelectorAll('[type=checkbox]')) field.checked = state.picked.has(field.value);
      choose(box, state);
    });
  }
  const count = state.older + state.rows.length;
  const summary = node('summary', node('h4', count === 1 ? 'Your runs (1)' : `Your runs (${count})`));
  const rows = state.rows.slice(-state.shown).reverse().map((row) => line(row, state));
  const table = node('div', node('table', node('thead', node('tr', ...['Compare', 'Run', 'Setting', 'Device', ...heads(state), 'Took'].map((word, i) => head(word, i > 3)))), node('tbody', ...rows)));
  table.className = 'lab-scroll';
  table.tabIndex = 0;
  table.setAttribute('role', 'region');
  table.setAttribute('aria-label', 'Your runs');
  const older = count > state.shown ? [node('p', button('all-runs', `Show the ${count - state.shown} older runs`))] : [];
  const says = node('p', state.words);
  says.className = 'lab-note';
  says.setAttribute('role', 'status');
  says.dataset.runsSay = '';
  const actions = node('p', button('compare-runs', 'Compare two'), button('export-csv', 'Save as CSV'), button('export-json', 'Save as JSON'), button('forget-runs', 'Forget all'));
  actions.className = 'lab-runs-actions';
  const pair = node('div');
  pair.dataset.pair = '';
  const vary = box.querySelector('[data-sweep]') ?? sweepForm(section, state);
  const hand = box.querySelector('[data-reporter-form]') ?? handForm(section, state);
  box.replaceChildren(summary, ...(count ? [table, ...older, actions] : []), says, pair, ...(vary ? [vary] : []), hand);
  choose(box, state);
  markTried(section, state);
}

/** Links of the page that set this lab say which settings were run. */
async function markTried(section, { lab, rows, module }) {
  const links = [...document.querySelectorAll(`main a[href*="lab=${lab}"]`)].filter((link) => !link.closest('[data-runs], [data-source=run]') && new URL(link.href).searchParams.get('lab') === lab);
  if (!links.length) return;
  const { settingOf } = await module('predictions');
  const ran = new Set([...new Set(rows.map(({ query }) => query))].map((query) => settingOf(`?${query}`)));
  for (const link of links) {
    const tried = ran.has(settingOf(new URL(link.href).search));
    if (tried === ('tried' in link.dataset)) continue;
    if (!tried) { delete link.dataset.tried; link.querySelector('.lab-tried')?.remove(); continue; }
    link.dataset.tried = '';
    const mark = node('span', node('span', ' ✓'), node('span', ' (tried)'));
    mark.className = 'lab-tried';
    mark.firstChild.setAttribute('aria-hidden', 'true');
    mark.lastChild.className = 'hidden';
    link.append(mark);
  }
}

/** The three numbers that answer the lab's questions: those asked for before a run, then the first ones that it does not fold away. */
function main({ asked, rows }) {
  const metrics = (rows.at(-1)?.record.metrics ?? []).filter((metric) => !metric.detail);
  const first = metrics.filter((metric) => asked.includes(metric.id));
  return [...first, ...metrics.filter((metric) => !first.includes(metric))].slice(0, 3);
}

/** What answers the lab's question stands before the whole table: three numbers, and the first chart. */
function answerFirst(body, asked) {
  const report = body.querySelector('.lab-report');
  const whole = report?.querySelector(':scope > .lab-more, :scope > .lab-scroll');
  const figures = report?.querySelector(':scope > .lab-figures');
  if (!whole) return;
  const lines = [...report.querySelectorAll('.lab-metrics tr.metric:not(.detail)')].filter((tr) => tr.querySelector('td.value'));
  const first = lines.filter((tr) => asked.includes(tr.querySelector('td.value [data-metric]')?.dataset.metric));
  const three = [...first, ...lines.filter((tr) => !first.includes(tr))].slice(0, 3);
  const list = node('dl', ...three.map((tr) => {
    const value = tr.querySelector('td.value');
    const beside = [tr.querySelector('td[data-label="Baseline"]:not(.empty)'), value.querySelector('.interval')].filter(Boolean);
    const small = node('small', beside.map((part) => (part.matches('td') ? `baseline ${part.textContent.trim()}` : part.textContent.trim())).join('; '));
    return node('div', node('dt', tr.querySelector('th').textContent.trim()), node('dd', node('strong', (value.querySelector('[data-metric]') ?? value).textContent.trim()), ...(beside.length ? [' ', small] : [])));
  }));
  list.className = 'lab-first';
  const front = node('div', ...(three.length ? [list] : []));
  front.className = 'lab-front';
  if (figures?.firstElementChild) {
    const picture = node('div', figures.firstElementChild);
    picture.className = 'lab-figures';
    front.append(picture);
  }
  if (!front.firstChild) return;
  whole.before(front);
  // Where the steps stand below all of the result, a way leads there; where they stand beside it, none is needed.
  const steps = body.closest('section.lab').querySelector('.lab-steps');
  if (!steps) return;
  const next = node('p', Object.assign(document.createElement('a'), { href: `#${steps.id}`, textContent: 'What to look at and to try next' }));
  next.className = 'lab-next';
  front.after(next);
}

/** Under the button, the screen is free for the result. In a live lab the picture is in view already. */
function makeRoom(section) {
  if ('live' in section.dataset) return;
  const actions = section.querySelector('.lab-actions');
  if (actions && actions.getBoundingClientRect().top > 0.2 * innerHeight) actions.scrollIntoView({ block: 'start', behavior: 'instant' });
}

const heads = (state) => main(state).map((metric) => (metric.unit ? `${metric.label} (${metric.unit})` : metric.label));

function line(row, state) {
  const pick = document.createElement('input');
  pick.type = 'checkbox';
  pick.value = row.id;
  pick.checked = state.picked.has(row.id);
  pick.setAttribute('aria-label', `Compare run ${number(row, state)}`);
  const link = document.createElement('a');
  link.href = `?${row.query || `lab=${state.lab}`}#lab-${state.lab}`;
  link.textContent = words(row);
  const columns = main(state).map(({ id }) => row.record.metrics.find((metric) => metric.id === id));
  const numbers = [...columns.map((metric) => (metric ? short(metric.value) : '')), `${short(row.seconds)} s`].map((text) => { const td = cell('td', text); td.className = 'num'; return td; });
  const tr = node('tr', node('td', pick), cell('td', `${number(row, state)}: ${when(row.at)}`), node('td', link, ...repeat(row, state)), cell('td', row.record.environment?.device?.kind === 'webgpu' ? 'WebGPU' : 'CPU'), ...numbers);
  tr.dataset.runId = row.id;
  return tr;
}

/** A button that runs a row once more. What was drawn or chosen as a file is not kept, so such a run cannot be repeated from here. */
function repeat(row, state) {
  const given = (field) => row.record.params?.[field.name || field.dataset.drawing];
  if ([...state.section.querySelectorAll('.control :is(input[type=file], [data-drawing])')].some(given)) return [];
  const element = button('again', 'Again');
  element.dataset.row = row.id;
  element.setAttribute('aria-label', `Run ${number(row, state)} again, with the same seed`);
  return [element];
}

/** A setting in words: what is not at its default. */
function words(row) {
  const pairs = [...new URLSearchParams(row.query)].filter(([name]) => !['lab', 'device'].includes(name));
  return pairs.map(([name, value]) => `${name.replaceAll('_', ' ')} ${value}`).join(', ') || 'as it stands';
}

const when = (iso) => new Date(iso).toLocaleString('en', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

/** Runs are numbered as they came. */
const number = (row, state) => state.older + state.rows.indexOf(row) + 1;

function choose(box, state) {
  const compare = box.querySelector('[data-action=compare-runs]');
  if (compare) compare.disabled = state.picked.size !== 2;
}

function press(section, state, pressed) {
  const box = section.querySelector('[data-runs]');
  const action = pressed?.dataset.action;
  if (action === 'compare-runs') compareTwo(box, state);
  else if (action === 'again') runAgain(section, state, pressed);
  else if (action === 'export-csv') state.kept.then(() => save(state, `${state.lab}-runs.csv`, 'text/csv', csv(state.rows)));
  else if (action === 'export-json') state.kept.then(() => save(state, `${state.lab}-runs.json`, 'application/json', JSON.stringify({ format: 'efficient-ai-runs', version: 1, lab: state.lab, runs: state.rows.map(outside) }, null, 1)));
  else if (action === 'all-runs') {
    state.kept.then(() => {
      state.shown = Infinity;
      show(section, state);
      box.querySelector('.lab-scroll')?.focus();
    });
  } else if (action === 'forget-runs') {
    // Pressed twice: what is gone does not come back.
    const press = box.querySelector('[data-action=forget-runs]');
    if (press.textContent === 'Forget all') { press.textContent = 'Really forget all?'; return; }
    state.kept = state.kept.then(async () => {
      state.rows = [];
      state.older = 0;
      state.picked.clear();
      state.shown = SHOWN;
      // What a newer edition keeps is not ours to forget.
      state.words = state.locked ? '' : await (await state.module('store')).forget(state.storage, state.lab).then(() => 'Forgotten.', () => 'This browser does not let the page forget them.');
      show(section, state);
    });
  }
}

function compareTwo(box, state) {
  const [first, second] = state.rows.filter((row) => state.picked.has(row.id));
  const place = box.querySelector('[data-pair]');
  place.replaceChildren(pairTable(first, second, state));
  const [one, two] = [first, second].map(({ id }) => state.charts.get(id));
  if (!one || !two) {
    const word = node('p', 'Charts are kept as long as the page is open: run a setting again to see both runs in one chart.');
    word.className = 'lab-note';
    place.append(word);
    return;
  }
  state.module('sweep').then(({ alike, overlay }) => {
    const figures = node('div');
    figures.className = 'lab-sweep-figures lab-overlays';
    for (const chart of one) {
      const other = two.find(({ id }) => id === chart.id);
      if (!alike(chart, other)) continue;
      const figure = node('figure');
      figure.dataset.overlay = chart.id;
      figure.innerHTML = overlay(chart, other);
      figure.prepend(node('figcaption', node('strong', chart.title), ` ${chart.y.label}. Hollow and dashed: run ${number(first, state)}. Filled and solid: run ${number(second, state)}.`));
      figures.append(figure);
    }
    place.append(figures);
  }, () => { /* the table stands without its pictures */ });
}

/** Runs a row once more, and puts both beside each other. */
async function runAgain(section, state, pressed) {
  const row = state.rows.find(({ id }) => id === pressed.dataset.row);
  const known = new Set(state.rows.map(({ id }) => id));
  const { again } = await state.module('sweep');
  const done = row && await again(section, row);
  await state.kept;
  const found = state.rows.find(({ id }) => !known.has(id));
  if (!done || !found) { section.querySelector('[data-runs-say]').textContent = 'It was not run again.'; return; }
  state.picked = new Set([row.id, found.id]);
  show(section, state);
  compareTwo(section.querySelector('[data-runs]'), state);
  section.querySelector(`[data-action=again][data-row="${row.id}"]`)?.focus();
}

const save = async ({ module }, name, type, text) => (await module('pictures')).save(name, new Blob([text], { type }));

/** A control to vary, once the controls are there. A live lab is varied by hand. */
function sweepForm(section, state) {
  if ('live' in section.dataset || !section.querySelector('.control[data-control]')) return null;
  const place = node('div');
  place.dataset.sweep = '';
  const choice = document.createElement('select');
  choice.setAttribute('aria-label', 'Control to vary');
  const go = button('sweep', 'Run them');
  const says = node('span');
  says.setAttribute('role', 'status');
  const figures = node('div');
  figures.className = 'lab-sweep-figures';
  const row = node('p', node('label', 'Vary ', choice), go, says);
  row.className = 'lab-runs-actions';
  place.append(row, figures);
  const ready = state.module('sweep').then((sweep) => {
    const fill = () => {
      const chosen = choice.value;
      choice.replaceChildren(...sweep.axes(section).map(({ name, label }) => new Option(name === 'seed' ? 'Seed, five of them' : label, name, false, name === chosen)));
    };
    fill();
    // What can be varied depends on other controls.
    choice.addEventListener('focus', fill);
    return sweep;
  });
  ready.catch(() => { place.hidden = true; });
  go.addEventListener('click', async () => {
    const { sweep, picture } = await ready;
    const name = choice.value;
    const known = new Set(state.rows.map((row) => row.id));
    go.disabled = true;
    figures.replaceChildren();
    const [done, all] = await sweep(section, name, (words) => { says.textContent = words; });
    await state.kept;
    go.disabled = false;
    says.textContent = done === all ? `${all} runs.` : `Ended after ${done} of ${all} runs.`;
    const rows = state.rows.filter((row) => !known.has(row.id));
    for (const { id, label, unit } of done ? main(state) : []) {
      const points = rows.flatMap((row) => {
        const metric = row.record.metrics.find((candidate) => candidate.id === id);
        const x = name === 'seed' ? row.record.seed : row.record.params?.[name];
        return metric ? [{ x: String(x), y: metric.value, ...metric.interval }] : [];
      });
      const figure = node('figure');
      figure.innerHTML = picture(label, points);
      figure.prepend(node('figcaption', unit ? `${label} (${unit})` : label));
      figures.append(figure);
    }
  });
  return place;
}

/** A report to print or to hand in. */
function handForm(section, state) {
  const place = node('div');
  place.dataset.reporterForm = '';
  state.module('reporter').then(({ reportForm }) => place.append(reportForm(section, state, { node, button })), () => { place.hidden = true; });
  return place;
}

function pairTable(first, second, state) {
  const lines = first.record.metrics.filter((metric) => !metric.detail).flatMap((a) => {
    const b = second.record.metrics.find((metric) => metric.id === a.id);
    if (!b) return [];
    const tr = node('tr', cell('th', a.unit ? `${a.label} (${a.unit})` : a.label), ...[[short(a.value), interval(a)], [short(b.value), interval(b)], [ratio(a, b), span(a, b)], [verdict(a, b)]].map(([text, small], i) => { const td = cell('td', text); if (i < 3) td.className = 'num'; if (small) td.append(node('small', small)); return td; }));
    tr.dataset.metricPair = a.id;
    return [tr];
  });
  const top = node('thead', node('tr', ...['', ...[first, second].map((row) => `Run ${number(row, state)}: ${words(row)}`), 'Second over first', 'Told apart?'].map((word, i) => head(word, i > 0 && i < 4))));
  const table = node('table', top, node('tbody', ...lines));
  const place = node('div', table);
  place.className = 'lab-scroll';
  return place;
}

/** The second over the first, or the difference where a ratio says nothing. */
export function ratio(a, b) {
  if (['%', 'points', 'nats', 'bits', 'dB'].includes(a.unit) || a.value * b.value <= 0) {
    const by = b.value - a.value;
    return `${by > 0 ? '+' : ''}${short(by)}`;
  }
  return `${short(b.value / a.value)}×`;
}

/** The interval of a number, in brackets. */
const interval = ({ interval: found }) => (found ? `[${short(found.low)}, ${short(found.high)}]` : '');

/** Between what the ratio or the difference lies if each number lies in its own interval: the wide side. */
export function span(a, b) {
  if (!a.interval || !b.interval || (a.interval.low === a.interval.high && b.interval.low === b.interval.high)) return '';
  if (ratio(a, b).endsWith('×')) return a.interval.low > 0 && b.interval.low > 0 ? `[${short(b.interval.low / a.interval.high)}, ${short(b.interval.high / a.interval.low)}]` : '';
  return `[${short(b.interval.low - a.interval.high)}, ${short(b.interval.high - a.interval.low)}]`;
}

/** Whether chance alone may have made the difference. Two intervals of 95 % that do not meet leave it less than one chance in a hundred. */
export function verdict(a, b) {
  if (a.kind === 'exact') return a.value === b.value ? 'the same' : 'yes: no chance in it';
  if (a.value === b.value) return 'no';
  if (!a.interval || !b.interval) return 'one run each cannot tell';
  return a.interval.low > b.interval.high || b.interval.low > a.interval.high ? 'yes' : 'no: the intervals meet';
}

/** A line for each number of each run, as RFC 4180 has it. */
export function csv(rows) {
  const quote = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const lines = [['run', 'at', 'lab', 'setting', 'seed', 'device', 'engine', 'seconds', 'metric', 'label', 'unit', 'kind', 'value', 'low', 'high', 'baseline']];
  for (const { id, at, query, seconds, record } of rows) {
    for (const metric of record.metrics) {
      const environment = record.environment ?? {};
      lines.push([id, at, record.lab, query, record.seed ?? '', environment.device?.name ?? '', environment.engine_version ?? '', seconds ?? '', metric.id, metric.label ?? '', metric.unit ?? '', metric.kind ?? '', metric.value, metric.interval?.low ?? '', metric.interval?.high ?? '', metric.baseline ?? '']);
    }
  }
  return lines.map((line) => line.map(quote).join(',')).join('\r\n') + '\r\n';
}

/** A number in at most four figures, thousands parted as everywhere in the book. */
function short(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && Math.abs(value) < 1e-3) {
    const [digits, power] = value.toExponential(2).split('e');
    return `${Number(digits)}×10${[...String(Number(power))].map((c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)])).join('')}`;
  }
  return Number(value.toPrecision(4)).toLocaleString('en', { maximumSignificantDigits: 4 });
}

function node(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}

const cell = (name, text) => node(name, text);

function head(text, isNumber) {
  const th = cell('th', text);
  if (isNumber) th.className = 'num';
  return th;
}

function button(action, text) {
  const element = node('button', text);
  element.type = 'button';
  element.className = 'button';
  element.dataset.action = action;
  return element;
}
