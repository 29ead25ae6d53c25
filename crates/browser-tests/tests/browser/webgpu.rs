//! The gpu engine on Chromium's software adapter: it proves correctness, not speed. Skipped, and said so, where the site was
//! built without that engine.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::budgets::Budgets;
use browser_tests::engine::Engine;
use browser_tests::lab::{LabOnPage, RUN_SECONDS, labs_of, specimen};
use browser_tests::native;
use browser_tests::server::Fault;
use serde_json::json;

use crate::failures::CRASH;

fn has_gpu_engine(tab: &Tab) -> anyhow::Result<bool> {
    let manifest: serde_json::Value = serde_json::from_slice(&tab.site.bytes("pkg/manifest.json")?)?;
    let there = manifest["engines"]["gpu"]["entry"].is_string();
    if !there {
        eprintln!("skipped: this site was built without the engine for WebGPU");
    }
    Ok(there)
}

/// How long a small run may take on the emulated adapter.
fn patience_s() -> anyhow::Result<f64> {
    Budgets::load()?.patience("smoke_run_software_adapter")
}

/// All labs, or every second one where `WEBGPU_LABS` asks for no more (`cargo xtask ci`). Which of the two halves follows from the
/// sources of all labs, so that it changes with them, and a test that is repeated finds the same.
fn labs_to_test(tab: &Tab) -> anyhow::Result<Vec<LabOnPage>> {
    let labs = labs_of(&tab.site)?;
    if std::env::var_os("WEBGPU_LABS").is_none() {
        return Ok(labs);
    }
    let first = labs.iter().flat_map(|lab| lab.source_hash.bytes()).map(usize::from).sum::<usize>() % 2;
    Ok(labs.into_iter().skip(first).step_by(2).collect())
}

/// The small case of every second lab, for the adapter is emulated and a core has a browser each.
async fn labs_agree_with_the_command_line(half: usize) -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        for lab in labs_to_test(tab)?.into_iter().skip(half).step_by(2) {
            let start = Instant::now();
            let (expected, settings) = native::smoke(&lab.id)?;
            tab.open(&lab.link(&settings, expected.seed, "webgpu")).await?;
            lab.wake(tab).await?;
            lab.press(tab, "run").await?;
            lab.reach(tab, &["done", "failed"], patience_s()?).await?;
            anyhow::ensure!(lab.state(tab).await? == "done", "{}: {}", lab.id, lab.message(tab).await?);
            let different = native::disagreements(&expected, &lab.metrics(tab, "run").await?);
            anyhow::ensure!(different.is_empty(), "{}: {}", lab.id, different.join("; "));
            let device = lab.device(tab).await?.to_lowercase();
            anyhow::ensure!(device.contains("software"), "the software adapter is not called one: “{device}”");
            println!("{}: {:.1} s", lab.id, start.elapsed().as_secs_f64());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn webgpu_agrees_with_the_command_line_first_half() -> anyhow::Result<()> {
    labs_agree_with_the_command_line(0).await
}

#[tokio::test]
async fn webgpu_agrees_with_the_command_line_second_half() -> anyhow::Result<()> {
    labs_agree_with_the_command_line(1).await
}

/// The small case leaves activations in FP32; here weights and inputs are integers, and the products too: on a grid for each
/// row, and on one for all with some channels kept apart.
#[tokio::test]
async fn a_model_of_integers_agrees_with_the_command_line() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == "quantized-lm");
        let lab = lab.context("no page holds the lab quantized-lm")?;
        let dynamic = [("activations", "int8")];
        let kept = [("activations", "static"), ("channels", "planted"), ("remedy", "keep")];
        for choices in [&dynamic[..], &kept] {
            let all = [&[("windows", "2")], choices].concat();
            let settings: Vec<(String, String)> =
                all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let expected = native::run(&lab.id, &settings, 0)?;
            tab.open(&lab.link(&settings, 0, "webgpu")).await?;
            lab.wake(tab).await?;
            lab.press(tab, "run").await?;
            // What is compared is shown before anything is timed; the small case shows that timing works.
            let start = Instant::now();
            loop {
                let different = native::disagreements(&expected, &lab.metrics(tab, "run").await?);
                let over = ["done", "failed"].contains(&lab.state(tab).await?.as_str());
                if different.is_empty() {
                    break;
                }
                anyhow::ensure!(
                    !over && start.elapsed().as_secs_f64() < patience_s()?,
                    "{choices:?}: {} {}",
                    different.join("; "),
                    lab.message(tab).await?
                );
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_an_adapter_auto_runs_on_the_cpu_and_webgpu_says_why_not() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.open(&lab.brief("auto")).await?;
        lab.wake(tab).await?;
        lab.run(tab).await?;
        anyhow::ensure!(lab.device(tab).await?.contains("CPU"), "auto ran on “{}”", lab.device(tab).await?);
        let fetched = tab.server.requests();
        anyhow::ensure!(!fetched.iter().any(|path| path.contains("gpu")), "the gpu engine was fetched for nothing");
        tab.open(&lab.brief("webgpu")).await?;
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

/// From the first progress on, every shader has a line that is no WGSL.
const BREAK_SHADERS: &str = "{ let broken = false;
    if (self.GPUDevice) {
        const create = GPUDevice.prototype.createShaderModule;
        GPUDevice.prototype.createShaderModule = function (description) {
            const code = broken ? description.code + '\\nfn made_by_the_test( {' : description.code;
            return create.call(this, { ...description, code });
        };
    }
    const post = self.postMessage.bind(self);
    self.postMessage = (data, ...rest) => { if (String(data).includes('\"progress\"')) broken = true; post(data, ...rest); };
    }";

/// At the fifth large buffer, the device says that its memory is used up, as the browser words it.
const NO_MEMORY: &str = "{ let left = 5;
    if (self.GPUDevice) {
        const create = GPUDevice.prototype.createBuffer;
        GPUDevice.prototype.createBuffer = function (description) {
            if (description.size >= 1024 && --left === 0) {
                const error = new GPUOutOfMemoryError('made by the test');
                const event = new GPUUncapturedErrorEvent('uncapturederror', { error, cancelable: true });
                setTimeout(() => this.dispatchEvent(event));
            }
            return create.call(this, description);
        };
    } }";

/// A driver that miscompiles one kernel: it runs and gives plausible numbers, off by two in a hundred.
const WRONG_ATTENTION: &str = "{
    if (self.GPUDevice) {
        const create = GPUDevice.prototype.createShaderModule;
        GPUDevice.prototype.createShaderModule = function (description) {
            const code = description.code.replace('sum_v[c] / sum;', 'sum_v[c] / (1.02 * sum);');
            return create.call(this, { ...description, code });
        };
    } }";

/// The same of the dense layer, after its ReLU.
const WRONG_DENSE: &str = "{
    if (self.GPUDevice) {
        const create = GPUDevice.prototype.createShaderModule;
        GPUDevice.prototype.createShaderModule = function (description) {
            const code = description.code.replace('return max(values', 'return 1.02 * max(values');
            return create.call(this, { ...description, code });
        };
    } }";

/// A run on WebGPU under this fault ends as a failure that names it, shows no number, and offers the CPU, which works.
async fn fails_and_offers_the_cpu(fault: &'static str, words: &[&str]) -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let lab: LabOnPage = specimen(&tab.site)?;
        tab.bypass_service_worker().await?;
        tab.server.break_files("worker.js", Fault::Prepended(fault.to_owned()));
        tab.open(&lab.brief("webgpu")).await?;
        lab.wake(tab).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done", "failed"], patience_s()?).await?;
        anyhow::ensure!(lab.state(tab).await? == "failed", "a run on a broken device passed for a result");
        let message = lab.message(tab).await?;
        eprintln!("the page says: {message}");
        let lower = message.to_lowercase();
        anyhow::ensure!(words.iter().any(|word| lower.contains(word)), "it only says “{message}”");
        anyhow::ensure!(message.len() < 700, "nobody reads {} letters: “{message}”", message.len());
        anyhow::ensure!(lab.is_alert(tab).await?, "“{message}” is not announced as an alert");
        // What was published before the failure may be kept, but not shown.
        let shown = "return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility()).length";
        let numbers = format!("{} [data-source=run] [data-metric]", lab.selector());
        let shown = tab.script(shown, &[json!(numbers)]).await?;
        anyhow::ensure!(shown == 0, "{shown} numbers of a failed run are shown");
        tab.server.heal();
        lab.press(tab, "run-cpu").await?;
        lab.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
        anyhow::ensure!(lab.state(tab).await? == "done", "the CPU fails too: {}", lab.message(tab).await?);
        anyhow::ensure!(lab.device(tab).await?.contains("CPU"), "it ran on “{}”", lab.device(tab).await?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_device_lost_in_mid_run_is_told() -> anyhow::Result<()> {
    fails_and_offers_the_cpu(LOSE, &["lost", "destroyed"]).await
}

#[tokio::test]
async fn a_shader_error_is_never_a_result() -> anyhow::Result<()> {
    fails_and_offers_the_cpu(BREAK_SHADERS, &["shader", "wgsl"]).await
}

#[tokio::test]
async fn memory_that_cannot_be_had_is_told() -> anyhow::Result<()> {
    fails_and_offers_the_cpu(NO_MEMORY, &["memory"]).await
}

#[tokio::test]
async fn a_kernel_that_is_plausible_but_wrong_is_named_and_never_a_result() -> anyhow::Result<()> {
    fails_and_offers_the_cpu(WRONG_ATTENTION, &["computes wrong numbers: its attention differs"]).await?;
    fails_and_offers_the_cpu(WRONG_DENSE, &["computes wrong numbers: its dense layer differs"]).await
}

/// Where the page chooses, a GPU that computes wrong numbers is passed over, and the result says so.
#[tokio::test]
async fn a_wrong_gpu_that_nobody_asked_for_is_passed_over() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let lab: LabOnPage = specimen(&tab.site)?;
        tab.bypass_service_worker().await?;
        // The emulated adapter passes for a real one, or the page would not choose it.
        let real = "for (const of of ['GPUAdapter', 'GPUAdapterInfo']) {
            if (self[of]) Object.defineProperty(self[of].prototype, 'isFallbackAdapter', { get: () => false });
        }";
        tab.before_each_page(real).await?;
        tab.server.break_files("worker.js", Fault::Prepended(WRONG_DENSE.to_owned()));
        tab.open(&lab.brief("auto")).await?;
        lab.wake(tab).await?;
        lab.press(tab, "run").await?;
        lab.reach(tab, &["done", "failed"], patience_s()?).await?;
        anyhow::ensure!(lab.state(tab).await? == "done", "it failed: {}", lab.message(tab).await?);
        anyhow::ensure!(lab.device(tab).await?.contains("CPU"), "it ran on “{}”", lab.device(tab).await?);
        let said =
            format!("return document.querySelector({:?}).innerText", format!("{} [data-source=run]", lab.selector()));
        let said = tab.script(&said, &[]).await?.to_string();
        anyhow::ensure!(
            said.contains("This ran on the CPU") && said.contains("computes wrong numbers: its dense layer differs"),
            "the result does not say why: {said}"
        );
        anyhow::ensure!(
            tab.server.requests().iter().any(|path| path.contains("gpu")),
            "the gpu engine was never asked"
        );
        Ok(())
    })
    .await
}

/// To be asked for an adapter alone wakes a GPU, and some drivers fail then: neither page nor worker asks where the reader wants the CPU.
#[tokio::test]
async fn the_cpu_never_asks_for_an_adapter() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.bypass_service_worker().await?;
        // In the worker a question breaks the run, in the page it is counted.
        let count = "{ self.asked = 0;
            if (self.GPU) {
                const ask = GPU.prototype.requestAdapter;
                GPU.prototype.requestAdapter = function (...all) { self.asked++; self.postMessage('asked for an adapter', '*'); return ask.apply(this, all); };
            } }";
        tab.before_each_page(count).await?;
        let in_worker = count.replace(", '*'", "");
        tab.server.break_files("worker.js", Fault::Prepended(in_worker));
        tab.open(&lab.brief("cpu")).await?;
        lab.wake(tab).await?;
        lab.run(tab).await?;
        let asked = tab.script("return [Boolean(self.GPU), self.asked]", &[]).await?;
        anyhow::ensure!(asked == json!([true, 0]), "WebGPU is there, and the page asked so often: {asked}");
        anyhow::ensure!(!tab.server.requests().iter().any(|path| path.contains("gpu")), "the gpu engine was fetched");
        // The counter works: the other choice asks.
        tab.open(&lab.brief("auto")).await?;
        lab.wake(tab).await?;
        tab.wait("a question", 10.0, "self.asked > 0").await
    })
    .await
}

#[tokio::test]
async fn a_gpu_worker_that_crashes_is_told() -> anyhow::Result<()> {
    fails_and_offers_the_cpu(CRASH, &["engine", "worker"]).await
}

/// The reader moves a control as soon as the button is pressed, and again when the first device runs.
#[tokio::test]
async fn both_devices_run_with_the_setting_of_the_press() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let lab = labs_of(&tab.site)?.into_iter().find(|lab| lab.id == "quantization");
        let lab = lab.context("no page holds the lab quantization")?;
        let (expected, settings) = native::smoke(&lab.id)?;
        tab.open(&lab.link(&settings, expected.seed, "cpu")).await?;
        lab.wake(tab).await?;
        let selector = lab.selector();
        let offered = format!("!document.querySelector(\"{selector} [data-action=compare]\").hidden");
        tab.wait("the button that compares", 20.0, &offered).await?;
        let press = "const section = document.querySelector(arguments[0]), first = arguments[1];
            const seed = section.querySelector('[name=seed]'), message = section.querySelector('[data-lab-message]');
            window.moves = 0;
            window.move = (value) => {
                window.moves++;
                seed.value = value;
                seed.dispatchEvent(new Event('input', {bubbles: true}));
            };
            new MutationObserver((changes, watcher) => {
                if (!message.textContent.startsWith('Running on')) return;
                watcher.disconnect();
                window.move(first + 2);
            }).observe(message, {childList: true, characterData: true, subtree: true});
            section.querySelector('[data-action=compare]').click();
            window.move(first + 1);";
        tab.script(press, &[json!(selector), json!(expected.seed)]).await?;
        lab.reach(tab, &["done", "failed"], 300.0).await?;
        anyhow::ensure!(lab.state(tab).await? == "done", "{}", lab.message(tab).await?);
        let shown = "const section = document.querySelector(arguments[0]);
            const all = (selector) => [...section.querySelectorAll('[data-source=run] ' + selector)].map((e) => e.textContent);
            return [window.moves, all('[data-device-kind=cpu]').length, all('[data-device-kind=webgpu]').length,
                all('.lab-environment'), all('.lab-stale').join()]";
        let shown = tab.script(shown, &[json!(selector)]).await?;
        let (moves, on_cpu, on_gpu, environments, stale): (u32, usize, usize, Vec<String>, String) =
            serde_json::from_value(shown)?;
        anyhow::ensure!(moves == 2, "the control moved {moves} times");
        anyhow::ensure!(on_cpu > 0 && on_gpu > 0, "{on_cpu} and {on_gpu} numbers are compared");
        let asked = format!("seed {}.", expected.seed);
        let kept = environments.len() == 2 && environments.iter().all(|words| words.ends_with(&asked));
        anyhow::ensure!(kept, "not both runs are of {asked} {environments:?}");
        anyhow::ensure!(!stale.is_empty(), "nothing says that the controls have moved");
        tab.script("window.move(arguments[0])", &[json!(expected.seed)]).await?;
        let fresh = format!("!document.querySelector(\"{selector} .lab-stale\").textContent");
        tab.wait("the result to be that of the controls again", 2.0, &fresh).await
    })
    .await
}

/// Sums in another order differ in the last bits; exponentials and divisions of WGSL may be off by a few more.
const SAME: f64 = 2e-5;

#[tokio::test]
async fn our_kernels_agree_with_the_cpu() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let engine = Engine::start(tab, "gpu").await?;
        let (found, counts) = engine.call("kernel_agreement", json!([1, 6]), 300.0).await?;
        let found: Vec<serde_json::Value> = serde_json::from_str(found.as_str().unwrap_or_default())?;
        anyhow::ensure!(found.len() == 48, "{} comparisons instead of 48", found.len());
        anyhow::ensure!(counts.dispatches > 100.0, "only {} launches: did this run on the GPU?", counts.dispatches);
        let has = "return navigator.gpu.wgslLanguageFeatures.has('packed_4x8_integer_dot_product')";
        let (has, made) = (tab.script(has, &[]).await?, counts.integer_shaders);
        anyhow::ensure!(has == (made > 0.0), "integer products are there: {has}; shaders that take them: {made}");
        for case in found {
            let deviation = case["deviation"].as_f64().unwrap_or(f64::INFINITY);
            anyhow::ensure!(deviation < SAME, "{} differs by {deviation:e}", case["what"]);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn packed_weights_are_never_expanded_on_the_gpu() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let engine = Engine::start(tab, "gpu").await?;
        let (width, floats) = (1024_u32, 4.0 * 1024.0 * 1024.0);
        let (_, product) = engine.call("wide_product", serde_json::json!([width, false]), 120.0).await?;
        let (_, expanded) = engine.call("wide_product", serde_json::json!([width, true]), 120.0).await?;
        let [product, expanded] = [product, expanded].map(|counts| counts.largest_binding);
        anyhow::ensure!(product >= floats / 8.0, "the kernel was handed {product} bytes: not the matrix");
        anyhow::ensure!(product < floats / 6.0, "the kernel was handed {product} bytes; as floats it is {floats}");
        anyhow::ensure!(expanded >= floats, "an expanded matrix would not be noticed: {expanded} bytes");
        Ok(())
    })
    .await
}

/// A training step of three layers: three forward, one for the loss and one for the gradient it starts from, two of ReLU,
/// five products backward, six of AdamW: 19. With Burn's kernels it takes 138. A token of the packed language model with 8-bit
/// activations: 212 as in FP32, and one that rounds for each of the 29 matrices; with Burn's operations for that it took 792.
const MOST_LAUNCHES: [(&str, f64); 2] = [("training-step", 24.0), ("decode-packed", 250.0)];

#[tokio::test]
async fn a_step_takes_few_launches_and_compiles_nothing_new() -> anyhow::Result<()> {
    with_browser(Gpu::Software, async |tab| {
        if !has_gpu_engine(tab)? {
            return Ok(());
        }
        let engine = Engine::start(tab, "gpu").await?;
        for (path, most) in MOST_LAUNCHES {
            let counts = engine.counts_of_a_step(path, true).await?;
            eprintln!("{path}: {counts:?}");
            anyhow::ensure!((1.0..=most).contains(&counts.dispatches), "{path}: {} launches", counts.dispatches);
            anyhow::ensure!(counts.pipelines == 0.0, "a warm {path} compiles {} pipelines", counts.pipelines);
            anyhow::ensure!(counts.readbacks == 0.0, "{path} reads back {} times", counts.readbacks);
        }
        Ok(())
    })
    .await
}
