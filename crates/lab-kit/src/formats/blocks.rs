//! Formats of four bits, in which neighbours share a scale.

use super::layout::{Layout, power, round};

/// Numbers that share a scale.
pub(super) const MX: usize = 32;
pub(super) const NV: usize = 16;

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0_f32, |most, x| most.max(x.abs()))
}

// ANCHOR: mxfp4
/// Blocks of 32 share a power of two, chosen so that the largest number falls between 4 and 8; what exceeds 6 is cut.
pub(super) fn round_mxfp4(values: &mut [f32]) {
    for block in values.chunks_mut(MX) {
        let most = largest(block);
        if most == 0.0 || !most.is_finite() {
            continue;
        }
        let exponent = (most.to_bits() >> 23) as i32 - 127 - 2;
        let scale = power(exponent);
        block.iter_mut().for_each(|x| *x = scale * round(*x / scale, &Layout::E2M1));
    }
}
// ANCHOR_END: mxfp4

/// Blocks of 16 share a scale in E4M3 that takes the largest number to 6; a scale of the whole tensor keeps those scales in
/// range.
pub(super) fn round_nvfp4(values: &mut [f32]) {
    let most = largest(values);
    if most == 0.0 || !most.is_finite() {
        return;
    }
    let whole = most / (6.0 * Layout::E4M3.largest);
    for block in values.chunks_mut(NV) {
        let scale = whole * round(largest(block) / 6.0 / whole, &Layout::E4M3);
        if scale == 0.0 {
            block.fill(0.0);
        } else {
            block.iter_mut().for_each(|x| *x = scale * round(*x / scale, &Layout::E2M1));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn a_block_by_hand() {
        // The largest, 12, lies between 8 and 16: the scale is 2, and 12 is 6 of them.
        let mut block = [12.0, 5.2, -1.0, 0.4, 0.6, 0.0];
        round_mxfp4(&mut block);
        assert_eq!(block, [12.0, 6.0, -1.0, 0.0, 1.0, 0.0]);
        // 15 would be 7.5 scales: it is cut to 6, while NVFP4 fits its scale to it.
        let (mut mx, mut nv) = ([15.0], [15.0]);
        round_mxfp4(&mut mx);
        round_nvfp4(&mut nv);
        assert_eq!(mx, [12.0]);
        assert!((nv[0] - 15.0).abs() < 1e-4, "{}", nv[0]);
    }

    #[test]
    fn zeros_and_numbers_that_are_none_are_left_and_finer_scales_err_less() {
        let mut odd = [0.0, f32::NAN];
        round_mxfp4(&mut odd);
        assert!(odd[0] == 0.0 && odd[1].is_nan());
        let mut zeros = [0.0; 40];
        round_nvfp4(&mut zeros);
        round_mxfp4(&mut zeros);
        assert_eq!(zeros, [0.0; 40]);
        let mut rng = crate::rng(0, "blocks");
        let values: Vec<f32> = (0..3200).map(|_| rng.random_range(-1.0..1.0_f32).powi(3)).collect();
        let error = |call: fn(&mut [f32])| {
            let mut rounded = values.clone();
            call(&mut rounded);
            rounded.iter().zip(&values).map(|(a, b)| f64::from((a - b).powi(2))).sum::<f64>()
        };
        assert!(error(round_nvfp4) < 0.9 * error(round_mxfp4));
    }
}
