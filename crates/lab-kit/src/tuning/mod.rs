//! Equal tuning: every candidate gets the same number of tries of its one knob, on the same lattice of values, and a best try at
//! the edge of what was tried is told apart from one in the middle.

pub mod schedule;
mod sharpness;
mod task;

pub use lab_layers::optim;
pub use sharpness::sharpness;
pub use task::{Judged, Learned, Task};

/// One try: where the knob stood, and what came out; less is better, and what is not finite counts as the worst.
pub type Try = (f64, f64);

// ANCHOR: grid
/// So many values around `middle`, neighbours `ratio` apart: the same lattice for all whose middles lie on it.
#[must_use]
pub fn grid(middle: f64, ratio: f64, tries: usize) -> Vec<f64> {
    let below = (tries.max(1) - 1) / 2;
    (0..tries.max(1)).map(|i| middle * ratio.powi(i as i32 - below as i32)).collect()
}

/// The best of the tries, and whether it lies at the edge: then the true best may lie beyond. Where all are equal, none is at
/// the edge. None if nothing is finite.
#[must_use]
pub fn best(tries: &[Try]) -> Option<(usize, bool)> {
    let finite = || tries.iter().enumerate().filter(|(_, one)| one.1.is_finite());
    let (at, found) = finite().min_by(|a, b| a.1.1.total_cmp(&b.1.1))?;
    let beyond = |side: fn(f64, f64) -> bool| !tries.iter().any(|one| side(one.0, found.0));
    let flat = tries.len() > 1 && finite().all(|one| one.1.1 == found.1);
    Some((at, !flat && (beyond(|a, b| a < b) || beyond(|a, b| a > b))))
}

/// Where one more try is spent best: beyond an edge, or else between the best and its better neighbour.
#[must_use]
pub fn next(tries: &[Try], ratio: f64) -> Option<f64> {
    let (at, edge) = best(tries)?;
    let knob = tries[at].0;
    if edge {
        let lowest = tries.iter().all(|one| one.0 >= knob);
        return Some(if lowest { knob / ratio } else { knob * ratio });
    }
    let worst = |one: &&Try| if one.1.is_finite() { one.1 } else { f64::INFINITY };
    let near = |one: &&Try| one.0 != knob && (one.0 / knob).ln().abs() < 1.01 * ratio.ln();
    let neighbour = tries.iter().filter(near).min_by(|a, b| worst(a).total_cmp(&worst(b)))?;
    Some((knob * neighbour.0).sqrt())
}
// ANCHOR_END: grid

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_symmetric_and_lies_on_one_lattice() {
        let close =
            |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a / b - 1.0).abs() < 1e-9);
        assert!(close(&grid(0.01, 10.0, 3), &[1e-3, 1e-2, 1e-1]));
        assert!(close(&grid(0.01, 10.0, 4), &[1e-3, 1e-2, 1e-1, 1.0]));
        assert!(close(&grid(0.01, 10.0, 0), &[0.01]));
        assert!(close(&grid(0.01, 10.0, 5)[1..4], &grid(0.01, 10.0, 3)));
    }

    #[test]
    fn edges_are_told_and_the_next_try_goes_where_it_helps() {
        assert_eq!(best(&[(1.0, 3.0), (2.0, 1.0), (4.0, 2.0)]), Some((1, false)));
        assert_eq!(best(&[(1.0, 3.0), (2.0, f64::NAN), (4.0, 2.0)]), Some((2, true)));
        assert_eq!(best(&[(1.0, f64::NAN), (2.0, f64::INFINITY)]), None);
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[(1.0, 2.0), (2.0, 2.0)]), Some((0, false)));
        assert_eq!(next(&[(1.0, 3.0), (2.0, 2.0), (4.0, 1.0)], 2.0), Some(8.0));
        assert_eq!(next(&[(1.0, 1.0), (2.0, 2.0), (4.0, 3.0)], 2.0), Some(0.5));
        let between = next(&[(1.0, 3.0), (2.0, 1.0), (4.0, 2.0)], 2.0).expect("finite");
        assert!((between - 8.0_f64.sqrt()).abs() < 1e-9);
        let between = next(&[(1.0, 3.0), (2.0, 1.0), (4.0, f64::NAN)], 2.0).expect("finite");
        assert!((between - 2.0_f64.sqrt()).abs() < 1e-9);
    }
}
