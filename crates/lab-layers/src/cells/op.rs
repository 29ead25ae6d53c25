//! The six operations, forward and backward.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{CHANNELS, GATHERED, GRID, POSITIONS, TAPS};
use crate::blocks::{Conv, Maps, Panels};

/// What a slot may hold. Of all but the first two the result is `x + ReLU(z)`, or `ReLU(z)` where nothing is residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotOp {
    /// Nothing: the slot may as well not be there.
    Skip,
    /// The mean over the neighbours of 3 by 3 that lie inside. Never residual.
    Pool,
    /// A matrix over positions, the same for each channel.
    Mix,
    /// A matrix over channels, the same at each position.
    Pw,
    /// A window of 3 by 3 over each channel alone, then a matrix over channels.
    Sep,
    /// A window of 3 by 3 over all channels.
    Conv,
}

/// What a slot leaves for the way back.
#[derive(Debug, Clone, Default)]
pub struct SlotTrace {
    /// The result.
    pub y: Maps,
    /// The input of the last product, where it is not that of the slot.
    inner: Maps,
    /// What the ReLU let through; empty where there is none.
    pub relu: Vec<f32>,
}

fn pointwise() -> Conv {
    Conv { bias: true, ..Conv::plain(CHANNELS, CHANNELS, 1, 1) }
}

fn depthwise() -> Conv {
    Conv::depthwise(CHANNELS, 3, 1)
}

fn full() -> Conv {
    Conv { bias: true, ..Conv::plain(CHANNELS, CHANNELS, 3, 1) }
}

/// Positions and channels change places: each image is a square matrix.
fn turned(x: &Maps) -> Maps {
    let mut y = x.clone();
    for (from, to) in x.data.chunks_exact(POSITIONS * CHANNELS).zip(y.data.chunks_exact_mut(POSITIONS * CHANNELS)) {
        for (c, row) in to.chunks_exact_mut(POSITIONS).enumerate() {
            row.iter_mut().zip(from[c..].iter().step_by(CHANNELS)).for_each(|(y, x)| *y = *x);
        }
    }
    y
}

/// Divides what lies at each position by the number of its neighbours inside, itself among them: 4, 6 or 9.
fn by_neighbours(x: &mut Maps) {
    let inside = |i: usize| if i == 0 || i + 1 == GRID { 2.0 } else { 3.0 };
    for (place, row) in x.data.chunks_exact_mut(CHANNELS).enumerate() {
        let by = 1.0 / (inside(place / GRID % GRID) * inside(place % GRID));
        row.iter_mut().for_each(|x| *x *= by);
    }
}

impl SlotOp {
    /// All of them, the cheapest first.
    pub const ALL: [Self; 6] = [Self::Skip, Self::Pool, Self::Mix, Self::Pw, Self::Sep, Self::Conv];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["skip", "pool", "mix", "pw", "sep", "conv"][self as usize]
    }

    // ANCHOR: cost
    /// Numbers that it learns. Those of `sep` are the windows, then the matrix; a bias comes last.
    #[must_use]
    pub fn weights(self) -> usize {
        match self {
            Self::Skip | Self::Pool => 0,
            Self::Mix | Self::Pw => pointwise().weights(),
            Self::Sep => depthwise().weights() + pointwise().weights(),
            Self::Conv => full().weights(),
        }
    }

    /// FLOPs of an image: two for each multiplication of a product, windows at the border counted whole; additions alone, as
    /// those of `pool`, count as nothing.
    #[must_use]
    pub fn flops(self) -> usize {
        let square = POSITIONS * CHANNELS * CHANNELS;
        2 * match self {
            Self::Skip | Self::Pool => 0,
            Self::Mix => POSITIONS * POSITIONS * CHANNELS,
            Self::Pw => square,
            Self::Sep => POSITIONS * TAPS * CHANNELS + square,
            Self::Conv => TAPS * square,
        }
    }

    /// Bytes of activations that it holds at once with so many images: input, result, what lies between.
    #[must_use]
    pub fn bytes(self, batch: usize) -> usize {
        let maps = 4 * batch * POSITIONS * CHANNELS;
        match self {
            Self::Skip => maps,
            Self::Pool | Self::Pw => 2 * maps,
            Self::Mix | Self::Sep => 3 * maps,
            Self::Conv => 2 * maps + 4 * GATHERED.min(batch * POSITIONS) * TAPS * CHANNELS,
        }
    }
    // ANCHOR_END: cost

    /// Fresh weights: even, of a variance that keeps that of the signal through a ReLU (He et al., 2015, arXiv:1502.01852).
    #[must_use]
    pub fn init(self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut all = vec![0.0; self.weights()];
        let mut fill = |part: &mut [f32], variance: f64| {
            let bound = (3.0 * variance).sqrt() as f32;
            part.iter_mut().for_each(|w| *w = rng.random_range(-bound..bound));
        };
        let matrix = CHANNELS * CHANNELS;
        match self {
            Self::Skip | Self::Pool => {}
            Self::Mix | Self::Pw => fill(&mut all[..matrix], 2.0 / CHANNELS as f64),
            Self::Sep => {
                let windows = depthwise().weights();
                fill(&mut all[..windows], 1.0 / TAPS as f64);
                fill(&mut all[windows..windows + matrix], 2.0 / CHANNELS as f64);
            }
            Self::Conv => fill(&mut all[..TAPS * matrix], 2.0 / (TAPS * CHANNELS) as f64),
        }
        all
    }

    /// Its matrix as products read it: for [`apply`](Self::apply), once for as many calls as one likes.
    #[must_use]
    pub fn pack(self, w: &[f32]) -> Vec<Panels> {
        match self {
            Self::Skip | Self::Pool => Vec::new(),
            Self::Mix | Self::Pw => pointwise().pack(w),
            Self::Sep => pointwise().pack(&w[depthwise().weights()..]),
            Self::Conv => full().pack(w),
        }
    }

    // ANCHOR: apply
    /// The result for maps `[B, 4, 4, C]`, of weights that are [`packed`](Self::pack).
    #[must_use]
    pub fn apply(self, w: &[f32], panels: &[Panels], x: &Maps, residual: bool) -> SlotTrace {
        let mut inner = Maps::default();
        let mut z = match self {
            Self::Skip => return SlotTrace { y: x.clone(), ..SlotTrace::default() },
            Self::Pool => {
                let mut y = depthwise().forward(&[1.0; TAPS * CHANNELS], &[], x);
                by_neighbours(&mut y);
                return SlotTrace { y, ..SlotTrace::default() };
            }
            // A matrix over channels, of maps whose channels are positions.
            Self::Mix => {
                inner = turned(x);
                turned(&pointwise().forward(w, panels, &inner))
            }
            Self::Pw => pointwise().forward(w, panels, x),
            Self::Sep => {
                inner = depthwise().forward(w, &[], x);
                pointwise().forward(&w[depthwise().weights()..], panels, &inner)
            }
            Self::Conv => full().forward(w, panels, x),
        };
        z.data.iter_mut().for_each(|z| *z = z.max(0.0));
        let relu = z.data.clone();
        if residual {
            z.data.iter_mut().zip(&x.data).for_each(|(y, x)| *y += x);
        }
        SlotTrace { y: z, inner, relu }
    }
    // ANCHOR_END: apply

    /// The same of weights as they lie.
    #[must_use]
    pub fn forward(self, w: &[f32], x: &Maps, residual: bool) -> SlotTrace {
        self.apply(w, &self.pack(w), x, residual)
    }

    // ANCHOR: backward
    /// Adds the gradient of the weights to `dw`, and gives that of the input `x`, from that of the result.
    #[must_use]
    pub fn backward(self, w: &[f32], x: &Maps, trace: &SlotTrace, dy: &Maps, dw: &mut [f32], residual: bool) -> Maps {
        let windows = depthwise().weights();
        let mut dz = dy.clone();
        dz.data.iter_mut().zip(&trace.relu).for_each(|(dz, r)| *dz = if *r > 0.0 { *dz } else { 0.0 });
        let dx = match self {
            Self::Skip => return dz,
            Self::Pool => {
                by_neighbours(&mut dz);
                let ones = [1.0; TAPS * CHANNELS];
                return depthwise().backward(&ones, x, &dz, &mut [0.0; TAPS * CHANNELS], true).unwrap_or_default();
            }
            Self::Mix => pointwise().backward(w, &trace.inner, &turned(&dz), dw, true).map(|dx| turned(&dx)),
            Self::Pw => pointwise().backward(w, x, &dz, dw, true),
            Self::Sep => {
                let (first, second) = dw.split_at_mut(windows);
                let inner = pointwise().backward(&w[windows..], &trace.inner, &dz, second, true);
                inner.and_then(|inner| depthwise().backward(w, x, &inner, first, true))
            }
            Self::Conv => full().backward(w, x, &dz, dw, true),
        };
        let mut dx = dx.unwrap_or_default();
        if residual {
            dx.data.iter_mut().zip(&dy.data).for_each(|(dx, dy)| *dx += dy);
        }
        dx
    }
    // ANCHOR_END: backward
}
