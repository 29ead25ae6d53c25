//! The numbers, and what this very run calls for saying.

use lab_api::{Family, Interval, Metric};
use lab_kit::{
    Context,
    measure::Pair,
    profile::{Part, activation_bytes, bound, mean_interval, quadratic},
    report::{MetricExt, metric},
    rng,
    stats::{median, median_interval, ratio_interval},
    weights::Precision,
};

use super::{
    experiment::{Memory, Watched, at},
    figures::kinds,
    settings::{Change, Counting, Params, Phase},
    subject::{Plan, is_product},
};

/// The middle of samples with its interval, times `scale`.
fn measured(family: Family, id: &str, label: &str, samples: &[f64], (scale, unit): (f64, &str)) -> Metric {
    let samples: Vec<f64> = samples.iter().map(|x| scale * x).collect();
    let interval = median_interval(&samples, 0.95, &mut rng(0, id));
    metric(family, id, label, median(&samples), unit).interval(interval).measured(samples)
}

/// What paper knows.
pub(super) fn counts(plan: &Plan, params: &Params) -> Vec<Metric> {
    let (all, products) = (plan.work(Part::Pass), plan.products());
    let (value, label) = match params.counting {
        Counting::Flops => (all.flops as f64, "Operations of a pass"),
        Counting::Macs => (products as f64 / 2.0, "Multiply-adds of a pass"),
        Counting::ProductsOnly => (products as f64, "Operations of its products"),
    };
    let tokens = plan.sizes[1];
    vec![
        metric(Family::Utilization, "pass_work", label, value * 1e-6, "M")
            .exact(0.0, "counted from the sizes of the model")
            .help("In millions. Counters disagree about what counts: try the others under Count."),
        metric(
            Family::Utilization,
            "products_flops",
            "Matrix products: share of all operations",
            100.0 * products as f64 / all.flops as f64,
            "%",
        )
        .detail()
        .exact(1e-9, "counted from the sizes of the model")
        .help("Products with weights and those of attention."),
        metric(Family::Utilization, "intensity", "Operations per byte", all.intensity(), "FLOP/byte")
            .detail()
            .exact(1e-9, "operations and bytes are counted")
            .help("If every operand were read and every result written once by each operation."),
        metric(Family::Memory, "weight_bytes", "Weights", plan.config.weight_bytes(Precision::Fp32) as f64, "bytes")
            .detail()
            .exact(0.0, "counted from the sizes of the model")
            .help(&format!("{} parameters of 4 bytes.", lab_kit::report::thousands(plan.config.parameters()))),
        metric(
            Family::Memory,
            "activation_bytes",
            "Results of all operations, if all were kept",
            activation_bytes(&plan.config, tokens) as f64,
            "bytes",
        )
        .detail()
        .exact(0.0, "counted from the sizes of the model")
        .help(&format!("Of a prompt of {tokens} tokens. A training keeps them; a pass does not.")),
    ]
}

/// Where the time went.
pub(super) fn profile(watched: &Watched, plan: &Plan) -> Vec<Metric> {
    let profile = &watched.profile;
    let all = plan.work(Part::Pass).flops as f64;
    let mut metrics = Vec::new();
    let products = profile.share(&is_product);
    if profile.parts.iter().any(|spent| is_product(spent.part) && spent.part != Part::Head) {
        metrics.push(
            measured(Family::Time, "products_time", "Matrix products: share of the time", &products, (100.0, "%"))
                .baseline(100.0 * plan.products() as f64 / all)
                .help("The baseline is their share of the operations."),
        );
    }
    let start: f64 = mean_interval(&watched.hollow.pass_ms).0;
    let shares: Vec<f64> = profile.pass_ms.iter().map(|ms| start / ms.max(f64::MIN_POSITIVE)).collect();
    metrics.push(
        measured(Family::Time, "start_time", "Starting the operations: share of the time", &shares, (100.0, "%"))
            .lower()
            .help("What a hollow twin takes, with as many operations and next to no numbers in them. It is in no count of operations."),
    );
    let largest = kinds(watched, plan).into_iter().max_by(|a, b| a.ms.total_cmp(&b.ms));
    if let Some(kind) = largest {
        let share = profile.share(&|part| part.kind() == kind.name);
        let hotspot =
            measured(Family::Time, "hotspot", &format!("Hotspot: {}", kind.name.to_lowercase()), &share, (100.0, "%"));
        let value = hotspot.value;
        metrics.push(
            hotspot
                .baseline(100.0 * kind.flops / all)
                .help("Its share of the time; the baseline is its share of the operations."),
        );
        metrics.push(
            metric(
                Family::Time,
                "hotspot_bound",
                "Most that speeding up the hotspot can give",
                bound((value / 100.0).min(0.999)),
                "×",
            )
            .detail()
            .measured(share.iter().map(|share| bound(share.min(0.999))).collect())
            .help("Amdahl's law: 1 / (1 - share)."),
        );
    }
    metrics.push(
        measured(
            Family::Time,
            "closure",
            "Share of the pass that the spans add up to",
            &profile.closure(),
            (100.0, "%"),
        )
        .detail()
        .help("What is missing passes between the spans: in the loop, and in the looking."),
    );
    let waiting = profile.share(&|part| part == Part::Read);
    metrics.push(
        measured(Family::Time, "waiting", "Waiting for the result, after everything was asked for", &waiting, (100.0, "%"))
            .detail()
            .help("Near 0 where operations are done when their call returns; most of the pass where calls only put them into a queue."),
    );
    let unresolved = profile.parts.iter().filter(|spent| !resolved(&spent.ms)).count();
    metrics.push(
        metric(Family::Time, "unresolved", "Operations that the clock does not resolve", unresolved as f64, "")
            .detail()
            .lower()
            .measured(vec![unresolved as f64])
            .help(&format!(
                "Of {}: their mean is uncertain by more than a fifth, after {} passes.",
                profile.parts.len(),
                profile.passes
            )),
    );
    metrics
}

/// Whether a mean is known to a fifth.
pub(super) fn resolved(samples: &[f64]) -> bool {
    let (mean, interval) = mean_interval(samples);
    mean > 0.0 && interval.high - mean <= 0.2 * mean
}

/// The pass without and with somebody who watches.
pub(super) fn cost(pair: &Pair, plan: &Plan, cx: &Context) -> Vec<Metric> {
    let pass = median(&pair.first);
    let (slower, interval) = slower(pair, cx);
    let flops = plan.work(Part::Pass);
    vec![
        metric(Family::Time, "pass_ms", "A pass that nobody watches", pass, "ms")
            .lower()
            .interval(median_interval(&pair.first, 0.95, &mut cx.rng("pass")))
            .measured(pair.first.clone())
            .help("With the reading of one number of its result."),
        metric(Family::Time, "watching", "Slower for being watched", slower, "%")
            .lower()
            .interval(interval)
            .measured(pair.ratios().iter().map(|ratio| 100.0 * (1.0 / ratio - 1.0)).collect())
            .help(
                "The same pass with the clock read at both ends of every span, in turn with one that nobody watches.",
            ),
        metric(Family::Utilization, "rate", "Rate of a pass", flops.gflops(1e-3 * pass), "GFLOP/s")
            .detail()
            .higher()
            .measured(pair.first.iter().map(|ms| flops.gflops(1e-3 * ms)).collect())
            .help("All operations that are counted, over the time of a pass."),
    ]
}

/// By how many percent the second is slower.
pub(super) fn slower(pair: &Pair, cx: &Context) -> (f64, Interval) {
    let interval = ratio_interval(&pair.second, &pair.first, 0.95, &mut cx.rng("pair"));
    let percent = |ratio: f64| 100.0 * (ratio - 1.0);
    let ratio = median(&pair.second) / median(&pair.first).max(f64::MIN_POSITIVE);
    (percent(ratio), Interval { low: percent(interval.low), high: percent(interval.high), level: 0.95 })
}

/// How much of the roof that is.
pub(super) fn roof(peak: f64, pair: &Pair, plan: &Plan) -> Metric {
    let share = 100.0 * plan.work(Part::Pass).gflops(1e-3 * median(&pair.first)) / peak.max(f64::MIN_POSITIVE);
    metric(Family::Utilization, "roof_share", "Share of the arithmetic roof", share, "%")
        .detail()
        .higher()
        .measured(vec![share])
        .help("The rate of a pass over that of large square products, on one core.")
}

/// What the profile promises of a change, as a share of the pass; `None` where no span shows the part.
pub(super) fn promise(watched: &Watched, params: &Params) -> Option<Vec<f64>> {
    let shares = match params.change {
        Change::None => return None,
        // Of n rows one stays.
        Change::LastLogits => {
            let rows = if params.phase == Phase::Prefill { f64::from(params.tokens) } else { 1.0 };
            let of = |share: f64| share * (1.0 - 1.0 / rows);
            watched.profile.share(&|part| part == Part::Head).into_iter().map(of).collect()
        }
        change => watched.profile.share(&change.parts()),
    };
    shares.iter().any(|share| *share > 0.0 || params.change == Change::LastLogits).then_some(shares)
}

/// Promise and saving.
pub(super) fn change(pair: &Pair, watched: &Watched, params: &Params, cx: &Context) -> Vec<Metric> {
    let what = params.change.name();
    let mut metrics = Vec::new();
    let promise = promise(watched, params);
    if let Some(promise) = &promise {
        metrics.push(
            measured(
                Family::Time,
                "promised",
                &format!("Promised by the profile: without {what}"),
                promise,
                (100.0, "%"),
            )
            .detail()
            .help("The share of the time that would go, if the part went and nothing else changed."),
        );
    }
    let (slower, interval) = slower(pair, cx);
    let saved = metric(Family::Time, "saved", &format!("Saved in truth: without {what}"), -slower, "%")
        .higher()
        .interval(Interval { low: -interval.high, high: -interval.low, level: 0.95 })
        .measured(pair.ratios().iter().map(|ratio| 100.0 * (1.0 - 1.0 / ratio)).collect())
        .help("Both passes in turn, nobody watching. The baseline is the promise.");
    metrics.push(match promise {
        Some(promise) => saved.baseline(100.0 * median(&promise)),
        None => saved,
    });
    metrics
}

/// Alone and where they stand.
pub(super) fn alone(alone: &[(Part, Vec<f64>)], watched: &Watched) -> Option<Metric> {
    let done = |part: Part| alone.iter().any(|(found, _)| *found == part);
    let there = mean_interval(&watched.profile.ms(&done)).0;
    let sums: Vec<f64> = (0..alone.first()?.1.len())
        .map(|round| alone.iter().map(|(_, ms)| ms[round]).sum::<f64>() / there.max(f64::MIN_POSITIVE))
        .collect();
    Some(
        measured(Family::Time, "alone", "All operations alone, over where they stand", &sums, (1.0, "×"))
            .help("Below 1, an operation is faster when nothing else touches caches and allocator between its calls."),
    )
}

/// What lives at once.
pub(super) fn memory(memory: Option<&Memory>) -> Option<Metric> {
    let memory = memory?;
    Some(
        metric(
            Family::Memory,
            "peak_bytes",
            "Most that lives at once beside the weights",
            memory.peak_bytes as f64,
            "bytes",
        )
        .lower()
        .measured(vec![memory.peak_bytes as f64])
        .help("Read from the engine's allocator, between the spans too."),
    )
}

/// Waiting after every block, and only at the end.
pub(super) fn blocks(ms: &[f64], pair: &Pair) -> Metric {
    let pass = median(&pair.first).max(f64::MIN_POSITIVE);
    measured(
        Family::Time,
        "synchronized",
        "Waiting after every block, over waiting once",
        &ms.iter().map(|ms| ms / pass).collect::<Vec<_>>(),
        (1.0, "×"),
    )
    .help("What it costs to give each block the time that is its own.")
}

/// How the time grows.
pub(super) fn scale(sweep: &[(usize, Vec<f64>)], params: &Params) -> Vec<Metric> {
    let n = params.tokens as usize;
    let mut metrics = Vec::new();
    if let (Some(whole), Some(half)) = (at(sweep, n), at(sweep, n / 2)) {
        let value = whole / half.max(f64::MIN_POSITIVE);
        metrics.push(
            metric(Family::Scale, "doubling", &format!("Time at {n} tokens over that at {}", n / 2), value, "×")
                .lower()
                .measured(vec![value])
                .help("2 where all grows with the tokens, 1 where nothing does."),
        );
    }
    if let Some([a, b, c]) = fitted(sweep) {
        for (id, label, value, unit) in [
            ("per_pass_us", "Fit: a pass without tokens", 1e3 * a, "µs"),
            ("per_token_us", "Fit: each token", 1e3 * b, "µs"),
            ("per_pair_ns", "Fit: each pair of tokens", 1e6 * c, "ns"),
        ] {
            metrics.push(
                metric(Family::Scale, id, label, value, unit)
                    .detail()
                    .measured(vec![value])
                    .help("a + b n + c n² through the times of all lengths."),
            );
        }
    }
    metrics
}

/// The fit through the middles of all lengths.
pub(super) fn fitted(sweep: &[(usize, Vec<f64>)]) -> Option<[f64; 3]> {
    let points: Vec<[f64; 2]> =
        sweep.iter().map(|(n, ms)| [*n as f64, median(ms)]).filter(|[_, ms]| *ms > 0.0).collect();
    quadratic(&points)
}

/// What this run calls for.
pub(super) fn notes(watched: &Watched, params: &Params, cpu: bool, memory: bool) -> Vec<String> {
    let profile = &watched.profile;
    let mut notes = vec![format!(
        "{} passes were watched with a clock of {:.2} µs steps; {} more were interrupted and left out.",
        profile.passes,
        1e3 * watched.step_ms,
        profile.interrupted
    )];
    if params.change != Change::None && promise(watched, params).is_none() {
        notes.push("At this depth no span shows the part that is taken away, so the profile promises nothing: look more closely.".into());
    }
    if params.change == Change::LastLogits && params.phase == Phase::Decode {
        notes.push("In decode there is one row of logits, so that taking all but the last away takes nothing.".into());
    }
    if !cpu {
        notes.push("On a GPU the spans show how long it takes to put operations into a queue, not to do them: “Reading the result” waits for all. Bytes that live on the device are not seen by the engine's allocator and are left out.".into());
    } else if !memory {
        notes.push("Bytes are not counted here.".into());
    }
    notes
}
