//! The language model: its layers run again by hand, on Burn's automatic differentiation.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, DeviceKind, Family, LabError, Report, Table};
use lab_kit::{
    Context,
    burn::{
        optim::GradientsParams,
        tensor::{Device, Int, Tensor},
    },
    data::{Corpus, Part},
    language::windows_to_tensors,
    measure::peak_bytes,
    mlp::read,
    models::{LanguageModel, StateDict, Transformer, TransformerConfig},
    ops::adamw,
    recompute::{accumulated, kept, recomputed, remembered, saved_by_a_layer, selective, uniform},
    report::{MetricExt, metric},
    stats::{median, median_interval},
    tokenizer::Tokenizer,
};

use super::{Params, summary::ratio};

const LEVEL: f64 = 0.95;
const MIB: f64 = 1_048_576.0;
/// Characters of the text that teaches.
const TAUGHT: usize = 60_000;
/// Steps of two trainings, and their learning rate.
const STEPS: usize = 4;
const RATE: f64 = 1e-3;

/// A way to do a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    /// The usual one.
    All,
    /// The inputs of the marked layers are kept.
    Kept(Vec<bool>),
    /// The usual one, in so many pieces of the batch.
    Pieces(usize),
}

/// The model and its text.
pub(super) struct Subject {
    pub(super) config: TransformerConfig,
    weights: StateDict,
    asset: &'static str,
    text: Vec<u32>,
    pub(super) texts: usize,
    pub(super) tokens: usize,
}

impl Subject {
    pub(super) async fn load(texts: usize, tokens: usize, cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut corpus = Corpus::read(Part::Validation, &cx.asset(Part::Validation.asset()).await?)?.text;
        let end = (TAUGHT..corpus.len()).find(|at| corpus.is_char_boundary(*at)).unwrap_or(corpus.len());
        corpus.truncate(end);
        let text = tokenizer.encode(&corpus);
        Ok(Self { config, weights, asset, text, texts, tokens })
    }

    pub(super) fn model(&self, device: &Device) -> Result<Transformer, LabError> {
        Transformer::new(&self.config, &self.weights, self.asset, device)
    }

    /// The batch of a step.
    pub(super) fn batch(&self, step: usize, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
        let room = self.text.len().saturating_sub(self.tokens + 1).max(1);
        let rows: Vec<&[u32]> = (0..self.texts)
            .map(|row| {
                let from = (step * self.texts + row) * self.tokens % room;
                &self.text[from..(from + self.tokens + 1).min(self.text.len())]
            })
            .collect();
        windows_to_tensors(&rows, device)
    }

    /// Numbers that all layers keep, and those of a placement: its kept inputs, and the largest segment in work.
    fn numbers(&self, keep: &[bool]) -> u64 {
        let layer: u64 = saved_by_a_layer(&self.config, self.tokens).iter().map(|kind| kind.numbers).sum();
        let starts: Vec<usize> = [0].into_iter().chain(kept(keep)).chain([self.config.layers]).collect();
        let segments = starts.windows(2).enumerate();
        let most = segments.map(|(before, pair)| {
            (before + 1) as u64 * self.config.channels as u64 + (pair[1] - pair[0]) as u64 * layer
        });
        most.max().unwrap_or(0) * (self.texts * self.tokens) as u64
    }

    /// Operations of the layers' forward pass, and of the whole model's: products with weights, and attention's own.
    fn operations(&self) -> (f64, f64) {
        let config = &self.config;
        let weights = |layers: bool| -> usize {
            let of = config.shapes().into_iter().filter(|(name, shape)| {
                shape.len() == 2 && (name.contains("layers") || !layers && name.contains("lm_head"))
            });
            of.map(|(_, shape)| shape.iter().product::<usize>()).sum()
        };
        let attention = 4.0 * (config.layers * config.channels * self.tokens) as f64;
        let tokens = (self.texts * self.tokens) as f64;
        (tokens * (2.0 * weights(true) as f64 + attention), tokens * (2.0 * weights(false) as f64 + attention))
    }
}

impl Way {
    pub(super) fn step(
        &self,
        model: &Transformer,
        (x, y): (Tensor<2, Int>, Tensor<1, Int>),
    ) -> Result<(Tensor<1>, GradientsParams), LabError> {
        match self {
            Self::All => Ok(remembered(model, x, y)),
            Self::Kept(keep) => recomputed(model, x, y, keep),
            Self::Pieces(parts) => accumulated(model, &x, &y, *parts),
        }
    }

    /// The most bytes that one step held, gradients of weights among them. The first step of a run warms up.
    pub(super) async fn peak(
        &self,
        subject: &Subject,
        model: &Transformer,
        device: &Device,
        cx: &Context,
    ) -> Result<Option<usize>, LabError> {
        let mut peak = None;
        for _ in 0..2 {
            let found = peak_bytes(cx, async || read(self.step(model, subject.batch(0, device))?.0).await.map(drop));
            peak = found.await?.1;
            cx.checkpoint().await?;
        }
        // Of a GPU's tensors the allocator sees nothing.
        Ok(peak.filter(|_| cx.device_info.kind == DeviceKind::Cpu))
    }
}

/// Milliseconds of a step of each way, in turns.
pub(super) async fn times(
    ways: &[(&Way, &Transformer, &Device)],
    subject: &Subject,
    rounds: usize,
    cx: &Context,
) -> Result<Vec<Vec<f64>>, LabError> {
    let mut all = vec![Vec::new(); ways.len()];
    for round in 0..=rounds {
        for at in 0..ways.len() {
            let at = if round % 2 == 0 { at } else { ways.len() - 1 - at };
            let (way, model, device) = ways[at];
            let batch = subject.batch(0, device);
            let began = cx.now_ms();
            read(way.step(model, batch)?.0).await?;
            // The first round warms up.
            if round > 0 {
                all[at].push(cx.now_ms() - began);
            }
            cx.checkpoint().await?;
        }
    }
    Ok(all)
}

/// Losses of a training from the shipped weights on the same text in the same order.
pub(super) async fn train(way: &Way, subject: &Subject, steps: usize, cx: &Context) -> Result<Vec<f64>, LabError> {
    let device = cx.device.clone().autodiff();
    let (mut model, mut optimizer) = (subject.model(&device)?, adamw(0.0));
    let mut losses = Vec::new();
    for step in 0..steps {
        let (loss, gradients) = way.step(&model, subject.batch(step, &device))?;
        losses.push(f64::from(read(loss).await?[0]));
        model = optimizer.step(RATE, model, gradients);
        cx.checkpoint().await?;
    }
    Ok(losses)
}

pub(super) fn ways(layers: usize, texts: usize) -> Vec<(String, Way)> {
    let mut ways = vec![
        ("Keep all".to_owned(), Way::All),
        ("Every layer again".to_owned(), Way::Kept(vec![true; layers])),
        ("Pairs of layers again".to_owned(), Way::Kept(uniform(layers, layers.div_ceil(2)))),
    ];
    if texts > 1 {
        ways.push((format!("Batch in {texts} pieces"), Way::Pieces(texts)));
    }
    ways
}

pub(super) async fn run(params: &Params, cx: &Context) -> Result<Report, LabError> {
    let subject = Subject::load(params.texts as usize, params.tokens as usize, cx).await?;
    let layers = subject.config.layers;
    let ways = ways(layers, subject.texts);
    let counted = |way: &Way| match way {
        Way::All => subject.numbers(&vec![false; layers]),
        Way::Kept(keep) => subject.numbers(keep),
        Way::Pieces(parts) => subject.numbers(&vec![false; layers]) / *parts as u64,
    };
    let again = |way: &Way| if let Way::Kept(keep) = way { kept(keep).last().copied().unwrap_or(0) } else { 0 };
    let (all_layers, forward) = subject.operations();
    const COUNTED: &str = "counted from the sizes of the model";
    let mut report = Report::default();
    let extra = again(&ways[1].1) as f64;
    report.metrics = vec![
        metric(Family::Memory, "model_bytes", "What layers keep at once, computed", 4.0 * counted(&ways[1].1) as f64, "bytes")
            .lower()
            .baseline(4.0 * counted(&ways[0].1) as f64)
            .exact(0.0, COUNTED)
            .help("Every tensor that the backward pass reads, once, in FP32. Logits and what a framework keeps besides come on top."),
        metric(Family::Scale, "extra", "Layers run again", extra, "layers").lower().baseline(0.0).exact(0.0, COUNTED),
    ];
    report.tables.push(kinds(&subject));
    cx.publish(&report)?;

    cx.progress("Counting bytes", 0.1);
    let device = cx.device.clone().autodiff();
    let model = subject.model(&device)?;
    let mut peaks = Vec::new();
    for (_, way) in &ways {
        peaks.push(way.peak(&subject, &model, &device, cx).await?);
    }
    if let [Some(before), Some(peak), ..] = peaks[..] {
        report.metrics.push(
            metric(Family::Memory, "peak_bytes", "Peak memory of a step, counted", peak as f64, "bytes")
                .lower()
                .baseline(before as f64)
                .measured(vec![peak as f64])
                .help("Gradients of the weights are in it, and stay whatever is kept."),
        );
        let values = peaks.iter().map(|peak| peak.unwrap_or(0) as f64 / MIB).collect();
        report.charts.push(Chart {
            id: "peaks".into(),
            title: "What does a step hold?".into(),
            caption: "The most bytes held at once in one training step, counted: activations, their gradients, and the gradients of all weights.".into(),
            x: Axis::linear("Way"),
            y: Axis::linear("Peak (MiB)"),
            body: ChartBody::Bar {
                categories: ways.iter().map(|(name, _)| name.clone()).collect(),
                series: vec![BarSeries { name: "Peak".into(), values, intervals: Vec::new() }],
            },
        });
    } else {
        report.notes.push("What this device holds cannot be counted: memory is computed only.".into());
    }
    cx.progress("Timing", 0.4);
    let timed: Vec<_> = ways.iter().map(|(_, way)| (way, &model, &device)).collect();
    let ms = times(&timed, &subject, 5, cx).await?;
    let predicted = 1.0 + extra / layers as f64 * all_layers / forward / 3.0;
    let useful = |ms: &[f64]| -> Vec<f64> { ms.iter().map(|ms| 3e-6 * forward / ms.max(f64::MIN_POSITIVE)).collect() };
    report.metrics.extend([
        ratio("ratio", "Time of a step, every layer again", &ms[1], &ms[0], cx),
        metric(Family::Scale, "predicted_ratio", "Predicted time of a step", predicted, "×")
            .lower()
            .baseline(1.0)
            .exact(1e-9, COUNTED)
            .detail()
            .help("By operations of products alone, a backward pass counted twice."),
        metric(Family::Time, "step_ms", "A training step", median(&ms[1]), "ms")
            .lower()
            .baseline(median(&ms[0]))
            .interval(median_interval(&ms[1], LEVEL, &mut cx.rng("step")))
            .measured(ms[1].clone())
            .detail(),
        metric(
            Family::Utilization,
            "useful_rate",
            "Arithmetic that the step needs",
            median(&useful(&ms[1])),
            "GFLOP/s",
        )
        .higher()
        .baseline(median(&useful(&ms[0])))
        .measured(useful(&ms[1])),
    ]);
    cx.progress("Training twice on the same text", 0.8);
    let (twin, own) = (train(&Way::All, &subject, STEPS, cx).await?, train(&ways[1].1, &subject, STEPS, cx).await?);
    let change = twin.iter().zip(&own).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // A GPU may add what several tokens give to one row of the embedding in any order.
    let apart = if cx.device_info.kind == DeviceKind::Cpu { 0.0 } else { 1e-2 };
    report.metrics.push(
        metric(Family::Quality, "loss_change", "Largest change of a loss in 4 steps", change, "nats")
            .lower()
            .baseline(0.0)
            .exact(apart, "equal gradients make equal steps")
            .help("Both train on from the shipped weights on the same text in the same order."),
    );
    let rows = ways.iter().zip(&peaks).zip(&ms).map(|(((name, way), peak), times)| {
        vec![
            Cell::from(name.as_str()),
            (4.0 * counted(way) as f64 / MIB).into(),
            peak.map_or("not counted".into(), |peak| Cell::from(peak as f64 / MIB)),
            (again(way) as f64).into(),
            median(times).into(),
        ]
    });
    report.tables.insert(
        0,
        Table {
            id: "ways".into(),
            title: "What each way holds and takes".into(),
            columns: ["Step", "Kept by layers, computed (MiB)", "Counted peak (MiB)", "Layers run again", "Time (ms)"]
                .map(str::to_owned)
                .to_vec(),
            rows: rows.collect(),
        },
    );
    cx.progress("Done", 1.0);
    Ok(report)
}

/// What a layer keeps, cheapest to make again first.
pub(super) fn kinds(subject: &Subject) -> Table {
    let kinds = saved_by_a_layer(&subject.config, subject.tokens);
    let all: u64 = kinds.iter().map(|kind| kind.numbers).sum();
    let half = selective(&kinds, all / 2);
    let rows = kinds.iter().zip(half).map(|(kind, dropped)| {
        vec![
            Cell::from(kind.name),
            (kind.numbers as f64).into(),
            ((1000 * kind.numbers).div_ceil(all) as f64 / 10.0).into(),
            (kind.again as f64).into(),
            if dropped { "dropped" } else { "kept" }.into(),
        ]
    });
    Table {
        id: "kinds".into(),
        title: format!("What one layer keeps of each token, at {} tokens", subject.tokens),
        columns: ["Kind", "Numbers", "Share (%)", "Operations to make one again", "For half the bytes"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    }
}
