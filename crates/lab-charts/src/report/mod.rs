//! A report as HTML: the metrics, what they say, the charts, the tables, and where it all was measured.

mod compare;
mod metric;

use lab_api::{DeviceKind, Kind, Metric, Report, RunRecord};

use crate::figure::figure_html;
use crate::{ChartMode, escape, table_html};

pub use compare::compare_html;
use metric::{difference_html, families, family_html, head_html, help_html, label_html, optional_html, value_html};

/// The reference, or any run alone. `source` (`reference` or `run`) keeps ids apart where both stand in one page.
#[must_use]
pub fn report_html(record: &RunRecord, source: &str, mode: ChartMode) -> String {
    whole(record, None, source, mode)
}

/// The reader's run, with the reference's values in a column of their own.
#[must_use]
pub fn run_html(record: &RunRecord, reference: Option<&RunRecord>, mode: ChartMode) -> String {
    whole(record, reference, "run", mode)
}

/// What is known in the middle of a run of this lab: metrics, charts and tables without an environment.
#[must_use]
pub fn partial_html(lab: &str, report: &Report, mode: ChartMode) -> String {
    format!("<div class=\"lab-report\">{}</div>", content_html(lab, report, None, "run", mode))
}

fn whole(record: &RunRecord, reference: Option<&RunRecord>, source: &str, mode: ChartMode) -> String {
    let content = content_html(&record.lab, &record.report, reference, source, mode);
    format!("<div class=\"lab-report\">{content}{}</div>", environment_html(record))
}

fn content_html(lab: &str, report: &Report, reference: Option<&RunRecord>, source: &str, mode: ChartMode) -> String {
    let value_head = if reference.is_some() { "Your run" } else { "Value" };
    let mut html = metrics_html(&report.metrics, reference, value_head);
    if !report.notes.is_empty() {
        html.push_str("<ul class=\"lab-notes\">");
        for note in &report.notes {
            html.push_str(&format!("<li>{}</li>", escape(note)));
        }
        html.push_str("</ul>");
    }
    if !report.charts.is_empty() {
        html.push_str("<div class=\"lab-figures\">");
        for chart in &report.charts {
            html.push_str(&figure_html(chart, &format!("{lab}-{source}-{}", chart.id), mode));
        }
        html.push_str("</div>");
    }
    report.tables.iter().for_each(|table| html.push_str(&table_html(table)));
    html
}

/// The table of metrics, by family in the order in which the report names them first.
fn metrics_html(metrics: &[Metric], reference: Option<&RunRecord>, value_head: &str) -> String {
    if metrics.is_empty() {
        return String::new();
    }
    let baseline = metrics.iter().any(|m| m.baseline.is_some());
    let mut heads = vec!["Metric"];
    if baseline {
        heads.push("Baseline");
    }
    if reference.is_some() {
        heads.push("Reference");
    }
    heads.push(value_head);
    if baseline {
        heads.push("Difference");
    }
    let mut html = head_html("Results", &heads);
    let mut seen = Vec::new();
    families(metrics, &mut seen);
    for family in seen {
        html.push_str(&family_html(family, heads.len()));
        for metric in metrics.iter().filter(|m| m.family == family) {
            html.push_str(&label_html(metric));
            if baseline {
                html.push_str(&optional_html("Baseline", metric, "baseline", metric.baseline, ""));
            }
            if let Some(reference) = reference {
                // A measurement of another machine is no yardstick for this one.
                let other = reference.report.metric(&metric.id).filter(|m| m.kind != Kind::Measured);
                let why = " title=\"Measured on another machine, so not comparable.\"";
                let why = if metric.kind == Kind::Measured { why } else { "" };
                html.push_str(&optional_html("Reference", metric, "reference", other.map(|m| m.value), why));
            }
            html.push_str(&value_html(value_head, metric, ""));
            if baseline {
                html.push_str(&difference_html(metric));
            }
            html.push_str("</tr>");
            html.push_str(&help_html(metric, heads.len()));
        }
        html.push_str("</tbody>");
    }
    html.push_str("</table></div>");
    html
}

/// One line: the device, named, then what else decides the numbers.
#[must_use]
pub fn environment_html(record: &RunRecord) -> String {
    let environment = &record.environment;
    let kind = match environment.device.kind {
        DeviceKind::Cpu => "cpu",
        DeviceKind::Webgpu => "webgpu",
    };
    let software = if environment.device.software_adapter { " (software adapter: correct, and slow)" } else { "" };
    let mut setting = String::new();
    for (name, value) in &record.params {
        let words = lab_api::value_words(value);
        // A lab that brings its own file has none to name.
        if !words.is_empty() {
            setting.push_str(&format!("{name} {words}, "));
        }
    }
    let place = match environment.host.as_str() {
        "browser" => "in the browser".to_owned(),
        "native" => format!("natively on {}", environment.platform),
        other => format!("{other}, {}", environment.platform),
    };
    format!(
        "<p class=\"lab-environment\">Ran on <strong data-device=\"{kind}\">{}{software}</strong>, {}; {} logical cores; \
         engine {}. Setting: {}seed {}.</p>",
        escape(&environment.device.name),
        escape(&place),
        environment.cores,
        escape(&environment.engine_version),
        escape(&setting),
        record.seed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::samples;
    use lab_api::{Better, DeviceInfo, Environment, Family, Interval, Tolerance};

    fn metric(id: &str, value: f64, baseline: Option<f64>, unit: &str, kind: Kind, family: Family) -> Metric {
        Metric {
            id: id.into(),
            label: id.replace('_', " "),
            value,
            unit: unit.into(),
            better: if family == Family::Quality { Better::Higher } else { Better::Lower },
            kind,
            family,
            baseline,
            interval: None,
            tolerance: None,
            samples: vec![],
            help: String::new(),
        }
    }

    pub(in crate::report) fn record() -> RunRecord {
        let mut accuracy = metric("accuracy", 97.27, Some(97.44), "%", Kind::Exact, Family::Quality);
        accuracy.interval = Some(Interval { low: 96.4, high: 98.0, level: 0.95 });
        accuracy.tolerance = Some(Tolerance { absolute: 0.06, why: "one image".into() });
        accuracy.help = "Share of <digits> recognized.".into();
        let mut time = metric("latency", 0.4123, Some(0.31), "ms", Kind::Measured, Family::Time);
        time.samples = vec![0.41; 30];
        let bytes = metric("weight_bytes", 27_148.0, Some(106_496.0), "bytes", Kind::Exact, Family::Memory);
        RunRecord {
            lab: "quantization".into(),
            params: [("bits".to_owned(), "8".into())].into(),
            seed: 0,
            environment: Environment {
                device: DeviceInfo {
                    kind: DeviceKind::Cpu,
                    name: "CPU (WASM SIMD)".into(),
                    vendor: String::new(),
                    architecture: String::new(),
                    software_adapter: false,
                },
                host: "browser".into(),
                platform: "a browser".into(),
                cores: 2,
                engine_version: "0.1.0".into(),
                clock_step_ms: 0.1,
            },
            report: Report { metrics: vec![accuracy, bytes, time], charts: samples::all(), ..Report::default() },
        }
    }

    #[test]
    fn every_number_is_addressable_and_judged() {
        let html = report_html(&record(), "reference", ChartMode::Canvas);
        for needle in [
            "data-metric=\"accuracy\" data-value=\"97.27\"",
            "data-metric=\"accuracy.low\" data-value=\"96.4\"",
            "data-metric=\"weight_bytes.baseline\" data-value=\"106496\"",
            "−74.5\u{a0}%</span> <span class=\"verdict\">better</span>",
            "median of 30",
            "data-device=\"cpu\">CPU (WASM SIMD)<",
            "Share of &lt;digits&gt; recognized.",
            "<span class=\"interval\">95\u{a0}%: ",
        ] {
            assert!(html.contains(needle), "{needle} is missing");
        }
        assert_eq!(html.matches("data-metric=\"accuracy\"").count(), 1);
        assert_eq!(html.matches("<canvas").count(), samples::all().len());
    }

    #[test]
    fn a_run_stands_beside_the_reference_but_measurements_of_other_machines_do_not() {
        let mut reference = record();
        reference.report.metrics[0].value = 97.5;
        let html = run_html(&record(), Some(&reference), ChartMode::Canvas);
        assert!(html.contains("data-metric=\"accuracy.reference\" data-value=\"97.5\""));
        assert!(!html.contains("latency.reference"));
        assert!(html.contains("Measured on another machine"));
    }

    #[test]
    fn ids_are_unique_in_a_page_with_reference_and_run() {
        let page = report_html(&record(), "reference", ChartMode::Svg) + &run_html(&record(), None, ChartMode::Canvas);
        let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert!(all > 20);
    }
}
