//! The reader's runs: listed, compared with each other and with the reference, repeated, varied.

use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::lab::{LabOnPage, labs_of};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

use crate::kept::with_store;

/// A lab that takes a blink.
const LAB: &str = "footprint";

fn lab(tab: &Tab) -> anyhow::Result<LabOnPage> {
    let found = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == LAB);
    found.ok_or_else(|| anyhow::anyhow!("no page holds {LAB}"))
}

async fn run(tab: &Tab, lab: &LabOnPage, address: &str) -> anyhow::Result<()> {
    tab.open(address).await?;
    lab.wake(tab).await?;
    lab.press(tab, "run").await?;
    lab.reach(tab, &["done"], 75.0).await
}

#[tokio::test]
async fn runs_are_kept_and_two_are_compared() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = lab(tab)?;
        run(tab, &lab, &lab.page).await?;
        tab.wait("a row", 10.0, "document.querySelectorAll('[data-run-id]').length === 1").await?;
        let open = format!("return document.querySelector(\"{} details[data-source=reference]\").open", lab.selector());
        let folded = tab.script(&open, &[]).await?;
        anyhow::ensure!(folded == json!(false), "the reference stays unfolded after a run");
        let other = lab.other_setting();
        run(tab, &lab, &lab.link(&other, 0, "cpu")).await?;
        tab.wait("a second row", 10.0, "document.querySelectorAll('[data-run-id]').length === 2").await?;
        let script = "document.querySelector('[data-runs]').open = true;
            for (const pick of document.querySelectorAll('[data-runs] [type=checkbox]')) pick.click();
            document.querySelector('[data-action=compare-runs]').click();
            return [[...document.querySelectorAll('[data-run-id] a')].map((a) => a.search),
              document.querySelectorAll('[data-metric-pair]').length,
              document.querySelector('[data-metric-pair=tonnes]').textContent]";
        let found = tab.script(script, &[]).await?;
        let (name, value) = &other[0];
        anyhow::ensure!(found[0][0].as_str().is_some_and(|link| link.contains(&format!("{name}={value}"))), "{found}");
        anyhow::ensure!(found[0][1] == "?lab=footprint", "{found}");
        anyhow::ensure!(found[1].as_u64().is_some_and(|pairs| pairs >= 5), "{found}");
        // Forgetting takes two presses.
        let forget = "const press = () => document.querySelector('[data-action=forget-runs]');
            press().click(); const still = document.querySelectorAll('[data-run-id]').length;
            press().click(); return still";
        anyhow::ensure!(tab.script(forget, &[]).await? == json!(2));
        tab.wait("an empty list", 5.0, "document.querySelectorAll('[data-run-id]').length === 0").await?;
        let left = with_store(tab, "return (await store.all()).length", &[]).await?;
        anyhow::ensure!(left == 0, "{left} runs are still kept");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_run_is_repeated_beside_the_first_and_links_say_what_was_tried() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == "inspect");
        let lab = lab.ok_or_else(|| anyhow::anyhow!("no page holds inspect"))?;
        let setting = [("granularity".to_owned(), "tensor".to_owned())];
        run(tab, &lab, &lab.link(&setting, 7, "cpu")).await?;
        tab.open(&lab.page).await?;
        lab.wake(tab).await?;
        let tried = "[...document.querySelectorAll('main a[data-tried]')]";
        tab.wait("a mark", 10.0, &format!("{tried}.some((a) => a.search === '?lab=inspect&granularity=tensor' && a.textContent.includes('tried'))")).await?;
        let other = format!("{tried}.every((a) => new URL(a.href).searchParams.get('granularity') === 'tensor')");
        anyhow::ensure!(tab.script(&format!("return {other}"), &[]).await? == json!(true), "another setting bears the mark");
        tab.script("document.querySelector('[data-runs]').open = true; document.querySelector('[data-action=again]').click()", &[]).await?;
        tab.wait("both beside each other", 75.0, "document.querySelectorAll('[data-run-id]').length === 2 && document.querySelector('[data-metric-pair]')").await?;
        let script = "const { rows } = await store.rowsOf(storage, 'inspect');
            return [rows.map(({ record }) => [record.params.granularity, record.seed]), document.querySelectorAll('[data-runs] [type=checkbox]:checked').length,
              [...document.querySelectorAll('[data-metric-pair] td:last-child')].every((td) => td.textContent === 'the same'), document.activeElement.dataset.action]";
        let found = with_store(tab, script, &[]).await?;
        anyhow::ensure!(found == json!([[["tensor", 7], ["tensor", 7]], 2, true, "again"]), "{found}");
        Ok(())
    })
    .await
}

/// After Run, without scrolling: state, sentences, three numbers, and the first chart or, on a phone, its beginning. What to do with
/// the controls stands beside them, or below where there is no room.
#[tokio::test]
async fn what_answers_the_question_is_on_the_first_screen_after_a_run() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == "inspect");
        let lab = lab.ok_or_else(|| anyhow::anyhow!("no page holds inspect"))?;
        for (width, height, chart, beside) in [(1900, 1000, 200, true), (1440, 900, 200, false), (390, 844, 0, false)] {
            tab.resize(width, height).await?;
            tab.open(&lab.page).await?;
            lab.wake(tab).await?;
            let button = format!("document.querySelector(\"{} [data-action=run]\")", lab.selector());
            tab.script(&format!("{button}.scrollIntoView({{ block: 'center', behavior: 'instant' }}); {button}.focus()"), &[]).await?;
            // A script's press is a sweep's or a repetition's, and moves nothing.
            tab.driver.action_chain().send_keys(Key::Enter).perform().await?;
            lab.reach(tab, &["done"], 75.0).await?;
            let script = "const lab = document.querySelector(arguments[0]), report = lab.querySelector('[data-source=run] .lab-report');
                const inside = (part, more) => { const box = part?.getBoundingClientRect();
                  return Boolean(box) && box.top >= 0 && (more === undefined ? box.bottom : box.top + more) <= innerHeight; };
                return [inside(lab.querySelector('.lab-status')), inside(report.querySelector('.lab-notes')),
                  [...report.querySelectorAll('.lab-first dd')].filter((number) => inside(number)).length,
                  inside(report.querySelector('.lab-figure'), arguments[1]),
                  report.querySelectorAll('[data-metric=bytes_4]').length]";
            let found = tab.script(script, &[json!(lab.selector()), json!(chart)]).await?;
            anyhow::ensure!(found == json!([true, true, 3, true, 1]), "at {width} pixels: {found}");
            let script = "const lab = document.querySelector(arguments[0]), [bench, steps] = ['.lab-widget', '.lab-steps'].map((part) => lab.querySelector(part).getBoundingClientRect());
                const next = lab.querySelector('.lab-next a');
                return [arguments[1] ? steps.left >= bench.right && steps.top < bench.bottom : steps.top >= bench.bottom,
                  next.checkVisibility() !== arguments[1], next.hash === `#${lab.querySelector('.lab-steps').id}`]";
            let order = tab.script(script, &[json!(lab.selector()), json!(beside)]).await?;
            anyhow::ensure!(order == json!([true, true, true]), "at {width} pixels, place of the steps: {order}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_runs_are_drawn_over_each_other() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let script = "const part = document.querySelector('script[data-sweep]').dataset, at = (place) => import(new URL(place, document.baseURI));
            return Promise.all([at(part.sweep), at(part.recorder)]).then(([it, runs]) => {
              const chart = (points, more = {}) => ({ id: 'c', title: 'What <comes> out?', chart: 'line', x: { label: 'Steps' }, y: { label: 'Loss', scale: 'log' }, series: [{ name: 'a', points }, { name: 'b', points: points.map(([x, y]) => [x, 2 * y]) }], ...more });
              const [one, two] = [chart([[0, 1], [1, 0.5], [2, 0]]), chart([[0, 1], [1, 0.25]])];
              const svg = new DOMParser().parseFromString(it.overlay(one, two), 'image/svg+xml');
              const bars = (values) => ({ ...one, chart: 'bar', y: { label: 'Loss' }, categories: ['p', 'q'], series: [{ name: 'a', values }] });
              const metric = (value, low, high, unit) => ({ value, unit, kind: 'trained', interval: { low, high } });
              return [svg.querySelector('parsererror') === null, svg.querySelectorAll('g.one circle').length, svg.querySelectorAll('g.two circle').length, /NaN|Infinity|<comes/.test(it.overlay(one, two)),
                it.alike(one, two), it.alike(one, bars([1, 2])), it.alike(one, { ...two, y: { label: 'Accuracy' } }), it.alike(one, undefined), /NaN/.test(it.overlay(bars([1, 2]), bars([1, 1]))),
                runs.span(metric(2, 1, 4, 'ms'), metric(4, 2, 8, 'ms')), runs.span(metric(2, 1, 4, '%'), metric(4, 2, 8, '%')), runs.span(metric(2, 2, 2, 'ms'), metric(4, 4, 4, 'ms'))];
            })";
        let found = tab.script(script, &[]).await?;
        let wanted = json!([true, 4, 4, false, true, false, false, false, false, "[0.5, 8]", "[-2, 7]", ""]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_table_of_runs_is_whole_and_a_verdict_knows_chance() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let script = "const place = document.querySelector('[data-recorder]').dataset.recorder;
            return import(new URL(place, document.baseURI)).then((it) => {
              const metric = (value, low, high, kind = 'trained', unit = 'ms') => ({ id: 'm', help: 'What it is.', label: 'A, \"b\"', value, unit, kind, interval: low === undefined ? undefined : { low, high } });
              const row = it.rowOf({ lab: 'x', seed: 7, charts: [1], tables: [2], metrics: [metric(2, 1, 3)], environment: { device: { kind: 'cpu', name: 'CPU' } } }, 'https://a/b?lab=x&bits=4#lab-x', 1.234);
              return [it.csv([row]).split('\\r\\n').length, it.csv([row]).includes('\"A, \"\"b\"\"\"'), row.query, row.seconds, row.record.charts === undefined,
                it.verdict(metric(1, 0, 2), metric(3, 2.5, 4)), it.verdict(metric(1, 0, 2), metric(3, 1.5, 4)), it.verdict(metric(1), metric(2)),
                it.verdict(metric(1, 1, 1, 'exact'), metric(1, 1, 1, 'exact')), it.ratio(metric(2), metric(5)), it.ratio(metric(2, 1, 3, 'trained', '%'), metric(5, 1, 3, 'trained', '%')),
                it.ratio(metric(-1), metric(2)), 'help' in row.record.metrics[0]];
            })";
        let found = tab.script(script, &[]).await?;
        let wanted: Value = json!([
            3, true, "lab=x&bits=4", 1.23, true, "yes", "no: the intervals meet", "one run each cannot tell", "the same", "2.5×", "+3", "+3", false
        ]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_control_is_taken_through_its_values_and_drawn() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        // Not a live lab, and a quick one.
        let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == "inspect");
        let lab = lab.ok_or_else(|| anyhow::anyhow!("no page holds inspect"))?;
        run(tab, &lab, &lab.page).await?;
        tab.wait("something to vary", 10.0, "document.querySelector('[data-sweep] option[value=granularity]')").await?;
        let script = "document.querySelector('[data-runs]').open = true;
            const choice = document.querySelector('[data-sweep] select'); choice.value = 'granularity';
            document.querySelector('[data-action=sweep]').click()";
        tab.script(script, &[]).await?;
        tab.wait("three runs", 75.0, "document.querySelector('[data-sweep] [role=status]').textContent === '3 runs.'").await?;
        let script = "const place = document.querySelector('script[data-sweep]').dataset.sweep;
            return import(new URL(place, document.baseURI)).then((it) => [
              document.querySelectorAll('[data-run-id]').length, document.querySelectorAll('.lab-sweep-figures svg circle').length,
              document.querySelector('[name=granularity]:checked, select[name=granularity]').value, it.values(document, 'seed').length,
              document.querySelector('[data-sweep] option[value=seed]'), it.spread(0, 0.99, 0.01), it.spread(1, 3, 1), it.spread(8, 128, 8),
              it.picture('<b>', [{ x: 'a', y: 1 }, { x: 'b', y: 2 }]).includes('&#60;b'), it.picture('t', [{ x: '1', y: 1 }]).includes('NaN')])";
        let found = tab.script(script, &[]).await?;
        let wanted = json!([
            4, 9, "channel", 5, null, ["0", "0.25", "0.5", "0.74", "0.99"], ["1", "2", "3"], ["8", "40", "72", "96", "128"], true, false
        ]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

/// In a chart with the axes of the reference's own, what the recorded run found is a quiet second series, named in the legend.
#[tokio::test]
async fn the_reference_lies_behind_the_charts_of_a_run() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == "levels");
        let lab = lab.ok_or_else(|| anyhow::anyhow!("no page holds levels"))?;
        let (figure, table) = ("[data-source=run] .lab-figure:has([data-chart=sweep])", "#levels-run-sweep-data tbody tr");
        let look = format!(
            "const at = (name) => import(new URL(document.querySelector('script[data-store]').dataset[name], document.baseURI));
             const svg = await (await at('pictures')).svgOf(document.querySelector(\"{figure}\"));
             const texts = [...new DOMParser().parseFromString(svg, 'image/svg+xml').querySelectorAll('text')].map((text) => text.textContent);
             const names = [...document.querySelectorAll(\"{table}\")].map((row) => row.cells[0].textContent);
             return [texts.filter((text) => text.trim().startsWith('reference: CPU')).length, new Set(names).size, new Set(names.filter((name) => name.includes(' | reference: '))).size]"
        );
        for (width, height) in [(1440, 900), (390, 844)] {
            tab.resize(width, height).await?;
            // As it stands, the run is the reference number by number: nothing lies behind it.
            run(tab, &lab, &lab.link(&[], 0, "cpu")).await?;
            tab.wait("a chart", 10.0, &format!("document.querySelector(\"{figure}\")")).await?;
            let same = with_store(tab, &look, &[]).await?;
            anyhow::ensure!(same[0] == 0 && same[2] == 0, "at {width} pixels, as it stands: {same}");
            run(tab, &lab, &lab.link(&[("outlier".to_owned(), "12".to_owned())], 0, "cpu")).await?;
            tab.wait("a chart", 10.0, &format!("document.querySelector(\"{figure}\")")).await?;
            let other = with_store(tab, &look, &[]).await?;
            anyhow::ensure!(other == json!([1, 4, 2]), "at {width} pixels, with an outlier: {other}");
        }
        // What is kept and exported is the run alone.
        let kept = "const { rows } = await store.rowsOf(storage, 'levels'); return JSON.stringify(rows).includes('reference: ')";
        anyhow::ensure!(with_store(tab, kept, &[]).await? == json!(false));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_charts_with_the_same_axes_get_a_second_series() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let script = "const { twinsOf } = await import(new URL(document.querySelector('script[data-behind]').dataset.behind, document.baseURI));
            const line = (names, more = {}) => ({ id: 'c', title: 'T', chart: 'line', x: { label: 'Steps' }, y: { label: 'Loss' }, series: names.map((name) => ({ name, points: [[1, 5]] })), ...more });
            const table = (names, heads = ['Series', 'Steps', 'Loss']) => ({ heads, rows: names.flatMap((name) => [[name, 0, 1], [name, 1, 0.5]]), title: 'T' });
            const bar = { id: 'b', title: 'T', chart: 'bar', x: { label: 'Layer' }, y: {}, categories: ['p', 'q'], series: [{ name: 'a', values: [1, 2] }] };
            const bars = (more) => twinsOf(bar, { heads: ['Layer', 'a'], rows: [['p', 3], ['q', 4]], title: 'T', ...more });
            const names = (twins) => twins && twins.map(({ name, points }) => `${name}:${points.length}`).join(' ');
            return [names(twinsOf(line(['a', 'b']), table(['a', 'b']))), names(twinsOf(line(['a', 'c']), table(['b', 'a']))), names(twinsOf(line(['4 bits']), table(['3 bits']))),
              names(twinsOf(line(['x', 'y']), table(['a', 'b', 'c']))), names(twinsOf(line(['a']), table(['a'], ['Series', 'Steps', 'Accuracy']))), names(twinsOf(line(['a'], { chart: 'heatmap' }), table(['a']))),
              names(twinsOf(line(['a'], { series: [{ name: 'a', points: [[0, 1], [1, 0.5]] }] }), table(['a']))),
              JSON.stringify(bars({})), names(twinsOf(line(['a']), { ...table(['a']), rows: [['a', 0, 30]] })), names(twinsOf(line(['a'], { y: { label: 'Loss', scale: 'log' } }), { ...table(['a']), rows: [['a', 0, 30]] })), bars({ title: 'U' }), bars({ rows: [['p', 3], ['r', 4]] }), bars({ rows: [['p', 1], ['q', 2]] })]";
        let found = with_store(tab, script, &[]).await?;
        let wanted = json!([
            "a:2 b:2", "a:2 c:0", "3 bits:2", null, null, null, null, "[{\"name\":\"a\",\"values\":[3,4]}]", null, "a:1", null, null, null
        ]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}
