//! One entry for every kind of chart, after checks that make drawing safe.

use lab_api::{BarSeries, Chart, ChartBody};
use plotters::prelude::DrawingBackend;

use crate::mark::Sign;
use crate::pen::{Hang, Pen, TEXT};
use crate::{Ink, Palette, bars, gantt, grid, heatmap, lines, number_line, tokens};

/// Why a chart cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChartError {
    /// Its parts do not fit each other.
    #[error("chart “{chart}”: {why}")]
    Data {
        /// Id of the chart.
        chart: String,
        /// Which part, and how to mend it.
        why: String,
    },
    /// No room is left between the labels.
    #[error("{width} by {height} pixels are too few for this chart; give it more, or ask `natural_height`")]
    TooSmall {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
    /// The backend failed.
    #[error("the drawing surface failed: {0}")]
    Backend(String),
}

/// Draws a chart over the whole backend. `scale` is the number of backend pixels in a logical one (the device's pixel
/// ratio on a canvas), `font` a font family. The ground is left as it is.
///
/// # Errors
/// [`ChartError`] where the data do not fit each other, there is no room, or the backend fails.
pub fn draw<DB: DrawingBackend>(
    backend: &mut DB,
    chart: &Chart,
    palette: &Palette,
    font: &str,
    scale: f64,
) -> Result<(), ChartError> {
    draw_with(&mut Pen::new(backend, palette, font, scale, 1.0), chart)
}

pub(crate) fn draw_with<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart) -> Result<(), ChartError> {
    check(chart)?;
    if is_empty(&chart.body) {
        let (width, height) = pen.size();
        pen.text((width / 2.0, height / 2.0), "nothing to show", Ink::Muted, TEXT, Hang::Middle);
        return pen.finish();
    }
    match &chart.body {
        ChartBody::Line { series } => lines::draw(pen, chart, series, true),
        ChartBody::Scatter { series } => lines::draw(pen, chart, series, false),
        ChartBody::Bar { categories, series } => bars::draw(pen, chart, categories, series),
        ChartBody::Histogram { edges, series, markers } => bars::draw_histogram(pen, chart, edges, series, markers),
        ChartBody::Heatmap { rows, columns, values } => heatmap::draw(pen, chart, rows, columns, values),
        ChartBody::StackedArea { x, series } => lines::draw_stack(pen, chart, x, series),
        ChartBody::Gantt { lanes, spans } => gantt::draw(pen, chart, lanes, spans),
        ChartBody::ImageGrid { width, height, images } => grid::draw(pen, (*width, *height), images),
        ChartBody::NumberLine { points, levels } => number_line::draw(pen, chart, points, levels),
        ChartBody::TokenStream { tokens } => tokens::draw(pen, tokens),
    }
    pen.finish()
}

/// The height at which a chart of this width looks right, in logical pixels.
#[must_use]
pub fn natural_height(chart: &Chart, width: f64) -> f64 {
    let plot = 232.0;
    match &chart.body {
        ChartBody::Line { series } => plot + lines::legend(series, Sign::Line, width).height(),
        ChartBody::Scatter { series } => plot + lines::legend(series, Sign::Point, width).height(),
        ChartBody::Bar { categories, series } => bars::height(categories, series, width, plot),
        ChartBody::Histogram { series, .. } => plot + bars::legend(series, width).height(),
        ChartBody::StackedArea { series, .. } => plot + lines::stack_legend(series, width).height(),
        ChartBody::Heatmap { rows, .. } => heatmap::height(rows.len()),
        ChartBody::Gantt { lanes, .. } => gantt::height(lanes.len()),
        ChartBody::ImageGrid { width: w, height: h, images } => grid::height(width, (*w, *h), images.len()),
        ChartBody::NumberLine { .. } => number_line::HEIGHT,
        ChartBody::TokenStream { tokens } => tokens::height(width, tokens),
    }
}

fn is_empty(body: &ChartBody) -> bool {
    let no_bars = |series: &[BarSeries]| series.iter().all(|s| s.values.is_empty());
    match body {
        ChartBody::Line { series } | ChartBody::Scatter { series } => series.iter().all(|s| s.points.is_empty()),
        ChartBody::Bar { series, .. } | ChartBody::Histogram { series, .. } => no_bars(series),
        ChartBody::Heatmap { values, .. } => values.iter().all(Vec::is_empty),
        ChartBody::StackedArea { x, series } => x.is_empty() || series.is_empty(),
        ChartBody::Gantt { spans, .. } => spans.is_empty(),
        ChartBody::ImageGrid { images, .. } => images.is_empty(),
        ChartBody::NumberLine { points, levels } => points.is_empty() || levels.is_empty(),
        ChartBody::TokenStream { tokens } => tokens.is_empty(),
    }
}

/// Refuses parts that do not fit each other, naming them.
fn check(chart: &Chart) -> Result<(), ChartError> {
    let fail = |why: String| Err(ChartError::Data { chart: chart.id.clone(), why });
    let fits = |what: &str, name: &str, has: usize, needs: usize| {
        if has == needs { Ok(()) } else { fail(format!("{what} “{name}” has {has} values where {needs} belong")) }
    };
    // What the page draws came as JSON, which has no such numbers.
    #[cfg(not(target_family = "wasm"))]
    if let Some(bad) = chart.numbers().into_iter().find(|n| !n.is_finite()) {
        return fail(format!("it holds {bad}; leave such points out"));
    }
    let bars = |series: &[BarSeries], needs: usize| {
        series.iter().try_for_each(|s| {
            fits("series", &s.name, s.values.len(), needs)?;
            if s.intervals.is_empty() { Ok(()) } else { fits("intervals of", &s.name, s.intervals.len(), needs) }
        })
    };
    match &chart.body {
        ChartBody::Line { series } | ChartBody::Scatter { series } => series.iter().try_for_each(|s| {
            if s.band.is_empty() { Ok(()) } else { fits("band of", &s.name, s.band.len(), s.points.len()) }
        }),
        ChartBody::Bar { categories, series } => bars(series, categories.len()),
        ChartBody::Histogram { edges, series, .. } => bars(series, edges.len().saturating_sub(1)),
        ChartBody::Heatmap { rows, columns, values } => {
            fits("the matrix", &chart.title, values.len(), rows.len())?;
            rows.iter().zip(values).try_for_each(|(name, line)| fits("row", name, line.len(), columns.len()))
        }
        ChartBody::StackedArea { x, series } => {
            series.iter().try_for_each(|s| fits("layer", &s.name, s.values.len(), x.len()))
        }
        ChartBody::Gantt { lanes, spans } => match spans.iter().find(|s| s.lane >= lanes.len()) {
            Some(span) => fail(format!("span “{}” is in lane {} of {}", span.label, span.lane, lanes.len())),
            None => Ok(()),
        },
        ChartBody::ImageGrid { width, height, images } => {
            let needs = *width as usize * *height as usize;
            images.iter().try_for_each(|image| fits("picture", &image.label, image.pixels.len(), needs))
        }
        ChartBody::NumberLine { points, levels } => match points.iter().find(|p| p.level >= levels.len()) {
            Some(point) => fail(format!("a point takes level {} of {}", point.level, levels.len())),
            None => Ok(()),
        },
        ChartBody::TokenStream { .. } => Ok(()),
    }
}
