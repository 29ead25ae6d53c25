//! A few weights on a line, and the levels that a grid of few bits has for them.

mod figures;
mod snap;
#[cfg(feature = "schema")]
mod study;

use lab_api::{Family, LabError, Report};
use lab_kit::{
    Context, Lab,
    choices::Placement,
    report::{MetricExt, metric},
};
use serde::{Deserialize, Serialize};

use snap::{BITS, Snap, grid, weights};

/// What a reader may change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Bits
    ///
    /// Each bit doubles the number of levels: 4 at 2 bits, 32 at 5.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 5), extend("x-unit" = "bits")))]
    pub bits: u32,
    /// Grid
    ///
    /// Where the levels lie.
    pub scheme: Placement,
    /// Range
    ///
    /// How scale and zero point are found.
    pub range: Range,
    /// Scale
    ///
    /// Distance between two neighbouring levels, in standard deviations of the weights.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.05, max = 2.0), extend("x-unit" = "σ", "x-step" = 0.05)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "range", "is": ["hand"]})))]
    pub scale: f64,
    /// Zero point
    ///
    /// The code that stands for zero, by hand and on an affine grid. A symmetric grid has it in the middle.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 31)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "range", "is": ["hand"]})))]
    pub zero_point: u8,
    /// Outlier
    ///
    /// Size of one of the weights. The others follow a bell curve and seldom exceed 2 σ.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 12.0), extend("x-unit" = "σ", "x-step" = 0.5)))]
    pub outlier: f64,
}

impl Default for Params {
    fn default() -> Self {
        let (scheme, range) = (Placement::Symmetric, Range::MinMax);
        Self { bits: 3, scheme, range, scale: 0.6, zero_point: 4, outlier: 3.0 }
    }
}

/// How scale and zero point are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// Min-max
    ///
    /// The levels just reach the smallest and the largest weight.
    MinMax,
    /// Least squared error
    ///
    /// The range with the least squared error, found by trying: it clips where clipping costs less than coarse steps.
    Mse,
    /// By hand
    ///
    /// You set the scale, and on an affine grid the zero point.
    Hand,
}

/// The lab.
pub struct Levels;

impl Lab for Levels {
    const ID: &'static str = "levels";
    type Params = Params;

    fn smoke() -> Params {
        Params { bits: 4, scheme: Placement::Affine, range: Range::Mse, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.checkpoint().await?;
        let weights = weights(params.outlier as f32, &mut cx.rng("weights"));
        let snap = Snap::of(&weights, grid(&params, params.bits, &weights), params.bits, params.scheme.into());
        let sweep: Vec<(u32, f64)> = BITS
            .map(|bits| {
                let grid = grid(&params, bits, &weights);
                (bits, Snap::of(&weights, grid, bits, params.scheme.into()).sqnr_db())
            })
            .collect();
        Ok(Report {
            metrics: metrics(&snap, &sweep),
            tables: Vec::new(),
            charts: vec![figures::line(&snap, &params), figures::sweep(&sweep, params.bits)],
            notes: figures::notes(&snap, &params),
        })
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        Ok(Some(study::run(cx)))
    }
}

fn metrics(snap: &Snap, sweep: &[(u32, f64)]) -> Vec<lab_api::Metric> {
    const SAME: &str = "the same operations in the same order on every device, but for the last digit of a logarithm";
    let quality = |id: &str, label: &str, value: f64, unit: &str| {
        metric(Family::Quality, id, label, value, unit).exact(1e-6, SAME)
    };
    let gain = match sweep {
        [(first, low), .., (last, high)] => (high - low) / f64::from(last - first),
        _ => 0.0,
    };
    vec![
        quality("scale", "Scale", f64::from(snap.grid.scale), "σ").help("Distance between neighbouring levels."),
        quality("zero_point", "Zero point", f64::from(snap.grid.zero_point), "").help("The code of zero."),
        quality("sqnr_db", "SQNR", snap.sqnr_db(), "dB")
            .higher()
            .help("Power of the weights over power of their errors."),
        quality("clipped", "Clipped weights", snap.clipped_count() as f64, "")
            .lower()
            .help("They lie more than half a step beyond the outermost level."),
        quality("largest_error_steps", "Largest error", snap.largest_error_steps(), "steps").lower().help(
            "Rounding alone costs half a step at most; clipping, and a rounded zero point at the ends, cost more.",
        ),
        metric(Family::Memory, "weight_bytes", "Weights", snap.bytes() as f64, "bytes")
            .baseline((4 * snap.weights.len()) as f64)
            .lower()
            .exact(0.0, "the length of buffers")
            .help("Codes side by side, one scale, and on an affine grid the zero point."),
        metric(Family::Scale, "db_per_bit", "SQNR gained per bit", gain, "dB").higher().exact(1e-6, SAME).help(
            "From 2 to 8 bits, with grid and range as chosen. Halving the step quarters the power of the error: 6 dB.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use lab_kit::{
        quant::{Granularity, Settings, naive::fake_quantize},
        rng,
    };

    use super::*;

    #[test]
    fn the_levels_are_those_of_the_naive_rounding() {
        for bits in BITS {
            for scheme in [Placement::Symmetric, Placement::Affine] {
                let params = Params { bits, scheme, ..Params::default() };
                let weights = weights(7.5, &mut rng(u64::from(bits), "weights"));
                let snap = Snap::of(&weights, grid(&params, bits, &weights), bits, scheme.into());
                let settings = Settings::weight_only(bits, scheme.into(), Granularity::Tensor);
                for (rounded, naive) in snap.rounded().zip(fake_quantize(&weights, weights.len(), &settings)) {
                    assert!((rounded - naive).abs() < 1e-5, "{rounded} {naive} at {bits} bits");
                }
            }
        }
    }

    #[test]
    fn each_bit_gains_about_six_decibels() {
        let weights = weights(2.0, &mut rng(0, "weights"));
        let db = |bits| {
            let grid = grid(&Params::default(), bits, &weights);
            Snap::of(&weights, grid, bits, Placement::Symmetric.into()).sqnr_db()
        };
        let gain = (db(8) - db(3)) / 5.0;
        // Two dozen weights do not fill a step evenly.
        assert!((5.0..8.0).contains(&gain), "{gain}");
    }
}
