//! A trained language model learns a new habit: all its weights, or few numbers beside them. What that costs in memory, time
//! and in the old ability, and what becomes of an adapter that is merged into stored weights.

mod arm;
mod figures;
mod judge;
mod material;
mod merging;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    adapters::{Method as Kind, Setting, Storage, Targets},
};
use serde::{Deserialize, Serialize};

use arm::Arm;
use judge::Judged;
use material::Material;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Method
    ///
    /// What learns. A twin whose every weight learns runs beside it.
    pub method: Method,
    /// Rank
    ///
    /// Of the factors; width of a bottleneck; rows of a prompt or prefix.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 64), extend("x-step" = 1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["lora", "dora", "prompt", "prefix", "adapter"]})))]
    pub rank: u32,
    /// Alpha
    ///
    /// What the adapter is multiplied by, before it is divided as below.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.25, max = 128.0), extend("x-step" = 0.25)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["lora", "dora"]})))]
    pub alpha: f64,
    /// Divided by
    ///
    /// What the rank does to the scale.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["lora", "dora"]})))]
    pub scaling: Scaling,
    /// Targets
    ///
    /// Which matrices of each layer get an adapter.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["lora", "dora", "bias"]})))]
    pub targets: Where,
    /// Base
    ///
    /// How the frozen matrices of the layers are stored while the method learns. The twin always learns in FP32.
    pub base: Format,
    /// New habit
    ///
    /// What the text looks like that the model has to learn.
    pub domain: Domain,
    /// Learning rate
    ///
    /// As a multiple of a cautious rate for this method; the twin keeps its own.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.1, max = 10.0), extend("x-unit" = "×", "x-step" = 0.1)))]
    pub rate: f64,
    /// Steps
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 200), extend("x-unit" = "steps", "x-step" = 4)))]
    pub steps: u32,
    /// Rows
    ///
    /// Stretches of 64 tokens in each step.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4), extend("x-unit" = "rows", "x-step" = 1)))]
    pub batch: u32,
    /// Merged into
    ///
    /// How the weights are stored into which the adapter is merged in the end.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["full", "lora", "dora", "norm", "head"]})))]
    pub merge_to: Format,
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
    /// What learns.
    Method {
        /// All weights
        Full = "full",
        /// LoRA
        ///
        /// Two thin factors beside each target matrix.
        Lora = "lora",
        /// DoRA
        ///
        /// The same, and a length for each row of the sum.
        Dora = "dora",
        /// Biases
        ///
        /// One for each output of the target matrices, which had none.
        Bias = "bias",
        /// Norm gains
        Norm = "norm",
        /// Output matrix
        Head = "head",
        /// Prompt
        ///
        /// Trained rows before the text.
        Prompt = "prompt",
        /// Prefix
        ///
        /// Trained keys and values before the text, in each layer.
        Prefix = "prefix",
        /// Bottleneck adapters
        ///
        /// A small network after attention and after the feed-forward network of each layer.
        Adapter = "adapter",
    }
}

choice! {
    /// What the rank does to the scale.
    Scaling {
        /// the rank
        Standard = "standard",
        /// the root of the rank
        ///
        /// Rank-stabilized.
        Stabilized = "rank_stabilized",
    }
}

choice! {
    /// Which matrices.
    Where {
        /// Queries and values
        QueryValue = "qv",
        /// Attention
        Attention = "attention",
        /// Feed-forward
        FeedForward = "mlp",
        /// All seven
        All = "all",
    }
}

choice! {
    /// How weights are stored.
    Format {
        /// FP32
        Fp32 = "fp32",
        /// BF16
        Bf16 = "bf16",
        /// INT8, a scale for each row
        Int8 = "int8",
        /// INT4, a scale for each row
        Int4 = "int4",
        /// NF4, a scale for each 64
        Nf4 = "nf4",
    }
}

choice! {
    /// What is new.
    Domain {
        /// Every space is an underscore
        Underscores = "underscores",
        /// Upper case
        Upper = "upper",
    }
}

choice! {
    /// Which model.
    Model {
        /// 2.1 million weights
        Full = "full",
        /// 0.15 million weights
        Draft = "draft",
    }
}

impl Format {
    fn storage(self) -> Storage {
        match self {
            Self::Fp32 => Storage::Fp32,
            Self::Bf16 => Storage::Bf16,
            Self::Int8 => Storage::Int8,
            Self::Int4 => Storage::Int4,
            Self::Nf4 => Storage::Nf4,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: Method::Lora,
            rank: 8,
            alpha: 16.0,
            scaling: Scaling::Standard,
            targets: Where::All,
            base: Format::Fp32,
            domain: Domain::Underscores,
            rate: 1.0,
            steps: 24,
            batch: 2,
            merge_to: Format::Bf16,
            model: Model::Full,
        }
    }
}

impl Params {
    fn setting(&self) -> Setting {
        let rank = self.rank as usize;
        let divisor = match self.scaling {
            Scaling::Standard => f64::from(self.rank),
            Scaling::Stabilized => f64::from(self.rank).sqrt(),
        };
        Setting {
            method: match self.method {
                Method::Full => Kind::Full,
                Method::Lora => Kind::LowRank,
                Method::Dora => Kind::Decomposed,
                Method::Bias => Kind::Bias,
                Method::Norm => Kind::Norms,
                Method::Head => Kind::Head,
                Method::Prompt => Kind::Prompt,
                Method::Prefix => Kind::Prefix,
                Method::Adapter => Kind::Bottleneck,
            },
            rank,
            scale: (self.alpha / divisor) as f32,
            targets: match self.targets {
                Where::QueryValue => Targets::QueryValue,
                Where::Attention => Targets::Attention,
                Where::FeedForward => Targets::FeedForward,
                Where::All => Targets::All,
            },
        }
    }

    fn learning_rate(&self) -> f64 {
        self.rate * arm::usual_rate(&self.setting())
    }

    /// Windows of each text that judge.
    fn windows(&self) -> usize {
        if self.steps < 10 { 2 } else { 12 }
    }
}

/// The lab.
pub struct Lora;

impl Lab for Lora {
    const ID: &'static str = "lora";
    type Params = Params;

    fn smoke() -> Params {
        Params { steps: 4, batch: 1, model: Model::Draft, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let setting = params.setting();
        cx.progress("Loading the model and its text", 0.0);
        let material = Material::load(&params, cx).await?;
        if let Err(LabError::Refused { why }) = setting.check(&material.config) {
            return Err(LabError::BadParam(BadParam { name: "rank".into(), why }));
        }
        let full = Setting { method: Kind::Full, ..setting };
        let plan = [
            ("All weights".to_owned(), full, arm::usual_rate(&full), Storage::Fp32),
            (summary::name(&params), setting, params.learning_rate(), params.base.storage()),
        ];
        let mut arms = Vec::new();
        for (name, setting, rate, storage) in plan {
            arms.push(Arm::new(name, setting, rate, storage, &material, &params, cx).await?);
        }
        let mut report = Report::default();
        report.metrics.extend(summary::counted(&material, &arms, &params));
        cx.publish(&report)?;

        // The twin that adds its factors up at each step is timed, not trained to the end.
        let mut composed = match params.method {
            Method::Lora => {
                let setting = Setting { method: Kind::Composed, ..setting };
                Some(
                    Arm::new(
                        "Sum".into(),
                        setting,
                        params.learning_rate(),
                        params.base.storage(),
                        &material,
                        &params,
                        cx,
                    )
                    .await?,
                )
            }
            _ => None,
        };
        let steps = params.steps as usize;
        for step in arm::FIRST..steps {
            for arm in &mut arms {
                arm.advance(cx).await?;
            }
            if let Some(arm) = composed.as_mut().filter(|arm| arm.ms.len() < arm::TIMED) {
                arm.advance(cx).await?;
            }
            if step % 8 == 7 {
                let mut so_far = report.clone();
                so_far.charts.push(figures::curves(&arms));
                cx.publish(&so_far)?;
            }
            cx.progress("Both learn, step by step", 0.1 + 0.6 * step as f64 / steps as f64);
        }

        cx.progress("Reading unseen text", 0.72);
        let before = Judged::of(&material.model(Storage::Fp32, &cx.device)?, &material, cx).await?;
        let mut judged = Vec::new();
        for arm in &arms {
            judged.push(Judged::of(&arm.model(), &material, cx).await?);
        }
        let merged = merging::run(&arms[1], &material, params.merge_to.storage(), cx).await?;
        cx.progress("Timing", 0.9);
        let decode = arms[1].decode(&material, cx).await?;
        summary::complete(
            &mut report,
            &params,
            (&arms, composed.as_ref()),
            (&before, &judged, &merged),
            (&decode, &material),
            cx,
        )?;
        report.charts.push(figures::plane(&before, &arms, &judged));
        report.charts.push(figures::curves(&arms));
        report.tables.push(figures::table(&before, &arms, &judged, &merged));
        report.tables.extend(figures::texts(&material, &arms[1], cx).await?);
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
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context_with, ready};

    use super::*;

    const ASSETS: [&str; 4] =
        ["language/draft.safetensors", "corpus/tokenizer.json", "corpus/validation.txt.gz", "corpus/test.txt.gz"];

    #[test]
    fn a_habit_is_learned_beside_a_base_that_stays_and_merging_into_singles_keeps_it() {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &ASSETS);
        let params = Params { steps: 16, rank: 4, alpha: 8.0, ..Lora::smoke() };
        let material = ready(Material::load_with(&params, 2, &cx)).expect("shipped");
        // Both texts are of the same places, and only one of them has spaces.
        for (old, new) in material.old.iter().zip(&material.new) {
            let (old, new) = (material.tokenizer.decode(old), material.tokenizer.decode(new));
            assert!(old.contains(' ') && !new.contains(' ') && new.contains('_'));
            assert!(old.replace(' ', "_").starts_with(&new[..new.len().min(20)]));
        }
        let before = ready(Judged::of(&material.model(Storage::Fp32, &cx.device).expect("fits"), &material, &cx));
        let before = before.expect("judged").new_loss();
        let begin = |storage| {
            let mut arm =
                Arm::begin("a test".into(), params.setting(), (1e-2, 16), storage, &material, &cx).expect("fits");
            for _ in 0..16 {
                ready(arm.advance(&cx)).expect("learns");
            }
            arm
        };
        let arm = begin(Storage::Fp32);
        let after = ready(Judged::of(&arm.model(), &material, &cx)).expect("judged");
        assert!(after.new_loss() < before - 0.1, "{} {before}", after.new_loss());
        let state = ready(arm.model().weights()).expect("read");
        for (name, weight) in material.weights.iter() {
            assert_eq!(state.get(name), Some(weight), "{name} was frozen");
        }
        let merged = ready(merging::run(&arm, &material, Storage::Fp32, &cx)).expect("merges");
        assert!((merged.ways[0].judged.new_loss() - after.new_loss()).abs() < 1e-4);
        assert!((merged.ways[0].kept - 1.0).abs() < 1e-3 && merged.size > 0.0);
        // On a base in NF4 the change snaps back, and beside the original weights it does not.
        let merged = ready(merging::run(&begin(Storage::Nf4), &material, Storage::Nf4, &cx)).expect("merges");
        assert!(merged.ways[0].kept < merged.ways[1].kept - 0.1, "{} {}", merged.ways[0].kept, merged.ways[1].kept);
    }

    #[test]
    fn scales_follow_the_chosen_division_and_a_rank_that_does_not_fit_is_named() {
        let scale = |scaling| f64::from(Params { rank: 64, scaling, ..Params::default() }.setting().scale);
        assert!((scale(Scaling::Standard) - 0.25).abs() < 1e-9 && (scale(Scaling::Stabilized) - 2.0).abs() < 1e-6);
        let mut cx = context_with(Rc::new(FakeClock::new(0.1)), &ASSETS);
        match ready(Lora::run(Params { rank: 64, ..Lora::smoke() }, &mut cx)) {
            Err(LabError::BadParam(BadParam { name, why })) => {
                assert!(name == "rank" && why.contains("take 32 or less"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}
