//! Error-compensated rounding (Frantar et al., 2023, arXiv:2210.17323).

use super::{
    Calibration, Grid, PackedMatrix, Settings, fit_grids, fit_range,
    linalg::{cholesky, inverse},
};

/// Share of the mean diagonal added to the Hessian, as in the paper: inputs that never vary would make it singular.
const DAMPING: f64 = 0.01;

// ANCHOR: gptq
/// Quantizes weights (`[rows, columns]`) so that the layer's *output* on `inputs` (`[examples, columns]`) changes
/// little: column by column, each column's rounding error is spread over the columns that are still to be rounded, in
/// proportion to how the inputs of the two columns vary together.
#[must_use]
pub fn gptq(weight: &[f32], columns: usize, inputs: &[f32], settings: &Settings) -> PackedMatrix {
    let mut hessian = Hessian::new(columns);
    hessian.add(inputs);
    Spread::new(&hessian).round(weight, settings, GroupGrids::Before)
}

impl Spread {
    /// The same for every matrix that has these inputs.
    #[must_use]
    pub fn round(&self, weight: &[f32], settings: &Settings, when: GroupGrids) -> PackedMatrix {
        let columns = self.columns;
        let mut grids = fit_grids(weight, columns, settings, Calibration::MinMax);
        let group_size = settings.granularity.group_size(columns);
        let groups = columns.div_ceil(group_size);
        let mut codes = vec![0; weight.len()];
        for (r, row) in weight.chunks_exact(columns).enumerate() {
            let mut row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
            for j in 0..columns {
                let index = if grids.len() == 1 { 0 } else { r * groups + j / group_size };
                if when == GroupGrids::InTurn && j.is_multiple_of(group_size) && grids.len() > 1 {
                    let end = (j + group_size).min(columns);
                    let block: Vec<f32> = row[j..end].iter().map(|w| *w as f32).collect();
                    grids[index] = fit_range(Calibration::MinMax, settings.scheme, settings.bits, &block);
                }
                let grid: Grid = grids[index];
                let code = grid.code(row[j] as f32);
                codes[r * columns + j] = code;
                let error = (row[j] - f64::from(grid.value(code))) / self.upper[j * columns + j];
                let shares = &self.upper[j * columns + j + 1..(j + 1) * columns];
                row[j + 1..].iter_mut().zip(shares).for_each(|(w, share)| *w -= error * share);
            }
        }
        PackedMatrix::from_codes(&codes, columns, settings, &grids)
    }
}
// ANCHOR_END: gptq

/// When the grid of a group of weights is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupGrids {
    /// Before anything is rounded.
    Before,
    /// When the group's turn comes, as in the paper: it reaches what the group has become, errors taken up included. With few
    /// levels those errors are large, so that steps grow from group to group.
    InTurn,
}

/// How the inputs of a layer vary together: `2 Xᵀ X`, the second derivative of the squared output error by the weights of a
/// row, `[columns, columns]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hessian {
    columns: usize,
    /// Its upper triangle; what is below is not kept up.
    upper: Vec<f64>,
}

impl Hessian {
    /// Of no inputs yet.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { columns, upper: vec![0.0; columns * columns] }
    }

    /// Takes more inputs into account, `[examples, columns]`.
    pub fn add(&mut self, inputs: &[f32]) {
        let n = self.columns;
        for x in inputs.chunks_exact(n) {
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            for (i, a) in x.iter().enumerate().filter(|(_, a)| **a != 0.0) {
                let twice = 2.0 * a;
                self.upper[i * n + i..(i + 1) * n].iter_mut().zip(&x[i..]).for_each(|(h, b)| *h += twice * b);
            }
        }
    }

    /// That of the same inputs after each column was multiplied by one of `by`.
    #[must_use]
    pub fn scaled(&self, by: &[f32]) -> Self {
        let n = self.columns;
        let cell = |(at, h): (usize, &f64)| h * f64::from(by[at / n]) * f64::from(by[at % n]);
        Self { columns: n, upper: self.upper.iter().enumerate().map(cell).collect() }
    }

    /// Sum of squares of what a matrix (`[rows, columns]`) makes of the inputs seen.
    #[must_use]
    pub fn output_power(&self, weight: &[f32]) -> f64 {
        let n = self.columns;
        let of_row = |row: &[f32]| {
            let row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
            // Off the diagonal every product stands for two.
            let from = |i: usize| {
                let beyond = self.upper[i * n + i + 1..(i + 1) * n].iter().zip(&row[i + 1..]);
                row[i] * (0.5 * self.upper[i * n + i] * row[i] + beyond.map(|(h, w)| h * w).sum::<f64>())
            };
            (0..n).map(from).sum::<f64>()
        };
        weight.chunks_exact(n).map(of_row).sum()
    }

    /// Channels of the inputs.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The length of each input channel over all examples, `sqrt(Σ x²)`.
    #[must_use]
    pub fn norms(&self) -> Vec<f64> {
        let n = self.columns;
        (0..n).map(|i| (0.5 * self.upper[i * n + i]).sqrt()).collect()
    }

    /// The whole of it with a little on the diagonal.
    pub(crate) fn damped(&self) -> Vec<f64> {
        let n = self.columns;
        let mean = (0..n).map(|i| self.upper[i * n + i]).sum::<f64>() / n.max(1) as f64;
        // Without any input, all directions count alike and nothing is made up for.
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        let cell = |i: usize, j: usize| self.upper[i.min(j) * n + i.max(j)] + if i == j { damping } else { 0.0 };
        (0..n * n).map(|at| cell(at / n, at % n)).collect()
    }
}

/// The upper triangle `U` with `H⁻¹ = Uᵀ U`. Its row `j`, divided by its diagonal, says how the error of column `j` is
/// spread over the columns after it, given that those before it are fixed: all inverses of the step-by-step method at
/// once.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    columns: usize,
    upper: Vec<f64>,
}

impl Spread {
    /// The triangle of these inputs; the unit matrix, which spreads nothing, where they are not finite.
    #[must_use]
    pub fn new(hessian: &Hessian) -> Self {
        Self::checked(hessian).unwrap_or_else(|| {
            let columns = hessian.columns;
            let cell = |i: usize| f64::from(u8::from(i % columns == i / columns));
            Self { columns, upper: (0..columns * columns).map(cell).collect() }
        })
    }

    /// The triangle of these inputs, or nothing where they are not finite: for whoever would not have a remedy fail silently.
    #[must_use]
    pub fn checked(hessian: &Hessian) -> Option<Self> {
        let columns = hessian.columns;
        let lower = inverse(&hessian.damped(), columns).and_then(|inverse| cholesky(&inverse, columns))?;
        let upper = (0..columns * columns).map(|i| lower[i % columns * columns + i / columns]).collect();
        Some(Self { columns, upper })
    }

    /// The triangle, `[columns, columns]`; what is below the diagonal is zero.
    pub(crate) fn upper(&self) -> &[f64] {
        &self.upper
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{
        quant::{Granularity, Scheme, outlier::output_error, remedy::scale_columns},
        rng,
    };

    const SCHEMES: [Scheme; 2] = [Scheme::Symmetric, Scheme::Affine];
    const GRANULARITIES: [Granularity; 3] = [Granularity::Tensor, Granularity::Channel, Granularity::Group(5)];

    /// Weights `[6, 12]` and inputs `[40, 12]` of which any two vary together.
    fn case(seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut rng = rng(seed, "gptq");
        let weight = (0..6 * 12).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut inputs = Vec::new();
        for _ in 0..40 {
            let common: f32 = rng.random_range(-1.0..1.0);
            inputs.extend((0..12).map(|i| common * (1.0 + i as f32 * 0.1) + rng.random_range(-0.5..0.5)));
        }
        (weight, inputs)
    }

    fn every_setting() -> impl Iterator<Item = Settings> {
        let all = SCHEMES.into_iter().flat_map(|scheme| GRANULARITIES.map(|granularity| (scheme, granularity)));
        all.flat_map(|(scheme, granularity)| [2, 3, 4, 8].map(|bits| Settings::weight_only(bits, scheme, granularity)))
    }

    #[test]
    fn correlated_inputs_lose_less_than_by_rounding_each_weight_alone() {
        for settings in every_setting() {
            let (mut nearest, mut compensated, mut worse) = (0.0, 0.0, 0);
            for seed in 0..25 {
                let (weight, inputs) = case(seed);
                let plain = PackedMatrix::quantize(&weight, 12, &settings).dequantize();
                let better = gptq(&weight, 12, &inputs, &settings).dequantize();
                let (a, b) = (output_error(&weight, &plain, &inputs, 12), output_error(&weight, &better, &inputs, 12));
                worse += usize::from(b > a);
                nearest += a;
                compensated += b;
            }
            // Column by column is greedy: now and then the last columns cannot take up what the first have left them.
            assert!(worse <= 3, "worse on {worse} of 25, {settings:?}");
            assert!(compensated < 0.5 * nearest, "{compensated} against {nearest}, {settings:?}");
        }
    }

    #[test]
    fn grids_in_turn_follow_the_weights_and_grids_before_do_not() {
        let (weight, inputs) = case(3);
        let mut hessian = Hessian::new(12);
        hessian.add(&inputs);
        let spread = Spread::new(&hessian);
        for granularity in GRANULARITIES {
            let settings = Settings::weight_only(2, Scheme::Symmetric, granularity);
            let plain = PackedMatrix::quantize(&weight, 12, &settings).scales;
            assert_eq!(spread.round(&weight, &settings, GroupGrids::Before).scales, plain);
            let moved = spread.round(&weight, &settings, GroupGrids::InTurn).scales != plain;
            // A channel is a group that begins before anything has moved.
            assert_eq!(moved, matches!(granularity, Granularity::Group(_)));
        }
    }

    #[test]
    fn inputs_that_have_nothing_in_common_give_plain_rounding() {
        let (weight, _) = case(0);
        // One input at a time: the Hessian is a multiple of the unit matrix.
        let unit: Vec<f32> = (0..12 * 12).map(|i| if i % 12 == i / 12 { 1.0 } else { 0.0 }).collect();
        for settings in every_setting() {
            let plain = PackedMatrix::quantize(&weight, 12, &settings);
            for inputs in [&unit[..], &[], &[f32::NAN; 12]] {
                assert_eq!(gptq(&weight, 12, inputs, &settings), plain);
            }
        }
    }

    #[test]
    fn the_power_of_an_output_is_that_of_the_outputs_computed() {
        for seed in 0..5 {
            let (weight, inputs) = case(seed);
            let mut hessian = Hessian::new(12);
            // In parts, as a long text comes.
            inputs.chunks(5 * 12).for_each(|part| hessian.add(part));
            let zero = vec![0.0; weight.len()];
            let plain = output_error(&weight, &zero, &inputs, 12);
            assert!((hessian.output_power(&weight) / plain - 1.0).abs() < 1e-5, "{plain}");
            // Scaled columns, one of them away: what the scaled inputs would have shown.
            let by: Vec<f32> = (0..12).map(|i| if i == 4 { 0.0 } else { 0.5 + i as f32 }).collect();
            let mut of_scaled = Hessian::new(12);
            of_scaled.add(&scale_columns(&inputs, &by));
            let scaled = hessian.scaled(&by).output_power(&weight);
            assert!((scaled / of_scaled.output_power(&weight) - 1.0).abs() < 1e-5, "{scaled}");
        }
    }

    /// The step-by-step method (optimal brain quantization in a fixed order, arXiv:2208.11580): after every column the
    /// Hessian of the remaining ones is inverted anew.
    fn literal(weight: &[f32], columns: usize, inputs: &[f32], grids: &[Grid]) -> Vec<f32> {
        let mut hessian = Hessian::new(columns);
        hessian.add(inputs);
        let hessian = hessian.damped();
        let mut rounded = Vec::new();
        for (row, grid) in weight.chunks(columns).zip(grids) {
            let mut row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
            for j in 0..columns {
                let left = columns - j;
                let part: Vec<f64> =
                    (0..left * left).map(|i| hessian[(j + i / left) * columns + j + i % left]).collect();
                let inverse = inverse(&part, left).expect("positive definite");
                let value = grid.value(grid.code(row[j] as f32));
                let error = (row[j] - f64::from(value)) / inverse[0];
                for k in 0..left {
                    row[j + k] -= error * inverse[k * left];
                }
                rounded.push(value);
            }
        }
        rounded
    }

    #[test]
    fn one_factorization_stands_for_an_inverse_at_every_step() {
        for seed in 0..10 {
            let (weight, inputs) = case(seed);
            let settings = Settings::weight_only(3, Scheme::Affine, Granularity::Channel);
            let grids = fit_grids(&weight, 12, &settings, Calibration::MinMax);
            let (fast, slow) =
                (gptq(&weight, 12, &inputs, &settings).dequantize(), literal(&weight, 12, &inputs, &grids));
            for (fast, slow) in fast.iter().zip(&slow) {
                assert!((fast - slow).abs() < 1e-5, "{fast} {slow}");
            }
        }
    }
}
