//! False alarms of every design, statistic and number of samples under each disturbance; percentiles that enough queries stand
//! behind; real load against the recursion; stalls seen from both ends; three variants in one table.

use lab_api::{Axis, BarSeries, Better, Cell, Chart, ChartBody, Family, Interval, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    bench::{
        Served, Statistic, block_bootstrap, claim, closed_loop, coefficient_of_variation, effective_samples,
        naive_speedup, peak_load, poisson, response_times, runs_needed,
    },
    measure::{EnergyAssumptions, peak_gflops},
    report::{MetricExt, metric},
    serving::{lindley, pollaczek_khinchine, quantile},
    stats::{block_length, median, median_interval, proportion},
};
use rand::Rng;

use super::{
    Candidate, Design, Disturbance, Params, Subject,
    compare::{DESIGNS, Verdict, pair, same},
    disturb::Disturber,
    machine::Machine,
    scenarios::{IN_TIME, STREAMS, live},
};

const LEVEL: f64 = 0.95;
/// Whole experiments of each kind.
const EXPERIMENTS: usize = 100;
const SAMPLES: [usize; 3] = [5, 11, 41];
const DISTURBANCES: [(Disturbance, &str); 3] =
    [(Disturbance::None, "none"), (Disturbance::Drift, "drift"), (Disturbance::Stalls, "stalls")];
const DESIGN_WORDS: [&str; 2] = ["sequential", "interleaved"];
const STATISTICS: [(Statistic, &str); 3] =
    [(Statistic::Mean, "mean"), (Statistic::Median, "median"), (Statistic::Minimum, "minimum")];
/// Looks at growing data, as somebody does who stops when the result pleases.
const LOOKS: [usize; 10] = [5, 9, 13, 17, 21, 25, 29, 33, 37, 41];
const LOADS: [u32; 4] = [30, 50, 70, 90];
const SEEDS: usize = 5;
/// Milliseconds of a live run.
const LIVE_MS: f64 = 2000.0;
/// Queries of one user: ten may be late for a 99th percentile.
const QUERIES: usize = 2010;
/// Queries of the rig: the fewest for a 99th percentile.
const RIG: usize = 662;
const BATCHES: [usize; 6] = [1, 2, 4, 8, 16, 32];
const BOUNDS: [(f64, &str); 5] = [(2.0, "2"), (3.0, "3"), (5.0, "5"), (10.0, "10"), (20.0, "20")];
const SIMULATED: usize = 60_000;

struct Study<'a> {
    cx: &'a Context,
    report: Report,
}

const FAST: (Family, Better) = (Family::Time, Better::Lower);
const MANY: (Family, Better) = (Family::Scale, Better::Higher);
const SURE: (Family, Better) = (Family::Quality, Better::Lower);

impl Study<'_> {
    fn tell(&mut self, (family, better): (Family, Better), id: &str, label: &str, unit: &str, samples: Vec<f64>) {
        let interval = median_interval(&samples, LEVEL, &mut self.cx.rng(id));
        let mut told = metric(family, id, label, median(&samples), unit).interval(interval).measured(samples);
        told.better = better;
        self.report.metrics.push(told);
    }

    /// A share of so many, in per cent, with its exact interval.
    fn share(&mut self, id: &str, label: &str, count: usize, of: usize) {
        let Interval { low, high, level } = proportion(count, of, LEVEL);
        let value = 100.0 * count as f64 / of.max(1) as f64;
        self.report.metrics.push(
            metric(Family::Quality, id, label, value, "%")
                .lower()
                .interval(Interval { low: 100.0 * low, high: 100.0 * high, level })
                .measured(vec![value]),
        );
    }

    fn value(&self, id: &str) -> f64 {
        self.report.metric(id).map_or(0.0, |metric| metric.value)
    }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut machine = Machine::load(Subject::Language, &[Candidate::Int8, Candidate::Int4], cx).await?;
    machine.first_calls(cx).await?;
    machine.size(cx).await?;
    let cx = &*cx;
    let mut study = Study { cx, report: Report::default() };
    let items = machine.items as f64;
    study.tell((Family::Scale, Better::Neutral), "items", "Tokens of a sample", "tokens", vec![items]);
    alarms(&mut study, &machine).await?;
    coverage(&mut study);
    cx.progress("One user and the rig", 0.5);
    let service = users(&mut study, &machine).await?;
    cx.progress("Real load", 0.65);
    crowd(&mut study, &machine, &service[0]).await?;
    cx.progress("Batch jobs, bounds, the table", 0.9);
    offline(&mut study, &machine).await?;
    bounds(&mut study, &machine, &service);
    table(&mut study, &machine, &service).await?;
    Ok(study.report)
}

/// FP32 against FP32.
async fn alarms(study: &mut Study<'_>, machine: &Machine) -> Result<(), LabError> {
    let cx = study.cx;
    for (at, (disturbance, word)) in DISTURBANCES.into_iter().enumerate() {
        for n in SAMPLES {
            cx.progress(&format!("FP32 against FP32: {word}, {n} samples"), 0.15 * at as f64);
            let disturber = Disturber::new(disturbance, cx);
            let mut all = Vec::with_capacity(EXPERIMENTS);
            for _ in 0..EXPERIMENTS {
                all.push(same(machine, n, &disturber, cx).await?);
            }
            for (design, design_word) in DESIGNS.into_iter().zip(DESIGN_WORDS) {
                for (statistic, name) in STATISTICS {
                    let verdict = |(i, series): (usize, &Vec<f64>)| {
                        Verdict::of(series, design, statistic, LEVEL, (cx, &format!("verdict {i}")))
                    };
                    let verdicts: Vec<Verdict> = all.iter().enumerate().map(verdict).collect();
                    let id = format!("{design_word}_{word}_{name}_{n}");
                    let count = verdicts.iter().filter(|verdict| verdict.false_alarm()).count();
                    let label = format!("False alarms: {design_word}, disturbance {word}, {name} of {n}");
                    study.share(&format!("alarms_{id}"), &label, count, EXPERIMENTS);
                    let widths = verdicts.iter().map(|v| 100.0 * (v.interval.high - v.interval.low)).collect();
                    let label = format!("Width of the interval: {design_word}, disturbance {word}, {name} of {n}");
                    study.tell(SURE, &format!("width_{id}"), &label, "%", widths);
                }
            }
            if disturbance == Disturbance::None && n == 41 {
                peek(study, &all);
            }
        }
    }
    let calm = Disturber::new(Disturbance::None, cx);
    let mut naive = Vec::new();
    for _ in 0..40 {
        let (one, other) = (async || machine.query(0, 1, cx).await, async || machine.query(0, 1, cx).await);
        naive.push(naive_speedup(cx, 11, one, other).await?);
        cx.checkpoint().await?;
    }
    study.tell(
        SURE,
        "naive_low",
        "The naive quotient of FP32 and FP32: 5th percentile",
        "×",
        vec![quantile(&naive, 0.05)],
    );
    study.tell(
        SURE,
        "naive_high",
        "The naive quotient of FP32 and FP32: 95th percentile",
        "×",
        vec![quantile(&naive, 0.95)],
    );
    for (candidate, word) in [(1, "int8"), (2, "int4")] {
        let only = Params { samples: 101, ..Params::default() };
        let found = pair(machine, (0, candidate), &only, &calm, cx).await?;
        let label = format!("FP32 over {}, interleaved, 101 samples", word.to_uppercase());
        study.tell(MANY, &format!("speedup_{word}"), &label, "×", found.ratios());
    }
    chart_alarms(study);
    Ok(())
}

/// What comes of looking ten times and stopping at the first difference.
fn peek(study: &mut Study<'_>, all: &[Vec<f64>]) {
    let (cx, design) = (study.cx, Design::Interleaved);
    let (mut once, mut ever) = (0, 0);
    for (i, series) in all.iter().enumerate() {
        let look = |n: &usize| {
            let purpose = format!("look {i} {n}");
            Verdict::of(&series[..2 * n], design, Statistic::Median, LEVEL, (cx, &purpose)).false_alarm()
        };
        let found: Vec<bool> = LOOKS.iter().map(look).collect();
        once += usize::from(found.last().copied().unwrap_or(false));
        ever += usize::from(found.contains(&true));
    }
    study.share("looks_1", "False alarms: one look, at 41 samples", once, all.len());
    study.share("looks_10", "False alarms: ten looks on the way to 41 samples", ever, all.len());
}

/// How often intervals of noise that lasts cover the truth: simulated.
fn coverage(study: &mut Study<'_>) {
    let mut rng = study.cx.rng("coverage");
    let (n, all) = (400, 300);
    for (kept, word) in [(0.0, "00"), (0.5, "50"), (0.9, "90")] {
        let mut covered = [0; 2];
        let mut worth = Vec::new();
        for _ in 0..all {
            let mut normal = || {
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
            };
            let mut state = normal();
            let samples: Vec<f64> = (0..n)
                .map(|_| {
                    state = kept * state + f64::sqrt(1.0 - kept * kept) * normal();
                    100.0 + state
                })
                .collect();
            worth.push(effective_samples(&samples));
            let block = (5 * block_length(&samples) / 2).min(60);
            for (block, covered) in [1, block].into_iter().zip(&mut covered) {
                let found = block_bootstrap(&samples, block, Statistic::Median, LEVEL, &mut rng);
                *covered += usize::from(found.low <= 100.0 && 100.0 <= found.high);
            }
        }
        for (count, (id, how)) in covered.into_iter().zip([("single", "single draws"), ("blocks", "blocks")]) {
            let label =
                format!("Intervals of a median of {n} that hold the truth: correlation 0.{word}, {how}, simulated");
            study.share(&format!("covered_{id}_{word}"), &label, count, all);
        }
        let label = format!("What {n} samples are worth at a correlation of 0.{word}, simulated");
        study.tell(MANY, &format!("worth_{word}"), &label, "samples", worth);
    }
}

/// One user and the rig, each variant: the times of one user.
async fn users(study: &mut Study<'_>, machine: &Machine) -> Result<Vec<Vec<f64>>, LabError> {
    let cx = study.cx;
    let mut all = Vec::new();
    for (variant, word) in ["fp32", "int8", "int4"].into_iter().enumerate() {
        let single = closed_loop(cx, QUERIES, 0.0, async || machine.query(variant, 1, cx).await).await?;
        let rig = closed_loop(cx, RIG, 0.0, async || machine.query(variant, STREAMS, cx).await).await?;
        let name = machine.variants[variant].name;
        study.tell(FAST, &format!("p50_{word}"), &format!("One user, {name}: middle latency"), "ms", single.clone());
        for (share, p) in [(0.9, "p90"), (IN_TIME, "p99")] {
            let told = claim(&single, share, 0.99).unwrap_or(0.0);
            study.tell(
                FAST,
                &format!("{p}_{word}"),
                &format!("One user, {name}: {p} as claimed from {QUERIES}"),
                "ms",
                vec![told],
            );
        }
        let eight = STREAMS as f64;
        let inferred = eight * claim(&single, IN_TIME, 0.99).unwrap_or(0.0);
        let told = claim(&rig, IN_TIME, 0.99).unwrap_or(0.0);
        study.tell(FAST, &format!("rig_{word}"), &format!("Rig of eight, {name}: middle latency"), "ms", rig.clone());
        study.tell(
            FAST,
            &format!("rig_p99_{word}"),
            &format!("Rig of eight, {name}: p99 as claimed from {RIG}"),
            "ms",
            vec![told],
        );
        study.tell(
            FAST,
            &format!("rig_inferred_{word}"),
            &format!("Rig of eight, {name}: inferred as 8 × p99 of one user"),
            "ms",
            vec![inferred],
        );
        let gain = eight * median(&single) / median(&rig).max(f64::MIN_POSITIVE);
        study.tell(
            MANY,
            &format!("rig_gain_{word}"),
            &format!("Rig of eight, {name}: eight queries of one over one of eight"),
            "×",
            vec![gain],
        );
        if variant == 0 {
            let cv = coefficient_of_variation(&single);
            study.tell(SURE, "cv", "Spread of one user's latencies over their mean", "%", vec![100.0 * cv]);
            for (difference, id) in [(0.01, "1"), (0.05, "5")] {
                let label = format!("Samples of each to see {id} %");
                study.tell(SURE, &format!("needed_{id}"), &label, "samples", vec![runs_needed(cv, difference)]);
            }
            let label = format!("What {QUERIES} queries of one user are worth");
            study.tell(MANY, "worth", &label, "samples", vec![effective_samples(&single)]);
            for (block, id) in [(1, "single"), (2 * block_length(&single), "blocks")] {
                let found = block_bootstrap(&single, block, Statistic::Mean, LEVEL, &mut cx.rng("blocks"));
                let width = 100.0 * (found.high - found.low) / median(&single).max(f64::MIN_POSITIVE);
                study.tell(
                    SURE,
                    &format!("mean_width_{id}"),
                    &format!("Width of the interval of their mean, {id}"),
                    "%",
                    vec![width],
                );
            }
        }
        all.push(single);
    }
    Ok(all)
}

/// Live runs of FP32 at four loads, and with stalls.
async fn crowd(study: &mut Study<'_>, machine: &Machine, service: &[f64]) -> Result<(), LabError> {
    let cx = study.cx;
    let middle = median(service);
    let rate = |load: u32| 1e3 / middle * f64::from(load) / 100.0;
    let schedule = |load: u32, seed: usize| {
        let count = (rate(load) * LIVE_MS / 1e3) as usize;
        poisson(count, rate(load), &mut cx.rng(&format!("schedule {load} {seed}")))
    };
    let mut draws = cx.rng("service");
    let mut again =
        |count: usize| -> Vec<f64> { (0..count).map(|_| service[draws.random_range(0..service.len())]).collect() };
    for load in LOADS {
        let (mut p50, mut p90, mut p99, mut off) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for seed in 0..SEEDS {
            let schedule = schedule(load, seed);
            let served = live(machine, 0, &schedule, Disturbance::None, cx).await?;
            let latencies: Vec<f64> = served.iter().map(Served::latency_ms).collect();
            p50.push(quantile(&latencies, 0.5));
            p90.push(quantile(&latencies, 0.9));
            p99.push(quantile(&latencies, IN_TIME));
            let own: Vec<f64> = served.iter().map(Served::from_sent_ms).collect();
            let told = response_times(&schedule, &own);
            off.push(100.0 * (median(&told) / median(&latencies).max(f64::MIN_POSITIVE) - 1.0).abs());
        }
        for (id, share, values) in [("p50", 0.5, p50), ("p90", 0.9, p90), ("p99", IN_TIME, p99)] {
            study.tell(
                FAST,
                &format!("live_{id}_{load}"),
                &format!("A crowd at {load} %: {id}, really served"),
                "ms",
                values,
            );
            let times = again(SIMULATED);
            let told = quantile(&response_times(&poisson(SIMULATED, rate(load), &mut cx.rng("long")), &times), share);
            study.tell(
                FAST,
                &format!("told_{id}_{load}"),
                &format!("A crowd at {load} %: {id}, by the recursion"),
                "ms",
                vec![told],
            );
        }
        let label = format!("A crowd at {load} %: how far the recursion is off with the run's own times of service");
        study.tell(SURE, &format!("off_{load}"), &label, "%", off);
    }
    let times = again(SIMULATED);
    let arrivals = poisson(SIMULATED, rate(70), &mut cx.rng("waits"));
    let mean = lindley(&arrivals, &times).iter().sum::<f64>() / SIMULATED as f64;
    let known = pollaczek_khinchine(rate(70) / 1e3, &times).unwrap_or(0.0);
    study.tell(FAST, "wait_told", "Mean wait at 70 %, by the recursion", "ms", vec![mean]);
    study.tell(FAST, "wait_formula", "Mean wait at 70 %, by the formula", "ms", vec![known]);
    // One second of measuring, again and again.
    let second = (rate(70) as usize).max(1);
    let short: Vec<f64> =
        response_times(&arrivals, &times).chunks_exact(second).map(|part| quantile(part, IN_TIME)).collect();
    for (share, id) in [(0.05, "low"), (0.95, "high")] {
        let label = format!("p99 of one second at 70 %, by the recursion: {} of 100 runs are below", 100.0 * share);
        study.tell(SURE, &format!("second_{id}"), &label, "ms", vec![quantile(&short, share)]);
    }
    stalls(study, machine, &|seed| schedule(70, seed)).await
}

async fn stalls(
    study: &mut Study<'_>,
    machine: &Machine,
    schedule: &dyn Fn(usize) -> Vec<f64>,
) -> Result<(), LabError> {
    let cx = study.cx;
    let mut found = vec![Vec::new(); 6];
    for seed in 0..SEEDS {
        let disturber = Disturber::new(Disturbance::Stalls, cx);
        let call = async || {
            machine.query(0, 1, cx).await?;
            disturber.pause(0.0, 0.0, cx).await
        };
        let closed = closed_loop(cx, 1, LIVE_MS, call).await?;
        let served = live(machine, 0, &schedule(seed), Disturbance::Stalls, cx).await?;
        let sent: Vec<f64> = served.iter().map(Served::from_sent_ms).collect();
        let scheduled: Vec<f64> = served.iter().map(Served::latency_ms).collect();
        let values = [closed, sent, scheduled].map(|all| [quantile(&all, 0.9), quantile(&all, IN_TIME)]);
        found.iter_mut().zip(values.as_flattened()).for_each(|(all, value)| all.push(*value));
    }
    let words = [
        ("closed", "a closed loop"),
        ("sent", "a crowd at 70 %, from the sending"),
        ("scheduled", "a crowd at 70 %, from the schedule"),
    ];
    for (i, values) in found.into_iter().enumerate() {
        let ((id, how), p) = (words[i / 2], ["p90", "p99"][i % 2]);
        study.tell(
            FAST,
            &format!("stall_{id}_{p}"),
            &format!("One stall of 200 ms in two seconds: {p} of {how}"),
            "ms",
            values,
        );
    }
    Ok(())
}

async fn offline(study: &mut Study<'_>, machine: &Machine) -> Result<(), LabError> {
    let cx = study.cx;
    let peak = peak_gflops(cx, 300.0).await?;
    for (variant, word) in ["fp32", "int8", "int4"].into_iter().enumerate() {
        for batch in BATCHES {
            let times = closed_loop(cx, 7, 0.0, async || machine.query(variant, batch, cx).await).await?;
            let rates: Vec<f64> = times.iter().map(|ms| 1e3 * batch as f64 / ms.max(f64::MIN_POSITIVE)).collect();
            let name = machine.variants[variant].name;
            if variant == 0 {
                let flops = machine.flops(machine.items) as f64;
                let shares = rates.iter().map(|rate| 1e-7 * rate * flops / peak).collect();
                let kind = (Family::Utilization, Better::Higher);
                study.tell(
                    kind,
                    &format!("share_{batch}"),
                    &format!("Share of the best rate, FP32, {batch} at once"),
                    "%",
                    shares,
                );
            }
            study.tell(
                MANY,
                &format!("offline_{word}_{batch}"),
                &format!("Samples a second, {name}, {batch} at once"),
                "samples/s",
                rates,
            );
        }
    }
    Ok(())
}

/// The load that each bound leaves.
fn bounds(study: &mut Study<'_>, machine: &Machine, service: &[Vec<f64>]) {
    let mut lines = Vec::new();
    for ((variant, word), single) in ["fp32", "int8", "int4"].into_iter().enumerate().zip(service) {
        let (middle, name) = (median(single), machine.variants[variant].name);
        let mut points = Vec::new();
        for (bound, id) in BOUNDS {
            let loads: Vec<f64> = (0..SEEDS)
                .map(|seed| {
                    let mut rng = study.cx.rng(&format!("bound {seed}"));
                    let times: Vec<f64> = (0..SIMULATED).map(|_| single[rng.random_range(0..single.len())]).collect();
                    let arrivals = poisson(SIMULATED, 1e3 / middle, &mut rng);
                    100.0 * peak_load(&arrivals, &times, bound * middle, IN_TIME)
                })
                .collect();
            points.push([bound, median(&loads)]);
            let label = format!("Load that keeps p99 within {id} × the middle latency, {name}");
            study.tell(MANY, &format!("peak_{word}_{id}"), &label, "%", loads);
        }
        lines.push(Series { name: name.into(), points, band: vec![] });
    }
    study.report.charts.push(Chart {
        id: "bounds".into(),
        title: "How much of the capacity does a promise leave?".into(),
        caption:
            "The highest load at which 99 of 100 answers come within the bound, by the recursion with measured times."
                .into(),
        x: Axis::log("Bound (times the middle latency)"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Load (% of the capacity)") },
        body: ChartBody::Line { series: lines },
    });
}

fn chart_alarms(study: &mut Study<'_>) {
    let bars = |design: &str| {
        let ids = DISTURBANCES.map(|(_, word)| format!("alarms_{design}_{word}_median_11"));
        let interval = |id: &String| {
            let found = study.report.metric(id).and_then(|metric| metric.interval);
            found.map_or([0.0; 2], |interval| [interval.low, interval.high])
        };
        let name = if design == "interleaved" { "Interleaved" } else { "One after the other" };
        BarSeries {
            name: name.into(),
            values: ids.iter().map(|id| study.value(id)).collect(),
            intervals: ids.iter().map(interval).collect(),
        }
    };
    let body = ChartBody::Bar {
        categories: ["No disturbance", "Drift of 10 %", "Stalls"].map(str::to_owned).to_vec(),
        series: DESIGN_WORDS.map(bars).to_vec(),
    };
    study.report.charts.push(Chart {
        id: "alarms".into(),
        title: "How often does FP32 differ from itself?".into(),
        caption: format!("Share of {EXPERIMENTS} experiments whose 95 % interval misses 1, medians of 11 samples of each. A sound method is at 5 %."),
        x: Axis::linear("Disturbance"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("False alarms (%)") },
        body,
    });
}

async fn table(study: &mut Study<'_>, machine: &Machine, service: &[Vec<f64>]) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for (variant, word) in ["fp32", "int8", "int4"].into_iter().enumerate() {
        let quality = machine.quality(variant, study.cx).await?;
        let (one, capacity) = (&machine.variants[variant], 1e3 / median(&service[variant]));
        let kind = (Family::Quality, Better::Lower);
        study.tell(
            kind,
            &format!("bits_{word}"),
            &format!("Bits per character, {}", one.name),
            "bits",
            vec![quality.value],
        );
        let best = BATCHES.map(|batch| study.value(&format!("offline_{word}_{batch}"))).into_iter().fold(0.0, f64::max);
        let joules = EnergyAssumptions::FP32_DRAM.energy(machine.work(variant)).joules();
        let within = study.value(&format!("peak_{word}_5")) / 100.0 * capacity;
        study.tell(
            MANY,
            &format!("best_{word}"),
            &format!("Batch job, {}: samples a second", one.name),
            "samples/s",
            vec![best],
        );
        study.tell(
            MANY,
            &format!("within_{word}"),
            &format!("Crowd, {}: samples a second within 5 ×", one.name),
            "samples/s",
            vec![within],
        );
        let bytes = (Family::Memory, Better::Lower);
        study.tell(
            bytes,
            &format!("bytes_{word}"),
            &format!("Weights, {}", one.name),
            "bytes",
            vec![one.stored_bytes as f64],
        );
        study.tell(
            bytes,
            &format!("energy_{word}"),
            &format!("Energy of 16 tokens, {}, by counting", one.name),
            "mJ",
            vec![1e3 * joules],
        );
        let numbers = [
            quality.value,
            study.value(&format!("p50_{word}")),
            study.value(&format!("p90_{word}")),
            study.value(&format!("p99_{word}")),
            study.value(&format!("rig_p99_{word}")),
            within,
            best,
            one.stored_bytes as f64,
            1e3 * joules,
        ];
        rows.push(std::iter::once(Cell::from(one.name)).chain(numbers.map(Cell::from)).collect());
    }
    let columns = [
        "Variant",
        "Bits per character",
        "One user, middle (ms)",
        "One user, p90 (ms)",
        "One user, p99 (ms)",
        "Rig, p99 (ms)",
        "Crowd within 5 × (samples/s)",
        "Batch job (samples/s)",
        "Weights (bytes)",
        "Energy of 16 tokens, by counting (mJ)",
    ];
    study.report.tables.push(Table {
        id: "all".into(),
        title: "Three variants in one table".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context};

    use super::*;

    #[test]
    fn ten_looks_find_more_than_one() {
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let mut rng = cx.rng("noise");
        let all: Vec<Vec<f64>> = (0..60).map(|_| (0..82).map(|_| 1.0 + 0.1 * rng.random::<f64>()).collect()).collect();
        let mut study = Study { cx: &cx, report: Report::default() };
        peek(&mut study, &all);
        let (once, ever) = (study.value("looks_1"), study.value("looks_10"));
        assert!(once < 15.0 && ever > once + 5.0, "{once} {ever}");
    }
}
