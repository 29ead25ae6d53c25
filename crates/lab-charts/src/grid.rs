//! Small grey pictures.

use lab_api::Image;
use plotters::prelude::DrawingBackend;

use crate::Ink;
use crate::axis::within;
use crate::frame::EDGE;
use crate::pen::{Hang, Pen, SMALL, fit};

const LABEL: f64 = 18.0;
const GAP: f64 = 10.0;

struct Layout {
    columns: usize,
    /// Logical size of one pixel of a picture.
    pixel: f64,
}

fn layout(width: f64, (w, h): (u32, u32), count: usize) -> Layout {
    let inner = width - 2.0 * EDGE;
    // About 64 wide each: large enough to recognize a digit.
    let columns = within(((inner + GAP) / (64.0 + GAP)).floor(), 1.0, count.max(1) as f64) as usize;
    let room = (inner + GAP) / columns as f64 - GAP;
    let pixel = (room.min(96.0) / f64::from(w.max(h).max(1))).max(0.25);
    Layout { columns, pixel }
}

pub(crate) fn height(width: f64, size: (u32, u32), count: usize) -> f64 {
    let grid = layout(width, size, count);
    let rows = count.div_ceil(grid.columns).max(1) as f64;
    2.0 * EDGE + rows * (f64::from(size.1) * grid.pixel + LABEL + GAP) - GAP
}

/// Pictures in rows with their labels; marked ones outlined twice, and their label in the warning colour with a cross.
pub(crate) fn draw<DB: DrawingBackend>(pen: &mut Pen<DB>, (w, h): (u32, u32), images: &[Image]) {
    let width = pen.size().0;
    let grid = layout(width, (w, h), images.len());
    let (wide, high) = (f64::from(w) * grid.pixel, f64::from(h) * grid.pixel);
    for (i, image) in images.iter().enumerate() {
        let left = EDGE + 2.0 + (i % grid.columns) as f64 * (wide + GAP);
        let top = EDGE + 2.0 + (i / grid.columns) as f64 * (high + LABEL + GAP);
        for block in blocks(&image.pixels, w as usize) {
            let from = (left + block.x as f64 * grid.pixel, top + block.y as f64 * grid.pixel);
            let to = (from.0 + block.w as f64 * grid.pixel, from.1 + block.h as f64 * grid.pixel);
            pen.fill(from, to, Ink::Grey(block.level), 1.0);
        }
        let (ink, words) = if image.marked {
            pen.outline((left - 1.5, top - 1.5), (left + wide + 1.5, top + high + 1.5), Ink::Bad, 2.0);
            (Ink::Bad, format!("✕ {}", image.label))
        } else {
            pen.outline((left, top), (left + wide, top + high), Ink::Line, 1.0);
            (Ink::Muted, image.label.clone())
        };
        let at = (left + wide / 2.0, top + high + LABEL / 2.0 + 2.0);
        pen.text(at, &fit(&words, SMALL, wide + GAP - 2.0), ink, SMALL, Hang::Middle);
    }
}

/// A rectangle of one grey.
#[derive(Debug, PartialEq)]
struct Block {
    x: usize,
    y: usize,
    w: usize,
    h: usize,
    level: u8,
}

/// Covers a picture with few rectangles: greys to 32 levels, equal neighbours joined. A picture of 8 by 8 takes about
/// 40 instead of 64, and one on a plain ground far fewer.
fn blocks(pixels: &[u8], width: usize) -> Vec<Block> {
    if width == 0 {
        return Vec::new();
    }
    let levels: Vec<u8> = pixels.iter().map(|p| (f64::from(p / 8) * 255.0 / 31.0).round() as u8).collect();
    let height = levels.len() / width;
    // The darkest grey is the ground: one rectangle for all of it.
    let ground = levels.iter().copied().min().unwrap_or_default();
    let mut out = vec![Block { x: 0, y: 0, w: width, h: height, level: ground }];
    let mut covered: Vec<bool> = levels.iter().map(|level| *level == ground).collect();
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            if covered[at] {
                continue;
            }
            let same = |i: usize, covered: &[bool]| levels[i] == levels[at] && !covered[i];
            let w = (x..width).take_while(|c| same(y * width + c, &covered)).count();
            let full = |row: &usize| (x..x + w).all(|c| same(row * width + c, &covered));
            let h = (y..height).take_while(full).count();
            for row in y..y + h {
                covered[row * width + x..row * width + x + w].fill(true);
            }
            out.push(Block { x, y, w, h, level: levels[at] });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_repaint_the_picture() {
        let pixels: Vec<u8> = (0..64_u32).map(|i| if i % 8 < 4 { 0 } else { (i / 8 * 36) as u8 }).collect();
        let mut painted = vec![0_u8; 64];
        let blocks = blocks(&pixels, 8);
        for block in &blocks {
            for y in block.y..block.y + block.h {
                painted[y * 8 + block.x..y * 8 + block.x + block.w].fill(block.level);
            }
        }
        assert!(pixels.iter().zip(&painted).all(|(a, b)| a.abs_diff(*b) <= 8), "{painted:?}");
        assert!(blocks.len() <= 9, "{}", blocks.len());
    }
}
