// All that the book keeps in this browser, as one file: saved, taken in again, forgotten.

const FORMAT = 'efficient-ai-shelf';
/** A thousand runs of a lab take about ten million. */
const MOST_CHARACTERS = 100_000_000;
/** What entries may be called. */
const NAMES = /^(theme|contents|diff|pages|read|student|(answer|quiz):[^\n]{1,300}|(predict|runs):[a-z0-9-]{1,60}([#:][\w.-]{1,80})?)$/;

/** @param {{storage: {read: Function, write: Function, keys: Function, remove: Function}}} page */
export function start({ storage, module }) {
  const place = document.querySelector('[data-keep]');
  const says = document.createElement('p');
  says.setAttribute('role', 'status');
  const file = document.createElement('input');
  file.type = 'file';
  file.accept = '.json,application/json';
  file.hidden = true;
  const button = (action, words, press) => {
    const element = document.createElement('button');
    element.type = 'button';
    element.className = 'button';
    element.dataset.action = action;
    element.textContent = words;
    element.addEventListener('click', press);
    return element;
  };
  const row = document.createElement('p');
  row.className = 'keep-actions';
  let sure = false;
  row.append(
    button('export-all', 'Save all as a file', async () => {
      let rows = [];
      let lacks = '';
      try { rows = await (await module('store')).all(); } catch { lacks = ' Your runs could not be read and are not in it.'; }
      (await module('pictures')).save('efficient-ai.json', new Blob([pack(storage, rows)], { type: 'application/json' }));
      says.textContent = `Saved. The file holds what you read, answered, guessed and ran, and nothing else.${lacks}`;
    }), ' ',
    button('import-all', 'Take in a file', () => file.click()), ' ',
    button('forget-all', 'Forget all', async (event) => {
      if (!sure) { sure = true; event.target.textContent = 'Really forget all?'; return; }
      sure = false;
      event.target.textContent = 'Forget all';
      for (const key of storage.keys()) storage.remove(key);
      // Blocked: there is nothing to forget.
      await module('store').then((store) => store.forget(storage)).catch(() => {});
      says.textContent = 'Forgotten. Other pages of this book that are open show it when they are loaded anew.';
    }),
    file,
  );
  file.addEventListener('change', async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    says.textContent = chosen.size > 4 * MOST_CHARACTERS ? tooLarge : await take(await chosen.text(), storage, await module('store').catch(() => null));
    file.value = '';
  });
  place.append(row, says);
}

const tooLarge = 'This file is larger than anything this book saves. Nothing was changed.';

/** Everything kept, as the text of a file: runs under the names that the browser's storage has for them. */
export function pack(storage, rows = []) {
  // How many runs a lab has is no run.
  const isCount = (key) => isRuns(key) && /^{"version":2,/.test(storage.read(key));
  const entries = Object.fromEntries(storage.keys().filter((key) => !isCount(key)).map((key) => [key, storage.read(key)]));
  const labs = new Map();
  for (const row of rows) {
    if (!labs.has(row.record.lab)) labs.set(row.record.lab, []);
    labs.get(row.record.lab).push(row);
  }
  for (const [lab, own] of labs) entries[`runs:${lab}`] = JSON.stringify({ version: 1, rows: own.map(({ n, ...row }) => row) });
  return JSON.stringify({ format: FORMAT, version: 1, saved: new Date().toISOString(), entries }, null, 1);
}

/** Takes a file in, all of it or nothing: runs beside those that are there, the rest in place of it. @returns what to say */
export async function take(text, storage, store) {
  const no = (why) => `${why} Nothing was changed.`;
  if (text.length > MOST_CHARACTERS) return tooLarge;
  let kept;
  try { kept = JSON.parse(text); } catch { return no('This file cannot be read: it is not JSON, or it was cut off.'); }
  if (kept?.format !== FORMAT) return no('This is not a file that this book saved.');
  if (kept.version !== 1) return no('A newer edition of this book saved this file. Take it in there.');
  if (typeof kept.entries !== 'object' || kept.entries === null || Array.isArray(kept.entries)) return no('This file holds no entries.');
  const entries = Object.entries(kept.entries);
  const strange = entries.find(([name, value]) => !NAMES.test(name) || typeof value !== 'string');
  if (strange) return no(`This file holds something that is not of this book (“${strange[0].slice(0, 40)}”).`);
  const blocked = 'This browser’s storage is blocked or full.';
  const rows = entries.flatMap(([name, value]) => rowsIn(name, value, store));
  let undo = async () => {};
  try { if (rows.length) undo = await store.takeIn(storage, rows); } catch { return no(blocked); }
  // How many runs there are is told by those who keep them; what cannot be read stays as it is.
  const plain = entries.filter(([name, value]) => !isRuns(name) || (!rowsIn(name, value, store).length && storage.read(name) === null));
  const before = plain.map(([name]) => [name, storage.read(name)]);
  for (const [i, [name, value]] of plain.entries()) {
    if (storage.write(name, value)) continue;
    // All or nothing: what was written goes back to what it was.
    const written = before.slice(0, i);
    for (const [old] of written.filter(([, was]) => was === null)) storage.remove(old);
    for (const [old, was] of written.filter(([, was]) => was !== null)) storage.write(old, was);
    await undo();
    return no(blocked);
  }
  return entries.length === 1 ? 'Taken in: one entry.' : `Taken in: ${entries.length} entries. Pages that are open show them when they are loaded anew.`;
}

const isRuns = (name) => /^runs:[a-z0-9-]+$/.test(name);

/** The rows of runs that an entry holds. */
function rowsIn(name, value, store) {
  if (!store || !isRuns(name)) return [];
  try {
    const { version, rows } = JSON.parse(value);
    return version === 1 && Array.isArray(rows) ? rows.filter((row) => store.isRow(row) && `runs:${row.record.lab}` === name) : [];
  } catch { return []; /* not ours */ }
}
