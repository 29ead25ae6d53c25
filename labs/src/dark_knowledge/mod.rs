//! What crosses over from a teacher to its student: students of crippled answers, one that never sees some classes, and how much
//! of the teacher's mistakes, doubts and geometry each takes on.

mod arms;
mod figures;
mod hidden;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    distill::{Material, Source},
};
use serde::{Deserialize, Serialize};

use arms::Setting;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Images of each class
    ///
    /// That the five students of the first comparison learn from.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 100), extend("x-unit" = "images", "x-step" = 1)))]
    pub per_class: u32,
    /// Temperature
    ///
    /// Of the soft answers.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 20.0), extend("x-step" = 0.5)))]
    pub temperature: f64,
    /// Smoothing
    ///
    /// Share of a label that is spread over all classes, for the student of smoothed labels.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.9), extend("x-step" = 0.1)))]
    pub smoothing: f64,
    /// Hidden classes
    ///
    /// Images of these never reach the last student. Its teacher knows them.
    pub hide: Hide,
    /// Bias
    ///
    /// Added to the last student's logits of the hidden classes once it has learned.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 10.0), extend("x-step" = 0.25)))]
    pub bias: f64,
    /// Teacher's epochs
    ///
    /// Passes over all 13,944 training images.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16), extend("x-unit" = "epochs", "x-step" = 1)))]
    pub teacher_epochs: u32,
    /// Steps
    ///
    /// Of 64 images each, for every student.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 4000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
}

/// What is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Hide {
    /// Digits
    Digits,
    /// Capital vowels
    Vowels,
    /// The letter G alone
    OneLetter,
}

impl Hide {
    /// Whether a class is hidden.
    fn hides(self, class: u8) -> bool {
        // Places in “0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt”.
        match self {
            Self::Digits => class < 10,
            Self::Vowels => [10, 14, 18, 24, 30].contains(&class),
            Self::OneLetter => class == 16,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            per_class: 10,
            temperature: 4.0,
            smoothing: 0.3,
            hide: Hide::Digits,
            bias: 1.0,
            teacher_epochs: 3,
            steps: 400,
        }
    }
}

impl Params {
    fn setting(&self) -> Setting {
        Setting {
            per_class: self.per_class as usize,
            temperature: self.temperature,
            smoothing: self.smoothing,
            hide: self.hide,
            steps: self.steps as usize,
        }
    }
}

/// The lab.
pub struct DarkKnowledge;

impl Lab for DarkKnowledge {
    const ID: &'static str = "dark-knowledge";
    type Params = Params;

    fn smoke() -> Params {
        Params { per_class: 2, teacher_epochs: 1, steps: 20, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let setting = params.setting();
        cx.publish(&Report { metrics: summary::beforehand(), ..Report::default() })?;
        cx.progress("The teacher learns", 0.0);
        cx.checkpoint().await?;
        let shown = |done: f64| cx.progress("The teacher learns", 0.4 * done);
        let material = Material::load(Source::Trained(params.teacher_epochs as usize), cx, &shown).await?;
        let outcome = arms::run(&material, &setting, cx, |done| {
            cx.progress("The students learn, side by side", 0.4 + 0.35 * done);
        })
        .await?;
        cx.publish(&Report { metrics: summary::quality(&material, &outcome), ..Report::default() })?;
        cx.progress("A student that never sees some classes", 0.75);
        let unseen = hidden::run(&material, &setting, cx).await?;
        let mut metrics = summary::quality(&material, &outcome);
        metrics.splice(3..3, hidden::metrics(&material, &unseen, params.bias));
        metrics.extend(summary::beforehand());
        metrics.extend(summary::times(&material, &outcome));
        cx.progress("Done", 1.0);
        Ok(Report {
            metrics,
            tables: vec![figures::table(&material, &outcome)],
            charts: figures::charts(&material, &outcome, &unseen, params.bias),
            notes: summary::notes(&material, &outcome, &unseen, params.bias),
        })
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
    fn what_is_hidden_is_what_it_is_called() {
        let hidden = |hide: Hide| -> String {
            (0..47).filter(|class| hide.hides(*class)).filter_map(Glyphs::character).collect()
        };
        assert_eq!([Hide::Digits, Hide::Vowels, Hide::OneLetter].map(hidden), ["0123456789", "AEIOU", "G"]);
    }
}
