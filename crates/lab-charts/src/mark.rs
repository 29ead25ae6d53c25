//! What tells series apart besides their colour: dashes, the shape of points, the hatching of bars.

use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::pen::{Pen, Point};

/// Colour of series `index` of `count`. A series alone is the subject, not the baseline, and takes the accent. Beyond `count`
/// come the twins that lie behind them, in the same colours.
pub(crate) fn ink(index: usize, count: usize) -> Ink {
    // Not `%`, whose panic costs the page's WASM more than this.
    Ink::Series(if count == 1 { 1 } else { place(index, count) })
}

/// The place of a series among `count`: a twin has that of the series in front of it.
pub(crate) fn place(index: usize, count: usize) -> usize {
    if index < count { index } else { index - count }
}

/// Dashes of a line; `None` is solid. The baseline is dashed.
fn dash(index: usize, count: usize) -> Option<(f64, f64)> {
    if count == 1 {
        return None;
    }
    [Some((6.0, 4.0)), None, Some((2.0, 3.0)), Some((10.0, 3.0)), Some((4.0, 2.0)), Some((1.5, 2.0))][index % 6]
}

/// A line in the manner of its series; one that lies behind is thin.
pub(crate) fn stroke<DB: DrawingBackend>(pen: &mut Pen<DB>, points: &[Point], index: usize, count: usize) {
    if index >= count {
        return pen.path(points, ink(index, count), 1.0);
    }
    match dash(index, count) {
        None => pen.path(points, ink(index, count), 1.75),
        Some(dash) => pen.dashed(points, ink(index, count), 1.75, dash),
    }
}

/// A point in the manner of its series; one that lies behind is a level dash.
pub(crate) fn point<DB: DrawingBackend>(pen: &mut Pen<DB>, (x, y): Point, index: usize, count: usize) {
    let ink = ink(index, count);
    if index >= count {
        return pen.path(&[(x - 4.0, y), (x + 4.0, y)], ink, 1.0);
    }
    let shape = if count == 1 { 1 } else { index % 6 };
    let r = 3.5;
    match shape {
        0 => {
            pen.disc((x, y), r, ink);
            pen.disc((x, y), r - 1.5, Ink::Surface)
        }
        1 => pen.disc((x, y), r, ink),
        2 => pen.fill((x - 3.0, y - 3.0), (x + 3.0, y + 3.0), ink, 1.0),
        3 => pen.polygon(&[(x, y - 4.2), (x + 4.0, y + 3.0), (x - 4.0, y + 3.0)], ink, 1.0),
        4 => pen.polygon(&[(x, y - 4.5), (x + 4.5, y), (x, y + 4.5), (x - 4.5, y)], ink, 1.0),
        _ => {
            pen.path(&[(x - r, y - r), (x + r, y + r)], ink, 1.75);
            pen.path(&[(x - r, y + r), (x + r, y - r)], ink, 1.75)
        }
    }
}

/// A bar in the manner of its series: the baseline pale with an outline, the second full, the others hatched.
pub(crate) fn bar<DB: DrawingBackend>(pen: &mut Pen<DB>, from: Point, to: Point, index: usize, count: usize) {
    let colour = ink(index, count);
    let pattern = if count == 1 { 1 } else { index % 6 };
    if pattern == 1 {
        return pen.fill(from, to, colour, 1.0);
    }
    // The grid must not show through.
    pen.fill(from, to, Ink::Surface, 1.0);
    pen.fill(from, to, colour, if pattern == 0 { 0.35 } else { 0.18 });
    let (x0, x1) = (from.0.min(to.0), from.0.max(to.0));
    let (y0, y1) = (from.1.min(to.1), from.1.max(to.1));
    let gap = 5.0;
    // Diagonals, levels, uprights.
    if matches!(pattern, 2 | 5) {
        let mut offset = gap;
        while offset < (x1 - x0) + (y1 - y0) {
            let start = (x0 + (offset - (y1 - y0)).max(0.0), y0 + offset.min(y1 - y0));
            let end = (x0 + offset.min(x1 - x0), y0 + (offset - (x1 - x0)).max(0.0));
            pen.path(&[start, end], colour, 1.0);
            offset += gap;
        }
    }
    if matches!(pattern, 3 | 5) {
        let mut y = y1 - gap;
        while y > y0 {
            pen.path(&[(x0, y), (x1, y)], colour, 1.0);
            y -= gap;
        }
    }
    if pattern == 4 {
        let mut x = x0 + gap;
        while x < x1 {
            pen.path(&[(x, y0), (x, y1)], colour, 1.0);
            x += gap;
        }
    }
    if x1 - x0 >= 2.0 && y1 - y0 >= 1.0 {
        pen.outline((x0, y0), (x1, y1), colour, 1.0);
    }
}

/// What a legend shows of a series.
#[derive(Clone, Copy)]
pub(crate) enum Sign {
    Line,
    Point,
    Bar,
    Layer,
}

/// A sample of the series, centred on a point, 18 wide.
pub(crate) fn sample<DB: DrawingBackend>(pen: &mut Pen<DB>, (x, y): Point, index: usize, count: usize, sign: Sign) {
    match sign {
        Sign::Line => {
            stroke(pen, &[(x - 9.0, y), (x + 9.0, y)], index, count);
            point(pen, (x, y), index, count)
        }
        Sign::Bar if index < count => bar(pen, (x - 6.0, y - 5.0), (x + 6.0, y + 5.0), index, count),
        Sign::Point | Sign::Bar => point(pen, (x, y), index, count),
        Sign::Layer => {
            pen.fill((x - 6.0, y - 5.0), (x + 6.0, y + 5.0), Ink::Series(index), 0.45);
            pen.path(&[(x - 6.0, y - 5.0), (x + 6.0, y - 5.0)], Ink::Series(index), 1.75)
        }
    }
}
