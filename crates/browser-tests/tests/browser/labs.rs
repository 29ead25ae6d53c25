//! Every lab of the book, on the CPU engine.

use std::time::Instant;

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::budgets::Budgets;
use browser_tests::lab::{LabOnPage, RUN_SECONDS, labs_of, specimen};
use browser_tests::{env, native};
use lab_api::RunRecord;
use serde_json::json;
use thirtyfour::prelude::*;

use crate::pages::violations;

/// What every lab must do on the CPU engine, in as few runs as show it: cancelled at once, run as it stands while the page is
/// watched, begun once more until the first number, and run small with other settings and another seed. Idle and done it is
/// accessible, and done no wider than a phone. Half of the labs, every second one: so two cores have a browser each.
///
/// As it stands, a lab is compared with its committed reference, which the command line's own tests compare with a native run.
async fn labs_agree_with_the_command_line(half: usize) -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let budgets = Budgets::load()?;
        let axe = std::fs::read_to_string(env::axe()?)?;
        for lab in labs_of(&tab.site)?.into_iter().skip(half).step_by(2) {
            let start = Instant::now();
            tab.open(&lab.link(&[], 0, "cpu")).await?;
            lab.wake(tab).await?;
            is_accessible(tab, &lab, &axe, "idle").await?;
            is_cancelled(tab, &lab).await?;
            let mut blocked = longest_task(tab, &lab, &budgets).await?;
            if blocked.is_some() {
                // The other core has a browser of its own, which may have come between: what is slow is slow twice.
                tab.open(&lab.link(&[], 0, "cpu")).await?;
                lab.wake(tab).await?;
                blocked = longest_task(tab, &lab, &budgets).await?;
            }
            anyhow::ensure!(blocked.is_none(), "{}: {blocked:?}", lab.id);
            is_accessible(tab, &lab, &axe, "done").await?;
            fits_a_phone(tab, &lab).await?;
            first_number_comes_soon(tab, &lab, &budgets).await?;
            let asked = lab.clone();
            // Not beside the page: the other core has a browser of its own.
            let (other, record) = tokio::task::spawn_blocking(move || asked.small_other_run(7)).await??;
            tab.open(&lab.link(&other, 7, "cpu")).await?;
            lab.wake(tab).await?;
            for (name, value) in &other {
                anyhow::ensure!(lab.control(tab, name).await? == *value, "{}: the link did not set {name}", lab.id);
            }
            agrees(tab, &lab, &record, &budgets).await.with_context(|| format!("at {other:?}"))?;
            let problems = tab.problems().await?;
            anyhow::ensure!(problems.is_empty(), "{}: {problems:?}", lab.id);
            println!("{}: {:.1} s", lab.id, start.elapsed().as_secs_f64());
        }
        Ok(())
    })
    .await
}

/// Runs the lab as it stands; words if the page was blocked for too long meanwhile.
async fn longest_task(tab: &Tab, lab: &LabOnPage, budgets: &Budgets) -> anyhow::Result<Option<String>> {
    tab.script(WATCH_TASKS, &[]).await?;
    agrees(tab, lab, &lab.reference, budgets).await?;
    let longest = tab.script("return window.longest", &[]).await?.as_f64().unwrap_or_default();
    budgets.late("longest_task", "the longest task", longest, "ms")
}

#[tokio::test]
async fn every_lab_agrees_with_the_command_line_in_time_and_can_be_cancelled_first_half() -> anyhow::Result<()> {
    labs_agree_with_the_command_line(0).await
}

#[tokio::test]
async fn every_lab_agrees_with_the_command_line_in_time_and_can_be_cancelled_second_half() -> anyhow::Result<()> {
    labs_agree_with_the_command_line(1).await
}

/// Notes the longest task of the main thread.
const WATCH_TASKS: &str = "window.longest = 0;
    new PerformanceObserver(list => { for (const task of list.getEntries())
        window.longest = Math.max(window.longest, task.duration) }).observe({type: 'longtask'});";

/// The lab as it stands, in both themes.
async fn is_accessible(tab: &Tab, lab: &LabOnPage, axe: &str, state: &str) -> anyhow::Result<()> {
    let found = violations(tab, axe, Some(&lab.selector()), "light").await?;
    anyhow::ensure!(found.is_empty(), "{} ({state}): {}", lab.id, found.join("\n"));
    Ok(())
}

async fn fits_a_phone(tab: &Tab, lab: &LabOnPage) -> anyhow::Result<()> {
    tab.resize(390, 844).await?;
    let width = tab.script("return document.documentElement.scrollWidth", &[]).await?;
    tab.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await?;
    anyhow::ensure!(width == json!(390), "lab {} is {width} px wide when done, on a phone of 390", lab.id);
    Ok(())
}

/// Run and Cancel, both pressed by the page itself: the quickest labs are over before a second command of ours arrives.
async fn is_cancelled(tab: &Tab, lab: &LabOnPage) -> anyhow::Result<()> {
    let body = "const section = document.querySelector(arguments[0]);
        section.querySelector('[data-action=run]').click();
        setTimeout(() => section.querySelector('[data-action=cancel]').click(), 10);";
    tab.script(body, &[json!(lab.selector())]).await?;
    lab.reach(tab, &["cancelled"], 3.0).await?;
    let message = lab.message(tab).await?;
    anyhow::ensure!(!message.is_empty(), "{} says nothing after Cancel", lab.id);
    Ok(())
}

/// A run of the page as it is set shows what the same run showed natively.
async fn agrees(tab: &Tab, lab: &LabOnPage, native: &RunRecord, budgets: &Budgets) -> anyhow::Result<()> {
    let start = Instant::now();
    lab.run(tab).await?;
    let seconds = start.elapsed().as_secs_f64();
    let slow = budgets.late("default_run", &format!("a run of {}", lab.id), seconds, "s")?;
    anyhow::ensure!(slow.is_none(), "{slow:?}");
    let shown = lab.metrics(tab, "run").await?;
    let different = native::disagreements(native, &shown);
    anyhow::ensure!(different.is_empty(), "{}: {}", lab.id, different.join("; "));
    let device = lab.device(tab).await?;
    anyhow::ensure!(device.contains("CPU"), "{} does not say what it ran on: “{device}”", lab.id);
    Ok(())
}

/// How often a short time is taken before it counts as too long: a pause of a busy machine is no fault of the lab, and a lab
/// that is slow is so each time.
const TRIES: usize = 3;

/// From Run to the first number, with an engine that is there already. What comes after it is not waited for.
async fn first_number_comes_soon(tab: &Tab, lab: &LabOnPage, budgets: &Budgets) -> anyhow::Result<()> {
    let body = "const [section, done] = [document.querySelector(arguments[0]), arguments[1]];
        const start = performance.now(), seen = { running: false };
        const look = () => {
            seen.running ||= section.dataset.state === 'running';
            const numbers = section.querySelector('[data-source=run] [data-metric][data-value]');
            const over = ['done', 'failed', 'cancelled'].includes(section.dataset.state);
            if (seen.running && (numbers || over)) {
                if (!over) section.querySelector('[data-action=cancel]').click();
                return done([numbers ? 'seen' : section.dataset.state, performance.now() - start]);
            }
            requestAnimationFrame(look);
        };
        section.querySelector('[data-action=run]').click();
        look();";
    let mut late = None;
    for _ in 0..TRIES {
        let result = tab.driver.execute_async(body, vec![json!(lab.selector())]).await?;
        let (state, milliseconds): (String, f64) = result.convert()?;
        anyhow::ensure!(state == "seen", "{}: {state} before there was a number", lab.id);
        let what = format!("the first number of {}", lab.id);
        late = budgets.late("first_number", &what, milliseconds / 1000.0, "s")?;
        lab.reach(tab, &["cancelled", "done"], RUN_SECONDS).await?;
        if late.is_none() {
            return Ok(());
        }
    }
    anyhow::bail!("{TRIES} times in a row: {late:?}")
}

/// From the moment a lab is scrolled to until its controls can be used, when all its files are in the browser's cache.
#[tokio::test]
async fn a_lab_can_be_used_soon_after_it_comes_near() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let (lab, budgets) = (specimen(&tab.site)?, Budgets::load()?);
        tab.open(&lab.page).await?;
        lab.wake(tab).await?;
        let body = "const [section, done] = [document.querySelector(arguments[0]), arguments[1]];
            const before = section.dataset.state, start = performance.now();
            section.querySelector('.lab-widget').scrollIntoView({ block: 'center', behavior: 'instant' });
            const look = () => {
                if (section.dataset.state === 'ready' && section.querySelector('[data-action=run]:not([disabled])')) return done([before, performance.now() - start]);
                if (performance.now() - start > 10000) return done([`${before}, then ${section.dataset.state}`, 10000]);
                requestAnimationFrame(look);
            };
            look();";
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            tab.open(&lab.page).await?;
            tab.wait("the page at rest", 10.0, "document.readyState === 'complete' && document.documentElement.dataset.ready === ''").await?;
            let result = tab.driver.execute_async(body, vec![json!(lab.selector())]).await?;
            let (state, milliseconds): (String, f64) = result.convert()?;
            anyhow::ensure!(state == "static", "the lab was {state} before it was near");
            best = best.min(milliseconds);
        }
        println!("a lab can be used after {best:.0} ms");
        let late = budgets.late("widget_usable", "a lab on a warm cache", best, "ms")?;
        anyhow::ensure!(late.is_none(), "{late:?}");
        Ok(())
    })
    .await
}

/// What a lab says means nothing in it is not shown, and means nothing: another seed gives the same numbers.
#[tokio::test]
async fn controls_that_mean_nothing_are_not_shown() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let mut seen = Vec::new();
        for lab in labs_of(&tab.site)? {
            tab.open(&lab.link(&[], 9, "cpu")).await?;
            let without = tab.script("return document.querySelector(arguments[0]).dataset.without ?? ''", &[json!(lab.selector())]).await?;
            let without = without.as_str().unwrap_or_default().to_owned();
            // The rest is a lab like any other: one of them is enough.
            if without.is_empty() && lab.id != "levels" {
                continue;
            }
            lab.wake(tab).await?;
            let shown = "return ['device', 'seed'].filter((name) => document.querySelector(`${arguments[0]} [data-control=${name}]`).offsetParent)";
            let shown = tab.script(shown, &[json!(lab.selector())]).await?;
            seen.push((lab.id.clone(), shown));
            if without.contains("seed") {
                lab.run(tab).await?;
                let different = native::disagreements(&lab.reference, &lab.metrics(tab, "run").await?);
                anyhow::ensure!(different.is_empty(), "{} under another seed: {}", lab.id, different.join("; "));
                let own = format!("!document.querySelector(\"{} [data-action=own-seed]\")?.offsetParent", lab.selector());
                tab.script("for (const fold of document.querySelectorAll('[data-runs]')) fold.open = true", &[]).await?;
                tab.wait("no seed of one's own", 5.0, &own).await?;
            }
        }
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let wanted = [("draw", json!(["device"])), ("footprint", json!([])), ("inspect", json!(["device"])), ("levels", json!(["device", "seed"])), ("limits", json!([]))];
        anyhow::ensure!(seen.iter().map(|(id, shown)| (id.as_str(), shown.clone())).eq(wanted), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_reference_in_the_page_is_the_committed_one() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        for lab in labs_of(&tab.site)? {
            tab.open(&lab.page).await?;
            let shown = lab.metrics(tab, "reference").await?;
            let different = native::disagreements(&lab.reference, &shown);
            anyhow::ensure!(different.is_empty(), "{}: {}", lab.id, different.join("; "));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_run_cannot_start_while_one_runs() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.open(&lab.brief("cpu")).await?;
        lab.wake(tab).await?;
        // Both clicks in one task: no time for the button to be redrawn between them.
        let body = "const run = document.querySelector(arguments[0]); run.click(); run.click();";
        tab.script(body, &[json!(format!("{} [data-action=run]", lab.selector()))]).await?;
        lab.reach(tab, &["running"], 10.0).await?;
        let body = "const run = document.querySelector(arguments[0]);
                    return !run || run.disabled || run.getAttribute('aria-disabled') === 'true' || !run.offsetParent";
        let blocked = tab.script(body, &[json!(format!("{} [data-action=run]", lab.selector()))]).await?;
        anyhow::ensure!(blocked == json!(true), "Run can be pressed while a run is on");
        lab.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
        anyhow::ensure!(lab.state(tab).await? == "done", "two clicks: {}", lab.message(tab).await?);
        let ids: Vec<String> = lab.metrics(tab, "run").await?.into_iter().map(|(id, _)| id).collect();
        let again: Vec<String> = lab.reference.report.metrics.iter().map(|metric| metric.id.clone()).collect();
        let twice = again.iter().filter(|id| ids.iter().filter(|shown| shown == id).count() != 1);
        let twice: Vec<_> = twice.collect();
        anyhow::ensure!(twice.is_empty(), "not shown exactly once after two clicks: {twice:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn reset_brings_the_defaults_back() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        let settings = lab.other_setting();
        let (name, other) = settings.first().context("a lab with a choice")?.clone();
        tab.open(&lab.link(&settings, 7, "cpu")).await?;
        lab.wake(tab).await?;
        anyhow::ensure!(lab.control(tab, &name).await? == other && lab.control(tab, "seed").await? == "7");
        lab.press(tab, "reset").await?;
        let default = lab.default_text(&name);
        let selector = lab.selector();
        tab.wait("the default seed", 2.0, &format!("document.querySelector(\"{selector} [name=seed]\").value === '0'"))
            .await?;
        anyhow::ensure!(lab.control(tab, &name).await? == default, "{name} is not back at {default}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_lab_is_operated_by_keyboard_alone() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.open(&lab.brief("cpu")).await?;
        lab.wake(tab).await?;
        tab.script("document.activeElement?.blur(); window.scrollTo(0, 0)", &[]).await?;
        let body = "const e = document.activeElement;
            const style = getComputedStyle(e);
            const shown = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
            return [e.dataset?.action ?? e.name ?? '', Boolean(e.closest('section[data-lab]')), shown, e.outerHTML.slice(0, 80)]";
        let mut reached = Vec::new();
        for _ in 0..400 {
            tab.driver.action_chain().send_keys(Key::Tab).perform().await?;
            let (name, in_lab, shown, html): (String, bool, bool, String) =
                serde_json::from_value(tab.script(body, &[]).await?)?;
            anyhow::ensure!(shown, "the keyboard's focus cannot be seen on {html}");
            if in_lab && !name.is_empty() {
                reached.push(name.clone());
            }
            if in_lab && name == "run" {
                break;
            }
        }
        anyhow::ensure!(reached.last().is_some_and(|name| name == "run"), "Tab never reaches Run; it reached {reached:?}");
        tab.driver.action_chain().send_keys(Key::Enter).perform().await?;
        lab.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
        anyhow::ensure!(lab.state(tab).await? == "done", "{}", lab.message(tab).await?);
        let missing: Vec<_> = ["device", "seed"].into_iter().filter(|name| !reached.iter().any(|r| r == name)).collect();
        // Controls may stand behind the button; they must be reachable all the same.
        if !missing.is_empty() {
            let body = "return arguments[1].filter(name => { const e = document.querySelector(arguments[0] + ` [name=${name}]`);
                        return !e || e.tabIndex < 0 })";
            let hidden = tab.script(body, &[json!(lab.selector()), json!(missing)]).await?;
            anyhow::ensure!(hidden == json!([]), "no key reaches {hidden}");
        }
        Ok(())
    })
    .await
}
