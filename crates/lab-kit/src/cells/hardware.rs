//! What operations take on this device, and what a network should then take.

use std::hint::black_box;

use lab_api::LabError;
use lab_layers::{
    blocks::Maps,
    cells::{CHANNELS, CellCode, CellNet, GRID, POSITIONS, SLOTS, SlotOp},
};
use rand::Rng;

use crate::{Context, measure::in_turns, rng, stats::median};

/// Microseconds of each operation with a batch, and of what every network has.
#[derive(Debug, Clone, Default)]
pub struct CellTimes {
    /// Images at once.
    pub batch: usize,
    /// Samples of each operation, in the order of [`SlotOp::ALL`].
    pub ops: Vec<Vec<f64>>,
    /// Samples of a network of four skips.
    pub base: Vec<f64>,
}

/// Weights and inputs without a pattern.
fn numbers(count: usize) -> Vec<f32> {
    let mut rng = rng(0, "maps");
    (0..count).map(|_| rng.random_range(0.0..1.0)).collect()
}

// ANCHOR: times
/// Times every operation, and the network without any, in turns.
///
/// # Errors
/// What the checkpoints between samples return.
pub async fn cell_times(batch: usize, classes: usize, rounds: usize, cx: &Context) -> Result<CellTimes, LabError> {
    let maps = Maps { data: numbers(batch * POSITIONS * CHANNELS), ..Maps::zeros(batch, GRID, GRID, CHANNELS) };
    let mut rng = rng(0, "weights");
    let weights = SlotOp::ALL.map(|op| op.init(&mut rng));
    let bare = CellNet { code: CellCode([SlotOp::Skip; SLOTS]), residual: true, classes };
    let (own, pixels) = (bare.init(&mut rng), numbers(batch * 256));
    let mut all = in_turns(cx, SlotOp::ALL.len() + 1, rounds, |i| match SlotOp::ALL.get(i) {
        Some(op) => drop(black_box(op.forward(&weights[i], &maps, true))),
        None => drop(black_box(bare.forward(&own, &pixels))),
    })
    .await?;
    all.iter_mut().flatten().for_each(|ms| *ms *= 1e3);
    let base = all.pop().unwrap_or_default();
    Ok(CellTimes { batch, ops: all, base })
}

impl CellTimes {
    /// Median of an operation.
    #[must_use]
    pub fn of(&self, op: SlotOp) -> f64 {
        self.ops.get(op as usize).map_or(0.0, |samples| median(samples))
    }

    /// What a network should take: the operations added up, and what every network has. Its four skips are taken out of the latter.
    #[must_use]
    pub fn predict(&self, code: CellCode) -> f64 {
        let base = median(&self.base) - SLOTS as f64 * self.of(SlotOp::Skip);
        base + code.0.iter().map(|op| self.of(*op)).sum::<f64>()
    }
}
// ANCHOR_END: times

/// Microseconds of whole networks with a batch, in turns.
///
/// # Errors
/// What the checkpoints between samples return.
pub async fn network_times(
    codes: &[CellCode],
    (batch, classes): (usize, usize),
    rounds: usize,
    cx: &Context,
) -> Result<Vec<Vec<f64>>, LabError> {
    let pixels = numbers(batch * 256);
    let of = |code: &CellCode| {
        let net = CellNet { code: *code, residual: true, classes };
        (net, net.init(&mut rng(0, "weights")))
    };
    let nets: Vec<(CellNet, Vec<f32>)> = codes.iter().map(of).collect();
    let mut all = in_turns(cx, nets.len(), rounds, |i| drop(black_box(nets[i].0.forward(&nets[i].1, &pixels)))).await?;
    all.iter_mut().flatten().for_each(|ms| *ms *= 1e3);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_adds_up_predicts_a_sum() {
        let ops = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0].map(|x| vec![x]).to_vec();
        let times = CellTimes { batch: 1, ops, base: vec![10.0] };
        let predict = |text: &str| times.predict(CellCode::parse(text).expect("a code"));
        assert_eq!(predict("skip-skip-skip-skip"), 10.0);
        assert_eq!(predict("conv-sep-mix-pool"), 6.0 + 54.0);
    }
}
