//! What planted outliers leave as it is, which windows judge, and the packed model against its naive twin.

use std::rc::Rc;

use lab_kit::{
    mlp::read,
    models::Transformer,
    quant::{Granularity, Scheme, naive},
    testing::{FakeClock, context_with, ready},
};

use super::{
    model::{WINDOW, windows},
    *,
};

const FILES: [&str; 4] =
    ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/validation.txt.gz", "corpus/test.txt.gz"];

fn loaded() -> (Context, Source) {
    let cx = context_with(Rc::new(FakeClock::new(0.1)), &FILES);
    let source = ready(Source::load(&cx)).expect("loads");
    (cx, source)
}

fn logits(model: &Transformer, tokens: &[u32], cx: &Context) -> Vec<f32> {
    let tokens = model.tokens(&[tokens], &cx.device).expect("known tokens");
    ready(read(model.forward(tokens).flatten::<2>(0, 1))).expect("reads")
}

#[test]
fn windows_begin_evenly_and_stay_within_the_text() {
    let tokens: Vec<u32> = (0..2000).collect();
    let found = windows(&tokens, 7);
    assert!(found.iter().all(|window| window.len() == WINDOW + 1));
    let starts: Vec<u32> = found.iter().map(|window| window[0]).collect();
    assert_eq!(starts, [0, 249, 498, 747, 996, 1245, 1494]);
}

#[test]
fn planted_outliers_change_no_logit() {
    let (cx, mut source) = loaded();
    let tokens = source.windows(1)[0][..32].to_vec();
    let plain = logits(&source.fp32(&cx).expect("builds"), &tokens, &cx);
    source.plant_outliers().expect("plants");
    let planted = logits(&source.fp32(&cx).expect("builds"), &tokens, &cx);
    assert_eq!(plain, planted);
}

#[cfg(feature = "schema")]
#[test]
fn a_packed_model_computes_as_one_of_rounded_floats() {
    let (cx, source) = loaded();
    let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Group(32));
    let prepared = Prepared::plain(&source);
    let packed = ready(source.pack(&settings, &prepared, &cx)).expect("packs");
    let rounded =
        |_: &str, weight: &lab_kit::models::Weight| naive::fake_quantize(&weight.values, weight.shape[1], &settings);
    let twin = source.changed(rounded, &cx).expect("builds");
    let tokens = &source.windows(1)[0][..24];
    let (a, b) = (logits(&packed.model, tokens, &cx), logits(&twin, tokens, &cx));
    let furthest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(furthest < 2e-3, "{furthest}");
    let matrices: usize = packed.losses.iter().map(|loss| loss.bytes).sum();
    let norms =
        4 * (source.weights.parameters() - packed.losses.iter().map(|l| l.shape[0] * l.shape[1]).sum::<usize>());
    assert_eq!(packed.bytes, matrices + norms);
}
