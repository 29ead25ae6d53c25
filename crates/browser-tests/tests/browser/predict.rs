//! Guesses before a run: by keyboard, kept, and answered with the run's own numbers.

use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::lab::{LabOnPage, labs_of};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

/// A lab that takes a blink, and the metric that it asks about first.
const LAB: &str = "footprint";
const METRIC: &str = "tonnes";

fn lab(tab: &Tab) -> anyhow::Result<LabOnPage> {
    let found = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == LAB);
    found.ok_or_else(|| anyhow::anyhow!("no page holds {LAB}"))
}

async fn open(tab: &Tab, address: &str, lab: &LabOnPage) -> anyhow::Result<()> {
    tab.open(address).await?;
    lab.wake(tab).await?;
    let ready = format!(
        "document.querySelector('[data-predict={METRIC}] [data-action=skip], [data-predict={METRIC}] [data-action=change]')?.disabled === false"
    );
    tab.wait("a form for guesses", 10.0, &ready).await
}

/// What stands in the answers after a run.
async fn answers(tab: &Tab) -> anyhow::Result<Value> {
    let script = "return [...document.querySelectorAll('.lab-predicted li')].map((item) => ({
        metric: item.dataset.predicted ?? null, said: item.dataset.said ?? null, measured: item.dataset.measured ?? null,
        verdict: item.dataset.verdict ?? null, words: item.textContent }))";
    tab.script(script, &[]).await
}

#[tokio::test]
async fn a_guess_made_by_keyboard_is_kept_and_answered_by_the_run() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = lab(tab)?;
        open(tab, &lab.page, &lab).await?;
        let field = tab.driver.find(By::Css(format!("[data-predict={METRIC}] input"))).await?;
        let says = format!("return document.querySelector('[data-predict={METRIC}] [data-predict-says]').textContent");
        field.send_keys("-7" + Key::Enter).await?;
        let words = tab.script(&says, &[]).await?;
        anyhow::ensure!(words.as_str().is_some_and(|words| words.contains("between 0 and")), "{words}");
        field.send_keys(Key::Control + "a").await?;
        field.send_keys("3,000" + Key::Enter).await?;
        let words = tab.script(&says, &[]).await?;
        anyhow::ensure!(words.as_str().is_some_and(|words| words.starts_with("Kept")), "{words}");

        // It outlives the page.
        open(tab, &lab.page, &lab).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done"], 75.0).await?;
        tab.wait("an answer", 5.0, "document.querySelector('.lab-predicted li')").await?;
        let found = answers(tab).await?;
        let shown = tab
            .script(
                &format!("return document.querySelector('[data-source=run] [data-metric={METRIC}]').dataset.value"),
                &[],
            )
            .await?;
        anyhow::ensure!(
            found.as_array().is_some_and(|all| all.len() == 1),
            "only what was guessed is answered: {found}"
        );
        let answer = &found[0];
        anyhow::ensure!(
            answer["metric"] == METRIC && answer["said"] == "3000" && answer["measured"] == shown,
            "{found}"
        );
        anyhow::ensure!(answer["verdict"] == "wrong", "3,000 t is about a hundred times too much: {found}");
        let words = answer["words"].as_str().unwrap_or_default();
        anyhow::ensure!(words.contains("too high") && !words.contains('{'), "{words}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_guess_is_not_judged_by_a_run_of_another_setting_and_may_be_skipped() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = lab(tab)?;
        open(tab, &lab.link(&lab.other_setting(), 0, "cpu"), &lab).await?;
        let press =
            |action: &str| format!("document.querySelector('[data-predict={METRIC}] [data-action={action}]').click()");
        let type_in = format!("document.querySelector('[data-predict={METRIC}] input').value = '30'");
        tab.script(&type_in, &[]).await?;
        tab.script(&press("commit"), &[]).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done"], 75.0).await?;
        tab.wait("a word", 5.0, "document.querySelector('.lab-predicted li')").await?;
        let found = answers(tab).await?;
        let words = found[0]["words"].as_str().unwrap_or_default();
        anyhow::ensure!(found[0]["metric"] == Value::Null && words.contains("the lab as it stands"), "{found}");

        // Changed for the better: not guessing.
        tab.script(&press("change"), &[]).await?;
        tab.script(&press("skip"), &[]).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done"], 75.0).await?;
        anyhow::ensure!(answers(tab).await? == json!([]), "a skipped question was answered");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn guesses_are_judged_by_direction_and_distance() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let script = "const place = document.querySelector('[data-predictions]').dataset.predictions;
            return import(new URL(place, document.baseURI)).then((it) => {
              const word = (...all) => it.compare(...all).word;
              const n = NaN;
              return [word(5, 5, n, n, n, ''), word(4, 5, 3.9, 5.5, n, 'ms'), word(9, 5, n, n, n, 'ms'), word(11, 5, n, n, n, 'ms'),
                word(70, 74, n, n, n, '%'), word(60, 74, n, n, n, '%'), word(2, -1, n, n, 0, 'nats'),
                it.compare(2, -1, n, n, 0, 'nats').words.includes('other direction'), it.compare(11, 5, n, n, n, 'ms').words,
                it.same('a=1&b=2', '/x.html?lab=l&b=2&seed=4&a=1#lab-l'), it.same('', '/x.html'), it.same('', '/x.html?lab=l&a=1')];
            })";
        let found = tab.script(script, &[]).await?;
        let wanted = json!([
            "right", "right", "near", "wrong", "near", "wrong", "wrong", true, "Off by a factor of 2.2, too high.", true, true, false
        ]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}
