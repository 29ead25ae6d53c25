//! Charts and tables of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{
    mixing::{Hold, discretize},
    stats::median,
};

use super::{
    Params, TaskChoice,
    arms::{KINDS, Raced},
    summary::{CACHED, model_state},
    timing::{ATTENTION, CHUNKS, NAMES, Times},
};

fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: vec![] }
}

/// THE picture: what is recalled, by pairs; of other tasks right answers by model.
pub(super) fn recall(raced: &[Raced], params: &Params) -> Chart {
    let lines = raced.iter().map(|one| (one.arm.name.clone(), one.right.clone())).collect::<Vec<_>>();
    if params.task == TaskChoice::Recall { by_pairs(&lines) } else { losses_named(raced, "recall") }
}

/// A line for each model, over the pairs in the text.
pub(super) fn by_pairs(lines: &[(String, Vec<(usize, f64)>)]) -> Chart {
    let points = |right: &[(usize, f64)]| right.iter().map(|(pairs, share)| [*pairs as f64, *share]).collect();
    Chart {
        id: "recall".into(),
        title: "How many pairs does each remember?".into(),
        caption: format!(
            "Values said rightly after training, against the pairs in the text. Guessing gives {:.0} %; whoever says any of the values seen is right once in as many as there are pairs.",
            100.0 / KINDS as f64
        ),
        x: Axis::log("Pairs in the text"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Recalled (%)") },
        body: ChartBody::Line { series: lines.iter().map(|(name, right)| line(name, points(right))).collect() },
    }
}

/// Loss while training.
pub(super) fn losses(raced: &[Raced]) -> Chart {
    losses_named(raced, "losses")
}

fn losses_named(raced: &[Raced], id: &str) -> Chart {
    let smooth = |losses: &[f64]| {
        let each = losses.len().div_ceil(40).max(1);
        let parts = losses.chunks(each).enumerate();
        parts.map(|(i, part)| [(i * each + part.len()) as f64, part.iter().sum::<f64>() / part.len() as f64]).collect()
    };
    Chart {
        id: id.into(),
        title: "When does each begin to learn?".into(),
        caption:
            "Loss of the training examples, a few steps averaged. It stays where guessing is, and then falls at once."
                .into(),
        x: Axis::linear("Step"),
        y: Axis { min: Some(0.0), ..Axis::linear("Loss (nats)") },
        body: ChartBody::Line { series: raced.iter().map(|one| line(&one.arm.name, smooth(&one.losses))).collect() },
    }
}

/// Bytes that are held for a text.
pub(super) fn bytes(longest: usize) -> Chart {
    let lengths: Vec<usize> =
        std::iter::successors(Some(8), |t| Some(2 * t)).take_while(|t| *t <= longest.max(1024)).collect();
    let of = |bytes: &dyn Fn(usize) -> usize| lengths.iter().map(|t| [*t as f64, bytes(*t) as f64 / 1024.0]).collect();
    Chart {
        id: "bytes".into(),
        title: "What does one text hold in memory?".into(),
        caption: "Keys and values of the book's language model in FP32, against the state of the same model with state spaces of 16 numbers a channel. Both axes are logarithmic.".into(),
        x: Axis::log("Tokens"),
        y: Axis::log("Held (KiB)"),
        body: ChartBody::Line {
            series: vec![
                line("Attention: keys and values", of(&|t| t * CACHED)),
                line("State space: state and convolution", of(&|_| model_state(16))),
            ],
        },
    }
}

/// Time of a token by mixer, then in the whole model, then of one more token.
pub(super) fn times(times: &Times) -> [Chart; 3] {
    let per_token = |ms: &[f64], t: usize| 1000.0 * median(ms).max(1e-9) / t as f64;
    let over = |of: &dyn Fn(usize) -> f64| times.lengths.iter().map(|t| [*t as f64, of(*t)]).collect::<Vec<_>>();
    let chart = |id: &str, title: &str, caption: &str, label: &str, series: Vec<Series>| Chart {
        id: id.into(),
        title: title.into(),
        caption: caption.into(),
        x: Axis::log("Tokens"),
        y: Axis::log(label),
        body: ChartBody::Line { series },
    };
    let mixers = NAMES.iter().enumerate().map(|(mixer, name)| line(name, over(&|t| per_token(times.of(mixer, t), t))));
    let model = [ATTENTION, CHUNKS].map(|mixer| line(NAMES[mixer], over(&|t| 1000.0 * median(&times.model(mixer, t)))));
    [
        chart(
            "times",
            "What does a token cost in a mixer?",
            "Median time of one head of 32 channels, over its tokens, on this device. Attention climbs, the others stay level.",
            "Time for a token (µs)",
            mixers.collect(),
        ),
        chart(
            "model",
            "And in a whole model?",
            "The book's language model on one core: its other matrices, measured once, and the mixer of each head. Both lines begin where the matrices are.",
            "Time for a token (µs)",
            model.into(),
        ),
        chart(
            "decode",
            "What does one more token cost?",
            "One head, with a cache of so many tokens or with a state.",
            "Time (µs)",
            vec![
                line("Attention over its cache", over(&|t| 1000.0 * median(times.attend(t)).max(1e-9))),
                line("State space", over(&|_| 1000.0 * median(times.step()).max(1e-9))),
            ],
        ),
    ]
}

/// What becomes of `h' = -h + x` in one step.
pub(super) fn steps_of_time() -> Table {
    let rules = [
        ("Zero-order hold", Hold::Zero),
        ("Mamba: hold, and Euler for the input", Hold::Mixed),
        ("Bilinear", Hold::Bilinear),
        ("Euler", Hold::Euler),
    ];
    let row = |(words, hold): (&str, Hold)| {
        let of = |delta: f64| discretize(hold, -1.0, delta);
        let cells = [of(0.1).0, of(0.1).1, of(3.0).0, of(3.0).1].map(Cell::from);
        [Cell::from(words)].into_iter().chain(cells).collect()
    };
    let columns = ["Rule", "Kept, step 0.1", "Written, step 0.1", "Kept, step 3", "Written, step 3"];
    Table {
        id: "steps".into(),
        title: "From continuous time to steps, for a rate of -1".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rules.into_iter().map(row).collect(),
    }
}
