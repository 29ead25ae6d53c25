//! Bytes and losses of the reader's cache, and what the same would take in larger models.

use lab_api::{Cell, Family, LabError, Metric, Table};
use lab_kit::{
    Context,
    cache::{Decoder, Grid, Layout, Setting},
    report::{MetricExt, metric},
};

use super::{Params, judge::Judged, source::Source, writing::Written};

/// Models that are run every day: layers, heads of keys and values, channels of a head.
const MODELS: [(&str, usize, usize, usize); 5] = [
    ("Llama 2 7B (32 heads)", 32, 32, 128),
    ("Llama 3.1 8B (8 of 32)", 32, 8, 128),
    ("Qwen3 8B (8 of 32)", 36, 8, 128),
    ("Llama 3.1 70B (8 of 64)", 80, 8, 128),
    ("Qwen2.5 0.5B (2 of 14)", 24, 2, 64),
];
const LENGTHS: [usize; 3] = [4096, 32_768, 131_072];
const COUNTED: &str = "bytes are counted";

pub(super) fn quality(full: &Judged, mine: &Judged, cx: &Context) -> Result<Vec<Metric>, LabError> {
    let (change, interval) = full.change(mine, cx)?;
    let why = "sums differ in their last bits between devices, and a number between two codes, or a token between two scores, may fall on the other side";
    Ok(vec![
        metric(Family::Quality, "loss_change", "Loss added by your cache", change, "nats")
            .lower()
            .baseline(0.0)
            .interval(interval)
            .exact(0.02, why)
            .help("Mean change of the negative logarithm of the probability of the next token, in pairs with everything kept, in the later half of each text (from position 128 on in longer ones). Intervals draw whole texts."),
        metric(Family::Quality, "loss", "Loss with your cache", mine.mean(), "nats")
            .detail()
            .lower()
            .baseline(full.mean())
            .exact(0.02, why),
    ])
}

/// What was held.
pub(super) fn memory(full: &Judged, mine: &Judged) -> Vec<Metric> {
    vec![
        metric(Family::Memory, "cache_bytes", "Cache at the end of a text", mine.bytes[0] as f64, "bytes")
            .lower()
            .baseline(full.bytes[0] as f64)
            .exact(0.0, COUNTED)
            .help("Keys and values of all layers, minima and steps among them, counted in the buffers that hold them."),
        metric(Family::Memory, "most_bytes", "Most at any time", mine.bytes[1] as f64, "bytes")
            .detail()
            .lower()
            .baseline(full.bytes[1] as f64)
            .exact(0.0, COUNTED),
    ]
}

/// What is known of the bytes before a token is written.
pub(super) fn by_formula(source: &Source, changed: &Decoder, setting: &Setting, params: &Params) -> Vec<Metric> {
    let (config, length) = (changed.config(), params.length as usize);
    let formula = |tokens: usize| Layout::of(config).bytes(tokens, setting) as f64;
    // Far along, where the newest tokens weigh nothing.
    let far = 1 << 16;
    let marginal = (formula(far + 1024) - formula(far)) / 1024.0;
    vec![
        metric(Family::Memory, "formula_bytes", "The same by the formula", formula(length), "bytes")
            .detail()
            .lower()
            .baseline(Layout::of(&source.config).bytes(length, &Setting::FULL) as f64)
            .exact(0.0, COUNTED),
        metric(Family::Scale, "bytes_per_token", "One more token, far along", marginal, "bytes")
            .lower()
            .baseline(Layout::of(&source.config).bytes(1, &Setting::FULL) as f64)
            .exact(0.0, COUNTED)
            .help("What the cache grows by with each token of a long text: nothing where tokens leave."),
    ]
}

/// The reader's bits, tokens and grids in models that others ship, beside half precision with everything kept.
pub(super) fn larger(setting: &Setting) -> Table {
    let half = Grid { bits: 16, axis: setting.values.axis };
    let plain = Setting { keys: half, values: half, residual: 0, ..Setting::FULL };
    let mut columns = vec!["Model".to_owned()];
    for length in LENGTHS {
        columns.push(format!("FP16, {}k tokens (GB)", length / 1024));
        columns.push(format!("Yours, {}k tokens (GB)", length / 1024));
    }
    let row = |(name, layers, key_value_heads, head_channels): (&str, usize, usize, usize)| {
        let layout = Layout { layers, key_value_heads, head_channels };
        let mut row = vec![Cell::from(name)];
        for length in LENGTHS {
            row.extend([&plain, setting].map(|setting| Cell::from(1e-9 * layout.bytes(length, setting) as f64)));
        }
        row
    };
    Table {
        id: "larger".into(),
        title: "The same cache in larger models, by the formula".into(),
        columns,
        rows: MODELS.into_iter().map(row).collect(),
    }
}

/// What this run says.
pub(super) fn note(full: &Judged, mine: &Judged, written: &Written) -> String {
    format!(
        "With a cache the text came {:.0} times as fast. Your cache holds {:.2} of the bytes of a full one, and the loss is {:.3} nats a token instead of {:.3}.",
        written.speedup(),
        mine.bytes[0] as f64 / full.bytes[0].max(1) as f64,
        mine.mean(),
        full.mean()
    )
}
