//! What a pruned model weighs, and the words of a run.

use lab_api::{Family, Metric};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    sparse::{Pattern, bitmask_bytes},
};

use super::{
    judge::Judged,
    model::Weights,
    prune::{GROUP, How, Kept, Pruned, Score},
    speed::Speed,
};

/// Bytes of a weight in the file that the book ships.
const HALF: usize = 2;

/// Bytes of a matrix whose kept weights have this width: values, places, and scales in 16 bits for every group of kept weights.
/// Of a bitmask, of the two bits a value that 2:4 takes, and of no places at all, the smallest counts.
pub(super) fn matrix_bytes(shape: [usize; 2], kept: usize, pattern: Pattern, width: Kept) -> usize {
    let [rows, columns] = shape;
    let all = rows * columns;
    let bits = match width {
        Kept::Float => 8 * HALF,
        Kept::Bits(bits) => bits as usize,
    };
    // A scale stands for the 32 neighbours that it was fitted to, kept or not.
    let scales = if width == Kept::Float { 0 } else { HALF * rows * columns.div_ceil(GROUP) };
    let values = |count: usize| (count * bits).div_ceil(8);
    let dense = values(all);
    let masked = bitmask_bytes(rows, columns, 0, 0) + values(kept);
    let grouped = match pattern {
        // Places of the kept among `of`: as many bits as choices need.
        Pattern::NOfM { keep, of } => {
            let choices = (1..=keep).fold(1, |ways, i| ways * (of + 1 - i) / i);
            let bits = usize::BITS - (choices - 1_usize).leading_zeros();
            (all / of * bits as usize).div_ceil(8) + values(all / of * keep)
        }
        Pattern::Free(_) => usize::MAX,
    };
    scales + dense.min(masked).min(grouped)
}

/// Bytes of the whole model: matrices of the layers as [`matrix_bytes`] has them, all else in 16 bits.
pub(super) fn model_bytes(model: &Weights, how: &How) -> usize {
    let prunable: Vec<String> = model.prunable().collect();
    let bytes = |(name, weight): (&str, &lab_kit::models::Weight)| {
        if prunable.iter().any(|known| known == name) {
            let kept = weight.values.iter().filter(|w| **w != 0.0).count();
            matrix_bytes([weight.shape[0], weight.shape[1]], kept, how.pattern, how.kept)
        } else {
            HALF * weight.values.len()
        }
    };
    model.state.iter().map(bytes).sum()
}

pub(super) fn memory(dense: &Weights, pruned: &Weights, how: &How) -> Vec<Metric> {
    let (before, after) = (HALF * dense.state.parameters(), model_bytes(pruned, how));
    let (all, kept) = pruned.count();
    let counted = "bytes are counted; a few weights of equal score may fall on the other side of the cut";
    let layers: usize = pruned
        .prunable()
        .filter_map(|name| pruned.state.get(&name))
        .map(|weight| {
            let kept = weight.values.iter().filter(|w| **w != 0.0).count();
            matrix_bytes([weight.shape[0], weight.shape[1]], kept, how.pattern, how.kept)
        })
        .sum();
    vec![
        metric(Family::Memory, "model_bytes", "Model as stored", after as f64, "bytes")
            .lower()
            .baseline(before as f64)
            .exact(200.0, counted)
            .help("Values of the kept weights, their places in the cheapest way (a bitmask or the pattern's own), scales where values are rounded; embedding, output layer and norms in FP16. The baseline is the file in FP16."),
        metric(Family::Memory, "bits_per_weight", "Bits per weight of the layers", 8.0 * layers as f64 / all.max(1) as f64, "bits")
            .lower()
            .baseline(16.0)
            .exact(0.01, counted),
        metric(Family::Memory, "zeros", "Zeros in the layers", 100.0 * (1.0 - kept as f64 / all.max(1) as f64), "%")
            .detail()
            .exact(0.1, counted),
    ]
}

/// What the numbers of this very run say.
pub(super) fn note(before: &Judged, arms: &[(Score, Pruned, Judged)], speed: &Speed, cx: &Context) -> Option<String> {
    let (best, ..) = arms.iter().min_by(|a, b| a.2.mean().total_cmp(&b.2.mean()))?;
    let (last, ..) = arms.last()?;
    let name = |score: &Score| {
        let words = score.words();
        words[..1].to_uppercase() + &words[1..]
    };
    Some(format!(
        "{} loses least here: {:.3} nats a token where the dense model has {:.3}. The model pruned last ({}) {}.",
        name(best),
        arms.iter().map(|arm| arm.2.mean()).fold(f64::INFINITY, f64::min),
        before.mean(),
        last.words(),
        speed.words(cx)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_by_hand() {
        let free = Pattern::Free(0.5);
        // 576 × 192, half kept: a bit a place and two bytes a weight; nine bits a weight.
        assert_eq!(matrix_bytes([576, 192], 55_296, free, Kept::Float), 13_824 + 110_592);
        // Two of four have six choices, so three bits a group; 4:8 has 70 choices, seven bits.
        let two_four = Pattern::NOfM { keep: 2, of: 4 };
        assert_eq!(matrix_bytes([576, 192], 55_296, two_four, Kept::Float), 110_592 + 27_648 * 3 / 8);
        let four_eight = Pattern::NOfM { keep: 4, of: 8 };
        assert_eq!(matrix_bytes([576, 192], 55_296, four_eight, Kept::Float), 110_592 + 13_824 * 7 / 8);
        // Four bits, half kept: 2 bits of values, 1 of places, half a bit of scales. Nothing removed: no places.
        assert_eq!(matrix_bytes([576, 192], 55_296, free, Kept::Bits(4)), 110_592 * 7 / 16);
        assert_eq!(matrix_bytes([576, 192], 110_592, free, Kept::Bits(4)), 110_592 * 9 / 16);
    }
}
