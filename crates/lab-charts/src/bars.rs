//! Bars in categories, and histograms.

use lab_api::{BarSeries, Chart, Marker, Scale};
use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::axis::{Map, within};
use crate::frame::{Labels, Legend, Plot, axes};
use crate::lines::whisker;
use crate::mark::{self, Sign};
use crate::pen::{Hang, Pen, Point, SMALL, fit, text_width};

pub(crate) fn legend(series: &[BarSeries], width: f64) -> Legend<'_> {
    Legend::new(series.iter().map(|s| s.name.as_str()), Sign::Bar, width)
}

fn heights(series: &[BarSeries]) -> Vec<f64> {
    let mut all = Vec::new();
    for one in series {
        all.extend_from_slice(&one.values);
        for ends in &one.intervals {
            all.extend_from_slice(ends);
        }
    }
    all
}

/// Position of the foot of a bar: zero, or the lower edge of a logarithmic axis.
fn foot(y: &Map, scale: Scale) -> f64 {
    match scale {
        Scale::Linear => y.at(within(0.0, y.domain.0, y.domain.1)).unwrap_or(y.range.0),
        Scale::Log => y.range.0,
    }
}

/// Bars side by side in each category.
pub(crate) fn draw<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart, categories: &[String], series: &[BarSeries]) {
    let legend = legend(series, pen.size().0);
    let mut x = Map::slots(categories.len());
    let mut y = Map::fit(&chart.y, &heights(series), true, 5.0);
    legend.draw(pen);
    let labels = Labels { x: &chart.x.label, y: &chart.y.label, categories, room: 0.0 };
    let Some(plot) = axes(pen, &mut x, &mut y, &labels, legend.height()) else { return };
    let foot = foot(&y, chart.y.scale);
    let slot = (plot.right - plot.left) / categories.len().max(1) as f64;
    let count = series.len().max(1) as f64;
    // A gap of a third of the slot between categories; bars never wider than 46.
    let width = (slot * 0.68 / count).min(46.0);
    for (i, one) in series.iter().enumerate() {
        for (k, value) in one.values.iter().enumerate() {
            let Some(top) = y.at(*value) else { continue };
            let centre = plot.left + (k as f64 + 0.5) * slot + (i as f64 - (count - 1.0) / 2.0) * width;
            let half = (width / 2.0 - if width > 6.0 { 1.0 } else { 0.0 }).max(0.5);
            mark::bar(pen, (centre - half, top), (centre + half, foot), i, series.len());
            if let Some([low, high]) = one.intervals.get(k)
                && let (Some(low), Some(high)) = (y.at(*low), y.at(*high))
            {
                whisker(pen, centre, low, high, Ink::Text);
            }
        }
    }
    pen.path(&[(plot.left, foot), (plot.right, foot)], Ink::Muted, 1.0)
}

/// Counts between edges: the first series as an area, others as outlines over it.
pub(crate) fn draw_histogram<DB: DrawingBackend>(
    pen: &mut Pen<DB>,
    chart: &Chart,
    edges: &[f64],
    series: &[BarSeries],
    markers: &[Marker],
) {
    let legend = legend(series, pen.size().0);
    let mut axis = chart.x.clone();
    let ends = edges.iter().chain(markers.iter().map(|m| &m.at));
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if low < high {
        axis.min = axis.min.or(Some(low));
        axis.max = axis.max.or(Some(high));
    }
    let mut x = Map::fit(&axis, edges, false, 6.0);
    let mut y = Map::fit(&chart.y, &heights(series), true, 4.0);
    legend.draw(pen);
    let labels = Labels {
        x: &chart.x.label,
        y: &chart.y.label,
        categories: &[],
        room: if markers.is_empty() { 0.0 } else { 14.0 },
    };
    let Some(plot) = axes(pen, &mut x, &mut y, &labels, legend.height()) else { return };
    let foot = foot(&y, chart.y.scale);
    for (i, one) in series.iter().enumerate() {
        let mut outline: Vec<Point> = Vec::new();
        for (ends, value) in edges.windows(2).zip(&one.values) {
            // An empty bin has no logarithm: it stands on the foot.
            let top = y.at(*value).unwrap_or(foot);
            if let (Some(from), Some(to)) = (x.at(ends[0]), x.at(ends[1])) {
                outline.extend([(from, top), (to, top)]);
            }
        }
        let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) else { continue };
        outline.insert(0, (first.0, foot));
        outline.push((last.0, foot));
        let count = series.len();
        let alpha = if count == 1 {
            0.75
        } else if i == 0 {
            0.35
        } else {
            0.12
        };
        pen.polygon(&outline, mark::ink(i, count), alpha);
        if i == 0 {
            pen.path(&outline, mark::ink(i, count), 1.0);
        } else {
            mark::stroke(pen, &outline, i, count);
        }
    }
    pen.path(&[(plot.left, foot), (plot.right, foot)], Ink::Muted, 1.0);
    marked(pen, markers, &x, &plot);
}

/// Vertical lines with a word above them; words that would collide are left to the table.
fn marked<DB: DrawingBackend>(pen: &mut Pen<DB>, markers: &[Marker], x: &Map, plot: &Plot) {
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for marker in markers {
        let Some(at) = x.at(marker.at) else { continue };
        pen.dashed(&[(at, plot.top), (at, plot.bottom)], Ink::Text, 1.25, (3.0, 3.0));
        let words = fit(&marker.label, SMALL, 150.0);
        let half = text_width(&words, SMALL) / 2.0;
        let centre = within(at, plot.left + half, plot.right - half);
        let (from, to) = (centre - half - 3.0, centre + half + 3.0);
        if taken.iter().all(|other| to < other.0 || from > other.1) {
            pen.text((centre, plot.top - 9.0), &words, Ink::Text, SMALL, Hang::Middle);
            taken.push((from, to));
        }
    }
}
