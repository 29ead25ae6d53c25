//! The operations as loops over images, rows, columns, channels and taps: what the products must agree with.

use super::{CHANNELS, GRID, POSITIONS, SlotOp, TAPS};

/// The neighbour that a tap of a window of 3 by 3 sees, where it lies inside.
fn neighbour(position: usize, tap: usize) -> Option<usize> {
    let row = (position / GRID + tap / 3).checked_sub(1).filter(|row| *row < GRID)?;
    let column = (position % GRID + tap % 3).checked_sub(1).filter(|column| *column < GRID)?;
    Some(row * GRID + column)
}

/// A matrix over channels and a bias, at one position.
fn over_channels(w: &[f32], x: &[f32], to: usize) -> f32 {
    let mut sum = w[CHANNELS * CHANNELS + to];
    for from in 0..CHANNELS {
        sum += w[from * CHANNELS + to] * x[from];
    }
    sum
}

// ANCHOR: naive
/// What an operation makes of maps `[B, 4, 4, C]`.
#[must_use]
pub fn slot(op: SlotOp, w: &[f32], x: &[f32], residual: bool) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    for (image, x) in x.chunks_exact(POSITIONS * CHANNELS).enumerate() {
        for position in 0..POSITIONS {
            for c in 0..CHANNELS {
                let own = x[position * CHANNELS + c];
                let z = element(op, w, x, position, c);
                y[(image * POSITIONS + position) * CHANNELS + c] = match op {
                    SlotOp::Skip | SlotOp::Pool => z,
                    _ if residual => own + z.max(0.0),
                    _ => z.max(0.0),
                };
            }
        }
    }
    y
}

/// One number of the result, before the ReLU.
fn element(op: SlotOp, w: &[f32], x: &[f32], position: usize, c: usize) -> f32 {
    match op {
        SlotOp::Skip => x[position * CHANNELS + c],
        SlotOp::Pool => {
            let (mut sum, mut count) = (0.0, 0.0);
            for near in (0..TAPS).filter_map(|tap| neighbour(position, tap)) {
                sum += x[near * CHANNELS + c];
                count += 1.0;
            }
            sum / count
        }
        SlotOp::Mix => {
            let mut sum = w[POSITIONS * POSITIONS + position];
            for from in 0..POSITIONS {
                sum += w[from * POSITIONS + position] * x[from * CHANNELS + c];
            }
            sum
        }
        SlotOp::Pw => over_channels(w, &x[position * CHANNELS..], c),
        SlotOp::Sep => {
            let mut seen = [0.0; CHANNELS];
            for tap in 0..TAPS {
                let Some(near) = neighbour(position, tap) else { continue };
                for (from, seen) in seen.iter_mut().enumerate() {
                    *seen += w[tap * CHANNELS + from] * x[near * CHANNELS + from];
                }
            }
            over_channels(&w[TAPS * CHANNELS..], &seen, c)
        }
        SlotOp::Conv => {
            let mut sum = w[TAPS * CHANNELS * CHANNELS + c];
            for tap in 0..TAPS {
                let Some(near) = neighbour(position, tap) else { continue };
                for from in 0..CHANNELS {
                    sum += w[(tap * CHANNELS + from) * CHANNELS + c] * x[near * CHANNELS + from];
                }
            }
            sum
        }
    }
}
// ANCHOR_END: naive
