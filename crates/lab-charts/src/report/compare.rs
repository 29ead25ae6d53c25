//! The runs of two devices beside each other.

use lab_api::{Family, Kind, Metric, RunRecord};
use std::fmt::Write as _;

use super::environment_html;
use super::metric::{
    class_of, empty_html, families, family_html, head_html, help_html, label_html, more_html, value_html,
};
use crate::number::Verdict;
use crate::{escape, format_value};

/// Two runs of one setting beside each other. Exact metrics are checked against their tolerance, measured ones compared.
/// Runs of two settings are two experiments: of those it says only what was set.
#[must_use]
pub fn compare_html(cpu: &RunRecord, gpu: &RunRecord) -> String {
    let mut html = "<div class=\"lab-report\">".to_owned();
    if (&cpu.lab, cpu.seed, &cpu.params) == (&gpu.lab, gpu.seed, &gpu.params) {
        table(&mut html, cpu, gpu);
    } else {
        html.push_str(APART);
    }
    html + &environment_html(cpu) + &environment_html(gpu) + "</div>"
}

/// Stands above the two settings.
const APART: &str = "<p class=\"lab-note\">Not compared: the settings differ. Run both again.</p>";

fn table(html: &mut String, cpu: &RunRecord, gpu: &RunRecord) {
    html.push_str(&more_html(&cpu.report.metrics, "both"));
    html.push_str(&head_html("Both devices", &["Metric", "CPU", "WebGPU", "Comparison"]));
    let mut seen = Vec::new();
    families(&cpu.report.metrics, &mut seen);
    families(&gpu.report.metrics, &mut seen);
    for family in seen {
        html.push_str(&family_html(family, 4, &cpu.report.metrics));
        for record in [cpu, gpu] {
            for metric in record.report.metrics.iter().filter(|metric| metric.family == family) {
                let (on_cpu, on_gpu) = (cpu.report.metric(&metric.id), gpu.report.metric(&metric.id));
                // What both report has its row already.
                if std::ptr::eq(record, cpu) || on_cpu.is_none() {
                    row(html, metric, on_cpu, on_gpu);
                }
            }
        }
        html.push_str("</tbody>");
    }
    html.push_str("</table></div>");
}

fn row(html: &mut String, metric: &Metric, on_cpu: Option<&Metric>, on_gpu: Option<&Metric>) {
    let (verdict, words) = match (on_cpu, on_gpu) {
        (Some(on_cpu), Some(on_gpu)) => agreement(on_cpu, on_gpu),
        _ => (Verdict::Neutral, "on one device only".into()),
    };
    html.push_str(&label_html(metric));
    html.push_str(&cell_html("CPU", on_cpu, " data-device-kind=\"cpu\""));
    html.push_str(&cell_html("WebGPU", on_gpu, " data-device-kind=\"webgpu\""));
    let _ = write!(
        html,
        "<td class=\"num{}\" data-label=\"Comparison\">{}</td></tr>{}",
        class_of(verdict),
        escape(&words),
        help_html(metric, 4)
    );
}

fn cell_html(head: &str, metric: Option<&Metric>, more: &str) -> String {
    match metric {
        Some(metric) => value_html(head, metric, more),
        None => empty_html(head, ""),
    }
}

/// How a metric of the GPU relates to that of the CPU.
fn agreement(cpu: &Metric, gpu: &Metric) -> (Verdict, String) {
    let apart = (cpu.value - gpu.value).abs();
    let allowed = cpu.tolerance.as_ref().map_or(0.0, |t| t.absolute);
    // One percentage less another is no percentage of either.
    let unit = if cpu.unit == "%" { "points" } else { &cpu.unit };
    match cpu.kind {
        Kind::Exact | Kind::Trained if apart == 0.0 => (Verdict::Better, "equal".into()),
        Kind::Exact if apart <= allowed => (Verdict::Better, format!("agrees within {}", format_value(allowed, unit))),
        Kind::Exact => (Verdict::Worse, format!("differs by {}", format_value(apart, unit))),
        Kind::Trained => (Verdict::Neutral, format!("differs by {}", format_value(apart, unit))),
        Kind::Measured if cpu.value > 0.0 && gpu.value > 0.0 => {
            let speedup = match cpu.better {
                lab_api::Better::Higher => gpu.value / cpu.value,
                _ => cpu.value / gpu.value,
            };
            let (winner, factor) = if speedup >= 1.0 { ("WebGPU", speedup) } else { ("CPU", 1.0 / speedup) };
            let how = if cpu.family == Family::Time { "faster" } else { "ahead" };
            // Nobody is 1.00× faster.
            if factor < 1.005 {
                return (Verdict::Neutral, "no difference".into());
            }
            (Verdict::Neutral, format!("{winner} {} {how}", format_value(factor, "×")))
        }
        Kind::Measured => (Verdict::Neutral, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;

    #[test]
    fn two_devices_agree_within_the_tolerance_or_it_is_said() {
        let cpu = record();
        let mut gpu = record();
        gpu.report.metrics[0].value = 97.22;
        gpu.report.metrics[1].value = 27_149.0;
        gpu.report.metrics[2].value = 0.8246;
        let html = compare_html(&cpu, &gpu);
        assert!(html.contains("agrees within 0.06\u{a0}points"));
        assert!(html.contains("differs by 1\u{a0}bytes"));
        assert!(html.contains("CPU 2.00× faster"));
        gpu.report.metrics[2].value = 0.4125;
        let html = compare_html(&cpu, &gpu);
        assert!(html.contains("no difference") && !html.contains("1.00×"));
    }

    #[test]
    fn what_one_device_alone_reports_is_shown() {
        let (mut cpu, mut gpu) = (record(), record());
        let bytes = cpu.report.metrics.remove(1);
        gpu.report.metrics.pop();
        let html = compare_html(&cpu, &gpu);
        assert_eq!(html.matches("on one device only").count(), 2);
        let shown = format!("data-metric=\"{}\" data-value=\"{}\" data-device-kind=\"webgpu\"", bytes.id, bytes.value);
        assert!(html.contains(&shown) && html.contains("data-metric=\"latency\""), "{html}");
        assert_eq!(html.matches("<tbody>").count(), 3);
    }

    #[test]
    fn runs_of_two_settings_are_not_compared() {
        let cpu = record();
        let mut others = [record(), record(), record(), record()];
        others[0].params.insert("bits".into(), "4".into());
        others[1].seed = 7;
        others[2].params.insert("more".into(), true.into());
        others[3].params.clear();
        for gpu in &others {
            for html in [compare_html(&cpu, gpu), compare_html(gpu, &cpu)] {
                assert!(html.contains("Not compared"), "{html}");
                assert!(!html.contains("data-metric=") && !html.contains("equal"), "{html}");
                // The reader sees which is which.
                assert_eq!(html.matches("Setting: ").count(), 2);
            }
        }
        assert!(compare_html(&cpu, &record()).contains("equal"));
    }
}
