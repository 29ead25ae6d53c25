//! Several operations in one pass: launches and bytes that it saves, and the time that it saves, wins nothing, or loses.

mod burn_arms;
mod device;
mod figures;
mod losing;
mod network;
#[cfg(feature = "schema")]
mod study;
#[cfg(feature = "schema")]
mod study_losing;
mod subject;
mod summary;
#[cfg(test)]
mod tests;
mod timing;

use lab_api::{DeviceKind, LabError, Report};
use lab_kit::{
    Context, Lab,
    fusion::{ChainStep, FusionPair},
};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Operations that follow each other
    ///
    /// The rows *Launches*, *Moved* and *Gain* are about these; the charts compare all of them.
    pub pair: Neighbours,
    /// Numbers
    ///
    /// As a power of two: 20 are about a million numbers, 4 MB. Products get as many rows as these numbers fill, 256 at most.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 22), extend("x-unit" = "= log₂")))]
    pub numbers: u32,
    /// Operations of the chain
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16)))]
    pub length: u32,
    /// Operation of the chain
    pub operation: Operation,
    /// Elements side by side
    ///
    /// How many elements the fused loop works on at once.
    pub lanes: Lanes,
    /// Numbers of a block
    ///
    /// For the arm that runs separate passes over one block after the other.
    #[cfg_attr(feature = "schema", schemars(range(min = 64, max = 262_144), extend("x-step" = 64)))]
    pub block: u32,
    /// Numbers of a row
    ///
    /// Of softmax and RMSNorm.
    #[cfg_attr(feature = "schema", schemars(range(min = 32, max = 4096), extend("x-step" = 32)))]
    pub row: u32,
    /// Measured as well
    pub side: Side,
}

/// Operations that often follow each other in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Neighbours {
    /// A chain of elementwise operations
    Chain,
    /// SwiGLU
    Swiglu,
    /// Softmax
    Softmax,
    /// RMSNorm
    Norm,
    /// RMSNorm and a product
    NormProduct,
    /// A product, its bias and GELU
    ProductGelu,
    /// A step of AdamW
    Adamw,
}

/// What the chain does to each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Cheap: half of it and a quarter
    Cheap,
    /// Exponential: e⁻ˣ
    Exp,
}

/// Elements side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Lanes {
    /// 1
    #[serde(rename = "1")]
    One,
    /// 4
    #[serde(rename = "4")]
    Four,
    /// 8
    #[serde(rename = "8")]
    Eight,
    /// 16
    #[serde(rename = "16")]
    Sixteen,
    /// 32
    #[serde(rename = "32")]
    All,
}

/// What is measured beside the chains and pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Nothing more
    None,
    /// A product, rung by rung
    Products,
    /// Fusions that may lose
    Losing,
}

impl Neighbours {
    pub(crate) const ALL: [Self; 7] =
        [Self::Chain, Self::Swiglu, Self::Softmax, Self::Norm, Self::NormProduct, Self::ProductGelu, Self::Adamw];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Swiglu => "SwiGLU",
            Self::Softmax => "softmax",
            Self::Norm => "RMSNorm",
            Self::NormProduct => "norm + product",
            Self::ProductGelu => "product + GELU",
            Self::Adamw => "AdamW",
        }
    }

    pub(crate) fn id(self) -> &'static str {
        ["chain", "swiglu", "softmax", "norm", "norm_product", "product_gelu", "adamw"][self as usize]
    }

    /// Channels of the language model: of its products.
    pub(crate) fn pair(self, length: usize) -> FusionPair {
        let (inputs, outputs) = (subject::INPUTS, subject::OUTPUTS);
        match self {
            Self::Chain => FusionPair::Chain(length),
            Self::Swiglu => FusionPair::SwiGlu,
            Self::Softmax => FusionPair::Softmax,
            Self::Norm => FusionPair::Norm,
            Self::NormProduct => FusionPair::NormProduct { inputs, outputs },
            Self::ProductGelu => FusionPair::ProductGelu { inputs, outputs },
            Self::Adamw => FusionPair::AdamW,
        }
    }
}

impl Operation {
    pub(crate) fn step(self) -> ChainStep {
        match self {
            Self::Cheap => ChainStep::Cheap,
            Self::Exp => ChainStep::Exp,
        }
    }
}

impl Lanes {
    pub(crate) fn count(self) -> usize {
        [1, 4, 8, 16, 32][self as usize]
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            pair: Neighbours::Chain,
            numbers: 20,
            length: 8,
            operation: Operation::Cheap,
            lanes: Lanes::All,
            block: 2048,
            row: 128,
            side: Side::None,
        }
    }
}

/// The lab.
pub struct Fusion;

impl Lab for Fusion {
    const ID: &'static str = "fusion";
    type Params = Params;

    fn smoke() -> Params {
        Params { numbers: 9, row: 32, block: 64, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let mut report = Report::default();
        cx.progress("Counting launches and bytes", 0.0);
        let model = network::count()?;
        let mut cases: Vec<_> = Neighbours::ALL.iter().map(|which| subject::Case::new(*which, &params, cx)).collect();
        let apart = subject::deviation(&mut cases[params.pair as usize]);
        report.metrics = summary::counted(&params, &cases, apart, &model);
        report.charts = vec![figures::model(&model)];
        report.tables = vec![figures::pairs_table(&params, &cases), figures::kernel(&params)];
        cx.publish(&report)?;

        cx.progress("Timing chains", 0.1);
        let chains = timing::chains(&params, &timing::sizes(params.numbers), 5, false, cx).await?;
        report.charts.insert(0, figures::gain(&chains, &params));
        report.charts.insert(1, figures::arms(&chains, &params));
        report.metrics.extend(summary::chains(&chains, cx));
        cx.progress("Timing pairs", 0.5);
        let pairs = timing::pairs(&mut cases, 7, cx).await?;
        report.charts.insert(2, figures::pairs(&params, &cases, &pairs));
        let at = summary::pair(&params, &cases, &pairs, cx);
        drop(report.metrics.splice(0..0, at));
        cx.progress("Timing elements side by side", 0.7);
        let lanes = timing::lanes(&params, 5, cx).await?;
        report.charts.insert(2, figures::lanes(&lanes, &params));
        report.metrics.extend(summary::lanes(&lanes, cx));
        report.metrics.extend(burn_arms::run(&params, 5, cx).await?);
        match params.side {
            Side::None => {}
            Side::Products => {
                cx.progress("Timing products", 0.8);
                report.charts.push(losing::ladder_chart(&losing::ladder(256, 3, cx).await?));
            }
            Side::Losing => {
                cx.progress("Timing what may lose", 0.8);
                report.charts.push(losing::chart(&losing::run(&params, 3, cx).await?));
            }
        }
        if cx.device_info.kind == DeviceKind::Webgpu {
            cx.progress("Launching the chain on the GPU", 0.9);
            report.metrics.extend(device::run(&params, cx).await?);
            report.notes.push(
                "Chains, pairs and products ran on the processor, whatever device was chosen. The chain on the GPU has numbers of its own."
                    .into(),
            );
        }
        report.notes.extend(summary::notes(&params));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
