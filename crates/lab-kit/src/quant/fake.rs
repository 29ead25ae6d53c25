//! Fake quantization on tensors: values are rounded to a grid in the forward pass, and gradients pass straight through.
//!
//! The grids are those of [`Grid`], and forward passes agree with it; what is new here is that one can train through
//! them (Jacob et al., 2018, arXiv:1712.05877; the straight-through estimator is Bengio et al., 2013, arXiv:1308.3432).

use burn::tensor::{Device, Tensor, TensorData};
use lab_api::LabError;

use super::{Grid, Scheme};
use crate::mlp::read;

// ANCHOR: straight_through
/// `rounded` on the way forward, `values` on the way back: the gradient of the difference is cut off, so that the
/// gradient by `values` is 1 although rounding is flat almost everywhere.
#[must_use]
pub fn straight_through(values: Tensor<2>, rounded: Tensor<2>) -> Tensor<2> {
    let error = (rounded - values.clone()).detach();
    values + error
}

/// Rounds to the grid as [`Grid::code`] does, and stays a float.
///
/// By the values, the gradient is 1 where the nearest code exists and 0 where it was clipped. By the scale, where it is
/// being learned, it is the one of learned step size quantization (Esser et al., 2020, arXiv:1902.08153): the rounding
/// error in steps inside the range, the code at its ends. Both follow from the four lines below.
#[must_use]
pub fn fake_quantize(values: Tensor<2>, grid: &FakeGrid) -> Tensor<2> {
    let steps = values / grid.scale.clone();
    let rounded = straight_through(steps.clone(), steps.round());
    let codes = grid.shifted(rounded, 1.0).clamp(grid.lowest, grid.highest);
    grid.shifted(codes, -1.0) * grid.scale.clone()
}
// ANCHOR_END: straight_through

/// The grids of a weight matrix `[inputs, outputs]` (as Burn keeps it) or of activations `[batch, features]`.
#[derive(Debug, Clone)]
pub struct FakeGrid {
    /// `[1, 1]` for one scale in all, `[1, outputs]` for one in each output channel.
    pub scale: Tensor<2>,
    /// As `scale`; `None` where the grid is symmetric and zero has code 0.
    pub zero_point: Option<Tensor<2>>,
    /// Smallest code, counted from the zero point where the grid is symmetric.
    pub lowest: f32,
    /// Largest code, likewise.
    pub highest: f32,
}

impl FakeGrid {
    // ANCHOR: fit
    /// The narrowest grids of `bits` bits that reach from `min` to `max` and hold zero: [`Grid::fit`] on a device.
    /// Without a gradient: how a range follows its weights is not learned from the loss.
    #[must_use]
    pub fn fit(scheme: Scheme, bits: u32, min: Tensor<2>, max: Tensor<2>) -> Self {
        let (min, max) = (min.inner().clamp_max(0.0), max.inner().clamp_min(0.0));
        // Where all values are zero any scale will do, except zero.
        let safe = |scale: Tensor<2>| {
            let zero = scale.clone().lower_elem(f32::MIN_POSITIVE);
            scale.mask_fill(zero, 1.0)
        };
        let (lowest, highest) = ends(scheme, bits);
        match scheme {
            Scheme::Symmetric => {
                let scale = safe(max.max_pair(-min) / highest);
                Self { scale, zero_point: None, lowest, highest }
            }
            Scheme::Affine => {
                let scale = safe((max - min.clone()) / highest);
                let zero_point = (-min / scale.clone()).round().clamp(lowest, highest);
                Self { scale, zero_point: Some(zero_point), lowest, highest }
            }
        }
    }

    /// Grids that reach the extremes of a weight matrix `[inputs, outputs]` as it is now: of the whole one, or of each
    /// output channel.
    #[must_use]
    pub fn of_weight(scheme: Scheme, bits: u32, weight: Tensor<2>, per_channel: bool) -> Self {
        let weight = weight.inner();
        let (min, max) = (weight.clone().min_dim(0), weight.max_dim(0)); // [1, outputs]
        if per_channel {
            Self::fit(scheme, bits, min, max)
        } else {
            Self::fit(scheme, bits, min.min_dim(1), max.max_dim(1))
        }
    }
    // ANCHOR_END: fit

    /// The same grids as plain ones, in the order of the output channels, on a device.
    #[must_use]
    pub fn from_grids(scheme: Scheme, bits: u32, grids: &[Grid], device: &Device) -> Self {
        let row = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [1, grids.len()]), device);
        let (lowest, highest) = ends(scheme, bits);
        let zero_points = || grids.iter().map(|grid| f32::from(grid.zero_point)).collect();
        Self {
            scale: row(grids.iter().map(|grid| grid.scale).collect()),
            zero_point: (scheme == Scheme::Affine).then(|| row(zero_points())),
            lowest,
            highest,
        }
    }

    /// Reads the grids back as plain ones: what a deployed network is packed with.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn grids(&self) -> Result<Vec<Grid>, LabError> {
        let scales = read(self.scale.clone().inner()).await?;
        let zero_points = match &self.zero_point {
            Some(zero_point) => read(zero_point.clone().inner()).await?,
            // Plain codes are unsigned: zero lies in the middle.
            None => vec![self.highest + 1.0; scales.len()],
        };
        let lowest = if self.zero_point.is_some() { 0 } else { 1 };
        let highest = if self.zero_point.is_some() { self.highest as u8 } else { 2 * self.highest as u8 + 1 };
        let grid = |(scale, zero_point): (f32, f32)| Grid { scale, zero_point: zero_point as u8, lowest, highest };
        Ok(scales.into_iter().zip(zero_points).map(grid).collect())
    }

    fn shifted(&self, codes: Tensor<2>, sign: f32) -> Tensor<2> {
        match &self.zero_point {
            Some(zero_point) if sign > 0.0 => codes + zero_point.clone(),
            Some(zero_point) => codes - zero_point.clone(),
            None => codes,
        }
    }
}

/// Smallest and largest code.
fn ends(scheme: Scheme, bits: u32) -> (f32, f32) {
    let codes = f32::from((1_u16 << bits.clamp(2, 8)) - 1);
    match scheme {
        Scheme::Symmetric => (-(codes - 1.0) / 2.0, (codes - 1.0) / 2.0),
        Scheme::Affine => (0.0, codes),
    }
}

// ANCHOR: moving_range
/// The range of an activation, followed during training by an exponential moving average of each batch's extremes
/// (Jacob et al., 2018, arXiv:1712.05877, section 3.1).
#[derive(Debug, Clone)]
pub struct MovingRange {
    /// `[1, 1]`.
    min: Tensor<2>,
    /// `[1, 1]`.
    max: Tensor<2>,
}

impl MovingRange {
    /// Share of a new batch in the average; PyTorch's observer has the same.
    pub const RATE: f32 = 0.01;

    /// Starts from a range found by calibration.
    #[must_use]
    pub fn new(min: f32, max: f32, device: &Device) -> Self {
        let one = |value: f32| Tensor::from_data(TensorData::new(vec![value], [1, 1]), device);
        Self { min: one(min), max: one(max) }
    }

    /// Lets a batch move the range a little.
    pub fn observe(&mut self, batch: Tensor<2>) {
        let batch = batch.inner();
        let (min, max) = (batch.clone().min().reshape([1, 1]), batch.max().reshape([1, 1]));
        self.min = self.min.clone() * (1.0 - Self::RATE) + min * Self::RATE;
        self.max = self.max.clone() * (1.0 - Self::RATE) + max * Self::RATE;
    }

    /// The grid that reaches it.
    #[must_use]
    pub fn grid(&self, bits: u32) -> FakeGrid {
        FakeGrid::fit(Scheme::Affine, bits, self.min.clone(), self.max.clone())
    }
}
// ANCHOR_END: moving_range

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::Rng;

    use super::*;
    use crate::{
        quant::{Calibration, Granularity, PackedMatrix, Settings, fit_grids, fit_range},
        rng,
        testing::ready as now,
    };

    fn tensor(values: &[f32], columns: usize, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / columns, columns]), device)
    }

    fn random(seed: u64, count: usize) -> Vec<f32> {
        let mut rng = rng(seed, "fake");
        (0..count).map(|_| rng.random_range(-2.0..2.0)).collect()
    }

    /// `[rows, columns]` to `[columns, rows]`.
    fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
        (0..columns).flat_map(|c| values.chunks(columns).map(move |row| row[c])).collect()
    }

    #[test]
    fn forward_is_what_packed_weights_stand_for() {
        let device = Device::flex();
        for seed in 0..20 {
            for scheme in [Scheme::Symmetric, Scheme::Affine] {
                for bits in [2, 3, 4, 8] {
                    for per_channel in [false, true] {
                        let weight = random(seed, 7 * 13); // [outputs 7, inputs 13]
                        let granularity = if per_channel { Granularity::Channel } else { Granularity::Tensor };
                        let settings = Settings::weight_only(bits, scheme, granularity);
                        let packed = PackedMatrix::quantize(&weight, 13, &settings);
                        let burn = tensor(&transposed(&weight, 13), 7, &device); // [inputs, outputs]
                        let grid = FakeGrid::of_weight(scheme, bits, burn.clone(), per_channel);
                        let fake = now(read(fake_quantize(burn, &grid))).expect("reads");
                        assert_eq!(transposed(&fake, 7), packed.dequantize(), "{settings:?}");
                        let plain = fit_grids(&weight, 13, &settings, Calibration::MinMax);
                        assert_eq!(now(grid.grids()).expect("reads"), plain, "{settings:?}");
                        let again = FakeGrid::from_grids(scheme, bits, &plain, &device);
                        assert_eq!(now(again.grids()).expect("reads"), plain, "{settings:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn zeros_have_a_grid_too() {
        let device = Device::flex();
        for scheme in [Scheme::Symmetric, Scheme::Affine] {
            let zeros = tensor(&[0.0; 6], 3, &device);
            let grid = FakeGrid::of_weight(scheme, 4, zeros.clone(), true);
            assert_eq!(now(read(fake_quantize(zeros, &grid))).expect("reads"), [0.0; 6]);
        }
    }

    #[test]
    fn the_gradient_is_one_inside_and_zero_where_clipped() {
        let device = Device::flex().autodiff();
        for scheme in [Scheme::Symmetric, Scheme::Affine] {
            let values = random(3, 400);
            // A grid that reaches half of them.
            let grid = fit_range(Calibration::MinMax, scheme, 3, &[-1.0, 0.8]);
            let fake = FakeGrid::from_grids(scheme, 3, &[grid], &device);
            let x = tensor(&values, 20, &device).require_grad();
            // Each with a weight of its own, so that a mixed-up gradient shows.
            let weights: Vec<f32> = (0..400).map(|i| 1.0 + i as f32 * 0.01).collect();
            let loss = (fake_quantize(x.clone(), &fake) * tensor(&weights, 20, &device)).sum();
            let gradient = x.grad(&loss.backward()).expect("tracked");
            let gradient = now(read(gradient)).expect("reads");
            let (mut inside, mut clipped) = (0, 0);
            for ((value, weight), gradient) in values.iter().zip(&weights).zip(&gradient) {
                let code = (value / grid.scale).round_ties_even() + f32::from(grid.zero_point);
                let exists = (f32::from(grid.lowest)..=f32::from(grid.highest)).contains(&code);
                let expected = if exists { *weight } else { 0.0 };
                assert!((gradient - expected).abs() < 1e-4, "{value}: {gradient}, not {expected}");
                if exists { inside += 1 } else { clipped += 1 }
            }
            assert!(inside > 50 && clipped > 50);
        }
    }

    #[test]
    fn the_plain_estimator_knows_no_ends() {
        let device = Device::flex().autodiff();
        let x = tensor(&[-7.3, 0.2, 9.9], 3, &device).require_grad();
        let y = straight_through(x.clone(), x.clone().round().clamp(-1.0, 1.0));
        assert_eq!(now(read(y.clone().inner())).expect("reads"), [-1.0, 0.0, 1.0]);
        let gradient = x.grad(&y.sum().backward()).expect("tracked");
        assert_eq!(now(read(gradient)).expect("reads"), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn the_gradient_of_a_learned_step_is_the_published_one() {
        let device = Device::flex().autodiff();
        let scale = 0.3_f32;
        let scale_tensor = tensor(&[scale], 1, &device).require_grad();
        // 3 bits: codes from -3 to 3.
        let grid = FakeGrid { scale: scale_tensor.clone(), zero_point: None, lowest: -3.0, highest: 3.0 };
        let values = random(5, 60);
        for value in values {
            let y = fake_quantize(tensor(&[value], 1, &device), &grid).sum();
            let gradient = now(read(scale_tensor.grad(&y.backward()).expect("tracked"))).expect("reads")[0];
            let steps = value / scale;
            // Equation 3 of arXiv:1902.08153.
            let expected = match steps.round_ties_even() {
                low if low < -3.0 => -3.0,
                high if high > 3.0 => 3.0,
                code => code - steps,
            };
            assert!((gradient - expected).abs() < 1e-5, "{value}: {gradient}, not {expected}");
        }
    }

    #[test]
    fn a_moving_range_nears_what_it_sees() {
        let device = Device::flex();
        let mut range = MovingRange::new(0.0, 10.0, &device);
        let batch = tensor(&[-1.0, 0.5, 2.0, 1.0], 2, &device);
        range.observe(batch.clone());
        let grid = now(range.grid(8).grids()).expect("reads")[0];
        assert!((grid.scale - (0.01 + 9.92) / 255.0).abs() < 1e-5);
        (0..2000).for_each(|_| range.observe(batch.clone()));
        let grid = now(range.grid(8).grids()).expect("reads")[0];
        assert!((grid.scale - 3.0 / 255.0).abs() < 1e-5 && grid.zero_point == 85);
    }

    /// The worked example of the chapter on quantization-aware training.
    #[test]
    fn a_weight_between_two_levels_swings_about_the_threshold() {
        let device = Device::flex().autodiff();
        let grid = FakeGrid { scale: tensor(&[0.5], 1, &device), zero_point: None, lowest: -1.0, highest: 1.0 };
        let (mut weight, mut seen) = (0.22_f32, Vec::new());
        for _ in 0..22 {
            let w = tensor(&[weight], 1, &device).require_grad();
            let rounded = fake_quantize(w.clone(), &grid);
            seen.push(now(read(rounded.clone().inner())).expect("reads")[0]);
            let loss = (rounded - 0.4).powi_scalar(2).sum() / 2.0;
            weight -= 0.1 * now(read(w.grad(&loss.backward()).expect("tracked"))).expect("reads")[0];
        }
        assert_eq!(seen[..2], [0.0, 0.5]);
        // Around the threshold 0.25, never near a level; the level taken is the optimum 0.4 on average.
        assert!((weight - 0.25).abs() < 0.05, "{weight}");
        let mean = seen[2..].iter().sum::<f32>() / 20.0;
        assert!((mean - 0.4).abs() < 0.03, "{mean}");
    }
}
