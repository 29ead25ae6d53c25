//! The numbers of a run, and what this run calls for saying.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    bench::{Served, coefficient_of_variation, effective_samples, min_queries, ratio_interval, runs_needed},
    measure::{EnergyAssumptions, Pair, peak_bytes, peak_gflops},
    report::{MetricExt, metric},
    serving::quantile,
    stats::{median, median_interval, proportion},
};

use super::{
    Design, Params, Since,
    compare::{Alarms, percent},
    machine::{Machine, Quality},
    scenarios::{IN_TIME, STREAMS, Scenarios, told},
};

/// A smallest difference that somebody might care about.
const SOUGHT: f64 = 0.01;
/// A quality floor as in MLPerf: 99 % of the reference.
const FLOOR: f64 = 0.99;
const LEVEL: f64 = 0.95;
const COUNTED: &str = "counted, not measured";

/// What is known before anything is timed.
pub(super) fn counted(machine: &Machine) -> Vec<Metric> {
    let (fp32, candidate) = (&machine.variants[0], &machine.variants[machine.candidate()]);
    let joules = |variant: usize| 1e3 * EnergyAssumptions::FP32_DRAM.energy(machine.work(variant)).joules();
    vec![
        metric(Family::Memory, "stored_bytes", "Weights of the candidate", candidate.stored_bytes as f64, "bytes")
            .lower()
            .baseline(fp32.stored_bytes as f64)
            .exact(0.0, COUNTED)
            .help("The baseline is FP32."),
        metric(Family::Scale, "flops", "Operations of a sample of 16", machine.flops(16) as f64, "FLOP")
            .detail()
            .exact(0.0, COUNTED)
            .help("16 tokens or 16 glyphs. Your device takes as many of them as its clock can see: the notes say how many."),
        metric(Family::Memory, "energy", "Energy of a sample of 16, by counting", joules(machine.candidate()), "mJ")
            .detail()
            .lower()
            .baseline(joules(0))
            .exact(1e-9, COUNTED)
            .help(EnergyAssumptions::FP32_DRAM.source),
        metric(Family::Quality, "fewest_p99", "Queries that a 99th percentile needs", min_queries(1, IN_TIME, 0.99) as f64, "queries")
            .detail()
            .exact(0.0, "a sum of the binomial")
            .help("With a confidence of 99 %, one of them being late. The rule of MLPerf Inference."),
    ]
}

/// When the first calls become as fast as the later ones.
pub(super) fn warm_up(first: &[f64]) -> Metric {
    let steady = median(&first[first.len() / 2..]);
    let slow = first.iter().position(|ms| *ms <= 1.1 * steady).unwrap_or(first.len());
    metric(Family::Time, "first_call", "The very first call", first[0], "ms")
        .detail()
        .lower()
        .baseline(steady)
        .measured(vec![first[0]])
        .help(&format!("The baseline is the middle of calls 26 to 50. Before a call first came within 10 % of it, {slow} were slower."))
}

/// How often FP32 is said to differ from itself.
pub(super) fn alarms(alarms: &Alarms, params: &Params) -> Vec<Metric> {
    let chosen = alarms.of(params.design);
    let count = chosen.iter().filter(|verdict| verdict.false_alarm()).count();
    let share = proportion(count, chosen.len(), LEVEL);
    let each = chosen.iter().map(|verdict| if verdict.false_alarm() { 100.0 } else { 0.0 }).collect();
    let widths: Vec<f64> = chosen.iter().map(|v| 100.0 * (v.interval.high - v.interval.low)).collect();
    vec![
        metric(Family::Quality, "false_alarms", "False alarms: FP32 “differs” from FP32", percent(chosen), "%")
            .lower()
            .baseline(percent(alarms.of(Design::Sequential)))
            .interval(lab_api::Interval { low: 100.0 * share.low, high: 100.0 * share.high, level: LEVEL })
            .measured(each)
            .help("Share of the experiments whose interval misses 1. The baseline is the same samples, said to have been taken one variant after the other."),
        metric(Family::Quality, "width", "Width of an interval", median(&widths), "%")
            .detail()
            .lower()
            .measured(widths)
            .help("The middle one, from its lower to its upper end. A difference that is smaller than half of it will not be seen."),
    ]
}

/// FP32 against the candidate.
pub(super) fn comparison(pair: &Pair, params: &Params, cx: &Context) -> Vec<Metric> {
    let statistic = params.statistic.of_kit();
    let of = |samples: &[f64]| statistic.of(&mut samples.to_vec());
    let paired = params.design == Design::Interleaved;
    let (level, mut rng) = (params.level.share(), cx.rng("comparison"));
    let interval = ratio_interval(&pair.first, &pair.second, statistic, paired, level, &mut rng);
    let needed = runs_needed(coefficient_of_variation(&pair.first), SOUGHT);
    vec![
        metric(Family::Time, "speedup", "FP32 over the candidate", of(&pair.first) / of(&pair.second).max(1e-9), "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(pair.ratios())
            .help("Above 1 the candidate is faster, if the interval does not hold 1 and the method passed on FP32 against itself."),
        metric(Family::Quality, "runs_needed", "Samples to see a difference of 1 %", needed, "samples")
            .lower()
            .measured(vec![needed])
            .help("Of each variant, in 80 of 100 experiments, if samples were independent and scattered as here. Means; confidence of 95 %."),
    ]
}

/// Latency, load, throughput, quality.
pub(super) async fn scenarios(
    machine: &Machine,
    all: &[Scenarios],
    qualities: &[Quality],
    params: &Params,
    cx: &Context,
) -> Result<Vec<Metric>, LabError> {
    let (fp32, chosen) = (&all[0], &all[all.len() - 1]);
    let from = |which: Since| -> Vec<f64> {
        chosen.live.iter().map(if which == Since::Sent { Served::from_sent_ms } else { Served::latency_ms }).collect()
    };
    let (seen, sent) = (from(params.latency_from), from(Since::Sent));
    let language = machine.unit() == "tokens";
    let [batch, rate] = chosen.best_offline();
    let peak = peak_gflops(cx, 60.0).await?;
    let share = |rate: f64| 1e-7 * rate * machine.flops(machine.items) as f64 / peak.max(f64::MIN_POSITIVE);
    let (_, held) = peak_bytes(cx, async || machine.query(machine.candidate(), 1, cx).await).await?;
    let (value, before) = (qualities[qualities.len() - 1], qualities[0]);
    let quality = if language {
        metric(Family::Quality, "quality", "Bits per character of the candidate", value.value, "bits")
            .lower()
            .exact(0.02, "sums of floats differ in their last bits between devices")
    } else {
        metric(Family::Quality, "quality", "Glyphs that the candidate names", value.value, "%")
            .higher()
            .exact(0.3, "the larger of two nearly equal logits may be another on another device")
    };
    let mut metrics = vec![
        metric(Family::Time, "single_ms", "One user: middle latency", median(&chosen.single), "ms")
            .lower()
            .baseline(median(&fp32.single))
            .interval(median_interval(&chosen.single, LEVEL, &mut cx.rng("single")))
            .measured(chosen.single.iter().copied().take(200).collect())
            .help("The next query when the last is done. The baseline is FP32."),
        metric(Family::Time, "live_p90", "A crowd: 90 of 100 answers within", quantile(&seen, 0.9), "ms")
            .lower()
            .baseline(quantile(&chosen.single, 0.9))
            .measured(vec![quantile(&seen, 0.9)])
            .help("Really served at your load, queries coming at random. The baseline is the same of one user."),
        metric(Family::Time, "sent_p90", "The same, counted from the sending", quantile(&sent, 0.9), "ms")
            .detail()
            .lower()
            .measured(vec![quantile(&sent, 0.9)])
            .help("What a client sees that waits for each answer before it sends: the queue is not in it."),
        metric(Family::Quality, "foretold_p90", "The same, foretold by the recursion", chosen.foretold_p90, "ms")
            .detail()
            .measured(vec![chosen.foretold_p90])
            .help("From the times of one user and 20,000 arrivals. Loads from 98 % on are foretold as 98 %."),
        metric(Family::Scale, "peak_load", "A crowd: load that keeps the bound", 100.0 * chosen.peak, "%")
            .higher()
            .baseline(100.0)
            .measured(vec![100.0 * chosen.peak])
            .help("Of what your device answers one after the other: the highest Poisson load at which 99 of 100 answers come within your bound, by the recursion."),
        metric(Family::Time, "rig_ms", "A rig of eight cameras: middle latency", median(&chosen.rig), "ms")
            .detail()
            .lower()
            .baseline(STREAMS as f64 * median(&chosen.single))
            .measured(chosen.rig.clone())
            .help("Eight samples in each query. The baseline is eight times one sample."),
        metric(Family::Scale, "offline", "A batch job: samples a second", rate, "samples/s")
            .higher()
            .baseline(chosen.capacity())
            .measured(chosen.offline.iter().map(|point| point[1]).collect())
            .help(&format!("With {batch} samples at once, the best that was tried. The baseline is one at a time.")),
        metric(Family::Utilization, "offline_share", "A batch job: share of the best rate", share(rate), "%")
            .higher()
            .baseline(share(chosen.capacity()))
            .measured(chosen.offline.iter().map(|point| share(point[1])).collect())
            .help("Operations a second over those of FP32 products of 256 by 256 on this device. The baseline is one sample at a time."),
        metric(Family::Quality, "worth", "What one user's samples are worth", effective_samples(&chosen.single), "samples")
            .detail()
            .higher()
            .baseline(chosen.single.len() as f64)
            .measured(vec![effective_samples(&chosen.single)])
            .help("As many independent samples would tell the mean as well. The baseline is how many there are."),
        quality.baseline(before.value).interval(value.interval).help("The baseline is FP32."),
    ];
    if let Some(bytes) = held {
        metrics.push(
            metric(Family::Memory, "held_bytes", "Held during a query", bytes as f64, "bytes")
                .detail()
                .lower()
                .measured(vec![bytes as f64])
                .help("The most engine memory that a query of one sample holds beyond the weights. Tensors on a GPU are not in it."),
        );
    }
    Ok(metrics)
}

/// What this run calls for.
pub(super) fn notes(
    machine: &Machine,
    alarms: &Alarms,
    all: &[Scenarios],
    qualities: &[Quality],
    params: &Params,
    cx: &Context,
) -> Vec<String> {
    let chosen = &all[all.len() - 1];
    let steps = median(&chosen.single) / cx.clock_step_ms().max(f64::MIN_POSITIVE);
    let seen = if steps < 1000.0 {
        format!("{} steps of its clock", steps.round())
    } else {
        "thousands of steps of its clock".into()
    };
    let mut notes =
        vec![format!("A sample was {} {} on this device; a query of one lasts {seen}.", machine.items, machine.unit())];
    let chosen_alarms = alarms.of(params.design);
    let count = chosen_alarms.iter().filter(|verdict| verdict.false_alarm()).count();
    let tail = 1.0 - params.level.share();
    if proportion(count, chosen_alarms.len(), LEVEL).low > tail {
        notes.push(format!(
            "The method did not pass: {count} of {} comparisons of FP32 with itself found a difference. Do not trust its verdict on the candidate.",
            chosen_alarms.len()
        ));
    }
    if let Err(lacking) = told(&chosen.single, IN_TIME) {
        notes.push(format!("A 99th percentile of one user cannot be claimed: it {lacking}."));
    }
    if params.load >= 100 {
        notes.push("At this load queries come faster than they are answered, or as fast: the queue grows for as long as they come, and a percentile says how long you measured.".into());
    }
    let (before, after) = (qualities[0].value, qualities[qualities.len() - 1].value);
    let kept = if machine.unit() == "tokens" { before / after } else { after / before };
    if kept < FLOOR {
        notes.push("The candidate keeps less than 99 % of the quality: under such a floor its times would not be compared at all.".into());
    }
    if steps < 20.0 {
        notes.push("The clock of this device is coarse: percentiles come out in whole steps.".into());
    }
    notes
}
