// One control taken through several values, a run for each, and what came out as a line.

/** Controls that can be varied: their names and words. A seed is one of them. */
export function axes(section) {
  return [...section.querySelectorAll('.control[data-control]')].flatMap((control) => {
    const name = control.dataset.control;
    const field = control.querySelector(`[name="${CSS.escape(name)}"]`);
    const fit = field && name !== 'device' && !field.disabled && (field.tagName === 'SELECT' || ['number', 'radio', 'checkbox'].includes(field.type));
    return fit ? [{ name, label: control.querySelector('.control-label > span')?.textContent ?? name }] : [];
  });
}

/** The values that a sweep takes: every option, five seeds from the present one on, or five numbers from end to end. */
export function values(section, name) {
  const fields = [...section.querySelectorAll(`[name="${CSS.escape(name)}"]`)];
  const [field] = fields;
  if (field.tagName === 'SELECT') return [...field.options].map((option) => option.value);
  if (field.type === 'radio') return fields.map((radio) => radio.value);
  if (field.type === 'checkbox') return ['false', 'true'];
  if (name === 'seed') return Array.from({ length: 5 }, (_, i) => String(Number(field.value) + i));
  return spread(Number(field.min), Number(field.max), Number(field.step));
}

/** Five numbers from `min` to `max`, each a whole number of steps above `min`, none twice. */
export function spread(min, max, step) {
  const places = Number.isFinite(step) && step > 0 ? String(step).split('.')[1]?.length ?? 0 : 6;
  const size = step > 0 ? step : (max - min) / 4;
  const all = Array.from({ length: 5 }, (_, i) => (min + Math.round(((max - min) * i) / 4 / size) * size).toFixed(places));
  return [...new Set(all.map((text) => String(Number(text))))];
}

function read(section, name) {
  const fields = [...section.querySelectorAll(`[name="${CSS.escape(name)}"]`)];
  if (fields[0].type === 'radio') return fields.find((field) => field.checked)?.value;
  return fields[0].type === 'checkbox' ? String(fields[0].checked) : fields[0].value;
}

function set(section, name, value) {
  const fields = [...section.querySelectorAll(`[name="${CSS.escape(name)}"]`)];
  const field = fields[0].type === 'radio' ? fields.find((radio) => radio.value === value) : fields[0];
  if (field.type === 'radio') field.checked = true;
  else if (field.type === 'checkbox') field.checked = value === 'true';
  else field.value = value;
  for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));
}

/** Presses Run; true when the run is done, false when it failed, was cancelled or never began. */
function run(section) {
  return new Promise((resolve) => {
    let began = false;
    const end = (done) => { watch.disconnect(); clearTimeout(patience); resolve(done); };
    const watch = new MutationObserver(() => {
      const { state } = section.dataset;
      if (state === 'running') began = true;
      else if (began) end(state === 'done');
    });
    watch.observe(section, { attributeFilter: ['data-state'] });
    const patience = setTimeout(() => { if (!began) end(false); }, 5000);
    section.querySelector('[data-action=run]').click();
  });
}

/** Runs the lab once for each value of a control. @returns how many runs ended well, of how many */
export async function sweep(section, name, say) {
  const before = read(section, name);
  const all = values(section, name);
  const start = performance.now();
  let done = 0;
  for (const value of all) {
    const each = (performance.now() - start) / 1000 / done;
    say(`Run ${done + 1} of ${all.length}${done ? `, about ${Math.ceil(each * (all.length - done))} s left` : ''}. Cancel ends it.`);
    set(section, name, value);
    if (!await run(section)) break;
    done += 1;
  }
  set(section, name, before);
  return [done, all.length];
}

/** Points `{x, y, low, high}` as a picture: a line where all `x` are numbers, else a dot for each word. */
export function picture(title, points) {
  const [w, h, left, top, bottom] = [320, 190, 58, 12, 34];
  const ys = points.flatMap(({ y, low, high }) => [y, low ?? y, high ?? y]).filter(Number.isFinite);
  let [least, most] = [Math.min(...ys), Math.max(...ys)];
  if (least === most) { least -= Math.abs(least) / 10 || 1; most += Math.abs(most) / 10 || 1; }
  const numbers = points.every(({ x }) => x !== '' && Number.isFinite(Number(x)));
  const xs = points.map(({ x }, i) => (numbers ? Number(x) : i));
  const span = Math.max(...xs) - Math.min(...xs) || 1;
  const px = (x) => left + 12 + ((x - Math.min(...xs)) / span) * (w - left - 24);
  const py = (y) => top + ((most - y) / (most - least)) * (h - top - bottom);
  const text = (x, y, words, anchor) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${escape(String(words))}</text>`;
  const figure = (value) => Number(value.toPrecision(3)).toString();
  const marks = points.map(({ y, low, high }, i) => {
    const bar = Number.isFinite(low) && Number.isFinite(high) ? `<path d="M${px(xs[i])} ${py(low)}V${py(high)}"/>` : '';
    return `${bar}<circle cx="${px(xs[i])}" cy="${py(y)}" r="3.5"/>`;
  });
  const line = numbers ? `<polyline points="${points.map(({ y }, i) => `${px(xs[i])},${py(y)}`).join(' ')}"/>` : '';
  const labels = points.map(({ x }, i) => text(px(xs[i]), h - bottom + 18, x.length > 9 ? `${x.slice(0, 8)}…` : x, 'middle'));
  const words = `${title}: ${points.map(({ x, y }) => `${x}, ${figure(y)}`).join('; ')}`;
  return `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="${escape(words)}"><path class="axis" d="M${left} ${top}V${h - bottom}H${w - 6}"/>${text(left - 6, top + 8, figure(most), 'end')}${text(left - 6, h - bottom, figure(least), 'end')}${labels.join('')}${line}${marks.join('')}</svg>`;
}

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
