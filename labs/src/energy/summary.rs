//! The numbers, each with what it rests on, and what this run calls for saying.

use lab_api::{Family, Interval, Metric};
use lab_kit::{
    Context,
    measure::{
        EnergyAssumptions, Work as Count,
        footprint::{break_even_uses, footprint, idle_watts_that_pay},
    },
    report::{MetricExt, metric},
    stats::{median, ratio_interval},
};

use super::{
    Params, Work,
    estimate::{Band, REPLY},
    subject::{Batch, Run},
};

const LEVEL: f64 = 0.95;
/// Tokens that the language model was trained on, once each.
const TRAINED_TOKENS: f64 = 3.8e6;
/// What is said of every joule that comes from a clock.
const ASSUMED: &str = "Measured time times the watts that you entered.";

/// Joules of a token by the clock, FP32 and packed.
pub(super) fn clock(run: &Run, params: &Params) -> [f64; 2] {
    let ms = [median(&run.pair.first), median(&run.pair.second)];
    [0, 1].map(|i| 1e-3 * ms[i] * params.watts()[i])
}

/// Joules of a token by counting, FP32 and packed.
pub(super) fn count(run: &Run, assumed: &EnergyAssumptions) -> [f64; 2] {
    run.counts.map(|work: Count| assumed.energy(work).joules() / run.tokens as f64)
}

fn change([before, after]: [f64; 2]) -> f64 {
    100.0 * (after / before.max(f64::MIN_POSITIVE) - 1.0)
}

/// Joules by three methods.
pub(super) fn energy(run: &Run, params: &Params, cx: &Context) -> Vec<Metric> {
    let [plain, packed] = clock(run, params);
    let by_dram = count(run, &EnergyAssumptions::FP32_DRAM);
    let by_cache = count(run, &EnergyAssumptions::FP32_CACHE);
    let joules = |ms: &f64| 1e-3 * ms * params.watts()[1] * 1e3;
    let watts = params.watts()[1] / params.watts()[0];
    let ratio = ratio_interval(&run.pair.second, &run.pair.first, LEVEL, &mut cx.rng("ratio"));
    let percent = |ratio: f64| 100.0 * (ratio * watts - 1.0);
    let turns = run.pair.ratios().iter().map(|ratio| percent(1.0 / ratio)).collect();
    let same =
        if watts == 1.0 { " The same watts are assumed for both, so that this is the change of time." } else { "" };
    let mut metrics = vec![
        metric(Family::Time, "token_ms", "Time of a token", median(&run.pair.second), "ms")
            .detail()
            .lower()
            .baseline(median(&run.pair.first))
            .measured(run.pair.second.clone())
            .help("Packed; the baseline is FP32. The only thing here that was measured."),
        metric(Family::Time, "clock_mj", "Energy of a token, by the clock", 1e3 * packed, "mJ")
            .lower()
            .baseline(1e3 * plain)
            .measured(run.pair.second.iter().map(joules).collect())
            .help(ASSUMED),
        metric(Family::Memory, "count_mj", "Energy of a token, by counting", 1e3 * by_dram[1], "mJ")
            .lower()
            .baseline(1e3 * by_dram[0])
            .exact(1e-9, "operations and bytes are counted")
            .help(EnergyAssumptions::FP32_DRAM.source),
        metric(Family::Memory, "count_cache_mj", "The same, all bytes from a small cache", 1e3 * by_cache[1], "mJ")
            .detail()
            .lower()
            .baseline(1e3 * by_cache[0])
            .exact(1e-9, "operations and bytes are counted")
            .help(EnergyAssumptions::FP32_CACHE.source),
        metric(Family::Time, "clock_change", "Packing changes energy, by the clock", percent(median(&run.pair.second) / median(&run.pair.first)), "%")
            .lower()
            .interval(Interval { low: percent(ratio.low), high: percent(ratio.high), level: LEVEL })
            .measured(turns)
            .help(&format!("{ASSUMED}{same}")),
        metric(Family::Memory, "count_change", "Packing changes energy, by counting", change(by_dram), "%")
            .lower()
            .exact(1e-6, "operations and bytes are counted")
            .help("Operations stay, bytes shrink; what unpacking takes is not counted."),
        metric(Family::Utilization, "explained", "Share of the clock's joules that counting explains", 100.0 * by_dram[0] / plain.max(f64::MIN_POSITIVE), "%")
            .measured(vec![100.0 * by_dram[0] / plain.max(f64::MIN_POSITIVE)])
            .help("FP32, all bytes from DRAM, the dearest case. The rest feeds clocks, instructions, leakage, and whatever waits."),
    ];
    if let Some([plain, packed]) = run.counted {
        metrics.push(
            metric(Family::Utilization, "counter_mj", "Energy of a token, by the machine's counter", 1e3 * packed, "mJ")
                .lower()
                .baseline(1e3 * plain)
                .measured(vec![1e3 * packed])
                .help("RAPL: the package or the platform as the machine itself counts it, everything that ran at the time included."),
        );
    }
    metrics
}

/// What requests that come together share.
pub(super) fn batches(batches: &[Batch], params: &Params) -> Vec<Metric> {
    let (Some(one), Some(many)) = (batches.first(), batches.last()) else { return Vec::new() };
    let joules = |batch: &Batch| batch.ms_per_token[0] * params.watts()[0];
    vec![
        metric(
            Family::Scale,
            "batch_mj",
            &format!("Energy of a token, {} requests at once", many.requests),
            joules(many),
            "mJ",
        )
        .lower()
        .baseline(joules(one))
        .measured(vec![joules(many)])
        .help("Decode in FP32 by the clock; the baseline is one request alone. The same watts are assumed for both."),
    ]
}

/// When has inference cost as much as training?
pub(super) fn amortized(run: &Run, training: &[f64], params: &Params) -> Vec<Metric> {
    let trained = median(training) * params.watts()[0];
    let [generated, _] = clock(run, params).map(|joules| 1e3 * joules);
    let all_wh = trained * 1e-3 * TRAINED_TOKENS / 3600.0;
    let tokens = break_even_uses(trained * TRAINED_TOKENS, generated, 0.0).unwrap_or(0.0);
    vec![
        metric(Family::Time, "training_mj", "Energy of training on a token", trained, "mJ")
            .detail()
            .measured(training.iter().map(|ms| ms * params.watts()[0]).collect())
            .help("Forward, backward and the update of 128 tokens at once, by the clock."),
        metric(Family::Time, "training_wh", "Energy of the whole training", all_wh, "Wh")
            .detail()
            .measured(vec![all_wh])
            .help("3.8 million tokens, each once, on this device."),
        metric(
            Family::Time,
            "days",
            "Days until inference has cost as much as training",
            tokens / (REPLY * f64::from(params.replies_a_day)),
            "days",
        )
        .measured(vec![tokens / (REPLY * f64::from(params.replies_a_day))])
        .help("Replies of 256 tokens, as many a day as you entered. The ratio does not depend on the watts."),
    ]
}

/// Grams, and how far they may be off.
pub(super) fn carbon(run: &Run, band: &Band, params: &Params) -> Vec<Metric> {
    let seconds = 1e-3 * median(&run.pair.second) * REPLY;
    let [_, joules] = clock(run, params).map(|joules| joules * REPLY);
    let whole = footprint(joules, seconds, &params.site(), &params.made());
    let [low, _, high] = band.percentiles;
    let pays = idle_watts_that_pay(params.device_watts, 2.0, 1.5);
    vec![
        metric(Family::Time, "reply_mg", "Carbon of a reply of 256 tokens", 1e3 * whole.grams(), "mg")
            .lower()
            .interval(Interval { low: 1e3 * low, high: 1e3 * high, level: 0.9 })
            .measured(vec![1e3 * whole.grams()])
            .help("Electricity and a share of making the device. The interval is what 10,000 draws of all inputs give, each within its plausible range."),
        metric(Family::Time, "operational_mg", "Of that, electricity", 1e3 * whole.operational_grams, "mg")
            .lower()
            .measured(vec![1e3 * whole.operational_grams])
            .help("Joules by the clock, times overhead, times the grid."),
        metric(Family::Time, "reply_wh", "Energy of a reply", whole.kwh * 1e3, "Wh")
            .detail()
            .lower()
            .measured(vec![whole.kwh * 1e3])
            .help("At the plug."),
        metric(Family::Utilization, "race_watts", "Idle watts below which racing pays", pays, "W")
            .detail()
            .exact(1e-9, "a division")
            .help("For work that can be done twice as fast at 1.5 times the watts: finishing early saves energy only where idling takes less than this."),
    ]
}

/// What this run calls for.
pub(super) fn notes(run: &Run, band: &Band, params: &Params) -> Vec<String> {
    let mut notes = Vec::new();
    let (clock, count) = (change(clock(run, params)), change(count(run, &EnergyAssumptions::FP32_DRAM)));
    let verb = |percent: f64| if percent < 0.0 { "saves" } else { "costs" };
    if (clock < 0.0) == (count < 0.0) {
        notes.push(format!(
            "Clock and count agree on the sign: packing {} energy, {:.0} % by the clock and {:.0} % by counting.",
            verb(clock),
            clock.abs(),
            count.abs()
        ));
    } else {
        notes.push(format!(
            "Clock and count disagree on the sign: packing {} {:.0} % by the clock and {} {:.0} % by counting. Only a counter or a meter can tell which is right here.",
            verb(clock),
            clock.abs(),
            verb(count),
            count.abs()
        ));
    }
    notes.push(match run.counted {
        Some(_) => "This machine has counters of its own (RAPL), and their joules stand beside the others.".into(),
        None => "This host has no energy counter that can be read: all joules are estimates.".into(),
    });
    if let Some((name, low, high)) = band.bars.first() {
        notes.push(format!("Of all inputs “{name}” moves the carbon most: {:.1}-fold over its range. The measured time moves it by {:.2}.", high / low.max(f64::MIN_POSITIVE), time_reach(band)));
    }
    if params.work == Work::Prefill {
        notes.push("Time and energy of a token are those of reading it; a reply is counted as if it were read.".into());
    }
    notes
}

fn time_reach(band: &Band) -> f64 {
    band.bars.iter().find(|bar| bar.0.starts_with("Time")).map_or(1.0, |bar| bar.2 / bar.1.max(f64::MIN_POSITIVE))
}
