use lab_layers::cells::{SIDE, SLOTS, SlotOp};
use rand::Rng;

use super::*;
use crate::rng;

const CLASSES: usize = 5;
const NET: Supernet = Supernet { residual: true, classes: CLASSES };
const SET: Adam = Adam { decay: 0.05, ..Adam::W };

fn batch(images: usize, seed: u64) -> (Vec<f32>, Vec<u8>) {
    let mut rng = rng(seed, "images");
    let pixels = (0..images * SIDE * SIDE).map(|_| rng.random_range(0.0..1.0)).collect();
    (pixels, (0..images).map(|_| rng.random_range(0..CLASSES as u8)).collect())
}

fn code(text: &str) -> CellCode {
    CellCode::parse(text).expect("a code")
}

/// The weights of a path, as a network of its own has them.
fn cut(net: &Supernet, weights: &[f32], code: CellCode) -> Vec<f32> {
    let used = net.used(&path_shares(code));
    net.parts().into_iter().zip(used).filter(|(_, used)| *used).flat_map(|(part, _)| weights[part].to_vec()).collect()
}

#[test]
fn a_supernet_has_a_part_for_each_operation_of_each_slot() {
    let parts = NET.parts();
    assert_eq!(parts.len(), CHOICES + 2);
    assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
    let slots: usize = SlotOp::ALL.map(SlotOp::weights).iter().sum::<usize>() * SLOTS;
    let bare = code("skip-skip-skip-skip").parameters(CLASSES);
    assert_eq!(NET.weights(), bare + slots);
    assert_eq!(NET.init(&mut rng(0, "w")).len(), NET.weights());
    for index in [0, 7, 500, CellCode::COUNT - 1] {
        let code = CellCode::from_index(index);
        let hot = path_shares(code);
        assert_eq!(code_of_choices(&strongest_choices(&hot, OPERATIONS)), code);
        assert_eq!(cut(&NET, &NET.init(&mut rng(0, "w")), code).len(), code.parameters(CLASSES));
    }
}

#[test]
fn a_path_is_its_network_and_touches_nothing_else() {
    let weights = NET.init(&mut rng(1, "w"));
    let (pixels, labels) = batch(3, 2);
    for text in ["mix-sep-pool-conv", "pw-skip-conv-mix", "skip-skip-skip-skip"] {
        for residual in [true, false] {
            let (net, code) = (Supernet { residual, ..NET }, code(text));
            let shares = path_shares(code);
            let pass = net.pass(&weights, &shares, &pixels, &labels);
            let alone = CellNet { code, residual, classes: CLASSES };
            let own = alone.pass(&cut(&net, &weights, code), &pixels, &labels);
            assert_eq!((pass.loss, pass.right), (own.loss, own.right));
            assert_eq!(cut(&net, &pass.gradient, code), own.gradient);
            for (part, used) in net.parts().into_iter().zip(net.used(&shares)) {
                assert!(used || pass.gradient[part].iter().all(|g| *g == 0.0));
            }
            let (loss, right) = net.judge(&weights, &shares, &pixels, &labels);
            assert!((loss - own.loss).abs() < 1e-6 && (right - own.right as f64 / 3.0).abs() < 1e-9);
        }
    }
}

#[test]
fn a_supernet_of_one_path_trains_as_a_network_does() {
    let code = code("sep-conv-skip-mix");
    let mut weights = NET.init(&mut rng(3, "w"));
    let alone = CellNet { code, residual: true, classes: CLASSES };
    let mut own = cut(&NET, &weights, code);
    let shares = path_shares(code);
    let used = NET.used(&shares);
    let mut adam = PathAdam::new(NET.parts(), SET);
    let mut single = PathAdam::new(std::iter::once(0..own.len()).collect(), SET);
    let before = weights.clone();
    for step in 0..5 {
        let (pixels, labels) = batch(4, step);
        let gradient = NET.pass(&weights, &shares, &pixels, &labels).gradient;
        adam.step(&mut weights, &gradient, &used, 0.01);
        let gradient = alone.pass(&own, &pixels, &labels).gradient;
        single.step(&mut own, &gradient, &[true], 0.01);
    }
    assert_eq!(cut(&NET, &weights, code), own);
    for (i, (part, used)) in NET.parts().into_iter().zip(used).enumerate() {
        if !used {
            assert_eq!(weights[part.clone()], before[part]);
            assert!(adam.steps()[i] == 0 && adam.moments(i).concat().iter().all(|x| *x == 0.0));
        }
    }
}

#[test]
fn a_mixture_of_one_is_the_network_and_its_slopes_are_differences() {
    let weights = NET.init(&mut rng(4, "w"));
    let (pixels, labels) = batch(3, 5);
    let code = code("conv-pool-sep-mix");
    let alpha: Vec<f32> = path_shares(code).iter().map(|x| (100.0 * x - 50.0) as f32).collect();
    let mixed = NET.pass(&weights, &softmax_shares(&alpha, OPERATIONS), &pixels, &labels);
    let path = NET.pass(&weights, &path_shares(code), &pixels, &labels);
    assert!((mixed.loss - path.loss).abs() < 1e-5);
    // ChoiceSlopes by the logits of an even mixture that was shaken.
    let mut random = rng(6, "alpha");
    let alpha: Vec<f32> = (0..CHOICES).map(|_| random.random_range(-0.5..0.5)).collect();
    let loss = |alpha: &[f32]| NET.pass(&weights, &softmax_shares(alpha, OPERATIONS), &pixels, &labels).loss;
    let shares = softmax_shares(&alpha, OPERATIONS);
    let found = by_logits(&shares, &NET.pass(&weights, &shares, &pixels, &labels).shares, OPERATIONS);
    for i in 0..CHOICES {
        let moved = |by: f32| {
            let mut alpha = alpha.clone();
            alpha[i] += by;
            loss(&alpha)
        };
        let right = (moved(0.02) - moved(-0.02)) / 0.04;
        assert!((found[i] - right).abs() < 1e-3 + 0.02 * right.abs(), "{i}: {} {right}", found[i]);
    }
    // And by the weights, along the gradient.
    let pass = NET.pass(&weights, &shares, &pixels, &labels);
    let square: f64 = pass.gradient.iter().map(|g| f64::from(g * g)).sum();
    let step = 1e-3 / square.sqrt();
    let moved = |by: f64| {
        let at: Vec<f32> = weights.iter().zip(&pass.gradient).map(|(w, g)| w + (by * f64::from(*g)) as f32).collect();
        NET.pass(&at, &shares, &pixels, &labels).loss
    };
    let slope = (moved(step) - moved(-step)) / (2.0 * step);
    assert!((slope / square - 1.0).abs() < 2e-2, "{slope} {square}");
}

#[test]
fn shared_beginnings_change_no_answer() {
    let (pixels, labels) = batch(40, 8);
    for residual in [true, false] {
        let net = Supernet { residual, ..NET };
        let weights = net.init(&mut rng(7, "w"));
        let each = judge_each(&net, &weights, &pixels, &labels);
        assert_eq!(judge_tree(&net, &weights, &pixels, &labels), each);
        assert!(each.iter().any(|right| *right != each[0]));
    }
    let (weights, mut right) = (NET.init(&mut rng(7, "w")), vec![0; CellCode::COUNT]);
    let (mut tree, stem) = (CodeTree::new(&NET, &weights), NET.embed(&weights, &pixels));
    SlotOp::ALL.into_iter().for_each(|first| tree.branch(first, &stem, &labels, &mut right));
    // At each of 1 + 6 + 36 + 216 places, six.
    assert_eq!(tree.slots, 1_554);
}

fn letters(count: usize, seed: u64) -> crate::data::Images {
    let (pixels, labels) = batch(count, seed);
    crate::data::Images { pixels, labels, side: SIDE, classes: "abcde", groups: (0..count).map(|i| i / 4).collect() }
}

#[test]
fn halves_share_no_family_and_lose_no_image() {
    let images = letters(40, 11);
    let halves = halves_of(&images);
    assert_eq!(halves[0].len() + halves[1].len(), 40);
    assert!(halves[0].groups.iter().all(|family| !halves[1].groups.contains(family)));
    assert!((16..=24).contains(&halves[0].len()));
    assert_eq!(halves[1].image(0), images.image(4));
}

#[test]
fn paths_are_counted_where_they_went() {
    let images = letters(80, 12);
    for (draw, updates) in [(PathDraw::Uniform, 12), (PathDraw::Fair, 12), (PathDraw::Collected, 2)] {
        let mut training = PathTraining::new(NET, draw, 12, images.len(), 1);
        (0..12).for_each(|_| training.step(&images));
        let steps = training.adam.steps();
        assert_eq!((steps[0], steps[CHOICES + 1]), (updates, updates), "{draw:?}");
        // Two rounds: each operation of each slot twice.
        let each = steps[1..=CHOICES].iter();
        assert!(draw == PathDraw::Uniform || each.clone().all(|steps| *steps == 2), "{draw:?}");
        assert_eq!(each.sum::<u32>(), if draw == PathDraw::Collected { 2 * CHOICES as u32 } else { 48 }, "{draw:?}");
    }
    let mut one_count = PathTraining::new(NET, PathDraw::Uniform, 3, images.len(), 1);
    one_count.one_count = true;
    (0..3).for_each(|_| one_count.step(&images));
    assert!(one_count.adam.steps().iter().all(|steps| *steps == 3));
}

#[test]
fn a_price_that_is_all_that_counts_leaves_what_is_free() {
    let halves = halves_of(&letters(80, 13));
    for (second, sampled) in [(false, false), (true, false), (false, true)] {
        let how = MixedHow { net: NET, steps: 30, second, sampled, cost: 1e3 };
        let mut training = MixedTraining::new(how, [halves[0].len(), halves[1].len()], 1);
        let marks = crate::testing::ready(training.finish((&halves, &halves[1]), 10, async || Ok(()))).expect("trains");
        assert_eq!(marks.iter().map(|mark| mark.step).collect::<Vec<_>>(), [0, 10, 20, 30]);
        assert_eq!(training.found().flops(CLASSES), code("skip-skip-skip-skip").flops(CLASSES));
        // A step moves weights by one pass; shares take one more, or four.
        assert_eq!(training.passes, if second { 150 } else { 60 });
        assert!(marks.iter().all(|mark| (mark.shares.iter().sum::<f64>() - SLOTS as f64).abs() < 1e-9));
    }
}

#[test]
fn what_is_certain_leaves_no_gap() {
    let images = letters(40, 14);
    let how = MixedHow { net: NET, steps: 1, second: false, sampled: false, cost: 0.0 };
    let mut training = MixedTraining::new(how, [40, 40], 2);
    let even = training.mark(&images);
    assert!((even.mixture - even.cut).abs() > 1e-4);
    training.alpha = path_shares(code("mix-conv-pw-pool")).iter().map(|x| 100.0 * *x as f32).collect();
    let sure = training.mark(&images);
    assert!((sure.mixture - sure.cut).abs() < 1e-5);
    assert_eq!(training.found(), code("mix-conv-pw-pool"));
}
