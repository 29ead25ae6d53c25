use std::{collections::VecDeque, ops::Range};

use lab_api::LabError;
use lab_layers::mixers::{
    block::Batch,
    stack::{Mix, Stack, Units},
};
use proptest::prelude::*;
use rand::Rng;

use super::*;
use crate::{
    LocalBoxFuture,
    peers::{Event, Link, Mail, Solo, Traffic, Wire, Work, in_turn},
    testing::ready,
};

const T: usize = 6;
const INSTANT: Wire = Wire { latency_ms: 0.0, bytes_per_ms: f64::INFINITY };

fn units(layers: usize) -> Units {
    Units(Stack { channels: 8, keys: 4, taps: 2, vocabulary: 13, outputs: 13, layers: vec![Mix::Attention; layers] })
}

fn init(units: &Units) -> Vec<f32> {
    // Larger than at the beginning of a training, so that gradients are clipped.
    units.0.init(&mut crate::rng(5, "weights")).iter().map(|w| 2.0 * w).collect()
}

fn text(examples: usize, t: usize) -> [Vec<usize>; 2] {
    let mut rng = crate::rng(1, "text");
    [(), ()].map(|()| (0..examples * t).map(|_| rng.random_range(0..13)).collect())
}

/// Micro-batches of so many examples.
fn micros(examples: &[usize], t: usize) -> Vec<Range<usize>> {
    let mut start = 0;
    let of = |count: &usize| {
        let span = start..start + count * t;
        start = span.end;
        span
    };
    examples.iter().map(of).collect()
}

struct Ran {
    weights: Vec<f32>,
    loss: f64,
    sent: Traffic,
    live: Vec<usize>,
    events: Vec<Event>,
}

/// Three steps of an order on the same text.
fn run(
    units: &Units,
    order: &PipeOrder,
    chunks: &[Range<usize>],
    examples: &[usize],
    prepare: impl Fn(&mut PipeStage),
) -> Result<Ran, LabError> {
    run_of(units, order, chunks, (examples, T), prepare)
}

fn run_of(
    units: &Units,
    order: &PipeOrder,
    chunks: &[Range<usize>],
    (examples, t): (&[usize], usize),
    prepare: impl Fn(&mut PipeStage),
) -> Result<Ran, LabError> {
    let (p, weights) = (order.ops.len(), init(units));
    let [tokens, targets] = text(examples.iter().sum(), t);
    let batch = PipeBatch { tokens: &tokens, targets: &targets, micros: micros(examples, t), t };
    let mut stages: Vec<PipeStage> =
        (0..p).map(|rank| PipeStage::new(units, &weights, chunks, (rank, p), false)).collect();
    stages.iter_mut().for_each(prepare);
    let mail = Mail::new(p);
    let (ports, mut losses, mut events) = (mail.ports(), vec![0.0; p], Vec::new());
    for _ in 0..3 {
        drop(mail.take_events());
        let mut calls: Vec<LocalBoxFuture<'_, Result<(), LabError>>> = Vec::new();
        for (((stage, port), ops), loss) in stages.iter_mut().zip(&ports).zip(&order.ops).zip(&mut losses) {
            let batch = &batch;
            calls.push(Box::pin(async move {
                *loss = stage.step(port, ops, batch, 0.01).await?;
                Ok(())
            }));
        }
        ready(in_turn(&mail, calls, async || Ok(())))?;
        events = mail.take_events();
    }
    assert!(losses.iter().all(|loss| loss == &losses[0]));
    let sent = mail.sent().iter().fold(Traffic::default(), |all, one| Traffic {
        messages: all.messages + one.messages,
        bytes: all.bytes + one.bytes,
    });
    let live = stages.iter().map(|stage| stage.kept_at_most().1).collect();
    Ok(Ran { weights: joined(&stages), loss: losses[0], sent, live, events })
}

/// One worker that accumulates.
fn alone(units: &Units, examples: &[usize]) -> Ran {
    let all = [Range { start: 0, end: units.sizes().len() }];
    run(units, &naive(1, examples.len()), &all, examples, |_| ()).expect("runs")
}

fn orders(p: usize, m: usize) -> Vec<(usize, PipeOrder)> {
    let mut all = vec![(1, naive(p, m)), (1, gpipe(p, m)), (1, one_f_one_b(p, m))];
    if m.is_multiple_of(p) {
        all.extend([2, 3, 4].map(|v| (v, interleaved(p, m, v))));
    }
    all
}

fn even(p: usize, v: usize) -> PipeTimes {
    let of = |ms: f64| vec![ms / v as f64; p * v];
    PipeTimes { forward: of(1.0), backward: of(2.0), weights: Vec::new() }
}

#[test]
fn every_order_ends_in_the_very_bits_of_one_worker() {
    let units = units(8);
    for examples in [&[1, 1, 1, 1][..], &[2, 2, 2, 1], &[1]] {
        let truth = alone(&units, examples);
        for p in [1, 2, 3, 4, 8] {
            for (v, order) in orders(p, examples.len()).into_iter().filter(|(v, _)| p * v <= 8) {
                for chunks in
                    [equal_layers(8, p * v), balance(&[0.1, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0], p * v)]
                {
                    for recompute in [false, true] {
                        let ran = run(&units, &order, &chunks, examples, |stage| stage.recompute = recompute);
                        let ran = ran.expect("runs");
                        assert!(
                            ran.weights == truth.weights && ran.loss == truth.loss,
                            "{p} {v} {chunks:?} {recompute}"
                        );
                        assert_eq!(ran.live, order.live());
                        let tokens: Vec<usize> = examples.iter().map(|count| count * T).collect();
                        let paper = expected_traffic(&tokens, 8, 10, (p, p * v));
                        assert_eq!(ran.sent, Traffic { messages: 3 * paper.messages, bytes: 3 * paper.bytes });
                    }
                }
            }
        }
    }
    // A single layer a chunk, a single token.
    let order = one_f_one_b(2, 2);
    let of = |order: &PipeOrder, chunks: &[Range<usize>]| {
        run_of(&units, order, chunks, (&[3, 2], 1), |_| ()).expect("runs").weights
    };
    assert_eq!(of(&order, &equal_layers(8, 2)), of(&naive(1, 2), &equal_layers(8, 1)));
}

#[test]
fn micro_batches_weigh_by_their_tokens() {
    let units = units(3);
    let (pieces, whole) = (alone(&units, &[2, 2, 1]), alone(&units, &[5]));
    assert!(pieces.weights != whole.weights && (pieces.loss - whole.loss).abs() < 1e-5);
    let far = pieces.weights.iter().zip(&whole.weights).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-3, "{far}");
}

#[test]
fn a_stage_that_clips_alone_trains_something_else() {
    let units = units(4);
    let (order, chunks) = (one_f_one_b(2, 4), equal_layers(4, 2));
    let of = |wrong: bool| run(&units, &order, &chunks, &[1; 4], |stage| stage.clips_alone = wrong).expect("runs");
    let truth = alone(&units, &[1; 4]);
    assert!(of(false).weights == truth.weights);
    let wrong = of(true);
    assert!(wrong.weights != truth.weights && wrong.loss.is_finite());
}

#[test]
fn a_chunk_comes_back_as_the_whole_network_does() {
    let units = units(3);
    let weights = units.0.init(&mut crate::rng(5, "weights"));
    let [tokens, targets] = text(2, T);
    let whole =
        Batch { tokens: tokens.clone(), targets: targets.iter().copied().enumerate().collect(), ..Batch::default() };
    let truth = units.0.pass(&weights, &whole, T, true);
    let chunks = [0..3, 3..5];
    let batch = PipeBatch { tokens: &tokens, targets: &targets, micros: std::iter::once(0..2 * T).collect(), t: T };
    let loss = |cut: &[f32]| {
        let mut second = PipeStage::new(&units, &weights, &chunks, (1, 2), false);
        assert!(second.forward(1, &batch, 0, cut.to_vec()).is_empty());
        second.loss_so_far() / (2 * T) as f64
    };
    let mut first = PipeStage::new(&units, &weights, &chunks, (0, 2), false);
    let mut second = PipeStage::new(&units, &weights, &chunks, (1, 2), false);
    let cut = first.forward(0, &batch, 0, Vec::new());
    assert!((loss(&cut) - truth.loss).abs() < 1e-6);
    second.forward(1, &batch, 0, cut.clone());
    let slope = second.backward(1, &batch, 0, Vec::new()).expect("went forward");
    assert!(first.backward(0, &batch, 0, slope.clone()).expect("went forward").is_empty());
    let found: Vec<f32> =
        (0..5).flat_map(|u| if u < 3 { first.gradient_of(u) } else { second.gradient_of(u) }).collect();
    for (a, b) in found.iter().zip(&truth.gradient) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    // The gradient at the cut against differences.
    for i in [0, 7, 33, 95] {
        let moved = |by: f32| {
            let mut cut = cut.clone();
            cut[i] += by;
            loss(&cut)
        };
        let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!((difference - f64::from(slope[i])).abs() < 2e-4, "{difference} {}", slope[i]);
    }
    // Nothing comes back that did not go forward.
    assert!(first.backward(0, &batch, 0, slope).is_err());
}

#[test]
fn times_are_those_on_paper() {
    let of = |order: &PipeOrder, v: usize, latency_ms: f64| {
        let p = order.ops.len();
        simulate(order, &even(p, v), Wire { latency_ms, ..INSTANT }, 0.0).expect("runs")
    };
    for p in 1..=8 {
        for m in 1..=16 {
            let (n, t) = (m as f64, 3.0 * (m + p - 1) as f64);
            for order in [gpipe(p, m), one_f_one_b(p, m)] {
                let line = of(&order, 1, 0.0);
                assert!((line.end - t).abs() < 1e-9);
                assert!((line.bubble(p) - (p - 1) as f64 / (m + p - 1) as f64).abs() < 1e-9);
            }
            assert!((of(&naive(p, m), 1, 0.0).end - 3.0 * n * p as f64).abs() < 1e-9);
            assert_eq!(gpipe(p, m).live(), vec![m; p]);
            assert_eq!(one_f_one_b(p, m).live(), (0..p).map(|r| m.min(p - r)).collect::<Vec<_>>());
            for v in [2, 3, 4] {
                if m % p == 0 {
                    let order = interleaved(p, m, v);
                    let end = of(&order, v, 0.0).end;
                    assert!((end - 3.0 * n - 3.0 * (p - 1) as f64 / v as f64).abs() < 1e-9, "{p} {m} {v} {end}");
                    let live = |r: usize| if m == p { m * v } else { (2 * (p - r - 1) + (v - 1) * p + 1).min(m * v) };
                    assert_eq!(order.live(), (0..p).map(live).collect::<Vec<_>>());
                }
            }
        }
    }
    // Narayanan et al., 2021: p = 4, m = 8, one chunk a worker and two.
    assert_eq!([of(&one_f_one_b(4, 8), 1, 0.0).end, of(&interleaved(4, 8, 2), 2, 0.0).end], [33.0, 28.5]);
    // Latency of half a forward pass.
    let slow = [gpipe(4, 16), one_f_one_b(4, 16)].map(|order| of(&order, 1, 0.5).end);
    assert_eq!(slow, [60.0, 71.0]);
    assert_eq!([2, 4].map(|v| of(&interleaved(4, 16, v), v, 0.5).end), [59.5, 75.75]);
}

#[test]
fn a_way_back_in_two_parts_fills_the_bubble() {
    for p in 1..=8 {
        for m in [p, 2 * p, 16.max(p)] {
            let times = PipeTimes { forward: vec![1.0; p], backward: vec![1.0; p], weights: vec![1.0; p] };
            let line = simulate(&zero_bubble(p, m), &times, INSTANT, 0.0).expect("runs");
            let usual = 3.0 * (m + p - 1) as f64;
            if m >= 2 * p {
                assert!((line.end - (3 * m + p - 1) as f64).abs() < 1e-9, "{p} {m} {}", line.end);
            }
            assert!(line.end <= usual);
            assert!(zero_bubble(p, m).live().iter().all(|live| *live <= p.min(m)), "{:?}", zero_bubble(p, m).live());
        }
    }
    let chunks = equal_layers(2, 2);
    assert!(matches!(run(&units(2), &zero_bubble(2, 2), &chunks, &[1, 1], |_| ()), Err(LabError::Refused { .. })));
}

proptest! {
    #[test]
    fn no_order_beats_its_busiest_worker_or_its_longest_way(
        costs in prop::collection::vec(0.1_f64..5.0, 16), p in 2_usize..5, groups in 1_usize..4, latency in 0.0_f64..2.0
    ) {
        let m = p * groups;
        for (v, order) in orders(p, m).into_iter().filter(|(v, _)| *v <= 2) {
            let chunks = p * v;
            let times = PipeTimes {
                forward: costs[..chunks].to_vec(),
                backward: costs[16 - chunks..].to_vec(),
                weights: Vec::new(),
            };
            let at = |latency_ms: f64| simulate(&order, &times, Wire { latency_ms, ..INSTANT }, 0.0).expect("runs").end;
            let line = simulate(&order, &times, INSTANT, 0.0).expect("runs");
            let way: f64 = times.forward.iter().chain(&times.backward).sum();
            prop_assert!(line.end >= way - 1e-9 && line.busy(p).into_iter().all(|busy| busy <= line.end + 1e-9));
            prop_assert!(at(latency) >= line.end - 1e-9 && at(latency) >= at(0.5 * latency) - 1e-9);
            prop_assert!(at(latency) >= way + 2.0 * (chunks - 1) as f64 * latency - 1e-9);
            // Each way of each micro-batch through each chunk, once.
            prop_assert_eq!(line.slots.len(), 2 * chunks * m);
            let mut seen: Vec<_> = line.slots.iter().map(|s| (s.op.half as usize, s.op.chunk, s.op.micro)).collect();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), 2 * chunks * m);
        }
        let one = PipeTimes { forward: vec![costs[0]], backward: vec![costs[1]], weights: Vec::new() };
        let alone = simulate(&gpipe(1, m), &one, INSTANT, 0.0).expect("runs").end;
        prop_assert!((alone - m as f64 * (costs[0] + costs[1])).abs() < 1e-9);
    }

    #[test]
    fn no_other_cut_is_more_even(costs in prop::collection::vec(0.0_f64..5.0, 2..11), parts in 1_usize..5) {
        let parts = parts.min(costs.len());
        let most = |cut: &[Range<usize>]| {
            cut.iter().map(|part| costs[part.clone()].iter().sum::<f64>()).fold(0.0, f64::max)
        };
        let found = balance(&costs, parts);
        prop_assert!(found.len() == parts && found[0].start == 0 && found[parts - 1].end == costs.len());
        prop_assert!(found.windows(2).all(|two| two[0].end == two[1].start) && found.iter().all(|part| !part.is_empty()));
        // All sets of places to cut.
        for set in 0_u32..1 << (costs.len() - 1) {
            if set.count_ones() as usize + 1 == parts {
                let mut cut: Vec<Range<usize>> = std::iter::once(0..0).collect();
                for i in 0..costs.len() {
                    let last = cut.len() - 1;
                    cut[last].end = i + 1;
                    if set >> i & 1 == 1 {
                        cut.push(i + 1..i + 1);
                    }
                }
                prop_assert!(most(&found) <= most(&cut) + 1e-9);
            }
        }
    }
}

#[test]
fn two_exchanged_pieces_of_work_are_told_by_both() {
    let units = units(4);
    // Worker 0 wants the first gradient before it has sent the activations that this comes from.
    let mut order = one_f_one_b(2, 2);
    order.ops[0].swap(0, 2);
    assert_eq!(order.ops[0][0].half, Half::Backward);
    let chunks = equal_layers(4, 2);
    let told = simulate(&order, &even(2, 1), INSTANT, 0.0).map(|line| line.end);
    let Err(LabError::Engine { why }) = told else { panic!("{told:?}") };
    assert!(why.contains("worker 0 cannot begin the backward of micro-batch 0 in chunk 0"), "{why}");
    match run(&units, &order, &chunks, &[1, 1], |_| ()) {
        Err(LabError::Engine { why }) => assert!(why.contains("worker 0 waits for worker 1"), "{why}"),
        other => panic!("{:?}", other.map(|ran| ran.loss)),
    }
    // The last worker cannot even compute.
    let mut order = one_f_one_b(2, 2);
    order.ops[1].swap(0, 1);
    assert!(simulate(&order, &even(2, 1), INSTANT, 0.0).is_err());
    assert!(run(&units, &order, &chunks, &[1, 1], |_| ()).is_err());
}

#[test]
fn the_simulated_order_is_the_one_that_happened() {
    let units = units(8);
    let wire = Wire { latency_ms: 0.7, ..INSTANT };
    for (v, order) in orders(4, 4).into_iter().filter(|(v, _)| *v <= 2) {
        let chunks = order.chunks;
        let times = PipeTimes {
            forward: (0..chunks).map(|c| 1.0 + 0.1 * c as f64).collect(),
            backward: (0..chunks).map(|c| 2.0 - 0.1 * c as f64).collect(),
            weights: Vec::new(),
        };
        let ran = run(&units, &order, &equal_layers(8, 4 * v), &[1; 4], |_| ()).expect("runs");
        // Times put into what happened; without the exchange of squares at the end.
        let (mut clock, mut left) = ([0.0_f64; 4], [0; 4]);
        let mut under_way = vec![VecDeque::new(); 16];
        for event in ran.events {
            match event {
                Event::Send { from, to, .. } => under_way[4 * from + to].push_back(clock[from] + wire.latency_ms),
                Event::Receive { at, from } => {
                    let comes: f64 = under_way[4 * from + at].pop_front().expect("was sent");
                    clock[at] = if left[at] < 8 * v { clock[at].max(comes) } else { clock[at] };
                }
                Event::Work { at, work, .. } => {
                    left[at] += 1;
                    clock[at] += match work {
                        Work::Forward(c) => times.forward[c],
                        Work::Backward(c) => times.backward[c],
                        Work::Update(_) => 0.0,
                    };
                }
            }
        }
        let found = clock.into_iter().fold(0.0, f64::max);
        let line = simulate(&order, &times, wire, 0.0).expect("runs");
        assert!((found - line.end).abs() < 1e-9, "{v} {found} {}", line.end);
    }
}

#[test]
fn a_single_worker_needs_no_peer_and_states_are_sixteen_bytes_a_weight() {
    let units = units(2);
    let weights = init(&units);
    let all = [Range { start: 0, end: 4 }];
    let mut stage = PipeStage::new(&units, &weights, &all, (0, 1), false);
    let largest = units.sizes()[1..].iter().copied().max().expect("units");
    assert_eq!(stage.states(), 16 * weights.len() + 4 * largest);
    let [tokens, targets] = text(2, T);
    let batch = PipeBatch { tokens: &tokens, targets: &targets, micros: micros(&[1, 1], T), t: T };
    let loss = ready(stage.step(&Solo, &naive(1, 2).ops[0], &batch, 0.01)).expect("runs");
    assert!(loss > 0.0 && Solo.ranks() == 1 && stage.kept_at_most().1 == 1);
}
