//! Every way against the formula in double precision, against worked numbers, and against each other.

use rand::Rng;

use super::*;

/// Queries, keys, values and a gradient of the output, drawn from ±`size`.
fn draw(seed: u64, head: Head, size: f32) -> [Vec<f32>; 4] {
    let mut rng = crate::rng(seed, "attention");
    let mut some = |rows: usize, size: f32| (0..rows * head.channels).map(|_| rng.random_range(-size..size)).collect();
    [some(head.queries, size), some(head.keys, size), some(head.keys, 1.0), some(head.queries, 1.0)]
}

/// The largest distance; a NaN is infinitely far.
fn apart<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    assert_eq!(a.len(), b.len());
    let distance = |(a, b): (&A, &B)| {
        let (a, b): (f64, f64) = ((*a).into(), (*b).into());
        if a == b { 0.0 } else { (a - b).abs() }
    };
    a.iter().zip(b).map(distance).fold(0.0, |most, next| if next.is_nan() { f64::INFINITY } else { most.max(next) })
}

const SIGHTS: [Sight; 5] = [
    Sight::FULL,
    Sight::CAUSAL,
    Sight { causal: true, window: Some(1) },
    Sight { causal: true, window: Some(9) },
    Sight { causal: false, window: Some(5) },
];

fn all_ways(inputs: Inputs, head: Head, sight: Sight, blocks: Blocks) -> [Output; 4] {
    let mut traffic = Traffic::default();
    [
        eager(inputs, head, sight),
        one_table(inputs, head, sight, &mut traffic),
        chunked(inputs, head, sight, blocks),
        tiled(inputs, head, sight, blocks, &mut traffic),
    ]
}

#[test]
fn every_way_is_the_formula_at_lengths_that_no_tile_divides() {
    let shapes = [(1, 1, 1), (2, 2, 3), (31, 31, 8), (33, 33, 5), (64, 64, 16), (5, 37, 12), (37, 5, 8), (1, 50, 9)];
    for (seed, (queries, keys, channels)) in shapes.into_iter().enumerate() {
        let head = Head { queries, keys, channels };
        let [q, k, v, _] = draw(seed as u64, head, 2.0);
        let inputs = Inputs { q: &q, k: &k, v: &v };
        for sight in SIGHTS {
            let rows: Vec<usize> = (0..queries).collect();
            let expected = exact(inputs, head, sight, &rows);
            for (rows, columns, skip) in [(1, 8, true), (3, 16, false), (4, 8, true), (7, 24, true), (40, 72, false)] {
                let found = all_ways(inputs, head, sight, Blocks { rows, columns, skip });
                for (way, found) in found.iter().enumerate() {
                    let what = format!("way {way}, {head:?}, {sight:?}, {rows} x {columns}, skip {skip}");
                    assert!(apart(&found.values, &expected.output) < 2e-6, "values: {what}");
                    assert!(apart(&found.log_sum, &expected.log_sum) < 5e-6, "sums: {what}");
                }
            }
        }
    }
}

#[test]
fn a_row_by_hand() {
    // Scores 1, 3, 2, 5 over values 10, 20, 30, 40, in tiles of two: worked in the chapter.
    let keys = [1.0, 3.0, 2.0, 5.0];
    let values = [10.0, 20.0, 30.0, 40.0];
    let piece = |range: std::ops::Range<usize>| {
        range.map(|j| Partial::of_key(keys[j], &[values[j]])).fold(Partial::empty(1), |all, one| merge(&all, &one))
    };
    let (first, second) = (piece(0..2), piece(2..4));
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a}, not {b}");
    assert_eq!((first.max, second.max), (3.0, 5.0));
    near(first.sum, 1.135_335_283);
    near(first.values[0], 21.353_352_832);
    near(second.sum, 1.049_787_068);
    near(second.values[0], 41.493_612_051);
    let whole = merge(&first, &second);
    near(whole.sum, 1.203_438);
    near(whole.finish()[0], 36.880_566);
    near(whole.max + whole.sum.ln(), 5.185_182);
    // The same through the kernels: one channel, so that scores are the keys.
    let (k, v): (Vec<f32>, Vec<f32>) = (keys.map(|k| k as f32).to_vec(), values.to_vec());
    let head = Head { queries: 1, keys: 4, channels: 1 };
    for found in
        all_ways(Inputs { q: &[1.0], k: &k, v: &v }, head, Sight::CAUSAL, Blocks { rows: 1, columns: 8, skip: true })
    {
        near((f64::from(found.values[0]) - 36.880_566) / 100.0, 0.0);
        near((f64::from(found.log_sum[0]) - 5.185_182) / 10.0, 0.0);
    }
}

#[test]
fn three_tokens_by_hand_forward_and_backward() {
    let (q, k, v) = ([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [1.0, 2.0, 0.0, 1.0, 2.0, 0.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    let d_o = [1.0, 1.0, 1.0, -1.0, 1.0, 2.0];
    let (inputs, head) = (Inputs { q: &q, k: &k, v: &v }, Head::square(3, 2));
    let o = [1.0, 0.0, 0.669_762, 0.330_238, 0.859_971, 0.424_025];
    let dv = [2.245_737, 1.482_189, 0.470_268, -0.050_180, 0.283_995, 0.567_991];
    let dq = [0.0, 0.0, 0.312_797, 0.312_797, 0.230_538, -0.547_809];
    let dk = [-0.288_360, 0.024_438, 0.028_911, -0.283_887, 0.259_449, 0.259_449];
    let exact = exact_gradients(inputs, head, Sight::CAUSAL, &d_o);
    for (found, expected) in exact.iter().zip([dq, dk, dv]) {
        assert!(apart(found, &expected) < 1e-6, "{found:?}");
    }
    let blocks = Blocks { rows: 2, columns: 8, skip: true };
    for (output, found) in
        [saved(inputs, head, Sight::CAUSAL, &d_o), recomputed(inputs, head, Sight::CAUSAL, blocks, &d_o)]
    {
        assert!(apart(&output.values, &o) < 1e-6);
        assert!(apart(&found.q, &dq) < 1e-6 && apart(&found.k, &dk) < 1e-6 && apart(&found.v, &dv) < 1e-6, "{found:?}");
    }
}

#[test]
fn gradients_are_those_of_double_precision_and_of_finite_differences() {
    for (seed, (queries, keys, channels)) in [(9, 9, 3), (17, 33, 8), (33, 17, 9), (1, 12, 16)].into_iter().enumerate()
    {
        let head = Head { queries, keys, channels };
        let [q, k, v, d_o] = draw(seed as u64, head, 1.5);
        let inputs = Inputs { q: &q, k: &k, v: &v };
        for sight in SIGHTS {
            let expected = exact_gradients(inputs, head, sight, &d_o);
            for (rows, columns, skip) in [(1, 8, true), (5, 16, false), (64, 64, true)] {
                let found = recomputed(inputs, head, sight, Blocks { rows, columns, skip }, &d_o).1;
                let kept = saved(inputs, head, sight, &d_o).1;
                for found in [found, kept] {
                    let off =
                        [apart(&found.q, &expected[0]), apart(&found.k, &expected[1]), apart(&found.v, &expected[2])];
                    assert!(off.iter().all(|off| *off < 5e-6), "{head:?} {sight:?}: {off:?}");
                }
            }
        }
    }
    // The formula itself: a step of 2^-10 up and down in one query, one key and one value.
    let head = Head::square(6, 4);
    let [q, k, v, d_o] = draw(7, head, 1.0);
    let loss = |q: &[f32], k: &[f32], v: &[f32]| -> f64 {
        let output = exact(Inputs { q, k, v }, head, Sight::CAUSAL, &[0, 1, 2, 3, 4, 5]).output;
        output.iter().zip(&d_o).map(|(o, d)| o * f64::from(*d)).sum()
    };
    let expected = exact_gradients(Inputs { q: &q, k: &k, v: &v }, head, Sight::CAUSAL, &d_o);
    for (which, at) in [(0, 9), (0, 22), (1, 0), (1, 13), (2, 5), (2, 23)] {
        let moved = |by: f32| {
            let mut all = [q.clone(), k.clone(), v.clone()];
            all[which][at] += by;
            // What the step really was, after rounding.
            let step = f64::from(all[which][at]) - f64::from([&q, &k, &v][which][at]);
            (loss(&all[0], &all[1], &all[2]), step)
        };
        let ((up, above), (down, below)) = (moved(9.765_625e-4), moved(-9.765_625e-4));
        let slope = (up - down) / (above - below);
        assert!((slope - expected[which][at]).abs() < 1e-6, "{slope}, not {}", expected[which][at]);
    }
}

#[test]
fn large_scores_and_rows_that_see_nothing() {
    // Scores of up to ±10⁴; what is left is the value of the best key.
    let head = Head::square(40, 8);
    let [q, k, v, d_o] = draw(3, head, 60.0);
    let inputs = Inputs { q: &q, k: &k, v: &v };
    let rows: Vec<usize> = (0..40).collect();
    let expected = exact(inputs, head, Sight::CAUSAL, &rows);
    let blocks = Blocks { rows: 16, columns: 8, skip: true };
    for found in all_ways(inputs, head, Sight::CAUSAL, blocks) {
        // A score of 10⁴ in single precision is off by 10⁻³, and so is its exponential, relatively.
        assert!(apart(&found.values, &expected.output) < 5e-3);
    }
    assert!(recomputed(inputs, head, Sight::CAUSAL, blocks, &d_o).1.q.iter().all(|x| x.is_finite()));
    // Without the largest score taken off, the sum of the same row is no number: the safeguard is what is tested above.
    let best =
        q.chunks(8).zip(k.chunks(8)).map(|(q, k)| q.iter().zip(k).map(|(q, k)| q * k).sum::<f32>()).fold(0.0, f32::max);
    assert!(best > 1000.0 && best.exp().is_infinite());

    // More queries than keys: the first see nothing, and get zeros and no gradient.
    let head = Head { queries: 20, keys: 4, channels: 8 };
    let [q, k, v, d_o] = draw(4, head, 1.0);
    let inputs = Inputs { q: &q, k: &k, v: &v };
    for blocks in [Blocks { rows: 4, columns: 8, skip: true }, Blocks { rows: 32, columns: 8, skip: false }] {
        for found in all_ways(inputs, head, Sight::CAUSAL, blocks) {
            assert!(found.values[..16 * 8].iter().all(|x| *x == 0.0));
            assert!(found.values[16 * 8..].iter().all(|x| x.is_finite() && *x != 0.0));
        }
        let found = recomputed(inputs, head, Sight::CAUSAL, blocks, &d_o).1;
        assert!(found.q[..16 * 8].iter().all(|x| *x == 0.0) && found.k.iter().chain(&found.v).all(|x| x.is_finite()));
    }
}

#[test]
fn pieces_merge_in_any_order_and_grouping() {
    let mut rng = crate::rng(5, "pieces");
    for _ in 0..200 {
        let mut piece = || Partial {
            max: if rng.random_bool(0.1) { f64::NEG_INFINITY } else { rng.random_range(-1e3..1e3) },
            sum: rng.random_range(1.0..9.0),
            values: (0..3).map(|_| rng.random_range(-1.0..1.0)).collect(),
        };
        let near = |a: &Partial, b: &Partial| {
            assert!(a.max == b.max && (a.sum - b.sum).abs() < 1e-12 * (1.0 + a.sum), "{a:?} {b:?}");
            assert!(apart(&a.values, &b.values) < 1e-12);
        };
        let (a, b, c) = (piece(), piece(), piece());
        near(&merge(&merge(&a, &b), &c), &merge(&a, &merge(&b, &c)));
        near(&merge(&a, &b), &merge(&b, &a));
        if a.max.is_finite() {
            assert_eq!(merge(&a, &Partial::empty(3)), a);
        }
    }
    let nothing = merge(&Partial::empty(2), &Partial::empty(2));
    assert_eq!((nothing.sum, nothing.finish()), (0.0, vec![0.0, 0.0]));

    let head = Head { queries: 1, keys: 101, channels: 8 };
    let [q, k, v, _] = draw(6, head, 3.0);
    let inputs = Inputs { q: &q, k: &k, v: &v };
    let whole = exact(inputs, head, Sight::FULL, &[0]).output;
    for pieces in 1..9 {
        assert!(apart(&split(inputs, 8, pieces, 16), &whole) < 1e-6, "{pieces} pieces");
    }
}

#[test]
fn what_does_not_depend_on_order_does_not() {
    // Equal values give that value; one key gives its own; a constant added to all scores changes nothing.
    let head = Head { queries: 3, keys: 21, channels: 8 };
    let [q, mut k, mut v, _] = draw(8, head, 1.0);
    let blocks = Blocks { rows: 2, columns: 8, skip: true };
    let run = |q: &[f32], k: &[f32], v: &[f32]| {
        tiled(Inputs { q, k, v }, head, Sight::FULL, blocks, &mut Traffic::default()).values
    };
    let before = run(&q, &k, &v);
    let order: Vec<usize> = (0..21).map(|j| (j * 8) % 21).collect();
    let permuted = |x: &[f32]| order.iter().flat_map(|j| x[j * 8..(j + 1) * 8].to_vec()).collect::<Vec<f32>>();
    assert!(apart(&run(&q, &permuted(&k), &permuted(&v)), &before) < 1e-6);
    // Along one query's own direction, every key moves by the same: its scores rise by a constant.
    let square: f32 = q[..8].iter().map(|x| x * x).sum();
    k.chunks_mut(8).for_each(|key| key.iter_mut().zip(&q[..8]).for_each(|(k, q)| *k += 5.0 * q / square));
    assert!(apart(&run(&q, &k, &v)[..8], &before[..8]) < 1e-5);
    v.fill(0.75);
    assert!(run(&q, &k, &v).iter().all(|x| (x - 0.75).abs() < 1e-6));
}

#[test]
fn a_window_of_one_is_the_value_itself_and_a_wide_one_is_no_window() {
    let head = Head::square(30, 8);
    let [q, k, v, _] = draw(9, head, 1.0);
    let inputs = Inputs { q: &q, k: &k, v: &v };
    let blocks = Blocks { rows: 8, columns: 8, skip: true };
    let run = |window| tiled(inputs, head, Sight { causal: true, window }, blocks, &mut Traffic::default());
    assert!(apart(&run(Some(1)).values, &v) < 1e-6);
    assert_eq!(run(Some(30)), run(None));
    assert!(apart(&run(Some(12)).values, &run(None).values) > 1e-2);
}

#[test]
fn a_tile_is_no_larger_than_its_head() {
    let blocks = Blocks { rows: 512, columns: 512, skip: true };
    assert_eq!(blocks.within(Head { queries: 3, keys: 11, channels: 8 }), [3, 16]);
    assert_eq!(blocks.within(Head::square(1024, 8)), [512, 512]);
    assert_eq!(Blocks { rows: 0, columns: 0, skip: true }.within(Head::square(9, 8)), [1, 8]);
}

#[test]
fn traffic_is_the_formula() {
    let run = |t: usize, d: usize, rows: usize, sight: Sight, skip: bool| {
        let head = Head::square(t, d);
        let [q, k, v, _] = draw(1, head, 1.0);
        let mut traffic = Traffic::default();
        let _ = tiled(Inputs { q: &q, k: &k, v: &v }, head, sight, Blocks { rows, columns: 16, skip }, &mut traffic);
        traffic
    };
    let table = |t: usize, d: usize| {
        let head = Head::square(t, d);
        let [q, k, v, _] = draw(1, head, 1.0);
        let mut traffic = Traffic::default();
        let _ = one_table(Inputs { q: &q, k: &k, v: &v }, head, Sight::FULL, &mut traffic);
        traffic.bytes() / 4
    };
    for (t, d, rows) in [(64, 8, 16), (128, 16, 8), (96, 8, 32)] {
        let full = run(t, d, rows, Sight::FULL, true);
        assert_eq!(full.bytes() / 4, (2 * t * d + 2 * t * d * t / rows) as u64);
        assert_eq!(run(t, d, rows, Sight::CAUSAL, false), full);
        assert_eq!(table(t, d), (4 * t * d + 4 * t * t) as u64);
    }
    // Square tiles of 16 under the triangle: 1 + 2 + 3 + 4 tiles of 16 keys, of 4 times 4.
    let some = run(64, 8, 16, Sight::CAUSAL, true);
    assert_eq!(some.read, (64 * 8 + 10 * 2 * 16 * 8) as u64);
    // Tiles of D/2 rows move as much as the table does, but for the ends.
    assert_eq!(run(64, 32, 16, Sight::FULL, true).bytes() / 4 + 2 * 64 * 32, table(64, 32));
}
