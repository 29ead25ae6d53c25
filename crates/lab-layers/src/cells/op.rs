//! The six operations, forward and backward.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use lab_kernels::cells::{CellLayout, padded, turned_back};

use super::{CHANNELS, GRID, POSITIONS, TAPS};
use crate::blocks::{Conv, Maps};

/// Numbers of a matrix over channels, or over positions.
const MATRIX: usize = CHANNELS * CHANNELS;
/// Numbers of the windows of `sep`.
const WINDOWS: usize = TAPS * CHANNELS;

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

fn depthwise() -> Conv {
    Conv::depthwise(CHANNELS, 3, 1)
}

/// Maps times matrices, and a bias for each column: `w` holds `[taps, 16, 16]`, then `[16]`.
fn products(layout: CellLayout, w: &[f32], x: &Maps) -> Maps {
    let (matrices, bias) = w.split_at(w.len() - CHANNELS);
    let mut y = Maps::zeros(x.batch, GRID, GRID, CHANNELS);
    y.data.chunks_exact_mut(CHANNELS).for_each(|row| row.copy_from_slice(bias));
    if layout == CellLayout::PADDED {
        layout.multiply(&padded(&x.data), matrices, &mut y.data);
    } else {
        layout.multiply(&x.data, matrices, &mut y.data);
    }
    y
}

/// Adds the gradient of matrices and bias to `dw`; gives that of the maps.
fn products_back(layout: CellLayout, w: &[f32], x: &Maps, dy: &Maps, dw: &mut [f32]) -> Maps {
    let (matrices, bias) = dw.split_at_mut(w.len() - CHANNELS);
    for row in dy.data.chunks_exact(CHANNELS) {
        bias.iter_mut().zip(row).for_each(|(b, dy)| *b += dy);
    }
    let back = turned_back(&w[..w.len() - CHANNELS]);
    let mut dx = Maps::zeros(x.batch, GRID, GRID, CHANNELS);
    if layout == CellLayout::PADDED {
        layout.outer(&padded(&x.data), &dy.data, matrices);
        layout.multiply(&padded(&dy.data), &back, &mut dx.data);
    } else {
        layout.outer(&x.data, &dy.data, matrices);
        layout.multiply(&dy.data, &back, &mut dx.data);
    }
    dx
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
            Self::Mix | Self::Pw => MATRIX + CHANNELS,
            Self::Sep => WINDOWS + MATRIX + CHANNELS,
            Self::Conv => TAPS * MATRIX + CHANNELS,
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
            // The copy with a border has 36 places for 16.
            Self::Conv => 2 * maps + maps * 36 / POSITIONS,
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
        match self {
            Self::Skip | Self::Pool => {}
            Self::Mix | Self::Pw => fill(&mut all[..MATRIX], 2.0 / CHANNELS as f64),
            Self::Sep => {
                fill(&mut all[..WINDOWS], 1.0 / TAPS as f64);
                fill(&mut all[WINDOWS..WINDOWS + MATRIX], 2.0 / CHANNELS as f64);
            }
            Self::Conv => fill(&mut all[..TAPS * MATRIX], 2.0 / (TAPS * CHANNELS) as f64),
        }
        all
    }

    // ANCHOR: forward
    /// The result for maps `[B, 4, 4, C]`.
    #[must_use]
    pub fn forward(self, w: &[f32], x: &Maps, residual: bool) -> SlotTrace {
        let mut inner = Maps::default();
        let mut z = match self {
            Self::Skip => return SlotTrace { y: x.clone(), ..SlotTrace::default() },
            Self::Pool => {
                let mut y = depthwise().forward(&[1.0; WINDOWS], &[], x);
                by_neighbours(&mut y);
                return SlotTrace { y, ..SlotTrace::default() };
            }
            // A matrix over channels, of maps whose channels are positions.
            Self::Mix => {
                inner = turned(x);
                turned(&products(CellLayout::PLAIN, w, &inner))
            }
            Self::Pw => products(CellLayout::PLAIN, w, x),
            Self::Sep => {
                inner = depthwise().forward(w, &[], x);
                products(CellLayout::PLAIN, &w[WINDOWS..], &inner)
            }
            Self::Conv => products(CellLayout::PADDED, w, x),
        };
        z.data.iter_mut().for_each(|z| *z = z.max(0.0));
        let relu = z.data.clone();
        if residual {
            z.data.iter_mut().zip(&x.data).for_each(|(y, x)| *y += x);
        }
        SlotTrace { y: z, inner, relu }
    }
    // ANCHOR_END: forward

    // ANCHOR: backward
    /// Adds the gradient of the weights to `dw`, and gives that of the input `x`, from that of the result.
    #[must_use]
    pub fn backward(self, w: &[f32], x: &Maps, trace: &SlotTrace, dy: &Maps, dw: &mut [f32], residual: bool) -> Maps {
        let mut dz = dy.clone();
        dz.data.iter_mut().zip(&trace.relu).for_each(|(dz, r)| *dz = if *r > 0.0 { *dz } else { 0.0 });
        let mut dx = match self {
            Self::Skip => return dz,
            Self::Pool => {
                by_neighbours(&mut dz);
                return depthwise().backward(&[1.0; WINDOWS], x, &dz, &mut [0.0; WINDOWS], true).unwrap_or_default();
            }
            Self::Mix => turned(&products_back(CellLayout::PLAIN, w, &trace.inner, &turned(&dz), dw)),
            Self::Pw => products_back(CellLayout::PLAIN, w, x, &dz, dw),
            Self::Sep => {
                let (first, second) = dw.split_at_mut(WINDOWS);
                let inner = products_back(CellLayout::PLAIN, &w[WINDOWS..], &trace.inner, &dz, second);
                depthwise().backward(w, x, &inner, first, true).unwrap_or_default()
            }
            Self::Conv => products_back(CellLayout::PADDED, w, x, &dz, dw),
        };
        if residual {
            dx.data.iter_mut().zip(&dy.data).for_each(|(dx, dy)| *dx += dy);
        }
        dx
    }
    // ANCHOR_END: backward
}
