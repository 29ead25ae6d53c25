//! From a drawing, or from a font, to the picture that the networks see.

use lab_api::{BadParam, LabError, drawing};
use lab_kit::data::{Glyphs, Split};

use super::letter::Letter;

/// Side of the paper, in pixels.
const PAPER: usize = 28;
/// Pixels that stay empty on both sides of the letter's longer side, as in the data set.
const MARGIN: f32 = 1.0;

/// What the networks see.
pub(super) struct Picture {
    /// Ink of each pixel, 0 to 1: `[16 · 16]`.
    pub(super) pixels: Vec<f32>,
    /// What is written under it.
    pub(super) label: String,
}

/// The drawing, or `None` where it is blank.
///
/// # Errors
/// [`LabError::BadParam`] where it is none; validation has refused it before.
pub(super) fn of_drawing(text: &str) -> Result<Option<Picture>, LabError> {
    let bad = |why: String| LabError::BadParam(BadParam { name: "drawing".into(), why });
    let levels = drawing::levels(text, PAPER as u32, PAPER as u32).map_err(bad)?;
    let ink: Vec<f32> = levels.iter().map(|level| f32::from(*level) / f32::from(drawing::LEVELS - 1)).collect();
    Ok(fitted(&ink, PAPER).map(|pixels| Picture { pixels, label: "Your drawing".into() }))
}

/// The letter of the `number`th font family (from 1) that no training saw and that has it; beyond the last, it starts again.
///
/// # Errors
/// [`LabError::Asset`] where no family has it.
pub(super) fn of_font(glyphs: &Glyphs, letter: Letter, number: usize) -> Result<(Picture, String), LabError> {
    let mut found = glyphs.indices(Split::Test);
    found.retain(|i| glyphs.labels[*i] == letter.class());
    let Some(i) = found.get(number.saturating_sub(1) % found.len().max(1)) else {
        let why = "no family of its test part has this letter".to_owned();
        return Err(LabError::Asset { name: Glyphs::ASSET.into(), why });
    };
    let character = Glyphs::character(letter.class()).unwrap_or('?');
    let family = glyphs.families().get(glyphs.family_of(*i)).map_or("a font", |family| family.name.as_str());
    let picture = Picture { pixels: glyphs.image(*i).to_vec(), label: character.to_string() };
    Ok((picture, format!("{character} of the font {family}")))
}

// ANCHOR: fitted
/// Cuts a square picture of `side` pixels to its ink and scales it so that the longer side fills the networks' picture but
/// for the margin, centred, each pixel the average ink under it, in the levels of grey that the data set has: what was done
/// to the letters of the fonts. `None` where there is no ink.
fn fitted(ink: &[f32], side: usize) -> Option<Vec<f32>> {
    let rows = extent(&mut (0..side).map(|y| ink[y * side..(y + 1) * side].iter().any(|v| *v > 0.0)))?;
    let columns = extent(&mut (0..side).map(|x| (0..side).any(|y| ink[y * side + x] > 0.0)))?;
    let longer = (rows.1 - rows.0).max(columns.1 - columns.0);
    // Pixels of the paper under one of the picture.
    let step = longer / (Glyphs::SIDE as f32 - 2.0 * MARGIN);
    let start = |(low, high): (f32, f32)| (low + high) / 2.0 - step * Glyphs::SIDE as f32 / 2.0;
    let (left, top) = (start(columns), start(rows));
    let levels = f32::from(Glyphs::LEVELS - 1);
    let pixel = |i: usize| {
        let (x, y) = (left + step * (i % Glyphs::SIDE) as f32, top + step * (i / Glyphs::SIDE) as f32);
        let mut sum = 0.0;
        for (row, height) in covered(y, y + step, side) {
            for (column, width) in covered(x, x + step, side) {
                sum += height * width * ink[row * side + column];
            }
        }
        (levels * sum / (step * step)).round() / levels
    };
    Some((0..Glyphs::PIXELS).map(pixel).collect())
}
// ANCHOR_END: fitted

/// Where the first row (or column) with ink begins, and where the last one ends.
fn extent(inked: &mut dyn Iterator<Item = bool>) -> Option<(f32, f32)> {
    let places: Vec<usize> = inked.enumerate().filter_map(|(i, ink)| ink.then_some(i)).collect();
    Some((*places.first()? as f32, *places.last()? as f32 + 1.0))
}

/// Pixels of a line between two places, and how much of each lies between them.
fn covered(from: f32, to: f32, side: usize) -> impl Iterator<Item = (usize, f32)> {
    let first = from.max(0.0) as usize;
    let last = (to.max(0.0).ceil() as usize).min(side);
    (first..last.max(first)).map(move |i| (i, to.min(i as f32 + 1.0) - from.max(i as f32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(inked: impl Fn(usize, usize) -> bool) -> Vec<f32> {
        (0..PAPER * PAPER).map(|i| f32::from(u8::from(inked(i % PAPER, i / PAPER)))).collect()
    }

    #[test]
    fn a_drawing_is_centred_and_fills_the_picture_wherever_and_however_large_it_is() {
        let small = paper(|x, y| (3..10).contains(&x) && (15..22).contains(&y));
        let large = paper(|x, y| (7..28).contains(&x) && y < 21);
        for ink in [small, large] {
            let picture = fitted(&ink, PAPER).expect("ink");
            for (i, pixel) in picture.iter().enumerate() {
                let inside = |p: usize| (1..15).contains(&p);
                let expected = f32::from(u8::from(inside(i % 16) && inside(i / 16)));
                assert!((pixel - expected).abs() < 1e-6, "pixel {i} is {pixel}");
            }
        }
    }

    #[test]
    fn proportions_stay_and_ink_is_averaged() {
        // 4 wide, 28 high: a step of two pixels, two columns of ink in the middle.
        let tall = fitted(&paper(|x, _| x < 4), PAPER).expect("ink");
        let row = &tall[16 * 8..16 * 9];
        assert_eq!(row.iter().filter(|pixel| **pixel > 0.0).count(), 2);
        assert_eq!((row[7], row[8]), (1.0, 1.0));
        // Every other line: half the ink.
        let striped = fitted(&paper(|_, y| y % 2 == 0), PAPER).expect("ink");
        assert!(striped[16 * 8 + 8] > 0.3 && striped[16 * 8 + 8] < 0.7);
    }

    #[test]
    fn blank_paper_is_no_drawing() {
        assert!(fitted(&paper(|_, _| false), PAPER).is_none());
        assert!(of_drawing("").expect("valid").is_none());
        assert!(of_drawing("00f").expect("valid").is_some());
        assert!(of_drawing("x").is_err());
    }
}
