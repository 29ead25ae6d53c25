//! Every format against the textbook's loop, a matrix of SciPy, and cases made by hand.

use proptest::prelude::*;
use rand::Rng;

use super::*;
use crate::rng;

/// `[[0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 4], [0, 5, 6, 0]]`.
const SMALL: [f32; 16] = [0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 4.0, 0.0, 5.0, 6.0, 0.0];

fn formats(weights: &[f32], columns: usize) -> Vec<(&'static str, Box<dyn Format>)> {
    let csr = Csr::new(weights, columns).expect("narrow");
    let mut all: Vec<(&'static str, Box<dyn Format>)> = vec![
        ("dense", Box::new(Dense::new(weights, columns))),
        ("skip", Box::new(SkipZeros(Dense::new(weights, columns)))),
        ("csr", Box::new(csr.clone())),
        ("unrolled", Box::new(UnrolledCsr(csr))),
        ("bitmask", Box::new(Bitmask::new(weights, columns).expect("narrow"))),
        ("row blocks", Box::new(RowBlocks::new(weights, columns).expect("narrow"))),
        ("column blocks", Box::new(ColumnBlocks::new(weights, columns).expect("narrow"))),
    ];
    if let Ok(packed) = Packed24::new(weights, columns) {
        all.push(("2:4", Box::new(packed)));
    }
    all
}

fn multiply(format: &dyn Format, x: &[f32], n: usize) -> Vec<f32> {
    // What stood there before must not matter.
    let mut y = vec![f32::NAN; format.rows() * n];
    format.multiply(x, &mut y, n);
    y
}

#[test]
fn the_layout_and_the_product_are_those_of_scipy() {
    // SciPy 1.17.1: csr_matrix(SMALL).indptr, .indices, .data, and @ [1, 2, 3, 4].
    let csr = Csr::new(&SMALL, 4).expect("narrow");
    assert_eq!(csr.parts(), (&[0, 2, 2, 4, 6][..], &[1, 3, 0, 3, 1, 2][..], &[2.0, 1.0, 3.0, 4.0, 5.0, 6.0][..]));
    for (name, format) in formats(&SMALL, 4) {
        assert_eq!(multiply(format.as_ref(), &[1.0, 2.0, 3.0, 4.0], 1), [8.0, 0.0, 19.0, 28.0], "{name}");
        assert_eq!((format.rows(), format.columns()), (4, 4), "{name}");
    }
    assert_eq!(formats(&SMALL, 4).len(), 8);
}

/// Weights of which about `zeros` of 100 are zero, some with a minus sign.
fn weights(rows: usize, columns: usize, zeros: u32, two_of_four: bool, seed: u64) -> Vec<f32> {
    let mut rng = rng(seed, "weights");
    let mut weights: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
    for w in &mut weights {
        if rng.random_range(0..100) < zeros {
            *w = if rng.random_bool(0.5) { 0.0 } else { -0.0 };
        }
    }
    if two_of_four {
        for group in weights.chunks_exact_mut(4) {
            for _ in 0..2 {
                group[rng.random_range(0..4)] = 0.0;
            }
            let mut kept = 0;
            group.iter_mut().for_each(|w| {
                kept += usize::from(*w != 0.0);
                if kept > 2 {
                    *w = 0.0;
                }
            });
        }
    }
    weights
}

/// The dense matrix of a format, read off by multiplying the unit matrix.
fn unit(columns: usize) -> Vec<f32> {
    (0..columns * columns).map(|i| if i / columns == i % columns { 1.0 } else { 0.0 }).collect()
}

proptest! {
    #[test]
    fn every_format_multiplies_like_the_textbook(
        (rows, columns) in (1_usize..40, 1_usize..70),
        zeros in prop::sample::select(vec![0_u32, 30, 50, 90, 100]),
        n in prop::sample::select(vec![1_usize, 2, 3, 4, 7, 8, 33, 64]),
        (two_of_four, seed) in (any::<bool>(), 0_u64..1000),
    ) {
        let columns = if two_of_four { 4 * columns.div_ceil(4) } else { columns };
        let weights = weights(rows, columns, zeros, two_of_four, seed);
        let mut rng = rng(seed, "inputs");
        let x: Vec<f32> = (0..columns * n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut expected = vec![0.0; rows * n];
        multiply_naive(&weights, columns, &x, &mut expected, n);
        for (name, format) in formats(&weights, columns) {
            for (ours, naive) in multiply(format.as_ref(), &x, n).iter().zip(&expected) {
                prop_assert!((ours - naive).abs() < 1e-4, "{}: {} {}", name, ours, naive);
            }
            // Round trip, bit for bit: each product is of one weight and 1, all other terms are zeros.
            let back = multiply(format.as_ref(), &unit(columns), columns);
            prop_assert!(back.iter().zip(&weights).all(|(a, b)| a == b), "{}", name);
            let kept = weights.iter().filter(|w| **w != 0.0).count();
            prop_assert!(format.stored() >= kept, "{}", name);
        }
        prop_assert!(!two_of_four || formats(&weights, columns).len() == 8);
    }

    #[test]
    fn bytes_on_paper_are_those_in_memory((rows, columns) in (1_usize..40, 1_usize..70), zeros in 0_u32..100, seed in 0_u64..100) {
        let columns = 4 * columns.div_ceil(4);
        let weights = weights(rows, columns, zeros, true, seed);
        let kept = weights.iter().filter(|w| **w != 0.0).count();
        let csr = Csr::new(&weights, columns).expect("narrow");
        prop_assert_eq!((csr.bytes(), csr.stored()), (csr_bytes(rows, kept, 2, 4), kept));
        let bits = Bitmask::new(&weights, columns).expect("narrow");
        prop_assert_eq!((bits.bytes(), bits.stored()), (bitmask_bytes(rows, columns, kept, 4), kept));
        let packed = Packed24::new(&weights, columns).expect("two of four");
        prop_assert_eq!(packed.bytes(), two_four_bytes(rows, columns, 4));
        let row = RowBlocks::new(&weights, columns).expect("narrow");
        prop_assert_eq!(row.bytes(), blocks_bytes(rows, row.stored() / SIDE, SIDE, 4));
        let column = ColumnBlocks::new(&weights, columns).expect("narrow");
        prop_assert_eq!(column.bytes(), blocks_bytes(rows.div_ceil(SIDE), column.stored() / SIDE, SIDE, 4));
    }
}

#[test]
fn the_bytes_that_the_chapter_names() {
    // 576 × 192, half and a tenth kept.
    let (rows, columns) = (576, 192);
    assert_eq!(csr_bytes(rows, 55_296, 4, 4), 444_676);
    assert_eq!(csr_bytes(rows, 55_296, 2, 2), 223_492);
    assert_eq!(bitmask_bytes(rows, columns, 55_296, 2), 124_416);
    let tenth = [csr_bytes(rows, 11_059, 4, 4), csr_bytes(rows, 11_059, 2, 2), bitmask_bytes(rows, columns, 11_059, 2)];
    assert_eq!(tenth, [90_780, 46_544, 35_942]);
    let share = |value: usize| two_four_bytes(rows, columns, value) as f64 / (rows * columns * value) as f64;
    assert_eq!([share(4), share(2), share(1)], [0.53125, 0.5625, 0.625]);
    for (density, bits) in [(0.5, 1.0), (0.1, 0.469), (0.05, 0.286), (0.0, 0.0), (1.0, 0.0)] {
        assert!((mask_entropy_bits(density) - bits).abs() < 5e-4);
    }
}

#[test]
fn two_of_four_by_hand() {
    // Groups with two, one, no weight; the width leaves half a byte over.
    let row = [0.0, 7.0, 0.0, 8.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let packed = Packed24::new(&row, 12).expect("two of four");
    assert_eq!(
        multiply(&packed, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.0, 9.0, 9.0], 1),
        [14.0 + 32.0 + 63.0]
    );
    assert_eq!(packed.bytes(), 6 * 4 + 2);
    let why = |weights: &[f32], columns| Packed24::new(weights, columns).expect_err("refused").to_string();
    assert!(
        why(&[1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0], 8).contains("row 0 has 3 weights in the four from column 4")
    );
    assert!(why(&[1.0; 6], 6).contains("a width that 4 divides, not 6"));
}

#[test]
fn a_width_that_sixteen_bits_cannot_number_is_refused() {
    let wide = vec![1.0; (1 << 16) + 1];
    assert!(Csr::new(&wide, wide.len()).is_err() && Bitmask::new(&[], 0).is_err());
    // The last column has the number 65,535.
    let widest = &wide[..1 << 16];
    let csr = Csr::new(widest, widest.len()).expect("narrow");
    assert_eq!(multiply(&csr, widest, 1), [65_536.0]);
    let column = ColumnBlocks::new(widest, widest.len()).expect("narrow");
    assert_eq!(multiply(&column, widest, 1), [65_536.0]);
}
