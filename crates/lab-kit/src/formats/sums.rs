//! Sums whose total is kept in few bits.

use super::{Format, Layout, layout::round};

fn one(format: Format, x: f32) -> f32 {
    format.layout().map_or(x, |layout: Layout| round(x, &layout))
}

// ANCHOR: sums
/// Adds one number after the other; the total is rounded each time. It stops growing where a number is less than half a gap.
#[must_use]
pub fn naive_sum(format: Format, values: &[f32]) -> f32 {
    values.iter().fold(0.0, |total, x| one(format, total + one(format, *x)))
}

/// Adds 32 at a time in the format, and the totals of those in FP32.
#[must_use]
pub fn chunked_sum(format: Format, values: &[f32]) -> f32 {
    values.chunks(32).map(|chunk| naive_sum(format, chunk)).sum()
}
// ANCHOR_END: sums

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_stop_where_a_gap_is_twice_the_number() {
        let ones = vec![1.0; 4096];
        assert_eq!(naive_sum(Format::Fp16, &ones), 2048.0);
        assert_eq!(naive_sum(Format::Bf16, &ones[..1024]), 256.0);
        assert_eq!((chunked_sum(Format::Bf16, &ones), chunked_sum(Format::Fp16, &ones)), (4096.0, 4096.0));
        let mut small = vec![0.001; 1001];
        small[0] = 1.0;
        assert_eq!((naive_sum(Format::Bf16, &small), naive_sum(Format::Fp16, &small)), (1.0, 1.976_562_5));
        assert!((naive_sum(Format::Fp32, &small) - 2.0).abs() < 1e-4);
    }
}
