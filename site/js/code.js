// Code in the page: a quoted file opens whole, in place; a difference stands side by side where there is room.

/** @param {{storage: object}} page */
export function start({ storage }) {
  document.querySelector('main').addEventListener('click', (event) => {
    const link = event.target.closest('a[data-file]');
    // Whoever wants it in a tab of its own gets it there.
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    open(link);
  });
  for (const link of document.querySelectorAll('a[data-file]')) {
    link.setAttribute('role', 'button');
    link.setAttribute('aria-expanded', 'false');
    // A button is pressed with the space bar too.
    link.addEventListener('keydown', (event) => { if (event.key === ' ') { event.preventDefault(); link.click(); } });
  }
  const differences = [...document.querySelectorAll('figure.listing.diff')];
  if (differences.length) sideBySide(differences, storage);
}

/** Files that have been fetched, by address: a page quotes some of them often. */
const files = new Map();

function fetchFile(address) {
  if (!files.has(address)) {
    const coming = (async () => {
      const response = await fetch(address);
      if (!response.ok) throw new Error(`the server answers ${response.status}`);
      const code = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('pre.code');
      if (!code) throw new Error('another page was answered in its place, perhaps a login');
      return code;
    })();
    files.set(address, coming);
    coming.catch(() => files.delete(address));
  }
  return files.get(address);
}

async function open(link) {
  const place = link.closest('figure.listing') ?? link.closest('.lab-source') ?? link.parentElement;
  const shown = place.querySelector(`.whole-file[data-of="${CSS.escape(link.dataset.file)}"]`);
  if (shown) {
    shown.remove();
    link.setAttribute('aria-expanded', 'false');
    return;
  }
  const box = document.createElement('div');
  box.className = 'whole-file';
  box.dataset.of = link.dataset.file;
  const head = document.createElement('p');
  head.className = 'whole-file-head';
  head.setAttribute('role', 'status');
  head.textContent = 'Fetching the file…';
  box.append(head);
  place.append(box);
  link.setAttribute('aria-expanded', 'true');
  const address = link.href.split('#')[0];
  try {
    const code = document.importNode(await fetchFile(address), true);
    const [first, last] = (link.dataset.lines ?? '').split('-').map(Number);
    let top = null;
    for (const line of code.querySelectorAll('[id]')) {
      const number = Number(line.id.slice(1));
      // Ids are those of the file's own page: here they would stand twice.
      line.removeAttribute('id');
      hang(line);
      if (number >= first && number <= last) { line.classList.add('quoted'); top ??= line; }
    }
    code.tabIndex = 0;
    code.setAttribute('role', 'region');
    code.setAttribute('aria-label', link.dataset.file);
    const close = document.createElement('button');
    close.type = 'button';
    close.className = 'whole-file-close';
    close.dataset.action = 'close-file';
    close.textContent = 'Close';
    close.addEventListener('click', () => { box.remove(); link.setAttribute('aria-expanded', 'false'); link.focus(); });
    const own = document.createElement('a');
    own.href = link.href;
    own.textContent = link.dataset.file;
    head.replaceChildren('The whole file: ', own, ' ', close);
    box.append(code);
    // Within its box alone: the page stays where it is.
    if (top) code.scrollTop = Math.max(0, top.offsetTop - code.clientHeight / 4);
  } catch (error) {
    head.setAttribute('role', 'alert');
    head.textContent = `${link.dataset.file} did not come: ${error.message}. Press again in a moment.`;
    link.setAttribute('aria-expanded', 'false');
    box.classList.add('whole-file-failed');
    // The next press is a new attempt.
    delete box.dataset.of;
    setTimeout(() => box.remove(), 8000);
  }
}

/** A line that has to be broken goes on further in than it began: see `.long` in the style sheet. */
function hang(line, text = line.textContent) {
  const depth = Math.floor(text.search(/[^ ]|$/) / 4);
  line.classList.add('long');
  if (depth) line.classList.add(`in-${Math.min(depth, 8)}`);
}

const KEY = 'diff';

function sideBySide(figures, storage) {
  const buttons = [];
  const show = (sides) => {
    for (const [i, figure] of figures.entries()) {
      if (sides && !figure.querySelector('.sides')) figure.querySelector('pre').after(build(figure));
      figure.toggleAttribute('data-sides', sides);
      buttons[i].setAttribute('aria-pressed', String(sides));
    }
  };
  for (const figure of figures) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'diff-toggle';
    button.dataset.action = 'diff-sides';
    button.textContent = 'Side by side';
    button.addEventListener('click', () => {
      const sides = !figure.hasAttribute('data-sides');
      // Kept where the browser keeps anything; else it holds for this page.
      storage.write(KEY, sides ? 'sides' : 'lines');
      show(sides);
    });
    buttons.push(button);
    figure.querySelector('pre').before(button);
  }
  show(storage.read(KEY) === 'sides');
}

/** Both versions in rows: what was removed beside what took its place. */
export function build(figure) {
  const sides = document.createElement('div');
  sides.className = 'sides code';
  sides.tabIndex = 0;
  sides.setAttribute('role', 'region');
  sides.setAttribute('aria-label', 'The two versions side by side: before, after');
  const cell = (line) => {
    const code = document.createElement('code');
    code.className = line ? line.className : 'line line-none';
    if (!line) return code;
    code.append(...line.cloneNode(true).childNodes);
    // Half a page is too narrow for more lines than a whole one. Signs, and words for the ear, come before the code.
    const own = [...code.childNodes].filter((node) => !node.matches?.('.sign, .visually-hidden'));
    hang(code, own.map((node) => node.textContent).join(''));
    return code;
  };
  let removed = [];
  let added = [];
  const flush = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i += 1) sides.append(cell(removed[i]), cell(added[i]));
    removed = [];
    added = [];
  };
  for (const line of figure.querySelectorAll('pre .line')) {
    if (line.classList.contains('line-removed')) removed.push(line);
    else if (line.classList.contains('line-added')) added.push(line);
    else { flush(); sides.append(cell(line), cell(line)); }
  }
  flush();
  return sides;
}
