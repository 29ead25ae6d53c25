//! Which tensors of a training step may be kept in 16 bits or fewer, which may not, and what has to be added: a network whose
//! every tensor is really rounded, and the gradients of the language model laid over the range of a format.

mod arms;
mod figures;
mod language;
mod measure;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    formats::{Clip, Format, Keep, Policy, Scaler, Scaling},
    subject::Subject,
};
use serde::{Deserialize, Serialize};

use arms::Race;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Format
    ///
    /// Of the tensors that are rounded. Products add up in FP32.
    pub format: Numbers,
    /// Weights between steps
    pub weights: Keeping,
    /// Rounded
    ///
    /// Which tensors are kept in the format.
    pub round: Tensors,
    /// Loss scale
    ///
    /// What the loss is multiplied by before the backward pass.
    pub scaling: LossScale,
    /// Scale, as a power of two
    ///
    /// The scale, or the one that a dynamic scale starts from.
    #[cfg_attr(feature = "schema", schemars(range(min = -16, max = 24), extend("x-step" = 1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "scaling", "is": ["static", "dynamic"]})))]
    pub scale_log2: i32,
    /// Clean steps until the scale doubles
    #[cfg_attr(feature = "schema", schemars(range(min = 10, max = 2000), extend("x-unit" = "steps", "x-step" = 10)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "scaling", "is": ["dynamic"]})))]
    pub growth_interval: u32,
    /// Clipping
    ///
    /// Long gradients are shortened to a norm of 1.
    pub clip: Clipping,
    /// Learning rate
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0001, max = 0.1), extend("x-step" = 0.0001)))]
    pub learning_rate: f64,
    /// Steps
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 2000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
    /// Compare
    ///
    /// What stands beside FP32 and your choice. All start from the same weights and see the same images in the same order.
    pub compare: Compare,
    /// Model
    pub model: Model,
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }
    };
}

choice! {
    /// Numbers.
    Numbers {
        /// FP32
        Fp32 = "fp32",
        /// FP16
        Fp16 = "fp16",
        /// BF16
        Bf16 = "bf16",
        /// FP8, E4M3
        E4m3 = "e4m3",
        /// FP8, E5M2
        E5m2 = "e5m2",
        /// FP8, E4M3 forward and E5M2 for gradients
        Hybrid = "fp8_hybrid",
        /// MXFP4, a scale for each 32
        Mxfp4 = "mxfp4",
        /// NVFP4, a scale for each 16
        Nvfp4 = "nvfp4",
    }
}

choice! {
    /// Between steps.
    Keeping {
        /// FP32 master copy
        Master = "master",
        /// Rounded to nearest
        Rounded = "rounded",
        /// Rounded at random
        Stochastic = "stochastic",
        /// Rounded, and the loss remembered (Kahan)
        Kahan = "kahan",
    }
}

choice! {
    /// Which tensors.
    Tensors {
        /// Weights, activations and gradients
        All = "all",
        /// Weights
        Weights = "weights",
        /// Activations
        Activations = "activations",
        /// Gradients
        Gradients = "gradients",
    }
}

choice! {
    /// The loss.
    LossScale {
        /// None
        None = "none",
        /// Static
        Static = "static",
        /// Dynamic
        Dynamic = "dynamic",
    }
}

choice! {
    /// The gradient.
    Clipping {
        /// None
        None = "none",
        /// After the scale is divided out
        After = "after",
        /// Before: a mistake
        Before = "before",
    }
}

choice! {
    /// Beside the choice.
    Compare {
        /// Ways to keep weights
        Weights = "weights",
        /// Learning rates
        Rates = "learning_rate",
        /// Loss scales
        Scales = "scale",
        /// Formats
        Formats = "format",
    }
}

choice! {
    /// What learns.
    Model {
        /// Digits, 26,122 weights
        Mlp = "mlp",
        /// Language model, 2.1 million weights
        ///
        /// Only stored weights are rounded. It takes a tenth of the steps, some of a second each.
        Language = "language",
    }
}

impl Numbers {
    /// Of weights, activations and gradients.
    fn formats(self) -> [Format; 3] {
        match self {
            Self::Fp32 => [Format::Fp32; 3],
            Self::Fp16 => [Format::Fp16; 3],
            Self::Bf16 => [Format::Bf16; 3],
            Self::E4m3 => [Format::E4m3; 3],
            Self::E5m2 => [Format::E5m2; 3],
            Self::Hybrid => [Format::E4m3, Format::E4m3, Format::E5m2],
            Self::Mxfp4 => [Format::Mxfp4; 3],
            Self::Nvfp4 => [Format::Nvfp4; 3],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "FP8 hybrid",
            other => other.formats()[0].name(),
        }
    }
}

impl Keeping {
    fn keep(self) -> Keep {
        match self {
            Self::Master => Keep::Master,
            Self::Rounded => Keep::Rounded,
            Self::Stochastic => Keep::Stochastic,
            Self::Kahan => Keep::Kahan,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            format: Numbers::Bf16,
            weights: Keeping::Rounded,
            round: Tensors::All,
            scaling: LossScale::None,
            scale_log2: 16,
            growth_interval: 100,
            clip: Clipping::None,
            learning_rate: 0.005,
            steps: 400,
            compare: Compare::Weights,
            model: Model::Mlp,
        }
    }
}

impl Params {
    fn policy(&self) -> Policy {
        let [weights, activations, gradients] = self.format.formats();
        let only = |wanted: Tensors, format| {
            if self.round == Tensors::All || self.round == wanted { format } else { Format::Fp32 }
        };
        let scale = self.scale();
        Policy {
            weights: only(Tensors::Weights, weights),
            activations: only(Tensors::Activations, activations),
            gradients: only(Tensors::Gradients, gradients),
            keep: self.weights.keep(),
            scaling: match self.scaling {
                LossScale::Dynamic => Scaling::Dynamic(Scaler::new(scale, self.growth_interval)),
                _ => Scaling::Fixed(scale),
            },
            clip: match self.clip {
                Clipping::None => Clip::Never,
                Clipping::After => Clip::Unscaled(1.0),
                Clipping::Before => Clip::Scaled(1.0),
            },
        }
    }

    /// What the first loss is multiplied by.
    fn scale(&self) -> f32 {
        if self.scaling == LossScale::None { 1.0 } else { (self.scale_log2 as f32).exp2() }
    }

    /// Windows of 128 tokens whose gradients are looked at.
    fn windows(&self) -> usize {
        if self.steps < 100 { 1 } else { 4 }
    }

    fn check(&self) -> Result<(), LabError> {
        let by_itself = self.policy().weights.own_layout().is_some() || self.format == Numbers::Fp32;
        if !by_itself
            && matches!(self.weights, Keeping::Stochastic | Keeping::Kahan)
            && self.round != Tensors::Activations
            && self.round != Tensors::Gradients
        {
            let why = "weights that share scales are kept as a master copy or rounded to nearest here".into();
            return Err(LabError::BadParam(BadParam { name: "weights".into(), why }));
        }
        Ok(())
    }
}

/// The lab.
pub struct MixedPrecision;

impl Lab for MixedPrecision {
    const ID: &'static str = "mixed-precision";
    type Params = Params;

    fn smoke() -> Params {
        Params { steps: 20, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let mut report = Report { metrics: summary::counted(&params), ..Report::default() };
        report.tables.push(figures::sums());
        cx.publish(&report)?;

        cx.progress("A backward pass of the language model", 0.02);
        let found = language::Found::of(params.windows(), cx).await?;
        report.metrics.extend(summary::gradients(&found, &params));
        report.charts.extend(figures::gradients(&found, &params));
        report.tables.push(figures::tensors(&found));
        report.charts.push(figures::standing(&found));
        cx.publish(&report)?;

        if params.model == Model::Language {
            let runs =
                language::fine_tune(&params, cx, |done| cx.progress("The language model learns", 0.1 + 0.85 * done))
                    .await?;
            summary::language(&mut report, &runs);
            report.charts.insert(0, figures::language(&runs));
        } else {
            let subject = Subject::load(cx).await?;
            let mut race = Race::new(&params, &subject, 0, cx);
            let steps = params.steps as usize;
            let every = steps.div_ceil(5);
            for step in 0..steps {
                race.advance(cx);
                if step % 8 == 7 {
                    cx.checkpoint().await?;
                    cx.progress("All learn, step by step", 0.2 + 0.6 * step as f64 / steps as f64);
                }
                if step % every == every - 1 {
                    let mut so_far = report.clone();
                    so_far.charts.insert(0, figures::curves(&race));
                    cx.publish(&so_far)?;
                }
            }
            cx.progress("Counting bytes and time", 0.85);
            let measured = measure::Measured::of(&race, cx).await?;
            let judged = race.judge(cx).await?;
            summary::complete(&mut report, &params, &race, &judged, &measured, cx);
            report.charts.insert(0, figures::curves(&race));
            report.tables.insert(0, figures::arms(&race, &judged));
        }
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_the_policy_that_they_name() {
        let only = |round| {
            let policy =
                Params { round, format: Numbers::Hybrid, weights: Keeping::Master, ..Params::default() }.policy();
            [policy.weights, policy.activations, policy.gradients]
        };
        assert_eq!(only(Tensors::All), [Format::E4m3, Format::E4m3, Format::E5m2]);
        assert_eq!(only(Tensors::Weights), [Format::E4m3, Format::Fp32, Format::Fp32]);
        assert_eq!(only(Tensors::Gradients), [Format::Fp32, Format::Fp32, Format::E5m2]);
        let scaled = Params { scaling: LossScale::Static, scale_log2: -3, ..Params::default() };
        assert_eq!(scaled.policy().scaling, Scaling::Fixed(0.125));
        assert_eq!(Params { scaling: LossScale::None, ..scaled }.policy().scaling, Scaling::Fixed(1.0));
    }

    #[test]
    fn weights_that_share_scales_are_not_rounded_at_random() {
        for weights in [Keeping::Stochastic, Keeping::Kahan] {
            let params = Params { format: Numbers::Mxfp4, weights, ..Params::default() };
            assert!(matches!(params.check(), Err(LabError::BadParam(BadParam { name, .. })) if name == "weights"));
            assert!(Params { round: Tensors::Gradients, ..params }.check().is_ok());
        }
        for format in [Numbers::Fp32, Numbers::Fp16, Numbers::E4m3, Numbers::Hybrid] {
            assert!(Params { format, weights: Keeping::Stochastic, ..Params::default() }.check().is_ok());
        }
    }
}
