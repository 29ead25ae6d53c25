//! What a loader does to small grey pictures: unpacking, shifts, affine maps, elastic fields. Each is a function of its inputs alone.

/// Random numbers of one picture (SplitMix64; Steele et al., 2014): a function of seed, epoch and index, so that it does not matter
/// who draws them, or when.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    // ANCHOR: dice
    /// The numbers of picture `index` in an epoch.
    #[must_use]
    pub fn new(seed: u64, epoch: u64, index: u64) -> Self {
        let mut dice = Self(seed);
        for part in [epoch, index] {
            dice.0 = dice.word() ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03);
        }
        dice
    }
    // ANCHOR_END: dice

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `-1..1`.
    pub fn signed(&mut self) -> f32 {
        (self.word() >> 40) as f32 * (2.0 / (1 << 24) as f32) - 1.0
    }

    /// Evenly from `0..1`, never 0.
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Evenly from `0..below`; 0 where there is no choice.
    pub fn below(&mut self, below: usize) -> usize {
        // The bias is below/2^64.
        ((u128::from(self.word()) * below as u128) >> 64) as usize
    }
}

/// Two pixels a byte, the first in the high half, as levels of 15: `0xF0` gives 1 and 0.
pub fn unpack(packed: &[u8], out: &mut [f32]) {
    for (two, byte) in out.chunks_exact_mut(2).zip(packed) {
        two[0] = f32::from(byte >> 4) / 15.0;
        two[1] = f32::from(byte & 15) / 15.0;
    }
}

/// The reverse of [`unpack`], to the nearest level.
#[must_use]
pub fn pack(pixels: &[f32]) -> Vec<u8> {
    let level = |x: f32| (x.clamp(0.0, 1.0) * 15.0).round() as u8;
    pixels.chunks_exact(2).map(|two| level(two[0]) << 4 | level(two[1])).collect()
}

/// Moves a picture `[side, side]` by whole pixels, down and to the right; what comes in is blank.
pub fn shift(from: &[f32], side: usize, (down, right): (isize, isize), out: &mut [f32]) {
    for (y, row) in out.chunks_exact_mut(side).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = at(from, side, y as isize - down, x as isize - right);
        }
    }
}

/// A pixel; blank outside.
fn at(from: &[f32], side: usize, y: isize, x: isize) -> f32 {
    let inside = |i: isize| (0..side as isize).contains(&i);
    if inside(y) && inside(x) { from[y as usize * side + x as usize] } else { 0.0 }
}

/// A picture between its pixels: bilinear, blank outside.
fn between(from: &[f32], side: usize, y: f32, x: f32) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    let (i, j) = (top as isize, left as isize);
    let last = side as isize - 1;
    if (0..last).contains(&i) && (0..last).contains(&j) {
        let place = i as usize * side + j as usize;
        let (above, below) = (&from[place..place + 2], &from[place + side..place + side + 2]);
        let upper = above[0] + right * (above[1] - above[0]);
        let lower = below[0] + right * (below[1] - below[0]);
        return upper + down * (lower - upper);
    }
    let pixel = |dy, dx| at(from, side, i + dy, j + dx);
    let upper = pixel(0, 0) + right * (pixel(0, 1) - pixel(0, 0));
    let lower = pixel(1, 0) + right * (pixel(1, 1) - pixel(1, 0));
    upper + down * (lower - upper)
}

/// Where a pixel of the result is read: `[y, x]` from the middle is `[a·y + b·x + c, d·y + e·x + f]`.
pub type Affine = [f32; 6];

/// Draws a map near the identity: scales and shears of 0.15 at most, moves of 1.5 pixels at most.
pub fn draw_affine(dice: &mut Dice) -> Affine {
    let mut near = |middle: f32, by: f32| middle + by * dice.signed();
    [near(1.0, 0.15), near(0.0, 0.15), near(0.0, 1.5), near(0.0, 0.15), near(1.0, 0.15), near(0.0, 1.5)]
}

/// A picture `[side, side]` under an affine map, bilinear.
pub fn affine(from: &[f32], side: usize, map: &Affine, out: &mut [f32]) {
    let middle = (side as f32 - 1.0) / 2.0;
    let [a, b, c, d, e, f] = *map;
    for (i, row) in out.chunks_exact_mut(side).enumerate() {
        let y = i as f32 - middle;
        for (j, pixel) in row.iter_mut().enumerate() {
            let x = j as f32 - middle;
            *pixel = between(from, side, a * y + b * x + c + middle, d * y + e * x + f + middle);
        }
    }
}

/// A Gaussian of two pixels, cut at four: its middle, and one side of it.
const BELL: [f32; 5] = [0.2042, 0.1802, 0.1238, 0.0663, 0.0276];
/// How far an elastic field moves a pixel, times the blurred field: a pixel, as the root of the mean square.
const STRETCH: f32 = 12.0;

// ANCHOR: blur
/// Blurs a field along its rows, then along its columns; blank outside.
pub fn blur(field: &mut [f32], side: usize) {
    let mut rows = vec![0.0; field.len()];
    for (from, to) in field.chunks_exact(side).zip(rows.chunks_exact_mut(side)) {
        for (x, to) in to.iter_mut().enumerate() {
            *to = BELL[0] * from[x];
            for (k, weight) in BELL.iter().enumerate().skip(1) {
                let right = from.get(x + k).copied().unwrap_or(0.0);
                let left = if x >= k { from[x - k] } else { 0.0 };
                *to += weight * (left + right);
            }
        }
    }
    field.fill(0.0);
    for (y, from) in rows.chunks_exact(side).enumerate() {
        for (k, weight) in BELL.iter().enumerate() {
            for to in [(y + k < side).then_some(y + k), (k > 0 && y >= k).then(|| y - k)].into_iter().flatten() {
                let to = &mut field[to * side..(to + 1) * side];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
            }
        }
    }
}
// ANCHOR_END: blur

/// Draws a smooth field of moves, `[side, side]`: down, and to the right (Simard et al., 2003).
#[must_use]
pub fn draw_field(dice: &mut Dice, side: usize) -> [Vec<f32>; 2] {
    std::array::from_fn(|_| {
        let mut field: Vec<f32> = (0..side * side).map(|_| dice.signed()).collect();
        blur(&mut field, side);
        field.iter_mut().for_each(|move_by| *move_by *= STRETCH);
        field
    })
}

/// A picture `[side, side]`, each pixel read where the field says.
pub fn elastic(from: &[f32], side: usize, [down, right]: &[Vec<f32>; 2], out: &mut [f32]) {
    for (place, pixel) in out.iter_mut().enumerate() {
        let (y, x) = ((place / side) as f32, (place % side) as f32);
        *pixel = between(from, side, y + down[place], x + right[place]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 16;

    fn picture(seed: u64) -> Vec<f32> {
        let mut dice = Dice::new(seed, 0, 0);
        (0..SIDE * SIDE).map(|_| dice.unit() as f32).collect()
    }

    #[test]
    fn levels_are_packed_and_unpacked_exactly() {
        let mut two = [0.0; 2];
        unpack(&[0xF0], &mut two);
        assert_eq!(two, [1.0, 0.0]);
        let all: Vec<u8> = (0..=255).collect();
        let mut pixels = vec![0.0; 512];
        unpack(&all, &mut pixels);
        assert_eq!(pack(&pixels), all);
    }

    #[test]
    fn what_moves_nothing_is_the_identity_and_a_whole_side_is_blank() {
        let from = picture(1);
        let mut out = vec![9.0; from.len()];
        shift(&from, SIDE, (0, 0), &mut out);
        assert_eq!(out, from);
        affine(&from, SIDE, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &mut out);
        assert_eq!(out, from);
        elastic(&from, SIDE, &[vec![0.0; from.len()], vec![0.0; from.len()]], &mut out);
        assert_eq!(out, from);
        for by in [(16, 0), (0, -16)] {
            shift(&from, SIDE, by, &mut out);
            assert!(out.iter().all(|pixel| *pixel == 0.0));
        }
        shift(&from, SIDE, (2, -1), &mut out);
        assert_eq!((out[2 * SIDE], out[0]), (from[1], 0.0));
        // An affine map that only moves is a shift the other way.
        let mut moved = out.clone();
        affine(&from, SIDE, &[1.0, 0.0, -2.0, 0.0, 1.0, 1.0], &mut moved);
        assert_eq!(moved, out);
    }

    #[test]
    fn a_blur_in_two_passes_is_the_one_over_the_square() {
        let mut field = picture(2);
        let from = field.clone();
        blur(&mut field, SIDE);
        for y in 0..SIDE as isize {
            for x in 0..SIDE as isize {
                let mut sum = 0.0_f64;
                for dy in -4..=4_isize {
                    for dx in -4..=4_isize {
                        let weight = BELL[dy.unsigned_abs()] * BELL[dx.unsigned_abs()];
                        sum += f64::from(weight * at(&from, SIDE, y + dy, x + dx));
                    }
                }
                let found = f64::from(field[y as usize * SIDE + x as usize]);
                assert!((found - sum).abs() < 1e-5, "{found} {sum}");
            }
        }
    }

    #[test]
    fn the_quick_way_inside_a_picture_agrees_with_the_careful_one() {
        let from = picture(3);
        let mut dice = Dice::new(7, 7, 7);
        for _ in 0..2000 {
            let (y, x) = (20.0 * dice.unit() as f32 - 2.0, 20.0 * dice.unit() as f32 - 2.0);
            let mut sum = 0.0;
            for i in -3..20_isize {
                for j in -3..20_isize {
                    let near = |a: f32, b: isize| (1.0 - (a - b as f32).abs()).max(0.0);
                    sum += near(y, i) * near(x, j) * at(&from, SIDE, i, j);
                }
            }
            assert!((between(&from, SIDE, y, x) - sum).abs() < 1e-5);
        }
    }

    #[test]
    fn a_field_moves_a_pixel_by_about_one() {
        let mut squares = 0.0;
        for i in 0..50 {
            let [down, right] = draw_field(&mut Dice::new(0, 1, i), SIDE);
            squares += down.iter().chain(&right).map(|x| f64::from(x * x)).sum::<f64>() / 512.0;
        }
        let root = (squares / 50.0_f64).sqrt();
        assert!((0.7..1.2).contains(&root), "{root}");
    }

    #[test]
    fn no_two_pictures_and_no_two_epochs_share_a_number() {
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..20 {
            for index in 0..2000 {
                let mut dice = Dice::new(3, epoch, index);
                assert!(seen.insert(dice.word()) && seen.insert(dice.word()));
            }
        }
        let mut dice = Dice::new(0, 0, 0);
        assert!((0..1000).all(|_| dice.below(7) < 7) && dice.below(0) == 0);
    }
}
