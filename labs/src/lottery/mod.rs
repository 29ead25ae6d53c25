//! Lottery tickets: whether a sparse network can be trained from its own start, and what of that start it needs.

mod arms;
mod report;
#[cfg(feature = "schema")]
mod study;
mod tickets;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab, subject::Subject};
use serde::{Deserialize, Serialize};

use tickets::Plan;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Sparsity
    ///
    /// Share of the 25,856 weights that the ticket lacks.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.98), extend("x-step" = 0.01)))]
    pub sparsity: f64,
    /// Rounds
    ///
    /// Trainings in the search for the ticket; each removes the same share of what is left.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8), extend("x-unit" = "rounds", "x-step" = 1)))]
    pub rounds: u32,
    /// Rewind to step
    ///
    /// The weights that training goes back to: 0 is before any training.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1000), extend("x-unit" = "steps", "x-step" = 10)))]
    pub rewind_to: u32,
    /// Learning rate
    ///
    /// Of the first step of every training; it falls to zero along a half cosine.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0005, max = 0.02), extend("x-step" = 0.0005)))]
    pub learning_rate: f64,
    /// Steps
    ///
    /// Of 64 images each, in every training.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 1000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { sparsity: 0.95, rounds: 4, rewind_to: 0, learning_rate: 0.001, steps: 400 }
    }
}

impl Params {
    fn plan(&self) -> Result<Plan, LabError> {
        if self.rewind_to > self.steps {
            let why = format!("a training of {} steps has no step {} to go back to", self.steps, self.rewind_to);
            return Err(LabError::BadParam(BadParam { name: "rewind_to".into(), why }));
        }
        Ok(Plan {
            sparsity: self.sparsity,
            rounds: self.rounds.max(1) as usize,
            rewind_to: self.rewind_to as usize,
            steps: self.steps as usize,
            learning_rate: self.learning_rate,
        })
    }
}

/// The lab.
pub struct Lottery;

impl Lab for Lottery {
    const ID: &'static str = "lottery";
    type Params = Params;

    fn smoke() -> Params {
        Params { sparsity: 0.8, rounds: 2, steps: 40, rewind_to: 10, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let plan = params.plan()?;
        cx.progress("Loading the digits", 0.0);
        let subject = Subject::load(cx).await?;
        cx.publish(&report::beforehand(&plan))?;
        cx.progress("Searching for the ticket: train, cut, go back", 0.05);
        let outcome = arms::run(&subject, &plan, cx, |done, all| {
            cx.progress("Training from other starts", 0.35 + 0.6 * done as f64 / all as f64);
        })
        .await?;
        cx.progress("Done", 1.0);
        Ok(report::of(&subject, &plan, &outcome))
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
    fn a_rewinding_beyond_the_end_is_refused_by_name() {
        let params = Params { rewind_to: 700, ..Params::default() };
        let error = params.plan().expect_err("refused").to_string();
        assert!(error.contains("700") && error.contains("400"), "{error}");
    }
}
