//! Tables as HTML: the text alternative of charts, and tables of a report.

use lab_api::{Cell, Table};
use std::fmt::Write as _;

use crate::number::{decimals_of, grouped};
use crate::{escape, format_number};

/// Rows shown; a chart of thousands of points would otherwise outweigh its page.
const ROWS: usize = 200;

/// Numbers of a column without a unit that have so many decimals, or fewer, all get as many as the longest of them.
const DECIMALS: usize = 3;

/// A table in a scrolling frame. Numbers keep their value in `data-value` and are written in the unit that stands in
/// brackets in the column's head; without a unit, short decimals in one column have equally many digits behind the point.
#[must_use]
pub fn table_html(table: &Table) -> String {
    let title = escape(&table.title);
    let mut html = format!(
        "<div class=\"lab-scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{title}\"><table class=\"lab-table\">\
         <caption>{title}</caption><thead><tr>"
    );
    let mut columns = Vec::new();
    for (i, column) in table.columns.iter().enumerate() {
        let (mut class, mut decimals) = ("", 0);
        for row in &table.rows {
            if let Some(Cell::Number(number)) = row.get(i) {
                class = " class=\"num\"";
                decimals = decimals_of(*number).max(decimals);
            }
        }
        let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(column));
        let unit = unit_of(column);
        columns.push((unit, if unit.is_empty() && decimals <= DECIMALS { decimals } else { 0 }));
    }
    html.push_str("</tr></thead><tbody>");
    for row in table.rows.iter().take(ROWS) {
        html.push_str("<tr>");
        for (cell, (unit, decimals)) in row.iter().zip(&columns) {
            html.push_str(&cell_html(cell, unit, *decimals));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    if table.rows.len() > ROWS {
        let _ = write!(html, "<p class=\"lab-note\">The first {ROWS} of {} rows.</p>", table.rows.len());
    }
    html.push_str("</div>");
    html
}

/// `decimals` is 0 where each number of the column is written for itself.
fn cell_html(cell: &Cell, unit: &str, decimals: usize) -> String {
    match cell {
        Cell::Number(number) => {
            let text = if decimals > 0 { grouped(*number, decimals) } else { format_number(*number, unit) };
            format!("<td class=\"num\" data-value=\"{number}\">{text}</td>")
        }
        Cell::Text(text) => format!("<td>{}</td>", escape(text)),
    }
}

/// The unit in brackets at the end of a column's head: `SQNR (dB)`.
fn unit_of(column: &str) -> &str {
    let inner = column.trim_end().strip_suffix(')').and_then(|rest| rest.rsplit_once('('));
    inner.map_or("", |(_, unit)| unit)
}

/// One chart of every kind, for tests.
#[cfg(test)]
pub(crate) mod samples {
    use lab_api::{
        Axis, BarSeries, Chart, ChartBody, GridLevel, Image, Marker, Series, Snapped, Span, StackSeries, Token,
    };

    fn chart(id: &str, x: Axis, y: Axis, body: ChartBody) -> Chart {
        let (title, caption) = (format!("Sample {id}"), "What to see in it.".to_owned());
        Chart { id: id.into(), title, caption, x, y, body }
    }

    fn bars(name: &str, values: &[f64], spread: f64) -> BarSeries {
        let intervals = if spread == 0.0 { vec![] } else { values.iter().map(|v| [v - spread, v + spread]).collect() };
        BarSeries { name: name.into(), values: values.into(), intervals }
    }

    /// Lines, points, bars, histogram, heatmap, layers, Gantt, pictures, number line, tokens.
    pub(crate) fn all() -> Vec<Chart> {
        let line = |name: &str, power: f64| Series {
            name: name.into(),
            points: (1..=40).map(|i| [f64::from(i), 100.0 * (1.0 - (-f64::from(i) / 9.0 * power).exp())]).collect(),
            band: vec![],
        };
        let mut band = line("tuned", 1.0);
        band.band = band.points.iter().map(|p| [p[1] - 4.0, p[1] + 3.0]).collect();
        let dots = |name: &str, f: f64| Series {
            name: name.into(),
            points: (0..8).map(|i| [f64::from(1 << i), f * f64::from(i + 1).powi(2)]).collect(),
            band: vec![],
        };
        let mut whiskers = dots("flash", 0.5);
        whiskers.band = whiskers.points.iter().map(|p| [p[1] * 0.8, p[1] * 1.3]).collect();
        let edges: Vec<f64> = (0..=40).map(|i| -1.0 + f64::from(i) * 0.05).collect();
        let bell = |width: f64| -> Vec<f64> {
            edges.windows(2).map(|e| (1800.0 * (-(e[0] / width).powi(2)).exp()).round()).collect()
        };
        let spread: Vec<f64> =
            bell(0.3).iter().enumerate().map(|(i, v)| if i % 4 == 0 { v * 3.0 } else { 0.0 }).collect();
        let categories = ["layer 1", "layer 2", "output layer"].map(String::from).to_vec();
        let digit = |k: u8| -> Vec<u8> {
            (0..64_u8)
                .map(|i| if (i % 8 > 1 && i % 8 < 6) && (i / 8 + k) % 3 != 1 { 255 - 20 * (i % 8) } else { 0 })
                .collect()
        };
        let span = |lane, start, end, label: &str, colour| Span { lane, start, end, label: label.into(), colour };
        let token = |text: &str, colour| Token { text: text.into(), colour };
        let rows: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        let confusion = (0..10)
            .map(|r| (0..10).map(|c| if r == c { 170.0 + f64::from(r) } else { f64::from((r * 7 + c) % 5) }).collect())
            .collect();
        vec![
            chart(
                "line",
                Axis::linear("Step"),
                Axis::linear("Accuracy (%)"),
                ChartBody::Line { series: vec![line("baseline", 0.6), band] },
            ),
            chart(
                "scatter",
                Axis::log("Batch (images)"),
                Axis::log("Time (ms)"),
                ChartBody::Scatter { series: vec![dots("naive", 2.0), whiskers] },
            ),
            chart(
                "bar",
                Axis::linear(""),
                Axis::linear("SQNR (dB)"),
                ChartBody::Bar {
                    categories,
                    series: vec![bars("FP32", &[52.0, 50.5, 49.0], 0.0), bars("INT8", &[38.0, 40.0, 41.5], 1.5)],
                },
            ),
            chart(
                "histogram",
                Axis::linear("Weight"),
                Axis::linear("Count"),
                ChartBody::Histogram {
                    edges: edges.clone(),
                    series: vec![bars("FP32", &bell(0.3), 0.0), bars("INT4", &spread, 0.0)],
                    markers: vec![Marker { at: -0.8, label: "clip".into() }, Marker { at: 0.8, label: "clip".into() }],
                },
            ),
            chart(
                "heatmap",
                Axis::linear("Predicted"),
                Axis::linear("True digit"),
                ChartBody::Heatmap { rows: rows.clone(), columns: rows, values: confusion },
            ),
            chart(
                "stack",
                Axis::linear("Tokens"),
                Axis::linear("Memory (bytes)"),
                ChartBody::StackedArea {
                    x: (0..9).map(|i| f64::from(i) * 256.0).collect(),
                    series: vec![
                        StackSeries { name: "weights".into(), values: vec![60e6; 9] },
                        StackSeries { name: "KV cache".into(), values: (0..9).map(|i| f64::from(i) * 9e6).collect() },
                    ],
                },
            ),
            chart(
                "gantt",
                Axis::linear("Time (ms)"),
                Axis::linear(""),
                ChartBody::Gantt {
                    lanes: vec!["host".into(), "device".into()],
                    spans: vec![
                        span(0, 0.0, 3.0, "upload", 0),
                        span(1, 3.0, 9.0, "matmul", 1),
                        span(1, 9.2, 10.0, "softmax", 2),
                    ],
                },
            ),
            chart(
                "images",
                Axis::default(),
                Axis::default(),
                ChartBody::ImageGrid {
                    width: 8,
                    height: 8,
                    images: (0..8)
                        .map(|k| Image {
                            label: format!("{k} → {}", (k + k / 5) % 10),
                            pixels: digit(k),
                            marked: k >= 5,
                        })
                        .collect(),
                },
            ),
            chart(
                "number-line",
                Axis::linear("Weight"),
                Axis::linear("Code"),
                ChartBody::NumberLine {
                    points: vec![
                        Snapped { at: -0.9, level: 0, clipped: false },
                        Snapped { at: 0.1, level: 3, clipped: false },
                        Snapped { at: 2.2, level: 6, clipped: true },
                    ],
                    levels: (0..7).map(|i| GridLevel { at: 0.3 * (i - 3) as f64, code: i + 1, zero: i == 3 }).collect(),
                },
            ),
            chart(
                "tokens",
                Axis::default(),
                Axis::default(),
                ChartBody::TokenStream {
                    tokens: vec![
                        token("The", 0),
                        token(" quick", 1),
                        token(" brown", 2),
                        token(" fox", 3),
                        token(" jumps", 4),
                        token(" over\n", 5),
                        token("the dog", 6),
                    ],
                },
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_the_unit_of_their_column_and_keep_their_value() {
        let table = Table {
            id: "t".into(),
            title: "A < B".into(),
            columns: vec!["Layer".into(), "Size (bytes)".into(), "Accuracy (%)".into()],
            rows: vec![vec!["first".into(), 106_496.0.into(), 97.272.into()]],
        };
        insta::assert_snapshot!(table_html(&table), @r#"<div class="lab-scroll" tabindex="0" role="group" aria-label="A &lt; B"><table class="lab-table"><caption>A &lt; B</caption><thead><tr><th scope="col">Layer</th><th scope="col" class="num">Size (bytes)</th><th scope="col" class="num">Accuracy (%)</th></tr></thead><tbody><tr><td>first</td><td class="num" data-value="106496">106,496</td><td class="num" data-value="97.272">97.27</td></tr></tbody></table></div>"#);
    }

    /// What a column of these numbers looks like under this head.
    fn column(head: &str, numbers: &[f64]) -> Vec<String> {
        let rows = numbers.iter().map(|number| vec![(*number).into()]).collect();
        let html = table_html(&Table { id: "t".into(), title: "T".into(), columns: vec![head.into()], rows });
        let cells = html.split("<td").skip(1).filter_map(|cell| cell.split(['>', '<']).nth(1));
        cells.map(str::to_owned).collect()
    }

    #[test]
    fn short_decimals_of_a_column_align() {
        assert_eq!(column("8", &[-1.4, 0.3, 3.8, 12.0, 0.0]), ["−1.4", "0.3", "3.8", "12.0", "0.0"]);
        // Edges of a histogram, summed up.
        let edges: Vec<f64> = (0..3).map(|i| -0.05 + f64::from(i) * 0.025).collect();
        assert_eq!(column("From", &edges), ["−0.050", "−0.025", "0.000"]);
        assert_eq!(column("Share", &[1234.5, 0.25]), ["1,234.50", "0.25"]);
    }

    #[test]
    fn numbers_that_do_not_align_are_written_each_for_itself() {
        assert_eq!(column("Kurtosis", &[9.181_648, 0.3, 1797.0]), ["9.18", "0.300", "1,797"]);
        assert_eq!(column("Images", &[1797.0, 4.0]), ["1,797", "4"]);
        assert_eq!(column("Energy", &[2.5e18, 0.5]), ["2.5×10¹⁸", "0.500"]);
        // With a unit, the unit decides.
        assert_eq!(column("Time (ms)", &[1.5, 20.0]), ["1.50", "20.0"]);
    }

    #[test]
    fn a_long_table_says_what_it_leaves_out() {
        let rows = (0..250).map(|i| vec![f64::from(i).into()]).collect();
        let html = table_html(&Table { id: "t".into(), title: "T".into(), columns: vec!["N".into()], rows });
        assert_eq!(html.matches("<tr>").count(), 201);
        assert!(html.contains("The first 200 of 250 rows."));
    }
}
