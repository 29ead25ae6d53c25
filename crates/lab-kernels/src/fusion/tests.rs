use proptest::prelude::*;
use rand::Rng;

use super::{pass::COUNT, *};
use crate::graph::TILES;

fn draw(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = crate::rng(seed, "fusion");
    (0..count).map(|_| rng.random_range(-2.0..2.0)).collect()
}

/// Numbers of few bits between zero and one.
fn dyadic(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = crate::rng(seed, "dyadic");
    (0..count).map(|_| rng.random_range(0..256) as f32 / 256.0).collect()
}

/// What `run` launches and touches.
fn counted(run: impl FnOnce()) -> PassCounts {
    COUNT.set((0, 0));
    run();
    let (launches, touches) = COUNT.get();
    PassCounts { launches, touches }
}

fn near(a: &[f32], b: &[f32], by: f32) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= by * (1.0 + b.abs()), "{a}, not {b}");
    }
}

const ODD: [usize; 8] = [1, 3, 4, 63, 64, 65, 1000, 4097];

#[test]
fn the_exponential_is_that_of_double_precision_and_the_same_in_vectors() {
    for i in -34_800..35_200 {
        let x = i as f32 * 0.0025;
        let (found, truth) = (exp(x), f64::from(x).exp());
        assert!((f64::from(found) / truth - 1.0).abs() < 2.5e-7, "e^{x} is {truth}, not {found}");
        assert_eq!(vector::exp4(wide::f32x4::splat(x)).to_array(), [found; 4]);
    }
    assert_eq!(exp(0.0), 1.0);
    assert!(exp(-1e9) < 1e-37 && exp(1e9).is_finite());
}

#[test]
fn all_ways_of_a_chain_give_the_same_bits() {
    for step in [ChainStep::Cheap, ChainStep::Exp] {
        for n in ODD {
            for length in [0, 1, 2, 8, 16] {
                let x = dyadic(n as u64, n);
                let expected = separate(step, length, &x);
                let mut y = vec![f32::NAN; n];
                in_place(step, length, &x, &mut y);
                assert_eq!(y, expected);
                for block in [1, 5, 64, 2048] {
                    y.fill(f32::NAN);
                    blocked(step, length, block, &x, &mut y);
                    assert_eq!(y, expected);
                }
                for lanes in LANES {
                    y.fill(f32::NAN);
                    fused(step, length, lanes, &x, &mut y);
                    assert_eq!(y, expected, "{step:?} {n} {length} {lanes}");
                }
            }
        }
    }
    // By hand: 1 → 3/4 → 5/8.
    assert_eq!(separate(ChainStep::Cheap, 2, &[1.0]), [0.625]);
    let fixed = separate(ChainStep::Exp, 16, &[0.567_143_3])[0];
    assert!((fixed - 0.567_143_3).abs() < 1e-6);
}

#[test]
fn both_ways_of_a_shared_producer_agree() {
    for (step, n) in [(ChainStep::Cheap, 1), (ChainStep::Exp, 65), (ChainStep::Cheap, 1000)] {
        let x = dyadic(7, n);
        let (mut room, mut found) = (vec![0.0; n], [vec![0.0; n], vec![1.0; n]]);
        let mut again = found.clone();
        let [y, z] = &mut found;
        shared(step, 5, false, &x, &mut room, [y, z]);
        let [y, z] = &mut again;
        shared(step, 5, true, &x, &mut room, [y, z]);
        assert_eq!(found, again);
        let plain = separate(step, 5, &x);
        assert_eq!(found[0][0], plain[0] * 0.5);
        assert_eq!(found[1][n - 1], plain[n - 1] - 0.5);
    }
}

#[test]
fn known_answers() {
    let mut y = [0.0; 3];
    softmax_fused(&[1.0, 2.0, 3.0], 3, &mut y);
    near(&y, &[0.090_031, 0.244_728, 0.665_241], 1e-6);
    let states = [1.0, 2.0, 3.0].iter().scan((f32::NEG_INFINITY, 0.0), |seen, x| {
        *seen = merge(*seen, (*x, 1.0));
        Some(*seen)
    });
    let states: Vec<SoftmaxState> = states.collect();
    near(&states.iter().map(|s| s.1).collect::<Vec<_>>(), &[1.0, 1.367_879, 1.503_215], 1e-6);
    assert_eq!(merge((f32::NEG_INFINITY, 0.0), (f32::NEG_INFINITY, 0.0)), (f32::NEG_INFINITY, 0.0));

    let mut y = [0.0; 4];
    rms_norm_fused(&[1.0, 2.0, 3.0, 4.0], &[1.0; 4], 0.0, &mut y);
    near(&y, &[0.365_148, 0.730_297, 1.095_445, 1.460_593], 1e-6);
    let (gamma, w) = ([1.0, 0.5, 2.0, 1.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, -1.0, 2.0]);
    let (mut one, mut other, mut held) = ([0.0; 2], [0.0; 2], [0.0; 4]);
    let x = [1.0, 2.0, 3.0, 4.0];
    norm_separate(&x, &gamma, 0.0, &StripWeights::new(&w, 4, 2), &mut PassRoom::new(4, 1), &mut held, &mut one);
    norm_fused(&x, 0.0, &StripWeights::folded(&w, &gamma, 2), &mut other);
    near(&one, &[1.095_445, 5.477_226], 1e-6);
    near(&other, &[1.095_445, 5.477_226], 1e-6);

    // Identity and no bias: GELU itself; and silu(1) · 1.
    let mut y = [0.0];
    gelu_fused(&[1.0], &StripWeights::new(&[1.0], 1, 1), &[0.0], &mut y);
    near(&y, &[0.841_192], 1e-6);
    swiglu_fused(&[1.0], &[1.0], &mut y);
    near(&y, &[0.731_059], 1e-6);
    let (mut p, mut m, mut v) = ([1.0], [0.0], [0.0]);
    adamw_fused(AdamWSetting::first(0.1, 0.01, 1e-5), &[0.5], [&mut p, &mut m, &mut v]);
    near(&p, &[0.899_002], 1e-6);
}

#[test]
fn pairs_agree_and_launch_and_touch_what_the_formula_says() {
    for (rows, row) in [(1, 1), (1, 1025), (3, 64), (17, 63), (8, 192)] {
        let n = rows * row;
        let (x, z) = (draw(1, n), draw(2, n));
        let mut room = PassRoom::new(n, rows);
        let (mut one, mut other) = (vec![f32::NAN; n], vec![f32::NAN; n]);
        let check = |pair: FusionPair, found: PassCounts, one: &[f32], other: &[f32], by: f32| {
            near(other, one, by);
            assert_eq!(found, pair.counts(n)[0], "{pair:?}");
        };
        let found = counted(|| swiglu_separate(&x, &z, &mut room, &mut one));
        swiglu_fused(&x, &z, &mut other);
        check(FusionPair::SwiGlu, found, &one, &other, 0.0);
        let found = counted(|| softmax_separate(&x, row, &mut room, &mut one));
        softmax_fused(&x, row, &mut other);
        check(FusionPair::Softmax, found, &one, &other, 0.0);
        for lanes in [1, 8] {
            online(&x, row, lanes, &mut other);
            near(&other, &one, 2e-6);
        }
        assert!(one.chunks(row).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        let gamma = draw(3, row);
        let found = counted(|| rms_norm_separate(&x, &gamma, 1e-5, &mut room, &mut one));
        rms_norm_fused(&x, &gamma, 1e-5, &mut other);
        check(FusionPair::Norm, found, &one, &other, 0.0);
        let step = AdamWSetting::first(0.1, 0.01, 1e-5);
        let mut state = [draw(4, n), draw(5, n), draw(6, n).iter().map(|v| v.abs()).collect()];
        let mut fused = state.clone();
        let [p, m, v] = &mut state;
        let found = counted(|| adamw_separate(step, &x, [p, m, v], &mut room));
        let [p, m, v] = &mut fused;
        adamw_fused(step, &x, [p, m, v]);
        check(FusionPair::AdamW, found, &state.concat(), &fused.concat(), 0.0);
    }
    let x = dyadic(0, 100);
    // The first result of a chain is launched like the others; `separate` and `in_place` share their loops.
    let found = counted(|| in_place(ChainStep::Cheap, 8, &x, &mut [0.0; 100]));
    assert_eq!(found.launches + 1, FusionPair::Chain(8).counts(100)[0].launches);
    for pair in [FusionPair::Chain(8), FusionPair::SwiGlu, FusionPair::Softmax, FusionPair::Norm, FusionPair::AdamW] {
        let [separate, fused] = pair.counts(10);
        assert!(fused.launches == 1 && fused.touches < separate.touches);
    }
    let [separate, fused] = FusionPair::Chain(1).counts(10);
    assert_eq!(separate, fused);
}

#[test]
fn products_with_what_surrounds_them_agree() {
    for (t, k, n) in [(1, 4, 3), (5, 17, 65), (40, 64, 96), (33, 192, 130)] {
        let (x, w, gamma, bias) = (draw(1, t * k), draw(2, k * n), draw(3, k), draw(4, n));
        let (plain, folded) = (StripWeights::new(&w, k, n), StripWeights::folded(&w, &gamma, n));
        let mut room = PassRoom::new(t * k.max(n), t);
        room.numbers.iter_mut().for_each(|room| room.truncate(t * k));
        let (mut held, mut one, mut other) = (vec![0.0; t * k], vec![0.0; t * n], vec![0.0; t * n]);
        let found = counted(|| norm_separate(&x, &gamma, 1e-5, &plain, &mut room, &mut held, &mut one));
        assert_eq!(found, FusionPair::NormProduct { inputs: k, outputs: n }.counts(t * k)[0]);
        norm_fused(&x, 1e-5, &folded, &mut other);
        near(&other, &one, 2e-5);
        for prologue in [true, false] {
            let (with, w) = if prologue { (Some(&gamma[..]), &plain) } else { (None, &folded) };
            other.fill(f32::NAN);
            by_columns(&x, with, 1e-5, w, &mut other);
            near(&other, &one, 2e-5);
        }
        let mut room = PassRoom::new(t * n, t);
        let found = counted(|| gelu_separate(&x, &plain, &bias, &mut room, &mut one));
        assert_eq!(found, FusionPair::ProductGelu { inputs: k, outputs: n }.counts(t * k)[0]);
        gelu_fused(&x, &plain, &bias, &mut other);
        near(&other, &one, 1e-6);
        split_dense(&x, &plain, &bias, &mut room, &mut one);
        plain_dense(&x, &w, &bias, &mut other);
        near(&other, &one, 1e-5);
    }
}

#[test]
fn every_rung_gives_the_bits_of_three_loops() {
    for (m, k, n) in [(1, 1, 1), (4, 8, 8), (5, 70, 9), (64, 64, 64), (7, 130, 75)] {
        let (a, b) = (draw(1, m * k), draw(2, k * n));
        let (mut naive, mut found, mut room) = (vec![0.0; m * n], vec![f32::NAN; m * n], [Vec::new(), Vec::new()]);
        multiply(ProductRung::Depth, &a, &b, [m, k, n], &mut room, &mut naive);
        let packed = (0..TILES.len()).map(ProductRung::Packed);
        for rung in [ProductRung::Columns, ProductRung::Tiles, ProductRung::Registers].into_iter().chain(packed) {
            found.fill(f32::NAN);
            multiply(rung, &a, &b, [m, k, n], &mut room, &mut found);
            assert_eq!(found, naive, "{rung:?} {m} {k} {n}");
        }
    }
}

#[test]
fn masked_rows_and_shifts() {
    let mut row = vec![-1e9; 70];
    row[33] = 2.0;
    for lanes in [0, 1, 8] {
        let mut y = vec![0.0; 70];
        if lanes == 0 {
            softmax_fused(&row, 70, &mut y)
        } else {
            online(&row, 70, lanes, &mut y)
        }
        assert!((y[33] - 1.0).abs() < 1e-6 && y[32] < 1e-30, "{lanes} lanes: {}", y[33]);
    }
    let x = dyadic(3, 128);
    let far: Vec<f32> = x.iter().map(|x| x + 1024.0).collect();
    let (mut one, mut other) = (vec![0.0; 128], vec![0.0; 128]);
    softmax_fused(&x, 128, &mut one);
    softmax_fused(&far, 128, &mut other);
    near(&other, &one, 1e-6);
}

/// What stands around a kernel of CUDA when a C++ compiler takes it for a function: blocks and threads are loops.
const SHIM: &str = r#"
#include <cmath>
#include <cstdio>
#define __global__
struct Place { unsigned x; };
static Place blockIdx{0}, threadIdx{0}, blockDim{64}, gridDim{3};
#include "chain.cu"
int main() {
    const unsigned n = 1000;
    static float x[n], y[n];
    for (unsigned i = 0; i < n; i++) x[i] = (i % 256) / 256.0f;
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) chain(x, y, n);
    for (unsigned i = 0; i < n; i++) std::printf("%.9g\n", y[i]);
}
"#;

#[test]
fn the_twin_for_cuda_gives_the_same_when_compiled_as_cpp() {
    let folder = std::env::temp_dir().join(format!("fusion-twin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    std::fs::write(folder.join("chain.cu"), include_str!("chain.cu")).expect("written");
    std::fs::write(folder.join("shim.cpp"), SHIM).expect("written");
    let program = folder.join("twin");
    let built =
        std::process::Command::new("c++").args(["-O1", "-o"]).arg(&program).arg(folder.join("shim.cpp")).status();
    let Ok(status) = built else {
        return eprintln!("NOT RUN: no C++ compiler is at hand, so the twin for CUDA was compared with nothing");
    };
    assert!(status.success(), "the twin for CUDA is not C++");
    let output = std::process::Command::new(&program).output().expect("the twin runs");
    let found = String::from_utf8(output.stdout).expect("numbers");
    let found: Vec<f32> = found.lines().map(|line| line.parse().expect("a number")).collect();
    let x: Vec<f32> = (0..1000).map(|i| (i % 256) as f32 / 256.0).collect();
    let expected = separate(ChainStep::Exp, 1, &separate(ChainStep::Cheap, 1, &x));
    near(&found, &expected, 3e-7);
    std::fs::remove_dir_all(&folder).expect("removed");
}

proptest! {
    #[test]
    fn parts_of_a_row_join_in_any_order(a in -50.0..50.0_f32, b in -50.0..50.0_f32, c in -50.0..50.0_f32, s in 0.1..9.0_f32) {
        let [a, b, c] = [(a, s), (b, 1.0), (c, 2.0 * s)];
        let (one, other) = (merge(merge(a, b), c), merge(a, merge(b, c)));
        prop_assert_eq!(one.0, other.0);
        prop_assert!((one.1 / other.1 - 1.0).abs() < 2e-6);
        let (ab, ba) = (merge(a, b), merge(b, a));
        prop_assert_eq!(ab, ba);
        prop_assert_eq!(merge((f32::NEG_INFINITY, 0.0), a), a);
    }
}
