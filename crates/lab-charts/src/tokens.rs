//! Text as a model sees it: tokens in boxes, in reading order.

use lab_api::Token;
use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::frame::EDGE;
use crate::pen::{Hang, Pen, TEXT, text_width};

const LINE: f64 = 26.0;

/// Left end, row and width of each token. Spaces and line ends are shown, or they would be lost.
fn places(width: f64, tokens: &[Token]) -> Vec<(f64, usize, f64, String)> {
    let (mut x, mut row) = (EDGE, 0);
    let mut out = Vec::new();
    for token in tokens {
        let breaks = token.text.contains('\n');
        let shown = token.text.replace('\n', "⏎").replace('\t', "⇥");
        // A leading space is drawn as an open box, as tokenizers' papers do.
        let shown = match shown.strip_prefix(' ') {
            Some(rest) => format!("␣{rest}"),
            None => shown,
        };
        let wide = text_width(&shown, TEXT) + 8.0;
        if x > EDGE && x + wide > width - EDGE {
            (x, row) = (EDGE, row + 1);
        }
        out.push((x, row, wide, shown));
        x += wide + 2.0;
        if breaks {
            (x, row) = (EDGE, row + 1);
        }
    }
    out
}

pub(crate) fn height(width: f64, tokens: &[Token]) -> f64 {
    let rows = places(width, tokens).last().map_or(1, |place| place.1 + 1);
    2.0 * EDGE + rows as f64 * LINE
}

/// Coloured tokens are washed and underlined in the manner of their colour: once, twice, dashed, dotted.
pub(crate) fn draw<DB: DrawingBackend>(pen: &mut Pen<DB>, tokens: &[Token]) {
    let width = pen.size().0;
    for ((x, row, wide, shown), token) in places(width, tokens).into_iter().zip(tokens) {
        let top = EDGE + row as f64 * LINE;
        let (from, to) = ((x, top + 2.0), (x + wide, top + LINE - 4.0));
        if token.colour == 0 {
            pen.fill(from, to, Ink::Line, 0.4);
        } else {
            let ink = Ink::Series(token.colour - 1);
            pen.fill(from, to, ink, 0.25);
            let below = |dy: f64| [(x, top + LINE - 4.0 + dy), (x + wide, top + LINE - 4.0 + dy)];
            match (token.colour - 1) % 6 {
                0 => pen.path(&below(0.0), ink, 1.5),
                1 => pen.path(&below(0.0), ink, 3.0),
                2 => pen.dashed(&below(0.0), ink, 1.5, (4.0, 3.0)),
                3 => pen.dashed(&below(0.0), ink, 2.0, (1.5, 2.0)),
                4 => pen.dashed(&below(0.0), ink, 3.0, (6.0, 3.0)),
                _ => {
                    pen.path(&below(-1.5), ink, 1.0);
                    pen.path(&below(1.0), ink, 1.0);
                }
            }
        }
        pen.text((x + 4.0, top + LINE / 2.0 - 1.0), &shown, Ink::Text, TEXT, Hang::Left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_glyphs_get_wide_boxes_and_neighbours_stay_apart() {
        let tokens =
            ["#####", "ooooo", "iiiii", " @@@", "%%\n", "x"].map(|text| Token { text: text.into(), colour: 0 });
        let places = places(400.0, &tokens);
        let wide: Vec<f64> = places.iter().map(|place| place.2).collect();
        // Five signs of 0.84 times the size.
        assert!(wide[0] >= 5.0 * 0.84 * TEXT && wide[0] > wide[1] && wide[1] > wide[2], "{wide:?}");
        for (place, next) in places.iter().zip(&places[1..]) {
            assert!(next.1 > place.1 || next.0 >= place.0 + place.2, "{places:?}");
        }
        assert_eq!(places[5].1, 1, "a line end begins a row");
    }
}
