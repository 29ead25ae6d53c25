//! Training with activations computed again instead of kept: what each placement of checkpoints holds, takes, and changes.

mod arms;
mod figures;
mod language;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    recompute::{Noise, best, square_root, staircase, uniform},
};
use serde::{Deserialize, Serialize};

use arms::{Arm, Subject};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Network
    ///
    /// What is trained.
    pub model: Network,
    /// Layers
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 32), extend("x-unit" = "layers")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["chain"]})))]
    pub layers: u32,
    /// Width
    ///
    /// Numbers of an activation for each row.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 256), extend("x-step" = 16)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["chain", "hourglass"]})))]
    pub width: u32,
    /// Batch
    ///
    /// Rows of a training step.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 1024), extend("x-unit" = "rows", "x-step" = 16)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["chain", "hourglass"]})))]
    pub batch: u32,
    /// Checkpoints
    ///
    /// Which activations are kept. A twin that keeps them all runs beside it.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["chain", "hourglass"]})))]
    pub placement: Placement,
    /// Segments
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 32)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "placement", "is": ["uniform"]})))]
    pub segments: u32,
    /// Budget
    ///
    /// Bytes of activations that may be held at once, as a share of all of them.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 100), extend("x-unit" = "%")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "placement", "is": ["best"]})))]
    pub budget: u32,
    /// Slots
    ///
    /// Activations that may be kept at once; everything else is computed again as often as it must be.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "placement", "is": ["revolve"]})))]
    pub slots: u32,
    /// Stop early
    ///
    /// A segment is run again without its last layer, whose output no backward pass reads. Off: as a whole, as a framework calls it.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["chain", "hourglass"]})))]
    pub stop_early: bool,
    /// Dropout
    ///
    /// Whether a tenth of the activations is left out at random, and whether a layer that is run again leaves out the same ones.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["chain", "hourglass"]})))]
    pub dropout: Dropout,
    /// Texts
    ///
    /// Of a training step of the language model.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8), extend("x-unit" = "texts")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["lm"]})))]
    pub texts: u32,
    /// Length
    ///
    /// Of each text.
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 256), extend("x-unit" = "tokens", "x-step" = 16)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["lm"]})))]
    pub tokens: u32,
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Chain
    ///
    /// Layers of equal size.
    Chain,
    /// Hourglass
    ///
    /// Sixteen layers, wide at both ends and narrow in the middle.
    Hourglass,
    /// Language model
    ///
    /// The book's own, layer by layer.
    Lm,
}

/// Which activations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// At every layer
    Every,
    /// Equal segments
    Uniform,
    /// √n segments
    Sqrt,
    /// Best for a budget
    Best,
    /// Revolve
    ///
    /// As many as there are slots; layers may be run again more than once.
    Revolve,
}

/// Dropout between layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Dropout {
    /// None
    None,
    /// The same mask again
    Replayed,
    /// A new mask
    ///
    /// A mistake, for you to find.
    Redrawn,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            model: Network::Chain,
            layers: 16,
            width: 128,
            batch: 512,
            placement: Placement::Best,
            segments: 4,
            budget: 50,
            slots: 3,
            stop_early: false,
            dropout: Dropout::None,
            texts: 2,
            tokens: 128,
        }
    }
}

impl Params {
    /// Inputs of each layer, and outputs of the last.
    fn widths(&self) -> Vec<usize> {
        let width = self.width as usize;
        if self.model == Network::Chain {
            return vec![width; self.layers as usize + 1];
        }
        // In eighths.
        let eighths = [8, 16, 16, 8, 4, 2, 1, 1, 2, 4, 8, 16, 16, 8, 4, 2, 2];
        eighths.iter().map(|part| part * width / 8).collect()
    }

    fn noise(&self, step: u32) -> Noise {
        match self.dropout {
            Dropout::None => Noise::None,
            Dropout::Replayed => Noise::Replayed(step),
            Dropout::Redrawn => Noise::Redrawn(step),
        }
    }

    /// The arm that the reader has chosen.
    fn chosen(&self, subject: &Subject) -> Result<Arm, LabError> {
        let layers = subject.chain.layers();
        let bad = |name: &str, why: String| Err(LabError::BadParam(BadParam { name: name.into(), why }));
        let (name, keep) = match self.placement {
            Placement::Every => ("Chosen: every layer", vec![true; layers]),
            Placement::Uniform if self.segments as usize > layers => {
                return bad("segments", format!("a chain of {layers} layers has {layers} segments at most"));
            }
            Placement::Uniform => ("Chosen: equal segments", uniform(layers, self.segments as usize)),
            Placement::Sqrt => ("Chosen: √n segments", square_root(layers)),
            Placement::Revolve => return Ok(Arm::revolved("Chosen: Revolve", subject, self.slots as usize)),
            Placement::Best => {
                let all: usize = subject.inputs().iter().sum();
                match best(subject.inputs(), (u64::from(self.budget) * all as u64 / 100) as usize) {
                    Some(keep) => ("Chosen: best for the budget", keep),
                    None => {
                        let least = subject.least();
                        let share = (100 * subject.cost(&least).0).div_ceil(all.max(1));
                        let at = figures::list(&least);
                        return bad("budget", format!("the least is {share} %, with checkpoints at {at}"));
                    }
                }
            }
        };
        Ok(Arm::placed(name, subject, &keep, self.stop_early))
    }
}

/// The lab.
pub struct Checkpointing;

impl Lab for Checkpointing {
    const ID: &'static str = "checkpointing";
    type Params = Params;

    fn smoke() -> Params {
        Params { layers: 4, width: 16, batch: 32, budget: 75, texts: 1, tokens: 16, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        if params.model == Network::Lm {
            return language::run(&params, cx).await;
        }
        let subject = Subject::draw(&params, cx);
        let chosen = params.chosen(&subject)?;
        let arms = arms::all(&subject, chosen, params.stop_early);
        let mut report = Report { metrics: summary::counted(&subject, &arms), ..Report::default() };
        report.charts.push(figures::plane(&subject, &arms, cx));
        report.charts.push(figures::lengths());
        cx.publish(&report)?;

        cx.progress("Counting bytes, comparing gradients", 0.1);
        let found = subject.measure(&arms, params.noise(0), cx).await?;
        report.charts.insert(1, figures::held(&subject, &arms, &found));
        report.tables.push(figures::table(&subject, &arms, &found));
        summary::measured(&mut report, &subject, &arms, &found);
        cx.publish(&report)?;

        cx.progress("Training twice on the same data", 0.35);
        let curves = subject.train(&arms[..2], &params, cx).await?;
        report.charts.push(figures::curves(&curves));
        summary::trained(&mut report, &curves, &params);
        cx.progress("Timing", 0.45);
        let times = subject.times(&arms, params.noise(0), 5, cx).await?;
        summary::timed(&mut report, &subject, &arms, &times, cx);
        if cx.device_info.kind == lab_api::DeviceKind::Webgpu {
            let note = "The chain ran on the processor, whatever device was chosen: there every byte is counted.";
            report.notes.push(note.into());
        }
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

/// The placement with the lowest peak.
fn lowest(bytes: &[usize], forward: &[f64]) -> Vec<bool> {
    staircase(bytes, forward).pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context, context_with, ready};

    use super::*;

    fn run(params: Params) -> Result<Report, LabError> {
        let mut cx = context(Rc::new(FakeClock::real()));
        let report = ready(Checkpointing::run(params, &mut cx))?;
        report.check()?;
        Ok(report)
    }

    fn value(report: &Report, id: &str) -> f64 {
        report.metric(id).expect("reported").value
    }

    #[test]
    fn bytes_and_work_are_those_of_the_formula_and_no_bit_changes() {
        let report = run(Checkpointing::smoke()).expect("runs");
        // Four layers in a budget of three activations: one checkpoint in the middle, two layers run again.
        assert_eq!(value(&report, "model_bytes"), 3.0 * 4.0 * 32.0 * 16.0);
        assert_eq!(value(&report, "extra"), 2.0);
        for id in ["changed", "loss_change"] {
            assert_eq!(value(&report, id), 0.0, "{id}");
        }
        assert!(value(&report, "accumulated_change") > 0.0);
        let losses = report.charts.iter().find(|chart| chart.id == "training").expect("drawn").numbers();
        assert!(losses.len() > 60);
    }

    #[test]
    fn every_placement_of_both_networks_leaves_the_gradient_as_it_is_but_a_new_mask_does_not() {
        for model in [Network::Chain, Network::Hourglass] {
            for placement in
                [Placement::Every, Placement::Uniform, Placement::Sqrt, Placement::Best, Placement::Revolve]
            {
                for (dropout, equal) in [(Dropout::Replayed, true), (Dropout::Redrawn, false)] {
                    // A segment of one layer is run again for nothing: its backward pass reads its checkpoint alone.
                    let equal = equal || placement == Placement::Every;
                    let early = placement == Placement::Sqrt;
                    let params = Params {
                        model,
                        placement,
                        dropout,
                        stop_early: early,
                        slots: 2,
                        segments: 2,
                        ..Checkpointing::smoke()
                    };
                    let report = run(params).expect("runs");
                    let changed = value(&report, "changed");
                    assert_eq!(changed == 0.0, equal, "{model:?} {placement:?} {dropout:?}: {changed}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let name = |params: Params| match run(params) {
            Err(LabError::BadParam(bad)) => (bad.name, bad.why),
            _ => Default::default(),
        };
        let params = Params { placement: Placement::Uniform, segments: 5, ..Checkpointing::smoke() };
        assert_eq!(name(params).0, "segments");
        let (bad, why) = name(Params { layers: 16, budget: 30, ..Checkpointing::smoke() });
        assert_eq!((bad.as_str(), why.as_str()), ("budget", "the least is 38 %, with checkpoints at 4, 9, 13"));
    }

    #[test]
    fn the_language_model_trains_alike() {
        let assets = ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/validation.txt.gz"];
        let mut cx = context_with(Rc::new(FakeClock::real()), &assets);
        let params = Params { model: Network::Lm, ..Checkpointing::smoke() };
        let report = ready(Checkpointing::run(params, &mut cx)).expect("runs");
        report.check().expect("sound");
        assert_eq!(value(&report, "loss_change"), 0.0);
        assert_eq!(value(&report, "extra"), 3.0);
    }
}
