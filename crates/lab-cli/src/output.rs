//! A record as text for people: columns that align, units, baselines, differences, intervals.

use std::fmt::Write as _;

use lab_api::{Cell, Metric, RunRecord};
use lab_kit::report::thousands;

/// The whole record but its charts, whose numbers `--json` gives.
pub(crate) fn human(title: &str, record: &RunRecord) -> String {
    let values: Vec<String> =
        record.params.iter().map(|(name, value)| format!("{name}={}", lab_api::value_words(value))).collect();
    let environment = &record.environment;
    let software = if environment.device.software_adapter { ", emulated on the processor" } else { "" };
    let mut text = format!(
        "{title}\n{}\nseed {}, on {}{software}, {}, {} cores\n\n",
        values.join(" "),
        record.seed,
        environment.device.name,
        environment.platform,
        environment.cores
    );
    text += &metrics(&record.report.metrics);
    for shown in &record.report.tables {
        let cell = |cell: &Cell| match cell {
            Cell::Number(value) => number(*value),
            Cell::Text(words) => words.clone(),
        };
        let rows: Vec<Vec<String>> = shown.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let _ = write!(text, "\n{}\n{}", shown.title, table(&shown.columns, &rows));
    }
    if !record.report.notes.is_empty() {
        text.push('\n');
    }
    for note in &record.report.notes {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// Metrics as a table.
pub(crate) fn metrics(metrics: &[Metric]) -> String {
    let heads = ["Metric", "Value", "Unit", "Baseline", "Difference", "95 % interval", "Kind"];
    let rows: Vec<Vec<String>> = metrics.iter().map(metric).collect();
    table(&heads.map(str::to_owned), &rows)
}

fn metric(metric: &Metric) -> Vec<String> {
    let level_hint =
        |level: f64| if (level - 0.95).abs() < 1e-9 { String::new() } else { format!(" ({:.0} %)", 100.0 * level) };
    vec![
        metric.label.clone(),
        number(metric.value),
        metric.unit.clone(),
        metric.baseline.map_or_else(String::new, number),
        metric.baseline.map_or_else(String::new, |baseline| difference(metric, baseline)),
        metric
            .interval
            .map_or_else(String::new, |i| format!("{} to {}{}", number(i.low), number(i.high), level_hint(i.level))),
        serde_json::to_value(metric.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
    ]
}

/// Points where the unit is a percentage, per cent of the baseline elsewhere.
fn difference(metric: &Metric, baseline: f64) -> String {
    let change = metric.value - baseline;
    let sign = if change > 0.0 { "+" } else { "" };
    if metric.unit == "%" {
        format!("{sign}{} points", number(change))
    } else if baseline == 0.0 {
        format!("{sign}{}", number(change))
    } else {
        format!("{sign}{:.1} %", 100.0 * change / baseline)
    }
}

/// Whole numbers with thousands apart, others with about four digits.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        let text = thousands(value.abs() as usize);
        return if value < 0.0 { format!("-{text}") } else { text };
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(1, 6);
    let digits = usize::try_from(digits).unwrap_or(3);
    format!("{value:.digits$}")
}

/// Columns with two spaces between; a column of numbers is set flush right.
pub(crate) fn table(heads: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(heads.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let numeric = |column: usize| {
        let is_number =
            |text: &str| text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        rows.iter().filter_map(|row| row.get(column)).all(|cell| is_number(cell))
    };
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(width(column) - cell.chars().count());
            if numeric(column) {
                text = text + &pad + cell
            } else {
                text = text + cell + &pad
            }
            text += "  ";
        }
        text.trim_end().to_owned() + "\n"
    };
    std::iter::once(line(heads)).chain(rows.iter().map(|row| line(row))).collect()
}

/// A table for a spreadsheet, as RFC 4180 has it. What a spreadsheet would take for a formula gets a mark that makes it words.
pub(crate) fn csv(heads: &[String], rows: &[Vec<String>]) -> String {
    let number = |text: &str| text.parse::<f64>().is_ok();
    let cell = |text: &String| {
        let formula = text.starts_with(['=', '+', '-', '@']) && !number(text);
        let text = if formula { format!("'{text}") } else { text.clone() };
        if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
    };
    let line = |cells: &[String]| cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n";
    std::iter::once(line(heads)).chain(rows.iter().map(|row| line(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(["104,488", "-1,000", "0"], [104_488.0, -1000.0, 0.0].map(number).each_ref().map(String::as_str));
        assert_eq!(
            ["3.734", "97.44", "0.0123"],
            [3.7338, 97.4402, 0.0123].map(number).each_ref().map(|t| t.trim_end_matches('0'))
        );
    }

    #[test]
    fn columns_align() {
        let text = table(
            &["A".into(), "Bytes".into()],
            &[vec!["long name".into(), "1".into()], vec!["b".into(), "10".into()]],
        );
        assert_eq!(text, "A          Bytes\nlong name      1\nb             10\n");
    }
}
