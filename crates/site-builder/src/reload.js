// Served and injected by `serve` only: reloads the page when something is new and shows why the book cannot be built.
(() => {
  const show = (text) => {
    let box = document.getElementById('serve-problem');
    if (!text) return box?.remove();
    if (!box) {
      box = document.createElement('div');
      box.id = 'serve-problem';
      box.dataset.pageMessage = '';
      box.setAttribute('role', 'alert');
      box.style.cssText =
        'position:fixed;inset:auto 1rem 1rem;z-index:100;max-height:60vh;overflow:auto;padding:1rem 1.25rem;' +
        'background:#2b1013;color:#ffe9e9;border:2px solid #e5484d;border-radius:8px;font:14px/1.5 ui-monospace,monospace;white-space:pre-wrap';
      document.body.append(box);
    }
    box.textContent = `The book cannot be built; this is its last good version.\n\n${text}`;
  };
  const events = new EventSource(document.currentScript.dataset.events);
  let lost = false;
  events.addEventListener('reload', () => location.reload());
  events.addEventListener('problem', (event) => show(event.data));
  events.addEventListener('error', () => { lost = true; });
  // Back after `serve` was started again: what is shown may be old.
  events.addEventListener('open', () => { if (lost) location.reload(); });
  addEventListener('pagehide', () => events.close());
})();
