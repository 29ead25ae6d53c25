// Wakes the labs of a page: fetches the widget when a lab nears the view, and says so in the lab when that fails. The static
// reference result stays in any case.

/** @param {{root: URL, message: (html: string) => void}} page */
export function start(page) {
  const sections = [...document.querySelectorAll('section[data-lab]')];
  checkLink(page, sections);
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { observer.unobserve(entry.target); wake(entry.target, page.root); }
    }
  }, { rootMargin: '600px 0px' });
  for (const section of sections) observer.observe(section);
}

let widget = null;

/** The widget's module, loaded once; a failure is not remembered, so that a retry is a new attempt. */
function loadWidget(root) {
  widget ??= (async () => {
    const response = await fetch(new URL('pkg/manifest.json', root), { cache: 'no-store' });
    if (!response.ok) throw new Error(`pkg/manifest.json: ${response.status} ${response.statusText}`);
    const manifest = await response.json();
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

async function wake(section, root) {
  section.dataset.state = 'loading';
  say(section, null);
  try {
    (await loadWidget(root)).mount(section);
  } catch (error) {
    section.dataset.state = 'failed';
    say(section, `This lab could not be started: ${error?.message ?? error}. The reference result below is from a real run.`, () => wake(section, root));
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
  if (wanted === null) return;
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
