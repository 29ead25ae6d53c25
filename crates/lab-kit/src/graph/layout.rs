//! Where each result lies: in a buffer of its own, or, for a view, in somebody else's.

use super::{Graph, Id, Op, Shape};

/// A node's numbers within the buffer of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whose buffer.
    pub root: Id,
    /// The first number.
    pub offset: usize,
    /// From an element to the next, along each axis.
    pub strides: [usize; 4],
}

/// Strides of numbers that lie in order.
#[must_use]
pub(super) fn strides_of(shape: Shape) -> [usize; 4] {
    let [_, b, c, d] = shape;
    [b * c * d, c * d, d, 1]
}

/// Strides of the same numbers in another shape; none where no strides would do.
fn reshaped(from: Shape, strides: [usize; 4], to: Shape) -> Option<[usize; 4]> {
    // Runs of axes that lie in order are one axis: (size, stride of its last).
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (size, stride) in from.into_iter().zip(strides).filter(|(size, _)| *size != 1) {
        match runs.last_mut() {
            Some(run) if run.1 == size * stride => *run = (run.0 * size, stride),
            _ => runs.push((size, stride)),
        }
    }
    let mut found = strides_of(to);
    let (mut run, mut left) = (runs.len(), 1);
    let mut stride = 1;
    for axis in (0..4).rev().filter(|axis| to[*axis] != 1) {
        if left == 1 {
            run = run.checked_sub(1)?;
            (left, stride) = runs[run];
        }
        if !left.is_multiple_of(to[axis]) {
            return None;
        }
        found[axis] = stride;
        stride *= to[axis];
        left /= to[axis];
    }
    Some(found)
}

/// Where each node lies.
///
/// # Errors
/// The number of a node that is a view but would need a copy.
pub fn places(graph: &Graph) -> Result<Vec<Place>, Id> {
    let mut all: Vec<Place> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        let from = node.inputs.first().map(|input| (all[*input], graph.shape(*input)));
        let place = match (&node.op, from) {
            (Op::Reshape, Some((place, shape))) => {
                Place { strides: reshaped(shape, place.strides, node.shape).ok_or(id)?, ..place }
            }
            (Op::Transpose(axes), Some((place, _))) => Place { strides: axes.map(|axis| place.strides[axis]), ..place },
            (Op::Slice { axis, start }, Some((place, _))) => {
                Place { offset: place.offset + start * place.strides[*axis], ..place }
            }
            (Op::Write { .. }, Some((place, _))) => place,
            _ => Place { root: id, offset: 0, strides: strides_of(node.shape) },
        };
        all.push(place);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reshape_is_a_view_where_strides_can_say_it() {
        // Rows of 320 of which 192 are taken: the last axis splits into heads, but rows do not join.
        let part = [320 * 7, 320 * 7, 320, 1];
        assert_eq!(reshaped([1, 1, 7, 192], part, [1, 7, 6, 32]).map(|s| [s[1], s[2], s[3]]), Some([320, 32, 1]));
        assert_eq!(reshaped([1, 1, 7, 192], part, [1, 1, 1, 7 * 192]), None);
        // Heads before positions do not join again; with one position they do.
        assert_eq!(reshaped([1, 7, 6, 32], [7 * 192, 32, 224, 1], [1, 1, 7, 192]), None);
        assert!(reshaped([1, 1, 6, 32], [192, 32, 32, 1], [1, 1, 1, 192]).is_some());
        assert_eq!(reshaped([2, 3, 4, 5], strides_of([2, 3, 4, 5]), [1, 6, 20, 1]).map(|s| s[1]), Some(20));
    }
}
