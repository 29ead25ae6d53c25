//! Requests come when they like: whom should the next step of the model serve, and what does each pay for the speed of all?

mod figures;
mod server;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    serving::{self, Arrivals, Lengths, Rules, draw},
};
use serde::{Deserialize, Serialize};

use server::{CONTEXT, PAIR_BYTES, Server};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Policy
    ///
    /// Which requests share a step. The baseline is always one after the other.
    pub policy: Policy,
    /// Sequences in a step
    ///
    /// At most so many write at once.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "policy", "is": ["static", "dynamic", "continuous", "chunked"]})))]
    pub max_batch: u32,
    /// Longest wait for company
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 500.0), extend("x-unit" = "ms", "x-step" = 5.0)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "policy", "is": ["dynamic"]})))]
    pub delay_ms: f64,
    /// Tokens in a step
    ///
    /// A token for each sequence that writes, the rest for pieces of prompts. At least as many as sequences.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 256), extend("x-step" = 8)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "policy", "is": ["chunked"]})))]
    pub budget: u32,
    /// Load
    ///
    /// Requests that come, as a share of what your device can serve one after the other. Above 100 % the baseline cannot keep up.
    #[cfg_attr(feature = "schema", schemars(range(min = 10, max = 400), extend("x-unit" = "%", "x-step" = 5)))]
    pub load: u32,
    /// Arrivals
    pub arrivals: Coming,
    /// Prompts
    ///
    /// Which part of the tokens is read and which is written.
    pub prompts: Share,
    /// Who comes first
    pub order: Order,
    /// Memory
    ///
    /// How room for keys and values is given out.
    pub memory: Memory,
    /// Pool
    ///
    /// Memory for keys and values. A token of this model takes 2 KiB.
    #[cfg_attr(feature = "schema", schemars(range(min = 512, max = 16384), extend("x-unit" = "KiB", "x-step" = 128)))]
    pub pool_kib: u32,
    /// Tokens of a page
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "memory", "is": ["paged"]})))]
    pub page: PageSize,
    /// Requests
    ///
    /// Really served, three times. The time line has 25 times as many for each point.
    #[cfg_attr(feature = "schema", schemars(range(min = 4, max = 120)))]
    pub requests: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            policy: Policy::Continuous,
            max_batch: 8,
            delay_ms: 50.0,
            budget: 32,
            load: 150,
            arrivals: Coming::Poisson,
            prompts: Share::Even,
            order: Order::Fifo,
            memory: Memory::Paged,
            pool_kib: 2048,
            page: PageSize::Sixteen,
            requests: 24,
        }
    }
}

/// Which requests share a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// One after the other
    One,
    /// Static batches
    ///
    /// A batch begins when it is full and ends with its longest member.
    Static,
    /// Dynamic batches
    ///
    /// The same, but a batch also begins when somebody has waited long enough.
    Dynamic,
    /// Continuous
    ///
    /// Whoever is there joins at the next step; whoever is done leaves. A prompt is read whole, in a step of its own.
    Continuous,
    /// Continuous, prompts in pieces
    ///
    /// Each step has a budget of tokens: one for each sequence that writes, the rest for a piece of a prompt.
    Chunked,
}

/// When requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Coming {
    /// At random
    ///
    /// Each for itself, a Poisson process.
    Poisson,
    /// At equal distances
    Regular,
    /// In groups of eight
    Bursts,
}

/// Read against written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Short prompts, long answers
    ///
    /// Medians of 16 tokens read and 60 written.
    Short,
    /// Even
    ///
    /// Medians of 40 tokens read and 40 written.
    Even,
    /// Long prompts, short answers
    ///
    /// Medians of 120 tokens read and 12 written.
    Long,
}

impl Share {
    fn lengths(self) -> Lengths {
        let (prompt, output) = match self {
            Self::Short => ((16.0, 4, 48), (60.0, 8, 120)),
            Self::Even => ((40.0, 8, 96), (40.0, 4, 96)),
            Self::Long => ((120.0, 32, 160), (12.0, 2, 40)),
        };
        Lengths { prompt, output, spread: 0.7 }
    }
}

/// Who of those who wait comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// First come, first served
    Fifo,
    /// The shortest
    ///
    /// As if it were known how much a request will write.
    Shortest,
    /// The shortest, with age
    ///
    /// 10 ms of waiting count as one token less.
    Aged,
}

/// How memory is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Reserved
    ///
    /// 256 tokens for each sequence, the most that this model can hold.
    Reserved,
    /// Paged
    ///
    /// A page at a time, as a sequence grows. Where none is left, the sequence that joined last gives back its pages and begins again.
    Paged,
}

/// Tokens of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PageSize {
    /// 1
    #[serde(rename = "1")]
    One,
    /// 4
    #[serde(rename = "4")]
    Four,
    /// 16
    #[serde(rename = "16")]
    Sixteen,
    /// 64
    #[serde(rename = "64")]
    SixtyFour,
}

impl Params {
    fn rules(&self, policy: Policy) -> Rules {
        let page = match self.page {
            PageSize::One => 1,
            PageSize::Four => 4,
            PageSize::Sixteen => 16,
            PageSize::SixtyFour => 64,
        };
        Rules {
            policy: match policy {
                Policy::One => serving::Policy::One,
                Policy::Static => serving::Policy::Static,
                Policy::Dynamic => serving::Policy::Dynamic,
                Policy::Continuous => serving::Policy::Continuous,
                Policy::Chunked => serving::Policy::Chunked,
            },
            max_batch: self.max_batch as usize,
            delay_ms: self.delay_ms,
            budget: self.budget as usize,
            order: match self.order {
                Order::Fifo => serving::Order::Fifo,
                Order::Shortest => serving::Order::Shortest,
                Order::Aged => serving::Order::Aged,
            },
            page,
            pages: self.pool_kib as usize * 1024 / (PAIR_BYTES * page),
            reserve: (self.memory == Memory::Reserved).then_some(CONTEXT),
        }
    }

    /// Requests of a lab's run or of a point of the time line.
    fn draw(&self, count: usize, rate: f64, purpose: &str, cx: &Context) -> Vec<serving::Request> {
        let arrivals = match self.arrivals {
            Coming::Poisson => Arrivals::Poisson,
            Coming::Regular => Arrivals::Regular,
            Coming::Bursts => Arrivals::Bursts,
        };
        draw(count, rate, arrivals, &self.prompts.lengths(), &mut cx.rng(purpose))
    }

    fn check(&self) -> Result<(), LabError> {
        if self.policy == Policy::Chunked && self.budget < self.max_batch {
            let why = format!(
                "{0} sequences may write, so that fewer tokens in a step leave none for prompts: take {0} or more",
                self.max_batch
            );
            return Err(LabError::BadParam(BadParam { name: "budget".into(), why }));
        }
        Ok(())
    }
}

/// The lab.
pub struct Batching;

impl Lab for Batching {
    const ID: &'static str = "batching";
    type Params = Params;

    fn smoke() -> Params {
        Params { requests: 4, prompts: Share::Long, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let mut report = Report::default();
        cx.progress("Loading the language model", 0.0);
        let mut server = Server::load(cx).await?;
        cx.progress("Timing steps of all sizes", 0.1);
        let measured =
            server.measure(params.rules(params.policy).page, f64::from(params.requests).min(25.0), cx).await?;
        report.metrics.extend(summary::steps(&measured));
        report.charts.push(figures::steps(&measured));
        report.tables.push(figures::costs(&measured));
        cx.publish(&report)?;

        cx.progress("Serving requests, one after the other", 0.3);
        let capacity = summary::capacity(&params, Policy::One, &measured, cx)?;
        let rate = capacity * f64::from(params.load) / 100.0;
        let requests = params.draw(params.requests as usize, rate, "requests", cx);
        let one = server.serve(&requests, params.rules(Policy::One), cx).await?;
        cx.progress("Serving the same requests by the policy", 0.5);
        let chosen = server.serve(&requests, params.rules(params.policy), cx).await?;
        report.metrics.splice(0..0, summary::live(&one, &chosen, &requests, &measured, &params));
        report.charts.insert(0, figures::gantt("gantt", params.policy, &chosen.log));
        cx.publish(&report)?;
        let rival = if params.policy == Policy::Static { Policy::One } else { Policy::Static };
        cx.progress("Serving them in another way, to compare", 0.65);
        let other = server.serve(&requests, params.rules(rival), cx).await?;
        report.charts.insert(0, figures::gantt("gantt_rival", rival, &other.log));

        cx.progress("More load, on a time line", 0.8);
        let knees = summary::knees(&params, &measured, capacity, cx).await?;
        report.charts.insert(2, figures::knees(&knees));
        report.metrics.extend(summary::line(&params, &measured, (rate, capacity), cx)?);
        report.notes = summary::notes(&one, &chosen, &params);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
