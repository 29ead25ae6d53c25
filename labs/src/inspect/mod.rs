//! What a file of weights would lose and save at fewer bits, tensor by tensor: the book's language model, or the reader's file.

#[cfg(test)]
mod cases;
mod figures;
#[cfg(feature = "schema")]
mod study;
mod survey;

use lab_api::{Family, LabError, Metric, Report};
use lab_kit::{
    Context, Input, Lab,
    choices::{Placement, Share},
    models::LanguageModel,
    report::{MetricExt, metric, thousands},
    tensor_file::TensorFile,
};
use serde::{Deserialize, Serialize};

use survey::{Survey, WIDTHS};

/// A file beyond this is refused: it would take minutes.
const LARGEST_BYTES: u64 = 512 << 20;
/// Milliseconds between two reports on the way, and between two words about progress.
const SHOW_EVERY_MS: f64 = 300.0;
const SAY_EVERY_MS: f64 = 50.0;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Weights
    ///
    /// A safetensors file with weights in F32, F16 or BF16, 512 MiB at most. It is read in place, piece by piece, and nothing of it leaves this device. Without one, the book's language model is inspected.
    #[cfg_attr(feature = "schema", schemars(extend("x-accept" = ".safetensors")))]
    pub file: String,
    /// Grid
    ///
    /// Where the levels lie.
    pub scheme: Placement,
    /// Scales
    ///
    /// How many weights share one scale.
    pub granularity: Share,
    /// Group size
    ///
    /// Consecutive weights of one row that share a scale.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 256), extend("x-unit" = "weights", "x-step" = 16)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "granularity", "is": ["group"]})))]
    pub group_size: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { file: String::new(), scheme: Placement::Symmetric, granularity: Share::Channel, group_size: 32 }
    }
}

/// The lab.
pub struct Inspect;

impl Lab for Inspect {
    const ID: &'static str = "inspect";
    type Params = Params;

    fn smoke() -> Params {
        Params { scheme: Placement::Affine, granularity: Share::Tensor, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.progress("Reading the header", 0.0);
        cx.checkpoint().await?;
        let input = Input::open(cx, "file", &params.file, LanguageModel::full().asset).await?;
        if input.size_bytes() > LARGEST_BYTES {
            let why = format!(
                "it has {} MiB, and this lab reads 512 at most; take one shard of it",
                input.size_bytes() >> 20
            );
            return Err(input.fail(why));
        }
        inspect(input, &params, cx).await
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

async fn inspect(input: Input, params: &Params, cx: &Context) -> Result<Report, LabError> {
    let file = TensorFile::open(input).await?;
    let mut survey = Survey::new(&file, params.scheme.into(), params.granularity.granularity(params.group_size))?;
    // A report grows with the tensors that it holds: a file of thousands must not send thousands of reports.
    let (mut shown_ms, mut said_ms) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    while let Some((name, share)) = survey.next_tensor() {
        if cx.now_ms() - said_ms >= SAY_EVERY_MS {
            cx.progress(&name, share);
            said_ms = cx.now_ms();
        }
        survey.measure(&file, cx).await?;
        if !survey.tensors.is_empty() && cx.now_ms() - shown_ms >= SHOW_EVERY_MS {
            cx.publish(&report(&survey, &file, true))?;
            shown_ms = cx.now_ms();
        }
    }
    cx.progress("Done", 1.0);
    Ok(report(&survey, &file, false))
}

/// What is known so far; a `draft` goes on changing.
fn report(survey: &Survey, file: &TensorFile, draft: bool) -> Report {
    Report {
        metrics: metrics(survey),
        tables: vec![figures::table(survey, draft)],
        charts: vec![figures::heatmap(survey), figures::sizes(survey)],
        notes: figures::notes(survey, file),
    }
}

fn metrics(survey: &Survey) -> Vec<Metric> {
    const SAME: &str = "the same operations in the same order on every device, but for the last digit of a logarithm";
    let stored = survey.stored_bytes() as f64;
    let worst = |width: usize| survey.worst(width).map_or(0.0, |tensor| tensor.sqnr_db[width]);
    let mut metrics = Vec::new();
    for (i, bits) in WIDTHS.iter().enumerate() {
        let bytes = survey.bytes(i) as f64;
        let mut size =
            metric(Family::Memory, &format!("bytes_{bits}"), &format!("All tensors at {bits} bits"), bytes, "bytes")
                .baseline(stored)
                .lower()
                .exact(0.0, "a count");
        if i == 0 {
            size = size.help("Codes, scales and zero points, against the file; vectors and what is left out stay as they are stored.");
        }
        metrics.push(size);
    }
    let others = [
        ("bytes_bitmap", "All tensors, zeros left out", survey.bytes_with(|tensor| tensor.bitmap_bytes)),
        ("bytes_factored", "All tensors in two factors", survey.bytes_with(|tensor| tensor.factored_bytes)),
    ];
    for (id, label, bytes) in others {
        let help = if id == "bytes_bitmap" {
            "A bit for each weight says whether it is zero; matrices that would grow stay as they are."
        } else {
            "Of the least rank that holds 99 % of a matrix's squared weights; matrices that would grow or are too large to decompose here stay as they are."
        };
        metrics.push(
            metric(Family::Memory, id, label, bytes as f64, "bytes")
                .baseline(stored)
                .lower()
                .exact(0.0, "a count")
                .help(help),
        );
    }
    metrics.push(
        metric(Family::Quality, "zeros", "Weights that are zero", survey.zeros_percent(), "%").exact(0.0, "a count"),
    );
    for (i, bits) in WIDTHS.iter().enumerate() {
        let label = format!("Least SQNR at {bits} bits");
        let mut least =
            metric(Family::Quality, &format!("least_sqnr_{bits}"), &label, worst(i), "dB").higher().exact(1e-6, SAME);
        if let Some(tensor) = survey.worst(i) {
            least = least.help(&format!("In {}.", tensor.name));
        }
        metrics.push(least);
    }
    let outlier = survey.tensors.iter().max_by(|a, b| a.max_over_sigma.total_cmp(&b.max_over_sigma));
    let tail = survey.tensors.iter().max_by(|a, b| a.kurtosis.total_cmp(&b.kurtosis));
    let (sigma, kurtosis) = (outlier.map_or(0.0, |t| t.max_over_sigma), tail.map_or(0.0, |t| t.kurtosis));
    let named = |tensor: Option<&survey::Measured>| tensor.map_or_else(String::new, |t| format!("In {}.", t.name));
    metrics.push(
        metric(Family::Quality, "largest_outlier", "Largest outlier", sigma, "σ")
            .lower()
            .exact(1e-9, SAME)
            .help(&format!("Largest magnitude over standard deviation. {}", named(outlier))),
    );
    metrics.push(
        metric(Family::Quality, "largest_kurtosis", "Largest kurtosis", kurtosis, "")
            .lower()
            .exact(1e-9, SAME)
            .help(&format!("3 for a bell curve; more for long tails. {}", named(tail))),
    );
    let gain = (worst(0) - worst(WIDTHS.len() - 1)) / f64::from(WIDTHS[0] - WIDTHS[WIDTHS.len() - 1]);
    metrics.push(
        metric(Family::Scale, "db_per_bit", "SQNR gained per bit, at the least", gain, "dB")
            .higher()
            .exact(1e-6, SAME)
            .help(&format!("Between 2 and 8 bits, over {} weights.", thousands(survey.weights()))),
    );
    metrics
}
