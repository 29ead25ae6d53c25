//! A matrix of a trained model, what flows through it, and what it is turned into.

use lab_api::LabError;
use lab_kit::{
    burn::tensor::Tensor,
    linalg::{Factors, Gauge, Matrix, Root, Weighted, gauge_numbers, plain_numbers, random_subspace, weighted},
    mlp::read,
    quant::{Granularity, PackedMatrix, Scheme, Settings},
};
use rand::Rng;

use super::{Method, Params, Store};

/// A matrix `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) weight: Matrix,
}

impl Layer {
    pub(super) fn new(name: &str, outputs: usize, inputs: usize, weight: &[f32]) -> Self {
        Self { name: name.to_owned(), weight: Matrix::from_singles(outputs, inputs, weight) }
    }

    pub(super) fn numbers(&self) -> usize {
        self.weight.values.len()
    }
}

/// What flows through a matrix: means over the rows seen.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    rows: usize,
    /// Of products of any two inputs, `[inputs, inputs]`.
    pub(super) moment: Matrix,
    /// Of the size of each input.
    magnitude: Vec<f64>,
    /// Of products of any two gradients of the outputs, `[outputs, outputs]`, where they were asked for.
    gradients: Option<Matrix>,
}

impl Flow {
    pub(super) fn new(inputs: usize) -> Self {
        Self { rows: 0, moment: Matrix::zeros(inputs, inputs), magnitude: vec![0.0; inputs], gradients: None }
    }

    /// Takes inputs `[rows, inputs]` into account.
    pub(super) async fn add(&mut self, inputs: Tensor<2>) -> Result<(), LabError> {
        let [rows, _] = inputs.dims();
        self.rows += rows;
        gather(&mut self.moment, inputs.clone()).await?;
        let sizes = read(inputs.abs().sum_dim(0)).await?;
        self.magnitude.iter_mut().zip(sizes).for_each(|(sum, size)| *sum += f64::from(size));
        Ok(())
    }

    /// Takes gradients of the same rows `[rows, outputs]` into account.
    pub(super) async fn add_gradients(&mut self, gradients: Tensor<2>) -> Result<(), LabError> {
        let [_, outputs] = gradients.dims();
        gather(self.gradients.get_or_insert_with(|| Matrix::zeros(outputs, outputs)), gradients).await
    }

    /// With the gradients of another, which saw as many rows.
    pub(super) fn with_gradients(mut self, other: Option<Self>) -> Self {
        let share = (self.rows.max(1) as f64).recip();
        self.gradients = other.and_then(|other| other.gradients);
        self.gradients.iter_mut().flat_map(|matrix| &mut matrix.values).for_each(|sum| *sum *= share);
        self
    }

    /// Sums become means.
    pub(super) fn finish(mut self) -> Self {
        let share = (self.rows.max(1) as f64).recip();
        let gradients = self.gradients.iter_mut().flat_map(|matrix| &mut matrix.values);
        self.moment.values.iter_mut().chain(&mut self.magnitude).chain(gradients).for_each(|sum| *sum *= share);
        self
    }
}

/// Adds `xᵀ x`.
async fn gather(sums: &mut Matrix, x: Tensor<2>) -> Result<(), LabError> {
    let products = read(lab_kit::matmul(x.clone().transpose(), x)).await?;
    sums.values.iter_mut().zip(products).for_each(|(sum, product)| *sum += f64::from(product));
    Ok(())
}

// ANCHOR: decompose
/// The directions of a matrix, in the order in which the method would keep them.
pub(super) fn decompose(layer: &Layer, flow: &Flow, params: &Params, rng: &mut impl Rng) -> Result<Weighted, LabError> {
    let refuse = || LabError::Refused {
        why: format!(
            "{} rows do not show all {} inputs of “{}”: take more examples or more damping",
            flow.rows, layer.weight.columns, layer.name
        ),
    };
    let whitened = || Root::of(&flow.moment, params.damping).ok_or_else(refuse);
    let (left, right) = match params.method {
        Method::Random => return Ok(random_subspace(&layer.weight, rng)),
        Method::Plain => (Root::None, Root::None),
        Method::Diagonal => (Root::None, Root::Diagonal(powers(&flow.magnitude, params.alpha))),
        Method::Whitened => (Root::None, whitened()?),
        Method::TwoSided => match &flow.gradients {
            Some(gradients) => (Root::of(gradients, params.damping).ok_or_else(refuse)?, whitened()?),
            None => (Root::None, whitened()?),
        },
    };
    weighted(&layer.weight, &left, &right)
        .ok_or_else(|| LabError::Engine { why: format!("the matrix “{}” holds what is not a number", layer.name) })
}
// ANCHOR_END: decompose

/// What each column is scaled by; silent inputs keep a little.
fn powers(magnitude: &[f64], alpha: f64) -> Vec<f64> {
    let mean = magnitude.iter().sum::<f64>() / magnitude.len().max(1) as f64;
    magnitude.iter().map(|size| size.max(1e-6 * mean).max(f64::MIN_POSITIVE).powf(alpha)).collect()
}

/// What a matrix or a kernel has become.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// As trained.
    Dense,
    /// One matrix with other numbers.
    Whole(Matrix),
    /// Two factors.
    Pair(Factors),
    /// A chain of convolutions.
    Chain(Vec<Stage>),
}

/// One convolution of a chain.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// Outputs, inputs of each group, height and width of the window.
    pub(super) shape: [usize; 4],
    pub(super) values: Vec<f32>,
    pub(super) groups: usize,
}

/// Levels of the 4-bit rivals: groups of 32 weights share a scale.
fn int4() -> Settings {
    Settings::weight_only(4, Scheme::Symmetric, Granularity::Group(32))
}

impl Piece {
    /// Numbers that are stored for it.
    pub(super) fn numbers(&self, layer: &Layer, store: Store) -> usize {
        let (outputs, inputs) = (layer.weight.rows, layer.weight.columns);
        match self {
            Self::Dense | Self::Whole(_) => layer.numbers(),
            Self::Pair(factors) if store == Store::Gauge && Gauge::of(factors).is_some() => {
                gauge_numbers(factors.rank(), outputs, inputs)
            }
            Self::Pair(factors) => plain_numbers(factors.rank(), outputs, inputs),
            Self::Chain(stages) => stages.iter().map(|stage| stage.values.len()).sum(),
        }
    }

    /// The same in 4 bits, and its bytes: integers and scales.
    pub(super) fn rounded(&self, layer: &Layer) -> (Self, usize) {
        let mut bytes = 0;
        let mut round = |values: &[f32], columns: usize| {
            let packed = PackedMatrix::quantize(values, columns, &int4());
            bytes += packed.bytes();
            packed.dequantize()
        };
        let mut matrix = |m: &Matrix| Matrix::from_singles(m.rows, m.columns, &round(&m.to_singles(), m.columns));
        let piece = match self {
            Self::Dense => Self::Whole(matrix(&layer.weight)),
            Self::Whole(whole) => Self::Whole(matrix(whole)),
            Self::Pair(Factors { a, b }) => Self::Pair(Factors { a: matrix(a), b: matrix(b) }),
            Self::Chain(stages) => {
                let rounded = stages.iter().map(|stage| {
                    let columns = stage.shape[1..].iter().product();
                    Stage { values: round(&stage.values, columns), ..stage.clone() }
                });
                Self::Chain(rounded.collect())
            }
        };
        (piece, bytes)
    }
}
