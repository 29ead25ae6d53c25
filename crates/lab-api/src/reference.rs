//! `reference.json`: what is known of a lab before anyone runs it in a page.

use serde::{Deserialize, Serialize};

use crate::{ParamSpec, RunRecord};

/// Committed beside each lab; made by `cargo xtask reference`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Lab id.
    pub lab: String,
    /// The command that made this file.
    pub command: String,
    /// Hash of the code, crates and assets that the default run was made from; `check` compares it.
    pub source_hash: String,
    /// The same of the study, which is renewed less often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study_hash: Option<String>,
    /// The lab's parameters.
    pub params: Vec<ParamSpec>,
    /// The report of the default parameters, seed 0, on the CPU.
    pub default_run: RunRecord,
    /// The report of the study, where the lab has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<RunRecord>,
}

impl Reference {
    /// Reads a number for prose: `metric`, `metric.baseline`, `metric.low`, `metric.high`, each optionally after
    /// `study.`. Gives value and unit.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<(f64, &str)> {
        let (record, path) = match path.strip_prefix("study.") {
            Some(rest) => (self.study.as_ref()?, rest),
            None => (&self.default_run, path),
        };
        let (id, part) = path.split_once('.').unwrap_or((path, "value"));
        let metric = record.report.metrics.iter().find(|metric| metric.id == id)?;
        let number = match part {
            "value" => metric.value,
            "baseline" => metric.baseline?,
            "low" => metric.interval?.low,
            "high" => metric.interval?.high,
            _ => return None,
        };
        Some((number, &metric.unit))
    }

    /// Every path [`Reference::value`] understands, for suggestions.
    #[must_use]
    pub fn value_paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let records = [("", Some(&self.default_run)), ("study.", self.study.as_ref())];
        for (prefix, record) in records {
            for metric in record.into_iter().flat_map(|record| &record.report.metrics) {
                paths.push(format!("{prefix}{}", metric.id));
                if metric.baseline.is_some() {
                    paths.push(format!("{prefix}{}.baseline", metric.id));
                }
                if metric.interval.is_some() {
                    paths.push(format!("{prefix}{}.low", metric.id));
                    paths.push(format!("{prefix}{}.high", metric.id));
                }
            }
        }
        paths
    }
}
