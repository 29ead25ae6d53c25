//! Charts as data: drawn by one code on canvas and as SVG, and turned into a table for those who do not see them.

use serde::{Deserialize, Serialize};

use crate::{Cell, Table};

/// One chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// Stable name.
    pub id: String,
    /// Title: the question it answers.
    pub title: String,
    /// What to see in it.
    pub caption: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The data.
    #[serde(flatten)]
    pub body: ChartBody,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Axis {
    /// Words at the axis, unit in brackets.
    pub label: String,
    /// Linear or logarithmic.
    #[serde(default)]
    pub scale: Scale,
    /// Fixed lower end, where the data should not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Fixed upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Axis {
    /// A linear axis with this label, fitted to the data.
    #[must_use]
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), ..Self::default() }
    }

    /// A logarithmic axis with this label, fitted to the data.
    #[must_use]
    pub fn log(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Log, ..Self::default() }
    }
}

/// How numbers map to lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal steps, equal lengths.
    #[default]
    Linear,
    /// Equal ratios, equal lengths; values must be positive.
    Log,
}

/// The data of a chart. The first series is the baseline where there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "chart", rename_all = "snake_case")]
pub enum ChartBody {
    /// Lines through points.
    Line {
        /// Lines.
        series: Vec<Series>,
    },
    /// Points.
    Scatter {
        /// Groups of points.
        series: Vec<Series>,
    },
    /// Bars side by side in each category.
    Bar {
        /// Names along the horizontal axis.
        categories: Vec<String>,
        /// One bar per category each.
        series: Vec<BarSeries>,
    },
    /// Counts between edges.
    Histogram {
        /// `n + 1` ascending edges.
        edges: Vec<f64>,
        /// `n` heights each.
        series: Vec<BarSeries>,
        /// Vertical lines, for example a clipping threshold.
        #[serde(default)]
        markers: Vec<Marker>,
    },
    /// A matrix of values.
    Heatmap {
        /// Row names.
        rows: Vec<String>,
        /// Column names.
        columns: Vec<String>,
        /// Values, row by row.
        values: Vec<Vec<f64>>,
    },
    /// Layers over each other.
    StackedArea {
        /// Positions along the horizontal axis. In JSON they stand beside the axis `x`, so they need another name.
        #[serde(rename = "positions")]
        x: Vec<f64>,
        /// Layers, lowest first.
        series: Vec<StackSeries>,
    },
    /// Spans of time in lanes.
    Gantt {
        /// Lane names.
        lanes: Vec<String>,
        /// What happens in them.
        spans: Vec<Span>,
    },
    /// Small grey pictures.
    ImageGrid {
        /// Width of each, in pixels.
        width: u32,
        /// Height of each, in pixels.
        height: u32,
        /// Pictures.
        images: Vec<Image>,
    },
    /// Real numbers above, the few levels that a grid of integers has below, and each number joined to its level. The
    /// horizontal axis is that of both; the label of the vertical one names the codes.
    NumberLine {
        /// Numbers, each with the level it takes.
        points: Vec<Snapped>,
        /// Levels in ascending order.
        levels: Vec<GridLevel>,
    },
    /// Text as a model sees it.
    TokenStream {
        /// Tokens in order.
        tokens: Vec<Token>,
    },
}

/// A named sequence of points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// `[x, y]`.
    pub points: Vec<[f64; 2]>,
    /// `[low, high]` for each point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub band: Vec<[f64; 2]>,
}

/// A named row of heights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BarSeries {
    /// Name in the legend.
    pub name: String,
    /// One per category or bin.
    pub values: Vec<f64>,
    /// `[low, high]` for each value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<[f64; 2]>,
}

/// One layer of a stacked area.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackSeries {
    /// Name in the legend.
    pub name: String,
    /// Thickness at each position.
    pub values: Vec<f64>,
}

/// A vertical line with a word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Marker {
    /// Position on the horizontal axis.
    pub at: f64,
    /// Word beside it.
    pub label: String,
}

/// One span of a Gantt chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Index of the lane.
    pub lane: usize,
    /// Start, in the unit of the horizontal axis.
    pub start: f64,
    /// End, likewise.
    pub end: f64,
    /// Word on it.
    pub label: String,
    /// Index of its colour.
    #[serde(default)]
    pub colour: usize,
}

/// One small grey picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Words under it, and its text alternative.
    pub label: String,
    /// Row-major, 0 black to 255 white.
    pub pixels: Vec<u8>,
    /// Drawn in the warning colour: the picture is a case where things went wrong.
    #[serde(default)]
    pub marked: bool,
}

/// One number on a number line, and where it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapped {
    /// The number.
    pub at: f64,
    /// Index of the level it takes.
    pub level: usize,
    /// It lies beyond the outermost level by more than rounding explains.
    #[serde(default)]
    pub clipped: bool,
}

/// One level of a number line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridLevel {
    /// The real number it stands for.
    pub at: f64,
    /// Its integer.
    pub code: i64,
    /// It is the one that stands for zero.
    #[serde(default)]
    pub zero: bool,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its text.
    pub text: String,
    /// Index of its colour; 0 is plain.
    #[serde(default)]
    pub colour: usize,
}

impl Chart {
    /// Every number drawn, for the check that all are finite.
    #[must_use]
    pub fn numbers(&self) -> Vec<f64> {
        let ends = [self.x.min, self.x.max, self.y.min, self.y.max].into_iter().flatten();
        let mut all: Vec<f64> = ends.collect();
        match &self.body {
            ChartBody::Line { series } | ChartBody::Scatter { series } => {
                all.extend(series.iter().flat_map(|s| s.points.iter().chain(&s.band)).flatten());
            }
            ChartBody::Bar { series, .. } => extend_bars(&mut all, series),
            ChartBody::Histogram { edges, series, markers } => {
                all.extend(edges);
                all.extend(markers.iter().map(|marker| marker.at));
                extend_bars(&mut all, series);
            }
            ChartBody::Heatmap { values, .. } => all.extend(values.iter().flatten()),
            ChartBody::StackedArea { x, series } => {
                all.extend(x);
                all.extend(series.iter().flat_map(|s| &s.values));
            }
            ChartBody::Gantt { spans, .. } => all.extend(spans.iter().flat_map(|s| [s.start, s.end])),
            ChartBody::NumberLine { points, levels } => {
                all.extend(points.iter().map(|point| point.at));
                all.extend(levels.iter().map(|level| level.at));
            }
            ChartBody::ImageGrid { .. } | ChartBody::TokenStream { .. } => {}
        }
        all
    }

    /// The same data as a table: the chart's text alternative.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut columns = vec![self.x.label.clone()];
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        match &self.body {
            ChartBody::Line { series } | ChartBody::Scatter { series } => {
                columns = vec!["Series".into(), self.x.label.clone(), self.y.label.clone()];
                for s in series {
                    for point in &s.points {
                        rows.push(vec![s.name.as_str().into(), point[0].into(), point[1].into()]);
                    }
                }
            }
            ChartBody::Bar { categories, series } => {
                columns.extend(series.iter().map(|s| s.name.clone()));
                for (i, category) in categories.iter().enumerate() {
                    rows.push(row(category.as_str().into(), &mut series.iter().map(|s| s.values.get(i))));
                }
            }
            ChartBody::Histogram { edges, series, .. } => {
                columns = vec!["From".into(), "To".into()];
                columns.extend(series.iter().map(|s| s.name.clone()));
                for (i, ends) in edges.windows(2).enumerate() {
                    let mut cells = row(ends[1].into(), &mut series.iter().map(|s| s.values.get(i)));
                    cells.insert(0, ends[0].into());
                    rows.push(cells);
                }
            }
            ChartBody::Heatmap { rows: names, columns: heads, values } => {
                columns = vec![self.y.label.clone()];
                columns.extend(heads.iter().cloned());
                for (name, line) in names.iter().zip(values) {
                    rows.push(row(name.as_str().into(), &mut (0..heads.len()).map(|i| line.get(i))));
                }
            }
            ChartBody::StackedArea { x, series } => {
                columns.extend(series.iter().map(|s| s.name.clone()));
                for (i, at) in x.iter().enumerate() {
                    rows.push(row((*at).into(), &mut series.iter().map(|s| s.values.get(i))));
                }
            }
            ChartBody::Gantt { lanes, spans } => {
                columns = vec!["Lane".into(), "What".into(), "Start".into(), "End".into()];
                for span in spans {
                    let lane = lanes.get(span.lane).map_or("", String::as_str);
                    rows.push(vec![lane.into(), span.label.as_str().into(), span.start.into(), span.end.into()]);
                }
            }
            ChartBody::ImageGrid { images, .. } => {
                columns = vec!["Picture".into()];
                for image in images {
                    rows.push(vec![image.label.as_str().into()]);
                }
            }
            ChartBody::NumberLine { points, levels } => {
                columns.extend([self.y.label.clone(), "Level".into(), "Clipped".into()]);
                for point in points {
                    let Some(level) = levels.get(point.level) else { continue };
                    let clipped = if point.clipped { "yes" } else { "" };
                    rows.push(vec![point.at.into(), (level.code as f64).into(), level.at.into(), clipped.into()]);
                }
            }
            ChartBody::TokenStream { tokens } => {
                columns = vec!["Token".into()];
                for token in tokens {
                    rows.push(vec![token.text.as_str().into()]);
                }
            }
        }
        Table { id: format!("{}-table", self.id), title: self.title.clone(), columns, rows }
    }
}

fn extend_bars(all: &mut Vec<f64>, series: &[BarSeries]) {
    for s in series {
        all.extend(&s.values);
        all.extend(s.intervals.iter().flatten());
    }
}

/// By reference: one such function in the page's WASM, not one per kind of iterator.
fn row(head: Cell, values: &mut dyn Iterator<Item = Option<&f64>>) -> Vec<Cell> {
    let mut cells = vec![head];
    for value in values {
        cells.push(value.map_or_else(|| Cell::from(""), |number| Cell::from(*number)));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_and_its_table_hold_the_same_numbers() {
        let bar =
            |name: &str, values: &[f64]| BarSeries { name: name.into(), values: values.into(), intervals: vec![] };
        let chart = Chart {
            id: "sqnr".into(),
            title: "Error".into(),
            caption: String::new(),
            x: Axis::linear("Layer"),
            y: Axis::linear("SQNR (dB)"),
            body: ChartBody::Bar {
                categories: vec!["1".into(), "2".into()],
                series: vec![bar("INT8", &[40.0, 41.0]), bar("INT4", &[20.0, 21.0])],
            },
        };
        let table = chart.table();
        assert_eq!(table.columns, ["Layer", "INT8", "INT4"]);
        assert_eq!(table.rows[1], [Cell::from("2"), 41.0.into(), 21.0.into()]);
        assert_eq!(chart.numbers().len(), 4);
        let json = serde_json::to_string(&chart).expect("serializes");
        assert_eq!(serde_json::from_str::<Chart>(&json).expect("parses"), chart);
    }

    #[test]
    fn a_number_line_tells_where_each_number_goes() {
        let level = |at, code| GridLevel { at, code, zero: code == 1 };
        let snapped = |at, level, clipped| Snapped { at, level, clipped };
        let chart = Chart {
            id: "line".into(),
            title: String::new(),
            caption: String::new(),
            x: Axis::linear("Weight"),
            y: Axis::linear("Code"),
            body: ChartBody::NumberLine {
                points: vec![snapped(0.1, 1, false), snapped(2.0, 2, true)],
                levels: vec![level(-0.5, 0), level(0.0, 1), level(0.5, 2)],
            },
        };
        let table = chart.table();
        assert_eq!(table.columns, ["Weight", "Code", "Level", "Clipped"]);
        assert_eq!(table.rows[1], [2.0.into(), 2.0.into(), 0.5.into(), Cell::from("yes")]);
        assert_eq!(chart.numbers(), [0.1, 2.0, -0.5, 0.0, 0.5]);
        let json = serde_json::to_string(&chart).expect("serializes");
        assert_eq!(serde_json::from_str::<Chart>(&json).expect("parses"), chart);
    }

    #[test]
    fn a_stacked_area_survives_json_beside_its_axes() {
        let chart = Chart {
            id: "memory".into(),
            title: String::new(),
            caption: String::new(),
            x: Axis::linear("Tokens"),
            y: Axis::linear("Memory (bytes)"),
            body: ChartBody::StackedArea { x: vec![0.0, 1.0], series: vec![] },
        };
        let json = serde_json::to_string(&chart).expect("serializes");
        assert_eq!(serde_json::from_str::<Chart>(&json).expect("parses"), chart);
    }
}
