// Guesses before a run: kept in the browser, and compared with the reader's own numbers when a run ends.

/** @param {HTMLElement} section @param {{read: Function, write: Function}} storage @param {Function} readNumber that of quizzes */
export function enhance(section, storage, readNumber) {
  for (const form of section.querySelectorAll('form[data-predict]')) prepare(form, section.dataset.lab, storage, readNumber);
  const watch = new MutationObserver(() => { if (section.dataset.state === 'done') answer(section); });
  watch.observe(section, { attributeFilter: ['data-state'] });
}

const key = (lab, form) => `predict:${lab}#${form.dataset.predict}`;

/** What was said before, or null: the label of a choice, or a number. */
function recall(form, lab, storage) {
  try {
    const kept = JSON.parse(storage.read(key(lab, form)) ?? 'null');
    return kept && (typeof kept.said === 'string' || typeof kept.said === 'number' || kept.said === null) ? kept : null;
  } catch { return null; /* not ours */ }
}

function prepare(form, lab, storage, readNumber) {
  const fields = [...form.elements].filter((field) => field.tagName === 'INPUT');
  const [commit, skip] = form.querySelectorAll('[data-action]');
  const says = form.querySelector('[data-predict-says]');
  const unit = form.querySelector('.quiz-unit')?.textContent ?? '';
  let kept = recall(form, lab, storage);

  const show = () => {
    for (const field of fields) field.disabled = kept !== null;
    commit.disabled = kept !== null;
    commit.hidden = kept !== null;
    skip.textContent = kept === null ? 'Skip' : 'Change';
    skip.dataset.action = kept === null ? 'skip' : 'change';
    skip.disabled = false;
    if (kept !== null) says.textContent = kept.said === null ? 'Skipped.' : 'Kept. Now run the lab.';
  };
  const keep = (said) => {
    kept = { said };
    const stored = storage.write(key(lab, form), JSON.stringify(kept));
    // What the browser does not keep lasts as long as the page.
    form.said = said;
    show();
    if (!stored) says.textContent += ' This browser keeps nothing for this site: it is gone when you leave the page.';
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const said = read(fields, unit, readNumber);
    if (said.problem) { says.textContent = said.problem; (fields.find((field) => field.checked) ?? fields[0]).focus(); return; }
    keep(said.value);
    skip.focus();
  });
  skip.addEventListener('click', () => {
    if (kept === null) { keep(null); return; }
    kept = null;
    form.said = undefined;
    says.textContent = '';
    show();
    fields[0].focus();
  });
  if (kept?.said != null) {
    form.said = kept.said;
    for (const field of fields) { if (field.type === 'radio') field.checked = field.value === kept.said; else field.value = kept.said; }
  }
  show();
}

/** The guess in the fields, or what is wrong with it. */
function read(fields, unit, readNumber) {
  if (fields[0].type === 'radio') {
    const chosen = fields.find((field) => field.checked);
    return chosen ? { value: chosen.value } : { problem: 'Choose one.' };
  }
  const value = readNumber(fields[0].value, unit);
  if (typeof value === 'string') return { problem: value };
  const [min, max] = [Number(fields[0].dataset.min), Number(fields[0].dataset.max)];
  return value < min || value > max ? { problem: `It lies between ${min} and ${max}.` } : { value };
}

function answer(section) {
  const results = section.querySelector('.lab-results');
  results?.querySelector('.lab-predicted')?.remove();
  const list = document.createElement('ul');
  list.className = 'lab-predicted';
  for (const form of section.querySelectorAll('form[data-predict]')) {
    const said = form.said;
    if (said === undefined || said === null) continue;
    const item = document.createElement('li');
    const number = (name) => results.querySelector(`[data-metric="${CSS.escape(name)}"]`);
    const found = number(form.dataset.predict);
    if (!same(form.dataset.setting, section.dataset.ran)) {
      item.textContent = 'Your guess was about ';
      const link = document.createElement('a');
      link.href = `?lab=${section.dataset.lab}${form.dataset.setting ? `&${form.dataset.setting}` : ''}#lab-${section.dataset.lab}`;
      link.textContent = form.dataset.setting ? 'another setting' : 'the lab as it stands';
      item.append(link, ': this run had other controls.');
    } else if (found) {
      const unit = form.querySelector('.quiz-unit')?.textContent ?? '';
      const verdict = judge(form, said, found, number);
      item.dataset.predicted = form.dataset.predict;
      item.dataset.said = said;
      item.dataset.measured = found.dataset.value;
      item.dataset.verdict = verdict.word;
      const mark = document.createElement('strong');
      mark.textContent = `${form.querySelector('legend').textContent} `;
      const measured = found.textContent.trim();
      const because = form.dataset.because.replace(/\{([\w.]+)\}/g, (whole, name) => number(name)?.textContent.trim() ?? whole);
      item.append(mark, `You said ${typeof said === 'number' ? with_unit(said, unit) : `“${said}”`}, the run found ${with_unit(measured, unit)}. ${verdict.words} ${because}`);
      const says = form.querySelector('[data-predict-says]');
      says.textContent = `Your last run found ${with_unit(measured, unit)}.`;
    } else continue;
    list.append(item);
  }
  if (list.children.length) results.querySelector('.lab-results-head').after(list);
}

const with_unit = (number, unit) => (!unit || String(number).endsWith(unit) ? `${number}` : `${number}${unit === '×' ? '×' : ` ${unit}`}`);

/** Whether a run had the setting of a question: device and seed do not matter. */
export function same(setting = '', address = '') {
  const at = address.indexOf('?');
  return settingOf(setting) === settingOf(at < 0 ? '' : address.slice(at).split('#')[0]);
}

/** A setting in one order, whatever device and seed. */
export const settingOf = (search) => [...new URLSearchParams(search)].filter(([name]) => !['lab', 'seed', 'device'].includes(name)).map((pair) => pair.join('=')).sort().join('&');

/** How a guess did: within the run's own uncertainty, near, or off, and in which direction. */
function judge(form, said, found, number) {
  const measured = Number(found.dataset.value);
  if (typeof said === 'string') {
    const right = [...form.querySelectorAll('[type=radio]')].find((field) => !field.dataset.to || measured < Number(field.dataset.to));
    return right.value === said ? { word: 'right', words: 'Right.' } : { word: 'wrong', words: `Not so: “${right.value}”.` };
  }
  const [low, high, baseline] = ['low', 'high', 'baseline'].map((part) => number(`${form.dataset.predict}.${part}`)?.dataset.value).map((value) => (value === undefined ? NaN : Number(value)));
  return compare(said, measured, low, high, baseline, form.querySelector('.quiz-unit')?.textContent ?? '');
}

export function compare(said, measured, low, high, baseline, unit) {
  const off = Math.abs(said - measured);
  if (off <= 1e-9 * Math.abs(measured) || (said >= low && said <= high)) return { word: 'right', words: 'Right, as closely as the run can tell.' };
  const shares = unit === '%' || unit === 'points';
  const factor = said > 0 && measured > 0 ? Math.max(said / measured, measured / said) : Infinity;
  const short = (x) => String(Number(x.toPrecision(2)));
  const by = shares ? `${short(off)} points` : Number.isFinite(factor) && factor >= 1.1 ? `a factor of ${short(factor)}` : with_unit(short(off), unit);
  const way = said > measured ? 'too high' : 'too low';
  if (shares ? off <= 5 : factor <= 2) return { word: 'near', words: `Near: ${by} ${way}.` };
  const turned = Number.isFinite(baseline) && (said - baseline) * (measured - baseline) < 0;
  return { word: 'wrong', words: turned ? `The other direction, seen from ${short(baseline)}: ${by} ${way}.` : `Off by ${by}, ${way}.` };
}
