//! Matrices of values.

use lab_api::Chart;
use plotters::prelude::DrawingBackend;

use crate::axis::labels;
use crate::frame::{EDGE, FOOT, Plot, beside, every, lane_names};
use crate::number::{decimals_of, format_number, grouped};
use crate::pen::{Hang, Pen, SMALL, TEXT, fit, text_width};
use crate::{Ink, pen};

/// Height of the scale above the cells.
const KEY: f64 = 30.0;

/// Height that gives each row a readable height.
pub(crate) fn height(rows: usize) -> f64 {
    let row = match rows {
        0..=12 => 26.0,
        // Room for the name of each.
        13..=40 => (320.0 / rows as f64).max(14.5),
        _ => (320.0 / rows as f64).max(5.0),
    };
    KEY + FOOT + 2.0 * EDGE + row * rows as f64
}

/// Cells from the surface's colour (lowest value) to the accent (highest), numbers in them where they fit.
pub(crate) fn draw<DB: DrawingBackend>(
    pen: &mut Pen<DB>,
    chart: &Chart,
    rows: &[String],
    columns: &[String],
    values: &[Vec<f64>],
) {
    let (width, height) = pen.size();
    let all = values.iter().flatten();
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let plot = Plot { left: beside(rows, width), top: EDGE + KEY, right: width - EDGE, bottom: height - EDGE - FOOT };
    let Plot { left, top, right, bottom } = plot;
    if bottom - top < 20.0 || right - left < 40.0 {
        return pen.too_small();
    }
    let cell = ((right - left) / columns.len().max(1) as f64, (bottom - top) / rows.len().max(1) as f64);
    // Never from the surface itself, so that the lowest cell is seen as a cell.
    let heat = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        (8.0 + 92.0 * share).round() as u8
    };
    let decimals = values.iter().flatten().fold(0, |most, v| decimals_of(*v).max(most)).min(2);
    let write = |v: f64| if v.abs() >= 1000.0 { format_number(v, "") } else { grouped(v, decimals) };
    let longest = values.iter().flatten().map(|v| text_width(&write(*v), SMALL)).fold(0.0, f64::max);
    let written = longest + 6.0 <= cell.0 && cell.1 >= 15.0;
    let gap = if cell.0.min(cell.1) > 8.0 { 0.75 } else { 0.0 };
    for (r, line) in values.iter().enumerate() {
        for (c, value) in line.iter().enumerate() {
            let from = (left + c as f64 * cell.0, top + r as f64 * cell.1);
            let to = (from.0 + cell.0 - gap, from.1 + cell.1 - gap);
            let level = heat(*value);
            pen.fill((from.0 + gap, from.1 + gap), to, Ink::Heat(level), 1.0);
            if written {
                let ink = if level > 55 { Ink::Surface } else { Ink::Text };
                let centre = (from.0 + cell.0 / 2.0, from.1 + cell.1 / 2.0);
                pen.text(centre, &write(*value), ink, SMALL, Hang::Middle);
            }
        }
    }
    lane_names(pen, rows, &plot);
    let name_width = pen::widest(columns, SMALL).min(70.0);
    let stride = every(cell.0, name_width + 4.0);
    for (c, name) in columns.iter().enumerate().step_by(stride) {
        let at = (left + (c as f64 + 0.5) * cell.0, bottom + 11.0);
        pen.text(at, &fit(name, SMALL, cell.0 * stride as f64), Ink::Muted, SMALL, Hang::Middle);
    }
    pen.text(((left + right) / 2.0, height - EDGE - 7.0), &chart.x.label, Ink::Muted, TEXT, Hang::Middle);
    key(pen, chart, (low, high), right)
}

/// Row label on the left, scale from lowest to highest on the right.
fn key<DB: DrawingBackend>(pen: &mut Pen<DB>, chart: &Chart, (low, high): (f64, f64), right: f64) {
    let y = EDGE + 9.0;
    pen.text((EDGE, y), &fit(&chart.y.label, TEXT, right * 0.5), Ink::Muted, TEXT, Hang::Left);
    if low >= high {
        return;
    }
    let ends = labels(&[low, high]);
    let short = |label: &str, value: f64| if label.len() > 7 { format_number(value, "") } else { label.to_owned() };
    let (least, most) = (short(&ends[0], low), short(&ends[1], high));
    let bar_right = right - text_width(&most, SMALL) - 6.0;
    let bar_left = bar_right - 80.0;
    for step in 0..16_u8 {
        let from = bar_left + f64::from(step) * 5.0;
        let level = (8.0 + 92.0 / 15.0 * f64::from(step)) as u8;
        pen.fill((from, y - 5.0), (from + 5.0, y + 5.0), Ink::Heat(level), 1.0);
    }
    pen.text((bar_left - 6.0, y), &least, Ink::Muted, SMALL, Hang::Right);
    pen.text((right, y), &most, Ink::Muted, SMALL, Hang::Right)
}
