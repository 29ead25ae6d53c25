//! A draft learns from its large language model: from labels or from distributions, by one divergence or another, on text of
//! the corpus, of the teacher or of its own.

mod arms;
mod figures;
mod judge;
mod material;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    distill::{Divergence, Tail},
};
use serde::{Deserialize, Serialize};

use arms::Taught;
use judge::{Exam, Own};
use material::{Material, Setting};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Loss
    ///
    /// What the second student minimizes at each token. The first one always learns the labels of the corpus.
    pub loss: Loss,
    /// Text
    ///
    /// What the second student reads. Where a model writes it, each row begins with eight tokens of the corpus.
    pub text: Text,
    /// Tokens kept
    ///
    /// How many tokens of each of the teacher's answers are stored, of 1,024.
    pub kept: Kept,
    /// The other tokens
    ///
    /// What the student is told of tokens that are not kept.
    pub tail: Rest,
    /// Temperature
    ///
    /// Divides the logits of both before the softmax, in the loss only.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 4.0), extend("x-step" = 0.5)))]
    pub temperature: f64,
    /// Weight of the labels
    ///
    /// Their share beside the loss above.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.9), extend("x-step" = 0.1)))]
    pub label_weight: f64,
    /// Rows
    ///
    /// Stretches of 128 tokens that the students learn from. The teacher answers to each once.
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 160), extend("x-unit" = "rows", "x-step" = 4)))]
    pub rows: u32,
    /// Passes
    ///
    /// Over all rows, four of them a step. A student that writes its own text writes anew before each.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8), extend("x-unit" = "passes", "x-step" = 1)))]
    pub passes: u32,
    /// Learning rate
    ///
    /// The highest; it falls to zero.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0005, max = 0.005), extend("x-step" = 0.0005)))]
    pub learning_rate: f64,
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
    /// What is minimized.
    Loss {
        /// Labels
        ///
        /// The tokens of the text alone. On the teacher's text: sequence-level distillation.
        Labels = "labels",
        /// Forward KL
        ///
        /// Dear where the student gives little to what the teacher holds possible.
        Forward = "forward_kl",
        /// Reverse KL
        ///
        /// Dear where the student holds possible what the teacher does not.
        Reverse = "reverse_kl",
        /// Jensen-Shannon
        ///
        /// Half of each, against the mean of both.
        Jsd = "jsd",
        /// Total variation
        ///
        /// Half the sum of all differences: the share of the draft's words that is refused.
        Tv = "tv",
    }
}

choice! {
    /// Who wrote what is read.
    Text {
        /// The corpus
        Corpus = "corpus",
        /// The teacher
        Teacher = "teacher",
        /// The student itself (on-policy)
        Student = "student",
    }
}

choice! {
    /// How much is stored.
    Kept {
        /// 1
        One = "1",
        /// 4
        Four = "4",
        /// 16
        Sixteen = "16",
        /// 64
        SixtyFour = "64",
        /// All 1,024
        All = "1024",
    }
}

impl Kept {
    fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Four => 4,
            Self::Sixteen => 16,
            Self::SixtyFour => 64,
            Self::All => 1024,
        }
    }
}

choice! {
    /// What becomes of the rest.
    Rest {
        /// Dropped
        ///
        /// The likeliest are kept and scaled up to 1.
        Dropped = "dropped",
        /// One bucket
        ///
        /// The likeliest are kept; all others together are one more class.
        Bucket = "bucket",
        /// Drawn
        ///
        /// Tokens are drawn from the teacher instead of taking the likeliest.
        Drawn = "drawn",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            loss: Loss::Forward,
            text: Text::Corpus,
            kept: Kept::All,
            tail: Rest::Bucket,
            temperature: 1.0,
            label_weight: 0.0,
            rows: 20,
            passes: 2,
            learning_rate: 1e-3,
        }
    }
}

/// Windows of test text that judge, and tokens that each student writes after the beginning of each.
const WINDOWS: usize = 6;
const WRITTEN: usize = 24;

impl Params {
    fn taught(&self) -> Taught {
        match self.loss {
            Loss::Labels => Taught::Labels,
            Loss::Forward => Taught::Teacher(Divergence::Forward),
            Loss::Reverse => Taught::Teacher(Divergence::Reverse),
            Loss::Jsd => Taught::Teacher(Divergence::Between(0.5)),
            Loss::Tv => Taught::Teacher(Divergence::Variation),
        }
    }

    fn setting(&self) -> Result<Setting, LabError> {
        let refuse = |name: &str, why: &str| Err(LabError::BadParam(BadParam { name: name.into(), why: why.into() }));
        if self.loss == Loss::Labels && self.text == Text::Student {
            return refuse(
                "text",
                "a student that takes its own words for labels has nothing to learn: choose another loss or text",
            );
        }
        let truncated = self.kept != Kept::All && self.tail != Rest::Bucket;
        if self.loss == Loss::Reverse && truncated {
            return refuse(
                "tail",
                "reverse KL divides by the teacher's probability of every token, so that none may be zero: keep one bucket, or all tokens",
            );
        }
        Ok(Setting {
            kept: self.kept.count(),
            tail: match self.tail {
                Rest::Dropped => Tail::Dropped,
                Rest::Bucket => Tail::Bucket,
                Rest::Drawn => Tail::Drawn,
            },
            temperature: self.temperature,
            label_weight: self.label_weight,
            steps: (self.rows as usize).div_ceil(material::BATCH) * self.passes as usize,
            learning_rate: self.learning_rate,
        })
    }
}

/// The lab.
pub struct DistilledLm;

impl Lab for DistilledLm {
    const ID: &'static str = "distilled-lm";
    type Params = Params;

    fn smoke() -> Params {
        Params { rows: 4, passes: 1, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let setting = params.setting()?;
        let small = params.rows <= 4;
        cx.progress("Loading both models and their text", 0.0);
        let material = Material::load(cx).await?;
        cx.progress("The teacher reads the test text", 0.03);
        let exam = Exam::new(&material, if small { 1 } else { WINDOWS }, cx).await?;
        let start = material.draft(&cx.device)?;
        let before = exam.sit(&start, exam.windows.len(), cx).await?;
        let mut report = Report::default();
        report.metrics.extend(summary::beforehand(&material, &setting, &exam));
        report.charts.push(figures::mass(&exam));
        cx.publish(&report)?;

        let mut so_far = report.clone();
        let outcome = arms::run(&material, &setting, &params, &exam, cx, |done, curves| {
            cx.progress("The students learn, side by side", 0.2 + 0.5 * done);
            so_far.charts = vec![curves];
            cx.publish(&so_far)
        })
        .await?;

        cx.progress("The students write", 0.75);
        let written = if small { 4 } else { WRITTEN };
        let mut judged = vec![(before, Own::of(&start, &material, &exam, written, cx).await?)];
        for student in &outcome.students {
            let found = exam.sit(student, exam.windows.len(), cx).await?;
            judged.push((found, Own::of(student, &material, &exam, written, cx).await?));
        }
        cx.progress("Timing", 0.92);
        let speed = summary::speed(&material, cx).await?;
        summary::complete(&mut report, &setting, &outcome, &judged, &speed, cx)?;
        report.charts.insert(0, outcome.chart());
        report.charts.insert(1, figures::position(&material, &exam, [&start, &outcome.students[1]], cx).await?);
        report.tables.push(figures::texts(&material, &exam, &judged));
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
    fn what_cannot_be_learned_is_refused_by_name() {
        let bad = |params: Params| match params.setting() {
            Err(LabError::BadParam(bad)) => bad.name,
            _ => String::new(),
        };
        let labels = Params { loss: Loss::Labels, text: Text::Student, ..Params::default() };
        assert_eq!(bad(labels), "text");
        for (tail, kept, name) in [
            (Rest::Dropped, Kept::Sixteen, "tail"),
            (Rest::Drawn, Kept::Sixteen, "tail"),
            (Rest::Bucket, Kept::Sixteen, ""),
            (Rest::Dropped, Kept::All, ""),
        ] {
            assert_eq!(bad(Params { loss: Loss::Reverse, tail, kept, ..Params::default() }), name);
        }
        assert_eq!(Params::default().setting().expect("sound").steps, 10);
    }
}
