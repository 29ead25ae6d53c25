//! Every method, pattern, calibration, structure and width, judged in pairs with the dense model on the same text.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Interval, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    mlp::read,
    report::{MetricExt, metric},
    sparse::{Pattern, Sharing},
};

use super::{
    Text, calibrate, figures,
    judge::Judged,
    model::{Source, Weights},
    prune::{How, Kept, Score, prune},
    smaller::Units,
    summary::model_bytes,
};

/// Windows that judge.
const WINDOWS: usize = 20;
/// Windows that calibrate, where nothing else is said.
const EXAMPLES: usize = 16;
const TWO_FOUR: Pattern = Pattern::NOfM { keep: 2, of: 4 };
const PATTERNS: [(Pattern, &str); 3] =
    [(TWO_FOUR, "2_4"), (Pattern::NOfM { keep: 4, of: 8 }, "4_8"), (Pattern::NOfM { keep: 1, of: 4 }, "1_4")];

/// One arm, planned.
struct Plan {
    id: String,
    how: How,
    text: (Text, usize),
}

fn plan() -> Vec<Plan> {
    let mut all = Vec::new();
    let corpus = (Text::Corpus, EXAMPLES);
    let how = |score: Score, pattern: Pattern| How {
        score,
        pattern,
        sharing: Sharing::Row,
        update: score == Score::SparseGpt,
        kept: Kept::Float,
    };
    let scores = [Score::Random, Score::Magnitude, Score::Wanda, Score::SparseGpt];
    let mut add = |id: String, how: How, text: (Text, usize)| all.push(Plan { id, how, text });
    for percent in [30, 50, 60, 70, 80] {
        for score in scores {
            if score != Score::Random || percent == 50 {
                let pattern = Pattern::Free(f64::from(percent) / 100.0);
                add(format!("{}_{percent}", score.id()), how(score, pattern), corpus);
            }
        }
    }
    for (pattern, words) in PATTERNS {
        for score in scores {
            if score != Score::Random || pattern == TWO_FOUR {
                add(format!("{}_{words}", score.id()), how(score, pattern), corpus);
            }
        }
    }
    for percent in [50, 70] {
        let pattern = Pattern::Free(f64::from(percent) / 100.0);
        for score in &scores[1..] {
            let per_matrix = How { sharing: Sharing::Matrix, ..how(*score, pattern) };
            add(format!("{}_{percent}_layer", score.id()), per_matrix, corpus);
        }
        // The mask of one, the update of another.
        add(format!("sparse_gpt_{percent}_fixed"), How { update: false, ..how(Score::SparseGpt, pattern) }, corpus);
        add(format!("magnitude_{percent}_updated"), How { update: true, ..how(Score::Magnitude, pattern) }, corpus);
        add(format!("wanda_{percent}_updated"), How { update: true, ..how(Score::Wanda, pattern) }, corpus);
        for score in [Score::Wanda, Score::SparseGpt] {
            for (text, words) in [(Text::ShuffledTokens, "shuffled"), (Text::RandomTokens, "random_tokens")] {
                add(format!("{}_{percent}_{words}", score.id()), how(score, pattern), (text, EXAMPLES));
            }
        }
    }
    for windows in [2, 8, 32] {
        for score in [Score::Wanda, Score::SparseGpt] {
            let pattern = Pattern::Free(0.7);
            add(format!("{}_70_windows_{windows}", score.id()), how(score, pattern), (Text::Corpus, windows));
        }
    }
    for (bits, pattern, words) in [
        (8, Pattern::Free(0.0), "0"),
        (4, Pattern::Free(0.0), "0"),
        (3, Pattern::Free(0.0), "0"),
        (8, Pattern::Free(0.5), "50"),
        (4, Pattern::Free(0.3), "30"),
        (4, Pattern::Free(0.5), "50"),
        (4, Pattern::Free(0.7), "70"),
        (4, TWO_FOUR, "2_4"),
        (3, Pattern::Free(0.5), "50"),
    ] {
        let rounded = How { kept: Kept::Bits(bits), ..how(Score::SparseGpt, pattern) };
        add(format!("bits_{bits}_{words}"), rounded, corpus);
    }
    all
}

/// One arm, judged.
struct Arm {
    id: String,
    what: String,
    change: (f64, Interval),
    bits: (f64, Interval),
    bytes: usize,
    /// Bits a weight of the layers, against the dense model's number of them.
    bits_per_weight: f64,
}

fn arm(
    id: &str,
    what: String,
    (before, after): (&Judged, &Judged),
    (dense, model, how): (&Weights, &Weights, &How),
    cx: &Context,
) -> Result<Arm, LabError> {
    let bytes = model_bytes(model, how);
    let (whole, layers) = (dense.state.parameters(), dense.count().0);
    let outside = 2 * (whole - layers);
    Ok(Arm {
        id: id.to_owned(),
        what,
        change: before.change(after, cx)?,
        bits: before.change_in_bits(after, cx)?,
        bytes,
        bits_per_weight: 8.0 * bytes.saturating_sub(outside) as f64 / layers as f64,
    })
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let source = Source::load(cx).await?;
    let windows = source.windows(WINDOWS);
    let before = Judged::of(&source.dense.model(cx)?, &source, &windows, cx).await?;
    let (mut arms, mut report) = (Vec::new(), Report::default());
    report
        .metrics
        .push(metric(Family::Quality, "loss_dense", "Loss of the dense model", before.mean(), "nats").lower());
    let plan = plan();
    for (done, Plan { id, how, text }) in plan.iter().enumerate() {
        cx.progress(&format!("Arm {id}"), 0.85 * done as f64 / plan.len() as f64);
        let text = source.calibration(text.0, text.1, cx).await?;
        let pruned = prune(&source.dense, how, &text, cx).await?;
        let after = Judged::of(&pruned.model.model(cx)?, &source, &windows, cx).await?;
        arms.push(arm(id, words(id, how), (&before, &after), (&source.dense, &pruned.model, how), cx)?);
        if id == "sparse_gpt_50" {
            for (id, label, down) in
                [("stands_out", "inputs 192 wide", false), ("stands_out_down", "inputs of down", true)]
            {
                let own =
                    pruned.flows.iter().filter(|flow| flow.names.iter().any(|name| name.contains("down")) == down);
                let ratios: Vec<f64> = own.map(figures::stands_out).collect();
                let (low, high) = ratios.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
                report.metrics.push(
                    metric(Family::Quality, id, &format!("Largest channel over the middle one, {label}"), high, "×")
                        .interval(Interval { low, high, level: 1.0 }),
                );
            }
        }
    }
    cx.progress("Really smaller models", 0.87);
    smaller(&source, (&windows, &before), &mut arms, &mut report, cx).await?;
    cx.progress("Activations", 0.98);
    activations(&source, &mut report, cx).await?;
    tell(&arms, &mut report);
    Ok(report)
}

fn words(id: &str, how: &How) -> String {
    let share = match how.pattern {
        Pattern::Free(sparsity) => format!("{} % zeros", (100.0 * sparsity).round()),
        Pattern::NOfM { keep, of } => format!("{keep} of {of}"),
    };
    let mut words = format!("{}, {share}", how.score.words());
    if let Kept::Bits(bits) = how.kept {
        words += &format!(", {bits} bits");
    }
    for (part, said) in [
        ("_layer", "per matrix"),
        ("_fixed", "no update"),
        ("_updated", "updated"),
        ("_shuffled", "shuffled tokens"),
        ("_random_tokens", "random tokens"),
    ] {
        if id.ends_with(part) {
            words += &format!(", {said}");
        }
    }
    if let Some((_, windows)) = id.split_once("_windows_") {
        words += &format!(", {windows} windows");
    }
    words
}

/// A layer less, or narrower feed-forward networks.
async fn smaller(
    source: &Source,
    (windows, before): (&[&[u32]], &Judged),
    arms: &mut Vec<Arm>,
    report: &mut Report,
    cx: &Context,
) -> Result<(), LabError> {
    let dense = &source.dense;
    let text = source.calibration(Text::Corpus, EXAMPLES, cx).await?;
    let nothing = How {
        score: Score::Magnitude,
        pattern: Pattern::Free(0.0),
        sharing: Sharing::Row,
        update: false,
        kept: Kept::Float,
    };
    let model = dense.model(cx)?;
    let mut streams = calibrate::embed(&model, &text, cx)?;
    for layer in 0..dense.config.layers {
        let after = calibrate::through(&model, layer, &streams, cx).await?;
        let influence = calibrate::influence(&streams, &after).await?;
        let label = format!("Block influence of layer {}", layer + 1);
        report.metrics.push(metric(Family::Quality, &format!("influence_{}", layer + 1), &label, influence, ""));
        streams = after;
        let shallow = dense.without_layer(layer)?;
        let judged = Judged::of(&shallow.model(cx)?, source, windows, cx).await?;
        let id = format!("without_{}", layer + 1);
        arms.push(arm(
            &id,
            format!("without layer {}", layer + 1),
            (before, &judged),
            (dense, &shallow, &nothing),
            cx,
        )?);
    }
    for (share, percent) in [(0.75, 75), (0.5, 50)] {
        for (by, words) in [(Units::Activation, "activation"), (Units::Size, "size"), (Units::Random, "random")] {
            let narrow = dense.narrowed(share, by, &text, cx).await?;
            let judged = Judged::of(&narrow.model(cx)?, source, windows, cx).await?;
            let id = format!("ffn_{percent}_{words}");
            let what = format!("{percent} % of the feed-forward units, by {words}");
            arms.push(arm(&id, what, (before, &judged), (dense, &narrow, &nothing), cx)?);
        }
    }
    // All together: fewer units, half of the rest zero, four bits.
    let narrow = dense.narrowed(0.75, Units::Activation, &text, cx).await?;
    let all =
        How { score: Score::SparseGpt, pattern: Pattern::Free(0.5), update: true, kept: Kept::Bits(4), ..nothing };
    let pruned = prune(&narrow, &all, &text, cx).await?;
    let judged = Judged::of(&pruned.model.model(cx)?, source, windows, cx).await?;
    let what = "75 % of the feed-forward units, SparseGPT, 50 % zeros, 4 bits".to_owned();
    arms.push(arm("all_together", what, (before, &judged), (dense, &pruned.model, &all), cx)?);
    Ok(())
}

/// How many activations inside the feed-forward networks one could leave out.
async fn activations(source: &Source, report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let text = source.calibration(Text::Corpus, 4, cx).await?;
    let model = source.dense.model(cx)?;
    let (mut zero, mut count, mut tenth, mut tokens) = (0, 0, 0.0, 0);
    for window in &text {
        for (names, input) in model.inputs_of_matrices(model.tokens(&[window.as_slice()], &cx.device)?) {
            if !names.iter().any(|name| name.contains("down_proj")) {
                continue;
            }
            let [_, columns] = input.dims();
            for row in read(input).await?.chunks_exact(columns) {
                zero += row.iter().filter(|a| **a == 0.0).count();
                count += row.len();
                let mut squares: Vec<f32> = row.iter().map(|a| a * a).collect();
                squares.sort_by(|a, b| b.total_cmp(a));
                tenth += f64::from(squares[..columns / 10].iter().sum::<f32>() / squares.iter().sum::<f32>());
                tokens += 1;
            }
        }
    }
    let share = |part: f64, of: f64| 100.0 * part / of.max(1.0);
    report.metrics.extend([
        metric(
            Family::Quality,
            "activations_zero",
            "Feed-forward activations that are exactly zero",
            share(zero as f64, count as f64),
            "%",
        ),
        metric(
            Family::Quality,
            "activations_tenth",
            "Share of a token's squared activations in its largest tenth",
            share(tenth, f64::from(tokens)),
            "%",
        ),
    ]);
    Ok(())
}

fn tell(arms: &[Arm], report: &mut Report) {
    let mut rows = Vec::new();
    for arm in arms {
        let Arm { id, what, change, bits, .. } = arm;
        report.metrics.extend([
            metric(Family::Quality, &format!("change_{id}"), &format!("Loss added: {what}"), change.0, "nats")
                .lower()
                .baseline(0.0)
                .interval(change.1),
            metric(
                Family::Quality,
                &format!("bits_change_{id}"),
                &format!("Bits per character added: {what}"),
                bits.0,
                "bits",
            )
            .lower()
            .baseline(0.0)
            .interval(bits.1),
            metric(
                Family::Memory,
                &format!("bits_per_weight_{id}"),
                &format!("Bits per weight of the dense layers: {what}"),
                arm.bits_per_weight,
                "bits",
            )
            .lower()
            .baseline(16.0),
            metric(
                Family::Memory,
                &format!("smaller_{id}"),
                &format!("Layers, against FP32: {what}"),
                32.0 / arm.bits_per_weight.max(1e-9),
                "×",
            )
            .higher(),
        ]);
        let numbers = [change.0, change.1.low, change.1.high, bits.0, arm.bits_per_weight, arm.bytes as f64];
        rows.push(std::iter::once(Cell::from(what.as_str())).chain(numbers.map(Cell::from)).collect());
    }
    let columns = [
        "Arm",
        "Loss added (nats)",
        "95 % from",
        "95 % to",
        "Bits per character added",
        "Bits per weight of the layers",
        "Model (bytes)",
    ];
    report.tables.push(Table {
        id: "arms".into(),
        title: "Every arm".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    let of = |id: &str| arms.iter().find(|arm| arm.id == id);
    let line = |name: &str, ids: &[(f64, String)]| {
        let found: Vec<(f64, &Arm)> = ids.iter().filter_map(|(x, id)| of(id).map(|arm| (*x, arm))).collect();
        Series {
            name: name.into(),
            points: found.iter().map(|(x, arm)| [*x, arm.change.0]).collect(),
            band: found.iter().map(|(_, arm)| [arm.change.1.low, arm.change.1.high]).collect(),
        }
    };
    let by_percent = |score: Score| {
        let ids: Vec<(f64, String)> =
            [30, 50, 60, 70, 80].map(|p| (f64::from(p), format!("{}_{p}", score.id()))).to_vec();
        line(score.words(), &ids)
    };
    report.charts.push(Chart {
        id: "sparsity".into(),
        title: "Where do the methods part?".into(),
        caption: "Loss added against the share of zeros, in pairs with the dense model. Bands are 95 % intervals over windows \
                  of text."
            .into(),
        x: Axis::linear("Zeros (%)"),
        y: Axis::linear("Loss added (nats a token)"),
        body: ChartBody::Line { series: [Score::Magnitude, Score::Wanda, Score::SparseGpt].map(by_percent).to_vec() },
    });
    let by_bits = |name: &str, ids: &[&str]| {
        let mut points: Vec<[f64; 2]> =
            ids.iter().filter_map(|id| of(id).map(|arm| [arm.bits_per_weight, arm.change.0.max(1e-4)])).collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        Series { name: name.into(), points, band: vec![] }
    };
    report.charts.push(Chart {
        id: "bits".into(),
        title: "Prune or quantize?".into(),
        caption:
            "Loss added against the bits that a weight of the layers takes, places and scales included. Both axes are \
                  logarithmic. Lower and further left is better."
                .into(),
        x: Axis::log("Bits per weight"),
        y: Axis::log("Loss added (nats a token)"),
        body: ChartBody::Line {
            series: vec![
                by_bits(
                    "Zeros, FP16",
                    &["sparse_gpt_30", "sparse_gpt_50", "sparse_gpt_60", "sparse_gpt_70", "sparse_gpt_80"],
                ),
                by_bits("No zeros, 8, 4, 3 bits", &["bits_8_0", "bits_4_0", "bits_3_0"]),
                by_bits("Zeros and 4 bits", &["bits_4_30", "bits_4_50", "bits_4_70"]),
                by_bits("Fewer units, FP16", &["ffn_75_activation", "ffn_50_activation"]),
            ],
        },
    });
}
