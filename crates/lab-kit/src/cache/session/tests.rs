//! The decoder against the transformer, reading at once against token by token, windows against masks.

use std::rc::Rc;

use super::*;
use crate::{
    cache::{Axis, Grid, Policy, Positions},
    models::{StateDict, Transformer, TransformerConfig, attend, causal_mask, config_tests::tiny},
    testing::{FakeClock, context, ready},
};

fn setup(config: &TransformerConfig) -> (Context, Decoder, Transformer) {
    let cx = context(Rc::new(FakeClock::new(0.1)));
    let mut state: StateDict = config.init(&mut crate::rng(0, "weights"));
    // Scores far from uniform, or no cache could do harm.
    for (name, _) in config.shapes() {
        if name.contains("q_proj") || name.contains("k_proj") {
            state.get_mut(&name).expect("there").values.iter_mut().for_each(|w| *w *= 3.0);
        }
    }
    let decoder = Decoder::new(config, &state, &cx.device).expect("fits");
    let transformer = Transformer::new(config, &state, "a test", &cx.device).expect("fits");
    (cx, decoder, transformer)
}

fn feed(session: &mut Session, tokens: &[u32], cx: &Context) -> Vec<f32> {
    ready(read(ready(session.feed(tokens, cx, &mut |_, _, _| ())).expect("fits"))).expect("reads")
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn text(length: usize) -> Vec<u32> {
    (0..length as u32).map(|i| (i * i + 3 * i + i / 5) % 17).collect()
}

fn read_by(decoder: &Decoder, setting: Setting, tokens: &[u32], cx: &Context) -> Vec<f32> {
    let mut session = Session::new(decoder, &[setting], tokens.len(), crate::rng(0, "lots")).expect("fits");
    feed(&mut session, tokens, cx)
}

#[test]
fn a_full_cache_is_the_transformer() {
    for key_value_heads in [4, 2, 1] {
        let (cx, decoder, transformer) = setup(&TransformerConfig { key_value_heads, ..tiny() });
        let tokens = text(16);
        let logits = transformer.forward(transformer.tokens(&[&tokens], &cx.device).expect("valid"));
        let expected = ready(read(logits.flatten::<2>(0, 1))).expect("reads");
        for positions in [Positions::Original, Positions::InCache] {
            let ours = read_by(&decoder, Setting { positions, ..Setting::FULL }, &tokens, &cx);
            assert!(worst(&ours, &expected) < 2e-5, "{key_value_heads} heads: {}", worst(&ours, &expected));
        }
        // A budget that nobody exceeds changes no bit.
        let full = read_by(&decoder, Setting::FULL, &tokens, &cx);
        for policy in [Policy::Window, Policy::HeavyHitters, Policy::MeanScore, Policy::Random] {
            assert_eq!(read_by(&decoder, Setting { policy, budget: 16, ..Setting::FULL }, &tokens, &cx), full);
        }
    }
}

#[test]
fn reading_at_once_is_writing_token_by_token_for_every_cache() {
    let (cx, decoder, _) = setup(&TransformerConfig { context: 80, ..tiny() });
    let tokens = text(80);
    let token = |bits| Grid { bits, axis: Axis::Token };
    let quantized = Setting { keys: token(4), values: token(3), residual: 2, ..Setting::FULL };
    let settings = [
        Setting::FULL,
        Setting::window(5),
        Setting { sinks: 2, positions: Positions::InCache, ..Setting::window(6) },
        Setting { policy: Policy::HeavyHitters, budget: 7, ..Setting::FULL },
        Setting { policy: Policy::Random, budget: 7, sinks: 1, ..Setting::FULL },
        quantized,
        Setting { policy: Policy::MeanScore, budget: 9, ..quantized },
        Setting::kivi(2, 0),
        Setting { positions: Positions::InCache, ..Setting::kivi(4, 40) },
    ];
    for setting in settings {
        let at_once = read_by(&decoder, setting, &tokens, &cx);
        for cuts in [vec![1; 80], vec![7, 33, 1, 39]] {
            let mut session = Session::new(&decoder, &[setting], 80, crate::rng(0, "lots")).expect("fits");
            let (mut logits, mut start) = (Vec::new(), 0);
            for cut in cuts {
                logits.extend(feed(&mut session, &tokens[start..start + cut], &cx));
                start += cut;
            }
            // Sums in the matrices' order differ with the number of rows.
            assert!(worst(&logits, &at_once) < 1e-4, "{setting:?}: {}", worst(&logits, &at_once));
        }
    }
}

#[test]
fn a_window_is_a_mask_that_hides_what_is_older() {
    let (config, window) = (TransformerConfig { layers: 1, context: 24, ..tiny() }, 5);
    let (cx, decoder, _) = setup(&config);
    let tokens = text(24);
    let ours = read_by(&decoder, Setting::window(window), &tokens, &cx);
    // The same layer with the kit's attention under a mask: i - j < W.
    let (d, h, k) = (config.head_channels(), config.heads, config.key_value_heads);
    let x = decoder.embed(&tokens).expect("valid");
    let qkv = decoder.project(0, &x).reshape([1, 24, h + 2 * k, d]).swap_dims(1, 2);
    let rope = crate::models::Rope::new(&config, &cx.device);
    let q = rope.turn(qkv.clone().narrow(1, 0, h), 0);
    let (key, value) = (rope.turn(qkv.clone().narrow(1, h, k), 0), qkv.narrow(1, h + k, k));
    let older: Vec<f32> =
        (0..24_usize).flat_map(|i| (0..24).map(move |j| if j + window <= i { -1e9 } else { 0.0 })).collect();
    let mask = causal_mask(24, 0, &cx.device).expect("many")
        + Tensor::from_data(TensorData::new(older, [1, 1, 24, 24]), &cx.device);
    let y = attend(q, key, value, Some(mask)).swap_dims(1, 2).reshape([24, config.channels]);
    let expected = ready(read(decoder.logits(decoder.finish(0, x, y)))).expect("reads");
    assert!(worst(&ours, &expected) < 2e-5, "{}", worst(&ours, &expected));
}

#[test]
fn positions_matter_only_where_something_is_kept_beyond_the_window() {
    let (cx, decoder, _) = setup(&TransformerConfig { context: 30, ..tiny() });
    let tokens = text(30);
    let with = |sinks, positions| read_by(&decoder, Setting { sinks, positions, ..Setting::window(6) }, &tokens, &cx);
    let apart = |sinks| worst(&with(sinks, Positions::Original), &with(sinks, Positions::InCache));
    assert!(apart(0) < 1e-4, "{}", apart(0));
    assert!(apart(2) > 1e-2, "{}", apart(2));
}

#[test]
fn budgets_hold_and_the_newest_stay() {
    let (cx, decoder, _) = setup(&TransformerConfig { context: 40, ..tiny() });
    for policy in [Policy::Window, Policy::HeavyHitters, Policy::MeanScore, Policy::Random] {
        let setting = Setting { policy, budget: 8, sinks: 2, ..Setting::FULL };
        let mut session = Session::new(&decoder, &[setting], 40, crate::rng(0, "lots")).expect("fits");
        let mut seen = [0; 4];
        let mut watch = |layer: usize, head: usize, cache: &HeadCache| {
            let now = seen[layer * 2 + head];
            seen[layer * 2 + head] += 1;
            let there: Vec<usize> = cache.positions().collect();
            assert_eq!(there.len(), 8.min(now + 1));
            assert!(there.is_sorted() && there[..2.min(now + 1)].iter().copied().eq(0..2.min(now + 1)));
            assert!((now.saturating_sub(3)..=now).all(|newest| there.contains(&newest)), "{policy:?}: {there:?}");
            assert_eq!(cache.bytes(), 2 * 4 * 4 * there.len());
            if policy == Policy::Window {
                assert_eq!(there, super::super::kept(now + 1, 2, 8));
            }
        };
        ready(session.feed(&text(40), &cx, &mut watch)).expect("reads");
    }
}

#[test]
fn bytes_in_the_buffers_are_those_of_the_formula() {
    let config = TransformerConfig { context: 100, channels: 128, ..tiny() };
    let (cx, decoder, _) = setup(&config);
    let layout = crate::cache::Layout::of(&config);
    let token = |bits| Grid { bits, axis: Axis::Token };
    for setting in [
        Setting::FULL,
        Setting::window(20),
        Setting { keys: token(16), values: token(16), ..Setting::FULL },
        Setting { keys: token(4), values: token(3), residual: 10, ..Setting::FULL },
        Setting { keys: token(8), values: token(8), residual: 4, ..Setting::window(30) },
        Setting::kivi(2, 0),
        Setting::kivi(4, 32),
        Setting::kivi(1, 64),
    ] {
        let mut session = Session::new(&decoder, &[setting], 100, crate::rng(0, "lots")).expect("fits");
        for length in 1..=100 {
            feed(&mut session, &text(100)[length - 1..length], &cx);
            assert_eq!(session.bytes()[0] as u64, layout.bytes(length, &setting), "{setting:?} after {length}");
        }
    }
}

#[test]
fn a_text_beyond_what_was_asked_for_is_refused() {
    let (cx, decoder, _) = setup(&tiny());
    let mut session = Session::new(&decoder, &[Setting::FULL], 3, crate::rng(0, "lots")).expect("fits");
    let why = ready(session.feed(&[1, 2, 3, 4], &cx, &mut |_, _, _| ())).map(|_| ()).expect_err("refused");
    assert!(why.to_string().contains("3 tokens at most"));
    assert!(ready(session.feed(&[17], &cx, &mut |_, _, _| ())).is_err());
    assert!(Session::new(&decoder, &[Setting { sinks: 4, ..Setting::window(4) }], 3, crate::rng(0, "lots")).is_err());
}

/// Greedy continuations of two prompts by transformers 4.57.3 with PyTorch 2.9.1, `use_cache=True`, of the weights in
/// `fixtures/llama-gqa.safetensors`: `LlamaForCausalLM`, and `MistralForCausalLM` with `sliding_window=4`.
const LLAMA: [[u32; 16]; 2] =
    [[3, 4, 2, 2, 12, 12, 12, 12, 12, 6, 6, 6, 5, 5, 5, 9], [7, 11, 7, 3, 6, 6, 9, 9, 6, 6, 9, 6, 9, 9, 1, 9]];
const MISTRAL: [[u32; 16]; 2] =
    [[3, 4, 2, 2, 12, 6, 10, 8, 1, 5, 9, 15, 5, 10, 5, 9], [7, 11, 7, 3, 6, 6, 10, 0, 12, 4, 8, 4, 6, 4, 6, 9]];

#[test]
fn the_text_is_that_of_transformers_with_its_caches() {
    let config = TransformerConfig { key_value_heads: 2, ..tiny() };
    let cx = context(Rc::new(FakeClock::new(0.1)));
    let file = crate::weights::WeightFile::open("fixture", include_bytes!("../../../fixtures/llama-gqa.safetensors"));
    let file = file.expect("whole");
    let mut state = StateDict::default();
    for (name, shape) in config.shapes() {
        state.insert(&name, &shape, file.floats(&name, &shape).expect("there")).expect("fits");
    }
    let decoder = Decoder::new(&config, &state, &cx.device).expect("fits");
    for (setting, texts) in [(Setting::FULL, LLAMA), (Setting::window(4), MISTRAL)] {
        for expected in texts {
            let mut session = Session::new(&decoder, &[setting], 16, crate::rng(0, "lots")).expect("fits");
            let mut text = expected[..4].to_vec();
            let mut logits = feed(&mut session, &text, &cx);
            while text.len() < 16 {
                let next = crate::train::argmax(&logits[logits.len() - 17..], 17)[0];
                text.push(u32::from(next));
                logits = feed(&mut session, &text[text.len() - 1..], &cx);
            }
            assert_eq!(text, expected, "{setting:?}");
        }
    }
}
