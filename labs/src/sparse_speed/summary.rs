//! The numbers of a run.

use lab_api::{Family, Metric};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    sparse::{bitmask_bytes, csr_bytes, mask_entropy_bits, two_four_bytes},
    stats::{median, median_interval},
};

use super::{
    Params,
    cells::{Cells, Times},
    matrix::{Format, Source},
};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// What the formats take at this sparsity, in half precision.
pub(super) fn bytes(source: &Source, sparsity: f64) -> Vec<Metric> {
    let (rows, columns) = (source.rows, source.columns);
    let all = rows * columns;
    let kept = all - (sparsity * all as f64).round() as usize;
    let one = |id: &str, label: &str, bytes: usize, help: &str| {
        metric(Family::Memory, id, label, bytes as f64, "bytes")
            .lower()
            .baseline((2 * all) as f64)
            .exact(0.0, "bytes are counted")
            .help(help)
    };
    vec![
        one(
            "csr_bytes",
            "CSR, FP16",
            csr_bytes(rows, kept, 2, 2),
            "A 16-bit column number beside each 16-bit value, and a start for each row. The baseline is the dense matrix in FP16.",
        ),
        one(
            "bitmask_bytes",
            "Bitmask, FP16",
            bitmask_bytes(rows, columns, kept, 2),
            "A bit for each place, a 16-bit value for each weight that is left.",
        ),
        one(
            "int8_bytes",
            "Dense, INT8",
            all + 4 * rows,
            "Every weight in 8 bits with a 32-bit scale for each row: no zero needed.",
        )
        .detail(),
        one(
            "two_four_bytes",
            "2:4, FP16",
            two_four_bytes(rows, columns, 2),
            "At a sparsity of one half, whatever is set: two values of four and two bits for the place of each.",
        )
        .detail(),
        metric(Family::Memory, "entropy", "Least for the places", mask_entropy_bits(kept as f64 / all as f64), "bits")
            .detail()
            .exact(1e-9, "a formula")
            .help("Bits a place that no format can do without on average, where the zeros lie at random."),
    ]
}

/// How far any format was from the textbook's loop.
pub(super) fn answers(cells: &Cells) -> Metric {
    metric(Family::Quality, "answer_error", "Largest difference of any answer", cells.worst_error, "")
        .lower()
        .exact(1e-5, "sums of the same products in another order")
        .help("Over all formats, sparsities and batches: the largest difference from a plain dense product, over the largest output.")
}

pub(super) fn metrics(times: &Times, params: &Params, peak_gflops: f64, cx: &Context) -> Vec<Metric> {
    let (s, batch) = (params.sparsity, params.batch as usize);
    let interval = |samples: &[f64], purpose: &str| median_interval(samples, LEVEL, &mut cx.rng(purpose));
    let speedup = |id: &str, label: String, format: Format, batch: usize, help: &str| {
        let samples = times.speedups(format, s, batch);
        metric(Family::Time, id, &label, median(&samples), "×")
            .higher()
            .baseline(1.0)
            .interval(interval(&samples, id))
            .measured(samples)
            .help(help)
    };
    let percent = (100.0 * s).round();
    let mut metrics = vec![
        speedup(
            "skip_speedup",
            format!("Asking each weight at {percent} % zeros, one input"),
            Format::Skip,
            1,
            "Dense time over the time of a loop that asks of each weight whether it is zero. Below 1 it is slower.",
        ),
        speedup(
            "csr_speedup",
            format!("CSR at {percent} % zeros, one input"),
            Format::Unrolled,
            1,
            "Dense time over sparse time, turn by turn; the better of the two loops over CSR, with four sums at once.",
        ),
        speedup(
            "csr_speedup_batch",
            format!("CSR at {percent} % zeros, {batch} inputs"),
            Format::Csr,
            batch,
            "The same with a batch: an index that has been read serves all its inputs.",
        ),
        speedup(
            "blocks_speedup",
            format!("Blocks 16 × 1 at {percent} % zeros, one input"),
            Format::ColumnBlocks,
            1,
            "Sixteen weights share an index, and fill four vectors.",
        ),
        speedup(
            "row_blocks_speedup",
            format!("Blocks 1 × 16 at {percent} % zeros, one input"),
            Format::RowBlocks,
            1,
            "Sixteen neighbouring inputs of one output.",
        )
        .detail(),
        speedup(
            "bitmask_speedup",
            format!("Bitmask at {percent} % zeros, one input"),
            Format::Bitmask,
            1,
            "A bit a place, walked by counting trailing zeros.",
        )
        .detail(),
        speedup(
            "blocks_speedup_batch",
            format!("Blocks 16 × 1 at {percent} % zeros, {batch} inputs"),
            Format::ColumnBlocks,
            batch,
            "",
        )
        .detail(),
    ];
    let half = times.speedups(Format::TwoFour, 0.5, 1);
    metrics.push(
        metric(Family::Time, "two_four_speedup", "2:4 in a plain loop, one input", median(&half), "×")
            .detail()
            .higher()
            .baseline(1.0)
            .interval(interval(&half, "two four"))
            .measured(half)
            .help(
                "At half of the weights. Hardware that knows the pattern does better; this processor does not know it.",
            ),
    );
    if let (Some(full), Some(empty)) = (times.of(Format::Dense, 0.0, 1), times.of(Format::Dense, s, 1)) {
        metrics.push(
            metric(Family::Time, "dense_us", "Dense, one input", median(&empty.us), "µs")
                .lower()
                .baseline(median(&full.us))
                .interval(interval(&empty.us, "dense"))
                .measured(empty.us.clone())
                .help("The same kernel on the matrix with its zeros. The baseline is the matrix without any."),
        );
    }
    for (id, label, format, batch) in [
        ("break_even", "CSR pays from, one input".to_owned(), Format::Unrolled, 1),
        ("break_even_batch", format!("CSR pays from, {batch} inputs"), Format::Csr, batch),
        ("break_even_blocks", "Blocks 16 × 1 pay from, one input".to_owned(), Format::ColumnBlocks, 1),
    ] {
        let samples = times.break_even(format, batch);
        let one = metric(Family::Scale, id, &label, median(&samples), "% zeros")
            .lower()
            .interval(interval(&samples, id))
            .measured(samples)
            .help("The sparsity from which on this format is faster than dense on this device; 100 where it never is.");
        metrics.push(if id == "break_even_blocks" { one.detail() } else { one });
    }
    for (id, label, format, batch) in [
        ("useful_gflops", "Useful arithmetic, CSR, one input".to_owned(), Format::Unrolled, 1),
        ("useful_gflops_batch", format!("Useful arithmetic, CSR, {batch} inputs"), Format::Csr, batch),
    ] {
        let (Some(dense), Some(sparse)) = (times.of(Format::Dense, s, batch), times.of(format, s, batch)) else {
            continue;
        };
        let rate = |us: &f64| 2e-3 * (sparse.kept * batch) as f64 / us.max(1e-9);
        let one = metric(Family::Utilization, id, &label, rate(&median(&sparse.us)), "GFLOP/s")
            .higher()
            .baseline(rate(&median(&dense.us)))
            .measured(sparse.us.iter().map(rate).collect())
            .help("Operations on weights that are not zero, a second. The baseline is the dense kernel, most of whose operations are on zeros.");
        metrics.push(if batch == 1 { one.detail() } else { one });
    }
    if let Some(dense) = times.of(Format::Dense, 0.0, batch) {
        let share = |us: &f64| 0.2 * (times.rows * times.columns * batch) as f64 / us.max(1e-9) / peak_gflops.max(1e-9);
        metrics.push(
            metric(Family::Utilization, "dense_share", &format!("Dense against the best rate, {batch} inputs"), share(&median(&dense.us)), "%")
                .detail()
                .higher()
                .measured(dense.us.iter().map(share).collect())
                .help("What our dense kernel reaches of the rate at which this device multiplies matrices of 256 by 256 in Burn. The better the dense kernel, the later zeros pay."),
        );
    }
    metrics
}

/// What the times of this very run say.
pub(super) fn note(times: &Times, params: &Params) -> Option<String> {
    let batch = params.batch as usize;
    let best = |batch: usize| {
        let timed = times
            .all
            .iter()
            .filter(|timed| timed.key.batch == batch && (timed.key.sparsity - params.sparsity).abs() < 1e-9);
        timed.min_by(|a, b| median(&a.us).total_cmp(&median(&b.us))).map(|timed| timed.key.format.words())
    };
    Some(format!(
        "At {} % zeros the fastest on the device named below was, for one input, “{}”; for {batch} inputs “{}”.",
        (100.0 * params.sparsity).round(),
        best(1)?,
        best(batch)?
    ))
}
