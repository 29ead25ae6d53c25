use lab_api::LabError;
use lab_layers::mixers::stack::{Mix, Stack};
use rand::Rng;

use super::*;
use crate::{
    LocalBoxFuture,
    peers::{Mail, Solo, Traffic, in_turn},
    testing::{FakeClock, alone_in_memory, context, ready},
};

const T: usize = 6;

fn units(layers: usize) -> Units {
    Units(Stack { channels: 8, keys: 4, taps: 2, vocabulary: 13, outputs: 13, layers: vec![Mix::Attention; layers] })
}

fn text(windows: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut rng = crate::rng(seed, "text");
    let mut draw = || (0..windows * T).map(|_| rng.random_range(0..13)).collect();
    (draw(), draw())
}

fn init(units: &Units) -> Vec<f32> {
    units.0.init(&mut crate::rng(5, "weights"))
}

/// Steps of `n` workers with these windows each, the same text in every step; losses of the last one, and what was sent.
fn steps<'a>(
    units: &'a Units,
    how: (Stage, Sum),
    shares: &[usize],
    count: usize,
    prepare: impl Fn(&mut Worker),
) -> (Vec<Worker<'a>>, Vec<f64>, Vec<Traffic>) {
    let (n, weights) = (shares.len(), init(units));
    let mut workers: Vec<Worker> = (0..n).map(|r| Worker::new(units, &weights, how, (r, n))).collect();
    workers.iter_mut().for_each(prepare);
    let mail = Mail::new(n);
    let ports = mail.ports();
    let all = text(shares.iter().sum(), 1);
    let mut losses = vec![0.0; n];
    for _ in 0..count {
        let mut start = 0;
        let mut calls: Vec<LocalBoxFuture<'_, Result<(), LabError>>> = Vec::new();
        for ((worker, port), (share, loss)) in workers.iter_mut().zip(&ports).zip(shares.iter().zip(&mut losses)) {
            let span = start..start + share * T;
            start = span.end;
            let own = (&all.0[span.clone()], &all.1[span]);
            calls.push(Box::pin(async move {
                *loss = worker.step(port, own, T, 0.01).await?;
                Ok(())
            }));
        }
        ready(in_turn(&mail, calls, async || Ok(()))).expect("runs");
    }
    (workers, losses, mail.sent())
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    crate::accumulate::distance(a, b).expect("not zero").relative
}

#[test]
fn all_stages_end_in_the_same_bits_and_all_workers_agree() {
    let units = units(3);
    for n in 1..=5 {
        let shares = vec![2; n];
        let (ddp, losses, _) = steps(&units, (Stage::Ddp, Sum::Ring), &shares, 4, |_| ());
        let right = together(&ddp);
        assert_ne!(right, init(&units));
        for worker in &ddp {
            assert_eq!(fingerprint(&worker.weights()), fingerprint(&ddp[0].weights()));
        }
        for stage in [Stage::Zero1, Stage::Zero2, Stage::Zero3] {
            let (found, other, _) = steps(&units, (stage, Sum::Ring), &shares, 4, |_| ());
            assert_eq!(fingerprint(&together(&found)), fingerprint(&right), "{stage:?} of {n}");
            assert_eq!(other, losses);
        }
    }
}

#[test]
fn many_workers_are_one_with_all_their_text_even_where_shares_differ() {
    let units = units(2);
    let (one, loss, sent) = steps(&units, (Stage::Ddp, Sum::Ring), &[8], 1, |_| ());
    assert_eq!(sent, [Traffic::default()]);
    for shares in [&[2, 2, 2, 2][..], &[4, 1, 3], &[1, 7]] {
        let (found, losses, _) = steps(&units, (Stage::Zero2, Sum::Ring), shares, 1, |_| ());
        assert!((losses[0] / loss[0] - 1.0).abs() < 1e-6, "{losses:?} {loss:?}");
        assert!(apart(&together(&found), &together(&one)) < 1e-4);
    }
    let long = |shares: &[usize]| {
        let (found, losses, _) = steps(&units, (Stage::Zero3, Sum::Ring), shares, 20, |_| ());
        (together(&found), losses[0])
    };
    let (a, b) = (long(&[8]), long(&[3, 5]));
    assert!((a.1 / b.1 - 1.0).abs() < 1e-3, "{} {}", a.1, b.1);
}

#[test]
fn sums_by_arrival_drift_apart_and_at_worker_zero_they_do_not() {
    let units = units(2);
    let (gather, ..) = steps(&units, (Stage::Ddp, Sum::Gather), &[1; 4], 5, |_| ());
    assert!(gather.iter().all(|worker| worker.weights() == gather[0].weights()));
    let (ring, ..) = steps(&units, (Stage::Ddp, Sum::Ring), &[1; 4], 5, |_| ());
    let far = apart(&together(&gather), &together(&ring));
    assert!(far < 0.01, "{far}");
    let (arrival, ..) = steps(&units, (Stage::Ddp, Sum::Arrival), &[1; 4], 5, |_| ());
    assert!(arrival[1..].iter().any(|worker| worker.weights() != arrival[0].weights()));
}

#[test]
fn bytes_sent_and_held_are_those_of_the_formulas() {
    let units = units(3);
    for n in [2, 3, 4] {
        let padded: usize = units.sizes().iter().map(|size| size.next_multiple_of(n)).sum();
        let largest = units.sizes().iter().map(|size| size.next_multiple_of(n)).max().expect("units");
        for stage in Stage::ALL {
            let (workers, _, sent) = steps(&units, (stage, Sum::Ring), &vec![1; n], 2, |_| ());
            let right = expected(&units.sizes(), stage, n);
            let right = Traffic { messages: 2 * right.messages, bytes: 2 * right.bytes };
            assert!(sent.iter().all(|sent| *sent == right), "{stage:?} {n}: {sent:?} {right:?}");
            let held = workers[0].peak();
            let stays = (held.weights + held.gradients + held.moments) as f64;
            assert_eq!(stays, state_bytes(padded as f64, Bytes::FP32, stage, n as f64), "{stage:?}");
            let passing = match stage {
                Stage::Ddp | Stage::Zero1 => 0,
                Stage::Zero2 => 4 * largest,
                Stage::Zero3 => 8 * largest,
            };
            assert_eq!(held.passing, passing);
            assert_eq!(workers[0].most()[0] as f64, stays + passing as f64);
            assert_eq!(workers[0].held().passing + workers[0].held().activations, 0);
        }
    }
}

#[test]
fn what_is_counted_is_what_the_allocator_gave() {
    let _alone = alone_in_memory();
    let cx = context(std::rc::Rc::new(FakeClock::new(0.1)));
    let held = || cx.memory().expect("tests count").current_bytes;
    let layers = vec![Mix::Attention; 6];
    let units = Units(Stack { channels: 128, keys: 64, taps: 2, vocabulary: 500, outputs: 500, layers });
    let weights = init(&units);
    // Other tests take and free memory meanwhile: one of ten tries must agree, and a wrong count never does.
    let agrees = |mut measured: Box<dyn FnMut() -> [usize; 2] + '_>| {
        let tries: Vec<[usize; 2]> = (0..10).map(|_| measured()).collect();
        let close = |[given, counted]: &[usize; 2]| (*given as f64 / *counted as f64 - 1.0).abs() < 0.1;
        assert!(tries.iter().any(close), "{tries:?}");
    };
    for stage in [Stage::Ddp, Stage::Zero3] {
        agrees(Box::new(|| {
            let before = held();
            let worker = Worker::new(&units, &weights, (stage, Sum::Ring), (1, 4));
            [held().saturating_sub(before), worker.held().state()]
        }));
    }
    let tokens: Vec<usize> = (0..512).map(|i| i % 500).collect();
    let layer = &weights[units.sizes()[0]..][..units.sizes()[1]];
    agrees(Box::new(|| {
        let mut x = units.enter(&weights, &tokens);
        let before = held();
        let trail = units.layer_forward(0, layer, &mut x, 64);
        [held().saturating_sub(before), trail.bytes()]
    }));
}

#[test]
fn all_of_a_gradient_is_no_compression_and_nothing_is_lost() {
    let units = units(2);
    let (plain, ..) = steps(&units, (Stage::Ddp, Sum::Ring), &[1; 3], 1, |_| ());
    let (all, ..) =
        steps(&units, (Stage::Ddp, Sum::Ring), &[1; 3], 1, |w| w.compressor = Some(Compressor::new(1.0, true)));
    assert!(apart(&together(&all), &together(&plain)) < 1e-3);
    assert_eq!(largest(&[1.0, -3.0, 2.0, -2.0, 0.0], 2), [1, 2]);
    assert_eq!(largest(&[1.0, 1.0, 1.0], 2), [0, 1]);
    assert_eq!(largest(&[1.0], 3), [0]);
    assert!(largest(&[], 3).is_empty() && largest(&[1.0], 0).is_empty());
    let gradient: Vec<f32> = (0..100).map(|i| ((i * 37) % 100) as f32 - 50.0).collect();
    let mut compressor = Compressor::new(0.1, true);
    let mut sent = vec![0.0_f32; 100];
    for round in 1..4 {
        let mut now = gradient.clone();
        ready(compressor.sum(&Solo, 0, &mut now)).expect("runs");
        assert_eq!(now.iter().filter(|g| **g != 0.0).count(), 10);
        sent.iter_mut().zip(&now).for_each(|(sent, now)| *sent += now);
        // Whatever was sent, it and what is kept are all gradients so far.
        for (i, (sent, kept)) in sent.iter().zip(compressor.kept(0)).enumerate() {
            assert_eq!(sent + kept, round as f32 * gradient[i]);
        }
    }
}

#[test]
fn averaging_is_a_mean_and_the_outer_step_is_nesterovs() {
    let units = units(1);
    let before = init(&units);
    let at = |weights: &[f32], rank| Worker::new(&units, weights, (Stage::Ddp, Sum::Ring), (rank, 2));
    for (rate, keep, moved) in [(1.0, 0.0, 0.375), (0.5, 0.5, 0.5 * 1.5 * 0.375)] {
        let mut outers: Vec<Outer> = (0..2).map(|rank| Outer::new(&at(&before, rank), rate, keep)).collect();
        assert_eq!(outers[0].bytes(), 2 * at(&before, 0).held().weights);
        let by = |by: f32| before.iter().map(|w| w + by).collect::<Vec<f32>>();
        let mut workers = vec![at(&by(0.5), 0), at(&by(0.25), 1)];
        let mail = Mail::new(2);
        let ports = mail.ports();
        let calls = workers
            .iter_mut()
            .zip(&mut outers)
            .zip(&ports)
            .map(|((worker, outer), port)| -> LocalBoxFuture<'_, Result<(), LabError>> {
                Box::pin(average(port, worker, outer))
            })
            .collect();
        ready(in_turn(&mail, calls, async || Ok(()))).expect("runs");
        assert_eq!(workers[0].weights(), workers[1].weights());
        for (w, before) in together(&workers).iter().zip(&before) {
            assert!((w - before - moved).abs() < 1e-5, "{w} {before}");
        }
    }
}

#[test]
fn published_sizes() {
    let of = |stage| state_bytes(7.5e9, Bytes::MIXED, stage, 64.0) / 1e9;
    for (stage, right) in Stage::ALL.into_iter().zip([120.0, 31.4, 16.6, 1.9]) {
        assert!((of(stage) - right).abs() < 0.05, "{stage:?}: {}", of(stage));
    }
    // Megatron's distributed optimizer: 16 to 8 + 8/d in 32 bits, 18 to 6 + 12/d with bf16 weights and 32-bit gradients.
    assert_eq!(state_bytes(1.0, Bytes::FP32, Stage::Zero1, 8.0), 9.0);
    let bf16 = Bytes { weight: 2.0, gradient: 4.0, optimizer: 12.0 };
    assert_eq!(state_bytes(1.0, bf16, Stage::Zero1, 8.0), 7.5);
    // A TPU v5p of 459 TFLOP/s with 180 GB/s: about 2,550 tokens on many chips.
    let tokens = tokens_to_hide(Bytes::MIXED, Stage::Zero3, 1e9, 459e12, 180e9);
    assert!((tokens - 2550.0).abs() < 1.0, "{tokens}");
}
