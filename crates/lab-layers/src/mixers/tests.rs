use rand::Rng;

use super::{
    block::{Batch, Mixer, Shape},
    *,
};
use lab_kernels::attention::{Head, Inputs, Sight, exact};

fn draw(count: usize, size: f32, seed: u64) -> Vec<f32> {
    let mut rng = lab_kernels::rng(seed, "mixers");
    (0..count).map(|_| size * rng.random_range(-1.0_f32..1.0)).collect()
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |most, next| if next.is_nan() { f32::INFINITY } else { most.max(next) })
}

fn maps(d: usize) -> Vec<Map> {
    let mut rng = lab_kernels::rng(1, "rows");
    vec![
        Map::Uniform,
        Map::Elu,
        Map::Relu,
        Map::Taylor,
        Map::Positive(random_rows(2 * d + 3, d, true, &mut rng)),
        Map::Positive(random_rows(16, d, false, &mut rng)),
        Map::Learned(draw(8 * d, 0.5, 2), draw(8 * d, 0.5, 3)),
    ]
}

#[test]
fn a_small_case_is_the_one_on_paper() {
    let (q, k, v) = ([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0, -1.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let (fq, (fk, _)) = (Map::Elu.queries(&q, 2), Map::Elu.keys(&k, 2));
    assert!(apart(&fk, &[2.0, 1.0, 1.0, 2.0, 0.367_879_4, 2.0]) < 1e-6);
    let y = attend_quadratic(&fq, &fk, &v, [2, 2], 1.0);
    assert!(apart(&y, &[1.0, 2.0, 2.111_111, 3.111_111, 2.848_917, 3.848_917]) < 1e-5, "{y:?}");
    let y = apply(&softmax_weights(&q, &k, 2, 99), &v, 2);
    assert!(apart(&y, &[1.0, 2.0, 2.339_523, 3.339_523, 2.593_327, 3.593_327]) < 1e-5, "{y:?}");
}

#[test]
fn the_positive_estimate_is_the_one_on_paper_and_right_on_average() {
    // ω the identity of 2, and u = x / 2^¼.
    let grow = 2_f32.powf(0.25);
    let map = Map::Positive(vec![1.0, 0.0, 0.0, 1.0]);
    let q = map.queries(&[0.5 * grow, -0.5 * grow], 2);
    assert!((q[0] / q[1] - 0.907_943 / 0.334_014).abs() < 1e-4, "{q:?}");
    let (k, largest) = map.keys(&[grow, 0.25 * grow], 2);
    let k: Vec<f32> = k.iter().map(|k| k * largest.exp() / 2_f32.sqrt()).collect();
    assert!(apart(&k, &[1.129_953, 0.533_752]) < 1e-5, "{k:?}");
    let estimate = 0.907_943 * k[0] + 0.334_014 * k[1];
    assert!((estimate - 1.204_214).abs() < 1e-4, "{estimate}");

    let mut rng = lab_kernels::rng(5, "rows");
    let (u, w) = ([0.4_f32, -0.3, 0.5, 0.1], [0.2_f32, 0.6, -0.1, 0.4]);
    let of = |rows: &[f32], x: &[f32]| -> Vec<f64> {
        let half = f64::from(dot(x, x)) / 2.0;
        rows.chunks_exact(4).map(|row| (f64::from(dot(row, x)) - half).exp()).collect()
    };
    let (m, square) = (8, u.iter().zip(&w).map(|(u, w)| f64::from(u + w).powi(2)).sum::<f64>());
    let truth = f64::from(dot(&u, &w)).exp();
    let mut deviations = [0.0; 2];
    for (place, orthogonal) in [false, true].into_iter().enumerate() {
        let draws: Vec<f64> = (0..20_000)
            .map(|_| {
                let rows = random_rows(m, 4, orthogonal, &mut rng);
                of(&rows, &u).iter().zip(of(&rows, &w)).map(|(a, b)| a * b).sum::<f64>() / m as f64
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let deviation = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64).sqrt();
        assert!((mean - truth).abs() < 4.0 * deviation / 20_000_f64.sqrt(), "{mean} {truth}");
        deviations[place] = deviation / truth;
    }
    let expected = (features_for(square, 1.0) / m as f64).sqrt();
    assert!((deviations[0] / expected - 1.0).abs() < 0.1, "{deviations:?} {expected}");
    assert!(deviations[1] < deviations[0], "{deviations:?}");
}

#[test]
fn quadratic_chunks_and_steps_are_one_function() {
    let (d, p) = (5, 3);
    for t in [1, 2, 7, 33] {
        let (q, k, v) = (draw(t * d, 1.5, 1), draw(t * d, 1.5, 2), draw(t * p, 1.0, 3));
        for map in maps(d) {
            for decay in [1.0, 0.9] {
                let (m, fq, (fk, largest)) = (map.count(d), map.queries(&q, d), map.keys(&k, d));
                let naive = attend_quadratic(&fq, &fk, &v, [m, p], decay);
                let table = apply(&kernel_weights(&fq, &fk, m, decay), &v, p);
                assert!(apart(&table, &naive) < 2e-5, "{map:?}");
                for chunk in [1, 2, 5, 8, 64] {
                    let mut state = State::new(m, p);
                    let fast = attend_chunked(&fq, (&fk, largest), &v, [m, p], (chunk, decay), &mut state);
                    assert!(apart(&fast, &naive) < 2e-5, "{map:?} {t} {chunk} {}", apart(&fast, &naive));
                    // A state that is handed over.
                    let (mut other, cut) = (State::new(m, p), t / 2);
                    let mut whole = attend_chunked(
                        &fq[..cut * m],
                        (&fk[..cut * m], largest),
                        &v[..cut * p],
                        [m, p],
                        (chunk, decay),
                        &mut other,
                    );
                    whole.extend(attend_chunked(
                        &fq[cut * m..],
                        (&fk[cut * m..], largest),
                        &v[cut * p..],
                        [m, p],
                        (chunk, decay),
                        &mut other,
                    ));
                    assert!(apart(&whole, &naive) < 2e-5 && apart(&other.sums, &state.sums) < 1e-3);
                }
                // Token by token, each with an exponent of its own.
                let mut state = State::new(m, p);
                let steps: Vec<f32> = (0..t)
                    .flat_map(|i| {
                        let (fk, largest) = map.keys(&k[i * d..(i + 1) * d], d);
                        attend_step(
                            &mut state,
                            &map.queries(&q[i * d..(i + 1) * d], d),
                            (&fk, largest),
                            &v[i * p..(i + 1) * p],
                            decay,
                        )
                    })
                    .collect();
                assert!(apart(&steps, &naive) < 5e-5, "{map:?} {}", apart(&steps, &naive));
            }
        }
    }
}

#[test]
fn odd_cases_give_numbers() {
    // Nothing positive: ReLU has no weight at all.
    let (fq, (fk, _)) = (Map::Relu.queries(&[-1.0, -2.0], 2), Map::Relu.keys(&[-1.0, -3.0], 2));
    assert_eq!(attend_quadratic(&fq, &fk, &[7.0], [2, 1], 1.0), [0.0]);
    // Scores of ±50 neither overflow nor vanish.
    let map = Map::Positive(random_rows(4, 2, true, &mut lab_kernels::rng(0, "rows")));
    let (q, k, v) = ([50.0, 50.0, -50.0, 50.0], [50.0, 50.0, -50.0, -50.0], [1.0, 2.0]);
    let (fk, largest) = map.keys(&k, 2);
    let y = attend_chunked(&map.queries(&q, 2), (&fk, largest), &v, [4, 1], (8, 1.0), &mut State::new(4, 1));
    assert!(y.iter().all(|y| y.is_finite()), "{y:?}");
    // One feature.
    assert!(apart(&attend_quadratic(&[2.0, 3.0], &[1.0, 1.0], &[4.0, 6.0], [1, 1], 1.0), &[4.0, 5.0]) < 1e-6);
}

#[test]
fn the_delta_rule_overwrites_and_the_sum_does_not() {
    let (k, v) = ([1.0, 0.0, 0.6, 0.8, 1.0, 0.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut s = vec![0.0; 4];
    for (i, expected) in [[1.0, 2.0, 0.0, 0.0], [2.44, 3.68, 1.92, 2.24], [5.0, 6.0, 1.92, 2.24]].iter().enumerate() {
        delta_step(&mut s, &k[2 * i..2 * i + 2], &v[2 * i..2 * i + 2], 1.0);
        assert!(apart(&s, expected) < 1e-6, "{s:?}");
    }
    let ones = [1.0; 3];
    let sum = |erase| {
        let mut state = vec![0.0; 4];
        let _ = recur(
            Memory { q: &k, k: &k, v: &v, sizes: [2, 2] },
            Gates { keep: &ones, write: &ones, erase },
            &mut state,
        );
        state
    };
    let read = |s: &[f32], k: &[f32]| [k[0] * s[0] + k[1] * s[2], k[0] * s[1] + k[1] * s[3]];
    assert!(apart(&read(&sum(false), &[1.0, 0.0]), &[7.8, 10.4]) < 1e-5);
    assert!(apart(&read(&sum(true), &[0.6, 0.8]), &[4.536, 5.392]) < 1e-5);
    // Twice the same is once; nothing written is nothing.
    let mut twice = vec![0.5; 4];
    delta_step(&mut twice, &[0.6, 0.8], &[1.0, -1.0], 1.0);
    let once = twice.clone();
    delta_step(&mut twice, &[0.6, 0.8], &[1.0, -1.0], 1.0);
    assert!(apart(&once, &twice) < 1e-6);
    delta_step(&mut twice, &[0.6, 0.8], &[9.0, 9.0], 0.0);
    assert!(apart(&once, &twice) < 1e-6);
}

#[test]
fn the_delta_rule_in_chunks_is_that_of_steps() {
    let (n, p) = (6, 4);
    for t in [1, 3, 19] {
        let (q, mut k, v) = (draw(t * n, 1.0, 1), draw(t * n, 1.0, 2), draw(t * p, 1.0, 3));
        k.chunks_exact_mut(n).for_each(|k| {
            let length = dot(k, k).sqrt();
            k.iter_mut().for_each(|x| *x /= length);
        });
        let beta: Vec<f32> = draw(t, 0.5, 4).iter().map(|x| x + 0.5).collect();
        let memory = Memory { q: &q, k: &k, v: &v, sizes: [n, p] };
        let mut state = vec![0.0; n * p];
        let naive = recur(memory, Gates { keep: &vec![1.0; t], write: &beta, erase: true }, &mut state);
        for chunk in [1, 2, 5, 8, 64] {
            let mut other = vec![0.0; n * p];
            let fast = delta_chunked(memory, &beta, chunk, &mut other);
            assert!(apart(&fast, &naive) < 1e-5 && apart(&state, &other) < 1e-5, "{t} {chunk}");
        }
    }
}

#[test]
fn gradients_of_the_recurrence_are_differences() {
    let (t, n, p) = (5, 3, 2);
    let parts = [draw(t * n, 1.0, 1), draw(t * n, 0.8, 2), draw(t * p, 1.0, 3), draw(t, 0.2, 4), draw(t, 0.4, 5)];
    let dy = draw(t * p, 1.0, 6);
    for erase in [false, true] {
        let value = |parts: &[Vec<f32>; 5]| -> f64 {
            let keep: Vec<f32> = parts[3].iter().map(|x| x + 0.8).collect();
            let gates = Gates { keep: &keep, write: &parts[4], erase };
            let y =
                recur(Memory { q: &parts[0], k: &parts[1], v: &parts[2], sizes: [n, p] }, gates, &mut vec![0.0; n * p]);
            y.iter().zip(&dy).map(|(y, d)| f64::from(y * d)).sum()
        };
        let keep: Vec<f32> = parts[3].iter().map(|x| x + 0.8).collect();
        let g = recur_backward(
            Memory { q: &parts[0], k: &parts[1], v: &parts[2], sizes: [n, p] },
            Gates { keep: &keep, write: &parts[4], erase },
            &dy,
        );
        for (which, found) in [&g.q, &g.k, &g.v, &g.keep, &g.write].into_iter().enumerate() {
            for (i, found) in found.iter().enumerate() {
                let mut moved = [parts.clone(), parts.clone()];
                moved[0][which][i] += 1e-2;
                moved[1][which][i] -= 1e-2;
                let slope = (value(&moved[0]) - value(&moved[1])) / 2e-2;
                assert!(
                    (slope - f64::from(*found)).abs() < 2e-3 * (1.0 + slope.abs()),
                    "{erase} {which} {i}: {slope} {found}"
                );
            }
        }
    }
}

#[test]
fn causal_ways_do_not_see_the_future_and_linformer_does() {
    let (t, d) = (12, 4);
    let (q, k, v) = (draw(t * d, 1.0, 1), draw(t * d, 1.0, 2), draw(t * d, 1.0, 3));
    let (mut k2, mut v2) = (k.clone(), v.clone());
    k2[9 * d..10 * d].iter_mut().chain(&mut v2[9 * d..10 * d]).for_each(|x| *x += 1.0);
    for map in [Map::Elu, Map::Taylor] {
        let run = |k: &[f32], v: &[f32]| {
            let (fk, largest) = map.keys(k, d);
            let m = map.count(d);
            attend_chunked(&map.queries(&q, d), (&fk, largest), v, [m, d], (5, 1.0), &mut State::new(m, d))
        };
        let (a, b) = (run(&k, &v), run(&k2, &v2));
        assert!(apart(&a[..9 * d], &b[..9 * d]) == 0.0 && apart(&a, &b) > 1e-3);
    }
    let e = draw(3 * t, 0.5, 4);
    let (a, b) = (linformer(&q, &k, &v, d, [&e, &e]), linformer(&q, &k2, &v2, d, [&e, &e]));
    assert!(apart(&a[..d], &b[..d]) > 1e-4);
    // As many slots as tokens, each holding one: softmax over all tokens.
    let identity: Vec<f32> = (0..t * t).map(|i| if i % (t + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let full = exact(Inputs { q: &q, k: &k, v: &v }, Head::square(t, d), Sight::FULL, &(0..t).collect::<Vec<_>>());
    let same: Vec<f32> = full.output.iter().map(|x| *x as f32).collect();
    assert!(apart(&linformer(&q, &k, &v, d, [&identity, &identity]), &same) < 1e-5);
}

#[test]
fn tables_of_weights_are_what_they_are_called() {
    let (t, d) = (17, 4);
    let (q, k) = (draw(t * d, 2.0, 1), draw(t * d, 2.0, 2));
    let full = softmax_weights(&q, &k, d, t);
    assert!(full.chunks_exact(t).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    assert_eq!(softmax_weights(&q, &k, d, 99), full);
    let near = softmax_weights(&q, &k, d, 3);
    assert!(near.chunks_exact(t).enumerate().all(|(i, row)| row.iter().filter(|w| **w > 0.0).count() == 3.min(i + 1)));
    let mut best = full.clone();
    top(&mut best, t, 2);
    assert!(best.chunks_exact(t).skip(1).all(|row| row.iter().filter(|w| **w > 0.0).count() == 2));
    let flat = kernel_weights(&vec![1.0; t], &vec![1.0; t], 1, 1.0);
    let expected = (1..=t).map(|n| (n as f64).ln()).sum::<f64>() / t as f64;
    assert!((entropy(&flat, t, 0) - expected).abs() < 1e-5);
    assert!(total_variation(&full, &full, t, 0) == 0.0 && total_variation(&full, &flat, t, 0) > 0.1);
}

#[test]
fn a_map_learns_by_the_gradient_of_its_loss() {
    let (t, d, m) = (9, 3, 4);
    let (q, k) = (draw(t * d, 1.0, 1), draw(t * d, 1.0, 2));
    let target = softmax_weights(&draw(t * d, 2.0, 7), &draw(t * d, 2.0, 8), d, t);
    let rows = draw(2 * m * d, 0.7, 3);
    let (_, gradient) = imitation(&q, &k, d, &target, &rows, 2);
    for i in 0..rows.len() {
        let at = |by: f32| {
            let mut moved = rows.clone();
            moved[i] += by;
            imitation(&q, &k, d, &target, &moved, 2).0
        };
        let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
        assert!((slope - f64::from(gradient[i])).abs() < 1e-3, "{i}: {slope} {}", gradient[i]);
    }
    // What it says of weights is what the map gives.
    let map = Map::Learned(rows[..m * d].to_vec(), rows[m * d..].to_vec());
    let weights = kernel_weights(&map.queries(&q, d), &map.keys(&k, d).0, m, 1.0);
    let cross: f64 = (2..t)
        .flat_map(|i| (0..=i).map(move |j| i * t + j))
        .map(|at| -f64::from(target[at] * weights[at].ln()))
        .sum::<f64>()
        / (t - 2) as f64;
    assert!((cross - imitation(&q, &k, d, &target, &rows, 2).0).abs() < 1e-4);
}

#[test]
fn gradients_of_the_layer_are_differences() {
    let mixers = [
        Mixer::Softmax { causal: true },
        Mixer::Softmax { causal: false },
        Mixer::Linformer(2),
        Mixer::Kernel,
        Mixer::Decay(0.9),
        Mixer::Gated,
        Mixer::Delta,
        Mixer::GatedDelta,
    ];
    for mixer in mixers {
        for vocabulary in [0, 7] {
            let shape = Shape { tokens: 5, channels: 4, keys: 3, taps: 2, vocabulary, inputs: 2, outputs: 3, mixer };
            let weights = shape.init(&mut lab_kernels::rng(3, "weights"));
            let batch = if vocabulary == 0 {
                Batch { rows: draw(20, 1.0, 1), targets: vec![(0, 1), (1, 2)], ..Batch::default() }
            } else {
                Batch {
                    tokens: vec![1, 5, 2, 1, 0, 6, 3, 3, 1, 4],
                    targets: vec![(3, 0), (4, 2), (8, 1)],
                    ..Batch::default()
                }
            };
            let pass = shape.pass(&weights, &batch, true);
            assert_eq!(pass.gradient.len(), shape.parameters());
            for i in 0..weights.len() {
                let at = |by: f32| {
                    let mut moved = weights.clone();
                    moved[i] += by;
                    shape.pass(&moved, &batch, false).loss
                };
                let slope = (at(5e-4) - at(-5e-4)) / 1e-3;
                let found = f64::from(pass.gradient[i]);
                assert!(
                    (slope - found).abs() < 4e-3 + 0.02 * slope.abs(),
                    "{mixer:?} {vocabulary} {i}: {slope} {found}"
                );
            }
        }
    }
}
