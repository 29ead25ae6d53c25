//! What a pen leaves on a small grey picture.

use lab_api::drawing::LEVELS;

/// Half the width of a stroke, in pixels of the picture: about what the letters of fonts have.
const RADIUS: f64 = 1.2;

/// Draws a stroke between two points (in pixels, from the upper left corner) over `levels`, row by row `width` wide. Ink adds
/// nothing to ink: a pixel keeps the darker of both.
pub(crate) fn stroke(levels: &mut [u8], width: usize, from: [f64; 2], to: [f64; 2]) {
    let along = [to[0] - from[0], to[1] - from[1]];
    let length = (along[0] * along[0] + along[1] * along[1]).max(1e-9);
    for (i, level) in levels.iter_mut().enumerate() {
        let (x, y) = ((i % width) as f64 + 0.5 - from[0], (i / width) as f64 + 0.5 - from[1]);
        let share = ((x * along[0] + y * along[1]) / length).clamp(0.0, 1.0);
        let (dx, dy) = (x - share * along[0], y - share * along[1]);
        // A pixel at the edge is inked in part.
        let ink = (RADIUS + 0.5 - (dx * dx + dy * dy).sqrt()).clamp(0.0, 1.0);
        *level = (*level).max((ink * f64::from(LEVELS - 1)) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stroke_joins_its_ends_and_leaves_the_rest_alone() {
        let mut levels = [0; 100];
        stroke(&mut levels, 10, [2.5, 5.5], [7.5, 5.5]);
        assert!((2..=7).all(|x| levels[50 + x] == 15));
        assert!((0..10).all(|x| levels[10 + x] == 0 && levels[90 + x] == 0));
        // Its edge is grey, and it ends roundly.
        assert!(levels[35] == 0 && (1..15).contains(&levels[45]));
        assert!(levels[59] == 0 && levels[50] < 15);
    }

    #[test]
    fn a_touch_leaves_a_dot_and_ink_stays() {
        let mut levels = [3; 25];
        stroke(&mut levels, 5, [2.5, 2.5], [2.5, 2.5]);
        assert_eq!((levels[12], levels[0]), (15, 3));
    }
}
