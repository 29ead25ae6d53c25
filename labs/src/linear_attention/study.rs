//! All methods in all layers and in each alone over 8 windows, mixtures, learned maps, ranks; memories; recall and glyphs over three
//! seeds; times to 4,096 tokens.

use lab_api::{Cell, Chart, Family, Interval, Kind, LabError, Metric, Report, Table};
use lab_kit::{
    Context,
    cache::Decoder,
    linalg::{Matrix, svd},
    measure::quality::mean_by_group,
    mixing::{Mixer, Reading, Rule, Way, associative, entropy, total_variation},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Method, Params, figures,
    looks::{self, FROM, KEY},
    source::Source,
    summary,
    swaps::Swaps,
    timing,
    training::{self, PAIRS, Pictures},
    ways,
};

const LEVEL: f64 = 0.95;
const WINDOWS: usize = 8;
const LENGTH: usize = 128;
/// Steps of recall and of glyphs.
const RECALL_STEPS: usize = 200;
const GLYPH_STEPS: usize = 150;
/// Of what is trained.
const SEEDS: u64 = 3;
const SUMS: &str = "sums differ in their last bits between devices";

fn over_seeds(id: &str, label: &str, values: &[f64], cx: &Context) -> Metric {
    let mut all = metric(Family::Quality, id, label, median(values), "%")
        .higher()
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec());
    all.kind = Kind::Trained;
    all
}

/// Loss added by a swap, with its interval over windows.
fn added(id: &str, label: &str, reading: &Reading, nats: &[f64], cx: &Context) -> Result<Metric, LabError> {
    let beyond: Vec<f64> = nats.iter().zip(&reading.nats).map(|(a, b)| a - b).collect();
    let groups: Vec<usize> = (0..nats.len()).map(|i| i / reading.length).collect();
    let found = mean_by_group(&beyond, &groups, LEVEL, &mut cx.rng("windows"))?;
    Ok(metric(Family::Quality, id, label, found.value, "nats").lower().interval(found.interval).exact(0.02, SUMS))
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let source = Source::load(cx).await?;
    let decoder = source.decoder(cx)?;
    let reading = source.read(&decoder, WINDOWS, LENGTH, cx).await?;
    swapped(&mut report, &source, &decoder, &reading, cx).await?;
    weights(&mut report, &reading, cx).await?;
    memories(&mut report, cx).await?;
    recall(&mut report, cx).await?;
    glyphs(&mut report, cx).await?;
    times(&mut report, cx).await?;
    Ok(report)
}

async fn swapped(
    report: &mut Report,
    source: &Source,
    decoder: &Decoder,
    reading: &Reading,
    cx: &Context,
) -> Result<(), LabError> {
    let (d, heads, layers) = (reading.channels, reading.heads.len(), decoder.config().layers);
    let original = super::swaps::mean(&reading.nats);
    report.metrics.push(
        metric(Family::Quality, "original", "Loss of the model as it is", original, "nats").lower().exact(0.01, SUMS),
    );
    let at = |method: Method, change: &dyn Fn(&mut Params)| {
        let mut params = Params { method, ..Params::default() };
        change(&mut params);
        ways::plain(method, &params, d, heads, cx)
    };
    let none = |_: &mut Params| ();
    let learned = ways::learned(64, 80, source, decoder, cx).await?;
    let few = ways::learned(16, 80, source, decoder, cx).await?;
    let arms: Vec<(&str, &str, Way)> = vec![
        ("uniform", "Uniform", at(Method::Uniform, &none)),
        ("elu", "elu + 1", at(Method::Elu, &none)),
        ("relu", "ReLU", at(Method::Relu, &none)),
        ("taylor", "Taylor, 1,057 features", at(Method::Taylor, &none)),
        ("performer_64", "Performer, 64 features", at(Method::Performer, &none)),
        ("performer_independent", "Performer, 64 independent rows", at(Method::Performer, &|p| p.orthogonal = false)),
        (
            "performer_redrawn",
            "Performer, 64 features, a draw for each head",
            at(Method::Performer, &|p| p.redraw = true),
        ),
        ("performer_256", "Performer, 256 features", at(Method::Performer, &|p| p.features = 256)),
        ("performer_1024", "Performer, 1,024 features", at(Method::Performer, &|p| p.features = 1024)),
        ("sines", "Sines and cosines of 256 rows", at(Method::Sines, &|p| p.features = 256)),
        ("learned_16", "Learned, 16 features", few),
        ("learned", "Learned, 64 features", learned),
        ("decay_90", "elu + 1, fading 0.9", at(Method::Decay, &none)),
        ("decay_97", "elu + 1, fading 0.97", at(Method::Decay, &|p| p.decay = 0.97)),
        ("delta", "Delta rule", at(Method::Delta, &none)),
        ("gated_delta", "Delta rule, fading 0.9", at(Method::GatedDelta, &none)),
        ("window_16", "Window of 16", at(Method::Window, &none)),
        ("window_32", "Window of 32", at(Method::Window, &|p| p.window = 32)),
        ("top_4", "The 4 strongest keys", at(Method::Top, &|p| p.window = 4)),
        ("top_16", "The 16 strongest keys", at(Method::Top, &none)),
        ("linformer", "Linformer, 8 averages", at(Method::Linformer, &none)),
    ];
    let mut swaps = Swaps { original, rows: Vec::new(), blind: [0.0; 2], mixture: [0.0; 2] };
    for (i, (id, words, way)) in arms.iter().enumerate() {
        cx.progress(words, 0.1 + 0.3 * i as f64 / arms.len() as f64);
        let mut row = Vec::new();
        for only in 0..=layers {
            let ways: Vec<Option<&Way>> = (0..layers).map(|l| (only == 0 || l + 1 == only).then_some(way)).collect();
            let nats = reading.swap(decoder, &ways, cx).await?;
            let (id, label) = match only {
                0 => (format!("all_{id}"), format!("{words}, all layers")),
                layer => (format!("layer_{}_{id}", layer - 1), format!("{words}, layer {}", layer - 1)),
            };
            let one = added(&id, &label, reading, &nats, cx)?;
            row.push(one.value);
            report.metrics.push(one);
        }
        swaps.rows.push((Method::Uniform, (*words).to_owned(), row));
    }
    // The grid with layers as columns: there are many methods.
    let rows = swaps.rows.iter().map(|(_, words, row)| {
        [Cell::from(words.as_str())].into_iter().chain(row.iter().map(|x| Cell::from(*x))).collect()
    });
    report.tables.push(Table {
        id: "grid".into(),
        title: "Loss added, in nats a token".into(),
        columns: ["In the place of softmax", "All layers", "Layer 0", "Layer 1", "Layer 2", "Layer 3"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    });
    let shown = ["uniform", "elu", "performer_64", "performer_1024", "learned", "decay_90", "window_16", "top_4"];
    let kept: Vec<bool> = arms.iter().map(|(id, ..)| shown.contains(id)).collect();
    swaps.rows = swaps.rows.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(row, _)| row).collect();
    report.charts.push(figures::grid(&swaps));

    let way = |id: &str| arms.iter().find(|(other, ..)| *other == id).map(|(.., way)| way);
    let mixtures = [
        ("blind", "Uniform in the first two", ["uniform", "uniform", "", ""]),
        ("blind_last", "Uniform in the last two", ["", "", "uniform", "uniform"]),
        ("elu_first", "elu + 1 in the first two", ["elu", "elu", "", ""]),
        (
            "elu_window",
            "elu + 1 in the first two, window of 16 in the last two",
            ["elu", "elu", "window_16", "window_16"],
        ),
        (
            "elu_window_32",
            "elu + 1 in the first two, window of 32 in the last two",
            ["elu", "elu", "window_32", "window_32"],
        ),
        ("window_last", "Window of 16 in the last two", ["", "", "window_16", "window_16"]),
        ("learned_last", "Learned in the last two", ["", "", "learned", "learned"]),
        (
            "learned_window",
            "Learned in the first two, window of 16 in the last two",
            ["learned", "learned", "window_16", "window_16"],
        ),
    ];
    for (id, words, ids) in mixtures {
        let ways: Vec<Option<&Way>> = ids.iter().map(|id| way(id)).collect();
        let nats = reading.swap(decoder, &ways, cx).await?;
        report.metrics.push(added(&format!("mix_{id}"), words, reading, &nats, cx)?);
    }
    // Other draws of random rows.
    for (features, id) in [(64, "64"), (256, "256")] {
        let mut losses = Vec::new();
        for draw in 0..5_u64 {
            let rows = lab_kit::mixing::random_rows(features, d, true, &mut lab_kit::rng(draw, "draws"));
            let way = Way::Kernel(vec![lab_kit::mixing::Map::Positive(rows)], 1.0);
            let nats = reading.swap(decoder, &vec![Some(&way); layers], cx).await?;
            losses.push(super::swaps::mean(&nats) - original);
        }
        let ends = |pick: fn(f64, f64) -> f64| losses.iter().copied().fold(losses[0], pick);
        let interval = Interval { low: ends(f64::min), high: ends(f64::max), level: LEVEL };
        let label = format!("Performer, {features} features, all layers: middle of five draws, and their ends");
        report.metrics.push(
            metric(Family::Quality, &format!("draws_{id}"), &label, median(&losses), "nats")
                .lower()
                .interval(interval)
                .exact(0.05, SUMS),
        );
    }
    // How far the weights themselves are.
    for (id, words, way) in &arms {
        let mut far = vec![0.0; layers];
        for (at, windows) in reading.heads.iter().enumerate() {
            let head = &windows[0];
            let tables = Way::FULL.weights(&head.q, &head.k, d, at).zip(way.weights(&head.q, &head.k, d, at));
            if let Some((full, mine)) = tables {
                far[at * layers / heads] += total_variation(&full, &mine, LENGTH, FROM) / (heads / layers) as f64;
            }
        }
        if far.iter().any(|x| *x > 0.0) {
            for layer in [0, 3] {
                let label = format!("Weights moved: {words}, layer {layer}");
                report.metrics.push(
                    metric(Family::Quality, &format!("apart_{layer}_{id}"), &label, far[layer], "")
                        .lower()
                        .exact(0.02, SUMS),
                );
            }
        }
        cx.checkpoint().await?;
    }
    Ok(())
}

/// Entropy, concentration and rank of the trained weights.
async fn weights(report: &mut Report, reading: &Reading, cx: &Context) -> Result<(), LabError> {
    cx.progress("Ranks", 0.42);
    let (d, t, per) = (reading.channels, reading.length, reading.heads.len() / 4);
    let mut rows = Vec::new();
    for layer in 0..4 {
        let (mut sums, mut energy) = ([0.0; 3], [0.0; 3]);
        for at in layer * per..(layer + 1) * per {
            let head = &reading.heads[at][0];
            let Some(full) = Way::FULL.weights(&head.q, &head.k, d, at) else { continue };
            let lines: Vec<&[f32]> = full.chunks_exact(t).skip(FROM).collect();
            let share = |of: &dyn Fn(usize, &[f32]) -> f32| {
                lines.iter().enumerate().map(|(i, row)| f64::from(of(i, row))).sum::<f64>() / lines.len() as f64
            };
            sums[0] += entropy(&full, t, FROM) / per as f64;
            sums[1] += share(&|_, row| row.iter().copied().fold(0.0, f32::max)) / per as f64;
            sums[2] += share(&|i, row| row[(FROM + i + 1).saturating_sub(16)..=FROM + i].iter().sum()) / per as f64;
            if let Some(found) = svd(&Matrix::from_singles(t, t, &full)) {
                let squares: Vec<f64> = found.s.iter().map(|s| s * s).collect();
                let all: f64 = squares.iter().sum();
                for (energy, rank) in energy.iter_mut().zip([8, 16, 32]) {
                    *energy += 100.0 * squares.iter().take(rank).sum::<f64>() / all / per as f64;
                }
            }
            cx.checkpoint().await?;
        }
        let mut add = |id: &str, label: &str, value: f64, unit: &str| {
            let (id, label) = (format!("{id}_{layer}"), format!("{label}, layer {layer}"));
            report.metrics.push(metric(Family::Scale, &id, &label, value, unit).exact(0.5, SUMS));
        };
        add("entropy", "Entropy of weights", sums[0], "nats");
        add("largest", "Largest weight of a row", sums[1], "");
        add("near", "Weight within the last 16 keys", 100.0 * sums[2], "%");
        add("rank_8", "Energy in 8 of 128 singular values", energy[0], "%");
        add("rank_16", "Energy in 16", energy[1], "%");
        add("rank_32", "Energy in 32", energy[2], "%");
        rows.push(
            [Cell::from(format!("Layer {layer}"))]
                .into_iter()
                .chain(sums.iter().chain(&energy).map(|x| Cell::from(*x)))
                .collect(),
        );
    }
    let columns = [
        "Layer",
        "Entropy (nats)",
        "Largest weight",
        "Within 16 keys (share)",
        "Energy in 8 (%)",
        "In 16 (%)",
        "In 32 (%)",
    ];
    report.tables.push(Table {
        id: "weights".into(),
        title: "The trained weights: how sharp, how near, how low in rank".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    let looked = looks::look(reading, &[], &Params::default(), cx).await?;
    report
        .metrics
        .push(metric(Family::Scale, "flat", "Entropy of even weights", looked.flat, "nats").exact(0.01, SUMS));
    report.metrics.push(
        metric(
            Family::Scale,
            "features_needed",
            "Random features for weights within 10 %",
            looked.square.exp() * 100.0,
            "features",
        )
        .exact(0.05 * looked.square.exp() * 100.0, SUMS),
    );
    report.metrics.push(
        metric(
            Family::Scale,
            "square",
            "Square length of the scaled sum of a query and a key, layer 0",
            looked.square,
            "",
        )
        .exact(0.05, SUMS),
    );
    Ok(())
}

async fn memories(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Memories", 0.48);
    let rules = [
        ("sum", "Sum", Rule::Sum),
        ("decay", "Sum, fading 0.9", Rule::Decay(0.9)),
        ("delta", "Delta rule, strength 1", Rule::Delta(1.0)),
        ("delta_half", "Delta rule, strength 0.5", Rule::Delta(0.5)),
        ("softmax", "Softmax", Rule::Softmax { sharpness: 12.0, slope: 0.0 }),
        ("softmax_newer", "Softmax, newer preferred", Rule::Softmax { sharpness: 12.0, slope: 0.2 }),
    ];
    let mut rows = Vec::new();
    for n in [8, KEY] {
        for (id, words, rule) in rules {
            let mut row = vec![Cell::from(words), Cell::from(n as f64)];
            for (twice, times) in [(false, "once"), (true, "twice")] {
                for pairs in [4, 8, 16, 32] {
                    let share = 100.0 * associative(rule, n, pairs, twice, 200, &mut cx.rng("pairs"));
                    row.push(share.into());
                    let label = format!("{words}, keys of {n}, {pairs} pairs written {times}");
                    report.metrics.push(
                        metric(Family::Scale, &format!("held_{id}_{n}_{pairs}_{times}"), &label, share, "%")
                            .higher()
                            .exact(1.0, SUMS),
                    );
                    cx.checkpoint().await?;
                }
            }
            rows.push(row);
        }
    }
    let mut columns = vec!["Rule".to_owned(), "Numbers of a key".into()];
    columns.extend(
        ["once", "twice"].iter().flat_map(|times| [4, 8, 16, 32].map(|pairs| format!("{pairs} pairs, {times} (%)"))),
    );
    report.tables.push(Table { id: "memory".into(), title: "Values found, 200 trials".into(), columns, rows });
    Ok(())
}

async fn recall(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    let arms = [
        ("softmax_8", "Softmax, keys of 8", Mixer::Softmax { causal: true }, 8),
        ("kernel_8", "elu + 1, keys of 8", Mixer::Kernel, 8),
        ("kernel_32", "elu + 1, keys of 32", Mixer::Kernel, 32),
        ("gated_8", "Gated, keys of 8", Mixer::Gated, 8),
        ("gated_32", "Gated, keys of 32", Mixer::Gated, 32),
        ("delta_8", "Delta rule, keys of 8", Mixer::Delta, 8),
        ("gated_delta_8", "Gated delta rule, keys of 8", Mixer::GatedDelta, 8),
    ];
    let before = cx.seed;
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for (i, (id, words, mixer, keys)) in arms.into_iter().enumerate() {
        let mut found = vec![Vec::new(); PAIRS.len()];
        for seed in 0..SEEDS {
            cx.progress(
                &format!("Recall: {words}"),
                0.5 + 0.25 * (i as f64 + seed as f64 / SEEDS as f64) / arms.len() as f64,
            );
            cx.seed = seed;
            let (shares, _) = training::recall(mixer, keys, RECALL_STEPS, cx).await?;
            found.iter_mut().zip(shares).for_each(|(found, share)| found.push(share));
        }
        let state = training::shape(mixer, keys).state();
        let mut row = vec![Cell::from(words), state.map_or(Cell::from("grows"), |n| Cell::from(n as f64))];
        for (pairs, values) in PAIRS.iter().zip(&found) {
            row.push(median(values).into());
            report.metrics.push(over_seeds(
                &format!("recall_{id}_{pairs}"),
                &format!("Recalled of {pairs} pairs: {words}"),
                values,
                cx,
            ));
        }
        rows.push(row);
        lines.push((words.to_owned(), std::array::from_fn(|i| median(&found[i]))));
    }
    cx.seed = before;
    report.charts.push(training::by_pairs(&lines));
    report.tables.push(Table {
        id: "recall".into(),
        title: "Recall after 200 steps, medians of three seeds (%)".into(),
        columns: ["Mixer", "Numbers of the state", "2 pairs", "4 pairs", "8 pairs", "16 pairs"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    });
    Ok(())
}

async fn glyphs(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    let pictures = Pictures::load(cx).await?;
    let before = cx.seed;
    for (i, (id, words, mixer)) in [
        ("softmax", "Softmax", Mixer::Softmax { causal: false }),
        ("2", "Linformer, 2 slots", Mixer::Linformer(2)),
        ("8", "Linformer, 8 slots", Mixer::Linformer(8)),
        ("32", "Linformer, 32 slots", Mixer::Linformer(32)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut found = Vec::new();
        for seed in 0..SEEDS {
            cx.progress(&format!("Glyphs: {words}"), 0.78 + 0.04 * i as f64);
            cx.seed = seed;
            found.push(pictures.train(mixer, GLYPH_STEPS, cx).await?);
        }
        report.metrics.push(over_seeds(&format!("glyphs_{id}"), &format!("Glyphs named: {words}"), &found, cx));
    }
    cx.seed = before;
    Ok(())
}

async fn times(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Timing", 0.95);
    let params = Params::default();
    let lengths = [64, 128, 256, 512, 1024, 2048, 4096];
    let times = timing::of(&lengths, &params, 7, cx).await?;
    let ids = ["tables", "tiles", "elu", "performer", "delta", "window"];
    for length in lengths {
        for (mixer, (id, name)) in ids.iter().zip(timing::NAMES).enumerate() {
            let ms = times.of(mixer, length).to_vec();
            let label = format!("{name}, {length} tokens");
            let interval = median_interval(&ms, LEVEL, &mut cx.rng(id));
            report.metrics.push(
                metric(Family::Time, &format!("ms_{id}_{length}"), &label, median(&ms), "ms")
                    .lower()
                    .interval(interval)
                    .measured(ms),
            );
            if mixer != 1 {
                let ratios = times.ratios(1, mixer, length);
                let id = format!("gain_{id}_{length}");
                report.metrics.push(
                    metric(Family::Time, &id, &format!("Tiled softmax over {label}"), median(&ratios), "×")
                        .higher()
                        .baseline(1.0)
                        .measured(ratios),
                );
            }
        }
    }
    for (mixer, id) in ids.iter().enumerate().skip(2) {
        if let Some(crossing) = times.crossing(1, mixer) {
            report.metrics.push(
                metric(
                    Family::Scale,
                    &format!("crossing_{id}"),
                    &format!("Faster than tiled softmax from: {}", timing::NAMES[mixer]),
                    crossing,
                    "tokens",
                )
                .measured(vec![crossing]),
            );
        }
    }
    for length in [256, 2048, 8192] {
        let [rest, softmax, linear] = timing::model_operations(length);
        let gain = (rest + softmax) / (rest + linear);
        report.metrics.push(
            metric(
                Family::Scale,
                &format!("model_gain_{length}"),
                &format!("Whole model, operations saved at {length} tokens"),
                gain,
                "×",
            )
            .exact(1e-6, "counted"),
        );
    }
    // Chunks of other sizes.
    for chunk in [16, 64, 256] {
        let found = timing::of(&[2048], &Params { chunk, ..Params::default() }, 5, cx).await?;
        let ms = found.of(2, 2048).to_vec();
        report.metrics.push(
            metric(
                Family::Time,
                &format!("ms_chunk_{chunk}"),
                &format!("elu + 1, chunks of {chunk}, 2,048 tokens"),
                median(&ms),
                "ms",
            )
            .lower()
            .measured(ms),
        );
    }
    let chart: Chart = figures::times(&times);
    report.charts.push(chart);
    report.metrics.extend(
        summary::times(&times, &params, cx).into_iter().filter(|m| m.id == "chunk_gflops" || m.id == "speedup"),
    );
    Ok(())
}
