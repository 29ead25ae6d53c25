//! Every way of shrinking on the same texts, in pairs; texts longer than the model has seen; where its attention goes.

use std::collections::BTreeMap;

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    cache::{Axis as Along, Decoder, Grid, HeadCache, Policy, Positions, Session, Setting},
    report::{MetricExt, metric},
};

use super::{
    Heads,
    judge::{Judged, judge},
    source::Source,
};

/// Texts that judge, of 256 tokens each.
const TEXTS: usize = 20;
/// Long texts, and their length.
const LONG: (usize, usize) = (6, 640);
const WHY: &str = "sums differ in their last bits between devices, and a number between two codes, or a token between two scores, may fall on the other side";

/// One arm: what it is called, which curve it is a point of, the settings of its layers.
struct Arm {
    id: String,
    words: String,
    curve: &'static str,
    settings: Vec<Setting>,
}

fn token(bits: usize) -> Grid {
    Grid { bits, axis: Along::Token }
}

fn channel(bits: usize) -> Grid {
    Grid { bits, axis: Along::Channel }
}

fn arms() -> Vec<Arm> {
    let mut all = Vec::new();
    let mut add = |id: String, words: String, curve: &'static str, settings: Vec<Setting>| {
        all.push(Arm { id, words, curve, settings });
    };
    for bits in [8, 4, 3, 2, 1] {
        add(
            format!("kivi_{bits}"),
            format!("{bits} bits, keys by channel, values by token"),
            "Fewer bits",
            vec![Setting::kivi(bits, 32)],
        );
    }
    for bits in [4, 3, 2] {
        let both = Setting { keys: token(bits), values: token(bits), residual: 32, ..Setting::FULL };
        add(format!("token_{bits}"), format!("{bits}-bit keys and values by token"), "", vec![both]);
        add(
            format!("token_{bits}_bare"),
            format!("{bits} bits, both by token, nothing in FP32"),
            "",
            vec![Setting { residual: 0, ..both }],
        );
    }
    for (id, words, keys, values) in [
        ("keys_token_2", "keys at 2 bits by token", token(2), Grid::FP32),
        ("keys_channel_2", "keys at 2 bits by channel", channel(2), Grid::FP32),
        ("values_token_2", "values at 2 bits by token", Grid::FP32, token(2)),
        ("values_channel_2", "values at 2 bits by channel", Grid::FP32, channel(2)),
    ] {
        add(id.into(), words.into(), "", vec![Setting { keys, values, residual: 32, ..Setting::FULL }]);
    }
    let before = Setting { positions: Positions::InCache, ..Setting::kivi(2, 32) };
    add("kivi_2_before".into(), "2 bits, keys rounded before the rotation".into(), "", vec![before]);
    for budget in [8, 16, 32, 64, 128] {
        add(format!("window_{budget}"), format!("the newest {budget}"), "The newest", vec![Setting::window(budget)]);
        let sinks = Setting { sinks: 4, positions: Positions::InCache, ..Setting::window(budget) };
        add(
            format!("sinks_{budget}"),
            format!("4 sinks and the newest {}", budget - 4),
            "4 sinks and the newest",
            vec![sinks],
        );
    }
    for budget in [16, 32, 64] {
        for (policy, id, words, curve) in [
            (Policy::HeavyHitters, "hitters", "the most attended", "The most attended"),
            (Policy::MeanScore, "mean_score", "the most attended a step", ""),
            (Policy::Random, "random", "any", "Any"),
        ] {
            let setting = Setting { policy, budget, ..Setting::FULL };
            add(format!("{id}_{budget}"), format!("{words}, {budget}"), curve, vec![setting]);
        }
    }
    // The same total, dealt out otherwise; and windows in one half of the layers alone.
    let [wide, narrow] = [64, 32].map(Setting::window);
    add("lower_wide".into(), "windows 64, 64, 32, 32".into(), "", vec![wide, wide, narrow]);
    add("upper_wide".into(), "windows 32, 32, 64, 64".into(), "", vec![narrow, narrow, wide]);
    let near = Setting::window(16);
    add("lower_only".into(), "a window of 16 in the lower two layers".into(), "", vec![near, near, Setting::FULL]);
    add(
        "upper_only".into(),
        "a window of 16 in the upper two layers".into(),
        "",
        vec![Setting::FULL, Setting::FULL, near],
    );
    let both = Setting { keys: token(4), values: token(4), residual: 8, ..Setting::window(64) };
    add("window_64_at_4".into(), "the newest 64 at 4 bits by token".into(), "Fewer tokens and bits", vec![both]);
    let half = Grid { bits: 16, axis: Along::Token };
    let half = Setting { keys: half, values: half, ..Setting::window(64) };
    add("window_64_half".into(), "the newest 64 in FP16".into(), "", vec![half]);
    all
}

/// Arms that are compared with each other, on the same tokens.
fn pairs() -> Vec<(String, String)> {
    let mut all = vec![];
    let mut add = |a: &str, b: &str| all.push((a.to_owned(), b.to_owned()));
    add("keys_channel_2", "keys_token_2");
    add("values_token_2", "values_channel_2");
    add("kivi_2", "kivi_2_before");
    add("kivi_2", "token_2");
    add("kivi_2", "token_4_bare");
    add("window_64_half", "token_3_bare");
    add("upper_only", "lower_only");
    add("lower_wide", "upper_wide");
    for budget in [16, 32, 64] {
        for policy in ["hitters", "mean_score", "random"] {
            add(&format!("window_{budget}"), &format!("{policy}_{budget}"));
        }
    }
    all
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let source = Source::load(cx).await?;
    let decoder = source.decoder(Heads::Two, cx)?;
    let texts = source.texts(TEXTS, 256);
    let full = judge(&decoder, &[Setting::FULL], &texts, cx).await?;
    let mut report = Report::default();
    report
        .metrics
        .push(metric(Family::Quality, "full_loss", "Loss, everything kept", full.mean(), "nats").exact(0.001, WHY));
    report.metrics.push(
        metric(Family::Memory, "full_bytes", "Bytes, everything kept", full.bytes[0] as f64, "bytes")
            .exact(0.0, "bytes are counted"),
    );
    let mut curves: Vec<Series> = Vec::new();
    let mut rows = Vec::new();
    let mut judged = BTreeMap::new();
    let arms = arms();
    let count = arms.len();
    for (done, arm) in arms.into_iter().enumerate() {
        cx.progress(&arm.words, 0.05 + 0.75 * done as f64 / count as f64);
        let found = judge(&decoder, &arm.settings, &texts, cx).await?;
        let change = add(&mut report.metrics, &arm.id, &arm.words, &full, &found, cx)?;
        if !arm.curve.is_empty() {
            let point = [found.bytes[0] as f64, change.max(1e-4)];
            match curves.iter_mut().find(|curve| curve.name == arm.curve) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Series { name: arm.curve.into(), points: vec![point], band: vec![] }),
            }
        }
        rows.push(vec![Cell::from(arm.words), Cell::from(found.bytes[0] as f64), Cell::from(change)]);
        judged.insert(arm.id, found);
    }
    for (better, worse) in pairs() {
        if let (Some(a), Some(b)) = (judged.get(&better), judged.get(&worse)) {
            let (change, interval) = a.change(b, cx)?;
            let id = format!("{worse}_over_{better}");
            report.metrics.push(
                metric(Family::Quality, &id, &format!("Loss of {worse} over that of {better}"), change, "nats")
                    .detail()
                    .interval(interval)
                    .exact(0.01, WHY),
            );
        }
    }
    for (heads, id, words) in [
        (Heads::Mean, "heads_mean", "one head, the mean of both"),
        (Heads::First, "heads_first", "one head, the first"),
    ] {
        let found = judge(&source.decoder(heads, cx)?, &[Setting::FULL], &texts, cx).await?;
        let change = add(&mut report.metrics, id, words, &full, &found, cx)?;
        rows.push(vec![Cell::from(words), Cell::from(found.bytes[0] as f64), Cell::from(change)]);
        let point = [found.bytes[0] as f64, change];
        match curves.iter_mut().find(|curve| curve.name == "One head") {
            Some(curve) => curve.points.push(point),
            None => curves.push(Series { name: "One head".into(), points: vec![point], band: vec![] }),
        }
    }
    report.charts.push(Chart {
        id: "bytes".into(),
        title: "What does a byte less cost?".into(),
        caption: "Loss added against the bytes of the cache at the end of 256 tokens; from position 128 on. Losses too small to measure are drawn at 0.0001.".into(),
        x: Axis::log("Cache (bytes)"),
        y: Axis::log("Loss added (nats a token)"),
        body: ChartBody::Scatter { series: curves },
    });
    report.tables.push(Table {
        id: "arms".into(),
        title: "Every cache".into(),
        columns: ["Cache", "Bytes", "Loss added (nats)"].map(str::to_owned).to_vec(),
        rows,
    });
    cx.progress("Texts longer than any before", 0.85);
    long(&mut report, &source, &decoder, cx).await?;
    cx.progress("Where attention goes", 0.95);
    looks(&mut report, &decoder, &texts[..6], cx).await?;
    Ok(report)
}

/// Loss and bytes of an arm, in pairs.
fn add(
    all: &mut Vec<Metric>,
    id: &str,
    words: &str,
    full: &Judged,
    found: &Judged,
    cx: &Context,
) -> Result<f64, LabError> {
    let (change, interval) = full.change(found, cx)?;
    all.push(
        metric(Family::Quality, &format!("change_{id}"), &format!("Loss added: {words}"), change, "nats")
            .lower()
            .baseline(0.0)
            .interval(interval)
            .exact(0.01, WHY),
    );
    all.push(
        metric(Family::Memory, &format!("bytes_{id}"), &format!("Bytes: {words}"), found.bytes[0] as f64, "bytes")
            .lower()
            .baseline(full.bytes[0] as f64)
            .exact(0.0, "bytes are counted"),
    );
    Ok(change)
}

/// Loss by position in texts of more than twice the length that the model was trained on.
async fn long(report: &mut Report, source: &Source, decoder: &Decoder, cx: &Context) -> Result<(), LabError> {
    let (count, length) = LONG;
    let texts = source.texts(count, length);
    let sinks = |positions| Setting { sinks: 4, positions, ..Setting::window(256) };
    let mut series = Vec::new();
    for (id, words, setting) in [
        ("all", "Everything kept", Setting::FULL),
        ("window_256", "The newest 256", Setting::window(256)),
        ("window_64", "The newest 64", Setting::window(64)),
        ("sinks_original", "4 sinks and 252, places in the text", sinks(Positions::Original)),
        ("sinks_in_cache", "4 sinks and 252, places in the cache", sinks(Positions::InCache)),
        ("base_4", "Everything kept, rotary base × 4", Setting { base: 4.0, ..Setting::FULL }),
    ] {
        let found = judge(decoder, &[setting], &texts, cx).await?;
        let block = length / 10;
        let points = (0..10).map(|i| [(i as f64 + 0.5) * block as f64, found.between(i * block, (i + 1) * block)]);
        series.push(Series { name: words.into(), points: points.collect(), band: vec![] });
        for (part, from, to) in [("inside", 128, 256), ("beyond", 512, 640)] {
            report.metrics.push(
                metric(
                    Family::Quality,
                    &format!("long_{part}_{id}"),
                    &format!("Loss {part} the trained length: {words}"),
                    found.between(from, to),
                    "nats",
                )
                .lower()
                .exact(0.01, WHY),
            );
        }
    }
    report.charts.push(Chart {
        id: "long".into(),
        title: "What happens beyond the trained length?".into(),
        caption: "Mean loss by position in texts of 640 tokens. The model was trained on 256.".into(),
        x: Axis::linear("Position in the text (tokens)"),
        y: Axis::linear("Loss (nats a token)"),
        body: ChartBody::Line { series },
    });
    Ok(())
}

/// The share of the attention that goes to the first token, the newest 8 and the newest 32, by layer, from position 128 on.
async fn looks(report: &mut Report, decoder: &Decoder, texts: &[&[u32]], cx: &Context) -> Result<(), LabError> {
    let layers = decoder.config().layers;
    let mut sums = vec![[0.0_f64; 4]; layers];
    for text in texts {
        let mut session = Session::new(decoder, &[Setting::FULL], text.len(), cx.rng("lots"))?;
        let mut watch = |layer: usize, _: usize, cache: &HeadCache| {
            let n = cache.len();
            if n > 128 {
                for weights in cache.weights().chunks_exact(n) {
                    let newest = |count: usize| weights[n - count..].iter().map(|w| f64::from(*w)).sum::<f64>();
                    let seen = [f64::from(weights[0]), newest(8), newest(32), 1.0];
                    sums[layer].iter_mut().zip(seen).for_each(|(sum, x)| *sum += x);
                }
            }
        };
        session.judge(text, cx, &mut watch).await?;
    }
    let mut rows = Vec::new();
    for (layer, [first, eight, more, count]) in sums.into_iter().enumerate() {
        let share = |sum: f64| 100.0 * sum / count.max(1.0);
        rows.push(vec![
            Cell::from((layer + 1) as f64),
            Cell::from(share(first)),
            Cell::from(share(eight)),
            Cell::from(share(more)),
        ]);
        for (id, words, sum) in [
            ("first", "the first token", first),
            ("newest_8", "the newest 8", eight),
            ("newest_32", "the newest 32", more),
        ] {
            report.metrics.push(
                metric(
                    Family::Quality,
                    &format!("looks_{id}_{}", layer + 1),
                    &format!("Attention to {words}, layer {}", layer + 1),
                    share(sum),
                    "%",
                )
                .detail()
                .exact(0.5, WHY),
            );
        }
    }
    report.tables.push(Table {
        id: "looks".into(),
        title: "Where the attention goes".into(),
        columns: ["Layer", "First token (%)", "Newest 8 (%)", "Newest 32 (%)"].map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}
