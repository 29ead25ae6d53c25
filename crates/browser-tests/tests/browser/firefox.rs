//! The same in another browser: a run of a lab, the words for one that cannot run, and a console without complaints. Where no Firefox is
//! installed, each test says so and passes.

use browser_tests::firefox::{Firefox, with_firefox};
use browser_tests::lab::{LabOnPage, RUN_SECONDS, specimen};
use browser_tests::native;
use browser_tests::server::Fault;
use serde_json::json;

/// Opens a setting of a lab and waits until its controls can be used.
async fn wake(firefox: &mut Firefox, lab: &LabOnPage, address: &str) -> anyhow::Result<()> {
    firefox.open(address).await?;
    let scroll = "document.querySelector(arguments[0]).querySelector('.lab-widget').scrollIntoView({block: 'center', behavior: 'instant'})";
    firefox.script(scroll, &[json!(lab.selector())]).await?;
    let selector = lab.selector();
    let usable = format!(
        "document.querySelector(\"{selector}\").dataset.state === 'ready' && \
         document.querySelector(\"{selector} [data-action=run]:not([disabled])\")"
    );
    firefox.wait("a usable lab", 40.0, &usable).await
}

/// Presses Run, waits for the end, and gives its state.
async fn run(firefox: &mut Firefox, lab: &LabOnPage) -> anyhow::Result<String> {
    let selector = lab.selector();
    firefox.script("document.querySelector(arguments[0] + ' [data-action=run]').click()", &[json!(selector)]).await?;
    let over = format!("['done', 'failed'].includes(document.querySelector(\"{selector}\").dataset.state)");
    firefox.wait("the end of a run", RUN_SECONDS, &over).await?;
    let state = firefox.script("return document.querySelector(arguments[0]).dataset.state", &[json!(selector)]).await?;
    Ok(state.as_str().unwrap_or_default().to_owned())
}

/// The words for the reader, and whether they are announced as an alert.
async fn message(firefox: &mut Firefox, lab: &LabOnPage) -> anyhow::Result<(String, bool)> {
    let body = "const all = [...document.querySelector(arguments[0]).querySelectorAll('[data-lab-message]')];
        return [all.map((e) => e.textContent.trim()).join(' ').trim(), all.some((e) => e.matches('[role=alert]'))]";
    Ok(serde_json::from_value(firefox.script(body, &[json!(lab.selector())]).await?)?)
}

#[tokio::test]
async fn a_lab_runs_in_firefox_and_agrees_with_the_command_line() -> anyhow::Result<()> {
    with_firefox(async |firefox| {
        let lab = specimen(&firefox.site)?;
        let (expected, settings) = native::smoke(&lab.id)?;
        wake(firefox, &lab, &lab.link(&settings, expected.seed, "cpu")).await?;
        let state = run(firefox, &lab).await?;
        anyhow::ensure!(state == "done", "{}: {}", lab.id, message(firefox, &lab).await?.0);
        let body =
            "const all = [...document.querySelectorAll(arguments[0] + ' [data-source=run] [data-metric][data-value]')];
            return all.map((e) => [e.dataset.metric, Number(e.dataset.value)])";
        let shown: Vec<(String, f64)> = serde_json::from_value(firefox.script(body, &[json!(lab.selector())]).await?)?;
        let different = native::disagreements(&expected, &shown);
        anyhow::ensure!(different.is_empty(), "{}: {}", lab.id, different.join("; "));
        anyhow::ensure!(firefox.problems().is_empty(), "the console says: {:#?}", firefox.problems());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_engine_that_cannot_be_fetched_is_told_in_firefox_and_the_next_run_works() -> anyhow::Result<()> {
    with_firefox(async |firefox| {
        let lab = specimen(&firefox.site)?;
        firefox.server.break_files("cpu_bg.wasm", Fault::Missing);
        wake(firefox, &lab, &lab.brief("cpu")).await?;
        let state = run(firefox, &lab).await?;
        let (words, is_alert) = message(firefox, &lab).await?;
        anyhow::ensure!(state == "failed" && is_alert, "{state}: “{words}”, announced: {is_alert}");
        anyhow::ensure!(words.to_lowercase().contains("engine") && words.len() > 30, "it only says “{words}”");
        firefox.server.heal();
        let state = run(firefox, &lab).await?;
        let (words, is_alert) = message(firefox, &lab).await?;
        anyhow::ensure!(state == "done" && !is_alert, "{state}: “{words}”");
        Ok(())
    })
    .await
}

/// All four fonts of the book: running text, emphasis, titles, formulas.
#[tokio::test]
async fn firefox_takes_the_fonts_as_they_are() -> anyhow::Result<()> {
    with_firefox(async |firefox| {
        let page = specimen(&firefox.site)?.page;
        firefox.open(&page).await?;
        // The fallback is a font of the system, which may lack it.
        let load = "const ours = [...document.fonts].filter((font) => !font.family.includes('Fallback'));
            return Promise.allSettled(ours.map((font) => font.load()))
              .then(() => [ours.length, ours.filter((font) => font.status !== 'loaded').map((font) => font.family)])";
        let (all, missing): (u32, Vec<String>) = serde_json::from_value(firefox.script(load, &[]).await?)?;
        anyhow::ensure!(all >= 4 && missing.is_empty(), "of {all} fonts do not load: {missing:?}");
        let told: Vec<_> = firefox.problems().iter().filter(|words| words.contains("font")).collect();
        anyhow::ensure!(told.is_empty(), "{told:#?}");
        Ok(())
    })
    .await
}
