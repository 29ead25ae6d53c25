//! Rules that treat each weight by itself: one pass over weights, gradient and state.

/// Rate times gradient. Nothing is remembered.
pub fn sgd(w: &mut [f32], g: &[f32], rate: f64) {
    let rate = rate as f32;
    w.iter_mut().zip(g).for_each(|(w, g)| *w -= rate * g);
}

/// The sign of the gradient, and nothing of its size.
pub fn sign(w: &mut [f32], g: &[f32], rate: f64) {
    let rate = rate as f32;
    w.iter_mut().zip(g).for_each(|(w, g)| *w -= rate * sign_of(*g));
}

/// -1, 0 or 1; `f32::signum` gives 1 for 0.
fn sign_of(x: f32) -> f32 {
    f32::from(x > 0.0) - f32::from(x < 0.0)
}

// ANCHOR: momentum
/// Heavy ball (Polyak, 1964): `m` sums up gradients and forgets a share of them; with `nesterov`, the step looks one gradient
/// ahead (Sutskever et al., 2013). A gradient that stays the same is taken `1 / (1 - keep)` times.
pub fn momentum(w: &mut [f32], g: &[f32], m: &mut [f32], rate: f64, keep: f64, nesterov: bool) {
    let (rate, keep) = (rate as f32, keep as f32);
    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
        *m = keep * *m + g;
        *w -= rate * if nesterov { g + keep * *m } else { *m };
    }
}
// ANCHOR_END: momentum

/// Settings of Adam (Kingma and Ba, 2015, arXiv:1412.6980) and AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Each step shrinks a weight by this times the rate.
    pub decay: f64,
}

impl Adam {
    /// As language models are trained: (0.9, 0.95), no decay.
    pub const W: Self = Self { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, decay: 0.0 };
}

// ANCHOR: adamw
/// Update number `t`, counted from 1, in one pass: 16 bytes of a weight are read and 12 written.
pub fn adamw(w: &mut [f32], g: &[f32], (m, v): (&mut [f32], &mut [f32]), t: u32, rate: f64, set: &Adam) {
    let (c1, c2) = (1.0 - set.beta_1.powi(t as i32), (1.0 - set.beta_2.powi(t as i32)).sqrt());
    // Both corrections are the same for all weights, so they stand outside of the loop.
    let (step, epsilon) = ((rate * c2 / c1) as f32, (set.epsilon * c2) as f32);
    let (b1, b2) = (set.beta_1 as f32, set.beta_2 as f32);
    let (a1, a2) = ((1.0 - set.beta_1) as f32, (1.0 - set.beta_2) as f32);
    let keep = (1.0 - rate * set.decay) as f32;
    for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        *m = b1 * *m + a1 * g;
        *v = b2 * *v + a2 * g * g;
        *w = keep * *w - step * *m / (v.sqrt() + epsilon);
    }
}
// ANCHOR_END: adamw

// ANCHOR: lion
/// Lion (Chen et al., 2023, arXiv:2302.06675): the sign of a mixture of momentum and gradient; the momentum follows after.
pub fn lion(w: &mut [f32], g: &[f32], m: &mut [f32], rate: f64, (beta_1, beta_2): (f64, f64)) {
    let (rate, b1, b2) = (rate as f32, beta_1 as f32, beta_2 as f32);
    let (a1, a2) = ((1.0 - beta_1) as f32, (1.0 - beta_2) as f32);
    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
        *w -= rate * sign_of(b1 * *m + a1 * g);
        *m = b2 * *m + a2 * g;
    }
}
// ANCHOR_END: lion

/// Settings of Sophia.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sophia {
    /// Decay of the momentum.
    pub beta_1: f64,
    /// Decay of the curvature.
    pub beta_2: f64,
    /// What the curvature is multiplied by.
    pub rho: f64,
}

impl Sophia {
    /// As published for language models.
    pub const G: Self = Self { beta_1: 0.965, beta_2: 0.99, rho: 0.04 };
}

/// Sophia (Liu et al., 2023, arXiv:2305.14342): momentum over curvature `h`, no further than the rate.
pub fn sophia(w: &mut [f32], g: &[f32], (m, h): (&mut [f32], &[f32]), rate: f64, set: &Sophia) {
    let (rate, b1, a1, rho) = (rate as f32, set.beta_1 as f32, (1.0 - set.beta_1) as f32, set.rho as f32);
    for (((w, g), m), h) in w.iter_mut().zip(g).zip(m).zip(h) {
        *m = b1 * *m + a1 * g;
        *w -= rate * (*m / (rho * h).max(1e-12)).clamp(-1.0, 1.0);
    }
}

/// Curvature by Gauss, Newton and Bartlett: `g` is the mean gradient of a batch of `batch` examples whose labels were drawn
/// from the model's own answers.
pub fn sophia_curvature(h: &mut [f32], g: &[f32], batch: usize, set: &Sophia) {
    let (b2, a2) = (set.beta_2 as f32, ((1.0 - set.beta_2) * batch as f64) as f32);
    h.iter_mut().zip(g).for_each(|(h, g)| *h = b2 * *h + a2 * g * g);
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::optim::naive;

    const G: [f32; 3] = [0.5, -0.1, 0.3];

    /// Where one weight that begins at 1 stands after each gradient.
    fn walk(mut step: impl FnMut(&mut [f32], &[f32], u32)) -> Vec<f32> {
        let mut w = [1.0];
        (1..4)
            .map(|t| {
                step(&mut w, &[G[t as usize - 1]], t);
                w[0]
            })
            .collect()
    }

    fn near(found: &[f32], right: [f64; 3]) {
        for (found, right) in found.iter().zip(right) {
            assert!((f64::from(*found) - right).abs() < 1e-6, "{found} {right}");
        }
    }

    fn adam(beta_2: f64, decay: f64) -> Vec<f32> {
        let (mut m, mut v) = ([0.0], [0.0]);
        let set = Adam { beta_1: 0.9, beta_2, epsilon: 1e-8, decay };
        walk(|w, g, t| adamw(w, g, (&mut m, &mut v), t, 0.1, &set))
    }

    #[test]
    fn three_steps_by_hand() {
        near(&walk(|w, g, _| sgd(w, g, 0.1)), [0.95, 0.96, 0.93]);
        let mut m = [0.0];
        near(&walk(|w, g, _| momentum(w, g, &mut m, 0.1, 0.9, false)), [0.95, 0.915, 0.8535]);
        let mut m = [0.0];
        near(&walk(|w, g, _| momentum(w, g, &mut m, 0.1, 0.9, true)), [0.905, 0.8835, 0.79815]);
        near(&adam(0.999, 0.0), [0.9, 0.848_897, 0.782_442]);
        near(&adam(0.999, 0.1), [0.89, 0.829_997, 0.755_242]);
        near(&adam(0.95, 0.1), [0.89, 0.829_394, 0.753_880]);
        let (mut m, mut v) = ([0.0], [0.0]);
        let set = Adam { beta_2: 0.999, ..Adam::W };
        let l2 = walk(|w, g, t| {
            let g = [g[0] + 0.1 * w[0]];
            adamw(w, &g, (&mut m, &mut v), t, 0.1, &set);
        });
        near(&l2, [0.9, 0.834_244, 0.757_004]);
        let mut m = [0.0];
        near(&walk(|w, g, _| lion(w, g, &mut m, 0.1, (0.9, 0.99))), [0.9, 1.0, 0.9]);
        assert!((m[0] - 0.00691).abs() < 1e-6);
        let (mut m, set) = ([0.0], Sophia { beta_1: 0.96, beta_2: 0.99, rho: 0.04 });
        near(&walk(|w, g, _| sophia(w, g, (&mut m, &[0.5]), 0.1, &set)), [0.9, 0.824, 0.724]);
    }

    #[test]
    fn the_first_step_of_adam_is_the_rate_and_without_a_gradient_nothing_moves() {
        for g in [1e-6, -1e-3, 1.0, -1e6] {
            let (mut w, mut m, mut v) = ([1.0], [0.0], [0.0]);
            adamw(&mut w, &[g], (&mut m, &mut v), 1, 0.01, &Adam { epsilon: 1e-12, ..Adam::W });
            assert!((w[0] - (1.0 - 0.01 * g.signum())).abs() < 1e-6, "{g}: {}", w[0]);
        }
        let (mut w, mut m, mut v, mut h) = ([1.0], [0.0], [0.0], [0.0]);
        for t in 1..5 {
            adamw(&mut w, &[0.0], (&mut m, &mut v), t, 0.01, &Adam::W);
            lion(&mut w, &[0.0], &mut m, 0.01, (0.9, 0.99));
            sophia_curvature(&mut h, &[0.0], 64, &Sophia::G);
            sophia(&mut w, &[0.0], (&mut m, &h), 0.01, &Sophia::G);
        }
        assert_eq!(w, [1.0]);
        adamw(&mut w, &[0.0], (&mut m, &mut v), 5, 0.01, &Adam { decay: 0.5, ..Adam::W });
        assert!((w[0] - 0.995).abs() < 1e-7);
    }

    #[test]
    fn one_pass_is_the_textbook_in_doubles_on_random_gradients() {
        let mut rng = lab_kernels::rng(0, "optim");
        let n = 257;
        let mut draw = |scale: f32| -> Vec<f32> { (0..n).map(|_| scale * rng.random_range(-1.0_f32..1.0)).collect() };
        let start = draw(1.0);
        let gradients: Vec<Vec<f32>> = (0..20).map(|i| draw(10_f32.powi(i % 5 - 3))).collect();
        let set = Adam { beta_1: 0.9, beta_2: 0.99, epsilon: 1e-8, decay: 0.1 };
        let (mut w, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
        let mut exact = naive::State::new(&start);
        let (mut lw, mut lm, mut le) = (start.clone(), vec![0.0; n], naive::State::new(&start));
        for (i, g) in gradients.iter().enumerate() {
            adamw(&mut w, g, (&mut m, &mut v), i as u32 + 1, 0.01, &set);
            naive::adamw(&mut exact, g, i as i32 + 1, 0.01, &set);
            lion(&mut lw, g, &mut lm, 0.01, (0.9, 0.99));
            naive::lion(&mut le, g, 0.01, (0.9, 0.99));
        }
        for i in 0..n {
            assert!((f64::from(w[i]) - exact.w[i]).abs() < 1e-5, "{i}: {} {}", w[i], exact.w[i]);
            assert!((f64::from(lw[i]) - le.w[i]).abs() < 1e-5, "{i}: {} {}", lw[i], le.w[i]);
        }
    }

    #[test]
    fn rules_that_meet_in_a_corner_agree_there() {
        let (g, n) = ([0.3_f32, -2.0, 0.0, 1e-3], 4);
        let start = vec![1.0_f32; n];
        let after = |step: &mut dyn FnMut(&mut [f32])| {
            let mut w = start.clone();
            step(&mut w);
            w
        };
        let signed = after(&mut |w| sign(w, &g, 0.1));
        assert_eq!(signed, after(&mut |w| lion(w, &g, &mut vec![0.0; n], 0.1, (0.9, 0.99))));
        // Adam without memory, and Sophia where the curvature is nothing, are the sign too.
        let none = Adam { beta_1: 0.0, beta_2: 0.0, epsilon: 1e-20, decay: 0.0 };
        let adam = after(&mut |w| adamw(w, &g, (&mut vec![0.0; n], &mut vec![0.0; n]), 1, 0.1, &none));
        let flat = after(&mut |w| sophia(w, &g, (&mut vec![0.0; n], &vec![0.0; n]), 0.1, &Sophia::G));
        for other in [adam, flat] {
            assert!(other.iter().zip(&signed).all(|(a, b)| (a - b).abs() < 1e-6), "{other:?} {signed:?}");
        }
        assert_eq!(
            after(&mut |w| sgd(w, &g, 0.1)),
            after(&mut |w| momentum(w, &g, &mut vec![0.0; n], 0.1, 0.0, false))
        );
    }
}
