//! Can a program find a better network than a reader writes, at what price in trainings; and is what it optimizes what the device
//! spends?

mod figures;
mod judge;
mod record;
mod replay;
#[cfg(feature = "schema")]
mod study;
#[cfg(feature = "schema")]
mod study_device;
#[cfg(feature = "schema")]
mod study_search;
mod summary;
#[cfg(test)]
mod tests;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    cells::{CellCode, CellNet, CellStrategy, CellTable, SlotOp, cell_images, cell_times, network_times},
    data::Glyphs,
    rng,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use judge::{Allowed, Judge, Trained};
use record::Record;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Strategy
    ///
    /// Who proposes the next network.
    pub strategy: Strategy,
    /// Networks tried
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 40)))]
    pub evaluations: u32,
    /// Steps of a trial
    pub steps: Steps,
    /// Seeds of a trial
    ///
    /// A trial counts as the mean over so many trainings.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 3)))]
    pub seeds_each: u32,
    /// Cost
    ///
    /// What the budget is counted in.
    pub cost: Cost,
    /// Budget
    ///
    /// Of what four full convolutions cost.
    #[cfg_attr(feature = "schema", schemars(range(min = 5, max = 100), extend("x-unit" = "%", "x-step" = 5)))]
    pub budget: u32,
    /// Images at once
    ///
    /// With which operations are timed.
    pub batch: Batch,
    /// Steps of the last training
    ///
    /// Of the winner and what it is compared with, each with a seed that no trial had.
    #[cfg_attr(feature = "schema", schemars(range(min = 44, max = 522)))]
    pub final_steps: u32,
    /// Population
    #[cfg_attr(feature = "schema", schemars(range(min = 2, max = 20)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "strategy", "is": ["evolution"]})))]
    pub population: u32,
    /// Parents drawn
    ///
    /// The best of so many has a child.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "strategy", "is": ["evolution"]})))]
    pub sample: u32,
    /// Residual
    ///
    /// Operations add to their input. Only networks trained here follow; the record was taken with it.
    pub residual: bool,
    /// Replays
    ///
    /// Searches on the recorded table, for each strategy.
    #[cfg_attr(feature = "schema", schemars(range(min = 20, max = 400), extend("x-step" = 20)))]
    pub replays: u32,
    /// Your first slot
    pub first: Held,
    /// Your second slot
    pub second: Held,
    /// Your third slot
    pub third: Held,
    /// Your fourth slot
    pub fourth: Held,
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
    /// Who proposes.
    Strategy {
        /// Random search
        Random = "random",
        /// Local search
        Local = "local",
        /// Regularized evolution
        Evolution = "evolution",
        /// REINFORCE
        Reinforce = "reinforce",
        /// Predictor
        Predictor = "predictor",
    }
}

choice! {
    /// Length of a trial.
    Steps {
        /// 44, a quarter of an epoch
        Short = "44",
        /// 174, nearly an epoch
        Long = "174",
    }
}

choice! {
    /// What a budget is counted in.
    Cost {
        /// FLOPs
        Flops = "flops",
        /// Time on this device
        ///
        /// From a table of operations, measured first.
        Time = "time",
    }
}

choice! {
    /// Images at once.
    Batch {
        /// One
        One = "1",
        /// Sixty-four
        Many = "64",
    }
}

choice! {
    /// What a slot holds.
    Held {
        /// skip: nothing
        Skip = "skip",
        /// pool: mean of the neighbours
        Pool = "pool",
        /// mix: over positions
        Mix = "mix",
        /// pw: over channels
        Pw = "pw",
        /// sep: depthwise, then over channels
        Sep = "sep",
        /// conv: 3 by 3, all channels
        Conv = "conv",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            strategy: Strategy::Evolution,
            evaluations: 10,
            steps: Steps::Short,
            seeds_each: 1,
            cost: Cost::Flops,
            budget: 20,
            batch: Batch::One,
            final_steps: 174,
            population: 4,
            sample: 2,
            residual: true,
            replays: 100,
            first: Held::Mix,
            second: Held::Sep,
            third: Held::Mix,
            fourth: Held::Skip,
        }
    }
}

impl Params {
    fn strategy(&self) -> CellStrategy {
        match self.strategy {
            Strategy::Random => CellStrategy::Random,
            Strategy::Local => CellStrategy::Local,
            Strategy::Evolution => CellStrategy::Evolution,
            Strategy::Reinforce => CellStrategy::Reinforce,
            Strategy::Predictor => CellStrategy::Predictor,
        }
    }

    fn steps(&self) -> usize {
        if self.steps == Steps::Short { 44 } else { 174 }
    }

    fn batch(&self) -> usize {
        if self.batch == Batch::One { 1 } else { 64 }
    }

    fn by_hand(&self) -> CellCode {
        CellCode([self.first, self.second, self.third, self.fourth].map(|held| SlotOp::ALL[held as usize]))
    }

    /// What the ranges cannot say.
    fn check(&self) -> Result<(), LabError> {
        if self.strategy == Strategy::Evolution && self.population < self.sample {
            let why =
                format!("{} parents cannot be drawn from a population of {}: take fewer", self.sample, self.population);
            return Err(LabError::BadParam(BadParam { name: "sample".into(), why }));
        }
        Ok(())
    }
}

/// Samples of each operation and network that is timed.
const ROUNDS: usize = 9;
/// Networks whose time is compared with the sum of their operations'.
const TIMED: usize = 8;
/// The seed of a winner's last training, which no trial had.
const FRESH: u64 = 100;

/// A network of the space for these images.
pub(crate) fn net(code: CellCode, residual: bool) -> CellNet {
    CellNet { code, residual, classes: Glyphs::CLASSES.len() }
}

/// Networks by chance, none twice: the first of them all, shuffled.
pub(crate) fn some(count: usize, purpose: &str) -> Vec<CellCode> {
    let mut all = CellCode::distinct();
    all.shuffle(&mut rng(0, purpose));
    all.truncate(count);
    all
}

/// The lab.
pub struct Nas;

impl Lab for Nas {
    const ID: &'static str = "nas";
    type Params = Params;

    fn smoke() -> Params {
        Params { evaluations: 4, population: 2, replays: 20, final_steps: 44, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let mut report = Report::default();
        cx.progress("Loading", 0.0);
        let images = cell_images(cx).await?;
        let record = Record::new(CellTable::load(cx).await?);
        report.metrics.extend(summary::counted(&params, &record));
        cx.publish(&report)?;
        cx.progress("Timing operations", 0.05);
        let classes = Glyphs::CLASSES.len();
        let times = cell_times(params.batch(), classes, ROUNDS, cx).await?;
        let mut timed = some(TIMED, "timed");
        timed.push(params.by_hand());
        let whole = network_times(&timed, (params.batch(), classes), ROUNDS, cx).await?;
        report.metrics.extend(summary::timed(&times, &timed, &whole, cx));
        report.charts = figures::scatters(&record, &times);
        report.tables.push(figures::operations(&times));
        cx.publish(&report)?;
        let allowed = Allowed::new(&params, &times)?;
        cx.progress("Replaying", 0.15);
        let replays = replay::curves(&record, &allowed, &params, cx).await?;
        report.metrics.extend(summary::replayed(&replays, &params));
        report.charts.extend(figures::regrets(&replays));
        cx.publish(&report)?;
        let proxies = record::proxies(&images[0], record::POOL, cx).await?;
        report.metrics.extend(summary::free(&record, &proxies));
        report.charts.push(figures::orders(&record, &proxies));
        cx.publish(&report)?;
        let mut judge = Judge::new(&images, &params);
        let log = judge.search(&params, &allowed, cx).await?;
        let trained = Trained::finals(&log, &params, &allowed, &images, cx).await?;
        report.metrics.extend(summary::searched(&params, &judge, &log, &trained));
        report.notes = summary::notes(&params, &judge, &log, &allowed, &trained);
        report.charts.push(figures::searched(&log, &params));
        report.tables.push(figures::finals(&trained, &times));
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
