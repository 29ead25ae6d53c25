//! The computations whose speed decides how long readers wait, each alone, so that devices and kernels can be compared:
//! chained matrix products, a training step of the digit classifier and of a language model, and one that reads and writes.

use burn::{
    module::Module,
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, TensorData},
};
use lab_api::{Interval, LabError, nearest};
use rand::Rng;
use serde::Serialize;

use crate::{
    Context, CrossValidated,
    language::windows_to_tensors,
    mlp::{Mlp, MlpWeights, read},
    models::{KvCache, LanguageModel, Transformer, Weight, pack},
    ops::{adamw, cross_entropy, matmul},
    quant::{Granularity, Inputs, PackedMatrix, PackedWeight, Scheme, Settings},
    rng,
    stats::{median, median_interval},
};

/// Every path.
pub const ALL: [&str; 8] = [
    "matmul-256",
    "matmul-512",
    "matmul-1024",
    "training-step",
    "language-training-step",
    "prefill-128",
    "decode",
    "decode-packed",
];

/// Images of a training step.
const BATCH: usize = 64;
/// Tokens of a prompt, and of the text that a training step learns from; a decode step has so many before it.
const PROMPT: usize = 128;
/// Fewest and most samples.
const SAMPLES: std::ops::RangeInclusive<usize> = 5..=31;
/// Confidence of the interval.
const LEVEL: f64 = 0.95;
/// Steps until two devices are compared.
const COMPARED_STEPS: usize = 3;

/// What was measured of a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Its name.
    pub path: String,
    /// Floating-point operations of one step; only those of matrix products are counted.
    pub operations: f64,
    /// Milliseconds of the very first step, until one number of its result was read: kernels are compiled in it.
    pub first_ms: f64,
    /// Median of the samples: milliseconds of a step.
    pub median_ms: f64,
    /// Interval of the median.
    pub interval_ms: Interval,
    /// The samples. Each is the mean over steps in a row, with one readback at the end.
    pub samples_ms: Vec<f64>,
    /// Steps of a sample.
    pub steps: usize,
    /// Largest deviation from the CPU after the same steps, as a share of the largest number there.
    pub deviation: f64,
}

/// Times a path on the context's device, for about `budget_ms`.
///
/// # Errors
/// [`LabError::Engine`] for an unknown path, [`LabError::Device`], [`LabError::Cancelled`].
pub async fn time(cx: &Context, path: &str, budget_ms: f64) -> Result<Timing, LabError> {
    let mut work = Work::new(path, &cx.device)?;
    work.settle().await?;
    let start = cx.now_ms();
    work.step();
    work.settle().await?;
    let first_ms = cx.now_ms() - start;
    let deviation = deviation(cx, path).await?;

    let span = (20.0 * cx.clock_step_ms()).max(50.0);
    let mut steps = 1;
    while steps < 1 << 8 && sample(cx, &mut work, steps).await? * (steps as f64) < span {
        steps *= 2;
    }
    let (start, mut samples_ms) = (cx.now_ms(), Vec::new());
    while samples_ms.len() < *SAMPLES.end() {
        if samples_ms.len() >= *SAMPLES.start() && cx.now_ms() - start > budget_ms {
            break;
        }
        samples_ms.push(sample(cx, &mut work, steps).await?);
    }
    let interval_ms = median_interval(&samples_ms, LEVEL, &mut rng(0, path));
    let operations = work.operations();
    Ok(Timing {
        path: path.to_owned(),
        operations,
        first_ms,
        median_ms: median(&samples_ms),
        interval_ms,
        samples_ms,
        steps,
        deviation,
    })
}

/// Runs so many steps of a path and reads one number at the end, for whoever counts what that asks of the GPU.
///
/// # Errors
/// As [`time`].
pub async fn repeat(cx: &Context, path: &str, steps: usize) -> Result<(), LabError> {
    let mut work = Work::new(path, &cx.device)?;
    for _ in 0..steps {
        work.step();
    }
    work.settle().await
}

/// Milliseconds of a step, as the mean over `steps` of them.
async fn sample(cx: &Context, work: &mut Work, steps: usize) -> Result<f64, LabError> {
    cx.checkpoint().await?;
    let start = cx.now_ms();
    for _ in 0..steps {
        work.step();
    }
    work.settle().await?;
    Ok((cx.now_ms() - start) / steps as f64)
}

async fn deviation(cx: &Context, path: &str) -> Result<f64, LabError> {
    let (mut here, mut there) = (Work::new(path, &cx.device)?, Work::new(path, &Device::flex())?);
    for _ in 0..COMPARED_STEPS {
        here.step();
        there.step();
    }
    let (here, there) = (here.all().await?, there.all().await?);
    let largest = there.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    // A NaN must not get lost in a maximum.
    let differences = here.iter().zip(&there).map(|(a, b)| if a.is_finite() { (a - b).abs() } else { f32::INFINITY });
    Ok(f64::from(differences.fold(0.0, f32::max) / largest))
}

/// A path with its numbers on a device.
enum Work {
    /// A chain of matrix products.
    Product(Box<Product>),
    /// A classifier in training.
    Training(Box<Training>),
    /// A language model of the book's size, untrained.
    Reading(Box<Reading>),
    /// The same in training.
    Learning(Box<Learning>),
}

struct Learning {
    device: Device,
    model: Option<Transformer>,
    optimizer: ModuleOptimizer,
    /// One more than a step reads.
    tokens: Vec<u32>,
    /// Of the last step, `[1]`.
    loss: Option<Tensor<1>>,
}

struct Reading {
    device: Device,
    model: Transformer,
    cache: KvCache,
    tokens: Vec<u32>,
    /// Where a step begins; it reads to the end.
    from: usize,
    /// Of the last step, `[1, V]`.
    logits: Option<Tensor<2>>,
}

struct Product {
    /// Becomes `x` times `factor`, `[n, n]` both.
    x: Tensor<2>,
    factor: Tensor<2>,
}

struct Training {
    device: Device,
    model: Option<Mlp>,
    optimizer: ModuleOptimizer,
    /// `[BATCH, inputs]`.
    pixels: Vec<f32>,
    /// `[BATCH]`.
    labels: Vec<i32>,
    /// Of the last step, `[1]`.
    loss: Option<Tensor<1>>,
}

impl Work {
    fn new(path: &str, device: &Device) -> Result<Self, LabError> {
        let mut rng = rng(0, path);
        if let Some(n) = path.strip_prefix("matmul-").and_then(|n| n.parse::<usize>().ok()) {
            // Entries of variance 1/n keep the numbers of a chain where they started.
            let bound = (3.0 / n as f32).sqrt();
            let mut square = || {
                let values: Vec<f32> = (0..n * n).map(|_| rng.random_range(-bound..bound)).collect();
                Tensor::<2>::from_data(TensorData::new(values, [n, n]), device)
            };
            return Ok(Self::Product(Box::new(Product { x: square(), factor: square() })));
        }
        if path == "training-step" {
            let widths = CrossValidated::WIDTHS;
            let device = device.clone().autodiff();
            let weights = MlpWeights::init(&widths, &mut rng);
            return Ok(Self::Training(Box::new(Training {
                model: Some(Mlp::new(&weights, &device)),
                optimizer: adamw(1e-2),
                pixels: (0..BATCH * widths[0]).map(|_| rng.random_range(0.0..1.0)).collect(),
                labels: (0..BATCH).map(|_| rng.random_range(0..10)).collect(),
                loss: None,
                device,
            })));
        }
        if path == "language-training-step" {
            let config = LanguageModel::full().config;
            let device = device.clone().autodiff();
            return Ok(Self::Learning(Box::new(Learning {
                model: Some(Transformer::new(&config, &config.init(&mut rng), "hot paths", &device)?),
                optimizer: adamw(1e-2),
                tokens: (0..=PROMPT).map(|_| rng.random_range(0..1024)).collect(),
                loss: None,
                device,
            })));
        }
        let from = match path {
            "prefill-128" => Some(0),
            "decode" | "decode-packed" => Some(PROMPT),
            _ => None,
        };
        if let Some(from) = from {
            return Reading::new(from, path == "decode-packed", device).map(|reading| Self::Reading(Box::new(reading)));
        }
        let hint = nearest(path, ALL).map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
        Err(LabError::Engine { why: format!("there is no hot path “{path}”{hint}") })
    }

    fn operations(&self) -> f64 {
        match self {
            Self::Product(product) => 2.0 * (product.x.dims()[0] as f64).powi(3),
            Self::Training(_) => {
                let widths = CrossValidated::WIDTHS;
                let forward: usize = widths.windows(2).map(|pair| 2 * BATCH * pair[0] * pair[1]).sum();
                // Backward twice as much, less the gradient with respect to the pixels, which nobody wants.
                (3 * forward - 2 * BATCH * widths[0] * widths[1]) as f64
            }
            Self::Reading(reading) => {
                let end = reading.tokens.len();
                reading.model.config().flops(end - reading.from, end) as f64
            }
            // Backward twice as much as forward.
            Self::Learning(_) => 3.0 * LanguageModel::full().config.flops(PROMPT, PROMPT) as f64,
        }
    }

    /// Starts one step.
    fn step(&mut self) {
        match self {
            Self::Product(product) => product.x = matmul(product.x.clone(), product.factor.clone()),
            Self::Training(training) => training.step(),
            Self::Reading(reading) => reading.step(),
            Self::Learning(learning) => learning.step(),
        }
    }

    /// Waits until all steps are done, by reading one number.
    async fn settle(&self) -> Result<(), LabError> {
        match self {
            Self::Product(product) => read(product.x.clone().slice([0..1, 0..1])).await.map(drop),
            Self::Training(training) => match &training.loss {
                Some(loss) => read(loss.clone()).await.map(drop),
                None => Ok(()),
            },
            Self::Reading(reading) => match &reading.logits {
                Some(logits) => read(logits.clone().narrow(1, 0, 1)).await.map(drop),
                None => Ok(()),
            },
            Self::Learning(learning) => match &learning.loss {
                Some(loss) => read(loss.clone()).await.map(drop),
                None => Ok(()),
            },
        }
    }

    /// Every number that the steps changed.
    async fn all(self) -> Result<Vec<f32>, LabError> {
        match self {
            Self::Product(product) => read(product.x).await,
            Self::Training(training) => match training.model {
                Some(model) => {
                    let layers = model.valid().weights().await?.layers;
                    Ok(layers.into_iter().flat_map(|layer| [layer.weight, layer.bias].concat()).collect())
                }
                None => Ok(Vec::new()),
            },
            Self::Reading(reading) => match reading.logits {
                Some(logits) => read(logits).await,
                None => Ok(Vec::new()),
            },
            Self::Learning(learning) => match learning.model {
                Some(model) => {
                    let weights = model.valid().weights().await?;
                    Ok(weights.iter().flat_map(|(_, weight)| weight.values.clone()).collect())
                }
                None => Ok(Vec::new()),
            },
        }
    }
}

impl Learning {
    fn step(&mut self) {
        let Some(model) = self.model.take() else { return };
        let (inputs, targets) = windows_to_tensors(&[&self.tokens], &self.device);
        let logits = model.forward(inputs); // [1, PROMPT, V]
        let [_, rows, vocabulary] = logits.dims();
        let loss = cross_entropy(logits.reshape([rows, vocabulary]), targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-3, model, gradients));
        self.loss = Some(loss.inner());
    }
}

impl Reading {
    fn new(from: usize, packed: bool, device: &Device) -> Result<Self, LabError> {
        let config = LanguageModel::full().config;
        let mut rng = rng(0, "language model");
        let weights = config.init(&mut rng);
        let model = if packed {
            let settings = Settings::weight_only(4, Scheme::Symmetric, Granularity::Group(32));
            let quantize =
                |_: &str, weight: &Weight| PackedMatrix::quantize(&weight.values, weight.shape[1], &settings);
            let (matrices, rest) = pack(&weights, quantize)?;
            let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Int8, device);
            Transformer::packed(&config, matrices, &rest, ("hot paths", place), device)?
        } else {
            Transformer::new(&config, &weights, "hot paths", device)?
        };
        let tokens: Vec<u32> = (0..PROMPT + usize::from(from > 0)).map(|_| rng.random_range(0..1024)).collect();
        let mut cache = KvCache::new(&config, 1, tokens.len(), device)?;
        if from > 0 {
            model.next(model.tokens(&[&tokens[..from]], device)?, &mut cache)?;
        }
        Ok(Self { device: device.clone(), model, cache, tokens, from, logits: None })
    }

    fn step(&mut self) {
        self.cache.truncate(self.from);
        let tokens = self.model.tokens(&[&self.tokens[self.from..]], &self.device);
        // Neither can fail: the tokens are of the vocabulary, and the cache was made for them.
        self.logits = tokens.and_then(|tokens| self.model.next(tokens, &mut self.cache)).ok();
    }
}

impl Training {
    fn step(&mut self) {
        let Some(model) = self.model.take() else { return };
        let inputs = self.pixels.len() / BATCH;
        let x = Tensor::<2>::from_data(TensorData::new(self.pixels.clone(), [BATCH, inputs]), &self.device);
        let y = Tensor::<1, Int>::from_data(TensorData::new(self.labels.clone(), [BATCH]), &self.device);
        let loss = cross_entropy(model.forward(x), y);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-3, model, gradients));
        self.loss = Some(loss.inner());
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::testing::{self, FakeClock, ready};

    fn context() -> Context {
        testing::context(Rc::new(FakeClock::real()))
    }

    #[test]
    fn a_path_is_timed_and_agrees_with_itself_on_the_cpu() {
        for path in ["matmul-32", "training-step", "decode"] {
            let timing = ready(time(&context(), path, 10.0)).expect("runs");
            assert!(timing.samples_ms.len() >= *SAMPLES.start() && timing.median_ms > 0.0 && timing.first_ms > 0.0);
            assert!(timing.interval_ms.low <= timing.median_ms && timing.median_ms <= timing.interval_ms.high);
            assert_eq!(timing.deviation, 0.0, "{path}");
        }
    }

    #[test]
    fn operations_are_those_counted_by_hand() {
        let work = |path| Work::new(path, &Device::flex()).expect("known").operations();
        assert_eq!(work("matmul-4"), 2.0 * 64.0);
        // Products of a layer: forward, for the weight, and for the input, which the first does without.
        let layer = |inputs: f64, outputs: f64| 2.0 * 64.0 * inputs * outputs;
        let by_hand = 2.0 * layer(64.0, 128.0) + 3.0 * layer(128.0, 128.0) + 3.0 * layer(128.0, 10.0);
        assert_eq!(work("training-step"), by_hand);
    }

    #[test]
    fn a_training_step_changes_the_model_and_an_unknown_path_is_named() {
        let mut work = Work::new("training-step", &Device::flex()).expect("known");
        let before = ready(Work::new("training-step", &Device::flex()).expect("known").all());
        work.step();
        assert_ne!(ready(work.all()).expect("reads"), before.expect("reads"));
        let error = ready(repeat(&context(), "matmul-513x", 1)).expect_err("unknown").to_string();
        assert!(error.contains("matmul-513x") && error.contains("did you mean “matmul-512”"), "{error}");
    }
}
