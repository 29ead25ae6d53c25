//! How a budget of training (or of measuring) should be spent on trials: many briefly, or few to the end; and whether the winner
//! stays a winner.

mod figures;
mod policy;
mod policy_run;
mod schedule;
mod space;
#[cfg(feature = "schema")]
mod study;
#[cfg(feature = "schema")]
mod study_again;
#[cfg(feature = "schema")]
mod study_policy;
#[cfg(feature = "schema")]
mod study_replay;
mod summary;
#[cfg(test)]
mod tests;
mod training;
mod training_run;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab, search::rungs};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Problem
    pub problem: Problem,
    /// Method
    ///
    /// It competes with random search at the same budget.
    pub method: Method,
    /// Trials
    ///
    /// What successive halving begins with. Other methods get the budget that it would spend on so many.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 81)))]
    pub configurations: u32,
    /// Cut to one in
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 4)))]
    pub eta: u32,
    /// Rungs
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4)))]
    pub rungs: u32,
    /// Images
    ///
    /// Of a whole training: the last rung. Each rung below it takes as much less as the cut says.
    #[cfg_attr(feature = "schema", schemars(range(min = 1080, max = 54000), extend("x-unit" = "images", "x-step" = 540)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["training"]})))]
    pub images: u32,
    /// Count
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["training"]})))]
    pub resource: Resource,
    /// Space
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["training"]})))]
    pub space: Space,
    /// Finish
    ///
    /// Trains what was cut to the end, too, after the search: shows what was missed, and takes ten times as long.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["training"]})))]
    pub finish: bool,
    /// Fresh seeds
    ///
    /// Trainings that judge each winner.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 5)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["training"]})))]
    pub seeds_each: u32,
    /// Workers
    ///
    /// Of asynchronous halving, on a simulated clock.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 9)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "method", "is": ["asha", "arrival", "model"]})))]
    pub workers: u32,
    /// Bytes
    ///
    /// Of all matrices, on the way from 2 bits each (0 %) to 4 bits each (100 %).
    #[cfg_attr(feature = "schema", schemars(range(min = 5, max = 95), extend("x-unit" = "%", "x-step" = 5)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["policy"]})))]
    pub bytes: u32,
    /// Grid
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["policy"]})))]
    pub grid: Grid,
    /// Windows
    ///
    /// Of 128 tokens: those that the last rung judges a policy by.
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 108), extend("x-unit" = "windows", "x-step" = 2)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "problem", "is": ["policy"]})))]
    pub windows: u32,
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
    /// What is searched for.
    Problem {
        /// How to train a classifier
        Training = "training",
        /// Bits for each matrix of a language model
        ///
        /// Nothing is trained: what a trial takes is text to be judged by.
        Policy = "policy",
    }
}

choice! {
    /// Who decides what is tried, and how far.
    Method {
        /// Random search, each to the end
        Random = "random",
        /// Successive halving
        Halving = "halving",
        /// Hyperband
        Hyperband = "hyperband",
        /// ASHA, promotion
        Asha = "asha",
        /// ASHA, decided on arrival
        Arrival = "arrival",
        /// Median stopping rule
        Median = "median",
        /// ASHA with a model of what was good (TPE)
        Model = "model",
        /// Evolution
        Evolution = "evolution",
    }
}

choice! {
    /// What a whole training is.
    Resource {
        /// Images
        Images = "images",
        /// Seconds
        ///
        /// The time that so many images take with the untuned configuration.
        Seconds = "seconds",
    }
}

choice! {
    /// What is drawn from.
    Space {
        /// Wide
        Wide = "wide",
        /// Trimmed: rates fall
        Trimmed = "trimmed",
    }
}

choice! {
    /// What weights are rounded to.
    Grid {
        /// Symmetric: 3 levels at 2 bits
        Symmetric = "symmetric",
        /// Affine: 4 levels at 2 bits
        Affine = "affine",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            problem: Problem::Training,
            method: Method::Halving,
            configurations: 27,
            eta: 3,
            rungs: 4,
            images: 13_500,
            resource: Resource::Images,
            space: Space::Wide,
            finish: false,
            seeds_each: 2,
            workers: 1,
            bytes: 25,
            grid: Grid::Symmetric,
            windows: 54,
        }
    }
}

impl Params {
    /// What a trial has at each rung: images, or windows.
    fn rungs(&self) -> Vec<usize> {
        let last = if self.problem == Problem::Training { self.images } else { self.windows };
        rungs(self.rungs as usize, last as usize, self.eta as usize)
    }

    /// What the ranges cannot say.
    fn check(&self) -> Result<(), LabError> {
        let bad = |name: &str, why: String| Err(LabError::BadParam(BadParam { name: name.into(), why }));
        if self.method == Method::Halving && self.configurations < self.eta && self.rungs > 1 {
            let why = format!("with fewer than {} nothing can be cut: take 27, or a single rung", self.eta);
            return bad("configurations", why);
        }
        let rungs = self.rungs();
        if rungs.windows(2).any(|two| two[0] == two[1]) {
            let name = if self.problem == Problem::Training { "images" } else { "windows" };
            let why = format!("rungs at {rungs:?} fall together: take more, or fewer rungs");
            return bad(name, why);
        }
        match (self.problem, self.method) {
            (Problem::Training, Method::Evolution) => {
                bad("method", "evolution is for policies: take the problem “policy”, or ASHA with a model".into())
            }
            (Problem::Policy, Method::Model) => {
                bad("method", "the model is for points of a cube, and policies are none: take evolution".into())
            }
            _ => Ok(()),
        }
    }
}

/// The lab.
pub struct Automl;

impl Lab for Automl {
    const ID: &'static str = "automl";
    type Params = Params;

    fn smoke() -> Params {
        Params { configurations: 3, rungs: 2, images: 1080, seeds_each: 1, windows: 6, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        match params.problem {
            Problem::Training => training_run::run(&params, cx).await,
            Problem::Policy => policy_run::run(&params, cx).await,
        }
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
