//! The Efficiency Olympics: everything of this book on one model, in an order that the reader chooses, within a floor of quality;
//! and what each step brought.

mod course;
mod figures;
mod glyphs;
mod language;
#[cfg(feature = "schema")]
mod study;
#[cfg(feature = "schema")]
mod study_classifier;
#[cfg(feature = "schema")]
mod study_pairs;
mod summary;
#[cfg(test)]
mod tests;
mod writers;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    models::LanguageModel,
    olympics::{EntryStep, EntrySubject, check, shapley},
};
use serde::{Deserialize, Serialize};

use course::{Course, Numbers, Text};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Subject
    pub subject: Entered,
    /// Division
    ///
    /// Closed: the shipped weights, nothing trained, nothing removed. Open: anything.
    pub division: Division,
    /// Step 1
    pub step_1: Preset,
    /// Step 2
    pub step_2: Preset,
    /// Step 3
    pub step_3: Preset,
    /// Step 4
    pub step_4: Preset,
    /// Step 5
    pub step_5: Preset,
    /// Step 6
    ///
    /// The order is yours: the lab repairs nothing.
    pub step_6: Preset,
    /// Event
    ///
    /// Which ratio your entry is ranked by.
    pub event: Event,
    /// Workload
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "subject", "is": ["language"]})))]
    pub workload: Workload,
    /// Floor
    ///
    /// How much quality may be lost: bits per character in per cent, or right answers in points.
    pub floor: Floor,
    /// Time line
    pub timeline: Timeline,
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
    /// What is compressed.
    Entered {
        /// Language model
        Language = "language",
        /// Glyph classifier
        Classifier = "classifier",
    }
}

choice! {
    /// Who may take which steps.
    Division {
        /// Closed
        Closed = "closed",
        /// Open
        Open = "open",
    }
}

choice! {
    /// A step as the list offers it.
    Preset {
        /// Nothing
        Nothing = "none",
        /// Round to 8 bits
        Int8 = "int8",
        /// Round to 4 bits
        Int4 = "int4",
        /// Round to 4 bits, groups of 32
        Int4Groups = "int4_groups",
        /// Round to 4 bits, GPTQ
        Int4Gptq = "int4_gptq",
        /// Round to 13 levels, GPTQ
        Levels13Gptq = "levels13_gptq",
        /// Round to 11 levels
        Levels11 = "levels11",
        /// Round to 11 levels, GPTQ
        Levels11Gptq = "levels11_gptq",
        /// Round to 3 bits, GPTQ
        Int3Gptq = "int3_gptq",
        /// Entropy code
        Entropy = "entropy",
        /// Prune 25 %
        Prune25 = "prune25",
        /// Prune 50 %
        Prune50 = "prune50",
        /// Low rank, 96
        LowRank = "low_rank",
        /// Train for 24 steps
        Recover = "recover",
        /// Train for 120 steps
        RecoverLong = "recover_long",
        /// The small model
        Student = "student",
        /// Cache
        Cache = "cache",
        /// Cache in 8 bits
        Cache8 = "cache8",
        /// Cache in 4 bits
        Cache4 = "cache4",
        /// Cache of 64 tokens
        Window = "window",
        /// Draft of 3
        Draft = "draft",
        /// Early exit at 90 %
        Exit = "exit",
        /// Batch of 8
        Batch8 = "batch8",
        /// Batch of 16
        Batch16 = "batch16",
    }
}

impl Preset {
    fn step(self) -> Option<EntryStep> {
        let quantize = |levels, group, compensated| EntryStep::Quantize { levels, group, compensated };
        Some(match self {
            Self::Nothing => return None,
            Self::Int8 => quantize(255, 0, false),
            Self::Int4 => quantize(15, 0, false),
            Self::Int4Groups => quantize(15, 32, false),
            Self::Int4Gptq => quantize(15, 0, true),
            Self::Levels13Gptq => quantize(13, 0, true),
            Self::Levels11 => quantize(11, 0, false),
            Self::Levels11Gptq => quantize(11, 0, true),
            Self::Int3Gptq => quantize(7, 0, true),
            Self::Entropy => EntryStep::Entropy,
            Self::Prune25 => EntryStep::Prune { percent: 25 },
            Self::Prune50 => EntryStep::Prune { percent: 50 },
            Self::LowRank => EntryStep::LowRank { rank: 96 },
            Self::Recover => EntryStep::Recover { steps: 24 },
            Self::RecoverLong => EntryStep::Recover { steps: 120 },
            Self::Student => EntryStep::Student,
            Self::Cache => EntryStep::Cache { bits: 32 },
            Self::Cache8 => EntryStep::Cache { bits: 8 },
            Self::Cache4 => EntryStep::Cache { bits: 4 },
            Self::Window => EntryStep::Window { tokens: 64 },
            Self::Draft => EntryStep::Draft { gamma: 3 },
            Self::Exit => EntryStep::Exit { percent: 90 },
            Self::Batch8 => EntryStep::Batch { rows: 8 },
            Self::Batch16 => EntryStep::Batch { rows: 16 },
        })
    }
}

choice! {
    /// What an entry is ranked by.
    Event {
        /// All-round
        AllRound = "all_round",
        /// Size
        Size = "size",
        /// Sprint: one request
        Sprint = "sprint",
        /// Crowd: many requests
        Crowd = "crowd",
        /// Feather: memory
        Feather = "feather",
        /// Watt: energy
        Watt = "watt",
    }
}

choice! {
    /// What is written.
    Workload {
        /// W1: read 32 tokens, write 96
        W1 = "w1",
        /// W2: read 128 tokens, write 128
        W2 = "w2",
        /// W3: 24 requests at random times
        W3 = "w3",
    }
}

choice! {
    /// What may be lost.
    Floor {
        /// 0.5
        Half = "0.5",
        /// 1
        One = "1",
        /// 2
        Two = "2",
    }
}

choice! {
    /// How what a step brought is told.
    Timeline {
        /// In order
        InOrder = "in_order",
        /// Each alone
        Alone = "alone",
        /// Shapley: the mean over all orders
        Shapley = "shapley",
    }
}

impl Floor {
    fn percent(self) -> f64 {
        match self {
            Self::Half => 0.5,
            Self::One => 1.0,
            Self::Two => 2.0,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            subject: Entered::Language,
            division: Division::Closed,
            step_1: Preset::Int4Gptq,
            step_2: Preset::Entropy,
            step_3: Preset::Cache,
            step_4: Preset::Batch8,
            step_5: Preset::Nothing,
            step_6: Preset::Nothing,
            event: Event::AllRound,
            workload: Workload::W1,
            floor: Floor::One,
            timeline: Timeline::InOrder,
        }
    }
}

impl Params {
    fn presets(&self) -> [Preset; 6] {
        [self.step_1, self.step_2, self.step_3, self.step_4, self.step_5, self.step_6]
    }

    fn subject(&self) -> EntrySubject {
        if self.subject == Entered::Language { EntrySubject::Language } else { EntrySubject::Glyphs }
    }

    /// The steps, in order; an order that cannot be is refused at its control.
    fn steps(&self) -> Result<Vec<EntryStep>, LabError> {
        let chosen = self.presets().into_iter().enumerate();
        let (places, steps): (Vec<usize>, Vec<EntryStep>) =
            chosen.filter_map(|(place, preset)| Some((place, preset.step()?))).unzip();
        check(&steps, self.subject())
            .map_err(|(at, why)| LabError::BadParam(BadParam { name: format!("step_{}", places[at] + 1), why }))?;
        Ok(steps)
    }

    fn text(&self) -> Text {
        match self.workload {
            Workload::W1 => Text { prompt: 32, tokens: 96, crowd: false },
            Workload::W2 => Text { prompt: 128, tokens: 128, crowd: false },
            Workload::W3 => Text { prompt: 48, tokens: 48, crowd: true },
        }
    }
}

/// The steps of a set that can be taken without the others: whoever needs one that is missing is left out.
fn possible(steps: &[EntryStep], set: usize, subject: EntrySubject) -> Vec<EntryStep> {
    let mut kept = Vec::new();
    for (_, step) in steps.iter().enumerate().filter(|(i, _)| (set >> i) & 1 == 1) {
        kept.push(*step);
        if check(&kept, subject).is_err() {
            kept.pop();
        }
    }
    kept
}

/// What the chosen time line says that each step brought: logarithms of ratios of file and time.
async fn brought(
    params: &Params,
    steps: &[EntryStep],
    line: &[Numbers],
    course: &mut Course,
    cx: &Context,
) -> Result<Vec<[f64; 2]>, LabError> {
    let subject = params.subject();
    Ok(match params.timeline {
        Timeline::InOrder => line.windows(2).map(|two| two[1].over(&two[0])).collect(),
        Timeline::Alone => {
            let mut all = Vec::new();
            for i in 0..steps.len() {
                let numbers = course.numbers(&possible(steps, 1 << i, subject), cx).await?;
                all.push(numbers.over(&line[0]));
            }
            all
        }
        Timeline::Shapley => {
            let mut values = Vec::new();
            for set in 0..1 << steps.len() {
                cx.progress("Every set of steps", 0.6 + 0.4 * set as f64 / (1 << steps.len()) as f64);
                values.push(course.numbers(&possible(steps, set, subject), cx).await?.over(&line[0]));
            }
            let parts = [0, 1].map(|which| shapley(&values.iter().map(|value| value[which]).collect::<Vec<_>>()));
            (0..steps.len()).map(|i| [parts[0][i], parts[1][i]]).collect()
        }
    })
}

/// The lab.
pub struct Olympics;

impl Lab for Olympics {
    const ID: &'static str = "olympics";
    type Params = Params;

    fn smoke() -> Params {
        // Without what one subject alone can do, so that either runs.
        Params { step_1: Preset::Int4, step_3: Preset::Nothing, step_4: Preset::Nothing, ..Params::default() }
    }

    // ANCHOR: run
    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let steps = params.steps()?;
        let mut report = Report::default();
        cx.progress("Loading models and texts", 0.0);
        if params.subject == Entered::Language {
            // Known before anything is read.
            report.metrics.push(summary::baseline_file(4.0 * LanguageModel::full().config.parameters() as f64));
            cx.publish(&report)?;
        }
        let mut course = Course::load(&params, cx).await?;
        let mut line = vec![course.numbers(&[], cx).await?];
        report.metrics = summary::baseline(&params, &line[0]);
        cx.publish(&report)?;

        for taken in 1..=steps.len() {
            cx.progress(&format!("Step {taken}: {}", steps[taken - 1].words()), 0.1 + 0.5 * taken as f64 / 7.0);
            line.push(course.numbers(&steps[..taken], cx).await?);
            report = summary::report(&params, &steps[..taken], &line, cx)?;
            cx.publish(&report)?;
        }
        if steps.is_empty() {
            report = summary::report(&params, &steps, &line, cx)?;
        }
        let brought = brought(&params, &steps, &line, &mut course, cx).await?;
        report.charts.insert(1, figures::brought(&params, &steps, &brought));
        course.finish(&steps, &mut report, cx).await?;
        cx.progress("Done", 1.0);
        Ok(report)
    }
    // ANCHOR_END: run

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
