//! Lines, points and stacked layers.

use lab_api::{Axis, Chart, Series, StackSeries};
use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::axis::{Map, within};
use crate::frame::{Labels, Legend, axes};
use crate::mark::{self, Sign};
use crate::pen::{Hang, Pen, Point, SMALL, fit, text_width};

/// Up to this many points of a line bear a marker each; beyond, about this many do.
const MARKERS: usize = 12;

/// Lines (`joined`) or points, with their bands.
pub(crate) fn draw<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart, series: &[Series], joined: bool) {
    let sign = if joined { Sign::Line } else { Sign::Point };
    let legend = legend(series, sign, pen.size().0);
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for one in series {
        for [x, y] in &one.points {
            xs.push(*x);
            ys.push(*y);
        }
        for ends in &one.band {
            ys.extend_from_slice(ends);
        }
    }
    let mut x = Map::fit(&tight(&chart.x, &xs, joined), &xs, false, 6.0);
    x.tick_at_data(&xs);
    let mut y = Map::fit(&chart.y, &ys, false, 5.0);
    legend.draw(pen);
    let labels = Labels { x: &chart.x.label, y: &chart.y.label, categories: &[], room: 0.0 };
    if axes(pen, &mut x, &mut y, &labels, legend.height()).is_none() {
        return;
    }
    let count = legend.own;
    for (i, one) in series.iter().enumerate() {
        intervals(pen, one, &x, &y, mark::ink(i, count), joined);
        let points: Vec<Point> = one.points.iter().filter_map(|p| Some((x.at(p[0])?, y.at(p[1])?))).collect();
        if joined {
            mark::stroke(pen, &points, i, count);
        }
        let every = if joined { points.len().div_ceil(MARKERS).max(1) } else { 1 };
        // A long line alone needs no markers: there is nothing to tell it from. One that lies behind bears none.
        if joined && (i >= count || count == 1 && every > 1) {
            continue;
        }
        // Staggered, so that lines that lie on each other stay visible.
        let offset = if every > 1 { (i * every / count.max(1)) % every } else { 0 };
        for point in points.iter().skip(offset).step_by(every) {
            mark::point(pen, *point, i, count);
        }
    }
}

pub(crate) fn legend(series: &[Series], sign: Sign, width: f64) -> Legend<'_> {
    Legend::new(series.iter().map(|s| s.name.as_str()), sign, width)
}

/// A line fills the width: its horizontal axis ends where the data end, unless they are few.
fn tight(axis: &Axis, values: &[f64], joined: bool) -> Axis {
    let mut axis = axis.clone();
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if joined && low < high {
        axis.min = axis.min.or(Some(low));
        axis.max = axis.max.or(Some(high));
    }
    axis
}

/// A band behind a line, whiskers at single points.
fn intervals<DB: DrawingBackend>(pen: &mut Pen<DB>, series: &Series, x: &Map, y: &Map, ink: Ink, joined: bool) {
    let ends: Vec<(f64, f64, f64)> = series
        .points
        .iter()
        .zip(&series.band)
        .filter_map(|(p, band)| Some((x.at(p[0])?, y.at(band[0])?, y.at(band[1])?)))
        .collect();
    if joined && ends.len() > 1 {
        let there = ends.iter().map(|(x, low, _)| (*x, *low));
        let back = ends.iter().rev().map(|(x, _, high)| (*x, *high));
        let outline: Vec<Point> = there.chain(back).collect();
        return pen.polygon(&outline, ink, 0.18);
    }
    for (x, low, high) in ends {
        whisker(pen, x, low, high, ink);
    }
}

/// An upright interval with short caps.
fn whisker<DB: DrawingBackend>(pen: &mut Pen<DB>, x: f64, low: f64, high: f64, ink: Ink) {
    whisker_along(pen, &|across, along| (across, along), x, low, high, ink);
}

/// An interval with short caps; `place` makes a point of the position across it and the one along it.
pub(crate) fn whisker_along<DB: DrawingBackend>(
    pen: &mut Pen<DB>,
    place: &dyn Fn(f64, f64) -> Point,
    at: f64,
    low: f64,
    high: f64,
    ink: Ink,
) {
    pen.path(&[place(at, low), place(at, high)], ink, 1.25);
    for end in [low, high] {
        pen.path(&[place(at - 3.0, end), place(at + 3.0, end)], ink, 1.25);
    }
}

/// Layers over each other, named inside where there is room.
pub(crate) fn draw_stack<DB: DrawingBackend>(
    pen: &mut Pen<DB>,
    chart: &Chart,
    positions: &[f64],
    series: &[StackSeries],
) {
    let legend = stack_legend(series, pen.size().0);
    let mut sums = vec![vec![0.0; positions.len()]];
    for layer in series {
        let below = &sums[sums.len() - 1];
        let above = below.iter().zip(&layer.values).map(|(a, b)| a + b).collect();
        sums.push(above);
    }
    let mut x = Map::fit(&tight(&chart.x, positions, true), positions, false, 6.0);
    let mut y = Map::fit(&chart.y, &sums.concat(), true, 5.0);
    legend.draw(pen);
    let labels = Labels { x: &chart.x.label, y: &chart.y.label, categories: &[], room: 0.0 };
    if axes(pen, &mut x, &mut y, &labels, legend.height()).is_none() {
        return;
    }
    for (i, (pair, layer)) in sums.windows(2).zip(series).enumerate() {
        let along = |values: &[f64]| -> Vec<Point> {
            positions.iter().zip(values).filter_map(|(at, v)| Some((x.at(*at)?, y.at(*v)?))).collect()
        };
        let (below, above) = (along(&pair[0]), along(&pair[1]));
        let outline: Vec<Point> = above.iter().chain(below.iter().rev()).copied().collect();
        pen.polygon(&outline, Ink::Series(i), 0.45);
        pen.path(&above, Ink::Series(i), 1.75);
        // The name, where the layer is thickest.
        let thickest = above.iter().zip(&below).max_by(|a, b| (a.1.1 - a.0.1).total_cmp(&(b.1.1 - b.0.1)));
        if let Some((top, bottom)) = thickest
            && bottom.1 - top.1 > 16.0
        {
            let name = fit(&layer.name, SMALL, 120.0);
            let half = text_width(&name, SMALL) / 2.0 + 4.0;
            let centre = within(top.0, x.range.0 + half, x.range.1 - half);
            pen.text((centre, (top.1 + bottom.1) / 2.0), &name, Ink::Text, SMALL, Hang::Middle);
        }
    }
}

pub(crate) fn stack_legend(series: &[StackSeries], width: f64) -> Legend<'_> {
    Legend::new(series.iter().map(|s| s.name.as_str()), Sign::Layer, width)
}
