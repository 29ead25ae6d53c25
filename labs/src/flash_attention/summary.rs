//! The numbers of a run.

use lab_api::{Family, Metric};
use lab_kit::{
    Context,
    measure::{Mask, Work},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    measure::{Backward, Errors, Moved, PIECES, Times, ratios},
    ways::{Case, Way},
};

const LEVEL: f64 = 0.95;

fn at(way: Way) -> usize {
    Way::ALL.iter().position(|other| *other == way).unwrap_or(0)
}

pub(super) fn memory(peaks: &[(usize, [f64; 6])], moved: &Moved, case: &Case) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let tokens = case.head.queries;
    if let Some((_, of)) = peaks.last() {
        for (way, label) in
            [(Way::Tiled, "Held by tiles"), (Way::Chunked, "Held by chunks"), (Way::OneTable, "Held by one table")]
        {
            let one = metric(Family::Memory, &format!("peak_{}", way.id()), label, of[at(way)], "bytes")
                .lower()
                .baseline(of[at(Way::Eager)])
                .measured(vec![of[at(way)]])
                .help("The most bytes held at once beyond queries, keys and values, the result included. The baseline makes a table for each step.");
            metrics.push(if way == Way::OneTable { one.detail() } else { one });
        }
    }
    if let [.., (_, half), (_, whole)] = peaks {
        let doubling = whole[at(Way::Tiled)] / half[at(Way::Tiled)].max(1.0);
        metrics.push(
            metric(Family::Scale, "peak_doubling", "Bytes when the text doubles, tiles", doubling, "×")
                .lower()
                .baseline(whole[at(Way::OneTable)] / half[at(Way::OneTable)].max(1.0))
                .measured(vec![doubling])
                .help("Bytes held at the set length over bytes held at half of it. The baseline is that of one table."),
        );
    }
    metrics.push(
        metric(Family::Memory, "traffic_tiled", "Moved by tiles", moved.tiles, "bytes")
            .lower()
            .baseline(moved.table)
            .exact(0.0, "numbers are counted where they are moved")
            .help(
                "Between slow memory and a fast one that holds a tile. The baseline writes and reads one table twice.",
            ),
    );
    metrics.push(
        metric(Family::Memory, "saved_bytes", "Kept for the backward pass", (4 * tokens) as f64, "bytes")
            .lower()
            .baseline((4 * tokens * tokens) as f64)
            .exact(0.0, "a number for each query")
            .help(
                "Beyond inputs and output: the logarithm of each row's sum. The baseline keeps the table of weights.",
            ),
    );
    metrics
}

pub(super) fn quality(errors: &Errors) -> Vec<Metric> {
    const WHY: &str = "rounding: the same sums in another order";
    let one = |id: &str, label: &str, way: Way| {
        metric(Family::Quality, id, label, errors.of[at(way)], "")
            .lower()
            .baseline(errors.of[at(Way::OneTable)])
            .exact(1e-5, WHY)
            .help("The largest distance of any compared output from the formula in double precision. The baseline is that of one table.")
    };
    vec![
        one("error_tiled", "Error of tiles", Way::Tiled),
        one("error_chunked", "Error of chunks", Way::Chunked).detail(),
        metric(Family::Quality, "gradient_error", "Error of gradients, weights made again", errors.gradient[0], "")
            .lower()
            .baseline(errors.gradient[1])
            .exact(1e-5, WHY)
            .help("Against double precision, over the largest gradient. The baseline kept the weights."),
        metric(Family::Quality, "window_change", "What the window changes", errors.of[at(Way::Window)], "")
            .lower()
            .exact(1e-4, WHY)
            .detail()
            .help("The largest distance of any compared output from attention to all keys. Values are between -1.73 and 1.73: this is no rounding."),
    ]
}

pub(super) fn times(times: &Times, backward: &Backward, decode: &[Vec<f64>], case: &Case, cx: &Context) -> Vec<Metric> {
    let number = |family: Family, id: &str, label: String, samples: Vec<f64>, help: &str| {
        let interval = median_interval(&samples, LEVEL, &mut cx.rng(id));
        metric(family, id, &label, median(&samples), "×").interval(interval).measured(samples).help(help)
    };
    let tokens = times.longest();
    let ratio = |id: &str, label: &str, first: Way, second: Way, help: &str| {
        number(Family::Time, id, format!("{label}, {tokens} tokens"), times.ratios(first, second), help)
            .higher()
            .baseline(1.0)
    };
    let halves = times.lengths.iter().rev().nth(1).map_or(&[][..], |half| times.of(Way::Tiled, *half));
    let mut metrics = vec![
        ratio(
            "tiled_speedup",
            "Tiles",
            Way::Eager,
            Way::Tiled,
            "Time with a table for each step over time with tiles, turn by turn.",
        ),
        ratio(
            "chunked_speedup",
            "Chunks",
            Way::Eager,
            Way::Chunked,
            "Time with a table for each step over time with chunks of queries.",
        ),
        ratio(
            "one_table_speedup",
            "One table",
            Way::Eager,
            Way::OneTable,
            "Time with a table for each step over time with one table: what not allocating brings.",
        ),
        ratio(
            "triangle_gain",
            "Skipping the future",
            Way::AllTiles,
            Way::Tiled,
            "Time of tiles when the future is computed and thrown away over their time when it is skipped: what the triangle alone brings.",
        ),
        ratio(
            "tiles_alone",
            "Tiles against one table, nothing skipped",
            Way::OneTable,
            Way::AllTiles,
            "Both compute every score: what the tiles alone bring. Below 1 they are slower.",
        )
        .detail(),
        ratio("window_speedup", "Window", Way::Tiled, Way::Window, "Time of tiles over their time in the window.")
            .detail(),
        number(
            Family::Scale,
            "time_doubling",
            "Time when the text doubles, tiles".into(),
            ratios(times.of(Way::Tiled, tokens), halves),
            "Time at the set length over time at half of it. Four is quadratic.",
        )
        .lower(),
        number(
            Family::Time,
            "backward_speedup",
            format!("Training, weights made again, {} tokens", backward.tokens),
            ratios(&backward.ms[0], &backward.ms[1]),
            "Forward and backward: time with the weights kept over time with them made again, the future skipped.",
        )
        .higher()
        .baseline(1.0),
        number(
            Family::Time,
            "backward_alone",
            format!("The same, nothing skipped, {} tokens", backward.tokens),
            ratios(&backward.ms[0], &backward.ms[2]),
            "The same comparison where both compute every score: one product more, and no tables.",
        )
        .higher()
        .baseline(1.0)
        .detail(),
        number(
            Family::Time,
            "decode_pieces",
            format!("One query, {} keys, {PIECES} pieces", case.head.keys),
            ratios(&decode[0], &decode[1]),
            "A single query has no table to avoid. Time in one piece over time in pieces that are merged, on one core.",
        )
        .higher()
        .baseline(1.0)
        .detail(),
    ];
    if let [Some(kept), Some(again)] = backward.peaks {
        metrics.push(
            metric(Family::Memory, "backward_peak", &format!("Held in training, {} tokens", backward.tokens), again as f64, "bytes")
                .lower()
                .baseline(kept as f64)
                .measured(vec![again as f64])
                .detail()
                .help("The most bytes held at once during forward and backward, with the weights made again; kept for the baseline."),
        );
    }
    let mask = if case.setting.causal { Mask::Causal } else { Mask::Full };
    let (tokens, channels) = (tokens as u64, case.head.channels as u64);
    let work = Work::attention_fused(1, [1, 1], [tokens, tokens], channels, mask, 4);
    let rates = |way: Way| times.of(way, tokens as usize).iter().map(|ms| work.gflops(1e-3 * ms)).collect::<Vec<f64>>();
    let samples = rates(Way::Tiled);
    metrics.push(
        metric(Family::Utilization, "useful_gflops", "Useful arithmetic, tiles", median(&samples), "GFLOP/s")
            .higher()
            .baseline(median(&rates(Way::OneTable)))
            .measured(samples)
            .help("Operations on scores that a query sees, a second. The baseline is that of one table, which computes the future too."),
    );
    metrics
}
