//! One set of weights for all networks of a space: how well it ranks them, and what a mixture of all of them finds.

mod figures;
mod run;
#[cfg(feature = "schema")]
mod study;
#[cfg(feature = "schema")]
mod study_mixtures;
mod summary;
#[cfg(test)]
mod tests;
mod truth;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Method
    pub method: Method,
    /// Steps
    ///
    /// Of a single path. DARTS computes every operation of every slot, so it gets a fifth of them.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 3000), extend("x-step" = 10)))]
    pub steps: u32,
    /// Residual
    ///
    /// Operations add to what they get. The recorded table has such networks only, so without it there are no ranks.
    pub residual: bool,
    /// Images
    ///
    /// Those by which every path is judged.
    #[cfg_attr(feature = "schema", schemars(range(min = 64, max = 2816), extend("x-unit" = "images", "x-step" = 64)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["uniform", "fair"]})))]
    pub images: u32,
    /// Price
    ///
    /// Of 100,000 expected FLOPs, in nats.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0), extend("x-step" = 0.05)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["darts", "gumbel"]})))]
    pub price: f64,
    /// Look ahead
    ///
    /// Shares are judged one step of the weights later (second order).
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["darts"]})))]
    pub ahead: bool,
    /// Steps for the winner
    ///
    /// Trained anew, alone.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 522)))]
    pub winner_steps: u32,
}

/// How weights are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Method {
    /// One path a step, drawn uniformly
    #[serde(rename = "uniform")]
    Uniform,
    /// One path a step, in fair rounds
    #[serde(rename = "fair")]
    Fair,
    /// A mixture (DARTS)
    #[serde(rename = "darts")]
    Darts,
    /// One sampled path (Gumbel)
    #[serde(rename = "gumbel")]
    Gumbel,
}

impl Method {
    /// Whether shares are trained, too.
    fn mixes(self) -> bool {
        matches!(self, Self::Darts | Self::Gumbel)
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: Method::Uniform,
            steps: 500,
            residual: true,
            images: 192,
            price: 0.0,
            ahead: false,
            winner_steps: 174,
        }
    }
}

/// Steps of DARTS for as many of a single path.
const FEWER: u32 = 5;

impl Params {
    /// Steps that the method takes.
    fn taken(&self) -> usize {
        (if self.method == Method::Darts { self.steps / FEWER } else { self.steps }) as usize
    }

    /// What the ranges cannot say.
    fn check(&self) -> Result<(), LabError> {
        if self.method == Method::Darts && self.taken() < 10 {
            let why = format!("DARTS takes a fifth of {} steps, and 10 are the least: take 50 or more", self.steps);
            return Err(LabError::BadParam(BadParam { name: "steps".into(), why }));
        }
        Ok(())
    }
}

/// The lab.
pub struct OneShotNas;

impl Lab for OneShotNas {
    const ID: &'static str = "one-shot-nas";
    type Params = Params;

    fn smoke() -> Params {
        Params { steps: 50, images: 64, winner_steps: 20, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        if params.method.mixes() { run::mixture(&params, cx).await } else { run::paths(&params, cx).await }
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
