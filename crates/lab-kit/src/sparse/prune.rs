//! Which weights of a trained matrix go, judged by what flows through it, and how the others make up for them.

use lab_api::LabError;

use super::{Pattern, Sharing, keep};
use crate::quant::{Calibration, Hessian, Settings, Spread, fit_grids};

// ANCHOR: wanda
/// Wanda's score (Sun et al., 2024, arXiv:2306.11695) of each weight of `[rows, columns]`: its size times the length of the
/// input that it meets, `norms` `[columns]`.
#[must_use]
pub fn wanda_scores(weight: &[f32], columns: usize, norms: &[f64]) -> Vec<f32> {
    let score = |row: &[f32]| row.iter().zip(norms).map(|(w, norm)| w.abs() * *norm as f32).collect::<Vec<f32>>();
    weight.chunks_exact(columns).flat_map(score).collect()
}
// ANCHOR_END: wanda

/// Columns that SparseGPT decides at once.
const BLOCK: usize = 64;

/// How kept weights are rounded in the same sweep: bits and grids as for quantization.
pub type Rounding<'a> = Option<&'a Settings>;

/// SparseGPT (Frantar and Alistarh, 2023, arXiv:2301.00774) for all matrices that share an input.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseGpt {
    columns: usize,
    spread: Spread,
}

/// Who decides which weights go.
enum Choice<'a> {
    /// Somebody did.
    Given(&'a [bool]),
    /// What removing a weight costs once the later columns have made up for it.
    Cost(Pattern, Sharing),
}

/// Weights after a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Swept {
    /// `[rows, columns]`.
    pub weights: Vec<f32>,
    /// Which were kept.
    pub kept: Vec<bool>,
    /// `Σ e²` over all steps: the squared error of the output on the inputs, those and the damping counted twice as in the
    /// Hessian.
    pub error: f64,
}

impl SparseGpt {
    /// From how the inputs vary together.
    ///
    /// # Errors
    /// [`LabError::Refused`] where they are not finite: falling back to the unit matrix would make it plain magnitude pruning
    /// without a word.
    pub fn new(hessian: &Hessian, what: &str) -> Result<Self, LabError> {
        let spread = Spread::checked(hessian).ok_or_else(|| LabError::Refused {
            why: format!("the inputs of {what} are not finite, so that their Hessian has no inverse"),
        })?;
        Ok(Self { columns: hessian.columns(), spread })
    }

    /// Prunes `weight` `[rows, columns]`. `update`: whether later columns make up for what earlier ones lost.
    #[must_use]
    pub fn prune(&self, weight: &[f32], pattern: Pattern, sharing: Sharing, update: bool, rounding: Rounding) -> Swept {
        self.sweep(weight, &Choice::Cost(pattern, sharing), update, rounding)
    }

    /// The same where the mask is given, by whatever score.
    #[must_use]
    pub fn update(&self, weight: &[f32], kept: &[bool], rounding: Rounding) -> Swept {
        self.sweep(weight, &Choice::Given(kept), true, rounding)
    }

    /// Column by column from the left: a weight that goes leaves an error, which the columns to its right take up.
    fn sweep(&self, weight: &[f32], choice: &Choice, update: bool, rounding: Rounding) -> Swept {
        let (n, upper) = (self.columns, self.spread.upper());
        let diagonal: Vec<f64> = (0..n).map(|j| upper[j * n + j]).collect();
        let grids = rounding.map(|settings| fit_grids(weight, n, settings, Calibration::MinMax));
        let size = rounding.map_or(n, |settings| settings.granularity.group_size(n));
        let mut w: Vec<f64> = weight.iter().map(|w| f64::from(*w)).collect();
        let mut kept = match choice {
            Choice::Given(kept) => kept.to_vec(),
            Choice::Cost(..) => vec![true; weight.len()],
        };
        let mut error = 0.0;
        // The diagonal of the Cholesky factor, squared, is the entry of the inverse once all columns to the left are settled.
        let cost = |w: f64, j: usize| (w / diagonal[j]).powi(2) as f32;
        for block in (0..n).step_by(BLOCK) {
            let end = (block + BLOCK).min(n);
            if let Choice::Cost(Pattern::Free(sparsity), sharing) = choice {
                let of = |row: &[f64]| (block..end).map(|j| cost(row[j], j)).collect::<Vec<f32>>();
                let costs: Vec<f32> = w.chunks_exact(n).flat_map(of).collect();
                // Rounded for the whole row or matrix, not for each block, so that no block's fraction is lost.
                let rows = if *sharing == Sharing::Row { 1 } else { weight.len() / n };
                let gone = |columns: usize| (sparsity * (columns * rows) as f64).round();
                let share = (gone(end) - gone(block)) / ((end - block) * rows) as f64;
                let mask = keep(&costs, end - block, Pattern::Free(share), *sharing);
                let rows = kept.chunks_exact_mut(n).zip(mask.chunks_exact(end - block));
                rows.for_each(|(kept, mask)| kept[block..end].copy_from_slice(mask));
            }
            for (r, (row, kept)) in w.chunks_exact_mut(n).zip(kept.chunks_exact_mut(n)).enumerate() {
                for j in block..end {
                    if let Choice::Cost(pattern @ Pattern::NOfM { of, .. }, sharing) = choice
                        && j.is_multiple_of(*of)
                    {
                        // When a group's turn comes: its weights have taken up the errors of those before.
                        let costs: Vec<f32> = (j..j + of).map(|j| cost(row[j], j)).collect();
                        kept[j..j + of].copy_from_slice(&keep(&costs, *of, *pattern, *sharing));
                    }
                    // ANCHOR: sparse_gpt
                    let value = match (&grids, kept[j]) {
                        (_, false) => 0.0,
                        (None, true) => row[j],
                        (Some(grids), true) => {
                            let one = grids.len() == 1;
                            let grid = &grids[if one { 0 } else { r * n.div_ceil(size) + j / size }];
                            f64::from(grid.value(grid.code(row[j] as f32)))
                        }
                    };
                    let lost = (row[j] - value) / diagonal[j];
                    row[j] = value;
                    error += lost * lost;
                    if update && lost != 0.0 {
                        let shares = &upper[j * n + j + 1..(j + 1) * n];
                        row[j + 1..].iter_mut().zip(shares).for_each(|(w, share)| *w -= lost * share);
                    }
                    // ANCHOR_END: sparse_gpt
                }
            }
        }
        Swept { weights: w.into_iter().map(|w| w as f32).collect(), kept, error }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{
        quant::{GroupGrids, outlier::output_error},
        rng,
    };

    const X: [f32; 12] = [0.1, 2.0, 1.0, 0.5, 0.2, -1.0, 1.0, -0.5, -0.1, 2.0, -1.0, 0.5];
    const W: [f32; 8] = [0.9, -0.3, 0.5, 0.4, 0.8, 0.4, -0.6, 0.3];

    fn hessian(inputs: &[f32], columns: usize) -> Hessian {
        let mut hessian = Hessian::new(columns);
        hessian.add(inputs);
        hessian
    }

    fn masked(weight: &[f32], kept: &[bool]) -> Vec<f32> {
        weight.iter().zip(kept).map(|(w, kept)| if *kept { *w } else { 0.0 }).collect()
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-6)
    }

    #[test]
    fn wanda_by_hand() {
        let hessian = hessian(&X, 4);
        let norms = hessian.norms();
        for (norm, by_hand) in norms.iter().zip([0.244_949, 3.0, 1.732_051, 0.866_025]) {
            assert!((norm - by_hand).abs() < 1e-6, "{norm}");
        }
        let half = |scores: &[f32]| keep(scores, 4, Pattern::Free(0.5), Sharing::Row);
        let size: Vec<f32> = W.iter().map(|w| w.abs()).collect();
        let (magnitude, wanda) = (half(&size), half(&wanda_scores(&W, 4, &norms)));
        assert_eq!(magnitude, [true, false, true, false, true, false, true, false]);
        assert_eq!(wanda, [false, true, true, false, false, true, true, false]);
        // Squared error of the outputs; the kit's is their sum over both rows and all inputs.
        let error = |kept: &[bool]| output_error(&W, &masked(&W, kept), &X, 4);
        assert!((error(&magnitude) - 2.4375).abs() < 1e-5 && (error(&wanda) - 0.1545).abs() < 1e-5);
        // No other pair of columns for both rows does better.
        for mask in (0_u8..16).filter(|mask| mask.count_ones() == 2) {
            let kept: Vec<bool> = (0..8).map(|i| mask >> (i % 4) & 1 == 1).collect();
            assert!(error(&kept) > 0.1545 - 1e-5);
        }
    }

    #[test]
    fn the_sweep_by_hand() {
        let gpt = SparseGpt::new(&hessian(&X, 4), "a test").expect("finite");
        // The Hessian here is twice that of the hand calculation, so the triangle is 1 / sqrt(2) of it.
        for (j, by_hand) in [5.321_343, 1.049_481, 0.607_194, 1.130_810].into_iter().enumerate() {
            assert!((gpt.spread.upper()[5 * j] * 2_f64.sqrt() - by_hand).abs() < 1e-6);
        }
        let swept = gpt.prune(&W, Pattern::Free(0.5), Sharing::Row, true, None);
        assert!(
            close(&swept.weights, &[0.0, 0.0, 0.545_323, -0.645_156, 0.0, 0.440_125, -0.509_731, 0.0]),
            "{swept:?}"
        );
        assert!((swept.error / 2.0 - 0.122_821).abs() < 1e-6);
        assert!((output_error(&W, &swept.weights, &X, 4) - 0.035_259).abs() < 1e-5);
        assert!((output_error(&W, &masked(&W, &swept.kept), &X, 4) - 1.0245).abs() < 1e-5);
    }

    /// Weights `[6, 24]` and inputs `[60, 24]` of which any two vary together.
    fn case(seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut rng = rng(seed, "sparse gpt");
        let weight = (0..6 * 24).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut inputs = Vec::new();
        for _ in 0..60 {
            let common: f32 = rng.random_range(-1.0..1.0);
            inputs.extend((0..24).map(|i| common * (0.3 + i as f32 * 0.05) + rng.random_range(-0.5..0.5)));
        }
        (weight, inputs)
    }

    const PATTERNS: [Pattern; 4] =
        [Pattern::Free(0.5), Pattern::Free(0.9), Pattern::NOfM { keep: 2, of: 4 }, Pattern::NOfM { keep: 4, of: 8 }];

    #[test]
    fn the_errors_of_all_steps_are_the_error_of_the_output() {
        for seed in 0..5 {
            let (weight, inputs) = case(seed);
            let hessian = hessian(&inputs, 24);
            let (gpt, damped) = (SparseGpt::new(&hessian, "a test").expect("finite"), hessian.damped());
            for pattern in PATTERNS {
                for sharing in [Sharing::Row, Sharing::Matrix] {
                    let swept = gpt.prune(&weight, pattern, sharing, true, None);
                    let lost: Vec<f64> =
                        weight.iter().zip(&swept.weights).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
                    let quadratic =
                        |d: &[f64]| -> f64 { (0..24 * 24).map(|at| d[at / 24] * damped[at] * d[at % 24]).sum() };
                    let direct: f64 = lost.chunks(24).map(quadratic).sum();
                    // Weights are handed back in single precision.
                    assert!((swept.error / direct - 1.0).abs() < 1e-4, "{} {direct}", swept.error);
                    let left = swept.weights.iter().filter(|w| **w != 0.0).count();
                    let per_row = 24 - (pattern.sparsity() * 24.0).round() as usize;
                    let asked = match sharing {
                        Sharing::Row => 6 * per_row,
                        Sharing::Matrix => 144 - (pattern.sparsity() * 144.0).round() as usize,
                    };
                    assert_eq!(left, asked, "{pattern:?} {sharing:?}");
                }
            }
        }
    }

    #[test]
    fn inputs_that_have_nothing_in_common_give_wanda_and_leave_the_rest_alone() {
        let (weight, _) = case(0);
        // One input at a time, each of another size.
        let inputs: Vec<f32> =
            (0..24 * 24).map(|i| if i % 24 == i / 24 { 0.5 + i as f32 * 0.01 } else { 0.0 }).collect();
        let hessian = hessian(&inputs, 24);
        let gpt = SparseGpt::new(&hessian, "a test").expect("finite");
        // Damping counts as so much more input.
        let damped = hessian.damped();
        let norms: Vec<f64> = (0..24).map(|j| (damped[25 * j] / 2.0).sqrt()).collect();
        for pattern in PATTERNS {
            let swept = gpt.prune(&weight, pattern, Sharing::Row, true, None);
            assert_eq!(swept.kept, keep(&wanda_scores(&weight, 24, &norms), 24, pattern, Sharing::Row));
            assert_eq!(swept.weights, masked(&weight, &swept.kept));
        }
    }

    #[test]
    fn nothing_to_remove_changes_nothing_and_updating_helps_on_the_whole() {
        let (mut plain, mut updated) = (0.0, 0.0);
        for seed in 0..20 {
            let (weight, inputs) = case(seed);
            let gpt = SparseGpt::new(&hessian(&inputs, 24), "a test").expect("finite");
            assert_eq!(gpt.prune(&weight, Pattern::Free(0.0), Sharing::Row, true, None).weights, weight);
            let without = gpt.prune(&weight, Pattern::Free(0.5), Sharing::Row, false, None);
            assert_eq!(without.weights, masked(&weight, &without.kept));
            let with = gpt.update(&weight, &without.kept, None);
            assert_eq!(with.kept, without.kept);
            plain += output_error(&weight, &without.weights, &inputs, 24);
            updated += output_error(&weight, &with.weights, &inputs, 24);
        }
        // The sweep is greedy, so that a single row may lose by it; twenty matrices do not.
        assert!(updated < 0.7 * plain, "{updated} {plain}");
    }

    #[test]
    fn no_block_of_columns_loses_its_fraction() {
        let mut rng = rng(4, "wide");
        let weight: Vec<f32> = (0..3 * 150).map(|_| rng.random_range(-1.0..1.0)).collect();
        let inputs: Vec<f32> = (0..40 * 150).map(|_| rng.random_range(-1.0..1.0)).collect();
        let gpt = SparseGpt::new(&hessian(&inputs, 150), "a test").expect("finite");
        let zeros = |kept: &[bool]| kept.iter().filter(|kept| !**kept).count();
        let row = gpt.prune(&weight, Pattern::Free(0.62), Sharing::Row, true, None);
        // 62 % of 150 are 93; rounded for themselves, blocks of 64, 64 and 22 columns would lose 40 + 40 + 14.
        assert!(row.kept.chunks(150).all(|row| zeros(row) == 93));
        let matrix = gpt.prune(&weight, Pattern::Free(0.62), Sharing::Matrix, true, None);
        assert_eq!(zeros(&matrix.kept), 279);
    }

    #[test]
    fn with_nothing_masked_the_sweep_is_gptq() {
        use crate::quant::{Granularity, Scheme};
        let (weight, inputs) = case(2);
        let hessian = hessian(&inputs, 24);
        let gpt = SparseGpt::new(&hessian, "a test").expect("finite");
        for granularity in [Granularity::Channel, Granularity::Group(8), Granularity::Tensor] {
            let settings = Settings::weight_only(3, Scheme::Symmetric, granularity);
            let ours = gpt.prune(&weight, Pattern::Free(0.0), Sharing::Row, true, Some(&settings)).weights;
            let theirs = Spread::new(&hessian).round(&weight, &settings, GroupGrids::Before).dequantize();
            assert!(close(&ours, &theirs));
        }
    }

    #[test]
    fn dead_inputs_go_first_and_what_is_not_finite_is_refused() {
        let (weight, mut inputs) = case(1);
        inputs.iter_mut().skip(3).step_by(24).for_each(|x| *x = 0.0);
        let gpt = SparseGpt::new(&hessian(&inputs, 24), "a test").expect("damped");
        let swept = gpt.prune(&weight, Pattern::Free(0.25), Sharing::Row, true, None);
        assert!(swept.kept.chunks(24).all(|row| !row[3]));
        assert!(swept.weights.iter().all(|w| w.is_finite()));
        inputs[0] = f32::NAN;
        let why = SparseGpt::new(&hessian(&inputs, 24), "mlp.down_proj").expect_err("refused").to_string();
        assert!(why.contains("mlp.down_proj"), "{why}");
    }
}
