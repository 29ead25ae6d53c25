//! The same run without a browser, to compare with.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lab_api::{Kind, RunRecord, value_text};

/// Runs a lab natively on the CPU.
///
/// # Errors
/// The command line cannot be started, fails, or prints no record.
pub fn run(lab: &str, settings: &[(String, String)], seed: u64) -> anyhow::Result<RunRecord> {
    let set = settings.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]);
    record(lab, &[vec!["--seed".to_owned(), seed.to_string()], set.collect()].concat())
}

/// The same, given up after so many seconds: `None`.
///
/// # Errors
/// As [`run`].
pub fn run_within(
    lab: &str,
    settings: &[(String, String)],
    seed: u64,
    seconds: f64,
) -> anyhow::Result<Option<RunRecord>> {
    let set = settings.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]);
    let mut command = command(lab, &[vec!["--seed".to_owned(), seed.to_string()], set.collect()].concat())?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let out = child.stdout.take().context("the command line has no output")?;
    // A record is longer than a pipe holds: without a reader the run would never end.
    let reader = std::thread::spawn(move || std::io::read_to_string(out));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed().as_secs_f64() > seconds {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    anyhow::ensure!(status.success(), "{command:?} failed");
    let text = reader.join().map_err(|_| anyhow::anyhow!("the reader of a run's output panicked"))??;
    serde_json::from_str(&text).map(Some).context("the labs' command line printed no record")
}

/// The small case of a lab, natively on the CPU, with its settings as a link takes them; run once for all tests.
///
/// # Errors
/// As [`run`].
pub fn smoke(lab: &str) -> anyhow::Result<(RunRecord, Vec<(String, String)>)> {
    static KNOWN: Mutex<BTreeMap<String, RunRecord>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = known().get(lab).cloned();
    let record = match before {
        Some(record) => record,
        None => record(lab, &["--smoke".to_owned()])?,
    };
    known().insert(lab.to_owned(), record.clone());
    // Files and drawings that are not there leave nothing to set.
    let texts = record.params.iter().map(|(name, value)| (name.clone(), value_text(value)));
    let settings = texts.filter(|(_, value)| !value.is_empty()).collect();
    Ok((record, settings))
}

fn command(lab: &str, more: &[String]) -> anyhow::Result<Command> {
    let mut command = Command::new(crate::env::lab_cli()?);
    command.current_dir(crate::env::workspace());
    command.args(["run", lab, "--device", "cpu", "--json"]).args(more);
    Ok(command)
}

fn record(lab: &str, more: &[String]) -> anyhow::Result<RunRecord> {
    let mut command = command(lab, more)?;
    let output = command.output().context("the labs' command line cannot be started")?;
    anyhow::ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the labs' command line printed no record")
}

/// Exact and trained metrics of `expected` that the page does not show, or shows with a value further off than their
/// tolerance: each as a sentence.
#[must_use]
pub fn disagreements(expected: &RunRecord, shown: &[(String, f64)]) -> Vec<String> {
    let mut found = Vec::new();
    for metric in expected.report.metrics.iter().filter(|metric| metric.kind != Kind::Measured) {
        let allowed = metric.tolerance.as_ref().map_or(0.0, |tolerance| tolerance.absolute);
        // A number goes through text twice on its way into the page.
        let allowed = allowed + metric.value.abs() * 1e-9;
        let (id, native) = (&metric.id, metric.value);
        match shown.iter().find(|(name, _)| name == id) {
            None => found.push(format!("the page does not show {id}")),
            Some((_, page)) if (page - native).abs() > allowed || !page.is_finite() => {
                found.push(format!("{id} is {page} in the page, {native} natively, and may differ by {allowed}"));
            }
            Some(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_different_number_is_found() {
        let record: RunRecord = serde_json::from_value(serde_json::json!({
            "lab": "x", "params": {}, "seed": 0,
            "environment": {"device": {"kind": "cpu", "name": "CPU"}, "host": "native", "platform": "", "cores": 1,
                            "engine_version": "0", "clock_step_ms": 0.0},
            "metrics": [
                {"id": "bytes", "label": "b", "value": 10.0, "unit": "bytes", "better": "lower", "kind": "exact", "family": "memory"},
                {"id": "accuracy", "label": "a", "value": 97.0, "unit": "%", "better": "higher", "kind": "exact", "family": "quality",
                 "tolerance": {"absolute": 0.1, "why": "one image"}},
                {"id": "loss", "label": "l", "value": 0.5, "unit": "nats", "better": "lower", "kind": "trained", "family": "quality",
                 "tolerance": {"absolute": 0.05, "why": "seeds"}},
                {"id": "latency", "label": "l", "value": 1.0, "unit": "ms", "better": "lower", "kind": "measured", "family": "time"}
            ]
        }))
        .expect("a record");
        let shown = |bytes, accuracy, loss| {
            [("bytes", bytes), ("accuracy", accuracy), ("loss", loss)].map(|(id, value)| (id.to_owned(), value))
        };
        assert_eq!(disagreements(&record, &shown(10.0, 97.09, 0.54)), [""; 0]);
        assert_eq!(disagreements(&record, &shown(11.0, 97.2, 0.56)).len(), 3);
        assert_eq!(disagreements(&record, &[]).len(), 3);
    }
}
