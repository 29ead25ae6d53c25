//! Packed networks against their naive twins, and what must not change when nothing is rounded.

use std::rc::Rc;

use lab_kit::{
    mlp::MlpWeights,
    quant::{Granularity, Scheme},
    testing::{FakeClock, context_with, ready},
};

use super::*;

const FILES: [&str; 2] = ["digits/digits.csv.gz", "digits/mlp.safetensors"];

fn loaded() -> (Context, Subject) {
    let cx = context_with(Rc::new(FakeClock::new(0.1)), &FILES);
    let subject = ready(Subject::of(Dataset::Digits, &cx)).expect("loads");
    (cx, subject)
}

fn outcome(subject: &Subject, settings: &Settings, cx: &Context) -> Outcome {
    let networks = ready(quantize(subject, settings, cx)).expect("quantizes");
    ready(Outcome::of(subject, networks, cx)).expect("judges")
}

#[test]
fn packed_networks_answer_as_loops_over_their_unpacked_weights() {
    let (cx, subject) = loaded();
    for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Group(16)] {
        for scheme in [Scheme::Symmetric, Scheme::Affine] {
            let settings = Settings::weight_only(3, scheme, granularity);
            let found = outcome(&subject, &settings, &cx);
            let classes = subject.images.class_count();
            for fold in 0..subject.folds() {
                let image = subject.models.held_out(fold)[fold];
                let mut layers = subject.network(fold).layers.clone();
                for layer in &mut layers {
                    layer.weight = quant::naive::fake_quantize(&layer.weight, layer.inputs, &settings);
                }
                let pixels = subject.images.gather(&[image]);
                let twin = quant::naive::layer_outputs(&layers, &pixels).pop().expect("layers");
                for (packed, naive) in found.logits[image * classes..][..classes].iter().zip(&twin) {
                    assert!((packed - naive).abs() < 1e-3, "{granularity:?} {scheme:?}: {packed} {naive}");
                }
            }
        }
    }
}

#[test]
fn bytes_are_those_of_codes_scales_and_biases() {
    let (cx, subject) = loaded();
    let rows = |network: &MlpWeights| network.layers.iter().map(|layer| layer.outputs).sum::<usize>();
    let weights = |network: &MlpWeights| network.layers.iter().map(|layer| layer.weight.len()).sum::<usize>();
    let network = subject.network(0);
    for bits in [2, 4, 8] {
        let settings = Settings::weight_only(bits, Scheme::Symmetric, Granularity::Channel);
        let found = outcome(&subject, &settings, &cx).summary(&subject);
        // A scale for each row and a bias for each output, both FP32; codes lie close.
        let expected = weights(network) * bits as usize / 8 + 8 * rows(network);
        assert_eq!(found.bytes, expected, "{bits} bits");
    }
}

#[test]
fn each_bit_halves_the_error_and_eight_change_no_answer_to_speak_of() {
    let (cx, subject) = loaded();
    let at = |bits| {
        let settings = Settings::weight_only(bits, Scheme::Symmetric, Granularity::Channel);
        let found = outcome(&subject, &settings, &cx);
        let errors = ready(summary::layer_errors(&subject, &found, &cx)).expect("compares");
        (found, errors)
    };
    let (mut before, _) = at(3).1.iter().map(|e| (e.weight_sqnr_db, 0)).next().expect("layers");
    for bits in 4..=8 {
        let now = at(bits).1[0].weight_sqnr_db;
        assert!((4.5..8.0).contains(&(now - before)), "{bits} bits: {before} then {now} dB");
        before = now;
    }
    let baseline = ready(subject.baseline(&cx)).expect("judges");
    let eight = subject.compare(&baseline.answers, &at(8).0.answers);
    let flips = baseline.answers.iter().zip(&at(8).0.answers).filter(|(a, b)| a != b).count();
    assert!(flips <= 5, "{flips} answers change, {:.2} points", eight.points());
}

#[cfg(feature = "schema")]
#[test]
fn what_is_done_to_channels_changes_nothing_until_something_is_rounded() {
    let (_, subject) = loaded();
    let pixels = subject.images.gather(&subject.models.held_out(0)[..4]);
    let plain = quant::naive::layer_outputs(&subject.network(0).layers, &pixels).pop().expect("layers");
    for (name, answers) in remedies::unrounded(&subject, &pixels) {
        let furthest = plain.iter().zip(&answers).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-3, "{name}: {furthest}");
    }
}
