//! What a layer of experts stores beside dense layers of its arithmetic and of its size, who goes to which expert, how loads collapse and
//! are balanced, and what a dispatched layer takes.

mod arms;
mod figures;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod task;
#[cfg(test)]
mod tests;
mod timing;
mod training;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

use task::Task;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Task
    pub task: Learned,
    /// Experts
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 64)))]
    pub experts: u32,
    /// Chosen for a token
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8)))]
    pub k: u32,
    /// Hidden units of an expert
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 64), extend("x-unit" = "units", "x-step" = 4)))]
    pub hidden: u32,
    /// Grain
    ///
    /// Cuts each expert into so many, and takes so many times as many of them: the same weights, the same arithmetic.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8)))]
    pub grain: u32,
    /// Always on
    ///
    /// Of the experts that a token passes, so many are the same for all.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 2)))]
    pub shared: u32,
    /// Who routes
    pub router: Routing,
    /// Gate
    ///
    /// What the output of an expert is multiplied by.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "router", "is": ["learned"]})))]
    pub gate: Times,
    /// Balancing
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "router", "is": ["learned"]})))]
    pub balance: Balance,
    /// Weight of the auxiliary loss
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0), extend("x-step" = 0.01)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "balance", "is": ["auxiliary"]})))]
    pub aux_weight: f64,
    /// Rate of the bias
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.1), extend("x-step" = 0.001)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "balance", "is": ["bias"]})))]
    pub bias_rate: f64,
    /// Weight of the z-loss
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 0.1), extend("x-step" = 0.001)))]
    pub z_weight: f64,
    /// Noise
    ///
    /// Deviation of what is added to the router's logits in training.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 4.0), extend("x-step" = 0.1)))]
    pub noise: f64,
    /// Capacity
    ///
    /// Places of an expert, times the mean load; 0: no limit. Tokens that find no place skip the layer.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 8.0), extend("x-step" = 0.25)))]
    pub capacity: f64,
    /// First router
    ///
    /// Deviation of its logits before training.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 8.0), extend("x-step" = 0.1)))]
    pub router_start: f64,
    /// In common
    ///
    /// What is added to all numbers of all names, whose deviation is 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 3.0), extend("x-step" = 0.1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "task", "is": ["facts"]})))]
    pub common: f64,
    /// Facts
    #[cfg_attr(feature = "schema", schemars(range(min = 256, max = 8192), extend("x-step" = 256)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "task", "is": ["facts"]})))]
    pub facts: u32,
    /// Steps
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 3000), extend("x-unit" = "steps", "x-step" = 20)))]
    pub steps: u32,
    /// Batch
    #[cfg_attr(feature = "schema", schemars(range(min = 32, max = 1024), extend("x-unit" = "tokens", "x-step" = 32)))]
    pub batch: u32,
    /// Learning rate
    ///
    /// Of AdamW, for all networks. It rises over 20 steps and falls along a cosine.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 0.1), extend("x-step" = 0.001)))]
    pub rate: f64,
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
    /// What is learned.
    Learned {
        /// Random facts
        Facts = "facts",
        /// The next token, from two
        ///
        /// Takes some times as long.
        Text = "text",
    }
}

choice! {
    /// Who decides.
    Routing {
        /// A matrix that learns
        Learned = "learned",
        /// A random matrix
        Random = "random",
        /// A hash of the input
        Hash = "hash",
        /// Experts choose tokens
        Experts = "experts",
    }
}

choice! {
    /// What multiplies.
    Times {
        /// Probability
        Probability = "probability",
        /// One, with the probability's gradient
        Straight = "straight",
        /// Share among the chosen
        Renormalized = "renormalized",
        /// Sigmoid
        Sigmoid = "sigmoid",
    }
}

choice! {
    /// How loads are kept even.
    Balance {
        /// None
        None = "none",
        /// Auxiliary loss
        Auxiliary = "auxiliary",
        /// Bias, without a loss
        Bias = "bias",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            task: Learned::Facts,
            experts: 8,
            k: 1,
            hidden: 16,
            grain: 1,
            shared: 0,
            router: Routing::Learned,
            gate: Times::Probability,
            balance: Balance::Auxiliary,
            aux_weight: 0.1,
            bias_rate: 0.01,
            z_weight: 0.0,
            noise: 0.0,
            capacity: 0.0,
            router_start: 1.0,
            common: 1.0,
            facts: 2048,
            steps: 300,
            batch: 256,
            rate: 0.02,
        }
    }
}

impl Params {
    /// What the ranges cannot say.
    fn check(&self) -> Result<(), LabError> {
        let bad = |name: &str, why: String| Err(LabError::BadParam(BadParam { name: name.into(), why }));
        if self.k > self.experts {
            return bad("k", format!("there are only {} experts to choose from", self.experts));
        }
        if !self.hidden.is_multiple_of(self.grain) {
            let fits = (1..=8).filter(|g| self.hidden.is_multiple_of(*g)).map(|g| g.to_string());
            let fits = fits.collect::<Vec<_>>().join(", ");
            return bad("grain", format!("{} units cannot be cut into {}: take {fits}", self.hidden, self.grain));
        }
        if self.shared >= self.k * self.grain && self.shared > 0 {
            let all = self.k * self.grain;
            return bad(
                "shared",
                format!("a token passes {all} experts in all, and one must be left to choose: raise k or the grain"),
            );
        }
        let routed = self.k * self.grain - self.shared;
        let refused = |why: &str| Err(LabError::Refused { why: why.into() });
        if self.router == Routing::Learned && self.gate == Times::Renormalized && routed == 1 {
            return refused(
                "the router would get no gradient: the share of a single choice is always 1. Choose two experts, or another gate",
            );
        }
        if self.router == Routing::Experts && self.task == Learned::Text {
            return refused(
                "experts that choose tokens look at later tokens too, which a model of text must not see. Take the facts, or let tokens choose",
            );
        }
        if self.task == Learned::Facts && self.batch > self.facts {
            return bad("batch", format!("there are only {} facts", self.facts));
        }
        Ok(())
    }
}

/// The lab.
pub struct Moe;

impl Lab for Moe {
    const ID: &'static str = "moe";
    type Params = Params;

    fn smoke() -> Params {
        Params { experts: 2, hidden: 4, facts: 256, steps: 20, batch: 32, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let mut report = Report::default();
        summary::counted(&mut report, &params);
        cx.publish(&report)?;
        cx.progress("Loading", 0.0);
        let task = Task::load(&params, cx).await?;
        let arms = arms::of_run(&params);
        let mut all = Vec::new();
        for (at, arm) in arms.into_iter().enumerate() {
            cx.progress(&arm.name, 0.02 + 0.16 * at as f64);
            let found = training::train(&arm, &task, cx.seed, || cx.now_ms(), training::breathing(cx)).await?;
            all.push(found);
            let mut so_far = report.clone();
            so_far.charts.push(figures::quality(&all, &task));
            cx.publish(&so_far)?;
        }
        summary::trained(&mut report, &params, &task, &all, cx);
        cx.publish(&report)?;
        cx.progress("Timing", 0.85);
        let times = timing::measure(&params, &timing::BATCHES, 5, cx).await?;
        summary::times(&mut report, &times, cx);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
