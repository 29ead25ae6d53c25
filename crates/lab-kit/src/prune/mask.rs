//! From scores to masks: the lowest go, whole, by layer, by row, N of M or in blocks. A mask holds `true` for what stays.

use lab_api::LabError;

/// The scores of one weight matrix, row-major: a row is what one output channel weighs.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Name of the layer, for errors.
    pub name: &'a str,
    /// `[rows, columns]`. Higher is worth more.
    pub scores: &'a [f32],
    /// Inputs of a row: of a convolution, input channels times the kernel's places.
    pub columns: usize,
}

/// Which weights compete with each other for staying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// All of the network: one threshold.
    Global,
    /// Those of a layer: every layer gives up the same share.
    Layer,
    /// Those of a layer, and large layers give up a larger share: see [`erk_densities`].
    Erk,
}

/// How many of `count` weights a sparsity removes: `round(sparsity · count)`.
#[must_use]
pub fn pruned_count(count: usize, sparsity: f64) -> usize {
    (sparsity * count as f64).round() as usize
}

/// Refuses a share that is none, and scores that cannot be ranked.
fn check(name: &str, scores: &[f32], sparsity: f64) -> Result<(), LabError> {
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(LabError::Refused { why: format!("a sparsity of {sparsity} is no share: it must be 0 to 1") });
    }
    match scores.iter().position(|score| score.is_nan()) {
        Some(i) => Err(LabError::Refused { why: format!("the score of weight {i} of {name} is not a number") }),
        None => Ok(()),
    }
}

// ANCHOR: sorting
/// The mask by sorting all scores: the twin of [`mask`] that is easy to believe. Of equal scores the first goes first.
///
/// # Errors
/// [`LabError::Refused`] for a sparsity outside 0 to 1 and for a score that is not a number.
pub fn mask_by_sorting(scores: &[f32], sparsity: f64) -> Result<Vec<bool>, LabError> {
    check("the layer", scores, sparsity)?;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b])); // stable: ties stay in order
    let mut kept = vec![true; scores.len()];
    for i in &order[..pruned_count(scores.len(), sparsity)] {
        kept[*i] = false;
    }
    Ok(kept)
}
// ANCHOR_END: sorting

// ANCHOR: mask
/// The mask that removes the `round(sparsity · n)` lowest scores, in linear time: the lowest are selected, not sorted.
///
/// # Errors
/// As [`mask_by_sorting`].
pub fn mask(scores: &[f32], sparsity: f64) -> Result<Vec<bool>, LabError> {
    check("the layer", scores, sparsity)?;
    let mut kept = vec![true; scores.len()];
    let remove = pruned_count(scores.len(), sparsity);
    if let Some(last) = remove.checked_sub(1) {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // The number of the weight decides between equals, so that both ways remove the same.
        let (lowest, at, _) =
            order.select_nth_unstable_by(last, |a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
        kept[*at] = false;
        lowest.iter().for_each(|i| kept[*i] = false);
    }
    Ok(kept)
}
// ANCHOR_END: mask

/// Masks of all layers at one sparsity of the whole network.
///
/// # Errors
/// As [`mask_by_sorting`]; [`LabError::Refused`] where a layer would be left without a single weight.
pub fn masks(layers: &[Matrix], sparsity: f64, threshold: Threshold) -> Result<Vec<Vec<bool>>, LabError> {
    for layer in layers {
        check(layer.name, layer.scores, sparsity)?;
    }
    let masks: Vec<Vec<bool>> = match threshold {
        Threshold::Layer => layers.iter().map(|layer| mask(layer.scores, sparsity)).collect::<Result<_, _>>()?,
        Threshold::Erk => {
            let shapes: Vec<(usize, usize)> =
                layers.iter().map(|l| (l.scores.len() / l.columns.max(1), l.columns)).collect();
            let densities = erk_densities(&shapes, sparsity);
            layers.iter().zip(densities).map(|(layer, d)| mask(layer.scores, 1.0 - d)).collect::<Result<_, _>>()?
        }
        Threshold::Global => {
            let all: Vec<f32> = layers.iter().flat_map(|layer| layer.scores).copied().collect();
            let mut kept = mask(&all, sparsity)?.into_iter();
            layers.iter().map(|layer| kept.by_ref().take(layer.scores.len()).collect()).collect()
        }
    };
    refuse_collapse(layers, &masks)?;
    Ok(masks)
}

/// Refuses masks that leave a layer without weights, since nothing would pass through it ("layer collapse").
fn refuse_collapse(layers: &[Matrix], masks: &[Vec<bool>]) -> Result<(), LabError> {
    match layers.iter().zip(masks).find(|(_, mask)| !mask.is_empty() && !mask.contains(&true)) {
        Some((layer, _)) => Err(LabError::Refused {
            why: format!(
                "no weight of {} would be left, so nothing would pass through it; choose a lower sparsity or a \
                 threshold for each layer",
                layer.name
            ),
        }),
        None => Ok(()),
    }
}

// ANCHOR: erk
/// Share of the weights that each layer keeps, proportional to `(outputs + inputs) / (outputs · inputs)`: small layers
/// keep more (Erdős–Rényi: Mocanu et al., arXiv:1707.04780; for kernels Evci et al., arXiv:1911.11134). A layer that
/// would keep more than all keeps all, and the others share what is left. `shapes` are `(outputs, inputs)`.
#[must_use]
pub fn erk_densities(shapes: &[(usize, usize)], sparsity: f64) -> Vec<f64> {
    let mut full = vec![false; shapes.len()];
    loop {
        let (mut budget, mut weighted) = (0.0, 0.0);
        for ((outputs, inputs), full) in shapes.iter().zip(&full) {
            let count = (outputs * inputs) as f64;
            budget += (1.0 - sparsity) * count - if *full { count } else { 0.0 };
            weighted += if *full { 0.0 } else { (outputs + inputs) as f64 };
        }
        let epsilon = if weighted > 0.0 { budget / weighted } else { 0.0 };
        let density = |(outputs, inputs): (usize, usize)| {
            epsilon * (outputs + inputs) as f64 / ((outputs * inputs) as f64).max(1.0)
        };
        let over = (0..shapes.len()).find(|l| !full[*l] && density(shapes[*l]) > 1.0);
        match over {
            Some(l) => full[l] = true,
            None => {
                return shapes.iter().zip(full).map(|(shape, full)| if full { 1.0 } else { density(*shape) }).collect();
            }
        }
    }
}
// ANCHOR_END: erk

/// The lowest of each row go, the same number in every row.
///
/// # Errors
/// As [`mask_by_sorting`].
pub fn per_row(layer: Matrix, sparsity: f64) -> Result<Vec<bool>, LabError> {
    check(layer.name, layer.scores, sparsity)?;
    let rows: Result<Vec<_>, _> = layer.scores.chunks(layer.columns.max(1)).map(|row| mask(row, sparsity)).collect();
    Ok(rows?.concat())
}

// ANCHOR: n_of_m
/// N of every M consecutive weights of a row stay, the highest (2:4: Mishra et al., arXiv:2104.08378).
///
/// # Errors
/// [`LabError::Refused`] where N is more than M, or a row is no whole number of groups.
pub fn n_of_m(layer: Matrix, n: usize, m: usize) -> Result<Vec<bool>, LabError> {
    let refuse = |why: String| Err(LabError::Refused { why });
    if n > m || m == 0 {
        return refuse(format!("{n} of {m} is no pattern: of a group as many stay as it has, at most"));
    }
    if !layer.columns.is_multiple_of(m) {
        return refuse(format!(
            "a row of {} has {} inputs, which are no whole groups of {m}",
            layer.name, layer.columns
        ));
    }
    check(layer.name, layer.scores, 0.0)?;
    let groups: Result<Vec<_>, _> =
        layer.scores.chunks(m).map(|group| mask(group, 1.0 - n as f64 / m as f64)).collect();
    Ok(groups?.concat())
}
// ANCHOR_END: n_of_m

/// Masks of whole blocks of `height` rows and `width` columns, by the mean score of a block, so many that no more than
/// the share `sparsity` of all weights goes. At the edges blocks are smaller.
///
/// # Errors
/// As [`masks`].
pub fn block_masks(
    layers: &[Matrix],
    (height, width): (usize, usize),
    sparsity: f64,
    threshold: Threshold,
) -> Result<Vec<Vec<bool>>, LabError> {
    if threshold != Threshold::Global {
        let shapes: Vec<(usize, usize)> =
            layers.iter().map(|l| (l.scores.len() / l.columns.max(1), l.columns)).collect();
        let each = match threshold {
            Threshold::Erk => erk_densities(&shapes, sparsity).into_iter().map(|d| 1.0 - d).collect(),
            _ => vec![sparsity; layers.len()],
        };
        let one = |(layer, s)| block_masks(&[layer], (height, width), s, Threshold::Global);
        let all: Result<Vec<_>, _> = layers.iter().copied().zip(each).map(one).collect();
        return Ok(all?.concat());
    }
    let (height, width) = (height.max(1), width.max(1));
    let mut blocks = Vec::new();
    for (l, layer) in layers.iter().enumerate() {
        check(layer.name, layer.scores, sparsity)?;
        let rows = layer.scores.len() / layer.columns.max(1);
        for top in (0..rows).step_by(height) {
            for left in (0..layer.columns).step_by(width) {
                let (bottom, right) = ((top + height).min(rows), (left + width).min(layer.columns));
                let places = (top..bottom).flat_map(|r| (left..right).map(move |c| r * layer.columns + c));
                let places: Vec<usize> = places.collect();
                let sum: f64 = places.iter().map(|i| f64::from(layer.scores[*i])).sum();
                blocks.push((sum / places.len().max(1) as f64, l, places));
            }
        }
    }
    blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut masks: Vec<Vec<bool>> = layers.iter().map(|layer| vec![true; layer.scores.len()]).collect();
    let mut left = pruned_count(layers.iter().map(|layer| layer.scores.len()).sum(), sparsity);
    for (_, l, places) in blocks {
        let Some(rest) = left.checked_sub(places.len()) else { break };
        left = rest;
        places.into_iter().for_each(|i| masks[l][i] = false);
    }
    refuse_collapse(layers, &masks)?;
    Ok(masks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(scores: &[f32], columns: usize) -> Matrix<'_> {
        Matrix { name: "a test", scores, columns }
    }

    fn kept(mask: &[bool]) -> usize {
        mask.iter().filter(|kept| **kept).count()
    }

    proptest! {
        #[test]
        fn selecting_and_sorting_remove_the_same(
            // Few different values, so that there are ties.
            scores in prop::collection::vec((-4_i8..4).prop_map(|v| f32::from(v) * 0.5), 0..200),
            sparsity in 0.0..=1.0_f64,
        ) {
            let selected = mask(&scores, sparsity).expect("a mask");
            prop_assert_eq!(&selected, &mask_by_sorting(&scores, sparsity).expect("a mask"));
            prop_assert_eq!(kept(&selected), scores.len() - pruned_count(scores.len(), sparsity));
            let lowest_kept = scores.iter().zip(&selected).filter(|(_, k)| **k).map(|(s, _)| *s).fold(f32::INFINITY, f32::min);
            prop_assert!(scores.iter().zip(&selected).all(|(s, k)| *k || *s <= lowest_kept));
        }

        #[test]
        fn more_sparsity_never_brings_a_weight_back(
            scores in prop::collection::vec(-1.0_f32..1.0, 1..100),
            (a, b) in (0.0..=1.0_f64, 0.0..=1.0_f64),
        ) {
            let (less, more) = (mask(&scores, a.min(b)).expect("a mask"), mask(&scores, a.max(b)).expect("a mask"));
            prop_assert!(less.iter().zip(&more).all(|(less, more)| *less || !*more));
        }

        #[test]
        fn a_global_threshold_is_one_mask_over_all_and_counts_are_exact(
            one in prop::collection::vec(0.1_f32..1.0, 12), other in prop::collection::vec(0.1_f32..1.0, 20),
            sparsity in 0.0..0.6_f64,
        ) {
            let layers = [matrix(&one, 4), matrix(&other, 5)];
            let Ok(masks) = masks(&layers, sparsity, Threshold::Global) else { return Ok(()) };
            prop_assert_eq!(masks.concat(), mask_by_sorting(&[one, other].concat(), sparsity).expect("a mask"));
        }
    }

    #[test]
    fn small_masks_by_hand() {
        let weights = [0.5_f32, -0.1, 0.0, -0.9, 0.1, 0.3].map(f32::abs);
        assert_eq!(mask(&weights, 0.5).expect("a mask"), [true, false, false, true, false, true]);
        // A tie of 0.1 and 0.1: the first goes.
        assert_eq!(mask(&weights, 0.34).expect("a mask"), [true, false, false, true, true, true]);
        assert_eq!((kept(&mask(&weights, 0.0).expect("all")), kept(&mask(&weights, 1.0).expect("none"))), (6, 0));
        assert!(mask(&[0.0, f32::NAN], 0.5).is_err() && mask_by_sorting(&[f32::NAN], 0.0).is_err());
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(mask(&weights, share).is_err(), "{share}");
        }
    }

    #[test]
    fn two_of_four_keeps_exactly_two_and_the_larger() {
        let scores = [0.1, 0.4, 0.3, 0.2, 5.0, 5.0, 5.0, 5.0, 0.0, 0.0, 1.0, 0.0];
        let expected = [false, true, true, false, false, false, true, true, false, false, true, true];
        assert_eq!(n_of_m(matrix(&scores, 4), 2, 4).expect("a mask"), expected);
        assert_eq!(n_of_m(matrix(&scores, 12), 1, 4).map(|mask| kept(&mask)), Ok(3));
        let error = n_of_m(Matrix { name: "head", ..matrix(&scores, 6) }, 2, 4).expect_err("refused").to_string();
        assert!(error.contains("head") && error.contains('6'), "{error}");
        assert!(n_of_m(matrix(&scores, 4), 5, 4).is_err());
    }

    #[test]
    fn erk_keeps_what_its_formula_says_and_caps_small_layers() {
        // 256-128-128-47 at 90 %, worked by hand: ε = 5,516.8 / (384 + 256 + 175).
        let shapes = [(128, 256), (128, 128), (47, 128)];
        let densities = erk_densities(&shapes, 0.9);
        for (density, expected) in densities.iter().zip([0.079_325, 0.105_767, 0.196_906]) {
            assert!((density - expected).abs() < 1e-6, "{densities:?}");
        }
        // At 30 % the last layer would keep more than all.
        let capped = erk_densities(&shapes, 0.3);
        assert_eq!(capped[2], 1.0);
        let total: f64 = shapes.iter().zip(&capped).map(|((o, i), d)| d * (o * i) as f64).sum();
        assert!((total - 0.7 * 55_168.0).abs() < 1e-6);
    }

    #[test]
    fn blocks_go_whole_and_never_too_many() {
        // 4 × 6 with blocks of 2 × 4: the blocks at the right edge are 2 × 2.
        let scores: Vec<f32> = (0..24).map(|i| if i % 6 < 4 && i < 12 { 0.1 } else { 1.0 }).collect();
        let masks = block_masks(&[matrix(&scores, 6)], (2, 4), 0.5, Threshold::Global).expect("a mask");
        let expected: Vec<bool> = scores.iter().map(|s| *s > 0.5).collect();
        // 12 weights may go: the block of 8 goes, and of the others (4 each at the edge) the first.
        assert!(expected.iter().zip(&masks[0]).all(|(large, kept)| *large || !*kept));
        assert_eq!(kept(&masks[0]), 12);
        let single = block_masks(&[matrix(&scores, 6)], (1, 1), 0.3, Threshold::Global).expect("a mask");
        assert_eq!(single[0], mask(&scores, 0.3).expect("a mask"));
    }

    #[test]
    fn rows_give_up_the_same_number_and_an_emptied_layer_is_refused() {
        let scores = [0.1, 0.2, 0.3, 0.4, 9.0, 8.0, 7.0, 6.0];
        let mask = per_row(matrix(&scores, 4), 0.5).expect("a mask");
        assert_eq!(mask, [false, false, true, true, true, true, false, false]);
        let layers = [Matrix { name: "first", ..matrix(&scores[..4], 2) }, matrix(&scores[4..], 2)];
        let error = masks(&layers, 0.5, Threshold::Global).expect_err("refused").to_string();
        assert!(error.contains("first"), "{error}");
        assert!(masks(&layers, 0.5, Threshold::Layer).is_ok());
    }
}
