//! The packed model, and what packing cost each matrix.

use std::collections::BTreeMap;

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    models::{Transformer, Weight, pack, packed_bytes},
    quant::{Activations, Inputs, PackedMatrix, PackedWeight, Settings, calibrate, signal_and_noise, sqnr_db},
    report::{MetricExt, metric},
};

use super::{figures::short, model::Source, prepared::Prepared};

/// Bits of a rounded activation.
const ACTIVATION_BITS: u32 = 8;

/// A matrix before and after.
pub(super) struct Loss {
    /// Its name in the file, without the ending.
    pub(super) name: String,
    /// `[rows, columns]`.
    pub(super) shape: [usize; 2],
    /// Bytes packed, scales and weights that skip the rounding included.
    pub(super) bytes: usize,
    /// Signal to quantization noise, in decibels.
    pub(super) sqnr_db: f64,
    /// Largest weight in standard deviations.
    pub(super) reach: f64,
    /// Signal to noise of what the matrix makes of its inputs, each weight rounded for itself and as it is; where how the
    /// inputs vary is known.
    pub(super) output_sqnr_db: Option<[f64; 2]>,
}

/// The packed model and what is known of it.
pub(super) struct Packed {
    pub(super) model: Transformer,
    pub(super) bytes: usize,
    /// Bytes that one token must read: all matrices but the embedding, of which it reads a row.
    pub(super) read_bytes: usize,
    pub(super) losses: Vec<Loss>,
}

impl Source {
    /// Rounds and packs prepared weights. Static ranges of activations come from what is known of the inputs; where nothing
    /// is, a matrix gets its inputs in FP32.
    pub(super) async fn pack(
        &self,
        settings: &Settings,
        prepared: &Prepared,
        cx: &Context,
    ) -> Result<Packed, LabError> {
        let quantize = |name: &str, weight: &Weight| match prepared.input(name).and_then(|input| input.spread.as_ref())
        {
            Some(spread) if settings.compensates() => spread.round(&weight.values, settings, prepared.grids),
            _ => PackedMatrix::quantize(&weight.values, weight.shape[1], settings),
        };
        let (matrices, rest) = pack(&prepared.weights, quantize)?;
        let kept_bytes = |name: &str, matrix: &PackedMatrix| 4 * matrix.rows * prepared.kept(name).len();
        let (mut losses, mut kept, mut inputs) = (Vec::new(), 0, BTreeMap::new());
        for (name, matrix) in &matrices {
            cx.checkpoint().await?;
            losses.push(self.loss(name, matrix, settings, prepared));
            kept += kept_bytes(name, matrix);
            let found = match (settings.activations, prepared.input(name)) {
                (Activations::Dynamic, _) => Inputs::Int8,
                (Activations::Static(how), Some(input)) => {
                    Inputs::Static(calibrate(how, ACTIVATION_BITS, &input.after.rows))
                }
                _ => Inputs::Float,
            };
            inputs.insert(name.clone(), found);
        }
        let bytes = packed_bytes(&matrices, &rest) + kept;
        let embedding = matrices.get("model.embed_tokens.weight").map_or(0, PackedMatrix::bytes);
        let place = |name: &str, matrix| {
            let inputs = inputs.get(name).copied().unwrap_or(Inputs::Float);
            PackedWeight::new(matrix, inputs, &cx.device).keeping(prepared.kept(name), self.values(name), &cx.device)
        };
        let model = Transformer::packed(self.config(), matrices, &rest, (self.name(), place), &cx.device)?;
        Ok(Packed { model, bytes, read_bytes: bytes - embedding, losses })
    }

    fn loss(&self, name: &str, matrix: &PackedMatrix, settings: &Settings, prepared: &Prepared) -> Loss {
        let (values, rounded) = (prepared.values(name), matrix.dequantize());
        let (signal, noise) = signal_and_noise(values, &rounded);
        let largest = values.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        let output_sqnr_db = prepared.input(name).and_then(|input| {
            let power = input.before.hessian.as_ref()?.output_power(self.values(name));
            let hessian = input.after.hessian.as_ref()?;
            let nearest = PackedMatrix::quantize(values, matrix.columns, settings).dequantize();
            let lost = |rounded: &[f32]| sqnr_db(power, hessian.output_power(&difference(values, rounded)));
            Some([lost(&nearest), lost(&rounded)])
        });
        Loss {
            name: short(name).to_owned(),
            shape: [matrix.rows, matrix.columns],
            bytes: matrix.bytes() + 4 * matrix.rows * prepared.kept(name).len(),
            sqnr_db: sqnr_db(signal, noise),
            output_sqnr_db,
            reach: f64::from(largest) / (signal / values.len().max(1) as f64).sqrt().max(f64::MIN_POSITIVE),
        }
    }
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

impl Packed {
    pub(super) fn memory(&self, source: &Source) -> Vec<Metric> {
        let (before, after) = (source.fp32_bytes() as f64, self.bytes as f64);
        let counted = "bytes of buffers are counted";
        let weights: usize = self.losses.iter().map(|loss| loss.shape[0] * loss.shape[1]).sum();
        let packed: usize = self.losses.iter().map(|loss| loss.bytes).sum();
        vec![
            metric(Family::Memory, "weight_bytes", "Weights", after, "bytes")
                .lower()
                .baseline(before)
                .exact(0.0, counted)
                .help("Packed codes, scales and zero points of all matrices, and the norms in FP32."),
            metric(Family::Memory, "compression", "Compression", before / after, "×")
                .higher()
                .baseline(1.0)
                .exact(1e-9, counted)
                .help("FP32 bytes over packed bytes. The file holds FP16, half of the baseline."),
            metric(Family::Memory, "bits_per_weight", "Bits per weight", 8.0 * packed as f64 / weights as f64, "bits")
                .lower()
                .baseline(32.0)
                .exact(1e-9, counted)
                .help("Scales and zero points shared out over the weights."),
        ]
    }

    pub(super) fn worst_sqnr(&self) -> Metric {
        let worst = self.losses.iter().map(|loss| loss.sqnr_db).fold(f64::INFINITY, f64::min);
        metric(Family::Quality, "weight_sqnr", "SQNR of the worst matrix", worst, "dB")
            .detail()
            .higher()
            .exact(1e-6, "the logarithm's last digits differ between platforms")
            .help("Signal over quantization noise of its weights; 200 dB stands for no error at all.")
    }
}
