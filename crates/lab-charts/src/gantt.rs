//! Spans of time in lanes.

use lab_api::{Chart, Span};
use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::axis::Map;
use crate::frame::{self, EDGE, FOOT};
use crate::pen::{Hang, Pen, SMALL, fit};

const LANE: f64 = 30.0;

pub(crate) fn height(lanes: usize) -> f64 {
    2.0 * EDGE + FOOT + LANE * lanes.max(1) as f64
}

/// Spans are pale with a full edge on the left, and named, so that neighbours of one colour stay apart.
pub(crate) fn draw<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart, lanes: &[String], spans: &[Span]) {
    let mut ends = Vec::new();
    for span in spans {
        ends.extend_from_slice(&[span.start, span.end]);
    }
    let mut x = Map::fit(&chart.x, &ends, true, 6.0);
    let Some(plot) = frame::lanes(pen, &mut x, lanes, ("", &chart.x.label), EDGE) else { return };
    let lane_height = (plot.bottom - plot.top) / lanes.len().max(1) as f64;
    for span in spans {
        let (Some(from), Some(to)) = (x.at(span.start), x.at(span.end)) else { continue };
        let top = plot.top + span.lane as f64 * lane_height + 4.0;
        let bottom = top + lane_height - 8.0;
        let ink = Ink::Series(span.colour);
        pen.fill((from, top), (to.max(from + 1.0), bottom), ink, 0.3);
        pen.fill((from, top), ((from + 2.5).min(to.max(from + 1.0)), bottom), ink, 1.0);
        let room = to - from - 8.0;
        let words = fit(&span.label, SMALL, room);
        if room > 12.0 && words.chars().count() > 1 {
            pen.text((from + 6.0, (top + bottom) / 2.0), &words, Ink::Text, SMALL, Hang::Left);
        }
    }
}
