//! A font as pictures of its letters.

use std::path::Path;

use ab_glyph::{Font, FontRef, point};
use anyhow::Context as _;
use lab_data::Glyphs;
use ttf_parser::{Face, name_id};

/// Pixels around the letter that stay empty on its longer side.
const MARGIN: f32 = 1.0;
/// Size at which a letter is measured before it is scaled to fit.
const MEASURE: f32 = 1000.0;

/// A picture: levels of grey, row by row.
pub(super) type Picture = Vec<u8>;

/// One font file.
pub(super) struct Drawn {
    /// Name of its family, without the names of weights.
    pub(super) family: String,
    /// How far it is from an upright font of normal weight and width; of a family the nearest is taken.
    pub(super) distance: u32,
    /// For each class its picture, where the font has one.
    pub(super) pictures: Vec<Option<Picture>>,
}

/// Draws every class; `None` for files that are no fonts or lack half the letters.
///
/// # Errors
/// The file cannot be read.
pub(super) fn draw(file: &Path) -> anyhow::Result<Option<Drawn>> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (Ok(face), Ok(font)) = (Face::parse(&bytes, 0), FontRef::try_from_slice(&bytes)) else { return Ok(None) };
    let has = |c: char| face.glyph_index(c).is_some_and(|glyph| glyph.0 != 0);
    if face.is_variable() && face.weight().to_number() != 400
        || Glyphs::CLASSES.chars().filter(|c| has(*c)).count() < 36
    {
        return Ok(None);
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let slant = u32::from(face.is_italic() || face.is_oblique() || name(&face, name_id::SUBFAMILY).contains("Ital"));
    let width = u32::from(face.width().to_number().abs_diff(5));
    let distance = u32::from(face.weight().to_number().abs_diff(400)) + 1000 * slant + 200 * width;
    let pictures = Glyphs::CLASSES.chars().map(|c| if has(c) { picture(&font, c) } else { None }).collect();
    let full = [name_id::TYPOGRAPHIC_FAMILY, name_id::FAMILY].map(|id| name(&face, id));
    let full = full.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| stem.replace(['-', '_'], " "));
    Ok(Some(Drawn { family: without_weight(&full), distance, pictures }))
}

/// A name of the font in English, where it has one.
fn name(face: &Face, id: u16) -> String {
    let names = face.names().into_iter().filter(|name| name.name_id == id);
    let mut names: Vec<(bool, String)> =
        names.filter_map(|name| Some((name.language_id != 0x409, name.to_string()?))).collect();
    names.sort();
    names.into_iter().next().map(|(_, name)| name.trim().to_owned()).unwrap_or_default()
}

/// Weights and slants are styles of a family, though some fonts name them as families.
fn without_weight(family: &str) -> String {
    const STYLES: [&str; 18] = [
        "thin",
        "hairline",
        "extralight",
        "ultralight",
        "light",
        "book",
        "regular",
        "medium",
        "semibold",
        "demibold",
        "demi",
        "bold",
        "extrabold",
        "ultrabold",
        "heavy",
        "black",
        "italic",
        "oblique",
    ];
    let words: Vec<&str> = family.split_whitespace().collect();
    let kept = words.iter().rposition(|word| !STYLES.contains(&word.to_ascii_lowercase().as_str()));
    kept.map_or_else(|| family.to_owned(), |last| words[..=last].join(" "))
}

/// The letter, scaled so that its longer side fills the picture but for the margin, and centred; `None` where the font
/// draws nothing.
fn picture(font: &FontRef, c: char) -> Option<Picture> {
    let id = font.glyph_id(c);
    let box_at = |scale: f32, x: f32, y: f32| font.outline_glyph(id.with_scale_and_position(scale, point(x, y)));
    let measured = box_at(MEASURE, 0.0, 0.0)?.px_bounds();
    let side = Glyphs::SIDE as f32;
    let longer = measured.width().max(measured.height());
    if !(1.0..=50.0 * MEASURE).contains(&longer) {
        return None;
    }
    let shrink = (side - 2.0 * MARGIN) / longer;
    let offset = |low: f32, high: f32| side / 2.0 - shrink * (low + high) / 2.0;
    let (x, y) = (offset(measured.min.x, measured.max.x), offset(measured.min.y, measured.max.y));
    let outline = box_at(MEASURE * shrink, x, y)?;
    let corner = outline.px_bounds().min;
    let mut picture = vec![0; Glyphs::PIXELS];
    outline.draw(|dx, dy, ink| {
        let (x, y) = (corner.x + dx as f32, corner.y + dy as f32);
        if x >= 0.0 && y >= 0.0 && x < side && y < side {
            let levels = f32::from(Glyphs::LEVELS - 1);
            picture[y as usize * Glyphs::SIDE + x as usize] = (ink.clamp(0.0, 1.0) * levels).round() as u8;
        }
    });
    picture.iter().any(|level| *level > Glyphs::LEVELS / 2).then_some(picture)
}

#[cfg(test)]
mod tests {
    use super::without_weight;

    #[test]
    fn weights_are_no_families() {
        assert_eq!(without_weight("Lato Semibold Italic"), "Lato");
        assert_eq!(without_weight("Black Ops One"), "Black Ops One");
        assert_eq!(without_weight("Book"), "Book");
    }
}
