//! Prefill and decode, FP32 against packed, turn by turn.

use lab_api::{DeviceKind, Family, Interval, LabError, Metric};
use lab_kit::{
    Context,
    measure::{Pair, Roofline, Work, peak_bytes, side_by_side},
    mlp::read,
    models::{KvCache, Transformer},
    report::{MetricExt, metric},
    stats::{median, median_interval},
    weights::Precision,
};

use super::{model::Source, packed::Packed};

/// Tokens of the prompt; a decode step attends over so many, and itself.
const PROMPT: usize = 128;
/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// What was measured.
pub(super) struct Speed {
    /// Milliseconds of a prompt.
    prefill: Pair,
    /// Milliseconds of one more token.
    decode: Pair,
    /// Operations and bytes of a decode step, FP32 and packed.
    work: [Work; 2],
    /// The same of a prompt.
    prompt: [Work; 2],
    /// Most engine memory of a decode step, FP32 and packed.
    held_bytes: [Option<usize>; 2],
    roof: Roofline,
}

/// A model with a cache that holds the prompt.
struct Session<'a> {
    model: &'a Transformer,
    cache: KvCache,
    prompt: &'a [u32],
    cx: &'a Context,
}

impl<'a> Session<'a> {
    fn new(model: &'a Transformer, prompt: &'a [u32], cx: &'a Context) -> Result<Self, LabError> {
        let cache = KvCache::new(model.config(), 1, prompt.len() + 1, &cx.device)?;
        Ok(Self { model, cache, prompt, cx })
    }

    async fn prefill(&mut self) -> Result<(), LabError> {
        self.cache.truncate(0);
        self.step(0).await
    }

    async fn decode(&mut self) -> Result<(), LabError> {
        self.cache.truncate(self.prompt.len() - 1);
        self.step(self.prompt.len() - 1).await
    }

    /// The tokens from here to the end of the prompt; done when one logit has been read.
    async fn step(&mut self, from: usize) -> Result<(), LabError> {
        let tokens = self.model.tokens(&[&self.prompt[from..]], &self.cx.device)?;
        let logits = self.model.next(tokens, &mut self.cache)?;
        read(logits.narrow(1, 0, 1)).await.map(|logit| drop(std::hint::black_box(logit)))
    }
}

impl Speed {
    pub(super) async fn measure(
        fp32: &Transformer,
        packed: &Packed,
        source: &Source,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let text = source.windows(1)[0];
        let prompt = &text[..PROMPT];
        let (mut one, mut other) = (Session::new(fp32, prompt, cx)?, Session::new(&packed.model, prompt, cx)?);
        let prefill = side_by_side(cx, 500.0, async || one.prefill().await, async || other.prefill().await).await?;
        let decode = side_by_side(cx, 500.0, async || one.decode().await, async || other.decode().await).await?;
        let ((), held_fp32) = peak_bytes(cx, async || one.decode().await).await?;
        let ((), held_packed) = peak_bytes(cx, async || other.decode().await).await?;
        cx.progress("Measuring the roofs of this device", 0.7);
        let roof = Roofline::measure(cx, 150.0).await?;
        let config = source.config();
        let cache = PROMPT * config.cache_bytes_per_token(Precision::Fp32);
        // Each token looks up one row of the embedding, which is packed like the rest.
        let row = config.channels * size_of::<f32>();
        let packed_row = (packed.bytes - packed.read_bytes) / config.vocabulary;
        let fp32_bytes = source.fp32_bytes() - config.vocabulary * row;
        // The output layer sees the last token alone.
        let spared = |queries: usize| (2 * (queries - 1) * config.channels * config.vocabulary) as u64;
        let works = |queries: usize| {
            [(fp32_bytes, row), (packed.read_bytes, packed_row)].map(|(weights, row)| Work {
                flops: config.flops(queries, PROMPT) - spared(queries),
                bytes: (weights + cache + queries * row) as u64,
            })
        };
        // On the GPU the engine's memory holds no tensor.
        let counted = cx.device_info.kind == DeviceKind::Cpu;
        Ok(Self {
            prefill,
            decode,
            work: works(1),
            prompt: works(PROMPT),
            held_bytes: [held_fp32, held_packed].map(|held| held.filter(|_| counted)),
            roof,
        })
    }

    pub(super) fn metrics(&self, cx: &Context) -> Vec<Metric> {
        let mut metrics = timed("decode", "Decode, one token", &self.decode, cx);
        metrics.extend(timed("prefill", "Prefill, 128 tokens", &self.prefill, cx));
        let rate = |ms: &f64| 1e3 / ms.max(f64::MIN_POSITIVE);
        let samples: Vec<f64> = self.decode.second.iter().map(rate).collect();
        let interval = median_interval(&samples, LEVEL, &mut cx.rng("tokens per second"));
        metrics.push(
            metric(Family::Time, "tokens_per_s", "Tokens written per second", median(&samples), "tokens/s")
                .detail()
                .higher()
                .baseline(rate(&median(&self.decode.first)))
                .interval(interval)
                .measured(samples)
                .help("One request with a cache of 128 tokens; sampling left aside."),
        );
        let share = |which: usize, ms: f64| 100.0 * self.roof.share_of_roof(self.work[which], 1e-3 * ms);
        metrics.push(
            metric(Family::Utilization, "roof_share", "Share of the roof, decode", share(1, median(&self.decode.second)), "%").detail()
                .higher()
                .baseline(share(0, median(&self.decode.first)))
                .measured(self.decode.second.iter().map(|ms| share(1, *ms)).collect())
                .help("Achieved operations per second over what this device's arithmetic and memory, both measured just now, allow at this intensity. Above 100 % where caches hold the model."),
        );
        let prompt = |which: usize, ms: f64| 100.0 * self.roof.share_of_roof(self.prompt[which], 1e-3 * ms);
        metrics.push(
            metric(
                Family::Utilization,
                "roof_share_prefill",
                "Share of the roof, prefill",
                prompt(1, median(&self.prefill.second)),
                "%",
            )
            .detail()
            .higher()
            .baseline(prompt(0, median(&self.prefill.first)))
            .measured(self.prefill.second.iter().map(|ms| prompt(1, *ms)).collect())
            .help("The same for a prompt of 128 tokens, which shares every weight it reads among all of them."),
        );
        metrics.push(
            metric(
                Family::Utilization,
                "intensity",
                "Arithmetic intensity, decode",
                self.work[1].intensity(),
                "FLOP/byte",
            )
            .detail()
            .baseline(self.work[0].intensity())
            .exact(1e-9, "operations and bytes are counted")
            .help("Operations for each byte of weights and cache that one token must read."),
        );
        if let [fp32, Some(held)] = self.held_bytes {
            let one = metric(Family::Memory, "held_bytes", "Memory of a decode step", held as f64, "bytes").detail()
                .lower()
                .measured(vec![held as f64])
                .help("The most that one step held beyond weights and cache, counted by the engine's allocator: no matrix of floats is among it.");
            metrics.push(Metric { baseline: fp32.map(|bytes| bytes as f64), ..one });
        }
        metrics
    }

    /// What the times of this very run call for.
    pub(super) fn notes(&self, cx: &Context) -> Vec<String> {
        let what = |name: &str, pair: &Pair| {
            let (ratio, Interval { low, high, .. }) = pair.ratio(LEVEL, &mut cx.rng(name));
            if low > 1.0 {
                format!("{name} is {ratio:.2} times as fast packed as in FP32")
            } else if high < 1.0 {
                format!("{name} takes {:.2} times as long packed as in FP32", 1.0 / ratio)
            } else {
                format!("the times of {name} cannot be told apart")
            }
        };
        let ridge = self.roof.ridge();
        let [fp32, packed] = self.work.map(Work::intensity);
        vec![
            format!("On the device named below {}; {}.", what("decode", &self.decode), what("prefill", &self.prefill)),
            format!(
                "Its ridge is at {ridge:.1} operations per byte; a decode step has {fp32:.2} in FP32 and \
                 {packed:.2} packed. Below the ridge bytes decide, unless a cache holds what a step \
                 reads: {:.1} MB in FP32.",
                self.work[0].bytes as f64 * 1e-6
            ),
        ]
    }
}

/// Latency and speed-up of a pair, FP32 first.
fn timed(id: &str, label: &str, pair: &Pair, cx: &Context) -> Vec<Metric> {
    let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng(id));
    vec![
        metric(Family::Time, &format!("{id}_ms"), label, median(&pair.second), "ms")
            .lower()
            .baseline(median(&pair.first))
            .interval(median_interval(&pair.second, LEVEL, &mut cx.rng(label)))
            .measured(pair.second.clone())
            .help("Median, packed; the baseline is FP32 on the same device."),
        metric(Family::Time, &format!("{id}_speedup"), &format!("Speed-up of {id}"), ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(pair.ratios())
            .help("FP32 time over packed time, measured turn by turn; below 1 packed is slower."),
    ]
}
