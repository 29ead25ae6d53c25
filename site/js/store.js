// The rows of runs, in IndexedDB: a thousand of a lab, ten kilobytes each, are more than the 5 MB that the browser's storage holds for a whole
// site, and a row that is added alone overwrites nothing that another tab adds. What is small (guesses, answers) stays in that storage.
// There, `runs:LAB` only says how many rows a lab has; earlier editions kept the rows under it, and they are moved from there.

/** Rows that are kept of one lab; the oldest go first. */
export const MOST = 1000;
const ROWS = 'rows';
const NEWER = 'Your earlier runs were kept by a newer edition of this book: they stay where they are and are not shown.';
const NOTHING = 'This browser keeps nothing for this site (its storage is blocked or full): the list is gone when you leave the page.';

const name = () => `${document.documentElement.dataset.shelf ?? ''}runs`;
let opened = null;
let line = null;

/** The data base; a failure is not remembered. */
function base() {
  opened ??= new Promise((resolve, reject) => {
    const ask = indexedDB.open(name(), 1);
    ask.onupgradeneeded = () => {
      const rows = ask.result.createObjectStore(ROWS, { keyPath: 'n', autoIncrement: true });
      // In the order in which they came.
      rows.createIndex('lab', ['record.lab', 'n']);
      rows.createIndex('id', 'id', { unique: true });
    };
    ask.onsuccess = () => {
      // A newer edition in another tab may want to change it.
      ask.result.onversionchange = () => { ask.result.close(); opened = null; };
      resolve(ask.result);
    };
    ask.onerror = () => reject(ask.error);
    ask.onblocked = () => reject(new Error('another tab holds an older edition open'));
  });
  opened.catch(() => { opened = null; });
  return opened;
}

/** One transaction: all of it, or nothing. `act` gets the rows, and a box for what comes of it. */
async function turn(mode, act) {
  const transaction = (await base()).transaction(ROWS, mode);
  return new Promise((resolve, reject) => {
    const box = {};
    transaction.oncomplete = () => resolve(box.found);
    transaction.onabort = () => reject(transaction.error ?? new Error('it was broken off'));
    try {
      act(transaction.objectStore(ROWS), box);
    } catch (error) {
      transaction.abort();
      reject(error);
    }
  });
}

/** All rows of a lab, or those before one of them. */
const of = (lab, before) => (before === undefined ? IDBKeyRange.bound([lab], [lab, Infinity]) : IDBKeyRange.bound([lab], [lab, before], false, true));

const answer = (request, then) => { request.onsuccess = () => then(request.result); };

/** Puts rows, without those that are there already. @returns their keys */
function addAll(store, rows, box) {
  box.found = [];
  for (const { n, ...row } of rows) answer(store.index('id').getKey(row.id), (known) => { if (known === undefined) answer(store.add(row), (key) => box.found.push(key)); });
}

/** Tells other tabs, and the pages that only count. */
async function tell(storage, lab) {
  if (early(storage, lab).locked) return;
  const count = await turn('readonly', (store, box) => answer(store.index('lab').count(of(lab)), (found) => { box.found = found; }));
  storage.write(`runs:${lab}`, JSON.stringify({ version: 2, kept: count }));
  channel()?.postMessage(lab);
}

const channel = () => { try { line ??= new BroadcastChannel(name()); } catch { /* not told, then */ } return line; };

/** Calls when another tab has changed the rows of a lab. */
export const watch = (lab, heard) => channel()?.addEventListener('message', ({ data }) => { if (data === lab) heard(); });

/** At most `most` rows that came last, before `before` where that is given. Chosen by their keys: reading a thousand rows takes a browser a quarter of a second. */
const newest = (lab, most, before) => turn('readonly', (store, box) => {
  box.found = { rows: [], older: 0 };
  const index = store.index('lab');
  answer(index.getAllKeys(of(lab, before)), (keys) => {
    const first = keys.at(-most) ?? keys[0];
    if (first === undefined) return;
    box.found.older = Math.max(0, keys.length - most);
    answer(index.getAll(IDBKeyRange.bound([lab, first], [lab, keys.at(-1)])), (rows) => { box.found.rows = rows; });
  });
});

/** Some more rows, before those that are there. */
export const before = (lab, rows, most = 100) => newest(lab, most, rows[0]?.n);

/** The rows of a lab, oldest first, at most so many, how many older ones there are, and what to say of them.
 * @returns {Promise<{rows: object[], older: number, trouble: string, locked?: boolean, lost?: boolean}>} */
export async function rowsOf(storage, lab, most = MOST) {
  const old = { older: 0, ...early(storage, lab) };
  if (old.locked) return old;
  try {
    if (old.rows.length) {
      await turn('readwrite', (store, box) => addAll(store, old.rows, box));
      await tell(storage, lab);
    }
    return { ...await newest(lab, most), trouble: old.trouble };
  } catch (error) {
    if (error?.name === 'VersionError') return { rows: [], older: 0, trouble: NEWER, locked: true };
    // As earlier editions left them.
    return { rows: old.rows, older: 0, trouble: old.trouble || NOTHING, lost: true };
  }
}

/** What an earlier edition kept in the browser's storage. What is not ours is put aside, not thrown away. */
export function early(storage, lab) {
  const key = `runs:${lab}`;
  const text = storage.read(key);
  if (text === null) return { rows: [], trouble: '' };
  try {
    const kept = JSON.parse(text);
    if (kept.version > 2) return { rows: [], trouble: NEWER, locked: true };
    if (kept.version === 2) return { rows: [], trouble: '' };
    if (kept.version === 1 && Array.isArray(kept.rows)) return { rows: kept.rows.filter(isRow), trouble: '' };
  } catch { /* told below */ }
  if (storage.write(`${key}:unread`, text)) storage.remove(key);
  return { rows: [], trouble: 'What was kept of your earlier runs cannot be read; it was put aside, and this list begins anew.' };
}

export const isRow = (row) => typeof row?.id === 'string' && typeof row.at === 'string' && typeof row.record?.lab === 'string' && Array.isArray(row.record.metrics)
  && row.record.metrics.every((metric) => typeof metric?.id === 'string' && typeof metric.value === 'number');

/** Keeps a row, in place of another where one is named. @returns what to say of it */
export async function add(storage, row, instead) {
  const { lab } = row.record;
  try {
    const gone = await turn('readwrite', (store, box) => {
      if (instead) answer(store.index('id').getKey(instead), (key) => { if (key !== undefined) store.delete(key); });
      store.add(row);
      answer(store.index('lab').getAllKeys(of(lab)), (keys) => {
        box.found = Math.max(0, keys.length - MOST);
        for (const key of keys.slice(0, box.found)) store.delete(key);
      });
    });
    await tell(storage, lab);
    return { words: gone ? `The list holds ${MOST} runs: the oldest was taken out.` : '', kept: true };
  } catch (error) {
    const full = error?.name === 'QuotaExceededError';
    return { words: full ? 'The browser’s storage is full: this run is gone when you leave the page. Save the list as a file, then forget what you no longer need.' : NOTHING, kept: false };
  }
}

/** Forgets the rows of a lab, or of all. */
export async function forget(storage, lab) {
  await turn('readwrite', (store) => {
    if (lab === undefined) store.clear();
    else answer(store.index('lab').getAllKeys(of(lab)), (keys) => keys.forEach((key) => store.delete(key)));
  });
  if (lab !== undefined) await tell(storage, lab);
}

/** All rows of all labs. */
export const all = () => turn('readonly', (store, box) => answer(store.getAll(), (found) => { box.found = found; }));

/** Takes rows in, all of them or none. @returns what takes them out again */
export async function takeIn(storage, rows) {
  const keys = await turn('readwrite', (store, box) => addAll(store, rows, box));
  const labs = new Set(rows.map((row) => row.record.lab));
  for (const lab of labs) await tell(storage, lab);
  return async () => {
    await turn('readwrite', (store) => keys.forEach((key) => store.delete(key)));
    for (const lab of labs) await tell(storage, lab);
  };
}
