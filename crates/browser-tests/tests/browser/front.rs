//! The front page's miniature and map, whole files and differences in place, and where the reader is on a path and on a page.

use std::collections::BTreeSet;

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::env;
use browser_tests::lab::{LabOnPage, RUN_SECONDS, labs_of};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

const HOME: &str = "index.html";
/// The lab of the miniature.
const LAB: &str = "levels";
/// What a script keeps before a page sees it; blocked storage throws as browsers do.
const BLOCKED: &str =
    "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('blocked', 'SecurityError'); } });";

/// The miniature as a lab of the front page, once it is awake.
fn miniature(tab: &Tab) -> anyhow::Result<LabOnPage> {
    let found = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == LAB);
    let lab = found.with_context(|| format!("no page holds {LAB}"))?;
    Ok(LabOnPage { page: HOME.into(), ..lab })
}

/// The page that quotes a file, or compares two versions: the first that holds `mark`.
fn page_with(tab: &Tab, mark: &str) -> anyhow::Result<String> {
    let pages = tab.site.pages.keys().filter(|page| page.starts_with("tactics/"));
    for page in pages {
        if String::from_utf8_lossy(&tab.site.bytes(page)?).contains(mark) {
            return Ok(page.clone());
        }
    }
    anyhow::bail!("no page holds {mark}")
}

/// Turns a slider of the miniature as the arrow keys do.
async fn slide(tab: &Tab, selector: &str, value: &str) -> anyhow::Result<()> {
    let body = "const field = document.querySelector(arguments[0]); field.focus(); field.value = arguments[1];
        for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));";
    tab.script(body, &[json!(selector), json!(value)]).await?;
    Ok(())
}

#[tokio::test]
async fn the_miniature_sleeps_until_it_is_touched_and_then_answers() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = miniature(tab)?;
        tab.open(HOME).await?;
        let asleep = "const mini = document.querySelector('section[data-mini]');
            const picture = mini.querySelector('.lab-mini-picture svg').getBoundingClientRect();
            return [mini.dataset.state, picture.width > 250 && picture.top < innerHeight, mini.hasAttribute('data-lab')]";
        anyhow::ensure!(tab.script(asleep, &[]).await? == json!(["static", true, false]), "it does not sleep in view");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let fetched = |part: &str| tab.server.requests().iter().any(|path| path.contains(part));
        anyhow::ensure!(!fetched(".wasm") && !fetched("pkg/"), "looking at the page fetched {:?}", tab.server.requests());

        slide(tab, "[data-mini] [name=outlier]", "12").await?;
        lab.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
        anyhow::ensure!(lab.state(tab).await? == "done", "it failed: {}", lab.message(tab).await?);
        let shown = "const mini = document.querySelector('section[data-mini]');
            const seen = (selector) => [...mini.querySelectorAll(selector)].filter((e) => e.checkVisibility()).length;
            return [mini.querySelector('[name=outlier]').value, seen('[data-control]'), seen('canvas'), seen('.lab-mini-picture'),
              seen('.lab-notes'), document.activeElement.dataset.slides ?? document.activeElement.name]";
        let found = tab.script(shown, &[]).await?;
        anyhow::ensure!(found == json!(["12", 2, 1, 0, 1, "outlier"]), "awake it shows {found}");
        let words = "return document.querySelector('[data-mini] .lab-notes').textContent";
        let far = tab.script(words, &[]).await?;
        anyhow::ensure!(!far.as_str().unwrap_or_default().contains("12 become zero"), "the recorded answer: {far}");
        // It goes on answering without another press, and a link brings the setting back, asleep.
        slide(tab, "[data-mini] [data-slides=outlier]", "3").await?;
        tab.wait("the recorded answer", 20.0, "document.querySelector('[data-mini] .lab-notes').textContent.includes('12 become zero')").await?;
        tab.open("index.html?lab=levels&outlier=7.5&bits=4&device=cpu").await?;
        let set = "return [document.querySelector('[data-mini] [name=outlier]').value, document.querySelector('[data-mini] output').textContent,
            document.querySelector('[data-page-message]')?.textContent ?? '']";
        anyhow::ensure!(tab.script(set, &[]).await? == json!(["7.5", "7.5", ""]), "{}", tab.script(set, &[]).await?);
        let problems = tab.problems().await?;
        anyhow::ensure!(problems.is_empty(), "{problems:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_miniature_whose_widget_does_not_come_says_so_and_recovers() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.bypass_service_worker().await?;
        let lab = miniature(tab)?;
        tab.server.break_files("pkg/manifest.json", browser_tests::server::Fault::Missing);
        tab.open(HOME).await?;
        tab.driver.find(By::Css("[data-mini] [data-action=wake]")).await?.click().await?;
        lab.reach(tab, &["failed"], 10.0).await?;
        anyhow::ensure!(lab.message(tab).await?.len() > 30, "no word about it");
        let picture = "return document.querySelector('.lab-mini-picture').checkVisibility()";
        anyhow::ensure!(tab.script(picture, &[]).await? == json!(true), "the recorded picture is gone");
        tab.server.heal();
        lab.press(tab, "retry").await?;
        lab.reach(tab, &["done"], RUN_SECONDS).await
    })
    .await
}

#[tokio::test]
async fn the_front_page_reads_without_scripts_and_its_map_lists_every_method_once() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let methods = std::fs::read_to_string(env::workspace().join("book/data/methods.toml"))?;
        let catalogue: toml::Table = methods.parse()?;
        let all = catalogue["method"].as_array().context("methods")?;
        let ids: BTreeSet<&str> = all.iter().filter_map(|method| method["id"].as_str()).collect();
        let written = all.iter().filter(|method| method.get("chapter").is_some()).count();
        tab.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await?;
        for width in [1440, 390] {
            tab.resize(width, 844).await?;
            tab.open(HOME).await?;
            let body = "const items = [...document.querySelectorAll('[data-map] li[data-method]')];
                return [items.filter((e) => { const b = e.getBoundingClientRect(); return b.width > 60 && b.right <= innerWidth && e.checkVisibility() }).map((e) => e.dataset.method),
                  document.querySelectorAll('[data-map] li a[href]').length,
                  document.querySelector('[data-mini-form]').checkVisibility(), document.querySelector('.lab-mini-picture svg').checkVisibility()]";
            let found = tab.script(body, &[]).await?;
            let shown: Vec<&str> = found[0].as_array().context("ids")?.iter().filter_map(Value::as_str).collect();
            anyhow::ensure!(shown.len() == ids.len(), "at {width} px {} of {} methods are seen", shown.len(), ids.len());
            anyhow::ensure!(shown.iter().copied().collect::<BTreeSet<_>>() == ids, "at {width} px the map shows {shown:?}");
            anyhow::ensure!(found[1] == json!(written), "{} of {written} chapters are linked", found[1]);
            anyhow::ensure!(found[2] == json!(false) && found[3] == json!(true), "controls that do nothing, or no picture");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_quoted_file_opens_whole_in_place_at_the_quoted_lines() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let page = page_with(tab, "class=\"source-file\"")?;
        tab.open(&page).await?;
        tab.wait("a link that opens", 10.0, "document.querySelector('figure.listing a[data-file][aria-expanded=false]')").await?;
        // By keyboard, as a button.
        let link = tab.driver.find(By::Css("figure.listing a[data-file]")).await?;
        tab.script("document.querySelector('figure.listing a[data-file]').focus()", &[]).await?;
        link.send_keys(Key::Enter).await?;
        tab.wait("the file", 10.0, "document.querySelector('.whole-file pre')").await?;
        let body = "const link = document.querySelector('figure.listing a[data-file]'); const figure = link.closest('figure');
            const own = figure.querySelector(':scope > pre').textContent.replace(/\\s+/g, ''); const box = figure.querySelector('.whole-file pre');
            const [first, last] = link.dataset.lines.split('-').map(Number); const marked = [...box.querySelectorAll('.quoted')];
            const at = marked[0].getBoundingClientRect(), around = box.getBoundingClientRect();
            return [location.pathname.endsWith('.html'), link.getAttribute('aria-expanded'), marked.length === last - first + 1,
              figure.classList.contains('diff') || marked.map((e) => e.textContent).join('').replace(/\\s+/g, '') === own,
              box.textContent.length > own.length, at.top >= around.top && at.top < around.bottom, box.querySelectorAll('[id]').length]";
        let found = tab.script(body, &[]).await?;
        anyhow::ensure!(found == json!([true, "true", true, true, true, true, 0]), "{page}: {found}");
        tab.driver.find(By::Css("[data-action=close-file]")).await?.click().await?;
        let closed = "return [document.querySelectorAll('.whole-file').length, document.activeElement.dataset.file !== undefined]";
        anyhow::ensure!(tab.script(closed, &[]).await? == json!([0, true]));

        // What Run starts, from the lab itself.
        let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == LAB).context("the lab")?;
        tab.open(&lab.page).await?;
        tab.wait("a link that opens", 10.0, "document.querySelector('.lab-source a[data-file][aria-expanded=false]')").await?;
        tab.script("document.querySelector('.lab-source a[data-file]').click()", &[]).await?;
        tab.wait("the function", 10.0, "document.querySelector('.lab-source .quoted')?.textContent.includes('async fn run(')").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_that_does_not_come_is_told() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.bypass_service_worker().await?;
        let page = page_with(tab, "class=\"source-file\"")?;
        tab.server.break_files("code/", browser_tests::server::Fault::Missing);
        tab.open(&page).await?;
        tab.wait("a link that opens", 10.0, "document.querySelector('a[data-file][aria-expanded=false]')").await?;
        tab.script("document.querySelector('a[data-file]').click()", &[]).await?;
        tab.wait(
            "a word",
            10.0,
            "document.querySelector('.whole-file [role=alert]')?.textContent.includes('did not come')",
        )
        .await?;
        tab.server.heal();
        tab.script("document.querySelector('a[data-file]').click()", &[]).await?;
        tab.wait("the file", 10.0, "document.querySelector('.whole-file pre')").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_difference_stands_side_by_side_where_there_is_room_and_is_remembered() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.resize(1440, 900).await?;
        let page = page_with(tab, "class=\"listing diff\"")?;
        tab.open(&page).await?;
        tab.wait("a button", 10.0, "document.querySelector('[data-action=diff-sides]')").await?;
        let state = "const figure = document.querySelector('figure.diff'); const seen = (selector) => figure.querySelector(selector)?.checkVisibility() ?? false;
            return [seen('pre.diff'), seen('.sides'), figure.querySelector('[data-action=diff-sides]').getAttribute('aria-pressed')]";
        anyhow::ensure!(tab.script(state, &[]).await? == json!([true, false, "false"]), "lines one above the other come first");
        tab.driver.find(By::Css("[data-action=diff-sides]")).await?.click().await?;
        anyhow::ensure!(tab.script(state, &[]).await? == json!([false, true, "true"]), "{}", tab.script(state, &[]).await?);
        // Each side is one of the two versions, whole, and nothing is wider than the page.
        let body = "const figure = document.querySelector('figure.diff'); const words = (nodes) => nodes.map((e) => e.textContent).join('').replace(/\\s+/g, '');
            const lines = [...figure.querySelectorAll('pre .line')], cells = [...figure.querySelectorAll('.sides > code')];
            const version = (gone) => words(lines.filter((e) => !e.classList.contains(gone)));
            return [words(cells.filter((_, i) => i % 2 === 0)) === version('line-added'), words(cells.filter((_, i) => i % 2)) === version('line-removed'),
              document.documentElement.scrollWidth <= innerWidth]";
        anyhow::ensure!(tab.script(body, &[]).await? == json!([true, true, true]), "{page}: {}", tab.script(body, &[]).await?);
        tab.open(&page).await?;
        tab.wait("the choice", 10.0, "document.querySelector('figure.diff[data-sides]')").await?;
        // Paper and phones have no room.
        tab.devtools("Emulation.setEmulatedMedia", json!({"media": "print"})).await?;
        anyhow::ensure!(tab.script(state, &[]).await?[1] == json!(false), "paper shows two columns");
        tab.devtools("Emulation.setEmulatedMedia", json!({"media": ""})).await?;
        tab.resize(390, 844).await?;
        anyhow::ensure!(tab.script(state, &[]).await? == json!([true, false, "true"]), "a phone shows two columns");
        Ok(())
    })
    .await
}

/// What the path that holds the chapter on the KV cache says, and the link to what comes next.
const PATH: &str = "const path = [...document.querySelectorAll('[data-path-of]')].find((e) => e.dataset.pathOf === 'beginner');
    const state = path.querySelector('[data-path-state]'); return [state.textContent, state.querySelector('a')?.getAttribute('href') ?? null]";

#[tokio::test]
async fn a_path_says_what_was_read_and_run_and_what_comes_next() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let told = "document.querySelector('[data-path-of=beginner] [data-path-state]')?.textContent";
        tab.open(HOME).await?;
        tab.wait("a state", 10.0, told).await?;
        let found = tab.script(PATH, &[]).await?;
        anyhow::ensure!(found[0] == "0 of 3 read, next: KV cache", "{found}");
        let next = found[1].as_str().context("a link")?.to_owned();
        anyhow::ensure!(next.contains("kv-cache.html"), "{next}");
        // Read to its end, which counts as read.
        tab.open("tactics/kv-cache.html").await?;
        tab.wait("a line of its own", 10.0, "document.querySelector('[data-page-progress]')?.textContent.includes('0 of 1 lab run')").await?;
        tab.script("scrollTo({ top: document.body.scrollHeight, behavior: 'instant' })", &[]).await?;
        let kept = "JSON.parse(localStorage.getItem(document.documentElement.dataset.shelf + 'pages') ?? '{}')['sec-kv-cache']";
        tab.wait("a page that was read", 10.0, kept).await?;
        let row = "const row = { id: 'a', at: new Date().toISOString(), query: 'lab=kv-cache', record: { lab: 'kv-cache', metrics: [] } };
            localStorage.setItem(document.documentElement.dataset.shelf + 'runs:kv-cache', JSON.stringify({ version: 1, rows: [row] }))";
        tab.script(row, &[]).await?;
        tab.open(HOME).await?;
        tab.wait("a state", 10.0, told).await?;
        let found = tab.script(PATH, &[]).await?;
        anyhow::ensure!(found[0] == "1 of 3 read, 1 lab run, next: Post-training quantization", "{found}");
        anyhow::ensure!(found[1].as_str().is_some_and(|link| link.contains("quantization")), "{found}");
        let marks = "return document.querySelector('[data-path=beginner] .path-mark').textContent";
        anyhow::ensure!(tab.script(marks, &[]).await? == "✓ read, lab run");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_end_of_a_page_counts_answers_guesses_and_runs_as_they_are_made() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        // A lab that takes a blink, on a page with questions.
        let found = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == "footprint");
        let lab = found.context("no page holds footprint")?;
        let says = "return document.querySelector('[data-page-progress]')?.textContent";
        let wait = async |part: &str| {
            tab.wait(part, 10.0, &format!("document.querySelector('[data-page-progress]')?.textContent.includes({})", json!(part))).await
        };
        tab.open(&lab.page).await?;
        let labs = tab.script("return document.querySelectorAll('section.lab').length", &[]).await?;
        let questions = tab.script("return document.querySelectorAll('form.quiz').length", &[]).await?;
        wait(&format!("0 of {questions} question")).await?;
        let answer = "const form = document.querySelector('form.quiz'); const field = form.querySelector('input');
            if (field.type === 'text' || field.type === 'number') field.value = '1'; else field.checked = true; form.requestSubmit();";
        tab.script(answer, &[]).await?;
        wait(&format!("1 of {questions} question")).await?;
        lab.wake(tab).await?;
        lab.run(tab).await?;
        wait(&format!("1 of {labs} lab")).await?;
        let before = tab.script(says, &[]).await?;
        tab.open(&lab.page).await?;
        wait(&format!("1 of {labs} lab")).await?;
        anyhow::ensure!(tab.script(says, &[]).await? == before, "what was counted is gone after a reload");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn blocked_storage_is_told_and_the_page_still_counts() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.before_each_page(BLOCKED).await?;
        tab.open(HOME).await?;
        tab.wait("a word", 10.0, "document.querySelector('[data-path-of=beginner] [data-path-state]')?.textContent.includes('keeps nothing')").await?;
        let found = tab.script(PATH, &[]).await?;
        anyhow::ensure!(found[0].as_str().is_some_and(|words| words.starts_with("0 of 3 read, next: KV cache")), "{found}");
        let page = page_with(tab, "<form class=\"quiz\"")?;
        tab.open(&page).await?;
        tab.wait("a word", 10.0, "document.querySelector('[data-page-progress]')?.textContent.includes('keeps nothing')").await?;
        let answer = "const form = document.querySelector('form.quiz'); const field = form.querySelector('input');
            if (field.type === 'text' || field.type === 'number') field.value = '1'; else field.checked = true; form.requestSubmit();";
        tab.script(answer, &[]).await?;
        tab.wait("a count", 10.0, "/On this page: 1 of \\d+ question/.test(document.querySelector('[data-page-progress]').textContent)").await?;
        // A difference can still be turned, for this page.
        tab.resize(1440, 900).await?;
        let page = page_with(tab, "class=\"listing diff\"")?;
        tab.open(&page).await?;
        tab.wait("a button", 10.0, "document.querySelector('[data-action=diff-sides]')").await?;
        tab.script("document.querySelector('[data-action=diff-sides]').click()", &[]).await?;
        anyhow::ensure!(tab.script("return document.querySelector('.sides').checkVisibility()", &[]).await? == json!(true));
        Ok(())
    })
    .await
}
