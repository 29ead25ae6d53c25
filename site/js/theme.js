// Before the first paint: which theme, which contents. Storage may be blocked; nothing depends on it.
(() => {
  const html = document.documentElement;
  // Kept under the book's title: two books of one host share nothing.
  html.dataset.shelf = `${(html.dataset.book || 'Efficient AI').toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-')}:`;
  const read = (key) => { try { return localStorage.getItem(html.dataset.shelf + key); } catch { return null; } };
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const chosen = read('theme');
    html.dataset.theme = chosen === 'dark' || chosen === 'light' ? chosen : dark.matches ? 'dark' : 'light';
  };
  apply();
  dark.addEventListener('change', apply);
  html.classList.add('js');
  if (read('contents') === 'closed') html.dataset.contents = 'closed';

  // The page's module does not come everywhere: then buttons that would do nothing go, and each lab says what is the matter.
  const words = () => {
    const link = document.createElement('a');
    if (location.protocol === 'file:') return ['This page was opened from the disk, where browsers start no modules. Serve the folder and open it there: ', code('python3 -m http.server'), ' in the built folder, or ', code('cargo xtask serve'), ' in the project.'];
    if (self.origin === 'null') {
      Object.assign(link, { href: location.href, target: '_blank', textContent: 'Open this page in a tab of its own' });
      return ['This page stands in a frame that lets it start no modules (a sandbox without ', code('allow-same-origin'), '). ', link, '.'];
    }
    Object.assign(link, { href: '', textContent: 'reload the page' });
    link.addEventListener('click', (event) => { event.preventDefault(); location.reload(); });
    return ['The script of this page did not come: the connection is slow or cut, a login or a network stands before the book, or there is a new edition. Wait, or ', link, '.'];
  };
  const code = (text) => Object.assign(document.createElement('code'), { textContent: text });
  const tell = () => {
    if ('ready' in html.dataset || html.hasAttribute('data-print') || !document.querySelector('script[type=module]')) return;
    html.classList.remove('js');
    html.dataset.stalled = '';
    const main = document.getElementById('content');
    const places = [...document.querySelectorAll('[data-lab-widget]')];
    for (const place of places.length ? places : [main]) {
      const box = document.createElement('div');
      box.dataset[place === main ? 'pageMessage' : 'labMessage'] = '';
      box.className = 'stalled lab-message';
      box.setAttribute('role', 'status');
      const line = document.createElement('p');
      line.append(...words());
      box.append(line);
      place.prepend(box);
    }
  };
  const recover = () => {
    html.classList.add('js');
    delete html.dataset.stalled;
    for (const box of document.querySelectorAll('.stalled')) box.remove();
  };
  html.addEventListener('book-ready', recover);
  // DOMContentLoaded waits for modules, so one that hangs is noticed by the clock, once the page's end (where the module is named) is there.
  const ask = () => { if (document.querySelector('script[type=module]')) tell(); else if (document.readyState !== 'complete') setTimeout(ask, 1000); };
  if (location.protocol === 'file:' || self.origin === 'null') addEventListener('DOMContentLoaded', tell); else setTimeout(ask, 5000);
  // A module that was refused or answered with something else says so at once.
  addEventListener('error', (event) => { if (event.target?.type === 'module' && !('stalled' in html.dataset)) tell(); }, true);
})();
