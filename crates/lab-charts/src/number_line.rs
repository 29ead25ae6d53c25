//! Real numbers snapping to the levels of a grid.

use lab_api::{Chart, GridLevel, Snapped};
use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::axis::{Map, within};
use crate::frame::EDGE;
use crate::mark;
use crate::pen::{Hang, Pen, Point, SMALL, TEXT, text_width};

/// Height of the whole, whatever it shows: a live chart must not move what stands below it.
pub(crate) const HEIGHT: f64 = 212.0;
/// Height of the axis of real numbers, and of the one of levels.
const REALS: f64 = 62.0;
const LEVELS: f64 = 150.0;
/// Levels nearer to each other than this are drawn as one band: as single ticks they would be no more than that.
const APART: f64 = 2.5;

/// Numbers on the upper line, levels on the lower one, and how the ones go to the others.
pub(crate) fn draw<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart, points: &[Snapped], levels: &[GridLevel]) {
    let (width, height) = pen.size();
    if width < 120.0 || height < HEIGHT - 1.0 {
        return pen.too_small();
    }
    let values: Vec<f64> = points.iter().map(|p| p.at).chain(levels.iter().map(|l| l.at)).collect();
    let mut x = Map::fit(&chart.x, &values, false, 6.0);
    x.range = (EDGE + 12.0, width - EDGE - 12.0);
    // A linear axis has a place for every number.
    let at = |value: f64| x.at(value).unwrap_or(x.range.0);
    key(pen, chart);
    reals(pen, &x, &at);
    let (low, high) = (at(levels[0].at), at(levels[levels.len() - 1].at));
    for (from, to) in [(x.range.0 - 6.0, low - 1.0), (high + 1.0, x.range.1 + 6.0)] {
        // Beyond the outermost levels: what lies here is clipped.
        if to - from > 10.0 {
            pen.fill((from, REALS), (to, LEVELS), Ink::Bad, 0.07);
        }
    }
    for point in points {
        let (from, to) = (at(point.at), at(levels[point.level].at));
        let ink = if point.clipped { Ink::Bad } else { Ink::Series(1) };
        pen.path(&[(from, REALS + 4.0), (to, LEVELS - 7.0)], ink, 1.0);
    }
    for point in points {
        mark(pen, (at(point.at), REALS), point.clipped);
    }
    ladder(pen, levels, &at, (low, high));
    pen.text((width / 2.0, height - EDGE - 6.0), &chart.y.label, Ink::Muted, TEXT, Hang::Middle);
}

/// A number: a disc, and a cross where it is clipped, so that colour is not all that tells.
fn mark<DB: DrawingBackend>(pen: &mut Pen<DB>, (x, y): Point, clipped: bool) {
    if clipped {
        pen.path(&[(x - 4.0, y - 4.0), (x + 4.0, y + 4.0)], Ink::Bad, 2.0);
        pen.path(&[(x - 4.0, y + 4.0), (x + 4.0, y - 4.0)], Ink::Bad, 2.0);
    } else {
        mark::point(pen, (x, y), 1, 2);
    }
}

/// What the marks mean, beside the name of the axis.
fn key<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart) {
    let y = EDGE + 10.0;
    mark(pen, (EDGE + 5.0, y), false);
    pen.text((EDGE + 16.0, y), &chart.x.label, Ink::Muted, TEXT, Hang::Left);
    let next = EDGE + 34.0 + text_width(&chart.x.label, TEXT);
    mark(pen, (next, y), true);
    pen.text((next + 11.0, y), "clipped", Ink::Muted, TEXT, Hang::Left);
}

/// The axis of real numbers, its labels above it.
fn reals<DB: DrawingBackend>(pen: &mut Pen<DB>, x: &Map, at: &dyn Fn(f64) -> f64) {
    pen.path(&[(x.range.0 - 6.0, REALS), (x.range.1 + 6.0, REALS)], Ink::Line, 1.0);
    for (tick, words) in x.ticks.iter().zip(x.labels()) {
        let place = at(*tick);
        pen.path(&[(place, REALS - 9.0), (place, REALS)], Ink::Line, 1.0);
        pen.text((place, REALS - 17.0), &words, Ink::Muted, SMALL, Hang::Middle);
    }
}

/// The levels with their codes; the one of zero is longer and named.
fn ladder<DB: DrawingBackend>(
    pen: &mut Pen<DB>,
    levels: &[GridLevel],
    at: &dyn Fn(f64) -> f64,
    (low, high): (f64, f64),
) {
    pen.path(&[(low, LEVELS), (high, LEVELS)], Ink::Text, 1.0);
    let dense = (high - low) / (levels.len().max(2) - 1) as f64;
    if dense < APART {
        pen.fill((low, LEVELS - 6.0), (high, LEVELS + 6.0), Ink::Text, 0.5);
    }
    let zero = levels.iter().find(|level| level.zero);
    if let Some(level) = zero {
        let place = at(level.at);
        pen.path(&[(place, LEVELS - 10.0), (place, LEVELS + 10.0)], Ink::Text, 2.5);
        let half = text_width("zero point", SMALL) / 2.0;
        let centre = within(place, EDGE + half, pen.size().0 - EDGE - half);
        pen.text((centre, LEVELS + 31.0), "zero point", Ink::Text, SMALL, Hang::Middle);
        pen.text((place, LEVELS + 18.0), &level.code.to_string(), Ink::Text, SMALL, Hang::Middle);
    }
    // Every code that has room; those of the ends and of zero come first.
    let last = levels.len() - 1;
    let mut taken: Vec<(f64, f64)> = Vec::new();
    if let Some(level) = zero {
        taken.push(room(at(level.at), level.code));
    }
    for i in [0, last].into_iter().chain(0..=last) {
        let level = &levels[i];
        let place = at(level.at);
        if dense >= APART {
            pen.path(&[(place, LEVELS - 6.0), (place, LEVELS + 6.0)], Ink::Text, 1.25);
        }
        let (from, to) = room(place, level.code);
        if taken.iter().all(|(left, right)| to < *left || from > *right) {
            pen.text((place, LEVELS + 18.0), &level.code.to_string(), Ink::Muted, SMALL, Hang::Middle);
            taken.push((from, to));
        }
    }
}

/// The room a code takes on the line of codes.
fn room(place: f64, code: i64) -> (f64, f64) {
    let half = text_width(&code.to_string(), SMALL) / 2.0 + 3.0;
    (place - half, place + half)
}

#[cfg(test)]
mod tests {
    use lab_api::{Axis, ChartBody};

    use super::*;
    use crate::svg;

    fn line(levels: usize, beyond: f64) -> Chart {
        let step = 2.0 / (levels - 1) as f64;
        let level = |i: usize| GridLevel { at: -1.0 + i as f64 * step, code: i as i64, zero: i == levels / 2 };
        Chart {
            id: "line".into(),
            title: "T".into(),
            caption: "C".into(),
            x: Axis::linear("Weight"),
            y: Axis::linear("Code"),
            body: ChartBody::NumberLine {
                points: vec![
                    Snapped { at: 0.1, level: levels / 2, clipped: false },
                    Snapped { at: beyond, level: levels - 1, clipped: beyond > 1.0 },
                ],
                levels: (0..levels).map(level).collect(),
            },
        }
    }

    fn drawn(chart: &Chart, width: u32) -> String {
        svg(chart, width, HEIGHT as u32).expect("sound")
    }

    #[test]
    fn codes_zero_and_clipping_are_seen() {
        let svg = drawn(&line(8, 2.0), 380);
        for word in [">\n7\n<", ">\n4\n<", "zero point", "clipped", "var(--bad)", ">\nCode\n<"] {
            assert!(svg.contains(word), "{word} is missing in {svg}");
        }
        // In the key the cross always stands; a clipped weight adds its own, its line and the shaded part.
        let bad = |beyond: f64| drawn(&line(8, beyond), 380).matches("var(--bad)").count();
        assert_eq!(bad(2.0), bad(0.9) + 4);
    }

    #[test]
    fn many_levels_become_a_band_and_few_labels() {
        let few = drawn(&line(16, 0.9), 380);
        let many = drawn(&line(256, 0.9), 380);
        assert!(many.matches("<text").count() < 40, "{}", many.matches("<text").count());
        assert!(many.contains(">\n255\n<") && many.contains(">\n128\n<"));
        assert!(few.matches("<line").count() > 16 && many.matches("<line").count() < 60);
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        let mut chart = line(4, 0.5);
        if let ChartBody::NumberLine { points, .. } = &mut chart.body {
            points[0].level = 4;
        }
        assert!(svg(&chart, 380, HEIGHT as u32).expect_err("refused").to_string().contains("level 4 of 4"));
    }
}
