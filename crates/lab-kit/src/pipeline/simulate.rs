//! The time that an order would take.

use lab_api::LabError;

use super::{Half, PipeOp, PipeOrder};
use crate::peers::Wire;

/// Milliseconds of each chunk.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PipeTimes {
    /// Forward.
    pub forward: Vec<f64>,
    /// Backward; of an order that splits it, the gradient of the input alone.
    pub backward: Vec<f64>,
    /// The gradient of the weights, where an order splits the way back.
    pub weights: Vec<f64>,
}

/// What a worker did from when to when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PipeSlot {
    /// The worker.
    pub rank: usize,
    /// What.
    pub op: PipeOp,
    /// From, in milliseconds.
    pub start: f64,
    /// To.
    pub end: f64,
}

/// What all workers did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PipeTimeline {
    /// In an order that respects what needs what.
    pub slots: Vec<PipeSlot>,
    /// When the last worker was done, in milliseconds.
    pub end: f64,
}

impl PipeTimeline {
    /// Milliseconds in which each of `ranks` workers computes.
    #[must_use]
    pub fn busy(&self, ranks: usize) -> Vec<f64> {
        let mut busy = vec![0.0; ranks];
        self.slots.iter().for_each(|slot| busy[slot.rank] += slot.end - slot.start);
        busy
    }

    // ANCHOR: bubble
    /// The share of all workers' time in which they wait.
    #[must_use]
    pub fn bubble(&self, ranks: usize) -> f64 {
        1.0 - self.busy(ranks).iter().sum::<f64>() / (ranks as f64 * self.end).max(f64::MIN_POSITIVE)
    }
    // ANCHOR_END: bubble
}

// ANCHOR: simulate
/// Starts each piece of work when its worker is free and what it needs has come; a message of `bytes` takes what the wire says.
///
/// # Errors
/// [`LabError::Engine`] where no worker can go on: whom each of them waits for.
pub fn simulate(order: &PipeOrder, times: &PipeTimes, wire: Wire, bytes: f64) -> Result<PipeTimeline, LabError> {
    let of = |op: PipeOp| [&times.forward, &times.backward, &times.weights][op.half as usize].get(op.chunk).copied();
    simulate_each(order, &|op| of(op).unwrap_or(0.0), wire, bytes)
}

/// The same, where each piece of work has milliseconds of its own.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_each(
    order: &PipeOrder,
    ms: &dyn Fn(PipeOp) -> f64,
    wire: Wire,
    bytes: f64,
) -> Result<PipeTimeline, LabError> {
    let (p, m) = (order.ops.len(), order.micros);
    let message = wire.latency_ms + bytes / wire.bytes_per_ms;
    let mut done = vec![f64::NAN; 3 * order.chunks * m];
    let place = |half: Half, chunk: usize, micro: usize| (half as usize * order.chunks + chunk) * m + micro;
    let (mut next, mut free) = (vec![0; p], vec![0.0_f64; p]);
    let mut line = PipeTimeline::default();
    loop {
        let before = line.slots.len();
        for rank in 0..p {
            while let Some(op) = order.ops[rank].get(next[rank]).copied() {
                let PipeOp { half, chunk, micro } = op;
                let comes = |from: usize| {
                    let way = if from % p == rank { 0.0 } else { message };
                    done[place(half, from, micro)] + way
                };
                let needs = match half {
                    Half::Forward if chunk == 0 => 0.0,
                    Half::Forward => comes(chunk - 1),
                    Half::Backward => {
                        let own = done[place(Half::Forward, chunk, micro)];
                        if chunk + 1 == order.chunks || own.is_nan() { own } else { comes(chunk + 1) }
                    }
                    Half::Weights => done[place(Half::Backward, chunk, micro)],
                };
                if needs.is_nan() {
                    break;
                }
                let start = free[rank].max(needs);
                let end = start + ms(op);
                done[place(half, chunk, micro)] = end;
                line.slots.push(PipeSlot { rank, op, start, end });
                (free[rank], next[rank]) = (end, next[rank] + 1);
            }
        }
        if line.slots.len() == before {
            break;
        }
    }
    let waits = (0..p).filter_map(|rank| Some((rank, order.ops[rank].get(next[rank])?)));
    let waits: Vec<String> = waits.map(|(rank, op)| format!("worker {rank} cannot begin the {op}")).collect();
    if !waits.is_empty() {
        return Err(LabError::Engine { why: format!("all workers stand still: {}", waits.join(", ")) });
    }
    line.end = free.into_iter().fold(0.0, f64::max);
    Ok(line)
}
// ANCHOR_END: simulate
