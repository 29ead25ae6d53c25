//! Drawing in logical pixels on a plotters backend.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

use crate::{ChartError, Ink, Palette};

/// A point in logical pixels.
pub(crate) type Point = (f64, f64);

/// Size of ordinary words, in logical pixels.
pub(crate) const TEXT: f64 = 12.0;
/// Size of tick labels.
pub(crate) const SMALL: f64 = 11.0;

/// Where a text hangs on its point.
#[derive(Clone, Copy)]
pub(crate) enum Hang {
    Left,
    Middle,
    Right,
}

/// Draws on a backend. Backends count whole pixels: `scale` says how many of them make a logical one.
pub(crate) struct Pen<'a, DB: DrawingBackend> {
    backend: &'a mut DB,
    palette: &'a Palette,
    font: &'a str,
    scale: f64,
    /// The SVG backend divides font sizes by 1.24; this undoes it.
    font_factor: f64,
    /// The first thing that went wrong. Kept here instead of being handed up from every stroke: that is half of the code.
    failed: Option<ChartError>,
}

impl<'a, DB: DrawingBackend> Pen<'a, DB> {
    pub(crate) fn new(backend: &'a mut DB, palette: &'a Palette, font: &'a str, scale: f64, font_factor: f64) -> Self {
        Self { backend, palette, font, scale, font_factor, failed: None }
    }

    /// Width and height in logical pixels.
    pub(crate) fn size(&self) -> (f64, f64) {
        let (width, height) = self.backend.get_size();
        (f64::from(width) / self.scale, f64::from(height) / self.scale)
    }

    fn note<E: std::fmt::Display>(&mut self, drawn: Result<(), E>) {
        if let Err(error) = drawn {
            self.fail(ChartError::Backend(error.to_string()));
        }
    }

    /// Notes that there is nothing good to draw.
    pub(crate) fn fail(&mut self, error: ChartError) {
        self.failed.get_or_insert(error);
    }

    /// Notes that there is no room for the chart.
    pub(crate) fn too_small(&mut self) {
        let (width, height) = self.size();
        self.fail(ChartError::TooSmall { width: width as u32, height: height as u32 });
    }

    /// Finishes the picture.
    pub(crate) fn finish(&mut self) -> Result<(), ChartError> {
        let drawn = self.backend.present();
        self.note(drawn);
        self.failed.take().map_or(Ok(()), Err)
    }

    fn at(&self, (x, y): Point) -> (i32, i32) {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }

    fn style(&self, ink: Ink, alpha: f64, width: f64, filled: bool) -> ShapeStyle {
        let (r, g, b) = self.palette.colour(ink);
        let stroke_width = (width * self.scale).round().max(1.0) as u32;
        ShapeStyle { color: RGBColor(r, g, b).mix(alpha), filled, stroke_width }
    }

    /// A line through points.
    pub(crate) fn path(&mut self, points: &[Point], ink: Ink, width: f64) {
        let style = self.style(ink, 1.0, width, false);
        let points: Vec<_> = points.iter().map(|&point| self.at(point)).collect();
        let drawn = match points.as_slice() {
            [] => Ok(()),
            // A backend sharpens single level lines.
            &[from, to] => self.backend.draw_line(from, to, &style),
            _ => self.backend.draw_path(points, &style),
        };
        self.note(drawn);
    }

    /// A line through points, in dashes of the given lengths (drawn, left out).
    pub(crate) fn dashed(&mut self, points: &[Point], ink: Ink, width: f64, dash: (f64, f64)) {
        for piece in dashes(points, dash) {
            self.path(&piece, ink, width);
        }
    }

    /// A filled rectangle.
    pub(crate) fn fill(&mut self, from: Point, to: Point, ink: Ink, alpha: f64) {
        let low = (from.0.min(to.0), from.1.min(to.1));
        let high = (from.0.max(to.0), from.1.max(to.1));
        let style = self.style(ink, alpha, 1.0, true);
        let drawn = self.backend.draw_rect(self.at(low), self.at(high), &style, true);
        self.note(drawn);
    }

    /// The outline of a rectangle. Drawn as a path: the SVG backend gives rectangles no line width.
    pub(crate) fn outline(&mut self, from: Point, to: Point, ink: Ink, width: f64) {
        self.path(&[from, (to.0, from.1), to, (from.0, to.1), from, (to.0, from.1)], ink, width);
    }

    /// A filled polygon.
    pub(crate) fn polygon(&mut self, points: &[Point], ink: Ink, alpha: f64) {
        let style = self.style(ink, alpha, 1.0, true);
        let points: Vec<_> = points.iter().map(|&point| self.at(point)).collect();
        let drawn = self.backend.fill_polygon(points, &style);
        self.note(drawn);
    }

    /// A disc.
    pub(crate) fn disc(&mut self, centre: Point, radius: f64, ink: Ink) {
        let style = self.style(ink, 1.0, 1.0, true);
        let radius = (radius * self.scale).round() as u32;
        let drawn = self.backend.draw_circle(self.at(centre), radius, &style, true);
        self.note(drawn);
    }

    /// Words, centred vertically on their point.
    pub(crate) fn text(&mut self, point: Point, words: &str, ink: Ink, size: f64, hang: Hang) {
        let horizontal = match hang {
            Hang::Left => HPos::Left,
            Hang::Middle => HPos::Center,
            Hang::Right => HPos::Right,
        };
        let (r, g, b) = self.palette.colour(ink);
        let colour = RGBColor(r, g, b);
        // Named outright: from a string plotters would guess the family by case, with tables for every script.
        let family = FontFamily::Name(self.font);
        let font = FontDesc::new(family, size * self.scale * self.font_factor, FontStyle::Normal);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(horizontal, VPos::Center));
        let drawn = self.backend.draw_text(words, &style, self.at(point));
        self.note(drawn);
    }
}

/// An estimate of the width of words; backends without fonts cannot measure. Generous, so that nothing collides or leaves
/// its box: no Latin glyph of DejaVu Sans, the widest font that a system is likely to show pages in, is wider.
pub(crate) fn text_width(words: &str, size: f64) -> f64 {
    let share = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '/' | '\\' | ' ' | '\u{202f}' => 0.34,
        'r' | 't' | 'f' | '-' | '!' | '(' | ')' | '[' | ']' => 0.42,
        'm' | 'M' | 'W' | '@' | '%' | '…' | '—' | '\u{400}'..='\u{1fff}' => 1.0,
        'w' | '#' | '&' | '+' | '<' | '=' | '>' | '^' | '~' | '⏎' | '⇥' => 0.85,
        'A'..='Z' => 0.79,
        // Ideographs and pictures.
        '\u{2e80}'.. => 1.3,
        _ => 0.64,
    };
    words.chars().map(share).sum::<f64>() * size
}

/// The width of the widest of these words.
pub(crate) fn widest(words: &[String], size: f64) -> f64 {
    words.iter().map(|words| text_width(words, size)).fold(0.0, f64::max)
}

/// Words cut to fit, with an ellipsis in their middle: names tell themselves apart by how they end, axes name their unit there.
pub(crate) fn fit(words: &str, size: f64, room: f64) -> String {
    let mut shown = words.to_owned();
    let mut kept: Vec<char> = words.chars().collect();
    // The room may be made for these very words: the last bits of two sums are no reason to cut them.
    while text_width(&shown, size) > room + 1e-6 && !kept.is_empty() {
        kept.remove(kept.len() / 2);
        let (head, tail) = kept.split_at(kept.len().div_ceil(2));
        shown = head.iter().chain(&['…']).chain(tail).collect();
    }
    shown
}

fn dashes(points: &[Point], (on, off): (f64, f64)) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length <= left {
                left -= length;
                if drawing {
                    piece.push(to);
                }
                break;
            }
            let share = left / length;
            from = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            if drawing {
                piece.push(from);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece.push(from);
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_their_share_and_stay_on_the_line() {
        let pieces = dashes(&[(0.0, 0.0), (50.0, 0.0), (50.0, 50.0)], (6.0, 4.0));
        let length =
            |piece: &Vec<Point>| piece.windows(2).map(|p| (p[1].0 - p[0].0).hypot(p[1].1 - p[0].1)).sum::<f64>();
        assert_eq!(pieces.len(), 10);
        assert!(pieces.iter().all(|piece| (length(piece) - 6.0).abs() < 1e-9));
    }

    #[test]
    fn no_glyph_is_wider_than_its_estimate() {
        // Hundredths of the size, of DejaVu Sans, as Chromium measures them.
        let widths = [
            (103, "\u{fffd}"),
            (100, "@…—"),
            (92, "ш"),
            (99, "W"),
            (97, "m"),
            (95, "%"),
            (86, "M"),
            (84, "#+<=>^~⏎⇥"),
            (82, "w"),
            (79, "OQ"),
            (78, "&"),
            (77, "GD"),
            (75, "HNU"),
            (70, "CRBXZAVK"),
            (64, "0123456789${}SbdghnpquEeaoTYPvxykFL␣"),
            (55, "c?zs*_`\""),
            (41, "r!t()[]-f"),
            (34, ":;/\\|,. IJijl'"),
        ];
        for (width, glyphs) in widths {
            for glyph in glyphs.chars() {
                let estimate = text_width(&glyph.to_string(), 100.0);
                assert!(estimate >= f64::from(width), "{glyph} is {width} wide and taken for {estimate}");
            }
        }
    }

    #[test]
    fn words_are_cut_to_their_room() {
        assert_eq!(fit("short", TEXT, 100.0), "short");
        let cut = fit("a very long name of a layer", TEXT, 100.0);
        assert!(cut.starts_with("a very") && cut.ends_with("layer") && text_width(&cut, TEXT) <= 100.0, "{cut}");
        assert_eq!(fit("name", TEXT, 1.0), "…");
    }
}
