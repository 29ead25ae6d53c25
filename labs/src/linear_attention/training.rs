//! Small layers that are trained from the beginning: on recall, and on glyphs read as 64 tokens.

use lab_api::{Axis, Chart, ChartBody, Family, Kind, LabError, Report, Series};
use lab_kit::{
    Context,
    data::{Glyphs, Images, Split},
    mixing::{Batch, Fitted, Mixer, Recall, Shape, fit},
    report::{MetricExt, metric},
};
use rand::Rng;

use super::{Method, Params, Training};

/// How many pairs an example of the recall task may hold.
pub(super) const PAIRS: [usize; 4] = [2, 4, 8, 16];
/// Examples of a step.
const BATCH: usize = 32;
/// Learning rate.
const RATE: f64 = 0.03;
/// Tokens of a glyph: squares of 2 × 2 pixels.
const TOKENS: usize = 64;
const SPREAD: &str = "sums in another order lead a training elsewhere, as other first weights do: five standard deviations over the seeds of the study";

/// The trained form of a method.
pub(super) fn mixer(params: &Params) -> Option<Mixer> {
    match params.method {
        Method::Elu => Some(Mixer::Kernel),
        Method::Decay => Some(Mixer::Decay(params.decay as f32)),
        Method::Delta => Some(Mixer::Delta),
        Method::GatedDelta => Some(Mixer::GatedDelta),
        _ => None,
    }
}

/// The recall task.
pub(super) fn task() -> Recall {
    Recall { tokens: 64, pairs: PAIRS.to_vec(), kinds: 64 }
}

pub(super) fn shape(mixer: Mixer, keys: usize) -> Shape {
    let task = task();
    Shape {
        tokens: task.tokens,
        channels: 32,
        keys,
        taps: 4,
        vocabulary: task.vocabulary(),
        inputs: 0,
        outputs: task.kinds,
        mixer,
    }
}

/// Trains on recall: share of values said rightly, by pairs, in per cent, and the losses.
pub(super) async fn recall(
    mixer: Mixer,
    keys: usize,
    steps: usize,
    cx: &Context,
) -> Result<([f64; 4], Fitted), LabError> {
    let (task, shape, mut rng) = (task(), shape(mixer, keys), cx.rng("recall"));
    let first = shape.init(&mut cx.rng("weights"));
    let fitted =
        fit(&shape, (steps, RATE), first, || task.batch(BATCH, &mut rng).0, async |_| cx.checkpoint().await).await?;
    let (mut right, mut asked) = ([0.0; 4], [0.0; 4]);
    let mut judge = cx.rng("judge");
    for _ in 0..8 {
        let (batch, held) = task.batch(BATCH, &mut judge);
        for (hit, pairs) in shape.pass(&fitted.weights, &batch, false).right.iter().zip(held) {
            let place = PAIRS.iter().position(|p| *p == pairs).unwrap_or(0);
            asked[place] += 1.0;
            right[place] += f64::from(u8::from(*hit));
        }
        cx.checkpoint().await?;
    }
    Ok((std::array::from_fn(|i| 100.0 * right[i] / f64::max(asked[i], 1.0)), fitted))
}

/// Glyphs as tokens.
pub(super) struct Pictures {
    train: Images,
    test: Images,
}

impl Pictures {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
        let of = |split| Images::of_glyphs(&glyphs, &glyphs.indices(split));
        cx.checkpoint().await?;
        Ok(Self { train: of(Split::Train), test: of(Split::Test) })
    }

    fn batch(images: &Images, which: &[usize]) -> Batch {
        let (side, mut batch) = (images.side, Batch::default());
        for (example, i) in which.iter().enumerate() {
            let image = images.image(*i);
            for token in 0..TOKENS {
                let (y, x) = (token / 8 * 2, token % 8 * 2);
                batch.rows.extend(
                    [(0, 0), (0, 1), (1, 0), (1, 1)]
                        .map(|(down, right)| 2.0 * image[(y + down) * side + x + right] - 0.5),
                );
            }
            batch.targets.push((example, usize::from(images.labels[*i])));
        }
        batch
    }

    /// Trains: share of unseen fonts' glyphs that are named rightly, in per cent.
    pub(super) async fn train(&self, mixer: Mixer, steps: usize, cx: &Context) -> Result<f64, LabError> {
        let shape = Shape {
            tokens: TOKENS,
            channels: 32,
            keys: 16,
            taps: 1,
            vocabulary: 0,
            inputs: 4,
            outputs: self.train.class_count(),
            mixer,
        };
        let (first, mut rng) = (shape.init(&mut cx.rng("weights")), cx.rng("glyphs"));
        let draw = || {
            let which: Vec<usize> = (0..BATCH).map(|_| rng.random_range(0..self.train.len())).collect();
            Self::batch(&self.train, &which)
        };
        let fitted = fit(&shape, (steps, 0.01), first, draw, async |_| cx.checkpoint().await).await?;
        let (mut right, mut all) = (0, 0);
        let which: Vec<usize> = (0..self.test.len()).step_by(3).collect();
        for which in which.chunks(64) {
            let pass = shape.pass(&fitted.weights, &Self::batch(&self.test, which), false);
            right += pass.right.iter().filter(|right| **right).count();
            all += which.len();
            cx.checkpoint().await?;
        }
        Ok(100.0 * right as f64 / all.max(1) as f64)
    }
}

pub(super) async fn run(report: &mut Report, params: &Params, cx: &Context) -> Result<(), LabError> {
    let steps = params.steps as usize;
    let mut tell = |id: &str, label: &str, value: f64, baseline: f64| {
        let one = metric(Family::Quality, id, label, value, "%").higher().baseline(baseline).exact(30.0, SPREAD);
        report.metrics.push(lab_api::Metric { kind: Kind::Trained, ..one });
    };
    match params.train {
        Training::None => {}
        Training::Recall => {
            cx.progress("Softmax learns to recall", 0.8);
            let (softmax, _) = recall(Mixer::Softmax { causal: true }, 8, steps, cx).await?;
            cx.progress("Your method learns to recall", 0.9);
            let Some(mixer) = mixer(params) else { return Ok(()) };
            let (mine, _) = recall(mixer, 8, steps, cx).await?;
            for (i, pairs) in PAIRS.iter().enumerate() {
                tell(&format!("recall_{pairs}"), &format!("Recalled of {pairs} pairs"), mine[i], softmax[i]);
            }
            report
                .charts
                .push(by_pairs(&[("Softmax, keys of 8".into(), softmax), ("Your method, keys of 8".into(), mine)]));
        }
        Training::Images => {
            let pictures = Pictures::load(cx).await?;
            cx.progress("Softmax learns glyphs", 0.8);
            let softmax = pictures.train(Mixer::Softmax { causal: false }, steps, cx).await?;
            cx.progress("Linformer learns glyphs", 0.9);
            let mine = pictures.train(Mixer::Linformer((params.rank as usize).min(TOKENS)), steps, cx).await?;
            tell("glyphs", "Glyphs named, Linformer", mine, softmax);
        }
    }
    Ok(())
}

pub(super) fn by_pairs(rows: &[(String, [f64; 4])]) -> Chart {
    let line = |(name, shares): &(String, [f64; 4])| Series {
        name: name.clone(),
        points: PAIRS.iter().zip(shares).map(|(pairs, share)| [*pairs as f64, *share]).collect(),
        band: vec![],
    };
    Chart {
        id: "recall".into(),
        title: "How many pairs does each remember?".into(),
        caption: "Values said rightly after training, against the pairs in the text. Guessing gives 1.6 %.".into(),
        x: Axis::log("Pairs in the text"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Recalled (%)") },
        body: ChartBody::Line { series: rows.iter().map(line).collect() },
    }
}
