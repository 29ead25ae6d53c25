//! What surrounds the data: legend, grid, tick labels, axis labels. No box, no vertical words.

use plotters::prelude::DrawingBackend;

use crate::axis::Map;
use crate::mark::{Sign, sample};
use crate::pen::{Hang, Pen, SMALL, TEXT, fit, text_width};
use crate::{Ink, pen};

const ROW: f64 = 20.0;
/// Parts the name of a series that the page lays behind a reader's own from the words on where it comes from:
/// `INT8 | reference: CPU`. Such series come last, each in the place of its twin.
const BEHIND: char = '|';
/// Room around everything.
pub(crate) const EDGE: f64 = 6.0;

/// Where the data stand, in logical pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plot {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

/// Names of series, laid out in rows.
pub(crate) struct Legend<'a> {
    names: Vec<&'a str>,
    sign: Sign,
    /// Series of the run itself: those that a reference lays behind them come after, under one name.
    pub(crate) own: usize,
    /// Left end of each entry, and its row.
    places: Vec<(f64, usize)>,
}

impl<'a> Legend<'a> {
    /// A legend for these series; empty where there is nothing to tell apart.
    pub(crate) fn new(names: impl IntoIterator<Item = &'a str>, sign: Sign, width: f64) -> Self {
        Self::of(names.into_iter().collect(), sign, width)
    }

    /// Not generic: one such function in the page's WASM, not one for each kind of series.
    fn of(all: Vec<&'a str>, sign: Sign, width: f64) -> Self {
        let (mut names, mut behind) = (Vec::new(), None);
        for name in all {
            match name.split_once(BEHIND) {
                None => names.push(name),
                Some((_, words)) => behind = Some(words),
            }
        }
        let own = names.len().max(1);
        names.extend(behind);
        if names.len() < 2 {
            names.clear();
        }
        let (mut x, mut row, mut places) = (EDGE, 0, Vec::new());
        for name in &names {
            let needed = 24.0 + text_width(name, TEXT) + 14.0;
            if x > EDGE && x + needed > width {
                (x, row) = (EDGE, row + 1);
            }
            places.push((x, row));
            x += needed;
        }
        Self { names, sign, own, places }
    }

    /// Height it takes, 0 where it is empty.
    pub(crate) fn height(&self) -> f64 {
        self.places.last().map_or(0.0, |(_, row)| (*row as f64 + 1.0) * ROW + 4.0)
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &mut Pen<DB>) {
        let width = pen.size().0;
        for (i, (name, (x, row))) in self.names.iter().zip(&self.places).enumerate() {
            let y = EDGE + (*row as f64 + 0.5) * ROW;
            sample(pen, (x + 9.0, y), i, self.own, self.sign);
            let room = width - x - 24.0 - EDGE;
            pen.text((x + 24.0, y), &fit(name, TEXT, room), Ink::Text, TEXT, Hang::Left);
        }
    }
}

/// The words at the axes.
pub(crate) struct Labels<'a> {
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// Names under equal slots, instead of ticks.
    pub(crate) categories: &'a [String],
    /// Height kept free above the data, for words of theirs.
    pub(crate) room: f64,
}

/// Draws grid and labels below a legend of the given height, sets the ranges of both maps, and gives the place of the data.
pub(crate) fn axes<DB: DrawingBackend>(
    pen: &mut Pen<DB>,
    x: &mut Map,
    y: &mut Map,
    labels: &Labels,
    legend_height: f64,
) -> Option<Plot> {
    let (width, height) = pen.size();
    let y_labels = y.labels();
    let widest = pen::widest(&y_labels, SMALL);
    let left = EDGE + widest + 8.0;
    let last_x = x.labels().last().map_or(0.0, |l| text_width(l, SMALL) / 2.0);
    let right = width - EDGE - last_x.max(6.0);
    let y_label_height = if labels.y.is_empty() { 8.0 } else { ROW + 4.0 };
    let top = EDGE + legend_height + y_label_height + labels.room;
    let slot = (right - left) / labels.categories.len().max(1) as f64;
    let wrapped: Vec<[&str; 2]> = labels.categories.iter().map(|name| wrap(name, slot - 6.0)).collect();
    let lines = if wrapped.iter().all(|lines| lines[1].is_empty()) { 1.0 } else { 2.0 };
    let x_label_height = if labels.x.is_empty() { 0.0 } else { ROW - 2.0 };
    let bottom = height - EDGE - x_label_height - lines * 14.0 - 6.0;
    if bottom - top < 30.0 || right - left < 60.0 {
        pen.too_small();
        return None;
    }
    let plot = Plot { left, top, right, bottom };
    x.range = (left, right);
    y.range = (bottom, top);

    if !labels.y.is_empty() {
        let at = (EDGE, EDGE + legend_height + ROW / 2.0);
        pen.text(at, &fit(labels.y, TEXT, width - 2.0 * EDGE), Ink::Muted, TEXT, Hang::Left);
    }
    for (tick, words) in y.ticks.clone().into_iter().zip(y_labels) {
        let Some(at) = y.at(tick) else { continue };
        pen.path(&[(left, at), (right, at)], Ink::Line, 1.0);
        pen.text((left - 8.0, at), &words, Ink::Muted, SMALL, Hang::Right);
    }
    if labels.categories.is_empty() {
        x_ticks(pen, x, &plot);
    } else {
        for (i, lines) in wrapped.iter().enumerate() {
            let centre = left + (i as f64 + 0.5) * slot;
            for (row, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
                let at = (centre, bottom + 12.0 + row as f64 * 14.0);
                pen.text(at, &fit(line, SMALL, slot), Ink::Muted, SMALL, Hang::Middle);
            }
        }
    }
    if !labels.x.is_empty() {
        let at = ((left + right) / 2.0, height - EDGE - 6.0);
        pen.text(at, &fit(labels.x, TEXT, width - 2.0 * EDGE), Ink::Muted, TEXT, Hang::Middle);
    }
    Some(plot)
}

/// Left end of the data beside a column of names, which takes what they need and never most of the width.
pub(crate) fn beside(names: &[String], width: f64) -> f64 {
    EDGE + pen::widest(names, SMALL).min(width * 0.42) + 8.0
}

/// Names to the left of the data, one in the middle of each lane; where lanes are narrow, every so many of them.
pub(crate) fn lane_names<DB: DrawingBackend>(pen: &mut Pen<DB>, names: &[String], plot: &Plot) {
    let lane = (plot.bottom - plot.top) / names.len().max(1) as f64;
    for (i, name) in names.iter().enumerate().step_by(every(lane, 14.0)) {
        let at = (plot.left - 8.0, plot.top + (i as f64 + 0.5) * lane);
        pen.text(at, &fit(name, SMALL, plot.left - 8.0 - EDGE), Ink::Muted, SMALL, Hang::Right);
    }
}

/// How many steps share one label that needs this room.
pub(crate) fn every(step: f64, needed: f64) -> usize {
    ((needed / step).ceil() as usize).max(1)
}

/// Height of ticks and axis label below lanes.
pub(crate) const FOOT: f64 = 42.0;

/// Names on the left, a lane for each, and the axis of their values below; sets the range of its map. Under the names and under
/// the axis stands what they are. The first lane begins at `top`.
pub(crate) fn lanes<DB: DrawingBackend>(
    pen: &mut Pen<DB>,
    x: &mut Map,
    names: &[String],
    (head, label): (&str, &str),
    top: f64,
) -> Option<Plot> {
    let (width, height) = pen.size();
    let plot = Plot { left: beside(names, width), top, right: width - EDGE - 12.0, bottom: height - EDGE - FOOT };
    if plot.bottom - plot.top < 12.0 || plot.right - plot.left < 40.0 {
        pen.too_small();
        return None;
    }
    x.range = (plot.left, plot.right);
    for tick in &x.ticks {
        if let Some(at) = x.at(*tick) {
            pen.path(&[(at, plot.top), (at, plot.bottom)], Ink::Line, 1.0);
        }
    }
    lane_names(pen, names, &plot);
    x_ticks(pen, x, &plot);
    let y = height - EDGE - 7.0;
    pen.text(((plot.left + plot.right) / 2.0, y), label, Ink::Muted, TEXT, Hang::Middle);
    pen.text((EDGE, y), &fit(head, TEXT, plot.left - EDGE), Ink::Muted, TEXT, Hang::Left);
    Some(plot)
}

/// Tick labels under the plot, each with a short tick; those that would collide are left out.
pub(crate) fn x_ticks<DB: DrawingBackend>(pen: &mut Pen<DB>, x: &Map, plot: &Plot) {
    let mut free = f64::NEG_INFINITY;
    for (tick, words) in x.ticks.iter().zip(x.labels()) {
        let Some(at) = x.at(*tick) else { continue };
        pen.path(&[(at, plot.bottom), (at, plot.bottom + 4.0)], Ink::Line, 1.0);
        let half = text_width(&words, SMALL) / 2.0;
        if at - half > free {
            pen.text((at, plot.bottom + 13.0), &words, Ink::Muted, SMALL, Hang::Middle);
            free = at + half + 8.0;
        }
    }
}

/// Whether each of these names has room under its slot of a plot, in two lines at most.
pub(crate) fn have_room(categories: &[String], width: f64) -> bool {
    // Beside the plot stand the labels of its ticks.
    let slot = (width - 64.0) / categories.len() as f64;
    categories.iter().all(|name| wrap(name, slot - 6.0).iter().all(|line| text_width(line, SMALL) <= slot - 6.0))
}

/// Two lines, the first within the room; the second is empty where one will do, or where nothing can be broken.
fn wrap(words: &str, room: f64) -> [&str; 2] {
    if text_width(words, SMALL) <= room {
        return [words, ""];
    }
    let mut ends = words.match_indices([' ', '-', '_', ',']).map(|(i, found)| i + found.len());
    let end = ends.rfind(|end| text_width(words[..*end].trim_end(), SMALL) <= room).unwrap_or(words.len());
    [words[..end].trim_end(), words[end..].trim_start()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_take_two_lines_at_most() {
        assert_eq!(wrap("INT8", 60.0), ["INT8", ""]);
        assert_eq!(wrap("per channel", 50.0), ["per", "channel"]);
        assert_eq!(wrap("per channel symmetric", 50.0), ["per", "channel symmetric"]);
        let names = |name: &str| vec![name.to_owned(); 3];
        assert!(have_room(&names("per channel"), 220.0) && !have_room(&names("per channel symmetric"), 220.0));
    }

    #[test]
    fn a_legend_needs_two_series_and_breaks_into_rows() {
        assert_eq!(Legend::new(["one"], Sign::Bar, 400.0).height(), 0.0);
        let names = ["a rather long name", "another rather long name", "and a third one of them"];
        let wide = Legend::new(names, Sign::Bar, 800.0).height();
        assert!(Legend::new(names, Sign::Bar, 300.0).height() > wide);
    }
}
