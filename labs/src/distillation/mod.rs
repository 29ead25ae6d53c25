//! A small network learns from a large one's answers, beside twins that learn from labels and from answers without their
//! knowledge.

mod arms;
mod figures;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod timing;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    choices::Dataset,
    distill::{self, Material, Source},
    subject::Subject,
};
use serde::{Deserialize, Serialize};

use arms::Setting;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Transfer images
    ///
    /// What the students learn from: as many of each of the 47 classes.
    pub images: Images,
    /// Teacher
    ///
    /// The large network. A trained one takes about two seconds; the shipped ones have seen every training image many times.
    pub teacher: Teacher,
    /// Teacher's epochs
    ///
    /// Passes over all 13,944 training images, where it is trained here.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16), extend("x-unit" = "epochs", "x-step" = 1)))]
    pub teacher_epochs: u32,
    /// Student's width
    ///
    /// Units of each hidden layer.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 128), extend("x-unit" = "units", "x-step" = 8)))]
    pub student_width: u32,
    /// Student's hidden layers
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8), extend("x-unit" = "layers", "x-step" = 1)))]
    pub student_layers: u32,
    /// Temperature
    ///
    /// Divides the logits of both before the softmax: the higher, the softer the answers.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 20.0), extend("x-step" = 0.5)))]
    pub temperature: f64,
    /// Schedule
    ///
    /// Of the temperature over the steps.
    pub schedule: Schedule,
    /// Weight of the answers
    ///
    /// 1 is the teacher alone: the student then sees no label at all. 0 is the labels alone.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0), extend("x-step" = 0.1)))]
    pub weight: f64,
    /// Inner states
    ///
    /// What is asked of the last hidden layer, beside the answers. Only a fully connected teacher has one to offer.
    pub features: Features,
    /// Views
    ///
    /// How the transfer images are shown.
    pub views: Views,
    /// Steps
    ///
    /// Of 64 images each, for every student.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 4000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
    /// Letter shown
    ///
    /// Whose soft answer the chart opens up. The font is the seed's.
    pub letter: Letter,
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
    /// How many images.
    Images {
        /// 470 (10 of each class)
        Ten = "470",
        /// 1,410 (30 of each class)
        Thirty = "1410",
        /// 4,700 (100 of each class)
        Hundred = "4700",
        /// All 13,944
        All = "all",
    }
}

choice! {
    /// Who teaches.
    Teacher {
        /// Trained here
        ///
        /// Fully connected, 256-256-256-47.
        TrainedHere = "trained_here",
        /// Shipped, fully connected
        ///
        /// 256-128-128-47, trained for long.
        ShippedMlp = "shipped_mlp",
        /// Shipped, convolutional
        ///
        /// The most accurate of the three, trained for long. It takes seconds to answer.
        ShippedCnn = "shipped_cnn",
    }
}

choice! {
    /// How the temperature changes.
    Schedule {
        /// Constant
        Constant = "constant",
        /// Falling to 1
        Falling = "falling",
        /// Rising from 1
        Rising = "rising",
    }
}

choice! {
    /// What else than answers.
    Features {
        /// None
        Nothing = "none",
        /// Hint
        ///
        /// A linear map of the student's last hidden layer is to give the teacher's.
        Hint = "hint",
        /// Similarity
        ///
        /// Images that lie close together in the teacher's last hidden layer shall do so in the student's.
        Similarity = "similarity",
    }
}

choice! {
    /// How images are shown.
    Views {
        /// As they are
        Same = "same",
        /// Shifted
        ///
        /// By up to a pixel, anew each time; the teacher answers to what the student sees.
        Shifted = "shifted",
        /// Shifted, answers stale
        ///
        /// The student sees a shifted image, the teacher answered to the image as it is.
        Stale = "stale",
    }
}

choice! {
    /// A class worth opening up.
    Letter {
        /// O
        O = "O",
        /// 0 (zero)
        Zero = "0",
        /// I
        I = "I",
        /// G
        G = "G",
        /// R
        R = "R",
        /// 8
        Eight = "8",
        /// q
        Q = "q",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            images: Images::Ten,
            teacher: Teacher::TrainedHere,
            teacher_epochs: 3,
            student_width: 64,
            student_layers: 2,
            temperature: 4.0,
            schedule: Schedule::Constant,
            weight: 1.0,
            features: Features::Nothing,
            views: Views::Same,
            steps: 600,
            letter: Letter::O,
        }
    }
}

impl Params {
    fn source(&self) -> Source {
        match self.teacher {
            Teacher::TrainedHere => Source::Trained(self.teacher_epochs as usize),
            Teacher::ShippedMlp => Source::Mlp,
            Teacher::ShippedCnn => Source::Cnn,
        }
    }

    fn setting(&self) -> Result<Setting, LabError> {
        if self.teacher == Teacher::ShippedCnn && self.features != Features::Nothing {
            let why =
                "the convolutional teacher has no hidden layer like the student's: choose a fully connected one".into();
            return Err(LabError::BadParam(BadParam { name: "features".into(), why }));
        }
        let t = self.temperature;
        Ok(Setting {
            images: match self.images {
                Images::Ten => 470,
                Images::Thirty => 1410,
                Images::Hundred => 4700,
                Images::All => usize::MAX,
            },
            widths: vec![self.student_width as usize; self.student_layers as usize],
            temperature: match self.schedule {
                Schedule::Constant => [t, t],
                Schedule::Falling => [t, 1.0],
                Schedule::Rising => [1.0, t],
            },
            weight: self.weight,
            features: match self.features {
                Features::Nothing => distill::Features::None,
                Features::Hint => distill::Features::Hint,
                Features::Similarity => distill::Features::Similarity,
            },
            views: match self.views {
                Views::Same => distill::Views::Same,
                Views::Shifted => distill::Views::Shifted,
                Views::Stale => distill::Views::Stale,
            },
            steps: self.steps as usize,
        })
    }

    fn class(&self) -> u8 {
        // Places in “0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt”.
        match self.letter {
            Letter::Zero => 0,
            Letter::Eight => 8,
            Letter::G => 16,
            Letter::I => 18,
            Letter::O => 24,
            Letter::R => 27,
            Letter::Q => 44,
        }
    }
}

/// The lab.
pub struct Distillation;

impl Lab for Distillation {
    const ID: &'static str = "distillation";
    type Params = Params;

    fn smoke() -> Params {
        Params { teacher: Teacher::ShippedMlp, steps: 40, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let setting = params.setting()?;
        cx.progress("The teacher learns", 0.0);
        cx.checkpoint().await?;
        let shown = |done: f64| cx.progress("The teacher learns", 0.4 * done);
        let subject = Subject::to_train(Dataset::Glyphs, cx).await?;
        let metrics = summary::beforehand(&subject, &params.source().architecture(&subject), &setting);
        let mut report = Report { metrics, ..Report::default() };
        cx.publish(&report)?;
        let material = Material::taught(subject, params.source(), cx, &shown).await?;
        let letter = figures::letter(&material, params.class(), params.temperature, cx).await?;
        report.charts.push(letter.clone());
        cx.publish(&report)?;
        let mut so_far = report.clone();
        let outcome = arms::run(&material, &setting, cx, |done, curves| {
            cx.progress("The students learn, side by side", 0.4 + 0.5 * done);
            so_far.charts = vec![curves, letter.clone()];
            cx.publish(&so_far)
        })
        .await?;
        cx.progress("Timing", 0.92);
        let times = timing::measure(&material, &setting, &outcome, cx).await?;
        summary::complete(&mut report, &material, &setting, &outcome, &times, cx);
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
    use lab_kit::data::Glyphs;

    use super::*;

    #[test]
    fn letters_stand_where_the_data_set_has_them() {
        for (letter, character) in [
            (Letter::Zero, '0'),
            (Letter::Eight, '8'),
            (Letter::G, 'G'),
            (Letter::I, 'I'),
            (Letter::O, 'O'),
            (Letter::R, 'R'),
            (Letter::Q, 'q'),
        ] {
            let params = Params { letter, ..Params::default() };
            assert_eq!(Glyphs::character(params.class()), Some(character));
        }
    }

    #[test]
    fn a_teacher_without_the_layer_is_refused_by_name_and_schedules_have_two_ends() {
        let params = Params { teacher: Teacher::ShippedCnn, features: Features::Hint, ..Params::default() };
        assert!(matches!(params.setting(), Err(LabError::BadParam(bad)) if bad.name == "features"));
        let falling = Params { schedule: Schedule::Falling, ..Params::default() };
        assert_eq!(falling.setting().expect("sound").temperature, [4.0, 1.0]);
    }
}
