// The reference behind a run: where both charts have the same axes, what the recorded run found becomes a quiet second series of
// the run's own chart. It is read from the tables of the page, whose cells hold seven digits of each number.

/**
 * Lays the reference of a lab behind the charts of a record, in place.
 * @param {HTMLElement} section @param {{lab: string, charts?: object[]}} record @returns {boolean} whether any chart has changed
 */
export function layBehind(section, record) {
  const device = section.querySelector('[data-source=reference] [data-device]')?.textContent.trim();
  if (!device) return false;
  const laid = (record.charts ?? []).map((chart) => {
    const fold = document.getElementById(`${record.lab}-reference-${chart.id}-data`);
    // A long table is cut off: half a line would be no reference.
    if (!fold || !fold.querySelector('table') || fold.querySelector('.lab-note')) return false;
    const twins = twinsOf(chart, { ...read(fold.querySelector('table')), title: fold.closest('figure').querySelector('figcaption strong')?.textContent.trim() });
    if (!twins) return false;
    // The bar of a name parts it from where it comes from: one entry of the legend tells of them all.
    chart.series.push(...twins.map(({ name, ...twin }) => ({ ...twin, name: `${name} | reference: ${device}` })));
    return true;
  });
  return laid.includes(true);
}

function read(table) {
  const value = (cell) => ('value' in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim());
  return { heads: [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim()), rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map(value)) };
}

/** The series of the reference, each in the place of its namesake in the chart, or of its neighbour where all have other names. */
export function twinsOf(chart, { heads, rows, title }) {
  const own = chart.series;
  let found;
  if (chart.chart === 'line' || chart.chart === 'scatter') {
    if (heads[1] !== chart.x.label || heads[2] !== chart.y.label) return null;
    found = [];
    for (const [name, x, y] of rows) {
      if (found.at(-1)?.name !== name) found.push({ name, points: [] });
      found.at(-1).points.push([x, y]);
    }
  } else if (chart.chart === 'bar') {
    // A table of bars does not tell its vertical axis: the title stands for it.
    if (title !== chart.title.trim() || heads[0] !== chart.x.label || rows.length !== chart.categories.length || rows.some(([name], i) => name !== chart.categories[i].trim())) return null;
    found = heads.slice(1).map((name, i) => ({ name, values: rows.map((row) => row[i + 1]) }));
  } else return null;
  if (found.some(({ points, values }) => !(points?.flat() ?? values).every(Number.isFinite))) return null;
  const named = (name) => found.find((one) => one.name === String(name).trim());
  const byPlace = own.length === found.length && !own.some(({ name }) => named(name));
  const twins = own.map(({ name }, i) => (byPlace ? found[i] : named(name)));
  if (!twins.some(Boolean) || (chart.chart === 'bar' && !twins.every(Boolean))) return null;
  // The run is the reference's own, number by number, to the digits of the page's tables: nothing lies behind it.
  const digits = (one) => JSON.stringify(one.points ?? one.values, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(7)) : value));
  const same = (a, b) => digits(a) === digits(b);
  if (twins.every((twin, i) => !twin || same(twin, own[i]))) return null;
  // A much slower machine, a much larger size: the run would be a stroke at the edge of its own picture.
  const reach = (all, part) => Math.max(...all.filter(Boolean).flatMap(({ points, values }) => (points ? points.map((point) => Math.abs(point[part])) : part ? values.map(Math.abs) : [])));
  if ([chart.x, chart.y].some(({ scale }, part) => scale !== 'log' && reach(twins, part) > 5 * reach(own, part))) return null;
  return twins.map((twin, i) => twin ?? { name: own[i].name, points: [] });
}
