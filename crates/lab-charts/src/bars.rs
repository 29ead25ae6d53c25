//! Bars in categories, and histograms.

use lab_api::{BarSeries, Chart, Marker, Scale};
use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::axis::{Map, within};
use crate::frame::{EDGE, FOOT, Labels, Legend, Plot, axes, have_room, lanes};
use crate::lines::whisker_along;
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

/// Height of a lying bar, and of what is free around those of one category.
const LYING: f64 = 11.0;
const AROUND: f64 = 9.0;

/// Height that upright bars leave to the plot, or that lying ones need.
pub(crate) fn height(categories: &[String], series: &[BarSeries], width: f64, upright: f64) -> f64 {
    let legend = legend(series, width);
    let plot = if !have_room(categories, width) {
        2.0 * EDGE + FOOT + categories.len() as f64 * (LYING * legend.own as f64 + AROUND)
    } else {
        upright
    };
    plot + legend.height()
}

/// Bars side by side in each category: upright over its name, or lying beside it where names have no room under the bars.
pub(crate) fn draw<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart, categories: &[String], series: &[BarSeries]) {
    let legend = legend(series, pen.size().0);
    let lying = !have_room(categories, pen.size().0);
    let mut values = Map::fit(&chart.y, &heights(series), true, 5.0);
    legend.draw(pen);
    let plot = if lying {
        lanes(pen, &mut values, categories, (&chart.x.label, &chart.y.label), EDGE + legend.height())
    } else {
        let labels = Labels { x: &chart.x.label, y: &chart.y.label, categories, room: 0.0 };
        axes(pen, &mut Map::slots(categories.len()), &mut values, &labels, legend.height())
    };
    let Some(plot) = plot else { return };
    let place = |across: f64, along: f64| if lying { (along, across) } else { (across, along) };
    let (from, to) = if lying { (plot.top, plot.bottom) } else { (plot.left, plot.right) };
    let foot = foot(&values, chart.y.scale);
    let slot = (to - from) / categories.len().max(1) as f64;
    let count = legend.own as f64;
    // A gap of a third of the slot between categories; bars never wider than 46.
    let width = (slot * 0.68 / count).min(46.0);
    for (i, one) in series.iter().enumerate() {
        for (k, value) in one.values.iter().enumerate() {
            let Some(end) = values.at(*value) else { continue };
            let centre =
                from + (k as f64 + 0.5) * slot + (mark::place(i, legend.own) as f64 - (count - 1.0) / 2.0) * width;
            let half = (width / 2.0 - if width > 6.0 { 1.0 } else { 0.0 }).max(0.5);
            if i >= legend.own {
                // What lies behind is a line across the bar.
                pen.path(&[place(centre - half, end), place(centre + half, end)], Ink::Text, 1.0);
                continue;
            }
            mark::bar(pen, place(centre - half, end), place(centre + half, foot), i, legend.own);
            if let Some([low, high]) = one.intervals.get(k)
                && let (Some(low), Some(high)) = (values.at(*low), values.at(*high))
            {
                whisker_along(pen, &place, centre, low, high, Ink::Text);
            }
        }
    }
    pen.path(&[place(from, foot), place(to, foot)], Ink::Muted, 1.0)
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

#[cfg(test)]
mod tests {
    use lab_api::{Axis, ChartBody};

    use crate::{natural_height, svg};

    use super::*;

    fn chart(names: &[&str], series: usize) -> Chart {
        let one = |i: usize| BarSeries {
            name: format!("series {i}"),
            values: names.iter().map(|name| name.len() as f64).collect(),
            intervals: vec![],
        };
        Chart {
            id: "bars".into(),
            title: "T".into(),
            caption: "C".into(),
            x: Axis::linear("Matrix"),
            y: Axis::linear("SQNR (dB)"),
            body: ChartBody::Bar {
                categories: names.iter().map(|name| (*name).to_owned()).collect(),
                series: (0..series).map(one).collect(),
            },
        }
    }

    fn drawn(chart: &Chart, width: u32) -> String {
        svg(chart, width, natural_height(chart, f64::from(width)).round() as u32).expect("the sample is sound")
    }

    /// The words of a picture, each on a line of its own.
    fn words(svg: &str) -> Vec<&str> {
        svg.lines().filter(|line| !line.starts_with('<')).collect()
    }

    #[test]
    fn names_stay_whole_on_a_phone() {
        let names = ["layers.0.mlp.down_proj", "down projection", "embedding", "lm head", "k"];
        for series in 1..=3 {
            let svg = drawn(&chart(&names, series), 330);
            for name in names.into_iter().chain(["Matrix", "SQNR (dB)"]) {
                assert!(words(&svg).contains(&name), "{name} is missing in {svg}");
            }
        }
        let long = drawn(&chart(&["model.layers.10.self_attn.k_proj", "b"], 1), 330);
        let cut = words(&long).into_iter().find(|word| word.contains('…')).expect("cut");
        assert!(cut.starts_with("model.") && cut.ends_with("k_proj"), "{cut}");
    }

    #[test]
    fn bars_lie_only_where_names_need_it() {
        let height = |names: &[&str], width: f64| natural_height(&chart(names, 1), width);
        let long = ["down projection"; 9];
        assert_eq!(height(&["1", "2", "3"], 330.0), height(&["1", "2", "3"], 700.0));
        assert_eq!(height(&long, 1100.0), height(&["1"], 1100.0));
        // Each lane as high as its bars, so that more of them make a higher picture.
        assert!(height(&long, 330.0) > height(&long[..5], 330.0));
    }
}
