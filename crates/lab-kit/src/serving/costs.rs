//! What a step takes, from a few steps that were measured.

use super::Step;

/// Sizes of a step that decide what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Sequences that write.
    pub rows: usize,
    /// Tokens in the longest of them.
    pub context: usize,
    /// Tokens of prompts that are read.
    pub tokens: usize,
    /// Pairs of a token that is read and one that was read in an earlier step.
    pub past: usize,
}

impl Shape {
    /// Of a step.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        Self {
            rows: step.decode.len(),
            context: step.decode.iter().map(|chunk| chunk.to).max().unwrap_or(0),
            tokens: step.prefill.iter().map(|chunk| chunk.to - chunk.from).sum(),
            past: step.prefill.iter().map(|chunk| (chunk.to - chunk.from) * chunk.from).sum(),
        }
    }
}

/// Measured milliseconds, and how they are joined.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Costs {
    /// Steps that write: rows, and milliseconds at each of the contexts. Rows ascend.
    pub decode: Vec<(usize, [f64; 2])>,
    /// The two contexts, in tokens.
    pub contexts: [usize; 2],
    /// Steps that read: tokens and milliseconds. Tokens ascend.
    pub prefill: Vec<(usize, f64)>,
    /// What a step that does both takes less than two steps.
    pub shared_ms: f64,
    /// What each pair of a token read and an earlier one adds.
    pub past_ms: f64,
}

impl Costs {
    // ANCHOR: cost
    /// Milliseconds of a step: straight lines between what was measured, and beyond.
    #[must_use]
    pub fn ms(&self, shape: Shape) -> f64 {
        let write = if shape.rows > 0 { self.decode_ms(shape.rows, shape.context) } else { 0.0 };
        let read =
            if shape.tokens > 0 { line(&self.prefill, shape.tokens) + self.past_ms * shape.past as f64 } else { 0.0 };
        let shared = if shape.rows > 0 && shape.tokens > 0 { self.shared_ms } else { 0.0 };
        (write + read - shared).max(write).max(read)
    }

    /// Milliseconds of a step that writes for so many rows, the longest of which holds so many tokens.
    #[must_use]
    pub fn decode_ms(&self, rows: usize, context: usize) -> f64 {
        let at = |which: usize| {
            let points: Vec<(usize, f64)> = self.decode.iter().map(|(rows, ms)| (*rows, ms[which])).collect();
            line(&points, rows)
        };
        line(&[(self.contexts[0], at(0)), (self.contexts[1], at(1))], context)
    }
    // ANCHOR_END: cost
}

/// The value at `x` on straight lines between points; beyond the ends the outer lines go on, though never below 0.
fn line(points: &[(usize, f64)], x: usize) -> f64 {
    let Some(first) = points.first() else { return 0.0 };
    let after = points.iter().position(|point| point.0 >= x).unwrap_or(points.len() - 1).max(1);
    let (Some(a), Some(b)) = (points.get(after - 1), points.get(after)) else { return first.1 };
    let slope = (b.1 - a.1) / (b.0 as f64 - a.0 as f64);
    (a.1 + slope * (x as f64 - a.0 as f64)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_through_what_was_measured_and_on() {
        let points = [(1, 1.0), (4, 2.5), (8, 3.5)];
        for (x, y) in [(1, 1.0), (2, 1.5), (4, 2.5), (6, 3.0), (8, 3.5), (12, 4.5), (0, 0.5)] {
            assert!((line(&points, x) - y).abs() < 1e-12, "{x}");
        }
        assert_eq!((line(&[(3, 2.0)], 9), line(&[], 1)), (2.0, 0.0));
    }

    #[test]
    fn a_step_that_reads_and_writes_shares_its_fixed_part() {
        let costs = Costs {
            decode: vec![(1, [1.0, 2.0]), (8, [4.5, 9.0])],
            contexts: [10, 110],
            prefill: vec![(1, 1.0), (101, 21.0)],
            shared_ms: 0.5,
            past_ms: 0.01,
        };
        let ms = |rows, context, tokens, past| costs.ms(Shape { rows, context, tokens, past });
        assert!((ms(1, 60, 0, 0) - 1.5).abs() < 1e-12);
        assert!((ms(0, 0, 51, 0) - 11.0).abs() < 1e-12);
        assert!((ms(8, 10, 51, 100) - (4.5 + 11.0 + 1.0 - 0.5)).abs() < 1e-12);
        // However much is shared, both take as long as the longer.
        let greedy = Costs { shared_ms: 99.0, ..costs };
        assert!((greedy.ms(Shape { rows: 8, context: 10, tokens: 51, past: 0 }) - 11.0).abs() < 1e-12);
    }
}
