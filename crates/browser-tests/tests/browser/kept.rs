//! What the browser keeps of a reader: runs moved from earlier editions, a thousand of them, two tabs, storage that fails, and all of it as a file.

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::budgets::Budgets;
use browser_tests::lab::{LabOnPage, labs_of};
use serde_json::{Value, json};

/// A lab that takes a blink.
const LAB: &str = "footprint";

/// Runs the body of an asynchronous function, which finds the page's own `store` of runs and the browser's `storage` as that takes it.
pub(crate) async fn with_store(tab: &Tab, body: &str, arguments: &[Value]) -> anyhow::Result<Value> {
    let script = format!(
        "const shelf = document.documentElement.dataset.shelf;
         const storage = {{ read: (key) => localStorage.getItem(shelf + key), write: (key, value) => {{ localStorage.setItem(shelf + key, value); return true; }},
           remove: (key) => localStorage.removeItem(shelf + key), keys: () => Object.keys(localStorage).map((key) => key.slice(shelf.length)) }};
         const given = arguments;
         return (async () => {{
           const module = (name) => import(new URL(document.querySelector('script[data-store]').dataset[name], document.baseURI));
           const store = await module('store');
           {body}
         }})()"
    );
    tab.script(&script, arguments).await
}

fn lab(tab: &Tab, id: &str) -> anyhow::Result<LabOnPage> {
    labs_of(&tab.site)?.into_iter().find(|lab| lab.id == id).with_context(|| format!("no page holds {id}"))
}

async fn run(tab: &Tab, lab: &LabOnPage) -> anyhow::Result<()> {
    tab.open(&lab.page).await?;
    lab.wake(tab).await?;
    lab.press(tab, "run").await?;
    lab.reach(tab, &["done"], 75.0).await
}

fn rows(count: usize) -> String {
    format!("document.querySelectorAll('[data-run-id]').length === {count}")
}

#[tokio::test]
async fn what_cannot_be_read_or_kept_is_told_and_not_lost() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = lab(tab, LAB)?;
        tab.open(&lab.page).await?;
        let says = "document.querySelector('[data-runs-say]')?.textContent";
        let put = "storage.write('runs:footprint', given[0])";
        with_store(tab, put, &[json!("{broken")]).await?;
        run(tab, &lab).await?;
        tab.wait("a row all the same", 10.0, &rows(1)).await?;
        let kept = with_store(tab, "return storage.read('runs:footprint:unread')", &[]).await?;
        anyhow::ensure!(kept == "{broken", "what could not be read is gone: {kept}");

        // Of a newer edition: left alone.
        let newer = "{\"version\":3,\"rows\":[]}";
        with_store(tab, put, &[json!(newer)]).await?;
        run(tab, &lab).await?;
        tab.wait("a word", 10.0, &format!("{says}?.includes('newer edition')")).await?;
        let kept = with_store(tab, "return storage.read('runs:footprint')", &[]).await?;
        anyhow::ensure!(kept == newer, "the list of a newer edition was overwritten: {kept}");
        with_store(tab, "storage.remove('runs:footprint')", &[]).await?;

        // Full, then blocked: the list lasts as long as the page.
        for (broken, word) in [
            (
                "IDBObjectStore.prototype.add = () => { throw new DOMException('full', 'QuotaExceededError'); }",
                "storage is full",
            ),
            (
                "IDBFactory.prototype.open = () => { throw new DOMException('blocked', 'SecurityError'); }",
                "keeps nothing",
            ),
        ] {
            tab.before_each_page(broken).await?;
            run(tab, &lab).await?;
            tab.wait(word, 10.0, &format!("{says}?.includes('{word}') && document.querySelector('[data-run-id]')"))
                .await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn runs_of_an_earlier_edition_are_moved_once() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = lab(tab, LAB)?;
        tab.open(&lab.page).await?;
        let put = "const row = (id) => ({ id, at: '2026-01-01T00:00:00Z', query: 'lab=footprint', seconds: 1, record: { lab: 'footprint', metrics: [{ id: 'tonnes', label: 'T', value: 1, kind: 'exact' }] } });
            storage.write('runs:footprint', JSON.stringify({ version: 1, rows: [row('a'), row('b'), { id: 3 }, null] }))";
        with_store(tab, put, &[]).await?;
        for _ in 0..2 {
            tab.open(&lab.page).await?;
            lab.wake(tab).await?;
            tab.wait("both rows", 10.0, &rows(2)).await?;
            let kept = "const { rows } = await store.rowsOf(storage, 'footprint'); return [rows.map(({ id }) => id), storage.read('runs:footprint')]";
            let kept = with_store(tab, kept, &[]).await?;
            anyhow::ensure!(kept == json!([["a", "b"], "{\"version\":2,\"kept\":2}"]), "{kept}");
        }
        Ok(())
    })
    .await
}

/// Two windows of one browser: each shows what the other keeps, and overwrites none of it.
#[tokio::test]
async fn what_another_tab_keeps_is_shown_and_not_overwritten() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = lab(tab, LAB)?;
        run(tab, &lab).await?;
        tab.wait("a row", 10.0, &rows(1)).await?;
        let first = tab.driver.window().await?;
        let second = tab.driver.new_tab().await?;
        tab.driver.switch_to_window(second.clone()).await?;
        run(tab, &lab).await?;
        tab.wait("both rows in the second", 10.0, &rows(2)).await?;
        tab.driver.switch_to_window(first).await?;
        tab.wait("the row of the second in the first", 10.0, &rows(2)).await?;
        // In a live lab a run that lasted a moment gives way to the next, but not to that of another page.
        lab.press(tab, "run").await?;
        tab.wait("the next row", 10.0, &rows(3)).await?;
        // Two at once, from both sides.
        let both = "const { rows: [{ n, ...row }] } = await store.rowsOf(storage, 'footprint');
            await Promise.all(['x', 'y'].map((id) => store.add(storage, { ...row, id })));
            return (await store.rowsOf(storage, 'footprint')).rows.length";
        let count = with_store(tab, both, &[]).await?;
        anyhow::ensure!(count == 5, "{count}");
        tab.driver.switch_to_window(second).await?;
        tab.wait("all five in the second", 10.0, &rows(5)).await?;
        Ok(())
    })
    .await
}

/// A thousand runs of a lab with long records are shown in time, and one more takes the place of the oldest.
#[tokio::test]
async fn a_thousand_runs_open_in_a_moment() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = lab(tab, "quantization")?;
        let budgets = Budgets::load()?;
        tab.open(&lab.page).await?;
        let fill = "const { rowOf } = await module('recorder'), record = given[0];
            const rows = Array.from({ length: 1000 }, (_, i) => ({ ...rowOf(record, `?lab=quantization&bits=${2 + (i % 7)}`), id: `r${i}` }));
            await store.takeIn(storage, rows);
            return JSON.stringify(rows[0]).length";
        let bytes = with_store(tab, fill, &[serde_json::to_value(&lab.reference)?]).await?;
        let open = "const section = document.querySelector('section[data-lab=quantization]'), { collect } = await module('recorder');
            section.querySelector('[data-runs]')?.remove();
            const start = performance.now();
            await collect(section, { storage, module });
            const took = performance.now() - start;
            return [took, section.querySelector('[data-runs] summary').textContent, section.querySelectorAll('[data-run-id]').length]";
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            tab.open(&lab.page).await?;
            let found = with_store(tab, open, &[]).await?;
            anyhow::ensure!(found[1] == "Your runs (1000)" && found[2] == 50, "{found}");
            best = best.min(found[0].as_f64().context("a time")?);
        }
        println!("1,000 runs of {bytes} characters: {best:.0} ms");
        let late = budgets.late("thousand_runs", "the list of a thousand runs", best, "ms")?;
        anyhow::ensure!(late.is_none(), "{late:?}");
        // All of them are there for whoever asks, and the list does not grow beyond.
        let all = "const section = document.querySelector('section[data-lab=quantization]');
            section.querySelector('[data-action=all-runs]').click();
            while (section.querySelector('[data-action=all-runs]')) await new Promise((resolve) => { setTimeout(resolve, 20); });
            const shown = section.querySelectorAll('[data-run-id]').length;
            const { rows: [{ n, ...oldest }] } = await store.rowsOf(storage, 'quantization');
            const { words } = await store.add(storage, { ...oldest, id: 'new' });
            const { rows } = await store.rowsOf(storage, 'quantization');
            return [shown, words, rows.length, rows[0].id, rows.at(-1).id]";
        let found = with_store(tab, all, &[]).await?;
        let wanted = json!([1000, "The list holds 1000 runs: the oldest was taken out.", 1000, "r1", "new"]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_the_book_keeps_goes_to_a_file_and_comes_back_whole() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("how-to-use.html").await?;
        tab.wait("buttons", 10.0, "document.querySelector('[data-keep] [data-action=import-all]')").await?;
        let script = "const place = document.querySelector('[data-keeper]').dataset.keeper;
            return import(new URL(place, document.baseURI)).then(async (it) => {
              const shelf = (entries, room = Infinity) => ({
                entries, keys: () => Object.keys(entries), read: (key) => entries[key] ?? null, remove: (key) => { delete entries[key]; },
                write: (key, value) => { if (!(key in entries) && room <= 0) return false; if (!(key in entries)) room -= 1; entries[key] = value; return true; } });
              const from = shelf({ theme: 'dark', 'answer:sec-a#q': '[1]', 'predict:pruning#gap_random': '{}', 'runs:qat': '[]' });
              const to = shelf({ theme: 'light', pages: '{}' });
              const said = await it.take(it.pack(from), to);
              const file = (more) => JSON.stringify({ format: 'efficient-ai-shelf', version: 1, entries: {}, ...more });
              const refused = ['{', '[]', file({ format: 'other' }), file({ version: 2 }), file({ entries: [] }), file({ entries: { '__proto__x': 'y' } }),
                file({ entries: { theme: 3 } }), file({ entries: { 'runs:../x': 'y' } }), 'x'.repeat(6e6)].map(async (text) => {
                  const untouched = shelf({ theme: 'light' });
                  return (await it.take(text, untouched)).includes('Nothing was changed') && JSON.stringify(untouched.entries) === '{\"theme\":\"light\"}';
                });
              const full = shelf({ theme: 'light' }, 2);
              const words = await it.take(it.pack(from), full);
              return [said, to.entries.theme, to.entries.pages, Object.keys(to.entries).length, (await Promise.all(refused)).every(Boolean), words.includes('full'), JSON.stringify(full.entries)];
            })";
        let found = tab.script(script, &[]).await?;
        let wanted = json!(["Taken in: 4 entries. Pages that are open show them when they are loaded anew.", "dark", "{}", 5, true, true, "{\"theme\":\"light\"}"]);
        anyhow::ensure!(found == wanted, "{found}");
        // Runs go with it: out, in again beside those that are there, and out again where another entry finds no room.
        let script = "const it = await module('keeper'), row = (id, lab = 'qat') => ({ id, at: '2026-01-01T00:00:00Z', query: `lab=${lab}`, record: { lab, metrics: [{ id: 'm', value: 1 }] } });
            await store.takeIn(storage, [row('a'), row('b'), row('c', 'moe')]);
            const text = it.pack(storage, await store.all()), ids = async () => (await store.all()).map(({ id }) => id).sort().join('');
            await store.forget(storage, 'qat');
            const left = [await ids(), storage.read('runs:qat')];
            const said = await it.take(text, storage, store), back = [await ids(), storage.read('runs:qat')];
            await store.forget(storage);
            const full = { ...storage, write: (key, value) => key.startsWith('runs:') && storage.write(key, value) };
            const file = JSON.parse(text);
            file.entries.pages = '{}';
            file.entries['runs:qat'] = JSON.stringify({ version: 1, rows: [row('a'), { ...row('z'), record: 3 }, row('y', 'moe')] });
            const refused = [await it.take(JSON.stringify(file), full, store), await ids()];
            await it.take(JSON.stringify(file), storage, store);
            return [left, said, back, refused, await ids()]";
        let found = with_store(tab, script, &[]).await?;
        let wanted = json!([["c", "{\"version\":2,\"kept\":0}"], "Taken in: 2 entries. Pages that are open show them when they are loaded anew.", ["abc", "{\"version\":2,\"kept\":2}"],
            ["This browser’s storage is blocked or full. Nothing was changed.", ""], "ac"]);
        anyhow::ensure!(found == wanted, "{found}");
        // The real shelf, by its buttons.
        let script = "storage.write('theme', 'dark');
            const press = () => document.querySelector('[data-action=forget-all]').click();
            press(); const still = localStorage.length; press(); return [still > 0, localStorage.length]";
        anyhow::ensure!(with_store(tab, script, &[]).await? == json!([true, 0]));
        tab.wait("a word", 10.0, "/Forgotten/.test(document.querySelector('[data-keep] [role=status]').textContent)").await?;
        anyhow::ensure!(with_store(tab, "return (await store.all()).length", &[]).await? == 0);
        Ok(())
    })
    .await
}
