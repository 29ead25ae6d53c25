//! Times of one layer, forward, on the processor: dense, and as experts in three ways.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    experts::{Experts, Gate, capacity, dispatch, softmax, token_choice},
    measure::in_turns,
};
use rand::Rng;

use super::Params;

/// Numbers of a token, and hidden units of one expert: larger than in the trainings, so that products are worth timing.
pub(super) const CHANNELS: usize = 64;
pub(super) const HIDDEN: usize = 128;
/// Tokens at once.
pub(super) const BATCHES: [usize; 3] = [1, 16, 256];
/// Places of an expert in buffers of a fixed size, times the mean load.
pub(super) const PLACES: f64 = 1.25;
/// What is timed.
pub(super) const NAMES: [&str; 5] = [
    "Dense, as much arithmetic",
    "Experts, sorted",
    "Experts, fixed buffers",
    "Experts, masked",
    "Dense, as many weights",
];
pub(super) const SMALL: usize = 0;
pub(super) const SORTED: usize = 1;
pub(super) const PADDED: usize = 2;
pub(super) const MASKED: usize = 3;
pub(super) const WIDE: usize = 4;

/// Milliseconds by batch and way.
pub(super) struct Times {
    pub(super) batches: Vec<usize>,
    cells: Vec<Vec<f64>>,
    /// Experts, and those of a token.
    pub(super) experts: usize,
    pub(super) k: usize,
}

impl Times {
    pub(super) fn of(&self, way: usize, batch: usize) -> &[f64] {
        let at = self.batches.iter().position(|b| *b == batch).unwrap_or(0);
        &self.cells[at * NAMES.len() + way]
    }

    /// Time of one way over another's, round by round.
    pub(super) fn ratios(&self, slow: usize, fast: usize, batch: usize) -> Vec<f64> {
        self.of(slow, batch).iter().zip(self.of(fast, batch)).map(|(a, b)| a / b.max(1e-9)).collect()
    }

    /// Billions of operations in a second, of the multiplications that a way needs.
    pub(super) fn rates(&self, way: usize, batch: usize) -> Vec<f64> {
        let each = if way == WIDE || way == MASKED { self.experts } else { self.k };
        let operations = (4 * CHANNELS * HIDDEN * each * batch) as f64;
        self.of(way, batch).iter().map(|ms| 1e-6 * operations / ms.max(1e-9)).collect()
    }
}

pub(super) async fn measure(
    params: &Params,
    batches: &[usize],
    rounds: usize,
    cx: &Context,
) -> Result<Times, LabError> {
    let (e, k) = (params.experts as usize, params.k as usize);
    let mut rng = cx.rng("timing");
    let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-0.2..0.2)).collect() };
    let most = batches.iter().copied().max().unwrap_or(1);
    let (up, down) = (draw(e * HIDDEN * CHANNELS), draw(e * HIDDEN * CHANNELS));
    let (x, router) = (draw(most * CHANNELS), draw(e * CHANNELS));
    let of = |hidden: usize| Experts { channels: CHANNELS, hidden, up: &up, down: &down };
    let call = |way: usize, n: usize| {
        let x = &x[..n * CHANNELS];
        if way == SMALL || way == WIDE {
            return of(HIDDEN * if way == WIDE { e } else { k }).dense(x);
        }
        let mut logits = vec![0.0; n * e];
        for (row, x) in logits.chunks_exact_mut(e).zip(x.chunks_exact(CHANNELS)) {
            for (z, w) in row.iter_mut().zip(router.chunks_exact(CHANNELS)) {
                *z = x.iter().zip(w).map(|(x, w)| x * w).sum();
            }
        }
        let sent = token_choice(&softmax(&logits, e), e, k, &[], Gate::Probability);
        let places = capacity(sent.len(), e, PLACES);
        match way {
            SORTED => of(HIDDEN).sorted(x, &sent, &dispatch(&sent.expert, e, None)).0,
            PADDED => of(HIDDEN).padded(x, &sent, &dispatch(&sent.expert, e, Some(places)), places),
            _ => of(HIDDEN).masked(x, e, &sent),
        }
    };
    let cells = in_turns(cx, batches.len() * NAMES.len(), rounds, |i| {
        drop(black_box(call(i % NAMES.len(), batches[i / NAMES.len()])));
    })
    .await?;
    Ok(Times { batches: batches.to_vec(), cells, experts: e, k })
}
