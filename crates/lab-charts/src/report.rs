//! A report as HTML: the metrics, what they say, the charts, the tables, and where it all was measured.

use lab_api::{DeviceKind, Family, Kind, Metric, Report, RunRecord};

use crate::figure::figure_html;
use crate::number::{Verdict, difference, format_number};
use crate::{ChartMode, escape, format_value, table_html};

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
    heads.extend(baseline.then_some("Baseline"));
    heads.extend(reference.map(|_| "Reference"));
    heads.push(value_head);
    heads.extend(baseline.then_some("Difference"));
    let mut html = head_html("Results", &heads);
    for family in families(metrics) {
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

/// Two runs of one setting beside each other. Exact metrics are checked against their tolerance, measured ones compared.
#[must_use]
pub fn compare_html(cpu: &RunRecord, gpu: &RunRecord) -> String {
    let mut html = head_html("Both devices", &["Metric", "CPU", "WebGPU", "Comparison"]);
    let metrics = &cpu.report.metrics;
    for family in families(metrics) {
        html.push_str(&family_html(family, 4));
        for metric in metrics.iter().filter(|m| m.family == family) {
            let other = gpu.report.metric(&metric.id);
            let cells = [
                value_html("CPU", metric, " data-device-kind=\"cpu\""),
                match other {
                    Some(other) => value_html("WebGPU", other, " data-device-kind=\"webgpu\""),
                    None => "<td class=\"num\" data-label=\"WebGPU\">–</td>".to_owned(),
                },
            ];
            let (verdict, words) = other.map_or((Verdict::Neutral, "not reported".into()), |o| agreement(metric, o));
            let class = class_of(verdict);
            html.push_str(&format!(
                "{}{}{}<td class=\"num{class}\" data-label=\"Comparison\">{}</td></tr>{}",
                label_html(metric),
                cells[0],
                cells[1],
                escape(&words),
                help_html(metric, 4)
            ));
        }
        html.push_str("</tbody>");
    }
    format!("<div class=\"lab-report\">{html}</table></div>{}{}</div>", environment_html(cpu), environment_html(gpu))
}

/// How a metric of the GPU relates to that of the CPU.
fn agreement(cpu: &Metric, gpu: &Metric) -> (Verdict, String) {
    let apart = (cpu.value - gpu.value).abs();
    match cpu.kind {
        Kind::Exact => {
            let allowed = cpu.tolerance.as_ref().map_or(0.0, |t| t.absolute);
            if apart == 0.0 {
                (Verdict::Better, "equal".into())
            } else if apart <= allowed {
                (Verdict::Better, format!("agrees within {}", format_value(allowed, &cpu.unit)))
            } else {
                (Verdict::Worse, format!("differs by {}", format_value(apart, &cpu.unit)))
            }
        }
        Kind::Trained => (Verdict::Neutral, format!("differs by {}", format_value(apart, &cpu.unit))),
        Kind::Measured if cpu.value > 0.0 && gpu.value > 0.0 => {
            let speedup = match cpu.better {
                lab_api::Better::Higher => gpu.value / cpu.value,
                _ => cpu.value / gpu.value,
            };
            let (winner, factor) = if speedup >= 1.0 { ("WebGPU", speedup) } else { ("CPU", 1.0 / speedup) };
            let how = if cpu.family == Family::Time { "faster" } else { "ahead" };
            (Verdict::Neutral, format!("{winner} {} {how}", format_value(factor, "×")))
        }
        Kind::Measured => (Verdict::Neutral, String::new()),
    }
}

fn families(metrics: &[Metric]) -> Vec<Family> {
    let mut seen = Vec::new();
    for metric in metrics {
        if !seen.contains(&metric.family) {
            seen.push(metric.family);
        }
    }
    seen
}

fn family_html(family: Family, columns: usize) -> String {
    let word = match family {
        Family::Time => "Time",
        Family::Memory => "Memory",
        Family::Quality => "Quality",
        Family::Scale => "Scale",
        Family::Utilization => "Utilization",
    };
    format!("<tbody><tr class=\"family\"><th scope=\"rowgroup\" colspan=\"{columns}\">{word}</th></tr>")
}

fn head_html(caption: &str, heads: &[&str]) -> String {
    let mut html = format!(
        "<div class=\"lab-scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\"><table class=\"lab-metrics\"><caption class=\"visually-hidden\">{caption}</caption><thead><tr>"
    );
    for (i, head) in heads.iter().enumerate() {
        let class = if i == 0 { "" } else { " class=\"num\"" };
        html.push_str(&format!("<th scope=\"col\"{class}>{}</th>", escape(head)));
    }
    html.push_str("</tr></thead>");
    html
}

fn label_html(metric: &Metric) -> String {
    format!("<tr><th scope=\"row\">{}</th>", escape(&metric.label))
}

/// What the number means, in a row of its own: beside five columns of numbers there is no room for a sentence.
fn help_html(metric: &Metric, columns: usize) -> String {
    if metric.help.is_empty() {
        return String::new();
    }
    format!("<tr class=\"help\"><td colspan=\"{columns}\">{}</td></tr>", escape(&metric.help))
}

/// Number and unit; the unit steps back.
fn number_html(value: f64, unit: &str) -> String {
    let number = format_number(value, unit);
    match unit {
        "" => number,
        "×" | "x" => format!("{number}<span class=\"unit\">×</span>"),
        unit => format!("{number}\u{202f}<span class=\"unit\">{}</span>", escape(unit)),
    }
}

fn value_html(head: &str, metric: &Metric, more: &str) -> String {
    let samples = match (metric.kind, metric.samples.len()) {
        (Kind::Measured, n) if n > 1 => format!("<span class=\"samples\">median of {n}</span>"),
        _ => String::new(),
    };
    format!(
        "<td class=\"num value\" data-label=\"{head}\"><span data-metric=\"{}\" data-value=\"{}\"{more}>{}</span>{samples}{}</td>",
        escape(&metric.id),
        metric.value,
        number_html(metric.value, &metric.unit),
        interval_html(metric)
    )
}

fn optional_html(head: &str, metric: &Metric, part: &str, value: Option<f64>, more: &str) -> String {
    match value {
        Some(value) => format!(
            "<td class=\"num\" data-label=\"{head}\"><span data-metric=\"{}.{part}\" data-value=\"{value}\">{}</span></td>",
            escape(&metric.id),
            number_html(value, &metric.unit)
        ),
        None => format!("<td class=\"num empty\" data-label=\"{head}\"{more}>–</td>"),
    }
}

fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => " good",
        Verdict::Worse => " bad",
        Verdict::Same | Verdict::Neutral => "",
    }
}

fn difference_html(metric: &Metric) -> String {
    let Some(difference) = difference(metric) else {
        return "<td class=\"num empty\" data-label=\"Difference\">–</td>".to_owned();
    };
    let (id, class, word) = (escape(&metric.id), class_of(difference.verdict), difference.verdict.word());
    let number = format!(
        "<span data-metric=\"{id}.difference\" data-value=\"{}\">{}</span>",
        difference.value,
        escape(&difference.text)
    );
    let content = match difference.verdict {
        Verdict::Neutral => number,
        Verdict::Same => format!("<span data-metric=\"{id}.difference\" data-value=\"0\">{word}</span>"),
        Verdict::Better | Verdict::Worse => format!("{number} <span class=\"verdict\">{word}</span>"),
    };
    format!("<td class=\"num{class}\" data-label=\"Difference\">{content}</td>")
}

/// Under the number, because a column of its own leaves too little for the others.
fn interval_html(metric: &Metric) -> String {
    let Some(interval) = metric.interval else { return String::new() };
    let id = escape(&metric.id);
    let end = |part: &str, value: f64| {
        let text = format_number(value, &metric.unit);
        format!("<span data-metric=\"{id}.{part}\" data-value=\"{value}\">{text}</span>")
    };
    format!(
        "<span class=\"interval\">{}\u{202f}%: {} to {}</span>",
        (interval.level * 100.0).round(),
        end("low", interval.low),
        end("high", interval.high)
    )
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
        setting.push_str(&format!("{name} {}, ", lab_api::value_words(value)));
    }
    let place = match environment.host.as_str() {
        "browser" => "in the browser".to_owned(),
        "native" => format!("natively on {}", environment.platform),
        other => format!("{other}, {}", environment.platform),
    };
    format!(
        "<p class=\"lab-environment\">Ran on <strong data-device=\"{kind}\">{}{software}</strong>, {}; {} logical cores; clock \
         steps of {}; engine {}. Setting: {}seed {}.</p>",
        escape(&environment.device.name),
        escape(&place),
        environment.cores,
        format_value(environment.clock_step_ms, "ms"),
        escape(&environment.engine_version),
        escape(&setting),
        record.seed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::samples;
    use lab_api::{Better, DeviceInfo, Environment, Interval, Tolerance};

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

    fn record() -> RunRecord {
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
            "−74.5\u{202f}%</span> <span class=\"verdict\">better</span>",
            "median of 30",
            "data-device=\"cpu\">CPU (WASM SIMD)<",
            "Share of &lt;digits&gt; recognized.",
            "<span class=\"interval\">95\u{202f}%: ",
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
    fn two_devices_agree_within_the_tolerance_or_it_is_said() {
        let cpu = record();
        let mut gpu = record();
        gpu.report.metrics[0].value = 97.22;
        gpu.report.metrics[1].value = 27_149.0;
        gpu.report.metrics[2].value = 0.8246;
        let html = compare_html(&cpu, &gpu);
        assert!(html.contains("agrees within"));
        assert!(html.contains("differs by 1\u{202f}bytes"));
        assert!(html.contains("CPU 2.00× faster"));
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
