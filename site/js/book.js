// The page's own behaviour. Everything here adds to a page that reads without it.
const html = document.documentElement;
const script = document.querySelector('script[data-labs]');
const root = new URL(html.dataset.root || '.', document.baseURI);
const main = document.getElementById('content');
const $ = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
// The module has started: what theme.js would say of a page whose module did not come is not said.
html.dataset.ready = '';
html.dispatchEvent(new Event('book-ready'));

// What is kept belongs to the book, whatever its address: another book of this host has another title.
const shelf = html.dataset.shelf || 'efficient-ai:';
let lossTold = false;
const storage = {
  read(key) { try { return localStorage.getItem(shelf + key); } catch { return null; } },
  /** Whether it is kept. */
  write(key, value) { try { localStorage.setItem(shelf + key, value); return true; } catch { return false; /* blocked or full */ } },
  remove(key) { try { localStorage.removeItem(shelf + key); } catch { /* blocked: there is nothing to remove */ } },
  keys() { try { return Object.keys(localStorage).filter((key) => key.startsWith(shelf)).map((key) => key.slice(shelf.length)); } catch { return []; } },
  /** True once: when the reader should be told that nothing is kept. */
  firstLoss() { const first = !lossTold; lossTold = true; return first; },
};

// Theme.
const themeButton = $('[data-theme-toggle]');
const showTheme = () => themeButton?.setAttribute('aria-pressed', String(html.dataset.theme === 'dark'));
const toggleTheme = () => {
  html.dataset.theme = html.dataset.theme === 'dark' ? 'light' : 'dark';
  storage.write('theme', html.dataset.theme);
  showTheme();
};
themeButton?.addEventListener('click', toggleTheme);
new MutationObserver(showTheme).observe(html, { attributeFilter: ['data-theme'] });
showTheme();

// Contents: a column where there is room, a drawer where there is not.
const nav = $('[data-toc]');
const contentsButton = $('[data-contents]');
const roomy = matchMedia('(min-width: 68rem)');
const contentsShown = () => (roomy.matches ? html.dataset.contents !== 'closed' : html.dataset.contents === 'open');
const showContents = (shown) => {
  if (roomy.matches) {
    if (shown) delete html.dataset.contents; else html.dataset.contents = 'closed';
    storage.write('contents', shown ? 'open' : 'closed');
  } else if (shown) {
    html.dataset.contents = 'open';
    ($('[aria-current]', nav) || $('a', nav))?.focus();
  } else {
    const inside = nav.contains(document.activeElement);
    delete html.dataset.contents;
    if (inside) contentsButton.focus();
  }
  contentsButton.setAttribute('aria-expanded', String(contentsShown()));
};
const toggleContents = () => showContents(!contentsShown());
if (contentsButton && nav?.childElementCount) {
  contentsButton.setAttribute('role', 'button');
  contentsButton.setAttribute('aria-controls', 'contents');
  contentsButton.setAttribute('aria-keyshortcuts', 'm');
  contentsButton.setAttribute('aria-expanded', String(contentsShown()));
  contentsButton.addEventListener('click', (event) => { event.preventDefault(); toggleContents(); });
  contentsButton.addEventListener('keydown', (event) => { if (event.key === ' ') { event.preventDefault(); toggleContents(); } });
  roomy.addEventListener('change', () => contentsButton.setAttribute('aria-expanded', String(contentsShown())));
  $('.page')?.addEventListener('click', () => { if (!roomy.matches && contentsShown()) showContents(false); });
}

// A page counts as read when its end was seen. Kept by the id of its title; `pages.json` finds moved pages; `read` is of earlier editions.
const pageId = $('h1[id]', main)?.id;
const byName = () => { try { return JSON.parse(storage.read('pages')) ?? {}; } catch { return {}; } };
const readPages = () => new Set([...(storage.read('read') || '').split('\n').filter(Boolean), ...Object.values(byName())]);
const showProgress = (kept = true) => {
  const links = all('a[data-to]', nav).filter((link) => $('.toc-number', link));
  if (!links.length) return;
  const read = readPages();
  for (const link of links) {
    $('.toc-read', link)?.remove();
    if (read.has(link.dataset.to)) link.append(make('span', { class: 'toc-read' }, make('span', { 'aria-hidden': 'true' }, '✓'), make('span', { class: 'hidden' }, ' read')));
  }
  const done = links.filter((link) => read.has(link.dataset.to)).length;
  const words = `${done} of ${links.length} chapters read`;
  $('.toc-progress', nav)?.replaceChildren(kept ? words : `${words}; this browser does not keep it`, make('progress', { max: links.length, value: done, 'aria-label': words }));
};
const findMoved = async () => {
  const here = new Set(all('a[data-to]', nav).map((link) => link.dataset.to));
  const known = byName();
  const lost = Object.keys(known).filter((id) => !here.has(known[id]));
  if (!lost.length || !here.size) return;
  try {
    const pages = await (await fetch(new URL('pages.json', root))).json();
    for (const id of lost) if (Object.hasOwn(pages, id)) known[id] = pages[id];
    if (storage.write('pages', JSON.stringify(known))) showProgress();
  } catch { /* without the list, a moved page counts again when it is read */ }
};
if (nav?.childElementCount) {
  showProgress();
  findMoved();
  const end = $('.page-end');
  if (end) {
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting) || scrollY < 200) return;
      observer.disconnect();
      const kept = pageId ? storage.write('pages', JSON.stringify({ ...byName(), [pageId]: nav.dataset.path }))
        : storage.write('read', [...new Set([...(storage.read('read') || '').split('\n').filter(Boolean), nav.dataset.path])].join('\n'));
      showProgress(kept);
      document.dispatchEvent(new Event('book-read'));
    }).observe(end);
  }
}

// On this page.
const onPage = $('[data-on-page]');
const headings = all(':scope > h2[id], :scope > h3[id]', main);
if (onPage && headings.length > 2) {
  const links = new Map(headings.map((heading) => {
    const link = make('a', { href: '#' + heading.id, class: 'on-page-' + heading.tagName[1] });
    link.textContent = ($('a.header', heading) || heading).textContent.trim();
    return [heading, link];
  }));
  onPage.append(make('p', { class: 'on-page-title' }, 'On this page'), make('ol', {}, ...[...links.values()].map((link) => make('li', {}, link))));
  let waiting = false;
  const mark = () => {
    waiting = false;
    let current = null;
    for (const heading of headings) if (heading.getBoundingClientRect().top < innerHeight * .3) current = heading;
    for (const [heading, link] of links) {
      if (heading === current) link.setAttribute('aria-current', 'true'); else link.removeAttribute('aria-current');
    }
  };
  addEventListener('scroll', () => { if (!waiting) { waiting = true; requestAnimationFrame(mark); } }, { passive: true });
  mark();
}

// What scrolls sideways must be reachable from the keyboard.
const reachable = () => {
  for (const box of all('.table-wrapper:not([tabindex]), pre:not([tabindex])', main)) {
    if (box.scrollWidth <= box.clientWidth) continue;
    const name = $('figcaption', box.closest('figure') ?? box)?.textContent.trim() || (box.tagName === 'PRE' ? 'Code' : 'Table');
    box.setAttribute('tabindex', '0');
    box.setAttribute('role', 'region');
    box.setAttribute('aria-label', name.slice(0, 80));
  }
};
reachable();
addEventListener('resize', reachable);

// Copy buttons.
if (navigator.clipboard) {
  for (const listing of all('figure.listing')) {
    const code = $('pre', listing);
    if (!code || listing.classList.contains('diff')) continue;
    const button = make('button', { type: 'button', class: 'copy' }, 'Copy');
    button.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = 'Copied';
      } catch {
        button.textContent = 'Not allowed';
      }
      setTimeout(() => { button.textContent = 'Copy'; }, 1800);
    });
    listing.append(button);
  }
}

// Tips: what a `title` says, for mouse and keyboard alike; stays while pointed at, goes with Escape.
let tip = null;
const hideTip = () => {
  if (!tip) return;
  tip.owner.removeAttribute('aria-describedby');
  tip.element.remove();
  tip = null;
};
const showTip = (owner) => {
  if (tip?.owner === owner) return;
  hideTip();
  if (owner.title) { owner.dataset.tip = owner.title; owner.removeAttribute('title'); }
  const element = make('div', { class: 'tip', role: 'tooltip', id: 'tip' }, owner.dataset.tip);
  document.body.append(element);
  owner.setAttribute('aria-describedby', 'tip');
  const box = owner.getClientRects()[0] ?? owner.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left), html.clientWidth - element.offsetWidth - 8);
  const above = box.top - element.offsetHeight - 6;
  const top = above > 60 ? above : box.bottom + 6;
  element.style.left = `${left + scrollX}px`;
  element.style.top = `${top + scrollY}px`;
  element.addEventListener('pointerleave', hideTip);
  tip = { owner, element };
};
const tipOwner = (event) => event.target.closest?.('.ref[title], .cite[title], .term[title], .value[title], [data-tip]');
for (const kind of ['pointerover', 'focusin']) {
  main?.addEventListener(kind, (event) => {
    const owner = tipOwner(event);
    if (owner && !(kind === 'pointerover' && event.pointerType === 'touch')) showTip(owner);
  });
}
main?.addEventListener('focusout', hideTip);
main?.addEventListener('pointerout', (event) => {
  if (tip && event.target.closest?.('[data-tip]') === tip.owner && !tip.element.contains(event.relatedTarget)) {
    const left = tip;
    setTimeout(() => { if (tip === left && !tip.element.matches(':hover') && document.activeElement !== tip.owner) hideTip(); }, 120);
  }
});

// Search: index and library are fetched on first use.
const searchButton = $('[data-search]');
const openSearch = async () => {
  try {
    const module = await import(new URL(searchButton.dataset.module, document.baseURI));
    await module.open({ root, index: searchButton.dataset.index, library: searchButton.dataset.library });
  } catch (error) {
    const contents = `The <a href="${new URL('toc.html', root)}">contents</a> list every chapter.`;
    const reason = await why([searchButton.dataset.module, searchButton.dataset.index, searchButton.dataset.library]);
    message(`The search could not be loaded. ${reason || `${escape(error.message)}: try again in a moment.`} ${contents}`);
  }
};
searchButton?.addEventListener('click', openSearch);

// Shortcuts.
const KEYS = [['←', 'previous page'], ['→', 'next page'], ['/', 'search'], ['m', 'contents'], ['t', 'light or dark'], ['?', 'this list'], ['Esc', 'close']];
const help = () => {
  let dialog = $('#help');
  if (!dialog) {
    const close = make('button', { type: 'button', class: 'sheet-close' }, 'Close');
    const keys = make('dl', { class: 'keys' }, ...KEYS.flatMap(([key, what]) => [make('dt', {}, make('kbd', {}, key)), make('dd', {}, what)]));
    dialog = make('dialog', { id: 'help', class: 'sheet', 'aria-labelledby': 'help-title' },
      make('div', { class: 'sheet-body' }, make('div', { class: 'sheet-head' }, make('h2', { id: 'help-title' }, 'Keyboard shortcuts'), close), keys));
    close.addEventListener('click', () => dialog.close());
    document.body.append(dialog);
  }
  dialog.showModal();
};
$('[data-help]')?.addEventListener('click', help);
const turn = (rel) => { const link = $(`.turn a[rel="${rel}"]`); if (link) location.href = link.href; };
const SHORTCUTS = { ArrowLeft: () => turn('prev'), ArrowRight: () => turn('next'), '/': openSearch, s: openSearch, m: toggleContents, t: toggleTheme, '?': help };
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    if (tip) hideTip();
    else if (!roomy.matches && contentsShown()) showContents(false);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || $('dialog[open]')) return;
  // Fields, and places that scroll sideways, keep their keys.
  if (event.target.closest?.('input, select, textarea, [contenteditable], [data-lab-widget], [tabindex="0"]')) return;
  const act = SHORTCUTS[event.key];
  if (act) { event.preventDefault(); act(); }
});

/** A message about the page as a whole, above the text. `words` is HTML of ours. */
export function message(words) {
  let place = $('[data-page-message]', main);
  if (!place) {
    place = make('div', { 'data-page-message': '', role: 'status' });
    main.prepend(place);
  }
  place.innerHTML = `<p>${words}</p>`;
  $('[data-reload]', place)?.addEventListener('click', (event) => { event.preventDefault(); location.reload(); });
}

/**
 * Why files of this page do not come, in words with what to do, found by asking for the page itself past every cache. Empty where it is as it was.
 */
export async function why(files = []) {
  let page;
  const offline = 'There is no connection to the server: are you offline?';
  try {
    const response = await fetch(location.href.split('#')[0], { cache: 'no-store' });
    if (!response.ok) return `The server answers ${response.status} for this page: it may have moved. Go to the <a href="${root}">start</a>.`;
    page = await response.text();
  } catch {
    return offline;
  }
  const reload = '<a href="" data-reload>Reload this page</a>';
  if (!page.includes('<meta name="book"')) return `Another page is answered in place of this one, perhaps a login: sign in there, then reload. ${reload}.`;
  const gone = files.some((file) => !page.includes(file.split('/').at(-1).split('?')[0]));
  if (gone) return `A new edition of the book has been put here since you opened this page. ${reload}.`;
  // Without a connection the service worker answers with what was visited; this it leaves alone.
  return fetch(location.href.split('#')[0], { method: 'HEAD', cache: 'no-store' }).then(() => '', () => offline);
}
const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

// Labs, quizzes and tables that answer, where the page has any.
const module = (name) => import(new URL(script.dataset[name], document.baseURI));
const context = { root, message, storage, why, module };
const load = async (address, what) => {
  try {
    (await import(new URL(address, document.baseURI))).start(context);
  } catch (error) {
    console.error(error);
    message(`${what} of this page could not be started. ${await why([address]) || escape(error?.message ?? String(error))}`);
  }
};
if ($('section[data-lab]') || new URLSearchParams(location.search).has('lab')) load(script.dataset.labs, 'The labs');
if ($('form.quiz')) load(script.dataset.quiz, 'The questions');
if ($('[data-keep]')) load(script.dataset.keeper, 'Saving and forgetting');
if ($('[data-guide], [data-methods]', main)) load(script.dataset.guide, 'The tables');
if ($('[data-mini]', main)) load(script.dataset.miniature, 'The miniature');
if ($('a[data-file], figure.diff', main)) load(script.dataset.listings, 'The whole files');
// After what it counts: questions are answered anew when their script comes.
if (!html.hasAttribute('data-print') && $('[data-path-of], form.quiz, section[data-lab]', main)) load(script.dataset.progress, 'Your progress');

// Offline. Not under `serve`, where a page must never come from a cache.
if ('serviceWorker' in navigator && !html.hasAttribute('data-print') && !$('script[src$="__reload.js"]')) {
  const first = !navigator.serviceWorker.controller;
  navigator.serviceWorker.register(new URL('sw.js', root)).then(async () => {
    if (!first) return;
    // What this first page was made of came before the service worker: it is asked to keep that too.
    const { active } = await navigator.serviceWorker.ready;
    active.postMessage({ keep: [location.href, ...performance.getEntriesByType('resource').map((entry) => entry.name)] });
  }).catch(() => { /* no service worker here: online only */ });
}
