//! Chains of three lengths and an hourglass, ten seeds for what training changes, the same memory spent in three ways, the
//! language model at three lengths, and what Burn does by itself.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    burn::tensor::{Device, Tensor, TensorData, activation::relu},
    measure::{in_turns, peak_bytes},
    models::LanguageModel,
    recompute::{Noise, best, saved_by_a_layer, trace, uniform},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};
use rand::Rng;

use super::{
    Dropout, Network, Params, Placement,
    arms::{self, Arm, Subject},
    figures,
    language::{self, Way},
    summary::{apart, predicted, ratio},
};

const LEVEL: f64 = 0.95;
const MIB: f64 = 1_048_576.0;
const ROUNDS: usize = 7;
const SEEDS: u64 = 10;
const COUNTED: &str = "counted from sizes";
/// Layers and rows of the chain that Burn differentiates.
const BURN: (usize, usize, usize) = (16, 128, 512);

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    for layers in [8, 16, 32] {
        chain(layers, &mut report, cx).await?;
    }
    hourglass(&mut report, cx).await?;
    seeds(&mut report, cx).await?;
    same_memory(&mut report, cx).await?;
    burn_chain(&mut report, cx).await?;
    for (texts, tokens) in [(1, 64), (1, 128), (1, 256), (4, 64), (4, 128), (4, 256)] {
        model(texts, tokens, &mut report, cx).await?;
    }
    kinds(&mut report, cx).await?;
    Ok(report)
}

fn measured(family: Family, id: String, label: &str, unit: &str, samples: Vec<f64>, cx: &Context) -> Metric {
    let interval = median_interval(&samples, LEVEL, &mut cx.rng(&id));
    metric(family, &id, label, median(&samples), unit).interval(interval).measured(samples)
}

fn counted(family: Family, id: String, label: &str, value: f64, unit: &str) -> Metric {
    metric(family, &id, label, value, unit).exact(1e-9 * value.abs().max(1.0), COUNTED)
}

/// Names for the arms of [`arms::all`].
const IDS: [&str; 9] = ["all", "half", "every", "middle", "root", "least", "revolve", "input", "pieces"];

async fn chain(layers: u32, report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress(&format!("{layers} layers"), 0.0);
    let params = Params { layers, ..Params::default() };
    let subject = Subject::draw(&params, cx);
    let arms = arms::all(&subject, params.chosen(&subject)?, false);
    let found = subject.measure(&arms, Noise::None, cx).await?;
    let unit = subject.bytes[0] as f64;
    let timed = [0, 1, 2, 4, 5, 6, 8];
    let mut gradients = subject.chain.zeros();
    let ms = in_turns(cx, timed.len(), ROUNDS, |which| {
        subject.step(&arms[timed[which]], Noise::None, &mut gradients, || ());
    })
    .await?;
    for (which, arm) in arms.iter().enumerate() {
        let id = |what: &str| format!("{what}_{}_{layers}", IDS[which]);
        let label = |what: &str| format!("{what}: {}, {layers} layers", arm.name);
        report.metrics.push(counted(
            Family::Memory,
            id("model"),
            &label("Activations at once"),
            arm.model as f64 / unit,
            "",
        ));
        let extra = arm.extra * f64::from(layers);
        report.metrics.push(counted(Family::Scale, id("extra"), &label("Layers run again"), extra, "layers"));
        report.metrics.push(counted(Family::Scale, id("predicted"), &label("Predicted time"), predicted(arm), "×"));
        let changed = apart(&found[0].gradients, &found[which].gradients).0;
        // Pieces add up in another order.
        if which < 8 {
            let label = label("Numbers of the gradient that changed");
            report.metrics.push(counted(Family::Quality, id("changed"), &label, changed as f64, ""));
        }
        if let Some(peak) = found[which].peak {
            let peak = peak as f64 / unit;
            let metric = |id: String, label: String, value: f64| {
                let value = (1000.0 * value).round() / 1000.0;
                metric(Family::Memory, &id, &label, value, "").measured(vec![value])
            };
            report.metrics.push(metric(id("peak"), label("Counted peak, in activations"), peak));
            report.metrics.push(metric(
                id("beyond"),
                label("Counted beyond the formula"),
                peak - arm.model as f64 / unit,
            ));
        }
        if let Some(at) = timed.iter().position(|at| *at == which) {
            report.metrics.push(ratio(&id("ratio"), &label("Time against keeping all"), &ms[at], &ms[0], cx));
            report.metrics.push(measured(Family::Time, id("ms"), &label("A step"), "ms", ms[at].clone(), cx).lower());
            let rate = |passes: f64| ms[at].iter().map(|ms| 1e-6 * passes * subject.forward() / ms).collect();
            let busy = measured(
                Family::Utilization,
                id("rate"),
                &label("All arithmetic"),
                "GFLOP/s",
                rate(3.0 + arm.extra),
                cx,
            );
            let useful =
                measured(Family::Utilization, id("useful"), &label("Useful arithmetic"), "GFLOP/s", rate(3.0), cx);
            report.metrics.extend([busy.higher(), useful.higher()]);
        }
    }
    if layers == 16 {
        report.charts.push(figures::plane(&subject, &arms, cx));
        report.charts.push(figures::held(&subject, &arms, &found));
        report.charts.push(figures::lengths());
        report.tables.push(figures::table(&subject, &arms, &found));
    }
    Ok(())
}

async fn hourglass(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Hourglass", 0.3);
    let params = Params { model: Network::Hourglass, ..Params::default() };
    let subject = Subject::draw(&params, cx);
    let all = subject.all() as f64;
    let forward = subject.forward();
    let mut rows = Vec::new();
    let mut arms = vec![Arm::placed("Keep all", &subject, &uniform(16, 1), false)];
    // Equal spacing, and the best that holds no more.
    for segments in [2, 4, 5, 8] {
        let equal = uniform(16, segments);
        let budget = subject.cost(&equal).0;
        let Some(keep) = best(subject.inputs(), budget) else { continue };
        for (name, keep) in [("equal", equal), ("best", keep)] {
            let (peak, extra) = subject.cost(&keep);
            let words = format!("{segments} equal segments");
            let words = if name == "best" { format!("The best that holds no more than {words}") } else { words };
            let id = |what: &str| format!("hourglass_{what}_{name}_{segments}");
            report.metrics.extend([
                counted(
                    Family::Memory,
                    id("share"),
                    &format!("Activations at once, {words}"),
                    100.0 * peak as f64 / all,
                    "%",
                ),
                counted(Family::Scale, id("extra"), &format!("Extra forward passes, {words}"), extra / forward, ""),
            ]);
            rows.push(vec![
                Cell::from(words.as_str()),
                figures::list(&keep).into(),
                (peak as f64 / MIB).into(),
                (extra / forward).into(),
            ]);
            arms.push(Arm::placed(&words, &subject, &keep, false));
        }
    }
    let least = subject.least();
    let (peak, extra) = subject.cost(&least);
    report.metrics.extend([
        counted(Family::Memory, "hourglass_share_least".into(), "Lowest peak", 100.0 * peak as f64 / all, "%"),
        counted(
            Family::Scale,
            "hourglass_extra_least".into(),
            "Extra forward passes, lowest peak",
            extra / forward,
            "",
        ),
    ]);
    for at in [6, 10] {
        let keep: Vec<bool> = (0..16).map(|layer| layer == 0 || layer == at).collect();
        let (peak, extra) = subject.cost(&keep);
        report.metrics.extend([
            counted(
                Family::Memory,
                format!("hourglass_share_at_{at}"),
                "Activations at once, one checkpoint",
                100.0 * peak as f64 / all,
                "%",
            ),
            counted(
                Family::Scale,
                format!("hourglass_extra_at_{at}"),
                "Extra forward passes, one checkpoint",
                extra / forward,
                "",
            ),
        ]);
        arms.push(Arm::placed("One checkpoint", &subject, &keep, false));
    }
    let mut gradients = subject.chain.zeros();
    // Eight equal segments, and the best.
    let timed = [0, 7, 8];
    let ms =
        in_turns(cx, 3, ROUNDS, |which| subject.step(&arms[timed[which]], Noise::None, &mut gradients, || ())).await?;
    for (id, at) in [("equal", 1), ("best", 2)] {
        let label = format!("Time against keeping all, hourglass, {}", arms[timed[at]].name);
        report.metrics.push(ratio(&format!("hourglass_ratio_{id}_8"), &label, &ms[at], &ms[0], cx));
        let label = format!("Predicted: {label}");
        report.metrics.push(counted(
            Family::Scale,
            format!("hourglass_predicted_{id}_8"),
            &label,
            predicted(&arms[timed[at]]),
            "×",
        ));
    }
    report.tables.push(Table {
        id: "hourglass".into(),
        title: "Equal spacing on unequal layers".into(),
        columns: ["Placement", "Checkpoints", "Activations (MiB)", "Extra forward passes"].map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

/// What a training ends in, over weights, data and masks of ten seeds.
async fn seeds(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    let before = cx.seed;
    let mut samples: [Vec<f64>; 5] = Default::default();
    for seed in 0..SEEDS {
        cx.progress("Seeds", 0.35 + 0.01 * seed as f64);
        cx.seed = seed;
        for (at, dropout) in [(0, Dropout::Replayed), (1, Dropout::Redrawn)] {
            let params = Params { dropout, placement: Placement::Sqrt, batch: 256, ..Params::default() };
            let subject = Subject::draw(&params, cx);
            let chosen = params.chosen(&subject)?;
            let arms = arms::all(&subject, chosen, false);
            let found = subject.measure(&arms[..2], params.noise(0), cx).await?;
            let curves = subject.train(&arms[..2], &params, cx).await?;
            samples[at].push(apart(&found[0].gradients, &found[1].gradients).1);
            let last = |curve: &[f64]| curve.iter().rev().take(4).sum::<f64>();
            if at == 0 {
                let change = curves[0].iter().zip(&curves[1]).map(|(a, b)| (a - b).abs());
                samples[2].push(change.fold(0.0, f64::max));
                samples[4].push(last(&curves[0]) / curves[0].iter().take(4).sum::<f64>());
            } else {
                samples[3].push(last(&curves[1]) / last(&curves[0]));
            }
        }
    }
    cx.seed = before;
    let words = [
        ("gradient_replayed", "Largest change of the gradient, dropout replayed", ""),
        ("gradient_redrawn", "Largest change of the gradient, dropout drawn anew", ""),
        ("loss_replayed", "Largest change of a loss in 20 steps, dropout replayed", ""),
        ("loss_redrawn", "Loss of the last steps, dropout drawn anew, over the right one", "×"),
        ("loss_left", "Loss of the last four steps over that of the first four", "×"),
    ];
    for ((id, label, unit), samples) in words.into_iter().zip(samples) {
        report.metrics.push(measured(Family::Quality, id.into(), label, unit, samples, cx));
    }
    Ok(())
}

/// The memory in which 256 rows train with everything kept: spent on one large step, on pieces, or on more rows computed again.
async fn same_memory(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("The same memory", 0.45);
    let draw = |batch: u32| Subject::draw(&Params { batch, ..Params::default() }, cx);
    let small = draw(256);
    let all = Arm::placed("Keep all", &small, &uniform(16, 1), false);
    let peak = |subject: &Subject, arm: &Arm| trace(&arm.schedule, &subject.bytes, &subject.operations).peak;
    let budget = peak(&small, &all);
    // Rows by the lowest peak, in whole sixteens.
    let least = Arm::placed("Lowest peak", &small, &small.least(), false);
    let rows = (256 * budget / peak(&small, &least) / 16 * 16) as u32;
    let large = draw(rows);
    let again = Arm::placed("Lowest peak", &large, &large.least(), false);
    let pieces = Arm { parts: (rows as usize).div_ceil(256), ..Arm::placed("Pieces", &large, &uniform(16, 1), false) };
    let mut gradients = small.chain.zeros();
    let ms = in_turns(cx, 3, ROUNDS, |which| match which {
        0 => small.step(&all, Noise::None, &mut gradients, || ()),
        1 => large.step(&again, Noise::None, &mut gradients, || ()),
        _ => large.step(&pieces, Noise::None, &mut gradients, || ()),
    })
    .await?;
    report.metrics.push(counted(
        Family::Scale,
        "fit_rows".into(),
        "Rows at the lowest peak, in the memory of 256",
        f64::from(rows),
        "rows",
    ));
    for ((id, label), (rows, ms)) in
        [("all", "keep all, 256 rows"), ("again", "lowest peak"), ("pieces", "pieces of the batch")]
            .into_iter()
            .zip([256, rows, rows].into_iter().zip(&ms))
    {
        let samples = ms.iter().map(|ms| 1e3 * f64::from(rows) / ms).collect();
        let label = format!("Rows a second, {label}");
        report.metrics.push(measured(Family::Time, format!("fit_rate_{id}"), &label, "rows/s", samples, cx).higher());
    }
    Ok(())
}

/// The same chain on Burn's automatic differentiation, as it is and with its own checkpointing.
async fn burn_chain(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Burn", 0.5);
    let (layers, width, rows) = BURN;
    let unit = (4 * width * rows) as f64;
    let mut rng = cx.rng("burn");
    let bound = (6.0 / width as f32).sqrt();
    let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-bound..bound)).collect() };
    let x = numbers(rows * width);
    let weights: Vec<Vec<f32>> = (0..layers).map(|_| numbers(width * width)).collect();
    let plain = Device::flex().autodiff();
    for (id, label, device) in [
        ("plain", "Burn", plain.clone()),
        ("balanced", "Burn with gradient checkpointing", plain.gradient_checkpointing()),
    ] {
        let tensor =
            |x: &[f32], rows: usize| Tensor::<2>::from_data(TensorData::new(x.to_vec(), [rows, width]), &device);
        let weights: Vec<Tensor<2>> = weights.iter().map(|w| tensor(w, width).require_grad()).collect();
        let mut peak = None;
        for _ in 0..2 {
            let found = peak_bytes(cx, async || {
                let y = weights.iter().fold(tensor(&x, rows), |x, w| relu(x.matmul(w.clone())));
                drop(std::hint::black_box(y.sum().backward()));
                Ok(())
            });
            peak = found.await?.1;
        }
        if let Some(peak) = peak {
            // Gradients of the weights are made on the way, unlike ours.
            let peak = peak as f64 / unit;
            let label = format!("{label}: peak of a chain of 16 layers, in activations");
            report
                .metrics
                .push(metric(Family::Memory, &format!("burn_{id}"), &label, peak, "").lower().measured(vec![peak]));
        }
    }
    let gradients = (layers * width * width * 4) as f64 / unit;
    report.metrics.push(counted(
        Family::Memory,
        "burn_gradients".into(),
        "Gradients of the weights, in activations",
        gradients,
        "",
    ));
    Ok(())
}

async fn model(texts: usize, tokens: usize, report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress(&format!("Language model, {texts} texts of {tokens}"), 0.55);
    let subject = language::Subject::load(texts, tokens, cx).await?;
    let plain = cx.device.clone().autodiff();
    let own = plain.clone().gradient_checkpointing();
    let (model, balanced) = (subject.model(&plain)?, subject.model(&own)?);
    let mut ways: Vec<_> = language::ways(subject.config.layers, texts)
        .into_iter()
        .map(|(name, way)| (name, way, &model, &plain))
        .collect();
    ways.insert(3, ("Burn's own".into(), Way::All, &balanced, &own));
    let timed: Vec<_> = ways.iter().map(|(_, way, model, device)| (way, *model, *device)).collect();
    let ms = language::times(&timed, &subject, 5, cx).await?;
    let mut first = None;
    for ((id, (name, way, model, device)), ms_of) in
        ["all", "every", "pairs", "burn", "pieces"].iter().zip(&ways).zip(&ms)
    {
        let id = |what: &str| format!("lm_{what}_{id}_{texts}_{tokens}");
        let label = |what: &str| format!("{what}: {name}, {texts} × {tokens} tokens");
        if let Some(peak) = way.peak(&subject, model, device, cx).await? {
            let peak = (peak as f64 / MIB * 10.0).round() / 10.0;
            let whole = *first.get_or_insert(peak);
            report.metrics.push(
                metric(Family::Memory, &id("peak"), &label("Counted peak"), peak, "MiB").lower().measured(vec![peak]),
            );
            report.metrics.push(
                metric(Family::Memory, &id("saving"), &label("Keeping all over this"), whole / peak, "×")
                    .higher()
                    .measured(vec![whole / peak]),
            );
        }
        report.metrics.push(ratio(&id("ratio"), &label("Time against keeping all"), ms_of, &ms[0], cx));
        report.metrics.push(measured(Family::Time, id("ms"), &label("A step"), "ms", ms_of.clone(), cx).lower());
    }
    if (texts, tokens) == (4, 128) {
        let (one, other) =
            (language::train(&Way::All, &subject, 6, cx).await?, language::train(&ways[1].1, &subject, 6, cx).await?);
        let change = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        report.metrics.push(
            metric(
                Family::Quality,
                "lm_loss_change",
                "Largest change of a loss in 6 steps, every layer again",
                change,
                "nats",
            )
            .lower()
            .exact(0.0, "equal gradients make equal steps"),
        );
    }
    Ok(())
}

/// What a layer keeps, and how that changes with the length of the text.
async fn kinds(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let config = LanguageModel::full().config;
    report.tables.push(language::kinds(&language::Subject::load(1, 128, cx).await?));
    let lengths = [64, 128, 256, 512, 1024, 2048, 4096];
    let mut series: Vec<Series> = Vec::new();
    for tokens in lengths {
        let kinds = saved_by_a_layer(&config, tokens);
        let all: u64 = kinds.iter().map(|kind| kind.numbers).sum();
        report.metrics.push(counted(
            Family::Memory,
            format!("kept_{tokens}"),
            &format!("Numbers that a layer keeps of a token, {tokens} tokens"),
            all as f64,
            "numbers",
        ));
        for (at, kind) in kinds.iter().enumerate() {
            let share = 100.0 * kind.numbers as f64 / all as f64;
            if series.len() <= at {
                series.push(Series { name: kind.name.into(), points: Vec::new(), band: Vec::new() });
            }
            series[at].points.push([tokens as f64, share]);
            if at == 3 || at < 2 {
                let id = format!("share_{}_{tokens}", ["product", "silu", "norms", "weights"][at]);
                report.metrics.push(counted(
                    Family::Memory,
                    id,
                    &format!("{}, {tokens} tokens", kind.name),
                    share,
                    "%",
                ));
            }
        }
    }
    report.charts.push(Chart {
        id: "kinds".into(),
        title: "What fills a layer's memory?".into(),
        caption: "Share of the numbers that a layer of the language model keeps for its backward pass, by kind, computed. Attention weights grow with the length of the text.".into(),
        x: Axis::log("Tokens"),
        y: Axis::linear("Share (%)"),
        body: ChartBody::Line { series },
    });
    Ok(())
}
