//! Activation checkpointing: which activations of a chain of layers are kept for the backward pass, and which are computed
//! again. A checkpoint here is a kept activation, not a saved model.
//!
//! Layers are numbered from 0; `bytes[i]` is the size of what layer `i` reads, which its backward pass needs. The input of the
//! whole chain, `bytes[0]`, is always kept.

mod blocks;
mod chain;
mod kinds;
mod schedule;

pub use blocks::{accumulated, recomputed, remembered};
pub use chain::{Chain, Noise};
pub use kinds::{Saved, saved_by_a_layer, selective};
pub use schedule::{Action, Trace, placed, revolve_forwards, revolved, trace};

// ANCHOR: cost
/// The most bytes of activations held at once, and the extra forward work, where `keep[i]` says whether the input of layer
/// `i` is kept. Each segment between two kept inputs is run again as a whole before its backward pass, but for the last one,
/// whose activations are still there (Chen et al., 2016, arXiv:1604.06174).
///
/// All three slices have an entry for each layer.
#[must_use]
pub fn cost(keep: &[bool], bytes: &[usize], forward: &[f64]) -> (usize, f64) {
    let (mut peak, mut kept, mut inside) = (0, 0, 0);
    let (mut extra, mut segment) = (0.0, 0.0);
    for (layer, ((keep, bytes), forward)) in keep.iter().zip(bytes).zip(forward).enumerate() {
        if *keep || layer == 0 {
            peak = peak.max(kept + inside); // the segment that ends here, while it is in work
            extra += segment;
            (inside, segment) = (0, 0.0);
            kept += bytes;
        } else {
            inside += bytes;
        }
        segment += forward;
    }
    (peak.max(kept + inside), extra)
}
// ANCHOR_END: cost

// ANCHOR: best
/// The placement with the least extra work whose peak by [`cost`] is within the budget; none where no placement is.
///
/// The last segment alone is not run again. So the extra work is that of all layers before it, whatever is kept among them,
/// and the best placement is the one whose last segment begins earliest. It suffices to know, for each layer, the fewest bytes
/// of kept inputs with which it can be reached.
#[must_use]
pub fn best(bytes: &[usize], budget: usize) -> Option<Vec<bool>> {
    let mut before = vec![0];
    for bytes in bytes {
        before.push(before[before.len() - 1] + bytes);
    }
    // What lies between two kept inputs.
    let inside = |from: usize, to: usize| before[to] - before[from + 1];
    // Fewest bytes of kept inputs up to a layer's own, and which kept input comes before it.
    let mut need: Vec<Option<(usize, usize)>> = vec![None; bytes.len()];
    for layer in 0..bytes.len() {
        need[layer] = if layer == 0 {
            Some((bytes[0], 0))
        } else {
            let fits = |from: usize| need[from].filter(|(kept, _)| kept + inside(from, layer) <= budget);
            let reached = |from: usize| fits(from).map(|(kept, _)| (kept + bytes[layer], from));
            (0..layer).filter_map(reached).min()
        };
    }
    let fits = |from: &usize| need[*from].is_some_and(|(kept, _)| kept + inside(*from, bytes.len()) <= budget);
    let mut layer = (0..bytes.len()).find(fits)?;
    let mut keep = vec![false; bytes.len()];
    keep[0] = true;
    while layer > 0 {
        keep[layer] = true;
        layer = need[layer]?.1;
    }
    Some(keep)
}
// ANCHOR_END: best

/// All placements that are the best for some budget, from the one that runs nothing again to the one with the lowest peak.
#[must_use]
pub fn staircase(bytes: &[usize], forward: &[f64]) -> Vec<Vec<bool>> {
    let mut steps: Vec<(f64, Vec<bool>)> = Vec::new();
    let mut budget = bytes.iter().sum();
    while let Some(keep) = best(bytes, budget) {
        let (peak, extra) = cost(&keep, bytes, forward);
        // Of placements with the same work the one with the lowest peak stays.
        if steps.last().is_some_and(|(work, _)| *work >= extra) {
            steps.pop();
        }
        steps.push((extra, keep));
        let Some(less) = peak.checked_sub(1) else { break };
        budget = less;
    }
    steps.into_iter().map(|(_, keep)| keep).collect()
}

/// So many segments of nearly equal length.
#[must_use]
pub fn uniform(layers: usize, segments: usize) -> Vec<bool> {
    let segments = segments.clamp(1, layers.max(1));
    let mut keep = vec![false; layers];
    for segment in 0..segments {
        if let Some(keep) = keep.get_mut(segment * layers / segments) {
            *keep = true;
        }
    }
    keep
}

/// As many segments as a segment has layers: the square root of their number, rounded.
#[must_use]
pub fn square_root(layers: usize) -> Vec<bool> {
    uniform(layers, (layers as f64).sqrt().round() as usize)
}

/// The numbers of the layers whose inputs are kept, without the chain's own input.
#[must_use]
pub fn kept(keep: &[bool]) -> Vec<usize> {
    (1..keep.len()).filter(|layer| keep[*layer]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keep(layers: usize, at: &[usize]) -> Vec<bool> {
        (0..layers).map(|layer| layer == 0 || at.contains(&layer)).collect()
    }

    fn placements(layers: usize) -> impl Iterator<Item = Vec<bool>> {
        (0..1_usize << (layers - 1)).map(move |bits| (0..layers).map(|i| i == 0 || bits >> (i - 1) & 1 == 1).collect())
    }

    #[test]
    fn equal_layers_by_hand() {
        let (bytes, forward) = ([1; 16], [1.0; 16]);
        let of = |at: &[usize]| cost(&keep(16, at), &bytes, &forward);
        assert_eq!(of(&[]), (16, 0.0));
        assert_eq!(of(&(1..16).collect::<Vec<_>>()), (16, 15.0));
        assert_eq!(of(&[2]), (15, 2.0));
        assert_eq!(of(&[8]), (9, 8.0));
        assert_eq!(of(&[5, 11]), (7, 11.0));
        assert_eq!(cost(&square_root(16), &bytes, &forward), (7, 12.0));
        assert_eq!(of(&[4, 9, 13]), (6, 13.0));
        assert_eq!(cost(&uniform(16, 8), &bytes, &forward), (9, 14.0));
        // Every step of the staircase: no saving for one layer less than two.
        let steps: Vec<(usize, f64)> =
            staircase(&bytes, &forward).iter().map(|keep| cost(keep, &bytes, &forward)).collect();
        let expected =
            [(16, 0), (15, 2), (14, 3), (13, 4), (12, 5), (11, 6), (10, 7), (9, 8), (8, 10), (7, 11), (6, 13)];
        assert_eq!(steps, expected.map(|(peak, extra)| (peak, f64::from(extra))));
        // Lower bounds of the least peak for longer chains, by the square root of twice the length.
        for (layers, least) in [(32, 8), (64, 11), (128, 16)] {
            assert!(best(&vec![1; layers], least).is_some() && best(&vec![1; layers], least - 1).is_none());
        }
    }

    #[test]
    fn unequal_layers_by_hand() {
        // Also a last output of 3, which no backward pass reads.
        let (bytes, forward) = ([4, 1, 6, 2], [5.0, 1.0, 2.0, 4.0]);
        let of = |at: &[usize]| cost(&keep(4, at), &bytes, &forward);
        assert_eq!([of(&[]), of(&[1]), of(&[2]), of(&[3])], [(13, 0.0), (13, 5.0), (12, 6.0), (11, 8.0)]);
        assert_eq!(best(&bytes, 11), Some(keep(4, &[3])));
        assert_eq!(best(&bytes, 10), None);
        assert_eq!(best(&[7], 7), Some(vec![true]));
        assert_eq!(best(&[7], 6), None);
    }

    #[test]
    fn segments_divide_the_chain() {
        assert_eq!(kept(&square_root(16)), [4, 8, 12]);
        assert_eq!(kept(&uniform(16, 3)), [5, 10]);
        assert_eq!(kept(&uniform(3, 9)), [1, 2]);
    }

    proptest! {
        #[test]
        fn the_best_is_the_best_of_all(
            layers in proptest::collection::vec((1_usize..9, 0_u8..9), 1..10), share in 0.0..1.1,
        ) {
            let bytes: Vec<usize> = layers.iter().map(|(bytes, _)| *bytes).collect();
            let forward: Vec<f64> = layers.iter().map(|(_, work)| f64::from(*work)).collect();
            let budget = (share * bytes.iter().sum::<usize>() as f64) as usize;
            let fits = placements(layers.len()).map(|keep| cost(&keep, &bytes, &forward)).filter(|(peak, _)| *peak <= budget);
            let least = fits.map(|(_, extra)| extra).min_by(f64::total_cmp);
            let found = best(&bytes, budget).map(|keep| cost(&keep, &bytes, &forward));
            prop_assert_eq!(found.map(|(_, extra)| extra), least);
            prop_assert!(found.is_none_or(|(peak, _)| peak <= budget));
        }
    }
}
