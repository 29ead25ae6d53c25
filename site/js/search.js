// The search dialog. mdBook's index is loaded when it first opens, for the text of every section and for the library's stemmer. The words are
// looked up here, so that one folding (`tokens`) reads index and query alike, accents, spellings, Greek and other scripts included.
let dialog = null;

const script = (address) => new Promise((resolve, reject) => {
  const element = document.createElement('script');
  element.src = address;
  element.onload = resolve;
  element.onerror = () => { element.remove(); reject(new Error(`cannot load ${address}`)); };
  document.head.append(element);
});

const GREEK = Object.fromEntries('α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu ν nu ξ xi ο omicron π pi ρ rho σ sigma τ tau υ upsilon φ phi χ chi ψ psi ω omega'
  .split(' ').flatMap((word, i, all) => (i % 2 ? [[all[i - 1], word]] : [])));
const LETTER_NAMES = new Set(Object.values(GREEK));
const LETTERS = { ß: 'ss', æ: 'ae', œ: 'oe', ø: 'o', đ: 'd', ł: 'l', ħ: 'h', ı: 'i', þ: 'th', ð: 'd', ς: 'σ' };
// British to American, by endings; what else an ending changes, it changes on both sides.
const ENDINGS = [
  [/^(.{2,})is(e|es|ed|er|ers|ing|ation|ations|able)$/, '$1iz$2'], [/^(.{2,})ys(e|es|ed|er|ers|ing)$/, '$1yz$2'],
  [/^(.{2,})our(s|ed|er|ing|able|ite|al|hood|hoods)?$/, '$1or$2'], [/^(.{2,}[bt])re(s)?$/, '$1er$2'], [/^(.{2,}[bt])red$/, '$1ered'],
  // Where the last vowel is not stressed: “modelled”, “signalling”; the l of “called”, “installed” and “distilled” is the word's own.
  [/^(.*[aeiouy].*e|.*(?:sign|tot|equ|di|initi)a)ll(ed|ing|er|ers)$/, '$1l$2'], [/^(.{2,})ogue(s)?$/, '$1og$2'], [/^(.{2,})ogu(ed|ing)$/, '$1og$2'], [/^(def|off|lic|pret)ence(s)?$/, '$1ense$2'],
  [/^(.+)dgement(s)?$/, '$1dgment$2'], [/^programme(s)?$/, 'program$1'],
];
const WORDS = { grey: 'gray', artefact: 'artifact', artefacts: 'artifacts', maths: 'math', learnt: 'learned', ageing: 'aging', sceptical: 'skeptical', towards: 'toward', whilst: 'while', fulfil: 'fulfill', practise: 'practice', practised: 'practiced', practising: 'practicing', skilful: 'skillful', aluminium: 'aluminum', distil: 'distill', distils: 'distills', instal: 'install', enrol: 'enroll', fulfils: 'fulfills', fulfilment: 'fulfillment', instalment: 'installment', enrolment: 'enrollment', centring: 'centering', focussed: 'focused', focussing: 'focusing', disc: 'disk', discs: 'disks' };
const WORD = /\p{Script=Greek}+|(?:(?!\p{Script=Greek})[\p{L}\p{N}\p{M}])+/gu;

/** The words of some text as they are compared: without accents, case and the signs where a line may break, in one spelling, a Greek letter by its name. */
export const tokens = (text) => text.split(/\s+/).flatMap(wordsOf);

// A book repeats itself: each piece between spaces is read once.
const read = new Map();
function wordsOf(piece) {
  let words = read.get(piece);
  if (!words) { words = fold(piece); read.set(piece, words); }
  return words;
}

function fold(piece) {
  const plain = piece.normalize('NFKD').replace(/[\u0300-\u036f\u00ad\u200b-\u200d\u2060]/g, '').toLowerCase().replace(/[ßæœøđłħıþðς]/g, (c) => LETTERS[c]);
  return (plain.match(WORD) ?? []).map((word) => {
    if (GREEK[word]) return GREEK[word];
    if (Object.hasOwn(WORDS, word)) return WORDS[word];
    for (const [ending, other] of ENDINGS) if (ending.test(word)) return word.replace(ending, other);
    return word;
  });
}

/** Everything that can be found: for each stem the sections that hold it, with a weight. */
export class Index {
  /** `stem` shortens an English word. */
  constructor(stem, boosts = { title: 2, body: 1, breadcrumbs: 1 }) {
    const stems = new Map();
    this.stem = (word) => {
      let short = stems.get(word);
      if (short === undefined) { short = /^[a-z]+$/.test(word) ? stem(word) : word; stems.set(word, short); }
      return short;
    };
    this.boosts = Object.entries(boosts);
    this.places = new Map();
    this.spoken = new Map();
    this.count = 0;
  }

  /** A section: its number, and `title`, `body`, `breadcrumbs`. */
  add(ref, doc) {
    this.count += 1;
    for (const [field, boost] of this.boosts) {
      const words = tokens(doc[field] ?? '');
      const share = boost / Math.sqrt(words.length || 1);
      for (const word of words) {
        if (word.length > 80) continue;
        const key = this.stem(word);
        let places = this.places.get(key);
        if (!places) { places = new Map(); this.places.set(key, places); }
        places.set(ref, (places.get(ref) ?? 0) + share);
        this.spoken.set(word, (this.spoken.get(word) ?? 0) + 1);
      }
    }
  }

  /** Sections with a word that begins so (in scripts without spaces: that holds it), weighed. */
  matches(word) {
    const stem = this.stem(word);
    const found = new Map();
    const inside = !/^[\p{Script=Latin}\p{N}]+$/u.test(word);
    // The name of a letter is no beginning: `mu` finds no “much”.
    const part = (word.length > 1 || inside) && !LETTER_NAMES.has(word);
    for (const [key, places] of this.places) {
      const whole = key === stem || key === word;
      if (!whole && !(part && (key.startsWith(word) || key.startsWith(stem) || (inside && key.includes(word))))) continue;
      const weight = Math.log(1 + this.count / places.size) * (whole ? 1 : .4);
      for (const [ref, share] of places) found.set(ref, (found.get(ref) ?? 0) + share * weight);
    }
    return found;
  }

  /** Sections that hold all of the words, the best first. */
  search(query, isCommon = () => false) {
    const all = tokens(query);
    const words = all.some((word) => !isCommon(word)) ? all.filter((word) => !isCommon(word)) : all;
    let best = null;
    for (const word of words) {
      const found = this.matches(word);
      best = best ? new Map([...best].filter(([ref]) => found.has(ref)).map(([ref, score]) => [ref, score + found.get(ref)])) : found;
    }
    return [...best ?? []].sort((a, b) => b[1] - a[1]).map(([ref]) => ref);
  }

  /** The query with the nearest word of the book in place of each that the book lacks; null where there is none. */
  nearest(query) {
    const all = tokens(query);
    // Two words that the book writes as one, and one that it writes as two.
    if (all.length === 2 && this.spoken.has(all.join(''))) return all.join('');
    let changed = false;
    const words = all.map((word) => {
      if (this.matches(word).size) return word;
      for (let at = 3; at <= word.length - 3; at += 1) {
        const parts = [word.slice(0, at), word.slice(at)];
        if (parts.every((part) => this.spoken.has(part))) { changed = true; return parts.join(' '); }
      }
      const limit = word.length < 5 ? 1 : 2;
      let best = null;
      for (const [known, count] of this.spoken) {
        if (Math.abs(known.length - word.length) > limit || known.length < 3) continue;
        const away = distance(word, known, limit);
        if (away <= limit && (!best || away < best.away || (away === best.away && count > best.count))) best = { away, count, known };
      }
      changed ||= best !== null;
      return best?.known ?? word;
    });
    return changed ? words.join(' ') : null;
  }
}

/** Keys between two words: letters put in, left out, replaced, or two swapped; counted up to `limit`. */
function distance(a, b, limit) {
  let before = null;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      let least = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
      if (before && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, before[j - 2] + 1);
      next.push(least);
    }
    if (Math.min(...next) > limit) return limit + 1;
    [before, row] = [row, next];
  }
  return row[b.length];
}

/** @param {{root: URL, index: string, library: string}} places */
export async function open({ root, index: address, library }) {
  dialog ??= build();
  dialog.showModal();
  dialog.querySelector('input').select();
  if (dialog.find) return;
  const state = dialog.querySelector('.search-state');
  state.textContent = 'Loading the index …';
  try {
    window.search ??= {};
    await Promise.all([script(library), script(address)]);
    const { stemmer, stopWordFilter } = window.elasticlunr;
    const { search_options: { fields }, index: { documentStore: { docs } } } = window.search;
    const index = new Index(stemmer, Object.fromEntries(Object.entries(fields).map(([field, { boost }]) => [field, boost])));
    // In slices, so that the field takes letters meanwhile.
    let since = performance.now();
    for (const [ref, doc] of Object.entries(docs)) {
      index.add(ref, doc);
      if (performance.now() - since < 12) continue;
      await new Promise((resolve) => { setTimeout(resolve); });
      since = performance.now();
    }
    dialog.index = index;
    dialog.find = (words) => find(words, index, (word) => stopWordFilter(word) === undefined, root);
    state.textContent = 'Type one word or several; all must occur.';
    update();
  } catch (error) {
    dialog.close();
    dialog.remove();
    dialog = null;
    throw error;
  }
}

function build() {
  const element = document.createElement('dialog');
  element.className = 'sheet';
  element.setAttribute('aria-label', 'Search the book');
  element.innerHTML = '<div class="sheet-body"><form method="dialog" role="search"><input class="search-field" type="search" aria-label="Search the book" placeholder="Search the book" autocomplete="off" spellcheck="false"></form>'
    + '<p class="search-state" role="status"></p><ol class="search-results"></ol></div>';
  const field = element.querySelector('input');
  let timer = 0;
  field.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(update, 90); });
  element.querySelector('form').addEventListener('submit', (event) => { event.preventDefault(); element.querySelector('.search-results a')?.click(); });
  element.addEventListener('click', (event) => {
    if (event.target === element) element.close();
    if (event.target.closest('.search-results a')) element.close();
  });
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const stops = [field, ...element.querySelectorAll('.search-results a')];
    const next = stops[stops.indexOf(document.activeElement) + (event.key === 'ArrowDown' ? 1 : -1)];
    if (next) { event.preventDefault(); next.focus(); }
  });
  document.body.append(element);
  return element;
}

function update() {
  const words = dialog.querySelector('input').value.trim();
  const list = dialog.querySelector('.search-results');
  const state = dialog.querySelector('.search-state');
  if (!dialog.find) return;
  // One letter of the Latin alphabet is in every section; a Greek one is a word, and in other scripts one sign may be.
  if (tokens(words).join('').length < 2 && !/[^\x00-\x7f]/.test(words)) { list.replaceChildren(); state.textContent = 'Type one word or several; all must occur.'; return; }
  const { total, items } = dialog.find(words);
  const places = total === 1 ? '1 place' : `${total} places`;
  state.textContent = total > items.length ? `The best ${items.length} of ${places}` : total ? places : `Nothing for “${words}”.`;
  list.replaceChildren(...items);
  if (total) return;
  const nearest = dialog.index.nearest(words);
  if (nearest) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'search-nearest';
    button.textContent = nearest;
    button.addEventListener('click', () => {
      const field = dialog.querySelector('input');
      field.value = nearest;
      field.focus();
      update();
    });
    state.append(' Did you mean ', button, '?');
  } else if (tokens(words).length > 1) {
    state.append(' No section holds all of these words: try fewer.');
  }
}

function find(words, index, isCommon, root) {
  const { results_options: limits, doc_urls: urls, index: { documentStore: { docs } } } = window.search;
  const all = index.search(words, isCommon);
  const wanted = tokens(words).filter((word, _, every) => !isCommon(word) || every.every(isCommon)).map((word) => [word, index.stem(word)]);
  const items = all.slice(0, limits.limit_results).map((ref) => {
    const doc = docs[ref];
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.href = new URL(urls[ref], root);
    const place = document.createElement('span');
    place.className = 'search-place';
    place.textContent = doc.breadcrumbs || doc.title;
    const teaser = document.createElement('span');
    teaser.className = 'search-teaser';
    teaser.append(...excerpt(doc.body, wanted, limits.teaser_word_count));
    link.append(place, teaser);
    item.append(link);
    return item;
  });
  return { total: all.length, items };
}

/** The part of `body` around the first hit, with the hits marked. */
function excerpt(body, wanted, length) {
  const all = body.split(/\s+/);
  const hits = (word, stem) => (token) => token.startsWith(word) || token.startsWith(stem) || (/[^a-z0-9]/.test(word) && token.includes(word));
  const hit = (piece) => tokens(piece).some((token) => wanted.some(([word, stem]) => hits(word, stem)(token)));
  const first = Math.max(0, all.findIndex(hit) - Math.floor(length / 3));
  const parts = first > 0 ? ['… '] : [];
  for (const word of all.slice(first, first + length)) {
    if (hit(word)) { const mark = document.createElement('mark'); mark.textContent = word; parts.push(mark, ' '); } else parts.push(`${word} `);
  }
  if (first + length < all.length) parts.push('…');
  return parts;
}
