//! Every lab of the book, on the CPU engine.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::budgets::Budgets;
use browser_tests::lab::{LabOnPage, RUN_SECONDS, labs_of, specimen};
use browser_tests::{env, native};
use lab_api::RunRecord;
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use tokio::sync::RwLock;

use crate::pages::violations;

/// What every lab must do on the CPU engine, in as few runs and pages as show it: still while the page loads and the lab wakes, at
/// once cancelled, run as it stands while the page is watched, and run small with other settings and another seed on a phone. Done
/// it is accessible, and no wider than a phone. Half of the labs, every second one: so two cores have a browser each.
///
/// As it stands, a lab is compared with its committed reference, which the command line's own tests compare with a native run.
async fn labs_agree_with_the_command_line(half: usize) -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let budgets = Budgets::load()?;
        let axe = std::fs::read_to_string(env::axe()?)?;
        tab.before_each_page(WATCH_SHIFTS).await?;
        for (i, lab) in labs_of(&tab.site)?.into_iter().enumerate().skip(half).step_by(2) {
            let beside = BESIDE.read().await;
            let mut watch = Watch::start();
            wakes_still(tab, &lab, &lab.link(&[], 0, "cpu"), &budgets).await?;
            let different = native::disagreements(&lab.reference, &lab.metrics(tab, "reference").await?);
            anyhow::ensure!(different.is_empty(), "the reference of {} in its page: {}", lab.id, different.join("; "));
            watch.lap("open");
            is_cancelled(tab, &lab).await?;
            watch.lap("cancel");
            let blocked = is_quick(tab, &lab, &budgets).await?;
            watch.lap("run");
            is_accessible(tab, &lab, &axe, if i % 4 < 2 { "light" } else { "dark" }).await?;
            watch.lap("accessible");
            first_number_comes_soon(tab, &lab, &budgets).await?;
            watch.lap("first number");
            drop(beside);
            if let Some(words) = blocked {
                // The other core had a browser of its own, which may have come between: once more, with both cores.
                let _alone = BESIDE.write().await;
                println!("{}: {words}", lab.id);
                tab.open(&lab.link(&[], 0, "cpu")).await?;
                lab.wake(tab).await?;
                let blocked = is_quick(tab, &lab, &budgets).await?;
                anyhow::ensure!(blocked.is_none(), "{}: {blocked:?}", lab.id);
                watch.lap("alone");
            }
            let _beside = BESIDE.read().await;
            let asked = lab.clone();
            // Not beside the page: the other core has a browser of its own.
            let (other, record) = tokio::task::spawn_blocking(move || asked.small_other_run(7)).await??;
            watch.lap("natively");
            tab.resize(390, 844).await?;
            wakes_still(tab, &lab, &lab.link(&other, 7, "cpu"), &budgets).await?;
            for (name, value) in &other {
                anyhow::ensure!(lab.control(tab, name).await? == *value, "{}: the link did not set {name}", lab.id);
            }
            agrees(tab, &lab, &record, &budgets).await.with_context(|| format!("at {other:?}"))?;
            fits_a_phone(tab, &lab).await?;
            let problems = tab.problems().await?;
            anyhow::ensure!(problems.is_empty(), "{}: {problems:?}", lab.id);
            watch.lap("phone");
            println!("{}: {watch}", lab.id);
        }
        Ok(())
    })
    .await
}

/// Held for writing by who needs both cores: a time that was long while the other browser ran is measured again without it.
static BESIDE: RwLock<()> = RwLock::const_new(());

/// Notes what moves while a page loads.
const WATCH_SHIFTS: &str = "window.shift = 0; window.shifts = [];
    new PerformanceObserver(list => { for (const entry of list.getEntries()) {
        window.shift += entry.value;
        window.shifts.push(entry.sources.map(s => (s.node?.outerHTML ?? s.node?.textContent ?? '').slice(0, 90)));
    } }).observe({type: 'layout-shift', buffered: true});";

/// How long a page is watched after it is there, and again after its lab is awake.
const STILL: Duration = Duration::from_millis(700);

/// Opens the lab's page and wakes the lab, and nothing in sight moves meanwhile.
async fn wakes_still(tab: &Tab, lab: &LabOnPage, link: &str, budgets: &Budgets) -> anyhow::Result<()> {
    tab.open(link).await?;
    tokio::time::sleep(STILL).await;
    lab.wake(tab).await?;
    tokio::time::sleep(STILL).await;
    let limit = budgets.limit("layout_shift")?;
    let (shift, moved): (f64, Value) =
        serde_json::from_value(tab.script("return [window.shift, window.shifts]", &[]).await?)?;
    anyhow::ensure!(shift <= limit, "{link} shifts by {shift:.3}: {moved}");
    Ok(())
}

/// What each part of a test takes, for whoever wants to make it shorter.
struct Watch {
    last: Instant,
    laps: Vec<(&'static str, f64)>,
}

impl Watch {
    fn start() -> Self {
        Self { last: Instant::now(), laps: Vec::new() }
    }

    fn lap(&mut self, name: &'static str) {
        self.laps.push((name, self.last.elapsed().as_secs_f64()));
        self.last = Instant::now();
    }
}

impl std::fmt::Display for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s (", self.laps.iter().map(|(_, seconds)| seconds).sum::<f64>())?;
        for (i, (name, seconds)) in self.laps.iter().enumerate() {
            write!(f, "{}{name} {seconds:.1}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, ")")
    }
}

/// Runs the lab as it stands; words if the page was blocked for too long meanwhile.
async fn is_quick(tab: &Tab, lab: &LabOnPage, budgets: &Budgets) -> anyhow::Result<Option<String>> {
    tab.script(WATCH_TASKS, &[]).await?;
    agrees(tab, lab, &lab.reference, budgets).await?;
    let longest = tab.script("return window.longest", &[]).await?.as_f64().unwrap_or_default();
    let slow = slowness(tab).await?;
    println!("{}: longest task {longest:.0} ms, {slow:.1} times as slow as quiet", lab.id);
    let what = format!("the longest task, on a machine {slow:.1} times as slow as a quiet one,");
    Ok(budgets.late("longest_task", &what, longest / slow, "ms")?.map(|words| format!("{words} ({longest} ms here)")))
}

/// What the loop below takes in Chromium on a machine that does nothing else, in milliseconds: 20 to 27, measured on two cores of an
/// AMD EPYC. Four programs beside it made 38 to 65 of it.
const QUIET_MS: f64 = 25.0;

/// How many times as long as on a quiet machine something takes in this page now, at least 1: what runs beside it is no fault of ours.
/// Forty rounds, of which the first fifteen are left to the compiler of scripts; then the median of five by five, each longer than
/// a turn of the system's.
async fn slowness(tab: &Tab) -> anyhow::Result<f64> {
    let body = "const times = [];
        let sum = 0;
        for (let round = 0; round < 40; round++) {
            const start = performance.now();
            for (let i = 0; i < 3e6; i++) sum = (Math.imul(sum, 31) + i) | 0;
            times.push(performance.now() - start);
        }
        const fives = [];
        for (let i = 15; i < 40; i += 5) fives.push(times.slice(i, i + 5).reduce((a, b) => a + b));
        return [fives.sort((a, b) => a - b)[2], sum]";
    let (milliseconds, _): (f64, i64) = serde_json::from_value(tab.script(body, &[]).await?)?;
    Ok((milliseconds / QUIET_MS).max(1.0))
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

/// The lab with its result, in one theme: what results are made of is the same in all labs.
async fn is_accessible(tab: &Tab, lab: &LabOnPage, axe: &str, theme: &str) -> anyhow::Result<()> {
    let found = violations(tab, axe, Some(&lab.selector()), &[theme]).await?;
    anyhow::ensure!(found.is_empty(), "{} (done): {}", lab.id, found.join("\n"));
    Ok(())
}

/// As it stands on a phone; the window gets its own size back.
async fn fits_a_phone(tab: &Tab, lab: &LabOnPage) -> anyhow::Result<()> {
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
        late = budgets.late("first_number", &what, milliseconds / 1000.0 / slowness(tab).await?, "s")?;
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
            if without.is_empty() && lab.id != "quantization" {
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
        let wanted = [("allocation", json!([])), ("draw", json!([])), ("footprint", json!([])), ("inspect", json!([])), ("levels", json!(["seed"])), ("limits", json!([])), ("quantization", json!(["device", "seed"]))];
        anyhow::ensure!(seen.iter().map(|(id, shown)| (id.as_str(), shown.clone())).eq(wanted), "{seen:?}");
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
