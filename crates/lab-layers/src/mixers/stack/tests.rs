use rand::Rng;

use super::*;
use crate::mixers::states::{Hold, discretize};

fn draw(count: usize, size: f32, seed: u64) -> Vec<f32> {
    let mut rng = lab_kernels::rng(seed, "stack");
    (0..count).map(|_| size * rng.random_range(-1.0_f32..1.0)).collect()
}

const ALL: [Mix; 5] = [Mix::Attention, Mix::Selective, Mix::Steady, Mix::Sum, Mix::Invariant];

fn stack(layers: Vec<Mix>, taps: usize) -> Stack {
    Stack { channels: 4, keys: 4, taps, vocabulary: 7, outputs: 3, layers }
}

#[test]
fn gradients_are_differences() {
    let batch = Batch {
        tokens: vec![1, 5, 2, 1, 0, 6, 3, 3, 1, 4, 2, 2],
        targets: vec![(3, 0), (5, 2), (8, 1), (11, 0)],
        ..Batch::default()
    };
    let mut shapes: Vec<Stack> = ALL.iter().map(|mix| stack(vec![*mix], 2)).collect();
    shapes.push(stack(vec![Mix::Selective, Mix::Attention], 3));
    shapes.push(stack(vec![Mix::Invariant, Mix::Selective], 0));
    for stack in shapes {
        let mut weights = stack.init(&mut lab_kernels::rng(3, "weights"));
        // Steps as long as those that are learned.
        for (parts, mix) in stack.all_parts().iter().zip(&stack.layers) {
            if let [.., bias, rate] = parts.of_mut(&mut weights, STEP) {
                (*bias, *rate) = (-0.5, 0.3);
            }
            if *mix == Mix::Invariant {
                parts.of_mut(&mut weights, DELTA).fill(-1.0);
            }
        }
        let pass = stack.pass(&weights, &batch, 6, true);
        assert_eq!(pass.gradient.len(), stack.parameters());
        for i in 0..weights.len() {
            let at = |by: f32| {
                let mut moved = weights.clone();
                moved[i] += by;
                stack.pass(&moved, &batch, 6, false).loss
            };
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            let found = f64::from(pass.gradient[i]);
            assert!((slope - found).abs() < 3e-3 + 0.02 * slope.abs(), "{:?} {i}: {slope} {found}", stack.layers);
        }
    }
}

#[test]
fn no_mixer_sees_the_future_and_examples_do_not_meet() {
    for mix in ALL {
        let stack = stack(vec![mix, mix], 2);
        let weights = stack.init(&mut lab_kernels::rng(4, "weights"));
        let loss = |tokens: Vec<usize>, row: usize| {
            stack.pass(&weights, &Batch { tokens, targets: vec![(row, 1)], ..Batch::default() }, 4, false).loss
        };
        let before = loss(vec![1, 2, 3, 4, 5, 6, 1, 2], 6);
        assert_eq!(before, loss(vec![1, 2, 3, 4, 5, 6, 1, 0], 6), "{mix:?} sees what comes");
        assert_eq!(before, loss(vec![0, 0, 0, 0, 5, 6, 1, 2], 6), "{mix:?} sees another example");
        assert_ne!(before, loss(vec![1, 2, 3, 4, 0, 6, 1, 2], 6), "{mix:?} sees nothing");
    }
}

#[test]
fn states_are_counted() {
    assert_eq!(stack(vec![Mix::Attention], 2).state(), None);
    assert_eq!(stack(vec![Mix::Selective, Mix::Attention], 2).state(), None);
    assert_eq!(stack(vec![Mix::Selective], 0).state(), Some(16));
    assert_eq!(stack(vec![Mix::Invariant, Mix::Sum], 2).state(), Some(16 + 4 + 16 + 12));
}

#[test]
fn steps_of_time_are_those_on_paper() {
    let near = |found: (f64, f64), expected: (f64, f64)| {
        assert!((found.0 - expected.0).abs() < 1e-6 && (found.1 - expected.1).abs() < 1e-6, "{found:?} {expected:?}");
    };
    near(discretize(Hold::Zero, -1.0, 0.1), (0.904_837, 0.095_163));
    near(discretize(Hold::Mixed, -1.0, 0.1), (0.904_837, 0.1));
    near(discretize(Hold::Bilinear, -1.0, 0.1), (0.904_762, 0.095_238));
    near(discretize(Hold::Euler, -1.0, 0.1), (0.9, 0.1));
    near(discretize(Hold::Zero, 0.0, 0.1), (1.0, 0.1));
    // A = (-1, -2), C = (1, 1/2): kernel and answer of oracle 2.
    let steps = [-1.0, -2.0].map(|a| discretize(Hold::Zero, a, 0.1));
    let kernel: Vec<f64> =
        (0..4).map(|j| steps.iter().zip([1.0, 0.5]).map(|((keep, write), c)| c * keep.powi(j) * write).sum()).collect();
    for (found, expected) in kernel.iter().zip([0.140_480, 0.123_209, 0.108_290, 0.095_369]) {
        assert!((found - expected).abs() < 1e-6, "{kernel:?}");
    }
    let x = [1.0, 0.0, 2.0, -1.0];
    let y: Vec<f64> = (0..4).map(|i| (0..=i).map(|j| kernel[j] * x[i - j]).sum()).collect();
    for (found, expected) in y.iter().zip([0.140_480, 0.123_209, 0.389_249, 0.201_308]) {
        assert!((found - expected).abs() < 1e-6, "{y:?}");
    }
}

#[test]
fn a_fixed_state_space_is_a_convolution() {
    for (t, p, modes) in [(1, 1, 1), (5, 2, 3), (40, 3, 4)] {
        let delta: Vec<f32> = draw(p, 1.0, 1).iter().map(|d| d - 2.0).collect();
        let (c, x) = (draw(p * modes * 2, 1.0, 2), draw(t * p, 1.0, 3));
        let modes = Modes { delta: &delta, c: &c };
        let kernel = modes.kernel(t);
        let mut y = vec![0.0; t * p];
        convolve(&mut y, &x, &kernel, p, t);
        let fast = lab_kernels::scan::convolve_by_fft(&kernel, &x, p);
        for (found, expected) in modes.recur(&x).iter().chain(&fast).zip(y.iter().chain(&y)) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}
