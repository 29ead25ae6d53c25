//! Stem, classifier, and a whole network of one code.

use std::ops::Range;

use lab_kernels::{
    cells::CellLayout,
    product::{View, product},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{CHANNELS, CellCode, FEATURES, GRID, PATCH, POSITIONS, SIDE, SLOTS, SlotTrace};
use crate::blocks::Maps;

/// Images that are judged at once.
const CHUNK: usize = 256;

/// Numbers of the stem's matrix.
const EMBEDDING: usize = PATCH * PATCH * CHANNELS;

/// Weights of the stem: a matrix `[16, C]`, then a bias `[16, C]` for each position.
#[must_use]
pub fn stem_weights() -> usize {
    EMBEDDING + POSITIONS * CHANNELS
}

/// Weights of the classifier: a matrix `[64, classes]`, then a bias.
#[must_use]
pub fn head_weights(classes: usize) -> usize {
    (FEATURES + 1) * classes
}

fn even(count: usize, variance: f64, rng: &mut ChaCha8Rng) -> impl Iterator<Item = f32> {
    let bound = (3.0 * variance).sqrt() as f32;
    (0..count).map(move |_| rng.random_range(-bound..bound))
}

/// Fresh weights of the stem.
#[must_use]
pub fn init_stem(rng: &mut ChaCha8Rng) -> Vec<f32> {
    let inputs = PATCH * PATCH;
    even(inputs * CHANNELS, 2.0 / inputs as f64, rng).chain([0.0; POSITIONS * CHANNELS]).collect()
}

/// Fresh weights of the classifier.
#[must_use]
pub fn init_head(classes: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    even(FEATURES * classes, 1.0 / FEATURES as f64, rng).chain(vec![0.0; classes]).collect()
}

/// Pixels `[B, 256]` as maps of patches `[B, 4, 4, 16]`.
fn patches(pixels: &[f32]) -> Maps {
    let batch = pixels.len() / (SIDE * SIDE);
    let mut maps = Maps::zeros(batch, GRID, GRID, PATCH * PATCH);
    for (place, patch) in maps.data.chunks_exact_mut(PATCH * PATCH).enumerate() {
        let (image, row, column) = (place / POSITIONS, place / GRID % GRID, place % GRID);
        for (line, to) in patch.chunks_exact_mut(PATCH).enumerate() {
            let from = (image * SIDE + row * PATCH + line) * SIDE + column * PATCH;
            to.copy_from_slice(&pixels[from..from + PATCH]);
        }
    }
    maps
}

/// Maps `[B, 4, 4, C]` of pixels `[B, 256]`.
#[must_use]
pub fn stem(w: &[f32], pixels: &[f32]) -> Maps {
    let (matrix, bias) = w.split_at(EMBEDDING);
    let patches = patches(pixels);
    let mut y = Maps::zeros(patches.batch, GRID, GRID, CHANNELS);
    y.data.chunks_exact_mut(POSITIONS * CHANNELS).for_each(|image| image.copy_from_slice(bias));
    CellLayout::PLAIN.multiply(&patches.data, matrix, &mut y.data);
    y.data.iter_mut().for_each(|y| *y = y.max(0.0));
    y
}

/// Adds the gradient of the stem's weights to `dw`; `y` is what it gave, `dy` its gradient.
pub fn stem_backward(pixels: &[f32], y: &Maps, dy: &Maps, dw: &mut [f32]) {
    let mut dz = dy.clone();
    dz.data.iter_mut().zip(&y.data).for_each(|(dz, y)| *dz = if *y > 0.0 { *dz } else { 0.0 });
    let (matrix, bias) = dw.split_at_mut(EMBEDDING);
    for image in dz.data.chunks_exact(POSITIONS * CHANNELS) {
        bias.iter_mut().zip(image).for_each(|(b, dz)| *b += dz);
    }
    CellLayout::PLAIN.outer(&patches(pixels).data, &dz.data, matrix);
}

/// For each of the 16 positions of an image, where its quadrant's channels begin among the features.
fn quadrant(position: usize) -> usize {
    let half = GRID / 2;
    (position / GRID / half * 2 + position % GRID / half) * CHANNELS
}

fn quadrants(x: &Maps) -> Maps {
    let mut features = Maps::zeros(x.batch, 1, 1, FEATURES);
    let share = 4.0 / POSITIONS as f32;
    for (place, row) in x.data.chunks_exact(CHANNELS).enumerate() {
        let at = place / POSITIONS * FEATURES + quadrant(place % POSITIONS);
        features.data[at..at + CHANNELS].iter_mut().zip(row).for_each(|(f, x)| *f += share * x);
    }
    features
}

/// Logits `[B, classes]` of maps `[B, 4, 4, C]`.
#[must_use]
pub fn head(w: &[f32], x: &Maps, classes: usize) -> Vec<f32> {
    let (matrix, bias) = w.split_at(FEATURES * classes);
    let features = quadrants(x);
    let mut logits = product(View::new(&features.data, x.batch, FEATURES), View::new(matrix, FEATURES, classes));
    logits.chunks_exact_mut(classes.max(1)).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
    logits
}

/// Adds the gradient of the classifier's weights to `dw`, and gives that of the maps.
#[must_use]
pub fn head_backward(w: &[f32], x: &Maps, slopes: &[f32], dw: &mut [f32], classes: usize) -> Maps {
    let slopes_of = View::new(slopes, x.batch, classes);
    let (matrix, bias) = dw.split_at_mut(FEATURES * classes);
    let sums = product(View::new(&quadrants(x).data, x.batch, FEATURES).transposed(), slopes_of);
    matrix.iter_mut().zip(sums).for_each(|(w, sum)| *w += sum);
    for row in slopes.chunks_exact(classes.max(1)) {
        bias.iter_mut().zip(row).for_each(|(b, s)| *b += s);
    }
    let features = product(slopes_of, View::new(w, FEATURES, classes).transposed());
    let mut dx = Maps::zeros(x.batch, GRID, GRID, CHANNELS);
    let share = 4.0 / POSITIONS as f32;
    for (place, row) in dx.data.chunks_exact_mut(CHANNELS).enumerate() {
        let at = place / POSITIONS * FEATURES + quadrant(place % POSITIONS);
        row.iter_mut().zip(&features[at..at + CHANNELS]).for_each(|(dx, f)| *dx = share * f);
    }
    dx
}

/// Mean cross-entropy in nats and right answers, of logits that become their own gradient.
pub fn softmax_loss(logits: &mut [f32], labels: &[u8], classes: usize) -> (f64, usize) {
    let (mut loss, mut right) = (0.0, 0);
    let share = 1.0 / labels.len().max(1) as f32;
    for (row, label) in logits.chunks_exact_mut(classes.max(1)).zip(labels) {
        let label = usize::from(*label).min(classes - 1);
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        right += usize::from(row[label] >= largest && row[..label].iter().all(|y| *y < largest));
        let own = row[label] - largest;
        row.iter_mut().for_each(|y| *y = (*y - largest).exp());
        let sum: f32 = row.iter().sum();
        loss += f64::from(sum).ln() - f64::from(own);
        row.iter_mut().for_each(|y| *y *= share / sum);
        row[label] -= share;
    }
    (loss / labels.len().max(1) as f64, right)
}

/// A network of the space. Its weights lie in one slice: stem, slots, classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellNet {
    /// What the slots hold.
    pub code: CellCode,
    /// Whether an operation with weights adds to what it got.
    pub residual: bool,
    /// Answers that there are.
    pub classes: usize,
}

/// What a forward pass leaves.
#[derive(Debug, Clone)]
pub struct CellTrace {
    /// What the stem gave.
    pub stem: Maps,
    /// What each slot gave.
    pub slots: Vec<SlotTrace>,
    /// Logits `[B, classes]`.
    pub logits: Vec<f32>,
}

/// What one pass led to.
#[derive(Debug, Clone)]
pub struct CellPass {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Right answers.
    pub right: usize,
    /// Gradient of the mean loss, as the weights lie.
    pub gradient: Vec<f32>,
    /// What the forward pass left.
    pub trace: CellTrace,
}

impl CellNet {
    /// Where stem, slots and classifier lie.
    #[must_use]
    pub fn ranges(&self) -> [Range<usize>; SLOTS + 2] {
        let mut begin = 0;
        let ops = self.code.0.map(super::SlotOp::weights);
        std::array::from_fn(|part| {
            let len = match part {
                0 => stem_weights(),
                slot if slot <= SLOTS => ops[slot - 1],
                _ => head_weights(self.classes),
            };
            begin += len;
            begin - len..begin
        })
    }

    /// Numbers that it learns.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.code.parameters(self.classes)
    }

    /// Fresh weights. Codes of one network begin alike.
    #[must_use]
    pub fn init(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut all = init_stem(rng);
        self.code.0.iter().for_each(|op| all.extend(op.init(rng)));
        all.extend(init_head(self.classes, rng));
        all
    }

    /// The forward pass of pixels `[B, 256]`.
    #[must_use]
    pub fn forward(&self, weights: &[f32], pixels: &[f32]) -> CellTrace {
        let ranges = self.ranges();
        let stem = stem(&weights[ranges[0].clone()], pixels);
        let mut slots: Vec<SlotTrace> = Vec::with_capacity(SLOTS);
        for (op, range) in self.code.0.iter().zip(&ranges[1..]) {
            let x = slots.last().map_or(&stem, |slot| &slot.y);
            let next = op.forward(&weights[range.clone()], x, self.residual);
            slots.push(next);
        }
        let last = slots.last().map_or(&stem, |slot| &slot.y);
        let logits = head(&weights[ranges[SLOTS + 1].clone()], last, self.classes);
        CellTrace { stem, slots, logits }
    }

    // ANCHOR: pass
    /// Loss and gradient of a batch.
    #[must_use]
    pub fn pass(&self, weights: &[f32], pixels: &[f32], labels: &[u8]) -> CellPass {
        let (trace, ranges) = (self.forward(weights, pixels), self.ranges());
        let mut slopes = trace.logits.clone();
        let (loss, right) = softmax_loss(&mut slopes, labels, self.classes);
        let mut gradient = vec![0.0; weights.len()];
        let input = |slot: usize| if slot == 0 { &trace.stem } else { &trace.slots[slot - 1].y };
        let at = ranges[SLOTS + 1].clone();
        let mut dy = head_backward(&weights[at.clone()], input(SLOTS), &slopes, &mut gradient[at], self.classes);
        for slot in (0..SLOTS).rev() {
            let (op, at) = (self.code.0[slot], ranges[slot + 1].clone());
            let dw = &mut gradient[at.clone()];
            dy = op.backward(&weights[at], input(slot), &trace.slots[slot], &dy, dw, self.residual);
        }
        let at = ranges[0].clone();
        stem_backward(pixels, &trace.stem, &dy, &mut gradient[at]);
        CellPass { loss, right, gradient, trace }
    }
    // ANCHOR_END: pass

    /// Mean loss in nats and share of right answers.
    #[must_use]
    pub fn judge(&self, weights: &[f32], pixels: &[f32], labels: &[u8]) -> (f64, f64) {
        let (mut loss, mut right) = (0.0, 0);
        for (pixels, labels) in pixels.chunks(CHUNK * SIDE * SIDE).zip(labels.chunks(CHUNK)) {
            let mut logits = self.forward(weights, pixels).logits;
            let (mean, count) = softmax_loss(&mut logits, labels, self.classes);
            loss += mean * labels.len() as f64;
            right += count;
        }
        let count = labels.len().max(1) as f64;
        (loss / count, right as f64 / count)
    }
}
