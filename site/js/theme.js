// Before the first paint: which theme, which contents. Storage may be blocked; nothing depends on it.
(() => {
  const html = document.documentElement;
  const read = (key) => { try { return localStorage.getItem('efficient-ai:' + key); } catch { return null; } };
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const chosen = read('theme');
    html.dataset.theme = chosen === 'dark' || chosen === 'light' ? chosen : dark.matches ? 'dark' : 'light';
  };
  apply();
  dark.addEventListener('change', apply);
  html.classList.add('js');
  if (read('contents') === 'closed') html.dataset.contents = 'closed';
})();
