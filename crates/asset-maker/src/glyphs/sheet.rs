//! A picture of all families, to be looked at before the data set is trusted.

use std::path::Path;

use anyhow::Context as _;
use lab_data::Glyphs;

use super::select::Candidate;

/// Pixels of an image and the gap beside it.
const CELL: usize = Glyphs::SIDE + 2;

/// Writes a PNG with one family a line, in the order of names; a missing letter is a grey square.
pub(super) fn write(file: &Path, candidates: &[Candidate]) -> anyhow::Result<()> {
    let (width, height) = (Glyphs::CLASSES.len() * CELL, candidates.len() * CELL);
    let mut sheet = vec![255_u8; width * height];
    for (row, candidate) in candidates.iter().enumerate() {
        for (column, picture) in candidate.pictures.iter().enumerate() {
            for i in 0..Glyphs::PIXELS {
                let (x, y) = (column * CELL + i % Glyphs::SIDE, row * CELL + i / Glyphs::SIDE);
                let level = picture.as_ref().map_or(Glyphs::LEVELS / 4, |picture| picture[i]);
                sheet[y * width + x] = 255 - level * (255 / (Glyphs::LEVELS - 1));
            }
        }
    }
    let out = std::fs::File::create(file).with_context(|| format!("{} cannot be written", file.display()))?;
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(out), u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header()?.write_image_data(&sheet)?;
    println!("Drew {} families into {}", candidates.len(), file.display());
    Ok(())
}
