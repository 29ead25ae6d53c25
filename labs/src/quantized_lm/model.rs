//! The language model in FP32 and packed, and the text that judges both.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    data::{Corpus, Part},
    mlp::read,
    models::{LanguageModel, StateDict, Transformer, TransformerConfig, Weight, pack, packed_bytes},
    quant::{GroupGrids, HALF, Hessian, Inputs, PackedMatrix, Rounding, Settings, Spread, signal_and_noise, sqnr_db},
    report::{MetricExt, metric},
    tokenizer::Tokenizer,
};

/// Tokens of a window: the model's whole context.
const WINDOW: usize = 256;
/// Windows that show what flows into the matrices: 4,096 tokens.
const EXAMPLES: usize = 16;

/// Weights, tokenizer and held-out text.
pub(super) struct Source {
    which: LanguageModel,
    weights: StateDict,
    pub(super) tokenizer: Tokenizer,
    /// All tokens of the test text.
    tokens: Vec<u32>,
}

/// A matrix before and after.
pub(super) struct Loss {
    /// Its name in the file, without the ending.
    pub(super) name: String,
    /// `[rows, columns]`.
    pub(super) shape: [usize; 2],
    /// Bytes packed, scales included.
    pub(super) bytes: usize,
    /// Signal to quantization noise, in decibels.
    pub(super) sqnr_db: f64,
    /// Largest weight in standard deviations.
    pub(super) reach: f64,
    /// Signal to noise of what the matrix makes of its inputs, each weight rounded for itself and as it is; where the
    /// inputs are known.
    pub(super) output_sqnr_db: Option<[f64; 2]>,
}

/// What flows into the matrices when the FP32 model reads a text.
pub(super) struct Examples {
    /// Matrices that share an input, by name, and how that input varies.
    seen: Vec<(Vec<String>, Hessian)>,
    /// For each, what rounding makes of it.
    spreads: Vec<Spread>,
    /// When the grids of groups are fitted.
    pub(super) grids: GroupGrids,
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
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let which = LanguageModel::full();
        let weights = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let corpus = Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?;
        cx.checkpoint().await?;
        let tokens = tokenizer.encode(&corpus.text);
        Ok(Self { which, weights, tokenizer, tokens })
    }

    /// So many stretches of 257 tokens, evenly spread over the text: 256 predictions each.
    pub(super) fn windows(&self, count: usize) -> Vec<&[u32]> {
        windows(&self.tokens, count)
    }

    pub(super) fn config(&self) -> &TransformerConfig {
        &self.which.config
    }

    /// The model as shipped, computed in FP32.
    pub(super) fn fp32(&self, cx: &Context) -> Result<Transformer, LabError> {
        self.with_weights(&self.weights, cx)
    }

    /// The same with other weights.
    fn with_weights(&self, weights: &StateDict, cx: &Context) -> Result<Transformer, LabError> {
        Transformer::new(&self.which.config, weights, self.which.asset, &cx.device)
    }

    /// The same with every matrix changed by `change`, which gets its name and its weights.
    #[cfg(feature = "schema")]
    pub(super) fn changed(
        &self,
        change: impl Fn(&str, &Weight) -> Vec<f32>,
        cx: &Context,
    ) -> Result<Transformer, LabError> {
        let mut weights = self.weights.clone();
        for (name, weight) in self.weights.iter().filter(|(_, weight)| weight.shape.len() == 2) {
            if let Some(to) = weights.get_mut(name) {
                to.values = change(name, weight);
            }
        }
        self.with_weights(&weights, cx)
    }

    /// Bytes of the model in FP32.
    pub(super) fn fp32_bytes(&self) -> usize {
        self.weights.parameters() * size_of::<f32>()
    }

    /// What error-compensated rounding has to know; nothing where each weight is rounded for itself.
    pub(super) async fn examples(&self, settings: &Settings, cx: &Context) -> Result<Examples, LabError> {
        let mut examples = Examples { seen: Vec::new(), spreads: Vec::new(), grids: GroupGrids::Before };
        if settings.rounding == Rounding::Nearest || settings.bits == HALF {
            return Ok(examples);
        }
        self.read_examples(cx, |i, names, columns, input| {
            if examples.seen.len() == i {
                examples.seen.push((names, Hessian::new(columns)));
            }
            examples.seen[i].1.add(&input);
        })
        .await?;
        for (_, hessian) in &examples.seen {
            examples.spreads.push(Spread::new(hessian));
            cx.checkpoint().await?;
        }
        Ok(examples)
    }

    /// Lets the FP32 model read the example text. `see` gets, window by window, what flows into each set of matrices: its
    /// number, the matrices' names, their columns, and the inputs `[256, columns]`.
    pub(super) async fn read_examples(
        &self,
        cx: &Context,
        mut see: impl FnMut(usize, Vec<String>, usize, Vec<f32>),
    ) -> Result<(), LabError> {
        let corpus = Corpus::read(Part::Validation, &cx.asset(Part::Validation.asset()).await?)?;
        let tokens = self.tokenizer.encode(&corpus.text);
        let model = self.fp32(cx)?;
        for window in windows(&tokens, EXAMPLES) {
            let seen = model.inputs_of_matrices(model.tokens(&[&window[..WINDOW]], &cx.device)?);
            for (i, (names, input)) in seen.into_iter().enumerate() {
                let [_, columns] = input.dims();
                see(i, names, columns, read(input).await?);
                cx.checkpoint().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn pack(
        &self,
        settings: &Settings,
        inputs: Inputs,
        examples: &Examples,
        cx: &Context,
    ) -> Result<Packed, LabError> {
        let quantize = |name: &str, weight: &Weight| match examples.of(name) {
            Some((_, spread)) => spread.round(&weight.values, settings, examples.grids),
            None => PackedMatrix::quantize(&weight.values, weight.shape[1], settings),
        };
        let (matrices, rest) = pack(&self.weights, quantize)?;
        let mut losses = Vec::new();
        for (name, matrix) in &matrices {
            cx.checkpoint().await?;
            let values = self.weights.get(name).map_or(&[][..], |weight| &weight.values);
            let rounded = matrix.dequantize();
            let (signal, noise) = signal_and_noise(values, &rounded);
            let largest = values.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
            losses.push(Loss {
                name: name.trim_start_matches("model.").trim_end_matches(".weight").to_owned(),
                shape: [matrix.rows, matrix.columns],
                bytes: matrix.bytes(),
                sqnr_db: sqnr_db(signal, noise),
                output_sqnr_db: examples.of(name).map(|(hessian, _)| {
                    let nearest = PackedMatrix::quantize(values, matrix.columns, settings).dequantize();
                    let power = hessian.output_power(values);
                    [nearest, rounded]
                        .map(|rounded| sqnr_db(power, hessian.output_power(&difference(values, &rounded))))
                }),
                reach: f64::from(largest) / (signal / values.len().max(1) as f64).sqrt().max(f64::MIN_POSITIVE),
            });
        }
        let bytes = packed_bytes(&matrices, &rest);
        let embedding = matrices.get("model.embed_tokens.weight").map_or(0, PackedMatrix::bytes);
        let source = (self.which.asset, inputs);
        let model = Transformer::packed(&self.which.config, matrices, &rest, source, &cx.device)?;
        Ok(Packed { model, bytes, read_bytes: bytes - embedding, losses })
    }
}

fn windows(tokens: &[u32], count: usize) -> Vec<&[u32]> {
    let room = tokens.len().saturating_sub(WINDOW + 1);
    (0..count).map(|i| &tokens[i * room / count.max(1)..][..WINDOW + 1]).collect()
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

impl Examples {
    fn of(&self, matrix: &str) -> Option<(&Hessian, &Spread)> {
        let at = self.seen.iter().position(|(names, _)| names.iter().any(|name| name == matrix))?;
        Some((&self.seen[at].1, &self.spreads[at]))
    }
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
            .higher()
            .exact(1e-6, "the logarithm's last digits differ between platforms")
            .help("Signal over quantization noise of its weights; 200 dB stands for no error at all.")
    }
}
