//! Early exit: a network that may answer before its end, who decides, and whether the saved arithmetic is saved time.

mod decide;
mod figures;
mod language;
mod material;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod timing;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

use decide::{Judged, decide};
use material::Material;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// What may stop early
    ///
    /// A classifier of glyphs, judged on font families that it has never seen, or the book's language model.
    pub model: Model,
    /// First network
    ///
    /// Which small network is asked before the large one.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["cascade"]})))]
    pub first: First,
    /// Exits learn from
    ///
    /// What the new heads are taught. The network that they hang on stays as it is.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["exits"]})))]
    pub heads: Teacher,
    /// An exit sees
    ///
    /// To how many places a feature map is averaged before an exit's linear layer.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["exits"]})))]
    pub sees: Sees,
    /// Training images
    ///
    /// What the new heads learn from.
    #[cfg_attr(feature = "schema", schemars(range(min = 100, max = 13_944), extend("x-unit" = "images", "x-step" = 100, "x-enabled-when" = {"param": "model", "is": ["exits"]})))]
    pub learn: u32,
    /// Epochs
    ///
    /// Passes of the new heads over the training images.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 20), extend("x-unit" = "epochs", "x-step" = 1, "x-enabled-when" = {"param": "model", "is": ["exits"]})))]
    pub epochs: u32,
    /// Rule
    ///
    /// By what an exit decides whether an input leaves.
    pub rule: Rule,
    /// Temperature for each exit
    ///
    /// Fitted on held-out images, so that one threshold means the same at every exit.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["exits", "cascade"]})))]
    pub calibrate: bool,
    /// Who sets the threshold
    ///
    /// By hand all exits share one. Otherwise each exit gets its own.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["exits", "cascade"]})))]
    pub set_by: SetBy,
    /// Threshold
    ///
    /// An input leaves where the exit is at least so certain. At 0 all leave at once, at 1 hardly any.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0), extend("x-step" = 0.01, "x-enabled-when" = {"param": "set_by", "is": ["hand"]})))]
    pub threshold: f64,
    /// Error allowed
    ///
    /// Share of wrong answers among those who leave at an exit.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 0.1), extend("x-step" = 0.001, "x-enabled-when" = {"param": "set_by", "is": ["training", "held_out", "bounded"]})))]
    pub target_error: f64,
    /// Budget
    ///
    /// Mean multiplications of an input, as a share of the network without exits.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.05, max = 1.0), extend("x-step" = 0.05, "x-enabled-when" = {"param": "set_by", "is": ["budget"]})))]
    pub budget: f64,
    /// Images asked
    ///
    /// Of unseen families: half of them choose thresholds and temperatures, the other half judges.
    #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 6908), extend("x-unit" = "images", "x-step" = 100, "x-enabled-when" = {"param": "model", "is": ["exits", "cascade"]})))]
    pub images: u32,
    /// Exits of the language model
    ///
    /// What stands between a layer and the shared output layer.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["language"]})))]
    pub translate: Translate,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            model: Model::Exits,
            first: First::Small,
            heads: Teacher::Labels,
            sees: Sees::Four,
            learn: 3500,
            epochs: 6,
            rule: Rule::MaxProb,
            calibrate: false,
            set_by: SetBy::Hand,
            threshold: 0.9,
            target_error: 0.02,
            budget: 0.3,
            images: 3400,
            translate: Translate::Nothing,
        }
    }
}

/// What may stop early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// A network with three exits
    ///
    /// The book's convolutional network of three blocks, with a new head after each of the first two.
    Exits,
    /// Two networks in a row
    ///
    /// A small network first; the large one only where that is unsure. Nothing is trained.
    Cascade,
    /// The language model
    ///
    /// Four layers; an exit after each may name the next token.
    Language,
}

/// The small network of a cascade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// Small convolutional
    ///
    /// 104 thousand multiplications.
    Small,
    /// Fully connected
    ///
    /// 55 thousand multiplications.
    Mlp,
}

/// What new heads are taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Teacher {
    /// Labels
    Labels,
    /// Labels and the last exit
    ///
    /// 30 % labels, 70 % the last exit's answers, softened by a temperature of 4.
    LastExit,
}

/// What an exit's linear layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Sees {
    /// 4 × 4 places
    #[serde(rename = "4")]
    Four,
    /// 2 × 2 places
    #[serde(rename = "2")]
    Two,
    /// One place
    ///
    /// The mean over the whole map.
    #[serde(rename = "1")]
    One,
}

/// Who leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Largest probability
    MaxProb,
    /// Margin
    ///
    /// The largest probability less the second.
    Margin,
    /// Entropy
    ///
    /// One minus the entropy as a share of the largest possible, so that more is more certain here too.
    Entropy,
    /// Patience
    ///
    /// Two equal answers in a row; no threshold.
    Patience,
}

/// Who sets the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// By hand
    Hand,
    /// Error on training images
    ///
    /// The lowest threshold with the allowed error, on images that the network was trained on.
    Training,
    /// Error on held-out images
    ///
    /// The same on images of families that neither training nor the final judgement sees.
    HeldOut,
    /// Error on held-out images, bounded
    ///
    /// The same, but an upper bound of the error at 95 % confidence must be allowed.
    Bounded,
    /// Budget
    ///
    /// Thresholds with which an input costs so much on average.
    Budget,
}

/// What stands before the output layer at an exit of the language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Translate {
    /// Nothing
    ///
    /// The last norm and the output layer are applied to what a layer puts out.
    Nothing,
    /// A linear map
    ///
    /// Fitted by least squares from a layer's output to the last layer's, on another text.
    Linear,
}

/// The lab.
pub struct EarlyExit;

impl Lab for EarlyExit {
    const ID: &'static str = "early-exit";
    type Params = Params;

    fn smoke() -> Params {
        Params { images: 200, learn: 100, epochs: 2, threshold: 0.6, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        if params.model == Model::Language {
            return language::run(&params, cx).await;
        }
        if params.rule == Rule::Patience && params.model == Model::Cascade {
            let why =
                "two equal answers in a row take two exits before the last, and a cascade of two has one".to_owned();
            return Err(LabError::BadParam(BadParam { name: "rule".into(), why }));
        }
        cx.progress("Loading images and networks", 0.0);
        let material = Material::load(&params, cx).await?;
        let memory = vec![summary::memory(material.added(&params), &material)];
        cx.publish(&Report { metrics: memory, ..Report::default() })?;
        cx.progress("Training the exits, where there are new ones", 0.1);
        let own = material.network(&params, cx).await?;
        cx.progress("Asking every exit about every image", 0.3);
        let own = Judged::of(own, &material, &params, cx).await?;
        let deciding = decide(&own, &material, &params)?;
        let mut report = summary::report(&own, &deciding, &material, &params, cx)?;
        cx.publish(&report)?;
        cx.progress("Asking the rivals", 0.5);
        let rivals = material.rivals(cx).await?;
        report.charts.insert(0, figures::trade_off(&own, &deciding, &material, &rivals, params.rule, cx));
        cx.publish(&report)?;
        cx.progress("On a clock", 0.7);
        let timing = timing::measure(&own, &deciding, &material, cx).await?;
        report.metrics.extend(timing.metrics(cx));
        report.charts.insert(1, timing.chart(&own, &deciding));
        report.notes.extend(timing.notes());
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

    use lab_kit::{
        exits::{Cascade, Staged},
        prune::{Architecture, Network},
        testing::{FakeClock, context_with, ready},
        train::argmax,
    };

    use super::{material::logits, *};

    const ASSETS: [&str; 4] =
        ["glyphs/glyphs.bin.gz", "glyphs/mlp.safetensors", "glyphs/teacher.safetensors", "glyphs/small.safetensors"];

    #[test]
    fn strict_exits_are_the_network_and_lax_ones_its_first_block() {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &ASSETS);
        let params = Params { images: 200, learn: 128, epochs: 1, ..Params::default() };
        let material = ready(Material::load(&params, &cx)).expect("loads");
        let asked = ready(material.network(&params, &cx)).expect("trains");
        let images = &material.subject.images;
        let whole =
            Network { architecture: Architecture::Cnn(material.config.cnn.clone()), state: material.teacher.clone() };
        let plain = Cascade(vec![whole.on(&cx.device).expect("fits")]);
        assert_eq!((plain.exits(), asked.network.exits()), (1, 3));
        let expected = argmax(&ready(logits(&plain, images, &cx)).expect("runs")[0], 47);
        let own = ready(Judged::of(asked, &material, &params, &cx)).expect("runs");
        let end = own.at(1.5, Rule::MaxProb);
        assert!(end.exits.iter().all(|exit| *exit == 2) && end.answers == expected);
        assert_eq!(end.cost, 2_529_280.0);
        let first = own.at(0.0, Rule::MaxProb);
        assert!(first.exits.iter().all(|exit| *exit == 0) && first.answers == own.verdicts.answers[0]);
        assert_eq!(first.cost, 97_792.0);
        let costs: Vec<f64> =
            [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.5].map(|threshold| own.at(threshold, Rule::MaxProb).cost).to_vec();
        assert!(costs.is_sorted() && costs[0] < costs[6], "a stricter threshold never costs less: {costs:?}");
        // Few images cannot promise a thousandth.
        let params = Params { set_by: SetBy::Bounded, target_error: 0.001, ..params };
        let why = decide(&own, &material, &params).err().expect("refused").to_string();
        assert!(why.contains("Allow more errors") && why.contains("2995"), "{why}");
    }

    #[test]
    fn a_budget_is_met_on_the_images_that_chose() {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &ASSETS);
        let base = Params { model: Model::Cascade, images: 200, learn: 100, ..Params::default() };
        let material = ready(Material::load(&base, &cx)).expect("loads");
        let asked = ready(material.network(&base, &cx)).expect("runs");
        let own = ready(Judged::of(asked, &material, &base, &cx)).expect("runs");
        let cost = |budget: f64| {
            let params = Params { set_by: SetBy::Budget, budget, ..base.clone() };
            decide(&own, &material, &params).expect("decides").cost / material.full()
        };
        // The judging half is another sample of a hundred images.
        assert!((cost(0.3) - 0.3).abs() < 0.15 && cost(0.2) < cost(0.6));
    }
}
