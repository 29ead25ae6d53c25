// Wakes the labs of a page: fetches the widget when a lab nears the view, and says so in the lab when that fails. The static
// reference result stays in any case.

/** @param {{root: URL, message: (html: string) => void, storage: object, module: Function, why: (files?: string[]) => Promise<string>}} page */
export function start(page) {
  const sections = [...document.querySelectorAll('section[data-lab]')];
  checkLink(page, sections);
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { observer.unobserve(entry.target); accompany(entry.target, page); wake(entry.target, page); }
    }
  }, { rootMargin: '600px 0px' });
  for (const section of sections) observer.observe(section);
  watchForEnds(sections);
}

// What happens to a run from outside. A phone that lacks memory closes a page in mid run and loads it anew: a mark that nobody took away says so.
function watchForEnds(sections) {
  const KEY = `${document.documentElement.dataset.shelf}running`;
  const mark = {
    get() { try { return sessionStorage.getItem(KEY); } catch { return null; } },
    set(lab) { try { if (lab) sessionStorage.setItem(KEY, lab); else sessionStorage.removeItem(KEY); } catch { /* blocked: an end is not noticed */ } },
  };
  const here = `${location.pathname}#`;
  const old = mark.get();
  if (old?.startsWith(here)) {
    const section = sections.find((candidate) => here + candidate.dataset.lab === old);
    mark.set(null);
    if (section) note(section, 'The browser closed this page while the lab was running, most likely for want of memory. Close other tabs, or choose smaller settings, and run it again.');
  }
  // A hidden page is slowed down or stopped by browsers, and clocks go on: a run that was hidden says so.
  let hiddenMs = 0;
  let since = null;
  const count = () => {
    if (since !== null) { hiddenMs += performance.now() - since; since = null; }
    if (document.hidden) since = performance.now();
  };
  document.addEventListener('visibilitychange', count);
  const watch = new MutationObserver((changes) => {
    for (const { target, oldValue } of changes) {
      // Told at every step of a run, not only when it changes.
      if (target.dataset.state === oldValue) continue;
      if (target.dataset.state === 'running') {
        mark.set(here + target.dataset.lab);
        count();
        hiddenMs = 0;
        continue;
      }
      if (mark.get() === here + target.dataset.lab) mark.set(null);
      // Its values stand beside the run's now. Whoever opens it again keeps it open.
      const reference = target.querySelector('details[data-source=reference]:not([data-folded])');
      if (target.dataset.state === 'done' && reference) { reference.open = false; reference.dataset.folded = ''; }
      if (target.dataset.state === 'failed') target.querySelector('details[data-source=reference]')?.setAttribute('open', '');
      count();
      // What was dropped and taken again for it, the result's own notes tell.
      const told = /page (was|stayed) hidden/.test(target.querySelector('.lab-results-body .lab-notes')?.textContent);
      if (target.dataset.state === 'done' && hiddenMs >= 200 && !told) note(target, `The page was hidden for ${Math.max(1, Math.round(hiddenMs / 1000))} s while this ran. Browsers slow hidden pages down: measured times may be too long. Run it again with the page in view.`);
      hiddenMs = 0;
    }
  });
  for (const section of sections) watch.observe(section, { attributeFilter: ['data-state'], attributeOldValue: true });
  // Leaving is no accident.
  addEventListener('pagehide', () => mark.set(null));
}

/** A word above a lab's controls, which stays until the next run. */
function note(section, words) {
  section.querySelector('.lab-message.lab-note')?.remove();
  const box = document.createElement('p');
  box.className = 'lab-message lab-note';
  box.setAttribute('role', 'status');
  box.textContent = words;
  (section.querySelector('[data-lab-widget]') ?? section).before(box);
  const watch = new MutationObserver(() => { if (section.dataset.state === 'running') { box.remove(); watch.disconnect(); } });
  watch.observe(section, { attributeFilter: ['data-state'] });
}

let widget = null;

/** The widget's module, loaded once; a failure is not remembered, so that a retry is a new attempt. */
function loadWidget(root) {
  widget ??= (async () => {
    const response = await fetch(new URL('pkg/manifest.json', root), { cache: 'no-store' });
    if (!response.ok) throw new Error(`pkg/manifest.json: ${response.status} ${response.statusText}`);
    const manifest = await response.json().catch(() => { throw new Error('pkg/manifest.json was answered with something else, perhaps a login page'); });
    if (!manifest.ui) {
      throw new Error('the interactive part is not there yet. In a copy that is being written it is still being compiled, and this page reloads when it is ready');
    }
    const module = await import(new URL(manifest.ui.entry, root));
    await module.default();
    return module;
  })();
  widget.catch(() => { widget = null; });
  return widget;
}

/** Guesses and runs are wanted only when a lab wakes, and once: a second attempt to start it must not count each run twice. */
function accompany(section, page) {
  // The lab goes without them.
  page.module('recorder').then(({ collect }) => collect(section, page), () => {});
  page.module('pictures').then(({ enhance }) => enhance(section), () => {});
  if (section.querySelector('[data-predict]')) Promise.all(['predictions', 'quiz'].map(page.module)).then(([{ enhance }, { readNumber }]) => enhance(section, page.storage, readNumber), () => {});
}

/** Loads the widget of one section, or says in it why that failed. */
export async function wake(section, page) {
  section.dataset.state = 'loading';
  say(section, null);
  try {
    (await loadWidget(page.root)).mount(section);
  } catch (error) {
    section.dataset.state = 'failed';
    const retry = () => wake(section, page);
    const words = `This lab could not be started: ${error?.message ?? error}. The reference result below is from a real run.`;
    say(section, words, retry);
    // Known only after asking: whether a new edition, a login or no connection is behind it.
    const reason = document.createElement('p');
    reason.innerHTML = await page.why();
    if (reason.innerHTML && section.dataset.state === 'failed') section.querySelector('.lab-loading-failed p')?.after(reason);
  }
}

/** Shows `words` and a retry button in the lab, or clears them. */
function say(section, words, retry) {
  const place = section.querySelector('[data-lab-widget]') ?? section;
  place.querySelector('[data-lab-message].lab-loading-failed')?.remove();
  for (const skeleton of place.querySelectorAll('.lab-controls, .lab-actions-skeleton')) skeleton.hidden = words !== null;
  if (words === null) return;
  const box = document.createElement('div');
  box.className = 'lab-message lab-loading-failed';
  box.dataset.labMessage = '';
  box.setAttribute('role', 'alert');
  const text = document.createElement('p');
  text.textContent = words;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'button';
  button.dataset.action = 'retry';
  button.textContent = 'Try again';
  button.addEventListener('click', retry);
  box.append(text, button);
  place.prepend(box);
}

/** A link may name a lab that stands elsewhere, or nowhere. */
async function checkLink({ root, message }, sections) {
  const wanted = new URLSearchParams(location.search).get('lab');
  // A miniature of the lab takes the setting itself.
  if (wanted === null || document.querySelector(`section[data-mini="${CSS.escape(wanted)}"]`)) return;
  const here = sections.find((section) => section.dataset.lab === wanted);
  if (here) {
    if (!location.hash) here.scrollIntoView();
    return;
  }
  const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const labs = sections.map((section) => `<a href="#${section.id}">${escape(section.querySelector('h3')?.textContent ?? section.dataset.lab)}</a>`);
  const onPage = labs.length ? `Labs on this page: ${labs.join(', ')}.` : 'There is no lab on this page.';
  let elsewhere = '';
  try {
    const pages = await (await fetch(new URL('labs.json', root))).json();
    if (Object.hasOwn(pages, wanted)) {
      const page = pages[wanted];
      const target = new URL(page, root);
      target.search = location.search;
      elsewhere = ` It stands on <a href="${escape(target.href)}">another page</a>.`;
    }
  } catch { /* without the index only this page is known */ }
  message(`The link asks for the lab “${escape(wanted)}”, which is not on this page.${elsewhere} ${onPage}`);
}
