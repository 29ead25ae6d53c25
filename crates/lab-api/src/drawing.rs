//! A small grey picture as text that fits into a link: one hexadecimal digit a pixel, 0 for no ink to f for full ink, row by
//! row. What is missing at the end is blank, so that an empty text is an empty picture.

/// Levels of ink, none and full included.
pub const LEVELS: u8 = 16;

/// Reads a picture: `width * height` levels of ink, 0 to 15, row by row.
///
/// # Errors
/// A sentence that names the offending part and what is allowed.
pub fn levels(text: &str, width: u32, height: u32) -> Result<Vec<u8>, String> {
    let pixels = width as usize * height as usize;
    let mut levels = Vec::with_capacity(pixels);
    for digit in text.chars() {
        match digit.to_digit(16) {
            Some(level) if levels.len() < pixels => levels.push(level as u8),
            Some(_) => return Err(format!("a drawing of {width} by {height} has at most {pixels} digits")),
            None => return Err(format!("“{digit}” is no level of ink; a drawing is made of the digits 0 to f")),
        }
    }
    levels.resize(pixels, 0);
    Ok(levels)
}

/// Writes a picture, as short as can be.
#[must_use]
pub fn text(levels: &[u8]) -> String {
    let ink = levels.iter().rposition(|level| *level > 0).map_or(0, |last| last + 1);
    levels[..ink].iter().filter_map(|level| char::from_digit(u32::from((*level).min(LEVELS - 1)), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_survives_a_link() {
        let picture = [0, 3, 15, 0, 0, 9, 0, 0, 0];
        assert_eq!(text(&picture), "03f009");
        assert_eq!(levels("03f009", 3, 3), Ok(picture.to_vec()));
        assert_eq!((text(&[0; 9]).as_str(), levels("", 3, 3)), ("", Ok(vec![0; 9])));
    }

    #[test]
    fn what_is_no_drawing_is_named() {
        assert!(levels("0123456789", 3, 3).expect_err("long").contains("at most 9 digits"));
        assert!(levels("01g", 3, 3).expect_err("letter").contains("“g”"));
    }
}
