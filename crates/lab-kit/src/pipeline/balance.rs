//! Where to cut.

use std::ops::Range;

// ANCHOR: equal
/// As many layers for each of `parts` chunks, or one more for the first ones; the embedding (unit 0) goes with the first chunk, the
/// head (the last unit) with the last.
#[must_use]
pub fn equal_layers(layers: usize, parts: usize) -> Vec<Range<usize>> {
    let end = |part: usize| 1 + (part * layers).div_ceil(parts);
    (0..parts)
        .map(|part| if part == 0 { 0 } else { end(part) }..if part + 1 == parts { layers + 2 } else { end(part + 1) })
        .collect()
}
// ANCHOR_END: equal

// ANCHOR: balance
/// Cuts units with these costs into `parts` chunks of neighbours so that the most expensive chunk is as cheap as can be: dynamic
/// programming over where the last chunk begins. There must be a unit for each part.
#[must_use]
pub fn balance(costs: &[f64], parts: usize) -> Vec<Range<usize>> {
    let n = costs.len();
    let mut sums = vec![0.0];
    costs.iter().for_each(|cost| sums.push(sums[sums.len() - 1] + cost));
    // best[k][i]: the first i units in k + 1 chunks; begins[k][i]: where the last of these begins.
    let mut best = vec![sums.clone()];
    let mut begins = vec![vec![0; n + 1]];
    for k in 1..parts {
        let (mut row, mut from) = (vec![f64::INFINITY; n + 1], vec![0; n + 1]);
        for i in k + 1..=n {
            for j in k..i {
                let most = best[k - 1][j].max(sums[i] - sums[j]);
                if most < row[i] {
                    (row[i], from[i]) = (most, j);
                }
            }
        }
        best.push(row);
        begins.push(from);
    }
    let (mut end, mut chunks) = (n, Vec::new());
    for from in begins.iter().rev() {
        chunks.push(from[end]..end);
        end = from[end];
    }
    chunks.reverse();
    chunks
}
// ANCHOR_END: balance
