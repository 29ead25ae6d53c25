//! What is searched: six choices of a training.

use lab_kit::tuning::schedule::{Curve, Schedule};
use rand::Rng;

/// Choices of a configuration: as many axes of the unit cube.
pub(super) const AXES: usize = 6;
pub(super) const BATCHES: [usize; 5] = [16, 32, 64, 128, 256];
pub(super) const WIDTHS: [usize; 3] = [16, 32, 64];
/// Share of the labels that are replaced by random ones where any are: in the mean the same gradient as label smoothing.
const REPLACED: f64 = 0.1;
/// Share of the steps in which the rate rises.
const WARM: f64 = 0.05;

/// How a network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Config {
    pub(super) rate: f64,
    pub(super) decay: f64,
    pub(super) batch: usize,
    pub(super) width: usize,
    /// The rate falls along a cosine to zero; else it stays.
    pub(super) falls: bool,
    pub(super) replaced: f64,
}

// ANCHOR: space
/// A point of the unit cube, drawn evenly.
pub(super) fn draw(rng: &mut impl Rng) -> Vec<f64> {
    (0..AXES).map(|_| rng.random_range(0.0..1.0)).collect()
}

impl Config {
    /// The configuration at a point of the unit cube; in the trimmed space the rate always falls.
    pub(super) fn at(point: &[f64], trimmed: bool) -> Self {
        let log = |x: f64, low: f64, high: f64| 10_f64.powf(low + x * (high - low));
        let one = |x: f64, of: &[usize]| of[((x * of.len() as f64) as usize).min(of.len() - 1)];
        Self {
            rate: log(point[0], -4.0, -1.0),
            decay: log(point[1], -3.0, -0.5),
            batch: one(point[2], &BATCHES),
            width: one(point[3], &WIDTHS),
            falls: trimmed || point[4] < 0.5,
            replaced: if point[5] < 0.5 { 0.0 } else { REPLACED },
        }
    }
}
// ANCHOR_END: space

impl Config {
    /// What a library does that is told nothing: AdamW of PyTorch with its rate and decay, at a constant rate.
    pub(super) fn untuned() -> Self {
        Self { rate: 1e-3, decay: 1e-2, batch: 64, width: 64, falls: false, replaced: 0.0 }
    }

    pub(super) fn schedule(&self, steps: usize) -> Schedule {
        let curve = if self.falls { Curve::Cosine } else { Curve::Constant };
        let warmup = (WARM * steps as f64).round() as usize;
        Schedule { curve, peak: self.rate, floor: 0.0, steps: steps.max(1), warmup: warmup.min(steps) }
    }

    /// In a few words.
    pub(super) fn words(&self) -> String {
        let Self { batch, width, .. } = self;
        let falls = if self.falls { "falling" } else { "constant" };
        let labels = if self.replaced > 0.0 { ", some labels replaced" } else { "" };
        format!("rate {} {falls}, decay {}, batch {batch}, {width} units{labels}", short(self.rate), short(self.decay))
    }
}

/// A number with two digits.
pub(super) fn short(x: f64) -> String {
    let places = (1.0 - x.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{x:.places$}")
}
