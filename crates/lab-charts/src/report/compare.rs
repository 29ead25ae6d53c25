//! The runs of two devices beside each other.

use lab_api::{Family, Kind, Metric, RunRecord};

use super::environment_html;
use super::metric::{class_of, families, family_html, head_html, help_html, label_html, value_html};
use crate::number::Verdict;
use crate::{escape, format_value};

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
        assert!(html.contains("agrees within"));
        assert!(html.contains("differs by 1\u{202f}bytes"));
        assert!(html.contains("CPU 2.00× faster"));
    }
}
