//! Who computes what, in which order.

use std::fmt;

/// A way through a chunk of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Forward.
    Forward,
    /// Backward; where an order has [`Half::Weights`], the gradient of the input alone.
    Backward,
    /// The gradient of the weights, where it is computed apart (Qi et al., 2024, arXiv:2401.10241).
    Weights,
}

/// One piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipeOp {
    /// Which way.
    pub half: Half,
    /// Through which chunk, in the order of the network.
    pub chunk: usize,
    /// Of which micro-batch.
    pub micro: usize,
}

impl fmt::Display for PipeOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.half {
            Half::Forward => "forward",
            Half::Backward => "backward",
            Half::Weights => "gradient of the weights",
        };
        write!(f, "{way} of micro-batch {} in chunk {}", self.micro, self.chunk)
    }
}

/// What each worker does, from first to last. Chunk `c` is at worker `c` modulo their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeOrder {
    /// By worker.
    pub ops: Vec<Vec<PipeOp>>,
    /// Chunks of the network.
    pub chunks: usize,
    /// Micro-batches of a step.
    pub micros: usize,
}

fn forward(chunk: usize, micro: usize) -> PipeOp {
    PipeOp { half: Half::Forward, chunk, micro }
}

fn backward(chunk: usize, micro: usize) -> PipeOp {
    PipeOp { half: Half::Backward, chunk, micro }
}

/// One micro-batch after the other, each through all `p` workers and back before the next one begins.
#[must_use]
pub fn naive(p: usize, m: usize) -> PipeOrder {
    let of = |rank: usize| (0..m).flat_map(|i| [forward(rank, i), backward(rank, i)]).collect();
    PipeOrder { ops: (0..p).map(of).collect(), chunks: p, micros: m }
}

// ANCHOR: gpipe
/// All `m` micro-batches forward, then all backward.
#[must_use]
pub fn gpipe(p: usize, m: usize) -> PipeOrder {
    let of = |rank: usize| {
        let mut ops: Vec<PipeOp> = (0..m).map(|i| forward(rank, i)).collect();
        ops.extend((0..m).map(|i| backward(rank, i)));
        ops
    };
    PipeOrder { ops: (0..p).map(of).collect(), chunks: p, micros: m }
}
// ANCHOR_END: gpipe

// ANCHOR: one_f_one_b
/// As many micro-batches forward as there are workers behind this one, then one forward, one backward in turn.
#[must_use]
pub fn one_f_one_b(p: usize, m: usize) -> PipeOrder {
    let of = |rank: usize| {
        let ahead = (p - 1 - rank).min(m);
        let mut ops: Vec<PipeOp> = (0..ahead).map(|i| forward(rank, i)).collect();
        for i in 0..m {
            ops.extend((ahead + i < m).then(|| forward(rank, ahead + i)));
            ops.push(backward(rank, i));
        }
        ops
    };
    PipeOrder { ops: (0..p).map(of).collect(), chunks: p, micros: m }
}
// ANCHOR_END: one_f_one_b

// ANCHOR: interleaved
/// 1F1B with `v` chunks for each worker, micro-batches in groups of `p` (Narayanan et al., 2021). `m` must be a multiple of `p`.
#[must_use]
pub fn interleaved(p: usize, m: usize, v: usize) -> PipeOrder {
    let all = m * v;
    let of = |rank: usize| {
        let at = |k: usize, back: bool| {
            let (group, place) = (k / (p * v), k % (p * v));
            let own = if back { v - 1 - place / p } else { place / p };
            (own * p + rank, group * p + place % p)
        };
        let ahead = if m == p { all } else { (2 * (p - rank - 1) + (v - 1) * p).min(all) };
        let mut ops = Vec::with_capacity(2 * all);
        for k in 0..ahead + all {
            if k < all {
                let (chunk, micro) = at(k, false);
                ops.push(forward(chunk, micro));
            }
            if k >= ahead {
                let (chunk, micro) = at(k - ahead, true);
                ops.push(backward(chunk, micro));
            }
        }
        ops
    };
    PipeOrder { ops: (0..p).map(of).collect(), chunks: p * v, micros: m }
}
// ANCHOR_END: interleaved

/// 1F1B with the gradient of the weights put off by as many micro-batches as there are workers before this one (ZB-H1 of Qi et al.,
/// 2024): holds no more than worker 0 of 1F1B does.
#[must_use]
pub fn zero_bubble(p: usize, m: usize) -> PipeOrder {
    let mut order = one_f_one_b(p, m);
    for (rank, ops) in order.ops.iter_mut().enumerate() {
        let weights = |micro| PipeOp { half: Half::Weights, chunk: rank, micro };
        let mut all = Vec::with_capacity(3 * m);
        for op in ops.drain(..) {
            all.push(op);
            if op.half == Half::Backward && op.micro >= rank {
                all.push(weights(op.micro - rank));
            }
        }
        all.extend((m.saturating_sub(rank)..m).map(weights));
        *ops = all;
    }
    order
}

impl PipeOrder {
    /// The most micro-batches at once for which each worker keeps activations, counted in its chunks: `v` chunks are one micro-batch.
    #[must_use]
    pub fn live(&self) -> Vec<usize> {
        let of = |ops: &Vec<PipeOp>| {
            let last = if ops.iter().any(|op| op.half == Half::Weights) { Half::Weights } else { Half::Backward };
            let (mut now, mut most) = (0_usize, 0);
            for op in ops {
                if op.half == Half::Forward {
                    now += 1;
                    most = most.max(now);
                } else if op.half == last {
                    now = now.saturating_sub(1);
                }
            }
            most
        };
        self.ops.iter().map(of).collect()
    }
}
