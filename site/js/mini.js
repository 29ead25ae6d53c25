// A lab at its smallest, asleep as a picture until a reader touches it: no engine comes for a look at the page. Awake it is the widget
// of its lab, with the controls that it offers.

/** @param {{module: Function}} page */
export function start(page) {
  for (const section of document.querySelectorAll('section[data-mini]')) enhance(section, page);
}

function enhance(section, page) {
  const lab = section.dataset.mini;
  const form = section.querySelector('[data-mini-form]');
  if (!form) return;
  const fields = [...form.elements].filter((field) => field.name);
  const show = (field) => { const output = field.closest('label').querySelector('output'); if (output) output.textContent = field.value; };

  // A link to this lab sets it, asleep as it is.
  const asked = new URLSearchParams(location.search);
  if (asked.get('lab') === lab) {
    for (const field of fields) {
      if (asked.has(field.name)) field.value = asked.get(field.name);
      show(field);
    }
  }
  let woken = false;
  const begin = async (from) => {
    if (woken) return;
    woken = true;
    setAddress(lab, fields);
    // From here on it is this lab, for the widget and for whoever listens to it.
    section.dataset.lab = lab;
    whenReady(section, (from?.name && `[data-slides="${from.name}"], select[name="${from.name}"]`) || '[data-action=run]');
    try {
      const { wake } = await page.module('labs');
      await wake(section, page);
    } catch {
      // labs.js did not come: theme.js and the next press say and try again.
      woken = false;
      delete section.dataset.lab;
      section.dataset.state = 'failed';
      fail(section, await page.why());
    }
  };
  form.addEventListener('input', (event) => show(event.target));
  // A slider is left alone while it is held.
  form.addEventListener('change', (event) => begin(event.target));
  form.addEventListener('submit', (event) => { event.preventDefault(); begin(null); });
}

/** The widget reads its setting from the address, as from any link. Two dozen numbers wake no GPU. */
function setAddress(lab, fields) {
  const address = new URL(location.href);
  address.search = '';
  for (const [name, value] of [['lab', lab], ...fields.map((field) => [field.name, field.value]), ['device', 'cpu']]) address.searchParams.set(name, value);
  history.replaceState(history.state, '', address);
}

/** Leaves the offered controls, gives the focus back to the one that was touched, and runs once. */
function whenReady(section, focus) {
  const offers = section.dataset.offers.split(' ');
  const watch = new MutationObserver(() => {
    if (section.dataset.state === 'done') { section.dataset.answered = ''; watch.disconnect(); return; }
    if (section.dataset.state !== 'ready' || 'woken' in section.dataset) return;
    section.dataset.woken = '';
    const cells = [...section.querySelectorAll('[data-control]')];
    for (const cell of cells) cell.hidden = !offers.includes(cell.dataset.control);
    // In the order in which they slept.
    for (const name of offers) { const cell = cells.find((candidate) => candidate.dataset.control === name); cell?.parentElement.append(cell); }
    section.querySelector(focus)?.focus({ preventScroll: true });
    section.querySelector('[data-action=run]')?.click();
  });
  watch.observe(section, { attributeFilter: ['data-state'] });
}

function fail(section, reason) {
  const box = section.querySelector('.lab-mini-failed') ?? document.createElement('p');
  box.className = 'lab-mini-failed';
  box.setAttribute('role', 'alert');
  box.innerHTML = `It could not be started. ${reason || 'Press again in a moment.'}`;
  section.querySelector('[data-lab-widget]').append(box);
}
