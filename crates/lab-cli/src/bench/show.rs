//! A benchmark for people: a table, a picture.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use anyhow::Context as _;
use lab_api::{Axis, BarSeries, Chart, ChartBody, Family, Metric, RunRecord};
use lab_charts::svg_file;
use lab_kit::find;
use labs::registry::ALL;

use super::Bench;
use crate::{Problem, output};

/// The roofs, and a table for each lab.
pub(super) fn human(bench: &Bench) -> Result<String, Problem> {
    let (roof, environment) = (&bench.roof, &bench.environment);
    let mut text = format!(
        "{}, {}, {} cores\nRoof: {:.1} GFLOP/s (FP32 matrix multiplication), {:.1} GB/s from memory, {:.1} GB/s in cache; \
         ridge at {:.1} FLOP/byte\n",
        environment.device.name,
        environment.platform,
        environment.cores,
        roof.peak_gflops,
        roof.memory_gb_per_s,
        roof.cache_gb_per_s,
        roof.line().ridge()
    );
    let runs = if bench.runs == 1 { "1 run".to_owned() } else { format!("{} runs", bench.runs) };
    for record in &bench.labs {
        let title = crate::assets::meta(find(ALL, &record.lab)?)?.title;
        let _ = write!(text, "\n{title} ({}), {runs}\n\n{}", record.lab, output::metrics(&record.report.metrics));
    }
    Ok(text)
}

/// What each technique changes, as a file of its own in the page's light colours.
pub(super) fn svg(root: &Path, bench: &Bench) -> anyhow::Result<String> {
    let tokens = root.join("site/styles/tokens.css");
    let tokens =
        std::fs::read_to_string(&tokens).context("site/styles/tokens.css, which holds the colours, cannot be read")?;
    Ok(svg_file(&chart(bench), &tokens)?)
}

/// Every number that has a baseline, over it; with several labs the first of each family.
fn chart(bench: &Bench) -> Chart {
    let several = bench.labs.len() > 1;
    let (mut categories, mut values, mut intervals) = (Vec::new(), Vec::new(), Vec::new());
    for record in &bench.labs {
        for (metric, baseline) in shown(record, several) {
            let label = &metric.label;
            categories.push(if several { format!("{}: {label}", record.lab) } else { label.clone() });
            values.push(metric.value / baseline);
            let ends = metric.interval.map_or([metric.value; 2], |i| [i.low, i.high]);
            intervals.push(ends.map(|end| end / baseline));
        }
    }
    let of =
        if several { "the techniques".to_owned() } else { bench.labs.first().map_or(String::new(), |r| r.lab.clone()) };
    Chart {
        id: "bench".into(),
        title: format!("What changes with {of}?"),
        caption: format!(
            "Each number over its baseline, which is 1; whiskers are 95 % intervals. {} runs on {}, {} cores.",
            bench.runs, bench.environment.device.name, bench.environment.cores
        ),
        x: Axis::default(),
        y: Axis { min: Some(0.0), ..Axis::linear("Optimized / baseline") },
        body: ChartBody::Bar {
            series: vec![
                BarSeries { name: "Baseline".into(), values: vec![1.0; values.len()], intervals: vec![] },
                BarSeries { name: "Optimized".into(), values, intervals },
            ],
            categories,
        },
    }
}

/// Metrics to compare with their baselines.
fn shown(record: &RunRecord, first_of_family: bool) -> Vec<(&Metric, f64)> {
    let mut families = BTreeSet::<Family>::new();
    let comparable = record.report.metrics.iter().filter_map(|metric| {
        let baseline = metric.baseline.filter(|baseline| *baseline > 0.0)?;
        (metric.value >= 0.0).then_some((metric, baseline))
    });
    comparable.filter(|(metric, _)| !first_of_family || families.insert(metric.family)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        Roof,
        merge::{merge, tests::run},
    };

    fn bench(labs: usize) -> Bench {
        let roof = Roof { peak_gflops: 100.0, memory_gb_per_s: 10.0, cache_gb_per_s: 20.0 };
        let record = merge(&[run(7.0, 1.0), run(7.0, 3.0)], &roof.line()).expect("merges");
        Bench { runs: 2, environment: record.environment.clone(), roof, labs: vec![record; labs] }
    }

    #[test]
    fn bars_are_numbers_over_their_baselines() {
        let ChartBody::Bar { categories, series } = chart(&bench(1)).body else { panic!("bars") };
        assert_eq!(categories, ["Bytes", "Rate", "Intensity", "Share of the roof"]);
        assert_eq!(series[1].values[..3], [0.25, 0.5, 4.0]);
        assert_eq!(series[1].intervals[1], [0.25, 0.75]);
        let ChartBody::Bar { categories, .. } = chart(&bench(2)).body else { panic!("bars") };
        assert_eq!(categories[..2], ["sample: Bytes", "sample: Rate"]);
        assert_eq!(categories.len(), 4);
    }

    #[test]
    fn json_survives_the_round_trip() {
        let bench = bench(1);
        let text = serde_json::to_string(&bench).expect("serializes");
        assert_eq!(serde_json::from_str::<Bench>(&text).expect("reads"), bench);
    }
}
