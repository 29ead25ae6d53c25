// The search dialog. mdBook's index and the library that reads it (elasticlunr) are loaded when it first opens.
let dialog = null;

const script = (address) => new Promise((resolve, reject) => {
  const element = document.createElement('script');
  element.src = address;
  element.onload = resolve;
  element.onerror = () => { element.remove(); reject(new Error(`cannot load ${address}`)); };
  document.head.append(element);
});

/** @param {{root: URL, index: string, library: string}} places */
export async function open({ root, index, library }) {
  dialog ??= build();
  dialog.showModal();
  dialog.querySelector('input').select();
  if (dialog.find) return;
  const state = dialog.querySelector('.search-state');
  state.textContent = 'Loading the index …';
  try {
    window.search ??= {};
    await Promise.all([script(library), script(index)]);
    const searcher = window.elasticlunr.Index.load(window.search.index);
    dialog.find = (words) => find(words, searcher, root);
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
  if (words.length < 2) { list.replaceChildren(); state.textContent = 'Type one word or several; all must occur.'; return; }
  const { total, items } = dialog.find(words);
  const places = total === 1 ? '1 place' : `${total} places`;
  state.textContent = total > items.length ? `The best ${items.length} of ${places}` : total ? places : `Nothing for “${words}”.`;
  list.replaceChildren(...items);
}

function find(words, searcher, root) {
  const { search_options: options, results_options: limits, doc_urls: urls } = window.search;
  const all = searcher.search(words, options);
  const items = all.slice(0, limits.limit_results).map(({ ref, doc }) => {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.href = new URL(urls[ref], root);
    const place = document.createElement('span');
    place.className = 'search-place';
    place.textContent = doc.breadcrumbs || doc.title;
    const teaser = document.createElement('span');
    teaser.className = 'search-teaser';
    teaser.append(...excerpt(doc.body, words.toLowerCase().split(/\s+/), limits.teaser_word_count));
    link.append(place, teaser);
    item.append(link);
    return item;
  });
  return { total: all.length, items };
}

/** The part of `body` around the first hit, with the hits marked. */
function excerpt(body, words, length) {
  const all = body.split(/\s+/);
  const hit = (word) => words.some((wanted) => word.toLowerCase().includes(wanted));
  const first = Math.max(0, all.findIndex(hit) - Math.floor(length / 3));
  const parts = first > 0 ? ['… '] : [];
  for (const word of all.slice(first, first + length)) {
    if (hit(word)) { const mark = document.createElement('mark'); mark.textContent = word; parts.push(mark, ' '); } else parts.push(`${word} `);
  }
  if (first + length < all.length) parts.push('…');
  return parts;
}
