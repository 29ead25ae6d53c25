// One control taken through several values, a run for each, and what came out as a line; a run repeated; two runs over each other.

/** Controls that can be varied: their names and words. A seed is one of them. */
export function axes(section) {
  return [...section.querySelectorAll('.control[data-control]')].flatMap((control) => {
    const name = control.dataset.control;
    const field = control.querySelector(`[name="${CSS.escape(name)}"]`);
    const fit = field && name !== 'device' && !section.dataset.without?.split(' ').includes(name) && !field.disabled && (field.tagName === 'SELECT' || ['number', 'radio', 'checkbox'].includes(field.type));
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

/** Sets the controls as they were in a run, seed and device included, and runs. @returns whether it was done */
export function again(section, { record }) {
  const setting = { ...record.params, seed: record.seed, device: record.environment?.device?.kind };
  for (const [name, value] of Object.entries(setting)) {
    const field = section.querySelector(`.control [name="${CSS.escape(name)}"]`);
    if (field && field.type !== 'file' && value !== undefined && value !== null) set(section, name, String(value));
  }
  return run(section);
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

/** Whether two charts can lie over each other: lines, points or bars with the same words at both axes. */
export const alike = (a, b) => ['line', 'scatter', 'bar'].includes(a.chart) && a.chart === b?.chart && a.x.label === b.x.label && a.y.label === b.y.label
  && String(a.categories ?? '') === String(b.categories ?? '');

/** Two charts of one kind over each other, the first hollow and dashed, the second filled and solid; a name stands at the end of each line. */
export function overlay(first, second) {
  const [w, h, left, right, top, bottom] = [480, 250, 58, 92, 12, 40];
  const series = ({ chart, series: all }) => (chart === 'bar' ? all.map(({ name, values: ys }) => ({ name, points: ys.map((y, x) => [x, y]) })) : all);
  const size = ({ scale }) => (scale === 'log' ? Math.log10 : Number);
  const fit = (axis, place, from, to) => {
    const shown = [first, second].flatMap(series).flatMap(({ points }) => points.map((point) => size(axis)(point[place]))).filter(Number.isFinite);
    let [least, most] = [Math.min(...shown), Math.max(...shown)];
    if (least === most) { least -= Math.abs(least) / 10 || 1; most += Math.abs(most) / 10 || 1; }
    const back = (value) => Number((axis.scale === 'log' ? 10 ** value : value).toPrecision(3)).toString();
    return { at: (value) => from + ((size(axis)(value) - least) / (most - least)) * (to - from), ends: [back(least), back(most)] };
  };
  const x = fit(first.x, 0, left + 8, w - right);
  const y = fit(first.y, 1, h - bottom, top + 4);
  const names = [...new Set([first, second].flatMap(series).map(({ name }) => name))];
  const text = (px, py, words, anchor) => `<text x="${px}" y="${py}" text-anchor="${anchor}">${escape(words)}</text>`;
  const draw = (chart, kind) => series(chart).map(({ name, points }) => {
    const seen = points.map((point) => [x.at(point[0]), y.at(point[1])]).filter((point) => point.every(Number.isFinite)).map((point) => point.map((value) => value.toFixed(1)));
    const line = chart.chart === 'line' && seen.length > 1 ? `<polyline points="${seen.map((point) => point.join()).join(' ')}"/>` : '';
    const dots = seen.length > 40 && line ? '' : seen.map(([px, py]) => `<circle cx="${px}" cy="${py}" r="3.5"/>`).join('');
    return `<g class="${kind}" style="--series:var(--series-${(names.indexOf(name) % 6) + 1})">${line}${dots}</g>`;
  }).join('');
  // Names keep clear of each other.
  let free = -Infinity;
  const ends = series(second).filter(({ points }) => points.length).map(({ name, points }) => [name, y.at(points.at(-1)[1])]).filter(([, at]) => Number.isFinite(at)).sort((a, b) => a[1] - b[1])
    .map(([name, at]) => { free = Math.max(at + 4, free + 13); return text(w - right + 8, free.toFixed(1), name.length > 15 ? `${name.slice(0, 14)}…` : name, 'start'); });
  const across = first.categories ? first.categories.map((word, i) => text(x.at(i), h - bottom + 16, word.length > 8 ? `${word.slice(0, 7)}…` : word, 'middle')) : [text(left, h - bottom + 16, x.ends[0], 'start'), text(w - right, h - bottom + 16, x.ends[1], 'end')];
  const words = `${first.title} The first run is hollow and dashed, the second filled and solid. ${names.join(', ')}.`;
  return `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="${escape(words)}"><path class="axis" d="M${left} ${top}V${h - bottom}H${w - right}"/>${text(left - 6, top + 8, y.ends[1], 'end')}${text(left - 6, h - bottom, y.ends[0], 'end')}${across.join('')}${text((left + w - right) / 2, h - 6, first.x.label, 'middle')}${draw(first, 'one')}${draw(second, 'two')}${ends.join('')}</svg>`;
}

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
