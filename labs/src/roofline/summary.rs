//! The numbers, and what this very run calls for saying.

use lab_api::{Family, Metric};
use lab_kit::{
    Context,
    measure::limits::Limit,
    report::{MetricExt, metric},
    stats::{median, median_interval, ratio_interval},
};

use super::{matrix::Matrix, model::Phases, point::Point, roofs::Roofs};

const LEVEL: f64 = 0.95;

/// The arithmetic roof, which is known long before the others.
pub(super) fn peak(roofs: &Roofs) -> Metric {
    let (kernel, rates) = roofs.arithmetic();
    let peak = metric(Family::Utilization, "peak_gflops", "Arithmetic roof", roofs.peak_gflops(), "GFLOP/s")
        .higher()
        .measured(rates.to_vec())
        .help(&format!(
            "The best rate seen on one core, by {kernel}. The baseline is the same product in three plain loops."
        ));
    Metric { baseline: roofs.naive_gflops, ..peak }
}

/// The roofs of this device.
pub(super) fn roofs(roofs: &Roofs, cx: &Context) -> Vec<Metric> {
    let mut metrics = vec![peak(roofs)];
    if let Some(memory) = roofs.memory() {
        metrics.push(
            metric(Family::Memory, "memory_gb_per_s", "Memory roof", roofs.memory_gb_per_s(), "GB/s")
                .higher()
                .measured(memory.gb_per_s.clone())
                .help(&format!("The best of three passes over the largest buffers: {}.", memory.pass)),
        );
    }
    let cache = metric(Family::Memory, "cache_gb_per_s", "Nearest cache", roofs.cache_gb_per_s(), "GB/s");
    metrics.push(
        cache
            .detail()
            .higher()
            .measured(vec![roofs.cache_gb_per_s()])
            .help("The fastest pass over buffers of any size."),
    );
    metrics.push(
        metric(Family::Utilization, "ridge", "Ridge", roofs.ridge(), "FLOP/byte")
            .measured(vec![roofs.ridge()])
            .help("Arithmetic roof over memory roof. Work with fewer operations per byte is limited by memory, if its bytes come from there."),
    );
    if let Some(own) = roofs.own_gflops() {
        metrics.push(
            metric(Family::Utilization, "own_gflops", "Roof in vectors of 128 bits", own, "GFLOP/s")
                .detail()
                .higher()
                .measured(roofs.own().map(|(_, rates)| rates.to_vec()).unwrap_or_default())
                .help("Our own kernel, the same program natively and in a browser."),
        );
    }
    let launch: Vec<f64> = roofs.launch_ms.iter().map(|ms| 1e3 * ms).collect();
    metrics.push(
        metric(Family::Time, "launch_us", "Starting an operation", median(&launch), "µs")
            .detail()
            .lower()
            .interval(median_interval(&launch, LEVEL, &mut cx.rng("launch")))
            .measured(launch)
            .help("One multiplication of two numbers through Burn: all overhead."),
    );
    metrics
}

/// The matrix and its columns.
pub(super) fn matrices(plain: &Matrix, packed: &Matrix, roofs: &Roofs, cx: &Context) -> Vec<Metric> {
    let mut metrics = vec![
        metric(Family::Memory, "matrix_bytes", "Bytes of the matrix", packed.bytes as f64, "bytes")
            .lower()
            .baseline(plain.bytes as f64)
            .exact(0.0, "the length of buffers")
            .help("Packed, scales included; the baseline is FP32."),
    ];
    let (Some(one), Some(last)) = (plain.points.first(), plain.points.last()) else { return metrics };
    let count = plain.columns.last().copied().unwrap_or(1);
    let ratio = |above: &Point, below: &Point| {
        let interval = ratio_interval(&above.ms, &below.ms, LEVEL, &mut cx.rng(&above.name));
        (above.time_ms() / below.time_ms().max(f64::MIN_POSITIVE), interval)
    };
    if let Some(four) = plain.at(4) {
        let (value, interval) = ratio(four, one);
        metrics.push(
            metric(Family::Scale, "four_columns", "Time of four columns over that of one", value, "×")
                .lower()
                .interval(interval)
                .measured(vec![value])
                .help("Four times the operations on nearly the same bytes, FP32."),
        );
    }
    let rates = |point: &Point| point.ms.iter().map(|ms| point.work.gflops(1e-3 * ms)).collect::<Vec<f64>>();
    metrics.push(
        metric(Family::Scale, "rate", &format!("Rate at {count} columns"), last.gflops(), "GFLOP/s")
            .higher()
            .baseline(one.gflops())
            .measured(rates(last))
            .help("FP32; the baseline is one column."),
    );
    metrics.push(
        metric(
            Family::Utilization,
            "intensity",
            &format!("Operations per byte at {count} columns"),
            last.work.intensity(),
            "FLOP/byte",
        )
        .detail()
        .baseline(one.work.intensity())
        .exact(1e-9, "operations and bytes are counted")
        .help("Half the columns, as long as they are few beside the width."),
    );
    metrics.push(
        metric(
            Family::Utilization,
            "memory_share",
            "One column: share of the memory roof",
            100.0 * one.share(roofs),
            "%",
        )
        .detail()
        .higher()
        .measured(one.ms.iter().map(|ms| 100.0 * one.share(roofs) * one.time_ms() / ms).collect())
        .help("Bytes of matrix and vectors per second over the best pass over buffers of this size."),
    );
    if let (Some(first), Some(late)) = (packed.points.first(), packed.points.last()) {
        let (value, interval) = ratio(one, first);
        metrics.push(
            metric(Family::Time, "packed_speedup", &format!("One column: speed-up by {}", packed.name), value, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(vec![value])
                .help("FP32 time over packed time. The bytes alone would allow the ratio of the bytes."),
        );
        let (value, interval) = ratio(last, late);
        metrics.push(
            metric(
                Family::Time,
                "packed_speedup_last",
                &format!("{count} columns: speed-up by {}", packed.name),
                value,
                "×",
            )
            .detail()
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(vec![value])
            .help("Where bytes are shared by many columns, fewer of them save little, and unpacking is work added."),
        );
    }
    metrics.push(
        metric(Family::Time, "column_ms", "One column, FP32", one.time_ms(), "ms")
            .detail()
            .lower()
            .interval(median_interval(&one.ms, LEVEL, &mut cx.rng("one column")))
            .measured(one.ms.clone())
            .help("Every weight is read once and used once, as when a model writes one token for one user."),
    );
    metrics
}

/// The language model.
pub(super) fn model(phases: &Phases, roofs: &Roofs, cx: &Context) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for (id, point) in ["decode", "prefill"].into_iter().zip(&phases.points) {
        let verdict = point.verdict(roofs);
        let roof_ms = 1e3 * verdict.seconds[0].max(verdict.seconds[1]);
        let time = metric(
            Family::Time,
            &format!("{id}_ms"),
            &format!("Language model: {}", point.name),
            point.time_ms(),
            "ms",
        )
        .lower()
        .interval(median_interval(&point.ms, LEVEL, &mut cx.rng(id)))
        .measured(point.ms.clone())
        .help("A model of 2.1 million weights; a step attends over 128 tokens.");
        metrics.push(if id == "decode" { time } else { time.detail() });
        metrics.push(
            metric(Family::Time, &format!("{id}_roof_ms"), &format!("What the roofs ask for: {id}"), roof_ms, "ms")
                .detail()
                .measured(vec![roof_ms])
                .help("The longer of arithmetic and bytes, at the bandwidth of the level that holds the weights."),
        );
        let overhead = 100.0 * point.overhead_ms / point.time_ms().max(f64::MIN_POSITIVE);
        let share = metric(Family::Utilization, &format!("{id}_overhead"), &format!("Overhead's share of {id}"), overhead, "%")
            .lower()
            .measured(vec![overhead])
            .help("What a hollow twin takes, with as many operations and next to no numbers in them, over what the model takes.");
        metrics.push(if id == "decode" { share } else { share.detail() });
    }
    metrics
}

/// Do the roofs hold?
pub(super) fn validation<'a>(points: impl Iterator<Item = &'a Point>, roofs: &Roofs) -> Vec<Metric> {
    let shares: Vec<f64> = points.map(|point| point.share(roofs)).collect();
    let above = shares.iter().filter(|share| **share > 1.1).count();
    vec![
        metric(Family::Utilization, "above_roof", "Kernels above their roof", above as f64, "")
            .lower()
            .measured(vec![above as f64])
            .help(&format!("Of {}, those more than a tenth faster than arithmetic, bytes and overhead allow. Above 0 a roof was measured too low: run again on a quiet machine.", shares.len())),
        metric(Family::Utilization, "median_share", "Median share of the bound", 100.0 * median(&shares), "%")
            .detail()
            .higher()
            .measured(shares.iter().map(|share| 100.0 * share).collect())
            .help("The bound over the time that a kernel took, over all of them: a bound is no forecast."),
    ]
}

/// What this run calls for.
pub(super) fn notes(roofs: &Roofs, plain: &Matrix, phases: &Phases, cpu: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let levels = roofs.levels();
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    if cpu && levels.len() > 1 {
        let words: Vec<String> = levels
            .iter()
            .map(|level| format!("{:.0} GB/s up to {} MiB", level.bytes_per_s * 1e-9, mib(level.up_to_bytes)))
            .collect();
        notes.push(format!("The update shows {} levels of memory: {}.", levels.len(), words.join(", ")));
    } else if cpu {
        notes.push("The update shows one level of memory: no step between the sizes that were tried.".into());
    }
    if let Some(decode) = phases.points.first() {
        let verdict = decode.verdict(roofs);
        let ms = verdict.seconds.map(|seconds| 1e3 * seconds);
        notes.push(format!(
            "A step of decode takes {:.2} ms. Arithmetic alone would take {:.3} ms, bytes {:.3} ms, and starting the operations {:.3} ms: {} binds.",
            decode.time_ms(),
            ms[0],
            ms[1],
            ms[3],
            verdict.limit.name()
        ));
    }
    let leaves =
        plain.points.iter().zip(&plain.columns).find(|(point, _)| point.verdict(roofs).limit == Limit::Arithmetic);
    if let Some((_, columns)) = leaves {
        notes.push(format!(
            "Of the numbers of columns tried, {columns} is the first at which arithmetic binds the FP32 matrix."
        ));
    }
    if !cpu {
        notes.push("On a GPU the kernels are Burn's, and each time includes waiting for the result; single operations of the model are left out.".into());
    }
    notes
}
