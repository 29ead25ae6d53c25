//! What nothing else beats in both of two costs.

use crate::order::Ordered as _;

// ANCHOR: pareto
/// Points of which no other is as good in both numbers and better in one; less is better. Cheapest first; of equal points the first.
/// One pass over the points in order, instead of comparing all pairs.
#[must_use]
pub fn pareto(points: &[[f64; 2]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).filter(|i| points[*i].iter().all(|x| x.is_finite())).collect();
    order.ordered_by(&|a, b| points[*a][0].total_cmp(&points[*b][0]).then(points[*a][1].total_cmp(&points[*b][1])));
    let mut least = f64::INFINITY;
    order.retain(|i| {
        let better = points[*i][1] < least;
        least = points[*i][1].min(least);
        better
    });
    order
}
// ANCHOR_END: pareto

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    #[test]
    fn a_front_is_what_all_pairs_leave() {
        let mut rng = rng(0, "front");
        for _ in 0..50 {
            // Whole numbers, so that many are equal.
            let points: Vec<[f64; 2]> = (0..40).map(|_| [0, 0].map(|_| f64::from(rng.random_range(0..12)))).collect();
            let beaten = |i: usize| {
                let better =
                    |j: usize| points[j][0] <= points[i][0] && points[j][1] <= points[i][1] && points[j] != points[i];
                (0..points.len()).any(better) || points[..i].contains(&points[i])
            };
            let mut found = pareto(&points);
            assert!(found.is_sorted_by(|a, b| points[*a][0] < points[*b][0]));
            found.sort_unstable();
            assert_eq!(found, (0..points.len()).filter(|i| !beaten(*i)).collect::<Vec<_>>());
        }
        assert_eq!(pareto(&[[f64::NAN, 0.0], [1.0, 2.0]]), [1]);
    }
}
