//! What leaves the page with a reader: pictures, a report, a file that the command line repeats; and questions, answered again.

use std::process::Command;

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::env;
use browser_tests::lab::{LabOnPage, labs_of};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

use crate::kept::with_store;

/// A lab that takes a blink and draws.
const LAB: &str = "footprint";
/// Another one, whose numbers follow from a seed.
const SEEDED: &str = "levels";

async fn run(tab: &Tab, id: &str) -> anyhow::Result<LabOnPage> {
    let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == id).context("no page holds it")?;
    // Files that would be downloaded stay where the test finds them.
    tab.before_each_page(
        "window.files = []; URL.createObjectURL = (blob) => { files.push(blob); return 'blob:x'; };
         HTMLAnchorElement.prototype.click = function click() { if (this.download) files.at(-1).called = this.download; };
         window.print = () => { window.printed = document.querySelector('.report h1')?.textContent; };",
    )
    .await?;
    tab.open(&lab.page).await?;
    lab.wake(tab).await?;
    Ok(lab)
}

#[tokio::test]
async fn charts_are_saved_as_they_stand() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = run(tab, LAB).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done"], 75.0).await?;
        let run_figures = format!("{} [data-source=run] .lab-figure", lab.selector());
        tab.wait("buttons", 10.0, &format!("document.querySelector(\"{run_figures} [data-action=save-svg]\")")).await?;
        let script = format!(
            "const place = document.querySelector('[data-pictures]').dataset.pictures;
             return import(new URL(place, document.baseURI)).then(async (it) => {{
               const found = [];
               for (const figure of document.querySelectorAll(\"{run_figures}, {} [data-source=reference] .lab-figure\")) {{
                 const text = await it.svgOf(figure);
                 const svg = new DOMParser().parseFromString(text, 'image/svg+xml');
                 found.push([figure.querySelector('canvas') ? 'run' : 'reference', !svg.querySelector('parsererror'), svg.querySelectorAll('text').length > 3,
                   svg.querySelectorAll('path, rect, circle, line, polyline, polygon').length > 5, /NaN|var\\(/.test(text)]);
               }}
               return found;
             }})",
            lab.selector()
        );
        let found = tab.script(&script, &[]).await?;
        let all = found.as_array().context("a list")?;
        for kind in ["run", "reference"] {
            let wanted = json!([kind, true, true, true, false]);
            anyhow::ensure!(all.contains(&wanted), "{kind}: {found}");
        }
        anyhow::ensure!(all.iter().all(|one| one[1] == true && one[4] == false), "{found}");
        for (action, kind, end) in [("save-svg", "image/svg+xml", ".svg"), ("save-png", "image/png", ".png")] {
            let press = format!(
                "files.length = 0; const press = document.querySelector(\"{run_figures} [data-action={action}]\");
                 press.closest('details').open = true; press.click()"
            );
            tab.script(&press, &[]).await?;
            tab.wait("a file", 10.0, "files.length === 1 && files[0].called").await?;
            let file = tab.script("return [files[0].type, files[0].size > 500, files[0].called]", &[]).await?;
            anyhow::ensure!(file[0] == kind && file[1] == true, "{file}");
            anyhow::ensure!(file[2].as_str().is_some_and(|name| name.starts_with(LAB) && name.ends_with(end)), "{file}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_report_is_shown_printed_handed_in_and_repeated() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = run(tab, SEEDED).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done"], 75.0).await?;
        let form = format!("{} [data-reporter-form]", lab.selector());
        tab.wait("a form", 10.0, &format!("document.querySelector(\"{form} [name=student]\")")).await?;
        let script = format!(
            "document.querySelector('[data-runs]').open = true;
             const field = document.querySelector(\"{form} [name=student]\"); field.value = ' S1234 '; field.dispatchEvent(new Event('change'));
             document.querySelector(\"{form} [data-action=own-seed]\").click();
             return document.querySelector(\"{} [name=seed]\").value",
            lab.selector()
        );
        let seed = tab.script(&script, &[]).await?;
        // The command line has the same seed for this name.
        anyhow::ensure!(seed == "242630", "{seed}");
        lab.press(tab, "run").await?;
        tab.wait("a second row", 30.0, "document.querySelectorAll('[data-run-id]').length === 2 || document.querySelector('[data-run-id] a')?.search.includes('242630')").await?;
        tab.script("document.querySelector('[data-action=report]').click()", &[]).await?;
        tab.wait("a report", 10.0, "document.querySelector('[data-report] img')").await?;
        let script = "document.querySelector('[data-action=print-report]').click(); document.querySelector('[data-action=hand-in]').click();
            const shown = getComputedStyle(document.querySelector('main').closest('body > *')).display;
            return files.at(-1).text().then((text) => [shown, window.printed, files.at(-1).called, text])";
        let found = tab.script(script, &[]).await?;
        anyhow::ensure!(found[0] == "none", "the page stands behind the report: {found}");
        anyhow::ensure!(found[1].as_str().is_some_and(|title| title.starts_with("Report: ")), "{found}");
        anyhow::ensure!(found[2] == "levels-report.json", "{found}");
        let text = found[3].as_str().context("a file")?;
        let report: Value = serde_json::from_str(text)?;
        anyhow::ensure!(report["student"] == "S1234" && report["seed_of_student"] == 242_630, "{report}");
        anyhow::ensure!(report["runs"].as_array().is_some_and(|runs| !runs.is_empty()), "{report}");
        anyhow::ensure!(report["answers"].as_array().is_some_and(|answers| !answers.is_empty()), "{report}");
        // Escape leads back to where it was asked for.
        let back = "dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
            return [document.querySelectorAll('.report').length, document.activeElement.dataset.action]";
        anyhow::ensure!(tab.script(back, &[]).await? == json!([0, "report"]));

        let folder = tempfile::tempdir()?;
        let file = folder.path().join("report.json");
        std::fs::write(&file, text)?;
        let output = Command::new(env::lab_cli()?).current_dir(env::workspace()).arg("run").arg("--from").arg(&file).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        anyhow::ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        anyhow::ensure!(said.contains("agrees"), "{said}");
        let output = Command::new(env::lab_cli()?).current_dir(env::workspace()).arg("grade").arg(folder.path()).output()?;
        let table = String::from_utf8_lossy(&output.stdout);
        anyhow::ensure!(table.contains("report.json,S1234,levels,yes,"), "{table}");
        Ok(())
    })
    .await
}

/// Tab, until the focus is on what the selector matches, and seen there.
async fn tab_to(tab: &Tab, selector: &str) -> anyhow::Result<()> {
    let look = "const e = document.activeElement, style = getComputedStyle(e);
        return [e.matches(arguments[0]), style.outlineStyle !== 'none' || style.boxShadow !== 'none', e.outerHTML.slice(0, 80)]";
    let mut last = String::new();
    for _ in 0..150 {
        tab.driver.action_chain().send_keys(Key::Tab).perform().await?;
        let (there, seen, html): (bool, bool, String) =
            serde_json::from_value(tab.script(look, &[json!(selector)]).await?)?;
        if there {
            anyhow::ensure!(seen, "the keyboard's focus cannot be seen on {html}");
            return Ok(());
        }
        last = html;
    }
    anyhow::bail!("Tab never reaches {selector}; it is at {last}")
}

async fn press(tab: &Tab, key: Key) -> anyhow::Result<()> {
    Ok(tab.driver.action_chain().send_keys(key).perform().await?)
}

/// Guess, run, compare, export, hand in: by keys alone, on a desktop and on a phone's width.
#[tokio::test]
async fn a_reader_guesses_runs_compares_and_hands_in_by_keyboard_alone() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        for (width, height) in [(1440, 900), (390, 844)] {
            tab.resize(width, height).await?;
            // Nothing is kept of the reader before.
            tab.open("index.html").await?;
            with_store(tab, "localStorage.clear(); await store.forget(storage)", &[]).await?;
            let lab = run(tab, LAB).await?;
            let of = |part: &str| format!("{} {part}", lab.selector());
            let begin = "const lab = document.querySelector(arguments[0]); lab.tabIndex = -1; lab.focus()";
            tab.script(begin, &[json!(lab.selector())]).await?;
            tab_to(tab, &of("form[data-predict] input")).await?;
            tab.driver.action_chain().send_keys("20").perform().await?;
            press(tab, Key::Enter).await?;
            let says = format!("document.querySelector(\"{}\").textContent", of("[data-predict-says]"));
            tab.wait("a kept guess", 5.0, &format!("/Kept/.test({says})")).await?;
            let rows = |count: usize| format!("document.querySelectorAll('[data-run-id]').length === {count}");
            tab_to(tab, &of("[data-action=run]")).await?;
            press(tab, Key::Enter).await?;
            tab.wait("a run", 75.0, &rows(1)).await?;
            tab.wait("an answer to the guess", 5.0, "document.querySelector('[data-predicted]')").await?;
            // In a live lab a run that lasted a moment gives way to the next.
            tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
            press(tab, Key::Enter).await?;
            tab.wait("another run", 75.0, &rows(2)).await?;
            tab_to(tab, &of("[data-runs] > summary")).await?;
            press(tab, Key::Enter).await?;
            for _ in 0..2 {
                tab_to(tab, &of("[data-runs] [type=checkbox]")).await?;
                press(tab, Key::Space).await?;
            }
            tab_to(tab, &of("[data-action=compare-runs]")).await?;
            press(tab, Key::Enter).await?;
            tab.wait("both beside each other", 5.0, "document.querySelector('[data-metric-pair]')").await?;
            tab_to(tab, &of("[data-action=export-csv]")).await?;
            press(tab, Key::Enter).await?;
            tab.wait("a table", 5.0, "files.length === 1 && files[0].called").await?;
            tab_to(tab, &of("[name=student]")).await?;
            tab.driver.action_chain().send_keys("S1").perform().await?;
            tab_to(tab, &of("[data-action=report]")).await?;
            press(tab, Key::Enter).await?;
            tab.wait("a report", 10.0, "document.querySelector('[data-report]')").await?;
            tab_to(tab, "[data-action=hand-in]").await?;
            press(tab, Key::Enter).await?;
            tab.wait("a file", 5.0, "files.length === 2 && files[1].called").await?;
            press(tab, Key::Escape).await?;
            let end = "return [files.map((file) => file.called), document.activeElement.dataset.action, document.querySelectorAll('.report').length]";
            let found = tab.script(end, &[]).await?;
            let wanted = json!([["footprint-runs.csv", "footprint-report.json"], "report", 0]);
            anyhow::ensure!(found == wanted, "at {width} pixels: {found}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn questions_are_summed_up_lead_back_and_are_tried_again() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("tactics/quantization/rounding.html").await?;
        tab.wait("a summary", 10.0, "document.querySelector('[data-quiz-summary]')?.dataset.right === '0'").await?;
        // Every choice wrong, then right.
        let answer = |right: bool| {
            format!(
                "const form = document.querySelector('form.quiz[data-kind=single]');
                 const item = form.querySelector('.quiz-answers li[data-correct={right}]');
                 form.querySelector(`input[value=\"${{item.dataset.option}}\"]`).click();
                 form.querySelector('button[type=submit]').click();
                 return form.dataset.quiz"
            )
        };
        tab.script(&answer(false), &[]).await?;
        let form = "document.querySelector('form.quiz[data-kind=single]')";
        tab.wait("a way to try again", 10.0, &format!("!{form}.querySelector('[data-action=retry]').hidden")).await?;
        let link = format!(
            "const link = [...{form}.querySelectorAll('.quiz-see a')].find((a) => a.offsetParent); return link ? document.getElementById(link.hash.slice(1))?.tagName ?? 'nothing' : 'no link'"
        );
        let target = tab.script(&link, &[]).await?;
        anyhow::ensure!(target == "H2" || target == "H3", "a wrong answer leads to {target}");
        let retry = format!(
            "const press = {form}.querySelector('[data-action=retry]'); press.click();
             return [press.hidden, {form}.querySelectorAll('input:checked').length, {form}.querySelector('[data-quiz-result]').textContent]"
        );
        anyhow::ensure!(tab.script(&retry, &[]).await? == json!([true, 0, ""]));
        tab.script(&answer(true), &[]).await?;
        tab.wait("the sum", 10.0, "document.querySelector('[data-quiz-summary]').dataset.right === '1'").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_answer_is_held_against_the_readers_own_run() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("tactics/quantization/rounding.html").await?;
        tab.wait("questions", 10.0, "document.querySelector('[data-quiz-summary]')").await?;
        let asked = tab.script("const form = document.querySelector('form.quiz[data-kind=run]'); return form && { ...form.dataset }", &[]).await?;
        anyhow::ensure!(asked["lab"] == "quantization", "no question of this page is about a run: {asked}");
        let check = "const form = document.querySelector('form.quiz[data-kind=run]'); form.querySelector('input').value = arguments[0];
            form.querySelector('button[type=submit]').click()";
        let says = "document.querySelector('form.quiz[data-kind=run] [data-quiz-result]')";
        tab.script(check, &[json!("42")]).await?;
        tab.wait("a word on the run", 10.0, &format!("{says}.textContent.includes('your own run') && {says}.querySelector('a')")).await?;
        let keep = "const { lab, of, setting } = document.querySelector('form.quiz[data-kind=run]').dataset;
            localStorage.setItem(`${document.documentElement.dataset.shelf}runs:${lab}`, JSON.stringify({ version: 1, rows: [
              { id: 'a', at: '2026-01-01', query: `lab=${lab}&${setting}`, record: { lab, metrics: [{ id: of, value: 42 }] } }, { id: 'b', at: '2026-01-02', query: `lab=${lab}`, record: { lab, metrics: [{ id: of, value: 7 }] } }] }))";
        tab.script(keep, &[]).await?;
        for (said, right) in [("42", "true"), ("7", "false")] {
            tab.script(check, &[json!(said)]).await?;
            tab.wait("a verdict", 10.0, &format!("{says}.dataset.right === '{right}'")).await?;
        }
        Ok(())
    })
    .await
}
