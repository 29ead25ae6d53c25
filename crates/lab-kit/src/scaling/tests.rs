//! Closed forms, published constants, and laws that are known because we made the points.

use rand::Rng;

use super::*;

/// Nine sizes at each of five budgets, a factor of four apart.
fn grid(law: &Law, mut noise: impl FnMut() -> f64) -> Vec<Vec<Run>> {
    let budget = |i: i32| 1e19 * 4_f64.powi(i);
    let run = |c: f64, j: i32, noise: f64| {
        let n = law.optimal(c).n * 1.6_f64.powi(j - 4);
        let d = c / 6.0 / n;
        Run { n, d, loss: law.loss(n, d) * noise }
    };
    (0..5).map(|i| (0..9).map(|j| run(budget(i), j, noise())).collect()).collect()
}

fn normal(rng: &mut impl Rng) -> f64 {
    let (a, b): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

#[test]
fn the_optimum_is_that_of_the_published_constants_and_of_a_search() {
    // Weights in 10^9, tokens in 10^12, from the closed form in Python at 5.76e23 operations.
    for (law, n, d) in [
        (Law::PRINTED, 32.189_86, 2.982_306),
        (Law::UNROUNDED, 40.360_94, 2.378_537),
        (Law::REFIT, 72.248_70, 1.328_744),
    ] {
        let best = law.optimal(5.76e23);
        assert!((best.n / 1e9 - n).abs() < 1e-4 && (best.d / 1e12 - d).abs() < 1e-5, "{best:?}");
        // No neighbour along the curve of equal compute is lower.
        for factor in [0.5, 0.9, 0.99, 1.01, 1.1, 2.0] {
            assert!(law.loss(best.n * factor, best.d / factor) > best.loss);
        }
        assert!((law.tokens_for(best.n, best.loss).expect("reachable") / best.d - 1.0).abs() < 1e-9);
    }
    assert_eq!(Law::REFIT.tokens_for(1e6, 1.9), None);
}

#[test]
fn serving_makes_the_cheapest_network_smaller() {
    let loss = Law::REFIT.loss(70e9, 1.4e12);
    let (few, _) = serve_aware(&Law::REFIT, loss, 0.0, 70e9).expect("reachable");
    let (many, d) = serve_aware(&Law::REFIT, loss, 1e13, 70e9).expect("reachable");
    // Without serving, the cheapest is the optimum of the budget that reaches this loss.
    assert!(
        (few / Law::REFIT.optimal(6.0 * few * Law::REFIT.tokens_for(few, loss).expect("reachable")).n - 1.0).abs()
            < 0.02
    );
    assert!((33e9..38e9).contains(&many) && d > 3e12, "{many} {d}");
    assert_eq!(serve_aware(&Law::REFIT, 1.5, 0.0, 70e9), None);
}

#[test]
fn repeated_text_is_worth_what_the_authors_code_says() {
    // The constants and both values stand in the README of huggingface/datablations.
    let law = Law {
        e: 0.625_480_4_f64.exp(),
        a: 6.255_414_f64.exp(),
        b: 7.304_997_4_f64.exp(),
        alpha: 0.352_659_6,
        beta: 0.352_659_6,
    };
    let limited = DataLimited { law, r_data: 15.387_756, r_size: 5.309_743 };
    assert!((limited.loss(6.34e9, 242e9, 25e9) - 2.225_644_088_998_447_7).abs() < 1e-12);
    assert!((limited.loss(8.67e9, 178e9, 25e9) - 2.226_963_407_508_786_7).abs() < 1e-12);
    assert_eq!(effective(100.0, 70.0, 15.0), 70.0);
    assert!((effective(10.0, 40.0, 15.39) - 37.256_94).abs() < 1e-2);
    assert!(effective(10.0, 1e9, 15.0) <= 160.0);
    // Made with a constant of 3, found again.
    let fresh: Vec<(f64, f64)> =
        (0..60).map(|i| 100.0 * 1.1_f64.powi(i)).map(|d| (d, 2.0 + 5.0 * d.powf(-0.3))).collect();
    let repeated: Vec<(f64, f64)> =
        [200.0, 400.0, 800.0].iter().map(|d| (*d, 2.0 + 5.0 * effective(100.0, *d, 3.0).powf(-0.3))).collect();
    let found = repetition_constant(100.0, &fresh, &repeated).expect("found");
    assert!((found / 3.0 - 1.0).abs() < 0.03, "{found}");
    assert_eq!(repetition_constant(100.0, &fresh[..1], &repeated), None);
}

#[test]
fn the_gradient_is_that_of_small_differences_and_the_objective_that_of_scipy() {
    let logs: Vec<[f64; 3]> = (0..10)
        .map(|i: i32| {
            let (n, d) = (1000.0 * 2_f64.powi(i), 3e5 / f64::from(i + 1));
            [n.ln(), d.ln(), (2.9 - 0.07 * f64::from(i) + 0.01 * f64::from(i * 7 % 5)).ln()]
        })
        .collect();
    // scipy.special.huber(1e-3, r) over logsumexp, SciPy 1.17.1.
    for (p, value) in [
        ([3.0, 4.0, 0.5, 0.4, 0.3], 0.004_639_858_500_357_694),
        ([6.0, 7.0, 0.0, 0.5, 0.5], 0.012_895_708_492_421_805),
        ([1.0, 2.0, 0.9, 0.2, 1.0], 0.000_927_136_653_511_185_6),
    ] {
        let (found, gradient) = objective(&p, &logs);
        assert!((found - value).abs() < 1e-12, "{found} {value}");
        for k in 0..5 {
            let moved = |by: f64| {
                let mut p = p;
                p[k] += by;
                objective(&p, &logs).0
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope - gradient[k]).abs() < 1e-6, "{k}: {slope} {}", gradient[k]);
        }
    }
}

#[test]
fn a_law_is_recovered_from_its_own_points() {
    let runs: Vec<Run> = grid(&Law::REFIT, || 1.0).concat();
    let found = fit(&runs).expect("fits");
    let Law { e, a, b, alpha, beta } = found.law;
    assert!(
        (e - Law::REFIT.e).abs() < 1e-4
            && (alpha - Law::REFIT.alpha).abs() < 1e-3
            && (beta - Law::REFIT.beta).abs() < 1e-3,
        "{found:?}"
    );
    assert!((a / Law::REFIT.a - 1.0).abs() < 0.05 && (b / Law::REFIT.b - 1.0).abs() < 0.05, "{found:?}");
    // Starts that fail are told from those that agree.
    assert!(found.agreeing > STARTS / 2 && found.agreeing <= STARTS, "{found:?}");
    // In other units, and with every run twice: the same law.
    let scaled: Vec<Run> = runs.iter().map(|r| Run { n: r.n / 1e9, d: r.d / 1e12, ..*r }).collect();
    for again in [fit(&scaled), fit(&[runs.clone(), runs].concat())] {
        let law = again.expect("fits").law;
        assert!(
            (law.e - e).abs() < 1e-4 && (law.alpha - alpha).abs() < 1e-3 && (law.beta - beta).abs() < 1e-3,
            "{law:?}"
        );
    }
}

#[test]
fn an_interval_covers_the_truth() {
    let mut rng = crate::rng(3, "noise");
    let (truth, mut covered, mut start) = (Law::REFIT.exponent(), 0, None);
    for _ in 0..100 {
        let budgets = grid(&Law::REFIT, || 1.0 + 0.01 * normal(&mut rng));
        let at = *start.get_or_insert_with(|| fit(&budgets.concat()).expect("fits").at);
        let mut exponents: Vec<f64> =
            (0..60).filter_map(|_| Some(fit_from(&resample(&budgets, &mut rng), &at)?.law.exponent())).collect();
        exponents.sort_by(f64::total_cmp);
        let (low, high) = (exponents[exponents.len() / 40], exponents[exponents.len() - 1 - exponents.len() / 40]);
        covered += usize::from(low <= truth && truth <= high);
    }
    assert!((85..=100).contains(&covered), "{covered} of 100 intervals hold the truth");
}

#[test]
fn too_little_to_fit_is_no_law() {
    let runs: Vec<Run> = grid(&Law::REFIT, || 1.0).concat();
    assert!(fit(&runs[..4]).is_none());
    let one_size: Vec<Run> = runs.iter().map(|r| Run { n: 1e9, ..*r }).collect();
    assert!(fit(&one_size).is_none());
    let equal: Vec<Run> = runs.iter().map(|r| Run { loss: 2.0, ..*r }).collect();
    assert!(fit(&equal).is_none());
    let broken: Vec<Run> = runs.iter().map(|r| Run { loss: f64::NAN, ..*r }).collect();
    assert!(fit(&broken).is_none());
}

#[test]
fn a_parabola_gives_its_minimum_and_what_has_none_is_refused() {
    let curve = |sizes: &[f64], at: f64, bend: f64| -> Vec<(f64, f64)> {
        sizes.iter().map(|n| (*n, 2.0 + bend * (n / at).ln().powi(2))).collect()
    };
    let sizes = [500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0, 32_000.0];
    for count in 3..=7 {
        let found = isoflop_minimum(&curve(&sizes[..count], 1400.0, 0.1)).expect("a minimum");
        assert!((found.n / 1400.0 - 1.0).abs() < 1e-9 && (found.loss - 2.0).abs() < 1e-9, "{found:?}");
        assert!((found.curvature - 0.1).abs() < 1e-9);
    }
    // The order of the points is of no account.
    let mut reversed = curve(&sizes, 1400.0, 0.1);
    reversed.reverse();
    assert!((isoflop_minimum(&reversed).expect("a minimum").n / 1400.0 - 1.0).abs() < 1e-9);
    assert_eq!(isoflop_minimum(&curve(&sizes[..2], 1400.0, 0.1)), Err(Edge::TooFew));
    assert_eq!(isoflop_minimum(&curve(&sizes, 100.0, 0.1)), Err(Edge::Smallest));
    assert_eq!(isoflop_minimum(&curve(&sizes, 1e6, 0.1)), Err(Edge::Largest));
    // The lowest place lies between others, but the points curve the other way.
    let concave = [(1.0, 2.0), (2.0, 1.99), (4.0, 3.0), (8.0, 3.4), (16.0, 3.0)];
    assert_eq!(isoflop_minimum(&concave), Err(Edge::NotConvex));
    assert!(Edge::Largest.to_string().contains("widen"));
}

#[test]
fn a_line_in_logarithms_is_found_or_refused() {
    let points: Vec<(f64, f64)> = [1.0, 3.0, 9.0].iter().map(|x: &f64| (*x, 5.0 * x.powf(-0.2))).collect();
    let law = power_law(&points).expect("a line");
    assert!(
        (law.exponent + 0.2).abs() < 1e-12
            && (law.factor - 5.0).abs() < 1e-12
            && (law.at(3.0) - points[1].1).abs() < 1e-12
    );
    assert_eq!(power_law(&points[..1]), None);
    assert_eq!(power_law(&[(2.0, 1.0), (2.0, 3.0)]), None);
    assert_eq!(power_law(&[(1.0, 1.0), (2.0, -3.0)]), None);
}

#[test]
fn leaving_layers_out_of_the_count_raises_the_exponent() {
    // A decoder of two layers with a vocabulary of 1,024, tied.
    let shape = |w: f64| [2.0 * 12.0 * w * w, 2.0 * 12.0 * w * w + 1024.0 * w];
    let budgets: Vec<f64> = (0..6).map(|i| 1e9 * 4_f64.powi(i)).collect();
    let small = recount(&Law::REFIT, shape, [2.0, 4000.0], &budgets);
    assert!(small.exponent > Law::REFIT.exponent() + 0.1, "{small:?}");
    // Where nothing is left out, the exponent is the law's.
    let honest = recount(&Law::REFIT, |w| [24.0 * w * w; 2], [2.0, 4000.0], &budgets);
    assert!((honest.exponent - Law::REFIT.exponent()).abs() < 0.01, "{honest:?}");
}
