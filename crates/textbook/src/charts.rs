//! The one place where this crate asks `lab-charts` for pictures and numbers.

use lab_api::RunRecord;
use lab_charts::ChartMode;

/// A number with its unit, as the running lab shows it too.
pub(crate) fn format_value(value: f64, unit: &str) -> String {
    lab_charts::format_value(value, unit)
}

/// The reference result: metrics, figures as SVG with their tables, environment.
pub(crate) fn report_html(record: &RunRecord) -> String {
    lab_charts::report_html(record, "reference", ChartMode::Svg)
}
