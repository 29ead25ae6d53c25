// A chart as a file: SVG or PNG, as it stands in the page, in its theme and its size.

const SVG = 'http://www.w3.org/2000/svg';

/** Puts two buttons to each figure of a lab, also to those that a later run brings. @param {HTMLElement} section */
export function enhance(section) {
  const fit = () => {
    for (const figure of section.querySelectorAll('.lab-figure, .lab-sweep-figures figure')) {
      if (figure.querySelector('[data-action=save-svg]') || !figure.querySelector('canvas, svg')) continue;
      const place = document.createElement('p');
      place.className = 'lab-figure-save';
      place.append('Save as ', button('save-svg', 'SVG', figure), ' ', button('save-png', 'PNG', figure));
      // Inside the fold of its data, where it has one.
      const fold = figure.querySelector('.lab-data > summary');
      if (fold) fold.after(place); else figure.append(place);
    }
  };
  fit();
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; fit(); });
  }).observe(section, { childList: true, subtree: true });
  section.addEventListener('click', async (event) => {
    const press = event.target.closest('[data-action=save-svg], [data-action=save-png]');
    if (!press) return;
    const figure = press.closest('figure');
    const file = `${section.dataset.lab}-${figure.querySelector('[data-chart]')?.dataset.chart ?? slug(titleOf(figure))}`;
    press.disabled = true;
    try {
      const text = await svgOf(figure);
      if (press.dataset.action === 'save-svg') save(`${file}.svg`, new Blob([text], { type: 'image/svg+xml' }));
      else save(`${file}.png`, await png(figure, text));
      delete press.dataset.failed;
    } catch (error) {
      press.title = `It could not be saved: ${error?.message ?? error}.`;
      press.dataset.failed = '';
    }
    press.disabled = false;
  });
}

function button(action, words, figure) {
  const element = document.createElement('button');
  element.type = 'button';
  element.className = 'button';
  element.dataset.action = action;
  element.textContent = words;
  element.setAttribute('aria-label', `Save “${titleOf(figure)}” as ${words}`);
  return element;
}

const titleOf = (figure) => (figure.querySelector('figcaption strong') ?? figure.querySelector('figcaption'))?.textContent.trim() ?? 'chart';
const slug = (words) => words.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'chart';

/** A figure's picture as the text of an SVG file. */
export async function svgOf(figure) {
  const drawn = figure.querySelector('svg');
  if (drawn) return copy(drawn);
  return record(figure.querySelector('canvas'), titleOf(figure));
}

/** An element of the page, with the colours that its style sheet gives it now. */
function copy(svg) {
  const twin = svg.cloneNode(true);
  const properties = ['fill', 'stroke', 'stroke-width', 'font-size', 'font-family', 'font-weight', 'opacity'];
  const pairs = [[svg, twin], ...[...svg.querySelectorAll('*')].map((element, i) => [element, twin.querySelectorAll('*')[i]])];
  for (const [element, to] of pairs) {
    if (['title', 'desc', 'defs'].includes(element.localName)) continue;
    const style = getComputedStyle(element);
    // Attributes, not declarations: other programs read them too.
    for (const name of properties) if (style.getPropertyValue(name)) to.setAttribute(name, style.getPropertyValue(name));
    to.removeAttribute('class');
  }
  twin.setAttribute('xmlns', SVG);
  const [, , width, height] = (svg.getAttribute('viewBox') ?? `0 0 ${svg.clientWidth} ${svg.clientHeight}`).split(/\s+/);
  const ground = document.createElementNS(SVG, 'rect');
  for (const [name, value] of Object.entries({ width, height, fill: groundOf(svg), stroke: 'none' })) ground.setAttribute(name, value);
  twin.prepend(ground);
  return new XMLSerializer().serializeToString(twin);
}

/** The colour behind an element. */
function groundOf(element) {
  for (let at = element; at; at = at.parentElement) {
    const { backgroundColor } = getComputedStyle(at);
    if (backgroundColor && !/^rgba\(.*, 0\)$|^transparent$/.test(backgroundColor)) return backgroundColor;
  }
  return '#ffffff';
}

/** Every stroke of a canvas, taken down while the page draws it once more: the context of a canvas is one object, whoever asks for it. */
async function record(canvas, title) {
  const context = canvas.getContext('2d');
  const marks = [];
  let path = '';
  let last = performance.now();
  const n = (value) => Math.round(value * 100) / 100;
  const turn = () => { const { a, b, c, d, e, f } = context.getTransform(); return a === 1 && !b && !c && d === 1 && !e && !f ? '' : ` transform="matrix(${[a, b, c, d, e, f].map(n).join(' ')})"`; };
  const paint = (kind) => (kind === 'fill' ? ` fill="${context.fillStyle}"` : ` fill="none" stroke="${context.strokeStyle}" stroke-width="${n(context.lineWidth)}" stroke-linejoin="${context.lineJoin}"`);
  const anchors = { left: 'start', start: 'start', center: 'middle', right: 'end', end: 'end' };
  const lines = { top: 'text-before-edge', hanging: 'hanging', middle: 'central', bottom: 'text-after-edge', ideographic: 'text-after-edge', alphabetic: 'auto' };
  const rect = (kind) => (x, y, w, h) => marks.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(w)}" height="${n(h)}"${paint(kind)}${turn()}/>`);
  const heard = {
    beginPath: () => { path = ''; },
    closePath: () => { path += 'Z'; },
    moveTo: (x, y) => { path += `M${n(x)} ${n(y)}`; },
    lineTo: (x, y) => { path += `L${n(x)} ${n(y)}`; },
    arc: (x, y, r, from, to) => {
      const whole = Math.abs(to - from) >= 2 * Math.PI - 1e-6;
      const at = (angle) => `${n(x + r * Math.cos(angle))} ${n(y + r * Math.sin(angle))}`;
      const start = path ? 'L' : 'M';
      if (whole) path += `M${n(x - r)} ${n(y)}a${n(r)} ${n(r)} 0 1 0 ${n(2 * r)} 0a${n(r)} ${n(r)} 0 1 0 ${n(-2 * r)} 0`;
      else path += `${start}${at(from)}A${n(r)} ${n(r)} 0 ${to - from > Math.PI ? 1 : 0} 1 ${at(to)}`;
    },
    fill: () => marks.push(`<path d="${path}"${paint('fill')}${turn()}/>`),
    stroke: () => marks.push(`<path d="${path}"${paint('stroke')}${turn()}/>`),
    fillRect: rect('fill'),
    strokeRect: rect('stroke'),
    fillText: (text, x, y) => {
      const probe = document.createElement('span');
      probe.style.font = context.font;
      const { fontSize, fontFamily, fontWeight } = probe.style;
      marks.push(`<text x="${n(x)}" y="${n(y)}" font-size="${fontSize}" font-family="${escape(fontFamily)}" font-weight="${fontWeight || 400}" text-anchor="${anchors[context.textAlign]}" dominant-baseline="${lines[context.textBaseline]}"${paint('fill')}${turn()}>${escape(text)}</text>`);
    },
  };
  for (const [name, hear] of Object.entries(heard)) {
    context[name] = function drawn(...given) {
      last = performance.now();
      hear(...given);
      return CanvasRenderingContext2D.prototype[name].apply(context, given);
    };
  }
  try {
    // The widget draws its charts anew when the theme is set, whatever it is set to.
    document.documentElement.dataset.theme = document.documentElement.dataset.theme ?? 'light';
    const begun = performance.now();
    while (performance.now() - begun < 3000 && !(marks.length && performance.now() - last > 80)) await new Promise((resolve) => { setTimeout(resolve, 20); });
  } finally {
    for (const name of Object.keys(heard)) delete context[name];
  }
  if (!marks.length) throw new Error('the chart was not drawn; open the page in view and try again');
  const { width, height } = canvas;
  return `<svg xmlns="${SVG}" viewBox="0 0 ${width} ${height}" width="${canvas.clientWidth}" height="${canvas.clientHeight}"><title>${escape(title)}</title><rect width="${width}" height="${height}" fill="${groundOf(canvas)}"/>${marks.join('')}</svg>`;
}

/** The picture in pixels, two to each of the page at least. */
async function png(figure, text) {
  const source = figure.querySelector('canvas');
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const box = (source ?? figure.querySelector('svg')).getBoundingClientRect();
  const scale = Math.max(2, devicePixelRatio);
  const sheet = document.createElement('canvas');
  sheet.width = Math.round(box.width * scale);
  sheet.height = Math.round(box.height * scale);
  sheet.getContext('2d').drawImage(image, 0, 0, sheet.width, sheet.height);
  const blob = await new Promise((resolve) => { sheet.toBlob(resolve, 'image/png'); });
  if (!blob) throw new Error('the browser made no picture of it');
  return blob;
}

/** Hands a file to the reader. */
export function save(name, blob) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
