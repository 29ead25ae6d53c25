//! Everything that can break under a running lab: each has an outcome that the reader can read, and the next run works.

use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::lab::{LabOnPage, RUN_SECONDS, specimen};
use browser_tests::server::Fault;

/// Before the worker posts its first progress, it throws outside of every promise, as a trap of its WASM does.
pub(crate) const CRASH: &str = "{ const post = self.postMessage.bind(self);
    self.postMessage = (data, ...rest) => {
        if (!String(data).includes('\"progress\"')) return post(data, ...rest);
        self.postMessage = () => {};
        setTimeout(() => { throw new Error('made by the test') });
    } }";

/// At its first progress, the worker closes itself without a word, as if the system had killed it.
const KILLED: &str = "{ const post = self.postMessage.bind(self);
    self.postMessage = (data, ...rest) => {
        post(data, ...rest);
        if (String(data).includes('\"progress\"')) { self.postMessage = () => {}; self.close(); }
    } }";

/// At its first progress, the worker stops answering.
const STUCK: &str = "{ const post = self.postMessage.bind(self);
    self.postMessage = (data, ...rest) => {
        post(data, ...rest);
        if (String(data).includes('\"progress\"')) for (;;) {}
    } }";

async fn start(tab: &Tab, lab: &LabOnPage) -> anyhow::Result<()> {
    tab.open(&lab.brief("cpu")).await?;
    lab.wake(tab).await
}

/// The lab says that it failed and why, and after the cause is gone the next run works without a reload.
async fn fails_readably_and_recovers(tab: &Tab, lab: &LabOnPage, words: &[&str]) -> anyhow::Result<()> {
    lab.press(tab, "run").await?;
    lab.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
    anyhow::ensure!(lab.state(tab).await? == "failed", "{} did not notice", lab.id);
    let message = lab.message(tab).await?;
    let lower = message.to_lowercase();
    anyhow::ensure!(words.iter().any(|word| lower.contains(word)), "{} only says “{message}”", lab.id);
    anyhow::ensure!(message.len() > 30, "{} says too little: “{message}”", lab.id);
    anyhow::ensure!(lab.is_alert(tab).await?, "“{message}” is not announced as an alert");
    anyhow::ensure!(lab.metrics(tab, "run").await?.is_empty(), "numbers of a failed run are shown");
    tab.server.heal();
    lab.run(tab).await?;
    anyhow::ensure!(!lab.is_alert(tab).await?, "the alert stays after a good run");
    anyhow::ensure!(!lab.metrics(tab, "run").await?.is_empty(), "{} shows no number after recovery", lab.id);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_crashes_in_mid_run_is_told_and_replaced() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        // The test changes the worker's script, which no host does under a name with a hash; it must not be kept.
        tab.bypass_service_worker().await?;
        tab.server.break_files("worker.js", Fault::Prepended(CRASH.to_owned()));
        start(tab, &lab).await?;
        fails_readably_and_recovers(tab, &lab, &["engine", "worker"]).await
    })
    .await
}

#[tokio::test]
async fn a_worker_that_dies_or_hangs_can_be_cancelled_and_replaced() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.bypass_service_worker().await?;
        for fault in [KILLED, STUCK] {
            tab.server.break_files("worker.js", Fault::Prepended(fault.to_owned()));
            start(tab, &lab).await?;
            lab.press(tab, "run").await?;
            let selector = lab.selector();
            let progress = format!("document.querySelector(\"{selector} progress, {selector} [role=progressbar]\")");
            lab.reach(tab, &["running"], 20.0).await?;
            tab.wait("progress", 20.0, &progress).await?;
            // Long enough for the fault to strike; the page itself must stay alive.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            lab.press(tab, "cancel").await?;
            lab.reach(tab, &["cancelled", "failed"], 3.0).await?;
            tab.server.heal();
            lab.run(tab).await?;
        }
        Ok(())
    })
    .await
}

/// One browser each: what is intact once is kept by the page's service worker, and no fault would reach it again.
async fn breaks(part: &str, fault: Fault, words: &[&str]) -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.server.break_files(part, fault);
        start(tab, &lab).await?;
        fails_readably_and_recovers(tab, &lab, words).await
    })
    .await
}

#[tokio::test]
async fn an_asset_with_a_flipped_byte_is_refused_by_name() -> anyhow::Result<()> {
    breaks("assets/", Fault::FlippedByte, &["file “"]).await
}

#[tokio::test]
async fn a_truncated_asset_is_refused_by_name() -> anyhow::Result<()> {
    breaks("assets/", Fault::Truncated, &["file “"]).await
}

#[tokio::test]
async fn a_missing_asset_is_told_by_name() -> anyhow::Result<()> {
    breaks("assets/", Fault::Missing, &["file “"]).await
}

#[tokio::test]
async fn a_damaged_engine_is_told_and_fetched_anew() -> anyhow::Result<()> {
    breaks("cpu_bg.wasm", Fault::Truncated, &["engine"]).await
}

#[tokio::test]
async fn a_missing_engine_is_told() -> anyhow::Result<()> {
    breaks("cpu_bg.wasm", Fault::Missing, &["engine"]).await
}

#[tokio::test]
async fn a_missing_worker_is_told() -> anyhow::Result<()> {
    breaks("worker.js", Fault::Missing, &["engine", "worker"]).await
}

#[tokio::test]
async fn a_page_whose_widgets_do_not_arrive_still_shows_its_reference() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.bypass_service_worker().await?;
        let lab = specimen(&tab.site)?;
        for part in ["pkg/manifest.json", "pkg/ui-"] {
            tab.server.break_files(part, Fault::Missing);
            tab.open(&lab.page).await?;
            let scroll = format!("document.querySelector(\"{} .lab-widget\").scrollIntoView()", lab.selector());
            tab.script(&scroll, &[]).await?;
            lab.reach(tab, &["failed"], 10.0).await?;
            anyhow::ensure!(lab.message(tab).await?.len() > 20, "no word about {part}");
            anyhow::ensure!(!lab.metrics(tab, "reference").await?.is_empty(), "the reference is gone");
            tab.server.heal();
            lab.press(tab, "retry").await?;
            lab.wake(tab).await?;
        }
        Ok(())
    })
    .await
}
