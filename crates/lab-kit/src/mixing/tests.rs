use std::rc::Rc;

use burn::tensor::Device;

use super::*;
use crate::{
    cache::Decoder,
    language::{Sliding, text_loss},
    models::{Transformer, config_tests::tiny},
    testing::{FakeClock, context, ready},
};

#[test]
fn the_open_model_reads_as_the_closed_one_and_a_wide_window_changes_nothing() {
    let (device, config) = (Device::flex(), tiny());
    let state = config.init(&mut crate::rng(3, "weights"));
    let cx = context(Rc::new(FakeClock::new(0.1)));
    let tokens: Vec<u32> = (0..13).map(|i| (i * 7 + 3) % 17).collect();
    let decoder = Decoder::new(&config, &state, &device).expect("fits");
    let windows = [&tokens[..12], &tokens[1..]];
    let reading = ready(Reading::new(&decoder, &windows, &device, &cx)).expect("reads");
    let model = Transformer::new(&config, &state, "a test", &device).expect("fits");
    let how = Sliding { window: 11, stride: 11, batch: 1 };
    let mut whole = Vec::new();
    for window in windows {
        whole.extend(ready(text_loss(&model, window, how, &device, async |_| Ok(()))).expect("judged").nats);
    }
    assert!(reading.nats.iter().zip(&whole).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-5));
    let run = |ways: [Option<&Way>; 2]| ready(reading.swap(&decoder, &ways, &cx)).expect("reads");
    let far = |a: &[f64]| a.iter().zip(&reading.nats).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert_eq!(far(&run([None, None])), 0.0);
    let (wide, all) = (Way::Softmax { window: 99 }, Way::Top(99));
    assert!(far(&run([Some(&wide), Some(&all)])) < 1e-5);
    for way in [
        Way::Softmax { window: 2 },
        Way::Top(1),
        Way::Kernel(vec![Map::Elu], 1.0),
        Way::Kernel(vec![Map::Uniform], 0.5),
        Way::Delta { write: 1.0, keep: 1.0 },
        Way::Delta { write: 0.5, keep: 0.9 },
        Way::Pooled(2),
    ] {
        let changed = far(&run([None, Some(&way)]));
        assert!(changed > 1e-5 && changed.is_finite(), "{way:?}: {changed}");
    }
    assert!(ready(Reading::new(&decoder, &[&tokens[..3], &tokens[..4]], &device, &cx)).is_err());
}

#[test]
fn maps_that_imitate_come_nearer() {
    let (device, config) = (Device::flex(), tiny());
    let mut state = config.init(&mut crate::rng(3, "weights"));
    for name in ["q", "k"] {
        let name = format!("model.layers.0.self_attn.{name}_proj.weight");
        state.get_mut(&name).expect("there").values.iter_mut().for_each(|w| *w *= 3.0);
    }
    let cx = context(Rc::new(FakeClock::new(0.1)));
    let decoder = Decoder::new(&config, &state, &device).expect("fits");
    let tokens: Vec<u32> = (0..17).map(|i| (i * i * 5 + 3) % 17).collect();
    let reading = ready(Reading::new(&decoder, &[&tokens], &device, &cx)).expect("reads");
    let far = |maps: Vec<Map>| {
        let (way, head) = (Way::Kernel(maps, 1.0), &reading.heads[0][0]);
        let weights = |way: &Way| way.weights(&head.q, &head.k, reading.channels, 0).expect("a table");
        total_variation(&weights(&way), &weights(&Way::FULL), reading.length, 1)
    };
    let lesson = Lesson { features: 8, steps: 0, rate: 0.05 };
    let learn = |steps| ready(learn_maps(&reading, Lesson { steps, ..lesson }, &cx, |_| ())).expect("learns");
    let (before, after) = (far(learn(0)), far(learn(80)));
    assert!(after < 0.7 * before, "{before} {after}");
}

#[test]
fn pairs_are_asked_for_once_each() {
    let task = Recall { tokens: 32, pairs: vec![2, 8], kinds: 16 };
    let (batch, held) = task.batch(20, &mut crate::rng(0, "pairs"));
    assert_eq!(batch.tokens.len(), 20 * 32);
    assert_eq!(batch.targets.len(), held.len());
    for ((row, value), pairs) in batch.targets.iter().zip(&held) {
        let start = row / 32 * 32;
        let first = start + 32 - 4 * pairs;
        let key = batch.tokens[*row];
        let written = (0..*pairs).find(|i| batch.tokens[first + 2 * i] == key).expect("written before");
        assert_eq!(batch.tokens[first + 2 * written + 1], 1 + 16 + value);
        assert!(batch.tokens[start..first].iter().all(|token| *token == 0));
    }
    assert_eq!(task.most_pairs(), 8);
}

#[test]
fn attention_learns_to_recall() {
    let task = Recall { tokens: 16, pairs: vec![2], kinds: 8 };
    let shape = Shape {
        tokens: 16,
        channels: 16,
        keys: 8,
        taps: 3,
        vocabulary: task.vocabulary(),
        inputs: 0,
        outputs: 8,
        mixer: Mixer::Softmax { causal: true },
    };
    let mut rng = crate::rng(0, "recall");
    let first = shape.init(&mut rng);
    let fitted =
        ready(fit(&shape, (300, 0.03), first, || task.batch(16, &mut rng).0, async |_| Ok(()))).expect("trains");
    let pass = shape.pass(&fitted.weights, &task.batch(64, &mut crate::rng(9, "test")).0, false);
    let right = pass.right.iter().filter(|right| **right).count() as f64 / pass.right.len() as f64;
    assert!(right > 0.8, "{right}");
}

#[test]
fn a_sum_holds_more_and_the_delta_rule_overwrites() {
    let share = |rule, twice| associative(rule, 16, 16, twice, 40, &mut crate::rng(0, "pairs"));
    let (sum, delta) = (share(Rule::Sum, false), share(Rule::Delta(1.0), false));
    assert!(sum > delta + 0.1, "{sum} {delta}");
    let (sum, delta) = (share(Rule::Sum, true), share(Rule::Delta(1.0), true));
    assert!(sum < 0.6 && delta > sum + 0.1, "{sum} {delta}");
    assert!(share(Rule::Softmax { sharpness: 12.0, slope: 0.0 }, false) > 0.98);
    assert!(
        share(Rule::Softmax { sharpness: 12.0, slope: 0.2 }, true)
            > share(Rule::Softmax { sharpness: 12.0, slope: 0.0 }, true)
    );
}
