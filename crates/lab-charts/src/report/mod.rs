//! A report as HTML: the metrics, what they say, the charts, the tables, and where it all was measured.

mod compare;
mod metric;

use lab_api::{DeviceKind, Kind, Metric, Report, RunRecord, Values};
use std::fmt::Write as _;

use crate::figure::{figure_html, fold_html};
use crate::{ChartMode, escape, table_html};

pub use compare::compare_html;
use metric::{
    difference_html, families, family_html, head_html, help_html, label_html, more_html, optional_html, value_html,
};

/// Rows from which on a table is unfolded on demand.
const LONG: usize = 12;

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
    format!("<div class=\"lab-report\">{}</div>", content_html(lab, report, (None, ""), "run", mode))
}

fn whole(record: &RunRecord, reference: Option<&RunRecord>, source: &str, mode: ChartMode) -> String {
    let apart = reference.map_or_else(String::new, |reference| apart_html(record, reference));
    let content = content_html(&record.lab, &record.report, (reference, &apart), source, mode);
    format!("<div class=\"lab-report\">{content}{}</div>", environment_html(record))
}

fn content_html(
    lab: &str,
    report: &Report,
    (reference, apart): (Option<&RunRecord>, &str),
    source: &str,
    mode: ChartMode,
) -> String {
    let value_head = if reference.is_some() { "Your run" } else { "Value" };
    let id = |name: &str| format!("{lab}-{source}-{name}");
    let mut html = String::new();
    if !report.notes.is_empty() {
        html.push_str("<ul class=\"lab-notes\">");
        for note in &report.notes {
            let _ = write!(html, "<li>{}</li>", escape(note));
        }
        html.push_str("</ul>");
    }
    html.push_str(apart);
    html.push_str(&more_html(&report.metrics, &id("all")));
    html.push_str(&metrics_html(&report.metrics, reference, value_head));
    if !report.charts.is_empty() {
        html.push_str("<div class=\"lab-figures\">");
        for chart in &report.charts {
            html.push_str(&figure_html(chart, &id(&chart.id), mode));
        }
        html.push_str("</div>");
    }
    for table in &report.tables {
        let whole = table_html(table);
        html.push_str(&if table.rows.len() > LONG {
            fold_html("rows", &escape(&id(&table.id)), &escape(&table.title), &whole)
        } else {
            whole
        });
    }
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
        html.push_str(&family_html(family, heads.len(), metrics));
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

/// In what the reference's setting is another than the run's: its column says nothing about this one.
fn apart_html(record: &RunRecord, reference: &RunRecord) -> String {
    let mut setting = setting_words(&reference.params, Some(&record.params));
    if record.seed != reference.seed {
        let _ = write!(setting, "seed {}, ", reference.seed);
    }
    if setting.is_empty() {
        return setting;
    }
    format!("<p class=\"lab-note\">The reference has {}and all else the same.</p>", escape(&setting))
}

/// `bits 4, scheme affine, `: the whole setting, or what is not so in another.
fn setting_words(params: &Values, other: Option<&Values>) -> String {
    let mut setting = String::new();
    for (name, value) in params {
        let words = lab_api::value_words(value);
        // A lab that brings its own file has none to name.
        if !words.is_empty() && other.is_none_or(|other| other.get(name) != Some(value)) {
            let _ = write!(setting, "{name} {words}, ");
        }
    }
    setting
}

/// One line: the device, named, then what else decides the numbers.
fn environment_html(record: &RunRecord) -> String {
    let environment = &record.environment;
    let kind = match environment.device.kind {
        DeviceKind::Cpu => "cpu",
        DeviceKind::Webgpu => "webgpu",
    };
    let software = if environment.device.software_adapter { " (software adapter: correct, and slow)" } else { "" };
    let setting = setting_words(&record.params, None);
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
    use lab_api::{Better, DeviceInfo, Environment, Family, Interval, Table, Tolerance};

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
            detail: false,
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
    fn details_are_folded_within_their_families() {
        let mut record = record();
        assert!(!report_html(&record, "run", ChartMode::Canvas).contains("lab-more"));
        record.report.metrics[1].detail = true;
        let html = report_html(&record, "run", ChartMode::Canvas);
        assert!(html.contains("id=\"quantization-run-all-more\"><summary>All numbers</summary>"));
        // The one of its family takes the head with it; the others stay.
        assert_eq!(html.matches(" detail\">").count(), 2);
        assert!(html.contains("<tr class=\"family detail\"><th scope=\"rowgroup\" colspan=\"4\">Memory"));
    }

    #[test]
    fn long_tables_are_folded() {
        let mut record = record();
        let row = vec![lab_api::Cell::from(1.0)];
        let table = |rows| Table { id: "t".into(), title: "All <rows>".into(), columns: vec!["A".into()], rows };
        record.report.tables = vec![table(vec![row.clone(); LONG])];
        assert!(!report_html(&record, "run", ChartMode::Canvas).contains("lab-rows"));
        record.report.tables = vec![table(vec![row; LONG + 1])];
        let html = report_html(&record, "run", ChartMode::Canvas);
        assert!(html.contains("id=\"quantization-run-t-rows\"><summary>All &lt;rows&gt;</summary>"));
    }

    #[test]
    fn a_reference_of_another_setting_is_named() {
        let (mut mine, reference) = (record(), record());
        assert!(!run_html(&mine, Some(&reference), ChartMode::Canvas).contains("The reference has"));
        mine.params.insert("bits".into(), "4".into());
        mine.seed = 3;
        let html = run_html(&mine, Some(&reference), ChartMode::Canvas);
        assert!(html.contains("The reference has bits 8, seed 0, and all else the same."), "{html}");
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
