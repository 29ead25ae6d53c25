//! The book's language model and its operations at their real shapes: where does a small network stand?

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{
        Distribution, Tensor,
        activation::{silu, softmax},
    },
    measure::{Work, samples},
    mlp::read,
    models::{KvCache, LanguageModel, StateDict, Transformer, TransformerConfig},
    rng,
    weights::Precision,
};

use super::point::Point;

/// Tokens of a prompt, and of the cache that a step of decode attends over.
pub(super) const PROMPT: usize = 128;
/// Milliseconds for each operation and each phase.
const BUDGET_MS: f64 = 60.0;

/// The model at work, and how long it takes when there is next to nothing to compute.
pub(super) struct Phases {
    /// Decode, then prefill.
    pub(super) points: Vec<Point>,
}

// ANCHOR: hollow
/// The same model with as many layers, heads and operations, and next to no numbers in them: 12 channels for 192, 2 for 576.
/// What it takes is what starting the operations takes.
fn hollow(config: &TransformerConfig) -> TransformerConfig {
    TransformerConfig { vocabulary: 16, channels: 2 * config.heads, feed_forward: 2, ..config.clone() }
}
// ANCHOR_END: hollow

pub(super) async fn phases(cx: &Context) -> Result<Phases, LabError> {
    let shipped = LanguageModel::full();
    let weights = StateDict::from_safetensors(shipped.asset, &cx.asset(shipped.asset).await?)?;
    let config = shipped.config;
    let model = Transformer::new(&config, &weights, shipped.asset, &cx.device)?;
    let small = hollow(&config);
    let twin = Transformer::new(&small, &small.init(&mut rng(0, "hollow twin")), "the hollow twin", &cx.device)?;
    let mut points = Vec::new();
    for (name, new) in [("decode, one token", 1), ("prefill, 128 tokens", PROMPT)] {
        let overhead = time(&twin, new, cx).await?;
        let ms = time(&model, new, cx).await?;
        points.push(Point {
            name: name.into(),
            work: work(&config, new),
            held_bytes: config.weight_bytes(Precision::Fp32),
            overhead_ms: lab_kit::stats::median(&overhead),
            ms,
        });
    }
    Ok(Phases { points })
}

/// Operations and bytes of `new` tokens at the end of a prompt.
fn work(config: &TransformerConfig, new: usize) -> Work {
    let row = config.channels * size_of::<f32>();
    // The output layer sees the last token alone, and of the embedding only the rows of the new tokens are read.
    let spared = 2 * (new - 1) * config.channels * config.vocabulary;
    let weights = config.weight_bytes(Precision::Fp32) - config.vocabulary * row;
    let cache = PROMPT * config.cache_bytes_per_token(Precision::Fp32);
    Work { flops: config.flops(new, PROMPT) - spared as u64, bytes: (weights + cache + new * row) as u64 }
}

/// Milliseconds of the last `new` tokens of a prompt.
async fn time(model: &Transformer, new: usize, cx: &Context) -> Result<Vec<f64>, LabError> {
    let vocabulary = u32::try_from(model.config().vocabulary).unwrap_or(1);
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|i| (i * 7 + 3) % vocabulary).collect();
    let mut cache = KvCache::new(model.config(), 1, PROMPT, &cx.device)?;
    let fill = model.tokens(&[&prompt], &cx.device)?;
    model.next(fill, &mut cache)?;
    let tokens = model.tokens(&[&prompt[PROMPT - new..]], &cx.device)?;
    samples(cx, 150.0, async || {
        cache.truncate(PROMPT - new);
        let logits = model.next(tokens.clone(), &mut cache)?;
        read(logits.narrow(1, 0, 1)).await.map(|logit| drop(std::hint::black_box(logit)))
    })
    .await
}

/// Each operation of a layer alone, at the shapes of a prompt and of a step.
pub(super) async fn operations(cx: &Context) -> Result<Vec<Point>, LabError> {
    let config = LanguageModel::full().config;
    let (c, f, heads, d) = (config.channels, config.feed_forward, config.heads, config.head_channels());
    let draw = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &cx.device);
    let mut points = Vec::new();
    let w = |n: usize| n as u64;
    for (tokens, words) in [(1, "decode"), (PROMPT, "prefill")] {
        let (x, wide) = (draw([tokens, c]), draw([tokens, f]));
        let (up, output) = (draw([c, f]), draw([c, config.vocabulary]));
        let scores = draw([heads * tokens, PROMPT]);
        let queries = Tensor::<3>::random([heads, tokens, d], Distribution::Uniform(-1.0, 1.0), &cx.device);
        let keys = Tensor::<3>::random([heads, d, PROMPT], Distribution::Uniform(-1.0, 1.0), &cx.device);
        let norm = draw([1, c]);
        let attention = Work::matmul(w(tokens), w(d), w(PROMPT), 4) * w(heads);
        type Operation<'a> = Box<dyn Fn() + 'a>;
        let run: Vec<(&str, Work, Operation)> = vec![
            (
                "feed-forward matrix",
                Work::matmul(w(tokens), w(c), w(f), 4),
                Box::new(|| keep(x.clone().matmul(up.clone()))),
            ),
            (
                "output matrix",
                Work::matmul(w(tokens), w(c), w(config.vocabulary), 4),
                Box::new(|| keep(x.clone().matmul(output.clone()))),
            ),
            (
                "attention scores",
                attention,
                Box::new(|| drop(std::hint::black_box(queries.clone().matmul(keys.clone())))),
            ),
            (
                "softmax of scores",
                Work::softmax(w(heads * tokens), w(PROMPT), 4),
                Box::new(|| keep(softmax(scores.clone(), 1))),
            ),
            // x / (1 + exp(-x)): four operations.
            ("SiLU", Work::elementwise(w(tokens * f), 1, 4, 4), Box::new(|| keep(silu(wide.clone())))),
            // Square, sum, scale by the root, scale by the weight: four an element.
            (
                "norm",
                Work::elementwise(w(tokens * c), 1, 4, 4),
                Box::new(|| {
                    let size = (x.clone().powi_scalar(2).mean_dim(1) + 1e-5).sqrt();
                    keep(x.clone() / size * norm.clone());
                }),
            ),
        ];
        for (name, work, call) in run {
            let ms = samples(cx, BUDGET_MS, async || {
                call();
                Ok(())
            })
            .await?;
            points.push(Point {
                name: format!("{name}, {words}"),
                work,
                held_bytes: usize::try_from(work.bytes).unwrap_or(usize::MAX),
                overhead_ms: 0.0,
                ms,
            });
        }
    }
    Ok(points)
}

fn keep(y: Tensor<2>) {
    drop(std::hint::black_box(y));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_step_is_that_of_the_chapter_on_language_models() {
        // 4,227,072 operations, as counted there by hand; bytes: matrices without the embedding, norms, cache, one row.
        let config = LanguageModel::full().config;
        let step = work(&config, 1);
        assert_eq!(step.flops, 4_227_072);
        assert!((step.intensity() - 0.533).abs() < 0.002, "{}", step.intensity());
        let small = hollow(&config);
        small.check().expect("a transformer");
        assert!(small.flops(1, PROMPT) * 20 < config.flops(1, PROMPT));
        assert_eq!(
            (small.layers, small.heads, small.key_value_heads),
            (config.layers, config.heads, config.key_value_heads)
        );
    }
}
