// Tables that answer: the catalogue's filters, and the decision guide. Every row is in the page already; a choice leaves rows out.

/** @param {{message: (html: string) => void}} page */
export function start({ message }) {
  for (const figure of document.querySelectorAll('[data-methods]')) filter(figure);
  const guide = document.querySelector('[data-guide]');
  if (guide) enhance(guide, message);
}

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Whether a row holds for what was chosen; what is left open, or what the row does not name, holds. */
export const fits = (row, chosen) => Object.entries(chosen).every(([axis, value]) => !value || !row[axis] || row[axis].split(' ').includes(value));

/** What an address asks of the guide: the answers it knows, and a sentence for each it does not. */
export function read(search, axes) {
  const chosen = {};
  const problems = [];
  const others = ['lab', 'seed', 'device', 'highlight', 'search'];
  const asked = [...new URLSearchParams(search)];
  const isForLab = asked.some(([name]) => name === 'lab');
  for (const [name, value] of asked) {
    if (Object.hasOwn(axes, name)) {
      if (axes[name].includes(value)) chosen[name] = value;
      else if (value) problems.push(`The guide has no answer “${value}” to “${name}”; it knows ${axes[name].join(', ')}.`);
    } else if (!isForLab && !others.includes(name)) {
      problems.push(`The guide asks no question “${name}”; it asks ${Object.keys(axes).join(', ')}.`);
    }
  }
  return { chosen, problems };
}

function enhance(guide, message) {
  const form = guide.querySelector('form');
  const fields = [...form.querySelectorAll('select')];
  const says = guide.querySelector('[data-guide-says]');
  const together = guide.querySelector('[data-guide-together]');
  const rows = [...guide.querySelectorAll('[data-row]')];
  const groups = [...guide.querySelectorAll('.guide-group')];
  const axes = Object.fromEntries(fields.map((field) => [field.name, [...field.options].map((option) => option.value).filter(Boolean)]));

  const apply = () => {
    const chosen = Object.fromEntries(fields.map((field) => [field.name, field.value]));
    for (const row of rows) {
      row.hidden = !fits(row.dataset, chosen);
      row.classList.remove('guide-first');
    }
    for (const group of groups) {
      group.hidden = !fits(group.dataset, chosen);
      group.open = Boolean(chosen.binds) && !group.hidden;
    }
    for (const part of guide.querySelectorAll('[data-guide-avoid], [data-guide-notes]')) {
      const left = [...part.querySelectorAll('[data-row]')].some((row) => !row.hidden);
      part.hidden = Boolean(chosen.binds) && !left;
      if (part.matches('[data-guide-notes]')) part.open = Boolean(chosen.binds) && left;
    }
    const open = fields.filter((field) => !field.value).length;
    together.hidden = true;
    if (!chosen.binds) { says.textContent = open === fields.length ? '' : 'Say what is too large, too.'; return; }
    const list = groups.filter((group) => !group.hidden).flatMap((group) => [...group.querySelectorAll('tr[data-row]')]).filter((row) => !row.hidden);
    for (const row of list.slice(0, 3)) row.classList.add('guide-first');
    const ids = new Set(list.map((row) => row.dataset.technique));
    for (const pair of together.children) {
      pair.hidden = !pair.dataset.pair.split(' ').every((id) => ids.has(id));
      if (!pair.hidden) together.hidden = false;
    }
    const count = ids.size === 1 ? '1 technique fits' : `${ids.size || 'No'} techniques fit`;
    says.textContent = open ? `${count} so far; ${open} more ${open === 1 ? 'question' : 'questions'}.` : `${count}.`;
  };
  const remember = () => {
    const address = new URL(location.href);
    for (const field of fields) { if (field.value) address.searchParams.set(field.name, field.value); else address.searchParams.delete(field.name); }
    history.replaceState(history.state, '', address);
  };

  const { chosen, problems } = read(location.search, axes);
  for (const field of fields) field.value = chosen[field.name] ?? '';
  if (problems.length) message(problems.map(escape).join(' '));
  form.addEventListener('change', () => { apply(); remember(); });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', (event) => {
    event.preventDefault();
    for (const field of fields) field.value = '';
    apply();
    remember();
  });
  apply();
}

/** The selects above a table of methods. */
function filter(figure) {
  const box = figure.querySelector('.methods-filter');
  if (!box) return;
  const rows = [...figure.querySelectorAll('tbody tr')];
  const says = box.querySelector('[role="status"]');
  box.addEventListener('change', () => {
    const chosen = Object.fromEntries([...box.querySelectorAll('select')].map((field) => [field.name, field.value]));
    for (const row of rows) row.hidden = !fits(row.dataset, chosen);
    says.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} methods`;
  });
}
