//! One method of fine-tuning, put into a language model.

use burn::tensor::{Device, Tensor, TensorData};
use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Adapter, Kind, train_only};
use crate::models::{Projection, Transformer, TransformerConfig};

/// What learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every weight.
    Full,
    /// Two factors beside each target matrix, multiplied one after the other ([`Kind::Factored`]).
    LowRank,
    /// The same factors, their product added to the matrix at each step ([`Kind::Composed`]).
    Composed,
    /// Factors and a magnitude ([`Kind::Decomposed`]).
    Decomposed,
    /// A new bias for each target matrix.
    Bias,
    /// The gains of all norms.
    Norms,
    /// The output layer.
    Head,
    /// `rank` rows before the text (Lester et al., arXiv:2104.08691).
    Prompt,
    /// `rank` keys and values in each layer (Li and Liang, arXiv:2101.00190).
    Prefix,
    /// A bottleneck of width `rank` after attention and after the feed-forward network ([`Kind::Bottleneck`]).
    Bottleneck,
}

/// Which matrices of a layer get factors or biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// Those of queries and values.
    QueryValue,
    /// All four of attention.
    Attention,
    /// All three of the feed-forward network.
    FeedForward,
    /// All seven.
    All,
}

impl Targets {
    /// Whether a matrix is meant, by its name in [`TransformerConfig::shapes`].
    #[must_use]
    pub fn holds(self, name: &str) -> bool {
        match self {
            Self::QueryValue => name.contains("q_proj") || name.contains("v_proj"),
            Self::Attention => name.contains("self_attn."),
            Self::FeedForward => name.contains("mlp."),
            Self::All => name.contains("self_attn.") || name.contains("mlp."),
        }
    }
}

/// A method with its choices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// What learns.
    pub method: Method,
    /// Rank, width of a bottleneck, or rows of a prompt or prefix.
    pub rank: usize,
    /// What the product of the factors is multiplied by.
    pub scale: f32,
    /// Which matrices, where a method asks.
    pub targets: Targets,
}

/// Rows of a prompt or prefix are drawn about as large as what they stand beside.
const ROW_SIZE: f32 = 0.5;

impl Setting {
    /// Refuses what cannot be attached to such a model.
    ///
    /// # Errors
    /// [`LabError::Refused`] for rank 0, for a rank above the smaller side of a target (with that side), for a scale that is
    /// not above zero, and for a prompt that leaves no room for text.
    pub fn check(&self, config: &TransformerConfig) -> Result<(), LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        if self.rank == 0 {
            return refuse("an adapter of rank 0 has nothing to learn: take 1 or more".into());
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return refuse(format!("an adapter's scale must be above zero and finite, and is {}", self.scale));
        }
        if matches!(self.method, Method::LowRank | Method::Composed | Method::Decomposed) {
            let targets = config.shapes().into_iter().filter(|(name, _)| self.targets.holds(name));
            let sides =
                targets.filter(|(_, shape)| shape.len() == 2).map(|(name, shape)| (shape[0].min(shape[1]), name));
            if let Some((side, name)) = sides.min()
                && self.rank > side
            {
                return refuse(format!(
                    "rank {} is more than “{name}” can have, whose smaller side is {side}: take {side} or less, or other targets",
                    self.rank
                ));
            }
        }
        if matches!(self.method, Method::Prompt | Method::Prefix) && 2 * self.rank > config.context {
            let most = config.context / 2;
            return refuse(format!(
                "{} rows leave the text too little of {} tokens: take {most} or fewer",
                self.rank, config.context
            ));
        }
        Ok(())
    }
}

/// The model with the method in place and all else frozen, and how many numbers learn. It computes what it did before: the
/// second factors are zero. Only a prompt or a prefix changes it at once, for a row cannot be attended to and absent.
///
/// # Errors
/// As [`Setting::check`].
pub fn adapt(
    mut model: Transformer,
    setting: &Setting,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Result<(Transformer, usize), LabError> {
    setting.check(model.config())?;
    let (method, rank) = (setting.method, setting.rank);
    let config = model.config().clone();
    match method {
        Method::Full | Method::Norms | Method::Head => {}
        Method::Prompt => model.set_prompt(Some(uniform(rank, config.channels, ROW_SIZE, rng, device))),
        Method::Prefix => {
            let width = config.key_value_heads * config.head_channels();
            model.set_prefixes(&mut |_| {
                let mut rows = || uniform(rank, width, ROW_SIZE, rng, device);
                (rows(), rows())
            });
        }
        Method::Bias | Method::Bottleneck | Method::LowRank | Method::Composed | Method::Decomposed => {
            model.for_each_matrix(&mut |name, matrix| {
                let adapter = match method {
                    Method::Bottleneck => after_block(name).then(|| bottleneck(matrix, setting, rng, device)),
                    _ => setting.targets.holds(name).then(|| beside(matrix, setting, rng, device)),
                };
                matrix.set_adapter(adapter);
            });
        }
    }
    Ok(train_only(model, &|name| match method {
        Method::Full => true,
        Method::Norms => name.contains("norm."),
        // A tied output layer is the embedding.
        Method::Head => name.contains(if config.tied { "embed_tokens" } else { "lm_head" }),
        Method::Prompt => name.contains("prompt_embedding"),
        Method::Prefix => name.contains(".prefix."),
        _ => name.contains(".adapter."),
    }))
}

/// Whether a matrix is the last of its block, after which a bottleneck stands.
fn after_block(name: &str) -> bool {
    name.contains("o_proj") || name.contains("down_proj")
}

// ANCHOR: start
/// Factors beside a matrix: `A` random, as large as a fresh layer's weights, `B` zero, so that nothing changes yet.
fn beside(matrix: &Projection, setting: &Setting, rng: &mut ChaCha8Rng, device: &Device) -> Adapter {
    let [inputs, outputs] = matrix.sizes();
    if setting.method == Method::Bias {
        return Adapter::bias(Tensor::zeros([outputs], device));
    }
    let a = uniform(inputs, setting.rank, (inputs as f32).sqrt().recip(), rng, device);
    let b = Tensor::zeros([setting.rank, outputs], device);
    match setting.method {
        Method::Decomposed => Adapter::decomposed(a, b, matrix.column_norms(), setting.scale),
        Method::Composed => Adapter::pair(Kind::Composed, a, b, setting.scale),
        _ => Adapter::pair(Kind::Factored, a, b, setting.scale),
    }
}
// ANCHOR_END: start

fn bottleneck(matrix: &Projection, setting: &Setting, rng: &mut ChaCha8Rng, device: &Device) -> Adapter {
    let [_, outputs] = matrix.sizes();
    let down = uniform(outputs, setting.rank, (outputs as f32).sqrt().recip(), rng, device);
    Adapter::pair(Kind::Bottleneck, down, Tensor::zeros([setting.rank, outputs], device), 1.0)
}

/// `[rows, columns]`, uniform over ±`bound`.
fn uniform(rows: usize, columns: usize, bound: f32, rng: &mut ChaCha8Rng, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapters::merged_weights,
        language::windows_to_tensors,
        mlp::read,
        models::{KvCache, StateDict, config_tests::tiny},
        testing::ready,
        training::{Recipe, Trainer, cross_entropy},
    };

    const METHODS: [Method; 10] = [
        Method::Full,
        Method::LowRank,
        Method::Composed,
        Method::Decomposed,
        Method::Bias,
        Method::Norms,
        Method::Head,
        Method::Prompt,
        Method::Prefix,
        Method::Bottleneck,
    ];

    fn setting(method: Method) -> Setting {
        Setting { method, rank: 2, scale: 2.0, targets: Targets::All }
    }

    fn base(device: &Device) -> (Transformer, StateDict) {
        let config = tiny();
        let state = config.init(&mut crate::rng(0, "weights"));
        (Transformer::new(&config, &state, "a test", device).expect("fits"), state)
    }

    fn logits(model: &Transformer, rows: &[&[u32]], device: &Device) -> Vec<f32> {
        ready(read(model.forward(model.tokens(rows, device).expect("valid")))).expect("runs")
    }

    /// Three steps, on the same text for every method.
    fn trained(method: Method) -> (StateDict, Transformer, usize) {
        let device = Device::flex().autodiff();
        let (model, _) = base(&device);
        let (model, numbers) = adapt(model, &setting(method), &mut crate::rng(1, "adapters"), &device).expect("fits");
        let recipe = Recipe { steps: 3, warmup_steps: 0, learning_rate: 1e-2, weight_decay: 0.0, ..Recipe::default() };
        let mut trainer = Trainer::new(model, recipe).expect("begins");
        let mut loss = |model: &Transformer, _: usize| {
            let (x, y) = windows_to_tensors(&[&[1, 2, 3, 4, 5, 6], &[7, 8, 9, 10, 11, 12]], &device);
            Ok(cross_entropy(model.forward(x).flatten::<2>(0, 1), y))
        };
        let mut losses = Vec::new();
        for _ in 0..3 {
            losses.push(ready(trainer.advance(&mut loss)).expect("learns").loss);
        }
        assert!(losses[2] < losses[0], "{method:?}: {losses:?}");
        let model = trainer.finish();
        (ready(model.weights()).expect("reads"), model, numbers)
    }

    #[test]
    fn only_what_a_method_names_learns_and_all_of_that_does() {
        let (_, start) = base(&Device::flex());
        for method in METHODS {
            let (after, _, numbers) = trained(method);
            let mut moved = 0;
            for (name, weight) in after.iter() {
                match start.get(name) {
                    Some(before) if method != Method::Full && before == weight => {}
                    Some(before) => {
                        assert_ne!(before, weight, "{method:?}: {name} did not move");
                        moved += weight.values.len();
                    }
                    None => {
                        moved += weight.values.len();
                        // The second factor and the bias begin at zero: a target that is never reached would still be there.
                        if name.ends_with("adapter.b") || name.ends_with("adapter.bias") {
                            assert!(
                                weight.values.iter().any(|value| *value != 0.0),
                                "{method:?}: {name} is still zero"
                            );
                        }
                    }
                }
            }
            assert_eq!(moved, numbers, "{method:?}");
        }
    }

    #[test]
    fn an_untrained_adapter_changes_no_bit_of_the_logits() {
        let device = Device::flex();
        let rows: [&[u32]; 2] = [&[3, 1, 4, 1], &[5, 9, 2, 6]];
        let expected = logits(&base(&device).0, &rows, &device);
        for method in METHODS {
            let (model, numbers) =
                adapt(base(&device).0, &setting(method), &mut crate::rng(1, "adapters"), &device).expect("fits");
            let found = logits(&model, &rows, &device);
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            match method {
                Method::Prompt | Method::Prefix => assert!(worst > 1e-4 && found.len() == expected.len()),
                Method::Decomposed => assert!(worst < 1e-5, "{worst}"),
                _ => assert!(worst == 0.0, "{method:?}: {worst}"),
            }
            // C = 16, F = 24, K/V 8 wide, two layers: per layer 2 (16+16) q, o; 2 (16+8) k, v; 3 (16+24) of the rest, by rank.
            let counted = match method {
                Method::LowRank | Method::Composed => 2 * 2 * (2 * 32 + 2 * 24 + 3 * 40),
                Method::Decomposed => 2 * 2 * (2 * 32 + 2 * 24 + 3 * 40) + 2 * (2 * 16 + 2 * 8 + 2 * 24 + 16),
                Method::Bias => 2 * (2 * 16 + 2 * 8 + 2 * 24 + 16),
                Method::Norms => 5 * 16,
                Method::Head => 17 * 16,
                Method::Prompt => 2 * 16,
                Method::Prefix => 2 * 2 * 2 * 8,
                Method::Bottleneck => 2 * 2 * 2 * 2 * 16,
                Method::Full => tiny().shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum(),
            };
            assert_eq!(numbers, counted, "{method:?}");
        }
    }

    #[test]
    fn factors_and_their_sum_learn_the_same() {
        let (factored, ..) = trained(Method::LowRank);
        let (composed, ..) = trained(Method::Composed);
        for (name, weight) in factored.iter() {
            let twin = &composed.get(name).expect("same names").values;
            // Three steps of Adam, whose first are of one size whatever the gradient: only its sign must agree.
            let worst = weight.values.iter().zip(twin).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{name}: {worst}");
        }
    }

    #[test]
    fn merged_weights_compute_what_the_adapters_did() {
        let device = Device::flex();
        let rows: [&[u32]; 1] = [&[3, 1, 4, 1, 5]];
        for method in [Method::LowRank, Method::Decomposed, Method::Norms, Method::Full] {
            let (state, model, _) = trained(method);
            let merged = merged_weights(&state, &setting(method)).expect("can be merged");
            let plain = Transformer::new(&tiny(), &merged, "merged", &device).expect("only the base's names");
            let (a, b) = (logits(&model, &rows, &device), logits(&plain, &rows, &device));
            let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{method:?}: {worst}");
        }
        for method in [Method::Bias, Method::Prompt, Method::Prefix, Method::Bottleneck] {
            let why = merged_weights(&trained(method).0, &setting(method)).expect_err("refused").to_string();
            assert!(why.contains("cannot be merged"), "{why}");
        }
    }

    #[test]
    fn a_prefix_stands_before_a_cache_too_and_a_prompt_is_read_whole() {
        let device = Device::flex();
        let (_, model, _) = trained(Method::Prefix);
        let whole = logits(&model, &[&[3, 1, 4, 1, 5]], &device);
        let mut cache = KvCache::new(&tiny(), 1, 5, &device).expect("fits");
        let mut parts = Vec::new();
        for part in [&[3_u32, 1][..], &[4], &[1, 5]] {
            let tokens = model.tokens(&[part], &device).expect("valid");
            parts.extend(ready(read(model.extend(tokens, &mut cache).expect("fits"))).expect("runs"));
        }
        assert!(whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-5));
        let (_, model, _) = trained(Method::Prompt);
        let mut cache = KvCache::new(&tiny(), 1, 5, &device).expect("fits");
        let tokens = model.tokens(&[&[3]], &device).expect("valid");
        assert!(model.extend(tokens, &mut cache).is_err());
        // 16 positions, of which the prompt takes two.
        assert!(model.tokens(&[&[0; 14]], &device).is_ok() && model.tokens(&[&[0; 15]], &device).is_err());
    }

    #[test]
    fn what_cannot_be_attached_is_refused_in_words() {
        let config = tiny();
        let why = |setting: Setting| setting.check(&config).expect_err("refused").to_string();
        assert!(why(Setting { rank: 0, ..setting(Method::LowRank) }).contains("take 1 or more"));
        let wide = why(Setting { rank: 9, ..setting(Method::LowRank) });
        assert!(wide.contains("k_proj") && wide.contains("take 8 or less"), "{wide}");
        let mlp = Setting { rank: 9, targets: Targets::FeedForward, ..setting(Method::LowRank) };
        assert_eq!(mlp.check(&config), Ok(()));
        assert!(why(Setting { scale: f32::NAN, ..setting(Method::LowRank) }).contains("finite"));
        assert!(why(Setting { rank: 9, ..setting(Method::Prompt) }).contains("take 8 or fewer"));
    }
}
