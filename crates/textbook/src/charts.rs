//! The one place where this crate asks `lab-charts` for pictures and numbers.

use lab_api::{Chart, RunRecord};
use lab_charts::{ChartMode, WIDTH, natural_height};

use crate::lighter::lighter;

/// A number with its unit, as the running lab shows it too.
pub(crate) fn format_value(value: f64, unit: &str) -> String {
    lab_charts::format_value(value, unit)
}

/// The reference result: metrics, figures as SVG with their tables, environment.
pub(crate) fn report_html(record: &RunRecord) -> String {
    lighter(&lab_charts::report_html(record, "reference", ChartMode::Svg))
}

/// One chart as SVG, with ids that begin with `id`.
///
/// # Errors
/// A sentence, where its data do not fit each other.
pub(crate) fn svg(chart: &Chart, id: &str) -> Result<String, String> {
    let height = natural_height(chart, f64::from(WIDTH)).round() as u32;
    let drawn = lab_charts::svg_with_id(chart, id, WIDTH, height);
    drawn.map(|svg| lighter(&svg)).map_err(|error| format!("its chart “{}”: {error}", chart.id))
}

/// The numbers of a chart as a table.
pub(crate) fn data_html(chart: &Chart) -> String {
    lighter(&lab_charts::table_html(&chart.table()))
}
