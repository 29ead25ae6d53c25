//! Long convolutions by the fast Fourier transform.

use std::f64::consts::TAU;

type Complex = (f32, f32);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// In place, for a power of two (Cooley and Tukey, 1965). `turns` holds `e^(-2 π i k / N)`.
fn transform(z: &mut [Complex], turns: &[Complex]) {
    let n = z.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = if bits == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - bits) };
        if i < j {
            z.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        let stride = n / (2 * half);
        for block in z.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (k, (low, high)) in low.iter_mut().zip(high).enumerate() {
                let far = times(*high, turns[k * stride]);
                (*low, *high) = ((low.0 + far.0, low.1 + far.1), (low.0 - far.0, low.1 - far.1));
            }
        }
        half *= 2;
    }
}

// ANCHOR: fft
/// `y_i = sum over j of K_j x_{i-j}` of each channel: `kernel` and `x` `[T, p]`. `O(T log T)` instead of `O(T²)`. Input and kernel
/// share one transform, as real and imaginary part.
#[must_use]
pub fn convolve_by_fft(kernel: &[f32], x: &[f32], p: usize) -> Vec<f32> {
    let t = x.len() / p.max(1);
    let n = (2 * t).next_power_of_two();
    let angle = |k: usize| -TAU * k as f64 / n as f64;
    let turns: Vec<Complex> = (0..n / 2).map(|k| (angle(k).cos() as f32, angle(k).sin() as f32)).collect();
    let (mut out, scale) = (vec![0.0; x.len()], 1.0 / n as f32);
    for channel in 0..p {
        let mut z = vec![(0.0, 0.0); n];
        for (i, z) in z.iter_mut().enumerate().take(t) {
            *z = (x[i * p + channel], kernel[i * p + channel]);
        }
        transform(&mut z, &turns);
        // (Z² - conj(Z of the mirrored place)²) / 4i is the product of both; its conjugate turns the second transform back.
        let product = |k: usize| {
            let (a, b) = (z[k], z[(n - k) % n]);
            let (a, b) = (times(a, a), times((b.0, -b.1), (b.0, -b.1)));
            (0.25 * scale * (a.1 - b.1), 0.25 * scale * (a.0 - b.0))
        };
        let mut back: Vec<Complex> = (0..n).map(product).collect();
        transform(&mut back, &turns);
        back.iter().take(t).enumerate().for_each(|(i, y)| out[i * p + channel] = y.0);
    }
    out
}
// ANCHOR_END: fft
