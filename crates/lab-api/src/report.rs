//! What a lab gives: metrics, tables and charts, and the environment they were measured in.

use serde::{Deserialize, Serialize};

use crate::{Chart, LabError, Values};

/// The content of a result.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Numbers, most telling first.
    pub metrics: Vec<Metric>,
    /// Tables.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// Charts.
    #[serde(default)]
    pub charts: Vec<Chart>,
    /// Sentences that this very run calls for ("4 images changed their answer").
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A result with all it takes to repeat it. This is what `cargo xtask lab run --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Lab id.
    pub lab: String,
    /// Parameter values, all of them.
    pub params: Values,
    /// Seed of the generator.
    pub seed: u64,
    /// Where it ran.
    pub environment: Environment,
    /// What came out.
    #[serde(flatten)]
    pub report: Report,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Stable name, snake case, for example `weight_bytes`.
    pub id: String,
    /// Words shown.
    pub label: String,
    /// The value of the optimized variant.
    pub value: f64,
    /// Unit, for example `bytes`, `%`, `ms`; empty for a plain count or ratio.
    pub unit: String,
    /// Which direction is an improvement.
    pub better: Better,
    /// How it may differ between devices.
    pub kind: Kind,
    /// What it tells about.
    pub family: Family,
    /// The same quantity of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Interval of `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// For exact metrics: how far devices may disagree, and what bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// For measured metrics: the samples behind `value`, in its unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<f64>,
    /// One sentence that says what the number means.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Shown on demand: it explains another number rather than answers the lab's question.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detail: bool,
}

/// Which direction is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// Neither: it describes.
    Neutral,
}

/// How a metric may differ between devices and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Agrees everywhere within its stated tolerance.
    Exact,
    /// Outcome of a live training: agrees within the study's interval over seeds.
    Trained,
    /// A measurement of this machine; never compared across machines.
    Measured,
}

/// What a metric tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// How long.
    Time,
    /// How many bytes.
    Memory,
    /// How good.
    Quality,
    /// How it grows.
    Scale,
    /// How much of this device's measured peak.
    Utilization,
}

/// A family that a lab does not report, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inapplicable {
    /// The family.
    pub family: Family,
    /// The reason, one sentence.
    pub why: String,
}

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence level, for example 0.95.
    pub level: f64,
}

/// How far exact metrics may disagree between devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Largest allowed absolute difference, in the metric's unit.
    pub absolute: f64,
    /// What bounds it, for example "one image may sit on a rounding boundary".
    pub why: String,
}

/// A table; numbers stay numbers so that columns align.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Stable name.
    pub id: String,
    /// Title.
    pub title: String,
    /// Column heads, units in brackets.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number.
    Number(f64),
    /// Words.
    Text(String),
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Where a run happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// What it ran on.
    pub device: DeviceInfo,
    /// `native` or `browser`.
    pub host: String,
    /// Operating system and architecture natively; the user agent's words in a browser.
    pub platform: String,
    /// Logical processors reported.
    pub cores: u32,
    /// Version of the engine.
    pub engine_version: String,
    /// Smallest step of the clock that was observed, in milliseconds.
    pub clock_step_ms: f64,
}

/// The device behind a run, as shown to the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Which engine path.
    pub kind: DeviceKind,
    /// Readable name: `CPU (WASM SIMD)`, `NVIDIA Ada (Vulkan)`.
    pub name: String,
    /// Vendor where known.
    #[serde(default)]
    pub vendor: String,
    /// Architecture where known.
    #[serde(default)]
    pub architecture: String,
    /// A GPU interface emulated on the processor: correct, and slow.
    #[serde(default)]
    pub software_adapter: bool,
}

/// Which engine path a device takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// WebGPU or its native counterparts.
    Webgpu,
}

impl Report {
    /// The metric of this name.
    #[must_use]
    pub fn metric(&self, id: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.id == id)
    }

    /// Refuses what must not reach a reader: numbers that are not finite, double ids, ragged tables.
    ///
    /// # Errors
    /// [`LabError::Refused`] naming the offender.
    pub fn check(&self) -> Result<(), LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        let mut ids = std::collections::BTreeSet::new();
        for metric in &self.metrics {
            let interval = metric.interval.iter().flat_map(|i| [i.low, i.high]);
            let numbers = [Some(metric.value), metric.baseline].into_iter().flatten();
            if let Some(bad) = numbers.chain(interval).chain(metric.samples.iter().copied()).find(|n| !n.is_finite()) {
                return refuse(format!("metric “{}” is {bad}", metric.id));
            }
            if !ids.insert(&metric.id) {
                return refuse(format!("metric “{}” stands twice", metric.id));
            }
        }
        for table in &self.tables {
            for row in &table.rows {
                if row.len() != table.columns.len() {
                    return refuse(format!("table “{}” has a row of {} cells", table.id, row.len()));
                }
                if row.iter().any(|cell| matches!(cell, Cell::Number(n) if !n.is_finite())) {
                    return refuse(format!("table “{}” holds a number that is not finite", table.id));
                }
            }
        }
        for chart in &self.charts {
            if let Some(bad) = chart.numbers().into_iter().find(|n| !n.is_finite()) {
                return refuse(format!("chart “{}” holds {bad}", chart.id));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(id: &str, value: f64) -> Metric {
        Metric {
            id: id.into(),
            label: id.into(),
            value,
            unit: String::new(),
            better: Better::Neutral,
            kind: Kind::Exact,
            family: Family::Quality,
            baseline: None,
            interval: None,
            tolerance: None,
            samples: vec![],
            detail: false,
            help: String::new(),
        }
    }

    #[test]
    fn what_is_not_finite_or_stands_twice_is_refused() {
        let good = Report { metrics: vec![metric("a", 1.0), metric("b", 2.0)], ..Report::default() };
        assert_eq!(good.check(), Ok(()));
        let nan = Report { metrics: vec![metric("a", f64::NAN)], ..Report::default() };
        assert_eq!(nan.check(), Err(LabError::Refused { why: "metric “a” is NaN".into() }));
        let twice = Report { metrics: vec![metric("a", 1.0), metric("a", 1.0)], ..Report::default() };
        assert!(twice.check().is_err());
    }
}
