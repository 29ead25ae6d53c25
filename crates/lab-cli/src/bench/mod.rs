//! `bench`: every number of a technique over several runs, how long readers wait, and this machine's roof.

mod merge;
mod show;

use std::{
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
};

use anyhow::Context as _;
use lab_api::{DeviceChoice, Environment, LabError, RunRecord, Values};
use lab_kit::{
    Context, Host, LabEntry, find,
    measure::{Bandwidth, Roofline, peak_gflops},
    open_device,
};
use labs::registry::ALL;
use serde::{Deserialize, Serialize};

use crate::{Manifest, NativeHost, Problem, Show, run_entry};

/// The limits of all sizes and times.
const BUDGETS: &str = include_str!("../../../../budgets.toml");
/// Milliseconds for each roof.
const ROOF_MS: f64 = 400.0;

/// Arguments of `bench`.
#[derive(clap::Args, Debug, Clone)]
pub struct BenchOptions {
    /// The technique, named as its lab; all without it.
    #[arg(long, value_name = "ID")]
    pub technique: Option<String>,
    /// webgpu or cpu.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Default runs of each lab, each in a process of its own.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Print JSON and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Write a chart of what each technique changes, as SVG.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// One run in this very process, as JSON: what `bench` starts for each of its runs.
    #[arg(long, hide = true, requires = "technique")]
    pub one_run: bool,
}

/// What `bench --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Default runs of each lab.
    pub runs: u32,
    /// Where they ran.
    pub environment: Environment,
    /// The device's roofs.
    pub roof: Roof,
    /// One record for each lab: its metrics over all runs, and those that `bench` adds.
    pub labs: Vec<RunRecord>,
}

/// The device's best rates, measured just before and just after the runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Roof {
    /// FP32 matrix multiplication, 10⁹ operations per second.
    pub peak_gflops: f64,
    /// From and to memory, 10⁹ bytes per second.
    pub memory_gb_per_s: f64,
    /// Within the caches, 10⁹ bytes per second.
    pub cache_gb_per_s: f64,
}

impl Roof {
    fn max(self, other: Self) -> Self {
        Self {
            peak_gflops: self.peak_gflops.max(other.peak_gflops),
            memory_gb_per_s: self.memory_gb_per_s.max(other.memory_gb_per_s),
            cache_gb_per_s: self.cache_gb_per_s.max(other.cache_gb_per_s),
        }
    }

    fn line(&self) -> Roofline {
        Roofline { peak_gflops: self.peak_gflops, peak_gb_per_s: self.memory_gb_per_s }
    }
}

/// Benchmarks one technique or all, and shows the result.
///
/// # Errors
/// [`Problem::Input`] for an unknown lab or device; [`Problem::Failure`] when a run fails, when runs of one seed disagree
/// about an exact number, or when a median exceeds its limit.
pub fn bench(root: &Path, options: &BenchOptions) -> Result<(), Problem> {
    let entries = match &options.technique {
        Some(id) => std::slice::from_ref(find(ALL, id)?),
        None => ALL,
    };
    let device = DeviceChoice::parse(&options.device).map_err(|bad| Problem::Input(format!("{bad}.")))?;
    if let Some(folder) = options.svg.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty())
        && !folder.is_dir()
    {
        return Err(Problem::Input(format!("--svg: there is no folder {}.", folder.display())));
    }
    if let ([entry], true) = (entries, options.one_run) {
        let run = one_run(root, entry, device)?;
        println!("{}", serde_json::to_string(&run).map_err(anyhow::Error::from)?);
        return Ok(());
    }
    let bench = measure(root, entries, device, options.runs)?;
    if let Some(file) = &options.svg {
        std::fs::write(file, show::svg(root, &bench)?)
            .with_context(|| format!("{} cannot be written", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&bench).map_err(anyhow::Error::from)?);
    } else {
        print!("{}", show::human(&bench)?);
    }
    over_limits(&bench).map_or(Ok(()), Err)
}

/// Runs the labs between two looks at the roofs, each run in a process of its own: where a process happens to lie in
/// memory can change a kernel's time by half, and no interval from within one process would tell.
fn measure(root: &Path, entries: &[LabEntry], device: DeviceChoice, runs: u32) -> Result<Bench, Problem> {
    let (environment, before) = roofs(root, device)?;
    let mut benched = Vec::new();
    for entry in entries {
        let mut all = Vec::new();
        for run in 1..=runs {
            eprintln!("{}: run {run} of {runs}", entry.id);
            all.push(in_new_process(root, entry, device)?);
        }
        benched.push(all);
    }
    // Whatever else this machine does lowers a roof, nothing raises it: the better of two looks is nearer to the truth.
    let (_, after) = roofs(root, device)?;
    let roof = before.max(after);
    let labs: Result<_, String> = benched.iter().map(|all| merge::merge(all, &roof.line())).collect();
    Ok(Bench { runs, environment, roof, labs: labs.map_err(Problem::Failure)? })
}

/// Starts this program anew for one run.
fn in_new_process(root: &Path, entry: &LabEntry, device: DeviceChoice) -> Result<merge::Run, Problem> {
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let words = ["bench", "--technique", entry.id, "--device", device.word(), "--one-run"];
    let output =
        Command::new(program).args(words).current_dir(root).output().context("this program cannot be started anew")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Problem::Failure(why.trim().trim_start_matches("error: ").to_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout).context("a run's result cannot be read")?)
}

/// One run in this process.
fn one_run(root: &Path, entry: &LabEntry, device: DeviceChoice) -> Result<merge::Run, Problem> {
    let host = Rc::new(NativeHost::new(root, Show::Nothing));
    host.reset_peak();
    let before = host.memory();
    let record = run_entry(entry, &Values::new(), 0, device, &Manifest::read(root)?, host.clone())?;
    let whole_ms = host.now_ms();
    let peak_bytes = host.memory().zip(before).map(|(now, before)| now.peak_bytes - before.current_bytes);
    Ok(merge::Run {
        record,
        first_ms: host.first_report_ms().unwrap_or(whole_ms),
        whole_ms,
        longest_gap_ms: host.longest_gap_ms(),
        peak_bytes,
    })
}

/// Measures the roofs of a device, and says where it is.
fn roofs(root: &Path, device: DeviceChoice) -> Result<(Environment, Roof), Problem> {
    eprintln!("measuring the roofs");
    let measured = pollster::block_on(async {
        let host = Rc::new(NativeHost::new(root, Show::Nothing));
        let cx = Context::new(open_device(device).await?, 0, Vec::new(), host);
        let Bandwidth { memory_gb_per_s, cache_gb_per_s } = Bandwidth::measure(&cx, ROOF_MS).await?;
        let peak_gflops = peak_gflops(&cx, ROOF_MS).await?;
        Ok::<_, LabError>((cx.environment(), Roof { peak_gflops, memory_gb_per_s, cache_gb_per_s }))
    });
    Ok(measured?)
}

/// A limit of time in milliseconds; one that is missing lets nothing pass.
fn limit_ms(section: &str) -> f64 {
    let budgets: toml::Table = BUDGETS.parse().unwrap_or_default();
    let limit = budgets.get(section).and_then(|section| section.get("limit"));
    1e3 * limit.and_then(toml::Value::as_float).unwrap_or_default()
}

/// The labs whose readers wait too long.
fn over_limits(bench: &Bench) -> Option<Problem> {
    let value = |record: &RunRecord, id: &str| record.report.metric(id).map_or(0.0, |metric| metric.value);
    let (first, whole) = (limit_ms("first_number"), limit_ms("default_run"));
    let slow = |record: &&RunRecord| value(record, merge::FIRST) > first || value(record, merge::WHOLE) > whole;
    let slow: Vec<&str> = bench.labs.iter().filter(slow).map(|record| record.lab.as_str()).collect();
    (!slow.is_empty()).then(|| {
        Problem::Failure(format!(
            "{}: over {first:.0} ms to the first number or {whole:.0} ms in all.",
            slow.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use merge::tests::run;

    #[test]
    fn a_slow_lab_fails_the_bench() {
        let roof = Roof { peak_gflops: 10.0, memory_gb_per_s: 1.0, cache_gb_per_s: 2.0 };
        let bench = |first: f64, whole: f64| {
            let runs = [merge::Run { first_ms: first, whole_ms: whole, ..run(1.0, 1.0) }];
            let record = merge::merge(&runs, &roof.line()).expect("merges");
            Bench { runs: 1, environment: record.environment.clone(), roof, labs: vec![record] }
        };
        assert!(over_limits(&bench(900.0, 14_000.0)).is_none());
        for slow in [bench(1100.0, 14_000.0), bench(900.0, 16_000.0)] {
            let problem = over_limits(&slow).expect("too slow");
            assert!(problem.exit_code() == 1 && problem.to_string().contains("sample:"), "{problem}");
        }
    }
}
