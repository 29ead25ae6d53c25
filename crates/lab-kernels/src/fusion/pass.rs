//! One operation over whole buffers: what a library launches. Tests count the launches and the numbers that each touches.

use wide::f32x4;

use super::vector::{largest, part, sum};

#[cfg(test)]
thread_local! {
    /// Launches, and numbers read or written.
    pub(super) static COUNT: std::cell::Cell<(usize, usize)> = const { std::cell::Cell::new((0, 0)) };
}

/// A launch that touches so many numbers.
pub(super) fn count(_touched: usize) {
    #[cfg(test)]
    COUNT.with(|count| count.set((count.get().0 + 1, count.get().1 + _touched)));
}

#[inline(always)]
pub(super) fn each(x: &[f32], y: &mut [f32], of: impl Fn(f32x4) -> f32x4) {
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<4>(), y.as_chunks_mut::<4>());
    for (x, y) in x.iter().zip(y) {
        *y = of(f32x4::new(*x)).to_array();
    }
    let count = x_rest.len().min(y_rest.len());
    y_rest[..count].copy_from_slice(&of(part(x_rest)).to_array()[..count]);
}

#[inline(always)]
pub(super) fn each_of_two(a: &[f32], b: &[f32], y: &mut [f32], of: impl Fn(f32x4, f32x4) -> f32x4) {
    let ((a, a_rest), (b, b_rest), (y, y_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>(), y.as_chunks_mut::<4>());
    for ((a, b), y) in a.iter().zip(b).zip(y) {
        *y = of(f32x4::new(*a), f32x4::new(*b)).to_array();
    }
    let count = a_rest.len().min(b_rest.len()).min(y_rest.len());
    y_rest[..count].copy_from_slice(&of(part(a_rest), part(b_rest)).to_array()[..count]);
}

/// `y = of(x)`: two touches.
#[inline(always)]
pub(super) fn unary(x: &[f32], y: &mut [f32], of: impl Fn(f32x4) -> f32x4) {
    count(2 * x.len());
    each(x, y, of);
}

/// `y = of(y)`.
#[inline(always)]
pub(super) fn unary_in_place(y: &mut [f32], of: impl Fn(f32x4) -> f32x4) {
    count(2 * y.len());
    let (fours, rest) = y.as_chunks_mut::<4>();
    for y in fours {
        *y = of(f32x4::new(*y)).to_array();
    }
    let count = rest.len();
    let last = of(part(rest)).to_array();
    rest.copy_from_slice(&last[..count]);
}

/// `y = of(a, b)`: three touches.
#[inline(always)]
pub(super) fn binary(a: &[f32], b: &[f32], y: &mut [f32], of: impl Fn(f32x4, f32x4) -> f32x4) {
    count(3 * a.len());
    each_of_two(a, b, y, of);
}

/// `y = of(x, a number of the row)`: two touches, and the few numbers of the rows, which nobody counts.
#[inline(always)]
pub(super) fn with_rows(x: &[f32], of_row: &[f32], y: &mut [f32], of: impl Fn(f32x4, f32x4) -> f32x4) {
    count(2 * x.len());
    let row = (x.len() / of_row.len().max(1)).max(1);
    for ((x, y), by) in x.chunks(row).zip(y.chunks_mut(row)).zip(of_row) {
        let by = f32x4::splat(*by);
        each(x, y, |x| of(x, by));
    }
}

/// `y = of(x, a number of the column)`: two touches.
#[inline(always)]
pub(super) fn with_columns(x: &[f32], of_column: &[f32], y: &mut [f32], of: impl Fn(f32x4, f32x4) -> f32x4) {
    count(2 * x.len());
    let row = of_column.len().max(1);
    for (x, y) in x.chunks(row).zip(y.chunks_mut(row)) {
        each_of_two(x, of_column, y, &of);
    }
}

/// Of each row its largest number: one touch.
pub(super) fn rows_largest(x: &[f32], row: usize, y: &mut [f32]) {
    count(x.len());
    x.chunks(row.max(1)).zip(y).for_each(|(x, y)| *y = largest(x));
}

/// Of each row its sum: one touch.
pub(super) fn rows_sum(x: &[f32], row: usize, y: &mut [f32]) {
    count(x.len());
    x.chunks(row.max(1)).zip(y).for_each(|(x, y)| *y = sum(x, |x| x));
}

/// On a number a row: a launch, and no touch that counts.
pub(super) fn of_rows(y: &mut [f32], of: impl Fn(f32) -> f32) {
    count(0);
    y.iter_mut().for_each(|y| *y = of(*y));
}
