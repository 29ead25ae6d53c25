use std::collections::BTreeMap;

use rand::Rng;

use super::*;
use crate::blocks::Maps;

const CLASSES: usize = 47;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = lab_kernels::rng(seed, "cells");
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn maps(batch: usize, seed: u64) -> Maps {
    Maps { data: numbers(batch * POSITIONS * CHANNELS, seed), ..Maps::zeros(batch, GRID, GRID, CHANNELS) }
}

#[test]
fn there_are_781_networks_and_their_codes_add_up() {
    let all = CellCode::distinct();
    assert_eq!((all.len(), CellCode::COUNT), (781, 1296));
    let mut sizes = BTreeMap::<CellCode, usize>::new();
    for index in 0..CellCode::COUNT {
        let code = CellCode::from_index(index);
        assert_eq!(code.index(), index);
        assert_eq!(CellCode::parse(&code.to_string()), Ok(code));
        *sizes.entry(code.canonical()).or_default() += 1;
        let near = code.neighbours();
        assert_eq!(near.len(), 20);
        assert!(near.iter().all(|other| (0..SLOTS).filter(|i| other.0[*i] != code.0[*i]).count() == 1));
    }
    assert_eq!(sizes.len(), 781);
    assert_eq!(sizes.values().sum::<usize>(), 1296);
    // k operations stand in one of `4 over k` ways among skips.
    let ways = [1, 4, 6, 4, 1];
    assert!(sizes.iter().all(|(code, n)| *n == ways[code.0.iter().filter(|op| **op != SlotOp::Skip).count()]));
}

#[test]
fn costs_are_those_on_paper_and_those_of_the_slices() {
    let of = |text: &str| CellCode::parse(text).expect("a code");
    assert_eq!(base_flops(CLASSES), 14_208);
    let flops = ["skip-skip-skip-skip", "mix-sep-mix-skip", "conv-skip-mix-mix", "conv-conv-conv-conv"];
    assert_eq!(flops.map(|code| of(code).flops(CLASSES)), [14_208, 43_392, 104_320, 309_120]);
    assert_eq!(SlotOp::ALL.map(SlotOp::flops), [0, 0, 8_192, 8_192, 12_800, 73_728]);
    assert_eq!(SlotOp::ALL.map(SlotOp::weights), [0, 0, 272, 272, 416, 2_320]);
    for code in CellCode::distinct() {
        let net = CellNet { code, residual: true, classes: CLASSES };
        let weights = net.init(&mut lab_kernels::rng(0, "init"));
        assert_eq!(weights.len(), code.parameters(CLASSES));
        assert_eq!(net.ranges().last().map(|range| range.end), Some(weights.len()));
    }
    assert_eq!(of("skip-skip-skip-skip").parameters(CLASSES), 3_567);
    assert_eq!(of("conv-conv-conv-conv").parameters(CLASSES), 12_847);
    assert!(of("conv-skip-skip-skip").peak_bytes(1) > of("sep-sep-sep-sep").peak_bytes(1));
    assert!(CellCode::parse("conv-cov-mix-pw").expect_err("a slip").contains("“cov”"));
    assert!(CellCode::parse("conv-mix").expect_err("too few").contains('4'));
    assert_eq!(CellCode::parse(" Conv - mix-PW-skip ").map(|code| code.to_string()), Ok("conv-mix-pw-skip".into()));
}

#[test]
fn every_operation_is_that_of_plain_loops() {
    for op in SlotOp::ALL {
        for residual in [true, false] {
            for batch in [1, 3] {
                let (x, w) = (maps(batch, 1), numbers(op.weights(), 2));
                let found = op.forward(&w, &x, residual).y;
                let right = naive::slot(op, &w, &x.data, residual);
                let far = found.data.iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(far < 1e-5, "{op:?} {residual} {batch}: {far}");
            }
        }
    }
    // A constant stays what it is: the shares of a mean add up to 1, with four, six or nine neighbours.
    let ones = Maps { data: vec![1.0; POSITIONS * CHANNELS], ..Maps::zeros(1, GRID, GRID, CHANNELS) };
    assert!(SlotOp::Pool.forward(&[], &ones, true).y.data.iter().all(|y| (y - 1.0).abs() < 1e-6));
}

#[test]
fn gradients_are_those_of_differences() {
    for op in SlotOp::ALL {
        for residual in [true, false] {
            for batch in [1, 3] {
                let (x, w, weigh) = (maps(batch, 3), numbers(op.weights(), 4), maps(batch, 5));
                let value = |w: &[f32], x: &Maps| -> f64 {
                    let y = naive::slot(op, w, &x.data, residual);
                    y.iter().zip(&weigh.data).map(|(y, s)| f64::from(y * s)).sum()
                };
                let trace = op.forward(&w, &x, residual);
                let mut dw = vec![0.0; w.len()];
                let dx = op.backward(&w, &x, &trace, &weigh, &mut dw, residual);
                let step = 1e-2_f32;
                // The loops see a kink where a ReLU opens; small steps there are few.
                let (mut off, mut seen) = (0, 0);
                let mut compare = |found: f32, high: f64, low: f64| {
                    let right = (high - low) / f64::from(2.0 * step);
                    seen += 1;
                    off += usize::from((f64::from(found) - right).abs() > 2e-2 + 1e-2 * right.abs());
                };
                for i in (0..x.data.len()).step_by(7) {
                    let moved = |by: f32| {
                        let mut x = x.clone();
                        x.data[i] += by;
                        value(&w, &x)
                    };
                    compare(dx.data[i], moved(step), moved(-step));
                }
                for i in (0..w.len()).step_by(5) {
                    let moved = |by: f32| {
                        let mut w = w.clone();
                        w[i] += by;
                        value(&w, &x)
                    };
                    compare(dw[i], moved(step), moved(-step));
                }
                assert!(off * 5 <= seen, "{op:?} {residual} {batch}: {off} of {seen}");
            }
        }
    }
}

/// Where no ReLU opens or closes, gradients agree closely: all of a network's weights, through every operation.
#[test]
fn a_whole_network_goes_back_as_it_came() {
    let pixels: Vec<f32> = numbers(3 * SIDE * SIDE, 6).iter().map(|x| x.abs()).collect();
    let labels = [3, 46, 0];
    for text in ["mix-sep-pool-conv", "pw-skip-conv-mix", "skip-skip-skip-skip"] {
        for residual in [true, false] {
            let net = CellNet { code: CellCode::parse(text).expect("a code"), residual, classes: CLASSES };
            let weights = net.init(&mut lab_kernels::rng(1, "net"));
            let pass = net.pass(&weights, &pixels, &labels);
            let loss = |weights: &[f32]| net.pass(weights, &pixels, &labels).loss;
            // Along the gradient itself the loss changes by its square.
            let square: f64 = pass.gradient.iter().map(|g| f64::from(g * g)).sum();
            let step = 1e-3 / square.sqrt();
            let moved = |by: f64| -> f64 {
                let at: Vec<f32> =
                    weights.iter().zip(&pass.gradient).map(|(w, g)| w + (by * f64::from(*g)) as f32).collect();
                loss(&at)
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((slope / square - 1.0).abs() < 2e-2, "{text} {residual}: {slope} {square}");
            assert_eq!(net.judge(&weights, &pixels, &labels).1, pass.right as f64 / 3.0);
        }
    }
}

#[test]
fn codes_of_one_network_give_the_same_numbers() {
    let pixels = numbers(2 * SIDE * SIDE, 7);
    let logits = |text: &str| {
        let net = CellNet { code: CellCode::parse(text).expect("a code"), residual: true, classes: CLASSES };
        net.forward(&net.init(&mut lab_kernels::rng(2, "same")), &pixels).logits
    };
    assert_eq!(logits("skip-conv-skip-mix"), logits("conv-mix-skip-skip"));
    assert_ne!(logits("skip-conv-skip-mix"), logits("mix-conv-skip-skip"));
}

#[test]
fn the_softmax_by_hand() {
    let mut logits = vec![0.0, 0.0, 2_f32.ln(), 0.0];
    let (loss, right) = softmax_loss(&mut logits, &[0, 1], 2);
    assert!((loss - 0.5 * (2_f64.ln() + 3_f64.ln())).abs() < 1e-6 && right == 1);
    for (found, wanted) in logits.iter().zip([-0.25, 0.25, 1.0 / 3.0, -1.0 / 3.0]) {
        assert!((found - wanted).abs() < 1e-6, "{logits:?}");
    }
}
