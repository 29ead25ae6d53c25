//! The gpu engine on Chromium's software adapter: it proves correctness, not speed. Skipped, and said so, where the site was
//! built without that engine.

use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::lab::{RUN_SECONDS, labs_of};
use browser_tests::native;
use browser_tests::server::Fault;

fn has_gpu_engine(tab: &Tab) -> anyhow::Result<bool> {
    let manifest: serde_json::Value = serde_json::from_slice(&tab.site.bytes("pkg/manifest.json")?)?;
    let there = manifest["engines"]["gpu"]["entry"].is_string();
    if !there {
        eprintln!("skipped: this site was built without the engine for WebGPU");
    }
    Ok(there)
}

#[tokio::test]
async fn webgpu_agrees_with_the_command_line() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        for lab in labs_of(&tab.site)? {
            tab.open(&lab.link(&[], 0, "webgpu")).await?;
            lab.wake(tab).await?;
            lab.press(tab, "run").await?;
            lab.reach(tab, &["done", "failed"], 300.0).await?;
            anyhow::ensure!(lab.state(tab).await? == "done", "{}", lab.message(tab).await?);
            let different = native::disagreements(&native::run(&lab.id, &[], 0)?, &lab.metrics(tab, "run").await?);
            anyhow::ensure!(different.is_empty(), "{}: {}", lab.id, different.join("; "));
            let device = lab.device(tab).await?.to_lowercase();
            anyhow::ensure!(device.contains("software"), "the software adapter is not called one: “{device}”");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_an_adapter_auto_runs_on_the_cpu_and_webgpu_says_why_not() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = labs_of(&tab.site)?.remove(0);
        tab.open(&lab.link(&[], 0, "auto")).await?;
        lab.wake(tab).await?;
        lab.run(tab).await?;
        anyhow::ensure!(lab.device(tab).await?.contains("CPU"), "auto ran on “{}”", lab.device(tab).await?);
        let fetched = tab.server.requests();
        anyhow::ensure!(!fetched.iter().any(|path| path.contains("gpu")), "the gpu engine was fetched for nothing");
        tab.open(&lab.link(&[], 0, "webgpu")).await?;
        lab.wake(tab).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
        let message = lab.message(tab).await?.to_lowercase();
        anyhow::ensure!(message.contains("webgpu") || message.contains("adapter"), "it only says “{message}”");
        Ok(())
    })
    .await
}

/// Keeps every device that is made, and loses it at the first progress.
const LOSE: &str = "{ const devices = [];
    if (self.GPUAdapter) {
        const request = GPUAdapter.prototype.requestDevice;
        GPUAdapter.prototype.requestDevice = async function (...all) {
            const device = await request.apply(this, all); devices.push(device); return device;
        };
    }
    const post = self.postMessage.bind(self);
    self.postMessage = (data, ...rest) => {
        post(data, ...rest);
        if (String(data).includes('\"progress\"')) for (const device of devices.splice(0)) device.destroy();
    } }";

#[tokio::test]
async fn a_device_lost_in_mid_run_is_told() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let lab = labs_of(&tab.site)?.remove(0);
        tab.bypass_service_worker().await?;
        tab.server.break_files("worker.js", Fault::Prepended(LOSE.to_owned()));
        tab.open(&lab.link(&[], 0, "webgpu")).await?;
        lab.wake(tab).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done", "failed"], 300.0).await?;
        anyhow::ensure!(lab.state(tab).await? == "failed", "a run on a lost device passed for a result");
        let message = lab.message(tab).await?.to_lowercase();
        anyhow::ensure!(message.contains("device") || message.contains("engine"), "it only says “{message}”");
        tab.server.heal();
        tab.open(&lab.link(&[], 0, "cpu")).await?;
        lab.wake(tab).await?;
        lab.run(tab).await
    })
    .await
}
