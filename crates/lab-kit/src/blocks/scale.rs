//! Meeting a budget by width, and spending a larger one on width, depth or resolution.

use super::{Family, Options, Shape, Totals, totals};

/// Blocks of a network with one a stage.
pub const BLOCKS: usize = 3;
/// Widths that are tried.
const WIDEST: usize = 640;

/// What two networks have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// So many multiply-adds for an image.
    Madds(usize),
    /// So many weights.
    Weights(usize),
}

impl Budget {
    fn miss(self, totals: Totals) -> usize {
        match self {
            Self::Madds(wanted) => totals.madds.abs_diff(wanted),
            Self::Weights(wanted) => totals.weights.abs_diff(wanted),
        }
    }

    fn passed(self, totals: Totals) -> bool {
        match self {
            Self::Madds(wanted) => totals.madds >= wanted,
            Self::Weights(wanted) => totals.weights >= wanted,
        }
    }
}

// ANCHOR: solve
/// The network of this shape whose width comes nearest to the budget. Both counts grow with the width, so the search ends at
/// the first width beyond.
#[must_use]
pub fn solve(shape: Shape, budget: Budget, classes: usize) -> Shape {
    let (mut best, mut least) = (shape, usize::MAX);
    for width in shape.grain()..=WIDEST {
        let tried = Shape { width, ..shape };
        let counted = totals(&tried.ops(classes), shape.side);
        if budget.miss(counted) < least {
            (best, least) = (tried, budget.miss(counted));
        }
        if budget.passed(counted) {
            break;
        }
    }
    best
}
// ANCHOR_END: solve

/// What a larger budget is spent on. The width takes what depth and resolution leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Width alone.
    Width,
    /// As many times the blocks as the budget grows.
    Depth,
    /// As many times the places as the budget grows.
    Resolution,
    /// Each a little, by the exponents of EfficientNet (Tan and Le, 2019, arXiv:1905.11946).
    Compound,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Width, Self::Depth, Self::Resolution, Self::Compound];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::Depth => "depth",
            Self::Resolution => "resolution",
            Self::Compound => "compound",
        }
    }

    /// A network of about `factor` times as many multiply-adds as that of the family that meets `madds`.
    #[must_use]
    pub fn scale(self, (family, options): (Family, Options), madds: usize, factor: f64, classes: usize) -> Shape {
        let (depth, side) = match self {
            Self::Width => (1.0, 1.0),
            Self::Depth => (factor, 1.0),
            Self::Resolution => (1.0, factor.sqrt()),
            Self::Compound => {
                let [depth, _, side] = compound(factor.log2(), [1.2, 1.1, 1.15]);
                (depth, side)
            }
        };
        let shape = Shape {
            blocks: spread((depth * BLOCKS as f64).round() as usize),
            side: (side * 16.0).round() as usize,
            ..Shape::new(family, 2, options)
        };
        solve(shape, Budget::Madds((factor * madds as f64) as usize), classes)
    }
}

// ANCHOR: compound
/// Factors of depth, width and resolution: each base to the power `phi`. Operations grow by depth, by the square of the width
/// and by that of the resolution.
#[must_use]
pub fn compound(phi: f64, bases: [f64; 3]) -> [f64; 3] {
    bases.map(|base| base.powf(phi))
}
// ANCHOR_END: compound

/// So many blocks over three stages, the middle one first.
fn spread(total: usize) -> [usize; 3] {
    let (each, rest) = ((total / BLOCKS).max(1), total.max(BLOCKS) % BLOCKS);
    [each, each + usize::from(rest > 0), each + usize::from(rest > 1)]
}

/// Images `[count, from, from]` at another resolution, each pixel between its four nearest.
#[must_use]
pub fn resize(pixels: &[f32], from: usize, to: usize) -> Vec<f32> {
    if from == to {
        return pixels.to_vec();
    }
    // Centres of the new pixels among those of the old.
    let place = |i: usize| {
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        (at as usize, (at as usize + 1).min(from - 1), (at - at.floor()) as f32)
    };
    let mut all = Vec::with_capacity(pixels.len() / (from * from).max(1) * to * to);
    for image in pixels.chunks_exact(from * from) {
        for (top, bottom, down) in (0..to).map(place) {
            for (left, right, across) in (0..to).map(place) {
                let row = |y: usize| image[y * from + left] * (1.0 - across) + image[y * from + right] * across;
                all.push(row(top) * (1.0 - down) + row(bottom) * down);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_meets_a_budget_and_grows_with_it() {
        for family in Family::ALL {
            let mut before = 0;
            for madds in [50_000, 100_000, 200_000, 400_000, 800_000] {
                let shape = solve(Shape::new(family, 2, Options::default()), Budget::Madds(madds), 47);
                let found = totals(&shape.ops(47), 16).madds;
                let miss = (found as f64 / madds as f64 - 1.0).abs();
                // The narrowest inverted bottleneck is beyond the smallest of these budgets.
                assert!(miss < if madds < 100_000 { 1.2 } else { 0.08 }, "{family:?} {madds} {found}");
                assert!(shape.width >= before, "{family:?}");
                before = shape.width;
            }
        }
        let weights = solve(Shape::new(Family::Separable, 2, Options::default()), Budget::Weights(20_000), 47);
        assert!(totals(&weights.ops(47), 16).weights.abs_diff(20_000) < 1_500);
    }

    #[test]
    fn the_published_bases_do_not_quite_double() {
        let [depth, width, side] = compound(1.0, [1.2, 1.1, 1.15]);
        assert!((depth * width * width * side * side - 1.920_27).abs() < 1e-9);
        assert_eq!((spread(3), spread(4), spread(5), spread(6)), ([1, 1, 1], [1, 2, 1], [1, 2, 2], [2, 2, 2]));
    }

    #[test]
    fn ways_to_scale_spend_the_same() {
        let of = |way: Way| way.scale((Family::Plain, Options::default()), 100_000, 2.0, 47);
        for way in Way::ALL {
            let shape = of(way);
            let madds = totals(&shape.ops(47), shape.side).madds;
            assert!(madds.abs_diff(200_000) < 24_000, "{way:?} {madds}");
        }
        assert!(of(Way::Width).width > of(Way::Resolution).width);
        assert_eq!((of(Way::Depth).blocks, of(Way::Resolution).side, of(Way::Compound).side), ([2; 3], 23, 18));
    }

    #[test]
    fn a_resized_image_keeps_its_flats_and_slopes() {
        let flat = vec![0.5; 16];
        assert!(resize(&flat, 4, 7).iter().all(|x| (x - 0.5).abs() < 1e-6));
        assert_eq!(resize(&flat, 4, 4), flat);
        let slope: Vec<f32> = (0..16).map(|i| (i % 4) as f32).collect();
        let wide = resize(&slope, 4, 8);
        assert!((wide[3] - 1.25).abs() < 1e-6 && (wide[4] - 1.75).abs() < 1e-6 && wide.len() == 64);
    }
}
