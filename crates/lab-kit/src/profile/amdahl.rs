//! What a share of the time promises, and how a time grows.

// ANCHOR: amdahl
/// How many times faster everything gets when a part with this share of the time gets `factor` times faster (Amdahl, 1967).
#[must_use]
pub fn amdahl(share: f64, factor: f64) -> f64 {
    1.0 / ((1.0 - share) + share / factor)
}

/// The most that can come of it: the part takes no time at all.
#[must_use]
pub fn bound(share: f64) -> f64 {
    1.0 / (1.0 - share)
}
// ANCHOR_END: amdahl

// ANCHOR: quadratic
/// `[a, b, c]` of `a + b x + c x²` that comes nearest to the points by relative error, so that the small ones count as much
/// as the large. Three points or more; `None` where fewer differ.
#[must_use]
pub fn quadratic(points: &[[f64; 2]]) -> Option<[f64; 3]> {
    // Normal equations of rows (1, x, x²) / y against ones; x is scaled so that its powers stay alike in size.
    let scale = points.iter().fold(0.0_f64, |most, point| most.max(point[0].abs())).max(f64::MIN_POSITIVE);
    let mut m = [[0.0_f64; 4]; 3];
    for [x, y] in points {
        let x = x / scale;
        let row = [1.0 / y, x / y, x * x / y];
        for i in 0..3 {
            for j in 0..3 {
                m[i][j] += row[i] * row[j];
            }
            m[i][3] += row[i];
        }
    }
    // Gauss and Jordan, the largest pivot first.
    for column in 0..3 {
        let pivot = (column..3).max_by(|a, b| m[*a][column].abs().total_cmp(&m[*b][column].abs()))?;
        m.swap(column, pivot);
        let found = m[column];
        if found[column].abs() < 1e-12 * m[0][0].abs().max(f64::MIN_POSITIVE) {
            return None;
        }
        for (i, row) in m.iter_mut().enumerate() {
            if i != column {
                let factor = row[column] / found[column];
                row.iter_mut().zip(found).for_each(|(x, y)| *x -= factor * y);
            }
        }
    }
    Some([m[0][3] / m[0][0], m[1][3] / m[1][1] / scale, m[2][3] / m[2][2] / (scale * scale)])
}
// ANCHOR_END: quadratic

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amdahl_by_hand() {
        assert_eq!(amdahl(0.35, 1.0), 1.0);
        assert_eq!(amdahl(1.0, 7.0), 7.0);
        assert!((amdahl(0.5, 2.0) - 4.0 / 3.0).abs() < 1e-12);
        assert!((bound(0.35) - 1.538).abs() < 1e-3 && (amdahl(0.35, 1e9) - bound(0.35)).abs() < 1e-6);
        let mut last = 0.0;
        for i in 1..50 {
            let now = amdahl(0.3, f64::from(i));
            assert!(now > last && now < bound(0.3));
            last = now;
        }
    }

    #[test]
    fn a_quadratic_is_found_again() {
        let of = |x: f64| 0.4 + 0.09 * x + 1.7e-4 * x * x;
        let points: Vec<[f64; 2]> = [16.0, 32.0, 64.0, 128.0, 256.0].map(|x| [x, of(x)]).to_vec();
        let found = quadratic(&points).expect("five points");
        for (found, expected) in found.into_iter().zip([0.4, 0.09, 1.7e-4]) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(quadratic(&points[..2]), None);
        assert_eq!(quadratic(&[[1.0, 2.0]; 5]), None);
    }
}
