//! The same text written twice: every token from the whole text, and every token from one row and the cache.

use lab_api::{Axis, Chart, ChartBody, Family, LabError, Metric, Series};
use lab_kit::{
    Context,
    cache::{flops_with, flops_without},
    measure::{Pair, peak_bytes, peak_gflops, samples, side_by_side},
    mlp::read,
    models::{KvCache, Transformer},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{Params, judge::LEVEL, source::Source};

/// Where a step is timed, as far as the model's context reaches.
const STEPS: [usize; 5] = [16, 32, 64, 128, 255];
/// Tokens that 16 questions have in common, and their own.
const SHARED: usize = 128;
const OWN: usize = 32;

/// What was written, and how long it took.
pub(super) struct Written {
    pub(super) prompt: Vec<u32>,
    pub(super) tokens: Vec<u32>,
    /// Tokens that the way without a cache chose too.
    same: usize,
    /// The largest difference of a logit.
    apart: f64,
    /// Milliseconds of all tokens, without and with.
    whole: [f64; 2],
    /// Tokens in the text and milliseconds of the next step, without and with.
    steps: Vec<(usize, Pair)>,
    /// Milliseconds until the first token is there.
    first: Vec<f64>,
    /// The same with a shared beginning read again and kept.
    prefix: Option<Pair>,
    held: Option<usize>,
    peak: f64,
}

/// The likeliest token.
pub(super) fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    u32::try_from(best).unwrap_or(0)
}

// ANCHOR: without
/// Logits of what follows `text`: all of it is read, whatever was read before.
async fn without(model: &Transformer, text: &[u32], cx: &Context) -> Result<Vec<f32>, LabError> {
    let logits = model.forward(model.tokens(&[text], &cx.device)?); // [1, T, V]
    read(logits.narrow(1, text.len() - 1, 1).flatten::<2>(0, 1)).await
}
// ANCHOR_END: without

// ANCHOR: with
/// The same of the tokens that are new; what came before them lies in the cache.
async fn with(model: &Transformer, new: &[u32], cache: &mut KvCache, cx: &Context) -> Result<Vec<f32>, LabError> {
    let logits = model.next(model.tokens(&[new], &cx.device)?, cache)?; // [1, V]
    read(logits).await
}
// ANCHOR_END: with

impl Written {
    pub(super) async fn new(source: &Source, params: &Params, cx: &Context) -> Result<Self, LabError> {
        let model = source.model(cx)?;
        let room = async || KvCache::new(model.config(), 1, model.config().context, &cx.device);
        let (mut cache, held) = peak_bytes(cx, room).await?;
        let text = source.texts(1, 256)[0];
        let prompt = text[..params.prompt as usize].to_vec();
        // Both ways are warm before anything counts.
        without(&model, &prompt, cx).await?;
        with(&model, &prompt, &mut cache, cx).await?;
        cache.truncate(0);
        let (mut tokens, mut whole, mut apart, mut same) = (Vec::new(), [0.0; 2], 0.0_f64, 0);
        let start = cx.now_ms();
        let mut said = Vec::new();
        let mut new = prompt.clone();
        for _ in 0..params.tokens {
            let logits = with(&model, &new, &mut cache, cx).await?;
            new = vec![likeliest(&logits)];
            tokens.push(new[0]);
            said.push(logits);
        }
        whole[1] = cx.now_ms() - start;
        let mut all = prompt.clone();
        for (logits, token) in said.iter().zip(&tokens) {
            let start = cx.now_ms();
            let again = without(&model, &all, cx).await?;
            whole[0] += cx.now_ms() - start;
            same += usize::from(likeliest(&again) == *token);
            let furthest = again.iter().zip(logits).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
            apart = apart.max(furthest);
            all.push(*token);
            cx.checkpoint().await?;
        }
        let mut steps = Vec::new();
        for length in STEPS.into_iter().filter(|length| *length < params.length as usize) {
            let mut cache = KvCache::new(model.config(), 1, length + 1, &cx.device)?;
            with(&model, &text[..length], &mut cache, cx).await?;
            let step = async || {
                cache.truncate(length);
                with(&model, &text[length..=length], &mut cache, cx).await.map(drop)
            };
            let naive = async || without(&model, &text[..=length], cx).await.map(drop);
            steps.push((length + 1, side_by_side(cx, 25.0, naive, step).await?));
        }
        let first = samples(cx, 60.0, async || {
            cache.truncate(0);
            with(&model, &prompt, &mut cache, cx).await.map(drop)
        });
        let first = first.await?;
        let prefix = if params.length < 256 {
            None
        } else {
            let question = &text[..SHARED + OWN];
            let mut cold = KvCache::new(model.config(), 1, SHARED + OWN, &cx.device)?;
            let mut warm = cold.clone();
            with(&model, &question[..SHARED], &mut warm, cx).await?;
            let again = async || {
                cold.truncate(0);
                with(&model, question, &mut cold, cx).await.map(drop)
            };
            let kept = async || {
                warm.truncate(SHARED);
                with(&model, &question[SHARED..], &mut warm, cx).await.map(drop)
            };
            Some(side_by_side(cx, 60.0, again, kept).await?)
        };
        let peak = peak_gflops(cx, 60.0).await?;
        Ok(Self { prompt, tokens, same, apart, whole, steps, first, prefix, held, peak })
    }

    /// How the time of a step grows with the text: the slope of its logarithm over the logarithm of the length.
    fn exponents(&self) -> [f64; 2] {
        let slope = |of: fn(&Pair) -> &[f64]| {
            let points: Vec<[f64; 2]> =
                self.steps.iter().map(|(n, pair)| [(*n as f64).ln(), median(of(pair)).max(1e-6).ln()]).collect();
            let count = points.len().max(1) as f64;
            let mean = [0, 1].map(|i| points.iter().map(|point| point[i]).sum::<f64>() / count);
            let over: f64 = points.iter().map(|[x, y]| (x - mean[0]) * (y - mean[1])).sum();
            let under: f64 = points.iter().map(|[x, _]| (x - mean[0]).powi(2)).sum();
            over / under.max(f64::MIN_POSITIVE)
        };
        [slope(|pair| &pair.first), slope(|pair| &pair.second)]
    }

    /// Speed-up of the whole text.
    pub(super) fn speedup(&self) -> f64 {
        self.whole[0] / self.whole[1].max(1e-3)
    }

    pub(super) fn metrics(&self, source: &Source, cx: &Context) -> Vec<Metric> {
        let count = self.tokens.len();
        let (before, read) = (self.prompt.len().saturating_sub(1), (self.prompt.len() + count).saturating_sub(1));
        let saved = (flops_without(&source.config, read) - flops_without(&source.config, before))
            / flops_with(&source.config, read);
        let mut all = vec![
            metric(Family::Time, "speedup", "Speed-up of the whole text", self.speedup(), "×")
                .higher()
                .baseline(1.0)
                .measured(vec![self.speedup()])
                .help(
                    "Time to write all new tokens without a cache over the time with one, the prompt included in both.",
                ),
        ];
        if let Some((length, pair)) = self.steps.last() {
            let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng("step"));
            let flops = flops_with(&source.config, *length) - flops_with(&source.config, length - 1);
            let rate = |ms: f64, flops: f64| 1e-6 * flops / ms.max(1e-6) / self.peak.max(1e-9) * 100.0;
            let exponents = self.exponents();
            all.extend([
                metric(Family::Time, "step_speedup", &format!("Speed-up of token {length}"), ratio, "×")
                    .higher()
                    .baseline(1.0)
                    .interval(interval)
                    .measured(pair.ratios())
                    .help("One step at the longest text that was timed, turn by turn."),
                metric(Family::Time, "step_ms", &format!("Time of token {length}"), median(&pair.second), "ms")
                    .lower()
                    .baseline(median(&pair.first))
                    .interval(median_interval(&pair.second, LEVEL, &mut cx.rng("with")))
                    .measured(pair.second.clone()),
                metric(Family::Scale, "exponent", "Exponent of a step's time", exponents[1], "")
                    .lower()
                    .baseline(exponents[0])
                    .measured(vec![exponents[1]])
                    .help("Time grows like the length to this power: 1 doubles with the text, 0 stays. Fitted over all lengths that were timed."),
                metric(Family::Utilization, "step_share", "Step with a cache, share of the peak", rate(median(&pair.second), flops), "%")
                    .higher()
                    .baseline(rate(median(&pair.first), flops_with(&source.config, *length)))
                    .measured(pair.second.iter().map(|ms| rate(*ms, flops)).collect())
                    .help("Arithmetic rate over the best matrix product of this device. The baseline is the step without a cache."),
            ]);
        }
        all.extend([
            metric(Family::Time, "first_ms", "Time to the first token", median(&self.first), "ms")
                .lower()
                .interval(median_interval(&self.first, LEVEL, &mut cx.rng("first")))
                .measured(self.first.clone())
                .help("Reading the prompt. A cache does not make it shorter."),
            metric(Family::Quality, "same", "Tokens chosen alike", 100.0 * self.same as f64 / count.max(1) as f64, "%")
                .higher()
                .baseline(100.0)
                .exact(15.0, "two tokens that are nearly equally likely may change places when sums are rounded")
                .help("At each place the way without a cache reads the same text and names its likeliest token."),
            metric(Family::Quality, "apart", "Largest difference of a logit", self.apart, "")
                .detail()
                .lower()
                .exact(1e-3, "sums of singles in another order"),
            metric(Family::Scale, "flops_ratio", "Operations saved", saved, "×")
                .detail()
                .higher()
                .exact(1e-6, "operations are counted")
                .help("Operations of all steps without a cache over those with one, counted by formula."),
        ]);
        if let Some(pair) = &self.prefix {
            let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng("prefix"));
            all.push(
                metric(Family::Time, "prefix_speedup", "Speed-up of the first token, beginning kept", ratio, "×")
                    .detail()
                    .higher()
                    .baseline(1.0)
                    .interval(interval)
                    .measured(pair.ratios())
                    .help("A prompt of 160 tokens whose first 128 another prompt has left in the cache."),
            );
        }
        if let Some(held) = self.held {
            all.push(
                metric(Family::Memory, "held_bytes", "Cache of 256 tokens, as allocated", held as f64, "bytes")
                    .detail()
                    .lower()
                    .measured(vec![held as f64])
                    .help("Engine memory that the model's own cache took, counted by the allocator. The formula says 524,288; while it is made, one of its eight tensors (65,536 bytes) is there twice."),
            );
        }
        all
    }

    /// Time of a step by length.
    pub(super) fn chart(&self) -> Chart {
        let line = |name: &str, of: fn(&Pair) -> &[f64]| Series {
            name: name.into(),
            points: self.steps.iter().map(|(n, pair)| [*n as f64, median(of(pair)).max(1e-4)]).collect(),
            band: vec![],
        };
        Chart {
            id: "steps".into(),
            title: "What does the next token cost?".into(),
            caption:
                "Milliseconds of one step against the tokens in the text. Without a cache all of them are read again."
                    .into(),
            x: Axis::log("Tokens in the text"),
            y: Axis::log("Time of one token (ms)"),
            body: ChartBody::Line {
                series: vec![line("Without a cache", |pair| &pair.first), line("With a cache", |pair| &pair.second)],
            },
        }
    }
}
