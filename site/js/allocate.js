// The calculator of the chapter on scaling laws: what a budget buys under three published laws. The formulas are those of
// crates/lab-kit/src/scaling/law.rs; a test holds both to the same numbers.

/** `loss = e + a / n^alpha + b / d^beta`, with the constants of Hoffmann et al. (2022) as printed and unrounded, and of Besiroglu et al. (2024). */
export const LAWS = {
  refit: { words: 'refit (2024)', e: 1.8172, a: 482.01, b: 2085.43, alpha: 0.3478, beta: 0.3658 },
  printed: { words: 'as printed (2022)', e: 1.69, a: 406.4, b: 410.7, alpha: 0.34, beta: 0.28 },
  unrounded: { words: 'before rounding (2022)', e: 1.69, a: 406.4, b: 410.7, alpha: 0.3392, beta: 0.2849 },
};
/** How fast repeated text loses its worth (Muennighoff et al., 2023). */
const R_STAR = 15.39;

export const loss = (law, n, d) => law.e + law.a * n ** -law.alpha + law.b * d ** -law.beta;

/** Size and text of least loss among all with `6 n d` operations. */
export function optimum(law, flops) {
  const { a, b, alpha, beta } = law;
  const n = ((alpha * a) / (beta * b)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta));
  const d = flops / 6 / n;
  return { n, d, loss: loss(law, n, d) };
}

/** Tokens that `n` weights must read for this loss; null where none are enough. */
export function tokensFor(law, n, wanted) {
  const left = wanted - law.e - law.a * n ** -law.alpha;
  return left > 0 ? (law.b / left) ** (1 / law.beta) : null;
}

/** The size that reaches `wanted` for the fewest operations, training and serving together. */
export function withServing(law, wanted, served, near) {
  let best = null;
  for (let i = 0; i < 2000; i += 1) {
    const n = near * 10 ** ((6 * i) / 1999 - 3);
    const d = tokensFor(law, n, wanted);
    if (d === null) continue;
    const flops = 6 * n * d + 2 * n * served;
    if (!best || flops < best.flops) best = { n, d, flops };
  }
  return best;
}

/** What `d` tokens are worth in fresh ones, if only `unique` of them differ. */
export const worth = (unique, d) => (d <= unique ? d : unique + unique * R_STAR * (1 - Math.exp(-(d / unique - 1) / R_STAR)));

/** A count as people say it: 73.0 billion. */
export function said(value) {
  for (const [size, word] of [[1e12, 'trillion'], [1e9, 'billion'], [1e6, 'million']]) if (value >= size) return `${Number((value / size).toPrecision(3))} ${word}`;
  return Number(value.toPrecision(3)).toLocaleString('en');
}

/** The sentences for a setting; `served` and `unique` may be 0: not asked. */
export function answers(law, flops, served, unique) {
  const best = optimum(law, flops);
  const all = [`Best size: ${said(best.n)} weights on ${said(best.d)} tokens, ${Number((best.d / best.n).toPrecision(2))} tokens for each weight. Loss ${best.loss.toFixed(3)} nats.`];
  const off = (factor) => (loss(law, best.n * factor, best.d / factor) - best.loss).toFixed(3);
  all.push(`Half that size costs ${off(0.5)} nats, twice that size ${off(2)}. Twice the budget would bring ${(best.loss - optimum(law, 2 * flops).loss).toFixed(3)}.`);
  if (unique > 0) {
    const epochs = best.d / unique;
    all.push(epochs <= 1 ? 'Your text is enough: none of it is read twice.' : `You read your text ${Number(epochs.toPrecision(2))} times, for the worth of ${said(worth(unique, best.d))} tokens${epochs > 4 ? ': beyond four times, clean and collect instead of enlarging the network' : ''}.`);
  }
  if (served > 0) {
    const found = withServing(law, best.loss, served, best.n);
    const plain = 6 * best.n * best.d + 2 * best.n * served;
    all.push(`For the same loss, training and serving together are cheapest at ${said(found.n)} weights on ${said(found.d)} tokens: ${Math.round(100 * (1 - found.flops / plain))} % fewer operations than at the best size for training alone.`);
  }
  return all;
}

/** @param {{module: Function}} page */
export async function start({ module }) {
  const place = document.querySelector('[data-allocation]');
  const { readNumber } = await module('quiz');
  const form = document.createElement('form');
  form.className = 'guide-form allocation-form';
  const options = Object.entries(LAWS).map(([name, { words }]) => `<option value="${name}">${words}</option>`).join('');
  const field = (name, label, value) => `<label><span>${label}</span><input type="text" inputmode="decimal" name="${name}" value="${value}" autocomplete="off"></label>`;
  form.innerHTML = `<fieldset><legend>Your own budget</legend>${field('flops', 'Operations of the training', '5.88e23')}<label><span>Law</span><select name="law">${options}</select></label>`
    + `${field('unique', 'Different tokens (may be empty)', '')}${field('served', 'Tokens served (may be empty)', '')}</fieldset><div role="status" data-allocation-says><ul></ul></div>`;
  const says = form.querySelector('ul');
  const show = () => {
    const numbers = ['flops', 'unique', 'served'].map((name) => {
      const { value, labels } = form.elements[name];
      if (!value.trim() && name !== 'flops') return 0;
      const number = readNumber(value);
      const [least, most] = name === 'flops' ? [1e12, 1e32] : [1, 1e20];
      if (typeof number === 'string') return `${labels[0].textContent}: ${number}`;
      return number >= least && number <= most ? number : `${labels[0].textContent}: a number from ${least.toExponential(0)} to ${most.toExponential(0)}.`;
    });
    const wrong = numbers.filter((number) => typeof number === 'string');
    const [flops, unique, served] = numbers;
    const lines = wrong.length ? wrong : answers(LAWS[form.elements.law.value], flops, served, unique);
    says.replaceChildren(...lines.map((line) => Object.assign(document.createElement('li'), { textContent: line })));
  };
  form.addEventListener('submit', (event) => { event.preventDefault(); show(); });
  form.addEventListener('change', show);
  show();
  place.prepend(form);
}
