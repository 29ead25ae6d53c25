//! Operations on one row: of a tensor, or of what a fused kernel holds between two of its steps.

/// Of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// The number itself, laid out anew.
    Copy,
    /// `max(x, 0)`.
    Relu,
    /// `x²`.
    Square,
    /// `1 / √x`.
    Rsqrt,
    /// `eˣ`.
    Exp,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `x · s`.
    Scale(f32),
    /// `x + s`.
    Offset(f32),
}

/// Of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Subtract,
    /// `a · b`.
    Multiply,
    /// `a / b`.
    Divide,
}

/// Of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Largest,
}

/// A row that is read: its numbers, or one number for all of it.
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// As many as are written.
    Values(&'a [f32]),
    /// The same everywhere.
    One(f32),
}

/// `out = op(x)`.
pub fn unary(op: Unary, x: Row, out: &mut [f32]) {
    match op {
        Unary::Copy => map(x, out, |x| x),
        Unary::Relu => map(x, out, |x| x.max(0.0)),
        Unary::Square => map(x, out, |x| x * x),
        Unary::Rsqrt => map(x, out, |x| x.sqrt().recip()),
        Unary::Exp => map(x, out, f32::exp),
        Unary::Sigmoid => map(x, out, |x| 1.0 / (1.0 + (-x).exp())),
        Unary::Scale(by) => map(x, out, |x| x * by),
        Unary::Offset(by) => map(x, out, |x| x + by),
    }
}

/// `out = a op b`.
pub fn binary(op: Binary, a: Row, b: Row, out: &mut [f32]) {
    match op {
        Binary::Add => zip(a, b, out, |a, b| a + b),
        Binary::Subtract => zip(a, b, out, |a, b| a - b),
        Binary::Multiply => zip(a, b, out, |a, b| a * b),
        Binary::Divide => zip(a, b, out, |a, b| a / b),
    }
}

fn map(x: Row, out: &mut [f32], of: impl Fn(f32) -> f32) {
    match x {
        Row::Values(x) => out.iter_mut().zip(x).for_each(|(out, x)| *out = of(*x)),
        Row::One(x) => out.fill(of(x)),
    }
}

fn zip(a: Row, b: Row, out: &mut [f32], of: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        (Row::Values(a), Row::Values(b)) => {
            out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = of(*a, *b));
        }
        (Row::Values(a), Row::One(b)) => out.iter_mut().zip(a).for_each(|(out, a)| *out = of(*a, b)),
        (Row::One(a), Row::Values(b)) => out.iter_mut().zip(b).for_each(|(out, b)| *out = of(a, *b)),
        (Row::One(a), Row::One(b)) => out.fill(of(a, b)),
    }
}

/// Sums keep eight partial sums, in this order on every machine.
#[must_use]
pub fn reduce(op: Reduce, x: &[f32]) -> f32 {
    if op == Reduce::Largest {
        return x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    }
    let (eights, rest) = x.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, x)| *sum += x);
    }
    let sum = sums.iter().sum::<f32>() + rest.iter().sum::<f32>();
    if op == Reduce::Mean { sum / x.len() as f32 } else { sum }
}

/// The largest of each 2x2 square of a plane `[height, width]`; an odd last row or column is left out.
pub fn pool(plane: &[f32], width: usize, out: &mut [f32]) {
    let half = width / 2;
    for (y, line) in out.chunks_exact_mut(half.max(1)).enumerate() {
        let Some(rows) = plane.get(2 * y * width..(2 * y + 2) * width) else { return };
        for (x, out) in line.iter_mut().enumerate() {
            let at = |i: usize| rows[2 * x + i];
            *out = at(0).max(at(1)).max(at(width)).max(at(width + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_single_numbers_give_the_same() {
        let (a, mut one, mut other) = ([3.0; 5], [0.0; 5], [0.0; 5]);
        let b = [1.0, -2.0, 4.0, 0.5, 8.0];
        for op in [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Divide] {
            binary(op, Row::Values(&a), Row::Values(&b), &mut one);
            binary(op, Row::One(3.0), Row::Values(&b), &mut other);
            assert_eq!(one, other);
            binary(op, Row::Values(&b), Row::Values(&a), &mut one);
            binary(op, Row::Values(&b), Row::One(3.0), &mut other);
            assert_eq!(one, other);
            binary(op, Row::One(2.0), Row::One(4.0), &mut one);
            assert!(one.iter().all(|x| *x == one[0]));
        }
        unary(Unary::Scale(2.0), Row::Values(&b), &mut one);
        assert_eq!(one, [2.0, -4.0, 8.0, 1.0, 16.0]);
        unary(Unary::Rsqrt, Row::One(4.0), &mut one);
        assert_eq!(one, [0.5; 5]);
    }

    #[test]
    fn reductions_and_pooling_by_hand() {
        let x: Vec<f32> = (1..=11).map(|x| x as f32).collect();
        assert_eq!([Reduce::Sum, Reduce::Mean, Reduce::Largest].map(|op| reduce(op, &x)), [66.0, 6.0, 11.0]);
        let mut out = [0.0; 2];
        // Three rows of five: the last row and the last column are left out.
        pool(&[1.0, 5.0, 2.0, 0.0, 9.0, 3.0, 4.0, 7.0, 8.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0], 5, &mut out);
        assert_eq!(out, [5.0, 8.0]);
    }
}
