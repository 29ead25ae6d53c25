//! Several runs of one lab as one record.

use lab_api::{Family, Kind, Metric, Report, RunRecord};
use lab_kit::{
    measure::Roofline,
    report::{MetricExt, metric},
    rng,
    stats::{median, median_interval},
};
use serde::{Deserialize, Serialize};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Metric: from start to the first number.
pub(super) const FIRST: &str = "bench_first_number";
/// Metric: the whole default run.
pub(super) const WHOLE: &str = "bench_run";
/// Metrics by which a lab tells what its call does: operations per second, and operations per byte.
const RATE: &str = "rate";
const INTENSITY: &str = "intensity";

/// One run and what its host saw.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) record: RunRecord,
    pub(super) first_ms: f64,
    pub(super) whole_ms: f64,
    pub(super) longest_gap_ms: f64,
    /// Most engine memory held at once, beyond that before the run.
    pub(super) peak_bytes: Option<usize>,
}

/// The record of the first run with its metrics over all runs, after those of the bench itself.
///
/// # Errors
/// Names the exact metric about which runs of one seed disagree.
pub(super) fn merge(runs: &[Run], roof: &Roofline) -> Result<RunRecord, String> {
    let Some(first) = runs.first() else { return Err("a benchmark needs at least one run.".into()) };
    let mut metrics = waits(runs);
    for one in &first.record.report.metrics {
        let same: Vec<&Metric> = runs.iter().filter_map(|run| run.record.report.metric(&one.id)).collect();
        metrics.push(over_runs(&first.record.lab, one, &same)?);
    }
    metrics.extend(share_of_roof(&metrics, roof));
    Ok(RunRecord { report: Report { metrics, ..Report::default() }, ..first.record.clone() })
}

/// What readers wait for, and what the engine holds.
fn waits(runs: &[Run]) -> Vec<Metric> {
    let over = |family, id: &str, label: &str, unit: &str, of: fn(&Run) -> Option<f64>| {
        let samples: Vec<f64> = runs.iter().filter_map(of).collect();
        (!samples.is_empty()).then(|| spread(metric(family, id, label, 0.0, unit).lower(), samples))
    };
    [
        over(Family::Time, FIRST, "First number", "ms", |run| Some(run.first_ms)),
        over(Family::Time, WHOLE, "Default run", "ms", |run| Some(run.whole_ms)),
        over(Family::Time, "bench_longest_gap", "Longest deaf to Cancel", "ms", |run| Some(run.longest_gap_ms)),
        over(Family::Memory, "bench_peak_memory", "Peak memory of the engine", "bytes", |run| {
            run.peak_bytes.map(|bytes| bytes as f64)
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A measured metric of these samples: their median and its interval.
fn spread(metric: Metric, samples: Vec<f64>) -> Metric {
    let interval = median_interval(&samples, LEVEL, &mut rng(0, &metric.id));
    Metric { value: median(&samples), interval: Some(interval), ..metric }.measured(samples)
}

/// One metric over all runs: an exact one must agree, others show the median of their values.
fn over_runs(lab: &str, first: &Metric, same: &[&Metric]) -> Result<Metric, String> {
    let values: Vec<f64> = same.iter().map(|metric| metric.value).collect();
    if first.kind == Kind::Exact {
        let tolerance = first.tolerance.as_ref().map_or(0.0, |tolerance| tolerance.absolute);
        return match values.iter().find(|value| (*value - first.value).abs() > tolerance) {
            Some(other) => Err(format!(
                "{lab}: {} is {} in one run and {other} in another of the same seed.",
                first.id, first.value
            )),
            None => Ok(first.clone()),
        };
    }
    let baselines: Vec<f64> = same.iter().filter_map(|metric| metric.baseline).collect();
    let baseline = first.baseline.map(|_| median(&baselines));
    // A single run knows the spread of its own samples better.
    if values.len() < 2 {
        return Ok(first.clone());
    }
    Ok(Metric { baseline, kind: first.kind, ..spread(first.clone(), values) })
}

/// How near the lab's call comes to what the roofline allows at its intensity.
fn share_of_roof(metrics: &[Metric], roof: &Roofline) -> Option<Metric> {
    let find = |id: &str| metrics.iter().find(|metric| metric.id == id);
    let (rate, intensity) = (find(RATE)?, find(INTENSITY)?);
    let share = |rate: f64, intensity: f64| 100.0 * rate / roof.attainable(intensity).max(f64::MIN_POSITIVE);
    let samples: Vec<f64> = rate.samples.iter().map(|rate| share(*rate, intensity.value)).collect();
    let label = "Share of the roof";
    let one = metric(Family::Utilization, "bench_share_of_roof", label, 0.0, "%").higher().help(
        "Achieved rate over the lower of this machine's two roofs at this many operations per byte; above 100 % where the data stay in a cache.",
    );
    let baseline = rate.baseline.map(|rate| share(rate, intensity.baseline.unwrap_or(intensity.value)));
    Some(Metric { value: share(rate.value, intensity.value), baseline, ..one }.measured(samples)).map(|one| {
        let interval = rate.interval.map(|i| lab_api::Interval {
            low: share(i.low, intensity.value),
            high: share(i.high, intensity.value),
            level: i.level,
        });
        Metric { interval, ..one }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use lab_api::{DeviceInfo, DeviceKind, Environment, Values};

    use super::*;

    /// A run with one exact and one measured metric, and a call of 2 operations a byte.
    pub(in crate::bench) fn run(exact: f64, rate: f64) -> Run {
        let device = DeviceInfo {
            kind: DeviceKind::Cpu,
            name: "CPU".into(),
            vendor: String::new(),
            architecture: String::new(),
            software_adapter: false,
        };
        let environment = Environment {
            device,
            host: "native".into(),
            platform: String::new(),
            cores: 1,
            engine_version: String::new(),
            clock_step_ms: 0.0,
        };
        let metrics = vec![
            metric(Family::Memory, "bytes", "Bytes", exact, "bytes").baseline(4.0 * exact).exact(0.0, "counted"),
            metric(Family::Utilization, RATE, "Rate", rate, "GFLOP/s").baseline(2.0 * rate).measured(vec![rate]),
            metric(Family::Utilization, INTENSITY, "Intensity", 2.0, "FLOP/byte").baseline(0.5).exact(0.0, "counted"),
        ];
        let report = Report { metrics, ..Report::default() };
        let record = RunRecord { lab: "sample".into(), params: Values::new(), seed: 0, environment, report };
        Run { record, first_ms: 10.0, whole_ms: 100.0 * rate, longest_gap_ms: 5.0, peak_bytes: Some(1000) }
    }

    const ROOF: Roofline = Roofline { peak_gflops: 100.0, peak_gb_per_s: 10.0 };

    #[test]
    fn measured_numbers_are_medians_with_intervals_and_exact_ones_stay() {
        let runs: Vec<Run> = [3.0, 1.0, 2.0, 5.0, 4.0].map(|rate| run(7.0, rate)).into();
        let record = merge(&runs, &ROOF).expect("agree");
        assert_eq!(record.report.check(), Ok(()));
        let found = |id: &str| record.report.metric(id).expect("reported");
        assert_eq!((found("rate").value, found("rate").baseline), (3.0, Some(6.0)));
        assert_eq!(found("rate").samples, [3.0, 1.0, 2.0, 5.0, 4.0]);
        let interval = found("rate").interval.expect("known");
        assert!(1.0 <= interval.low && interval.low < 3.0 && 3.0 < interval.high && interval.high <= 5.0);
        assert_eq!((found("bytes").value, found("bytes").interval), (7.0, None));
        assert_eq!((found(WHOLE).value, found(FIRST).value), (300.0, 10.0));
        assert_eq!(found("bench_peak_memory").value, 1000.0);
        // At 2 operations a byte memory allows 20 GFLOP/s, at 0.5 it allows 5: 3 of 20 and 6 of 5.
        let share = found("bench_share_of_roof");
        assert!((share.value - 15.0).abs() < 1e-9 && (share.baseline.expect("known") - 120.0).abs() < 1e-9);
    }

    #[test]
    fn runs_that_disagree_about_an_exact_number_are_refused() {
        let why = merge(&[run(7.0, 1.0), run(8.0, 1.0)], &ROOF).expect_err("refused");
        assert!(why.contains("sample: bytes is 7 in one run and 8 in another"), "{why}");
        assert!(merge(&[], &ROOF).is_err());
    }
}
