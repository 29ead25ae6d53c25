//! The figures of docs/benchmarks.md; `cargo xtask bench --browser` takes them. They assert nothing about speed.

use std::fmt::Write as _;

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::engine::{Counts, Engine};
use browser_tests::env;
use lab_api::Interval;
use serde::Deserialize;
use serde_json::json;

/// Milliseconds for each path on each device, about.
const BUDGET_MS: f64 = 3000.0;
/// The figures stand between these lines.
const MARKS: [&str; 2] = ["<!-- figures: cargo xtask bench --browser -->", "<!-- /figures -->"];

/// What an engine answers; see `lab_kit::hot_paths::Timing`.
#[derive(Debug, Deserialize)]
struct Timing {
    path: String,
    operations: f64,
    first_ms: f64,
    median_ms: f64,
    interval_ms: Interval,
    samples_ms: Vec<f64>,
    deviation: f64,
}

/// One device's times.
struct Column {
    name: &'static str,
    timings: Vec<Timing>,
}

#[tokio::test]
#[ignore = "takes minutes and writes docs/benchmarks.md"]
async fn figures_of_the_hot_paths() -> anyhow::Result<()> {
    let native = native()?;
    // The command line times every path there is, so it also says which they are.
    let all: Vec<String> = native.iter().map(|timing| timing.path.clone()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut columns = vec![Column { name: "CPU, native", timings: native }];
    let mut counts = Vec::new();
    let mut machine = String::new();
    with_browser(Gpu::Software, async |tab| {
        columns.push(Column { name: "CPU, Chromium", timings: timed(tab, "cpu", false, &all).await? });
        // On a software adapter the largest product with Burn's kernels would take longer than all the rest.
        let not_the_largest: Vec<&str> = all.iter().copied().filter(|path| *path != "matmul-1024").collect();
        for (name, own, paths) in
            [("WebGPU, Chromium", true, &all), ("WebGPU, Chromium, Burn's kernels", false, &not_the_largest)]
        {
            columns.push(Column { name, timings: timed(tab, "gpu", own, paths).await? });
            let engine = Engine::start(tab, "gpu").await?;
            for path in ["matmul-512", "training-step", "language-training-step", "decode", "decode-packed"] {
                counts.push((path, name, engine.counts_of_a_step(path, own).await?));
            }
        }
        machine = described(tab).await?;
        Ok(())
    })
    .await?;
    let figures = format!("{machine}\n\n{}\n{}", times(&all, &columns), asked(&counts));
    println!("{figures}");
    let file = env::workspace().join("docs/benchmarks.md");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (before, rest) = text.split_once(MARKS[0]).context("docs/benchmarks.md has lost its first mark")?;
    let (_, after) = rest.split_once(MARKS[1]).context("docs/benchmarks.md has lost its second mark")?;
    std::fs::write(&file, format!("{before}{}\n\n{figures}\n{}{after}", MARKS[0], MARKS[1]))?;
    Ok(())
}

/// In the terminal, on the CPU.
fn native() -> anyhow::Result<Vec<Timing>> {
    let mut command = std::process::Command::new(env::lab_cli()?);
    command.current_dir(env::workspace()).args(["hot-paths", "--device", "cpu", "--json", "--budget-ms"]);
    let output = command.arg(BUDGET_MS.to_string()).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(serde_json::from_value(answer["paths"].take())?)
}

/// Every path in a worker of its own, so that each first step is a first one.
async fn timed(tab: &Tab, engine: &str, own_kernels: bool, paths: &[&str]) -> anyhow::Result<Vec<Timing>> {
    let mut timings = Vec::new();
    for path in paths {
        let worker = Engine::start(tab, engine).await?;
        let (text, _) = worker.call("time_hot_path", json!([path, BUDGET_MS, own_kernels]), 900.0).await?;
        let timing: Timing = serde_json::from_str(text.as_str().unwrap_or_default())?;
        eprintln!("{engine} {own_kernels} {path}: {:.2} ms", timing.median_ms);
        timings.push(timing);
    }
    Ok(timings)
}

/// Processor, cores, browser and adapter in a sentence.
async fn described(tab: &Tab) -> anyhow::Result<String> {
    let ask = "return navigator.gpu.requestAdapter().then((adapter) => [navigator.userAgent, navigator.hardwareConcurrency, \
               adapter.info.vendor, adapter.info.architecture, adapter.info.isFallbackAdapter])";
    let (agent, cores, vendor, architecture, software): (String, u32, String, String, Option<bool>) =
        serde_json::from_value(tab.script(ask, &[]).await?)?;
    let browser = agent.split_whitespace().find(|word| word.contains("Chrom")).unwrap_or(&agent).to_owned();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let kind = if software == Some(true) { "a software adapter" } else { "a GPU" };
    Ok(format!("Machine: {model}, {cores} logical cores; {browser}; adapter {vendor} {architecture}, {kind}."))
}

fn times(paths: &[&str], columns: &[Column]) -> String {
    let mut text =
        "| path | where | first step (ms) | step (ms), median and 95 % interval | rate | samples | off the CPU by |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    for path in paths.iter().copied() {
        let of_path = columns.iter().filter_map(|Column { name, timings }| {
            timings.iter().find(|timing| timing.path == path).map(|timing| (name, timing))
        });
        for (name, Timing { operations, first_ms, median_ms, interval_ms, samples_ms, deviation, .. }) in of_path {
            let rate = match path {
                "training-step" | "language-training-step" => format!("{} steps/s", digits(1e3 / median_ms)),
                "decode" | "decode-packed" => format!("{} tokens/s", digits(1e3 / median_ms)),
                _ => format!("{} GFLOP/s", digits(operations / median_ms * 1e-6)),
            };
            let off = if *deviation == 0.0 { "0".to_owned() } else { format!("{deviation:.0e}") };
            let _ = writeln!(
                text,
                "| {path} | {name} | {} | {} [{}, {}] | {rate} | {} | {off} |",
                digits(*first_ms),
                digits(*median_ms),
                digits(interval_ms.low),
                digits(interval_ms.high),
                samples_ms.len(),
            );
        }
    }
    text
}

fn asked(counts: &[(&str, &str, Counts)]) -> String {
    let mut text = "| one warm step of | where | dispatches | pipelines compiled | readbacks | submits | buffer writes | buffers made |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (path, name, counts) in counts {
        let Counts { dispatches, pipelines, readbacks, submits, writes, buffers, .. } = counts;
        let numbers = [dispatches, pipelines, readbacks, submits, writes, buffers].map(|number| digits(*number));
        let _ = writeln!(text, "| {path} | {name} | {} |", numbers.join(" | "));
    }
    text
}

/// Three significant digits, more where the whole part has more.
fn digits(value: f64) -> String {
    let decimals = if value == 0.0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}
