//! Is one variant faster than another, how sure is that, and what is "the speed" when a user, a camera rig, a crowd and a batch
//! job each see another one? Comparisons whose false alarms are counted, and scenarios after MLPerf Inference.

mod compare;
mod disturb;
mod figures;
mod machine;
mod scenarios;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{LabError, Report};
use lab_kit::{Context, Lab, bench};
use serde::{Deserialize, Serialize};

use compare::Alarms;
use disturb::Disturber;
use machine::Machine;
use scenarios::Scenarios;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Model
    ///
    /// A sample is one prompt of a few tokens, or one strip of glyphs: so many that a clock of your device can see it.
    pub subject: Subject,
    /// Candidate
    ///
    /// What is compared with FP32.
    pub candidate: Candidate,
    /// Order
    ///
    /// Who is timed when.
    pub design: Design,
    /// Statistic
    ///
    /// What stands for the samples of a variant.
    pub statistic: Statistic,
    /// Samples
    ///
    /// Of each variant, in one experiment.
    #[cfg_attr(feature = "schema", schemars(range(min = 5, max = 201), extend("x-step" = 2)))]
    pub samples: u32,
    /// Experiments
    ///
    /// FP32 against FP32, so often as a whole.
    #[cfg_attr(feature = "schema", schemars(range(min = 6, max = 200)))]
    pub experiments: u32,
    /// Disturbance
    ///
    /// The lab slows your device down for real, by doing nothing for a while inside a query.
    pub disturbance: Disturbance,
    /// Load
    ///
    /// Of the live server, as a share of what your device can answer one after the other.
    #[cfg_attr(feature = "schema", schemars(range(min = 10, max = 120), extend("x-unit" = "%", "x-step" = 5)))]
    pub load: u32,
    /// Seconds of load
    #[cfg_attr(feature = "schema", schemars(range(min = 0.2, max = 20.0), extend("x-unit" = "s", "x-step" = 0.1)))]
    pub seconds: f64,
    /// Bound
    ///
    /// 99 of 100 answers must come within so many times the middle latency of an idle server.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.5, max = 20.0), extend("x-unit" = "×", "x-step" = 0.5)))]
    pub bound: f64,
    /// Confidence
    pub level: Level,
    /// Latency counts from
    ///
    /// Of the live server.
    pub latency_from: Since,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            subject: Subject::Language,
            candidate: Candidate::Itself,
            design: Design::Interleaved,
            statistic: Statistic::Median,
            samples: 9,
            experiments: 40,
            disturbance: Disturbance::None,
            load: 70,
            seconds: 1.5,
            bound: 5.0,
            level: Level::NinetyFive,
            latency_from: Since::Scheduled,
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Language model
    Language,
    /// Classifier of glyphs
    ///
    /// Packed, it runs on the processor, whatever device you chose.
    Glyphs,
}

/// What is compared with FP32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Candidate {
    /// Itself
    ///
    /// FP32 again: the true difference is 0.
    Itself,
    /// INT8
    Int8,
    /// INT4
    Int4,
}

/// Who is timed when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// One after the other
    ///
    /// All samples of A, then all of B.
    Sequential,
    /// Interleaved
    ///
    /// A B, B A, A B, ...: each sample has its partner beside it.
    Interleaved,
}

/// What stands for many samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Mean
    Mean,
    /// Median
    Median,
    /// Minimum
    Minimum,
}

impl Statistic {
    fn of_kit(self) -> bench::Statistic {
        match self {
            Self::Mean => bench::Statistic::Mean,
            Self::Median => bench::Statistic::Median,
            Self::Minimum => bench::Statistic::Minimum,
        }
    }
}

/// What slows the device down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Disturbance {
    /// None
    None,
    /// Drift
    ///
    /// Queries become longer by a tenth over each experiment, as on a device that gets warm. The scenarios are spared.
    Drift,
    /// Stalls
    ///
    /// 200 ms of nothing every two seconds, as when another program or a collector of garbage wakes up.
    Stalls,
}

/// Confidence of the intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Level {
    /// 90 %
    #[serde(rename = "90")]
    Ninety,
    /// 95 %
    #[serde(rename = "95")]
    NinetyFive,
    /// 99 %
    #[serde(rename = "99")]
    NinetyNine,
}

impl Level {
    fn share(self) -> f64 {
        match self {
            Self::Ninety => 0.9,
            Self::NinetyFive => 0.95,
            Self::NinetyNine => 0.99,
        }
    }
}

/// Where a latency begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// The schedule
    ///
    /// When the query should have been sent.
    Scheduled,
    /// The sending
    ///
    /// When the client got to send it.
    Sent,
}

/// The lab.
pub struct Benchmarking;

impl Lab for Benchmarking {
    const ID: &'static str = "benchmarking";
    type Params = Params;

    fn smoke() -> Params {
        Params { samples: 5, experiments: 6, seconds: 0.2, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.progress("Loading the model", 0.0);
        let mut machine = Machine::load(params.subject, &[params.candidate], cx).await?;
        let mut report = Report { metrics: summary::counted(&machine), ..Report::default() };
        cx.publish(&report)?;

        cx.progress("The first fifty calls", 0.05);
        let first = machine.first_calls(cx).await?;
        report.charts.push(figures::first_calls(&first));
        machine.size(cx).await?;
        report.metrics.push(summary::warm_up(&first));

        cx.progress("FP32 against FP32, again and again", 0.1);
        let disturber = Disturber::new(params.disturbance, cx);
        let alarms = Alarms::measure(&machine, &params, &disturber, cx).await?;
        report.metrics.splice(0..0, summary::alarms(&alarms, &params));
        report.charts.insert(0, figures::strip(&alarms, &params));
        cx.publish(&report)?;

        cx.progress("FP32 against the candidate", 0.4);
        let pair = compare::pair(&machine, (0, machine.candidate()), &params, &disturber, cx).await?;
        report.metrics.splice(1..1, summary::comparison(&pair, &params, cx));
        let mut all = Vec::new();
        for variant in 0..machine.variants.len() {
            cx.progress("Four scenarios", 0.45 + 0.2 * variant as f64);
            all.push(Scenarios::measure(&machine, variant, &params, cx).await?);
        }
        cx.progress("Quality", 0.9);
        let mut qualities = Vec::new();
        for variant in 0..machine.variants.len() {
            qualities.push(machine.quality(variant, cx).await?);
        }
        report.metrics.extend(summary::scenarios(&machine, &all, &qualities, &params, cx).await?);
        report.charts.splice(1..1, figures::scenarios(&all, &params));
        report.tables.push(figures::table(&machine, &all, &qualities));
        report.notes = summary::notes(&machine, &alarms, &all, &qualities, &params, cx);
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
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context_with, ready};

    use super::*;

    const ASSETS: &[&str] = &[
        "language/lm.safetensors",
        "corpus/tokenizer.json",
        "corpus/test.txt.gz",
        "glyphs/glyphs.bin.gz",
        "glyphs/mlp.safetensors",
    ];

    fn run(params: Params) -> Report {
        let mut cx = context_with(Rc::new(FakeClock::real()), ASSETS);
        let report = ready(Benchmarking::run(params, &mut cx)).expect("runs");
        report.check().expect("finite");
        report
    }

    fn value(report: &Report, id: &str) -> f64 {
        report.metric(id).unwrap_or_else(|| panic!("{id} is told")).value
    }

    #[test]
    fn stalls_are_seen_from_the_schedule_and_hidden_from_the_sender() {
        let params = Params {
            disturbance: Disturbance::Stalls,
            seconds: 0.8,
            candidate: Candidate::Int8,
            ..Benchmarking::smoke()
        };
        let report = run(params);
        let (scheduled, sent) = (value(&report, "live_p90"), value(&report, "sent_p90"));
        assert!(scheduled > 3.0 * sent && scheduled > 40.0, "{scheduled} {sent}");
        assert!(
            value(&report, "stored_bytes")
                < 0.35 * report.metric("stored_bytes").and_then(|m| m.baseline).expect("FP32")
        );
        let note = report.notes.iter().any(|note| note.contains("662"));
        assert!(note, "a p99 from so few queries must be refused: {:?}", report.notes);
    }

    #[test]
    fn glyphs_too_and_more_load_than_can_be_borne() {
        let params = Params {
            subject: Subject::Glyphs,
            load: 120,
            disturbance: Disturbance::Drift,
            design: Design::Sequential,
            statistic: Statistic::Mean,
            latency_from: Since::Sent,
            ..Benchmarking::smoke()
        };
        let report = run(params);
        assert!(value(&report, "quality") > 70.0);
        assert!(report.notes.iter().any(|note| note.contains("faster than")), "{:?}", report.notes);
        assert!(value(&report, "peak_load") < 100.0);
    }
}
