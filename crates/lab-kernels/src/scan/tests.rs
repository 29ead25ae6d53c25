use rand::Rng;

use super::*;

fn draw(count: usize, size: f32, seed: u64) -> Vec<f32> {
    let mut rng = crate::rng(seed, "scan");
    (0..count).map(|_| size * rng.random_range(-1.0_f32..1.0)).collect()
}

/// Factors of fading between 0.3 and 1.
fn factors(count: usize, seed: u64) -> Vec<f32> {
    draw(count, 0.35, seed).iter().map(|x| x + 0.65).collect()
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let far = |(a, b): (&f32, &f32)| (a - b).abs() / (1.0 + b.abs());
    a.iter().zip(b).map(far).fold(0.0, |most, next| if next.is_nan() { f32::INFINITY } else { most.max(next) })
}

#[test]
fn the_small_case_is_the_one_on_paper() {
    let (a, b) = ([0.5, 0.9, 0.1, 0.8], [1.0, 2.0, 3.0, 4.0]);
    for h in [sequential(&a, &b, &[0.0]), associative(&a, &b, &[0.0]), chunked(&a, &b, &[0.0], 3)] {
        assert!(apart(&h, &[1.0, 2.9, 3.29, 6.632]) < 1e-6, "{h:?}");
    }
    let pairs = a.into_iter().zip(b);
    let all: Vec<(f32, f32)> = pairs.collect();
    let two = combine(all[0], all[1]);
    assert!(apart(&[two.0, two.1], &[0.45, 2.9]) < 1e-6);
    let four = combine(two, combine(all[2], all[3]));
    assert!(apart(&[four.0, four.1], &[0.036, 6.632]) < 1e-6);
    let left = decays(&a);
    let expected = [1.0, 0.0, 0.0, 0.0, 0.9, 1.0, 0.0, 0.0, 0.09, 0.1, 1.0, 0.0, 0.072, 0.08, 0.8, 1.0];
    assert!(apart(&left, &expected) < 1e-6, "{left:?}");
}

#[test]
fn joining_is_associative_and_its_order_matters() {
    let [x, y, z] = [(0.5, 1.0), (0.9, -2.0), (0.25, 3.0)];
    let (one, other) = (combine(combine(x, y), z), combine(x, combine(y, z)));
    assert!((one.0 - other.0).abs() < 1e-6 && (one.1 - other.1).abs() < 1e-6);
    // Operands the wrong way round give another state.
    assert!((combine(x, y).1 - combine(y, x).1).abs() > 0.5);
}

#[test]
fn all_scans_are_one_function() {
    for (t, lanes) in [(1, 1), (2, 3), (3, 1), (5, 2), (64, 3), (65, 2)] {
        for fading in [factors(t * lanes, 1), vec![0.0; t * lanes], vec![1.0; t * lanes]] {
            let (b, start) = (draw(t * lanes, 1.0, 2), draw(lanes, 2.0, 3));
            let naive = sequential(&fading, &b, &start);
            assert!(apart(&associative(&fading, &b, &start), &naive) < 1e-5, "{t} {lanes}");
            for chunk in [1, 2, 3, 7, 64, 100] {
                assert!(apart(&chunked(&fading, &b, &start, chunk), &naive) < 1e-5, "{t} {lanes} {chunk}");
            }
            // A state that is handed over.
            let cut = t / 2 * lanes;
            let mut parts = sequential(&fading[..cut], &b[..cut], &start);
            let middle = if cut == 0 { start.clone() } else { parts[cut - lanes..].to_vec() };
            parts.extend(associative(&fading[cut..], &b[cut..], &middle));
            assert!(apart(&parts, &naive) < 1e-5);
        }
    }
    let sums = associative(&[1.0; 4], &[1.0, 2.0, 3.0, 4.0], &[0.0]);
    assert!(apart(&sums, &[1.0, 3.0, 6.0, 10.0]) < 1e-6);
    assert_eq!(joins(1), (0, 0));
    assert_eq!(joins(8), (11, 5));
}

#[test]
fn gradients_of_a_scan_are_differences() {
    let (t, lanes) = (7, 2);
    let parts = [factors(t * lanes, 1), draw(t * lanes, 1.0, 2), draw(lanes, 1.0, 3)];
    let dh = draw(t * lanes, 1.0, 4);
    let value = |parts: &[Vec<f32>; 3]| -> f64 {
        sequential(&parts[0], &parts[1], &parts[2]).iter().zip(&dh).map(|(h, d)| f64::from(h * d)).sum()
    };
    let states = sequential(&parts[0], &parts[1], &parts[2]);
    let found = scan_backward(&parts[0], &states, &parts[2], &dh);
    for (which, found) in found.iter().enumerate() {
        for (i, found) in found.iter().enumerate() {
            let mut moved = [parts.clone(), parts.clone()];
            moved[0][which][i] += 1e-2;
            moved[1][which][i] -= 1e-2;
            let slope = (value(&moved[0]) - value(&moved[1])) / 2e-2;
            assert!((slope - f64::from(*found)).abs() < 2e-3 * (1.0 + slope.abs()), "{which} {i}: {slope} {found}");
        }
    }
}

#[test]
fn a_state_space_is_attention_without_softmax() {
    let b = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0];
    let c = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let ssd = Ssd { keep: &[1.0, 0.5, 0.5, 0.5], c: &c, b: &b, x: &[1.0, 2.0, 3.0, 4.0], sizes: [2, 1] };
    assert!(apart(&ssd_quadratic(ssd), &[1.0, 0.5, 4.0, 3.625]) < 1e-6);
    let mut state = vec![0.0; 2];
    assert!(apart(&ssd_chunked(ssd, 3, &mut state), &[1.0, 0.5, 4.0, 3.625]) < 1e-6);
    assert!(apart(&state, &[5.625, -2.0]) < 1e-6, "{state:?}");
}

fn steps(ssd: Ssd, state: &mut [f32]) -> Vec<f32> {
    let ([n, p], mut out) = (ssd.sizes, vec![0.0; ssd.x.len()]);
    for (i, y) in out.chunks_exact_mut(p).enumerate() {
        let [c, b] = [ssd.c, ssd.b].map(|all| &all[i * n..(i + 1) * n]);
        ssd_step(state, ssd.keep[i], [c, b], &ssd.x[i * p..(i + 1) * p], y);
    }
    out
}

#[test]
fn three_forms_are_one_function_whatever_is_handed_over() {
    let (n, p) = (5, 3);
    for t in [1, 2, 7, 33] {
        let (b, c, x) = (draw(t * n, 1.0, 1), draw(t * n, 1.0, 2), draw(t * p, 1.0, 3));
        for keep in [factors(t, 4), vec![1.0; t], vec![0.0; t]] {
            let part = |from: usize, to: usize| Ssd {
                keep: &keep[from..to],
                c: &c[from * n..to * n],
                b: &b[from * n..to * n],
                x: &x[from * p..to * p],
                sizes: [n, p],
            };
            let (whole, mut state) = (ssd_quadratic(part(0, t)), vec![0.0; n * p]);
            assert!(apart(&steps(part(0, t), &mut state), &whole) < 1e-5);
            for chunk in [1, 2, 3, 5, 8, 64] {
                let mut other = vec![0.0; n * p];
                assert!(apart(&ssd_chunked(part(0, t), chunk, &mut other), &whole) < 1e-5, "{t} {chunk}");
                assert!(apart(&other, &state) < 1e-5);
                // Prefill, then one, two and five tokens at a time: all of them, not the first.
                for more in [1, 2, 5] {
                    let (mut at, mut other, mut found) = (t / 2, vec![0.0; n * p], Vec::new());
                    found.extend(ssd_chunked(part(0, at), chunk, &mut other));
                    while at < t {
                        let to = t.min(at + more);
                        found.extend(ssd_chunked(part(at, to), chunk, &mut other));
                        at = to;
                    }
                    assert!(apart(&found, &whole) < 1e-5 && apart(&other, &state) < 1e-5);
                }
            }
        }
    }
}

#[test]
fn long_texts_underflow_to_nothing_and_not_to_nonsense() {
    let (t, n, p) = (1000, 2, 2);
    let (b, c, x, keep) = (draw(t * n, 1.0, 1), draw(t * n, 1.0, 2), draw(t * p, 1.0, 3), vec![0.5; t]);
    let ssd = Ssd { keep: &keep, c: &c, b: &b, x: &x, sizes: [n, p] };
    let whole = ssd_quadratic(ssd);
    assert!(whole.iter().all(|y| y.is_finite()));
    assert!(apart(&ssd_chunked(ssd, 512, &mut vec![0.0; n * p]), &whole) < 1e-5);
    // A quotient of products from the beginning is 0 / 0.
    let product: f32 = keep[..400].iter().product();
    assert!((product / product).is_nan());
}

fn selective<'a>(parts: &'a [Vec<f32>; 5], sizes: [usize; 2]) -> Selective<'a> {
    let [delta, a, b, c, x] = parts;
    Selective { delta, a, b, c, x, sizes }
}

#[test]
fn the_selective_scan_is_its_definition() {
    let ([n, p], t) = ([6, 3], 11);
    let positive = |x: Vec<f32>| -> Vec<f32> { x.iter().map(|x| x.abs() + 0.01).collect() };
    let parts = [
        positive(draw(t * p, 0.5, 1)),
        positive(draw(p * n, 2.0, 2)).iter().map(|a| -a).collect(),
        draw(t * n, 1.0, 3),
        draw(t * n, 1.0, 4),
        draw(t * p, 1.0, 5),
    ];
    let mut naive = Vec::new();
    for i in 0..t {
        for channel in 0..p {
            // y is a sum over all earlier tokens and all numbers of the state.
            let mut sum = 0.0_f64;
            for k in 0..n {
                for j in 0..=i {
                    let time: f32 = (j + 1..=i).map(|s| parts[0][s * p + channel]).sum();
                    let written = parts[0][j * p + channel] * parts[2][j * n + k] * parts[4][j * p + channel];
                    sum += f64::from(parts[3][i * n + k] * (time * parts[1][channel * n + k]).exp() * written);
                }
            }
            naive.push(sum as f32);
        }
    }
    let scan = selective(&parts, [n, p]);
    assert!(apart(&scan.fused(&mut vec![0.0; n * p]), &naive) < 1e-5);
    for found in [scan.scanned(&vec![0.0; n * p], sequential), scan.scanned(&vec![0.0; n * p], associative)] {
        assert!(apart(&found, &naive) < 1e-5);
    }
}

#[test]
fn with_one_number_it_is_a_gate() {
    // Zero-order hold, A = -1: h = (1 - g) h + g x with g = sigmoid(z), where Δ = softplus(z) (Gu and Dao, theorem 1).
    let z = draw(9, 3.0, 1);
    let delta: Vec<f32> = z.iter().map(|z| z.exp().ln_1p()).collect();
    let g: Vec<f32> = z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
    let keep: Vec<f32> = delta.iter().map(|delta| (-delta).exp()).collect();
    assert!(apart(&keep, &g.iter().map(|g| 1.0 - g).collect::<Vec<_>>()) < 1e-5);
    // Hold writes (1 - e^-Δ) of the input.
    assert!(apart(&keep.iter().map(|keep| 1.0 - keep).collect::<Vec<_>>(), &g) < 1e-5);
}

#[test]
fn a_long_convolution_is_its_sum() {
    for (t, p) in [(1, 1), (2, 2), (5, 3), (64, 2), (100, 1)] {
        let (kernel, x) = (draw(t * p, 1.0, 1), draw(t * p, 1.0, 2));
        let mut naive = vec![0.0; t * p];
        for i in 0..t {
            for j in 0..=i {
                (0..p).for_each(|c| naive[i * p + c] += kernel[j * p + c] * x[(i - j) * p + c]);
            }
        }
        assert!(apart(&convolve_by_fft(&kernel, &x, p), &naive) < 1e-4, "{t} {p}");
    }
}
