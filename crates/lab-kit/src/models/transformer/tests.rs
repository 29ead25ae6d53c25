use std::rc::Rc;

use rand::Rng;

use super::*;
use crate::{
    measure::peak_bytes,
    mlp::read,
    models::{Sampling, Weight, config_tests::tiny, generate, pack},
    quant::{Granularity, Inputs, Scheme, Settings},
    testing::{FakeClock, alone_in_memory, context, ready},
    weights::{Precision, WeightFile},
};

fn random(config: &TransformerConfig, seed: u64, device: &Device) -> Transformer {
    let weights = config.init(&mut crate::rng(seed, "weights"));
    Transformer::new(config, &weights, "a test", device).expect("fits")
}

fn worst<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).abs().max().into_scalar()
}

#[test]
fn logits_equal_those_of_hugging_face() {
    let device = Device::flex();
    let files: [(usize, &[u8]); 3] = [
        (4, include_bytes!("../../../fixtures/llama-mha.safetensors")),
        (2, include_bytes!("../../../fixtures/llama-gqa.safetensors")),
        (1, include_bytes!("../../../fixtures/llama-mqa.safetensors")),
    ];
    for (key_value_heads, bytes) in files {
        let config = TransformerConfig { key_value_heads, ..tiny() };
        let file = WeightFile::open("fixture", bytes).expect("whole");
        let mut weights = StateDict::default();
        for (name, shape) in config.shapes() {
            weights.insert(&name, &shape, file.floats(&name, &shape).expect("there")).expect("fits");
        }
        let model = Transformer::new(&config, &weights, "fixture", &device).expect("fits");
        let tokens: Vec<u32> =
            file.integers("fixture.tokens", &[2, 9]).expect("there").into_iter().map(u32::from).collect();
        let logits = model.forward(model.tokens(&[&tokens[..9], &tokens[9..]], &device).expect("valid"));
        let expected = file.floats("fixture.logits", &[2, 9, 17]).expect("there");
        let logits = ready(read(logits)).expect("runs");
        let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        // Logits reach about 5; two layers of sums of at most 24 products in singles, and sines that PyTorch computes
        // in singles and we in doubles, leave a few units of 1e-6.
        for (ours, theirs) in logits.iter().zip(&expected) {
            assert!((ours - theirs).abs() < 2e-5, "{key_value_heads} heads: {ours} {theirs}");
        }
        assert!(largest > 1.0);
    }
}

#[test]
fn layer_after_layer_and_read_out_is_the_model() {
    let (config, device) = (tiny(), Device::flex());
    let model = random(&config, 0, &device);
    let tokens = model.tokens(&[&[1, 5, 9, 2], &[3, 3, 0, 16]], &device).expect("valid");
    let mut x = model.embed(tokens.clone());
    for layer in 0..config.layers {
        assert!(worst(model.readout(x.clone()), model.forward(tokens.clone())) > 0.0, "not before the last layer");
        x = model.layer(layer, x).0;
    }
    assert!(worst(model.readout(x), model.forward(tokens)) == 0.0);
}

#[test]
fn a_probe_changes_no_bit_and_every_part_that_begins_ends() {
    use crate::profile::{CountProbe, Depth, SpanProbe, Without, self_times};
    let device = Device::flex();
    let cx = context(Rc::new(FakeClock::new(0.1)));
    for (key_value_heads, tied) in [(4, false), (2, true)] {
        let config = TransformerConfig { key_value_heads, tied, ..tiny() };
        let model = random(&config, 0, &device);
        let tokens = || model.tokens(&[&[3, 1, 4, 1, 5], &[9, 2, 6, 5, 3]], &device).expect("valid");
        let plain = model.forward(tokens());
        for depth in [Depth::Pass, Depth::Block, Depth::Layer, Depth::Operation] {
            let mut probe = SpanProbe::new(&cx, depth, 0.0);
            probe.enter(Part::Pass);
            let watched = model.probed(tokens(), None, false, &mut probe).expect("fits");
            probe.leave(Part::Pass);
            assert_eq!(worst(watched, plain.clone()), 0.0);
            let times = self_times(&probe.events).expect("nested");
            assert_eq!(times[&Part::Pass].calls, 1);
            // Leaves do not lie in each other, so their own time is all of theirs.
            assert!(times.iter().all(|(part, t)| *part == Part::Pass || (t.self_ms - t.total_ms).abs() < 1e-9));
        }
        // With a cache the same, and the last row alone is the last row.
        let mut cache = KvCache::new(&config, 2, 5, &device).expect("fits");
        let last = model.probed(tokens(), Some(&mut cache), true, &mut CountProbe::default()).expect("fits");
        assert!(worst(last, plain.clone().narrow(1, 4, 1)) < 1e-5);
        // What is left out is left out.
        for part in [Part::Norm, Part::TurnQuery, Part::Softmax, Part::Silu] {
            let mut without = Without(match part {
                Part::Norm => |part| part == Part::Norm,
                Part::TurnQuery => |part| part == Part::TurnQuery,
                Part::Softmax => |part| part == Part::Softmax,
                _ => |part| part == Part::Silu,
            });
            let other = model.probed(tokens(), None, false, &mut without).expect("fits");
            assert!(worst(other, plain.clone()) > 1e-3, "{part:?}");
        }
    }
}

#[test]
fn the_cache_changes_nothing_but_the_work() {
    let device = Device::flex();
    let mut rng = crate::rng(0, "cuts");
    for (seed, key_value_heads) in [(0, 4), (1, 2), (2, 1)] {
        let config = TransformerConfig { key_value_heads, tied: seed == 2, ..tiny() };
        let model = random(&config, seed, &device);
        let text: Vec<Vec<u32>> = (0..2).map(|_| (0..16).map(|_| rng.random_range(0..17)).collect()).collect();
        let part =
            |from: usize, to: usize| model.tokens(&[&text[0][from..to], &text[1][from..to]], &device).expect("valid");
        let whole = model.forward(part(0, 16));
        let mut cache = KvCache::new(&config, 2, 16, &device).expect("fits");
        let mut at = 0;
        while at < 16 {
            let to = (at + rng.random_range(1..5)).min(16);
            let logits = model.extend(part(at, to), &mut cache).expect("fits");
            // The same sums over keys, in another grouping of rows.
            assert!(worst(logits, whole.clone().narrow(1, at, to - at)) < 1e-5);
            at = to;
        }
        // Going back: what was beyond is forgotten.
        cache.truncate(7);
        let logits = model.next(part(7, 9), &mut cache).expect("fits");
        assert!(worst(logits.unsqueeze_dim::<3>(1), whole.narrow(1, 8, 1)) < 1e-5);
        assert_eq!(cache.len(), 9);
    }
}

#[test]
fn a_step_writes_into_the_cache_and_does_not_copy_it() {
    let _alone = alone_in_memory();
    let cx = context(Rc::new(FakeClock::real()));
    let config = TransformerConfig { context: 1 << 14, layers: 1, ..tiny() };
    let model = random(&config, 0, &cx.device);
    let mut cache = KvCache::new(&config, 64, 1 << 14, &cx.device).expect("fits");
    let tokens = model.tokens(&[&[1_u32] as &[u32]; 64], &cx.device).expect("valid");
    // Tests on other threads may allocate meanwhile; a copy would stand in every one of these steps.
    let mut peaks = Vec::new();
    for _ in 0..8 {
        let step = async || model.next(tokens.clone(), &mut cache).map(drop);
        peaks.push(ready(peak_bytes(&cx, step)).expect("fits").1.expect("counted"));
    }
    let peak = peaks.into_iter().min().expect("eight steps");
    // A copy of the keys alone would take half of the cache.
    let whole = 64 * (1 << 14) * config.cache_bytes_per_token(Precision::Fp32);
    assert!(peak < whole / 4, "{peak} of {whole}");
}

#[test]
fn the_future_is_hidden() {
    let device = Device::flex();
    let model = random(&tiny(), 3, &device);
    let logits = |last: u32| model.forward(model.tokens(&[&[1, 2, 3, last]], &device).expect("valid"));
    let (a, b) = (logits(4), logits(5));
    assert!(worst(a.clone().narrow(1, 0, 3), b.clone().narrow(1, 0, 3)) < 1e-6);
    assert!(worst(a.narrow(1, 3, 1), b.narrow(1, 3, 1)) > 1e-3);
}

#[test]
fn generation_with_a_cache_writes_what_recomputation_writes() {
    let device = Device::flex();
    let model = random(&tiny(), 4, &device);
    let sampling = Sampling { temperature: 0.8, top_k: Some(5) };
    let prompt = [3, 1, 4];
    let mut seen = Vec::new();
    let written =
        ready(generate(&model, (&prompt, 13), &sampling, &mut crate::rng(9, "text"), &device, async |token| {
            seen.push(token);
            Ok(())
        }))
        .expect("fits");
    assert_eq!(seen, written);
    let mut rng = crate::rng(9, "text");
    let mut text = prompt.to_vec();
    for _ in 0..13 {
        let logits = model.forward(model.tokens(&[&text], &device).expect("valid"));
        let last = ready(read(logits.narrow(1, text.len() - 1, 1))).expect("runs");
        text.push(sampling.draw(&last, &mut rng).expect("numbers"));
    }
    assert_eq!(text[3..], written);
}

#[test]
fn a_packed_model_computes_what_its_weights_say() {
    let device = Device::flex();
    let mut rng = crate::rng(0, "cuts");
    for (bits, tied) in [(16, false), (8, true), (4, false), (3, true), (2, false)] {
        let config = TransformerConfig { tied, ..tiny() };
        let weights = config.init(&mut rng);
        let settings = Settings::weight_only(bits, Scheme::Affine, Granularity::Group(8));
        let quantize = |_: &str, weight: &Weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings);
        let (matrices, rest) = pack(&weights, quantize).expect("packs");
        let mut rounded = weights.clone();
        for (name, matrix) in &matrices {
            rounded.get_mut(name).expect("there").values = matrix.dequantize();
        }
        let numbers: usize = config.shapes().iter().filter(|(_, shape)| shape.len() == 2).count();
        assert_eq!(matrices.len(), numbers);
        let plain = Transformer::new(&config, &rounded, "rounded", &device).expect("fits");
        let packed = |inputs| {
            let place = |_: &str, matrix| PackedWeight::new(matrix, inputs, &device);
            Transformer::packed(&config, matrices.clone(), &rest, ("packed", place), &device).expect("fits")
        };
        let run = |model: &Transformer| model.forward(model.tokens(&[&[3, 1, 4, 1, 5]], &device).expect("valid"));
        // The same numbers, summed in another order.
        assert!(worst(run(&packed(Inputs::Float)), run(&plain)) < 1e-4, "{bits} bits");
        let apart = worst(run(&packed(Inputs::Int8)), run(&plain));
        // 256 levels cost something, and not much; half precision has no integers to multiply.
        assert!(if bits == 16 { apart < 1e-4 } else { (1e-5..0.3).contains(&apart) }, "{bits} bits: {apart}");
    }
}

#[test]
fn every_matrix_shows_the_input_that_its_name_says() {
    let device = Device::flex();
    for tied in [false, true] {
        let config = TransformerConfig { tied, ..tiny() };
        let model = random(&config, 0, &device);
        let tokens = || model.tokens(&[&[3, 1, 4], &[1, 5, 9]], &device).expect("valid");
        let seen = model.inputs_of_matrices(tokens());
        let mut named: Vec<(String, usize)> = Vec::new();
        for (names, input) in &seen {
            let [rows, columns] = input.dims();
            assert_eq!(rows, 6);
            named.extend(names.iter().map(|name| (name.clone(), columns)));
        }
        let matrices = config.shapes().into_iter().filter(|(_, shape)| shape.len() == 2);
        let mut expected: Vec<(String, usize)> = matrices.map(|(name, shape)| (name, shape[1])).collect();
        expected.retain(|(name, _)| tied || !name.contains("embed_tokens"));
        named.sort();
        expected.sort();
        assert_eq!(named, expected);
        // Layer by layer the same.
        let (mut x, mut by_layer) = (model.embed(tokens()), Vec::new());
        for number in 0..=config.layers {
            let (y, inputs) = model.layer(number, x);
            by_layer.extend(inputs);
            x = y;
        }
        assert_eq!(by_layer.len() + 1, seen.len());
        for ((names, input), (expected, whole)) in by_layer.into_iter().zip(&seen) {
            assert_eq!(&names, expected);
            assert_eq!(worst(input, whole.clone()), 0.0);
        }
        // The last of them, given to the output layer, makes the logits.
        let (_, last) = &seen[seen.len() - 1];
        let logits = model.head(last.clone().reshape([2, 3, config.channels]));
        assert!(worst(logits, model.forward(tokens())) < 1e-6);
    }
}

#[test]
fn a_packed_model_never_holds_a_matrix_of_floats() {
    let _alone = alone_in_memory();
    let cx = context(Rc::new(FakeClock::real()));
    let config = TransformerConfig { vocabulary: 8192, channels: 256, layers: 1, feed_forward: 4096, ..tiny() };
    let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Group(32));
    let quantize = |_: &str, weight: &Weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings);
    let (matrices, rest) = pack(&config.init(&mut crate::rng(0, "w")), quantize).expect("packs");
    let largest = 8192 * 256 * size_of::<f32>();
    let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Int8, &cx.device);
    let model = Transformer::packed(&config, matrices, &rest, ("packed", place), &cx.device).expect("fits");
    let tokens = model.tokens(&[&[1, 2, 3, 4]], &cx.device).expect("valid");
    let mut cache = KvCache::new(&config, 1, 16, &cx.device).expect("fits");
    let step = async || model.extend(tokens, &mut cache).map(drop);
    let peak = ready(peak_bytes(&cx, step)).expect("fits").1.expect("counted");
    // Burn's product of small matrices, as attention's are, works in an area that grows with the processor's caches: one
    // megabyte on some, over two on others. It is measured here, on scores of the same shape.
    let queries = Tensor::<4>::ones([1, config.heads, 4, config.head_channels()], &cx.device);
    let scores = async || {
        let product = queries.clone().matmul(queries.clone().transpose());
        read(product.reshape([16 * config.heads])).await.map(drop)
    };
    let work_area = ready(peak_bytes(&cx, scores)).expect("fits").1.expect("counted");
    assert!(peak < work_area + largest / 4, "{peak} of {largest}, beside {work_area}");
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let (device, config) = (Device::flex(), tiny());
    let model = random(&config, 0, &device);
    let tokens = |rows: &[&[u32]]| model.tokens(rows, &device).map(|_| ()).expect_err("refused").to_string();
    assert!(tokens(&[&[17]]).contains("no token 17"));
    assert!(tokens(&[&[1, 2], &[1]]).contains("equal length"));
    assert!(tokens(&[&[0; 17]]).contains("context of 16"));
    assert!(KvCache::new(&config, 1, 17, &device).is_err());
    let huge = KvCache::new(&config, 1 << 20, 16, &device).expect_err("refused").to_string();
    assert!(huge.contains("takes 2048 MiB, more than the 1024"), "{huge}");
    let mut cache = KvCache::new(&config, 1, 3, &device).expect("fits");
    let four = model.tokens(&[&[1, 2, 3, 4]], &device).expect("valid");
    let why = model.extend(four, &mut cache).expect_err("refused").to_string();
    assert!(why.contains("holds 0 of 3 tokens, so 4 more do not fit"), "{why}");

    let weights = config.init(&mut crate::rng(0, "weights"));
    let refused = |config: &TransformerConfig, weights: &StateDict| {
        Transformer::new(config, weights, "w", &device).map(|_| ()).expect_err("refused").to_string()
    };
    let more = TransformerConfig { layers: 3, ..config.clone() };
    assert!(refused(&more, &weights).contains("it lacks the tensor “model.layers.2."));
    let fewer = TransformerConfig { layers: 1, ..config.clone() };
    assert!(refused(&fewer, &weights).contains("no place for its tensor “model.layers.1."));
    let wider = TransformerConfig { feed_forward: 25, ..config.clone() };
    assert!(refused(&wider, &weights).contains("has shape [24, 16], not [25, 16]"));
}

#[test]
fn weights_survive_a_trip_through_device_and_file() {
    let (device, config) = (Device::flex(), tiny());
    let weights = config.init(&mut crate::rng(0, "weights"));
    let model = Transformer::new(&config, &weights, "w", &device).expect("fits");
    assert_eq!(ready(model.weights()).expect("read"), weights);
    let bytes = weights.to_safetensors(Precision::Fp32, "a test").expect("fits");
    assert_eq!(StateDict::from_safetensors("w", &bytes).expect("whole"), weights);
}
