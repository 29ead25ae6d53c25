//! State spaces that do not look at the token: from continuous time to steps, and from modes to one long kernel.

// ANCHOR: rules
/// From continuous to discrete time: what `h' = a h + b x` becomes in a step of length Δ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The input stays as it is during the step; the solution is then exact.
    Zero,
    /// Slopes before and after the step are averaged (Tustin).
    Bilinear,
    /// The slope before the step.
    Euler,
    /// As Mamba does it: fading exactly, writing by Euler's rule.
    Mixed,
}

/// Factor and input weight of a step, for one number of the state with `b = 1`.
#[must_use]
pub fn discretize(hold: Hold, a: f64, delta: f64) -> (f64, f64) {
    let z = delta * a;
    match hold {
        Hold::Zero => (z.exp(), if a == 0.0 { delta } else { z.exp_m1() / a }),
        Hold::Bilinear => ((1.0 + z / 2.0) / (1.0 - z / 2.0), delta / (1.0 - z / 2.0)),
        Hold::Euler => (1.0 + z, delta),
        Hold::Mixed => (z.exp(), delta),
    }
}
// ANCHOR_END: rules

/// Steps `Δ` of `p` channels and, for each of its modes, how a channel reads it: the state spaces of S4D (Gu et al., 2022,
/// arXiv:2206.11893), with `A_n = -1/2 + i π n` and `B = 1`. A mode is two real numbers of state.
#[derive(Debug, Clone, Copy)]
pub struct Modes<'a> {
    /// `[p]`: logarithms of Δ.
    pub delta: &'a [f32],
    /// `[p, modes, 2]`: real and imaginary parts of C.
    pub c: &'a [f32],
}

type Complex = (f32, f32);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

impl Modes<'_> {
    fn each(&self, mut see: impl FnMut(usize, usize, Complex, [Complex; 2], f32)) {
        let p = self.delta.len().max(1);
        let modes = self.c.len() / (2 * p);
        for (channel, log) in self.delta.iter().enumerate() {
            let delta = log.exp();
            for n in 0..modes {
                let (rate, angle) = (-0.5, std::f32::consts::PI * n as f32);
                let size = (delta * rate).exp();
                let step = (size * (delta * angle).cos(), size * (delta * angle).sin());
                // Zero-order hold: (e^(Δ A) - 1) / A.
                let square = rate * rate + angle * angle;
                let hold = times((step.0 - 1.0, step.1), (rate / square, -angle / square));
                let at = 2 * (channel * modes + n);
                see(channel, at, (self.c[at], self.c[at + 1]), [step, hold], delta);
            }
        }
    }

    // ANCHOR: kernel
    /// The kernel `K` `[T, p]`: what one input still says `j` steps later. `y = K * x` is then the whole state space.
    #[must_use]
    pub fn kernel(&self, t: usize) -> Vec<f32> {
        let p = self.delta.len();
        let mut all = vec![0.0; t * p];
        self.each(|channel, _, c, [step, hold], _| {
            let mut mode = times(c, hold);
            for row in all.chunks_exact_mut(p) {
                row[channel] += 2.0 * mode.0; // and its conjugate
                mode = times(mode, step);
            }
        });
        all
    }
    // ANCHOR_END: kernel

    /// Gradients of `delta` and `c`, where that of the kernel is `dk` `[T, p]`.
    #[must_use]
    pub fn kernel_backward(&self, dk: &[f32]) -> [Vec<f32>; 2] {
        let p = self.delta.len();
        let (mut ddelta, mut dc) = (vec![0.0; p], vec![0.0; self.c.len()]);
        self.each(|channel, at, c, [step, hold], delta| {
            let (mut power, less) = ((1.0, 0.0), (step.0 - 1.0, step.1));
            for (j, row) in dk.chunks_exact(p).enumerate() {
                let (mode, d) = (times(hold, power), 2.0 * row[channel]);
                dc[at] += d * mode.0;
                dc[at + 1] -= d * mode.1;
                // The slope of hold · step^j with Δ.
                let next = times(step, power);
                let along = times(less, power);
                let slope = (next.0 + j as f32 * along.0, next.1 + j as f32 * along.1);
                ddelta[channel] += d * times(c, slope).0 * delta;
                power = next;
            }
        });
        [ddelta, dc]
    }

    /// The same, step by step, for inputs `[T, p]`: all that is remembered are the modes.
    #[must_use]
    pub fn recur(&self, x: &[f32]) -> Vec<f32> {
        let (p, mut out) = (self.delta.len().max(1), vec![0.0; x.len()]);
        self.each(|channel, _, c, [step, hold], _| {
            let mut h = (0.0, 0.0);
            for (y, x) in out.iter_mut().skip(channel).step_by(p).zip(x.iter().skip(channel).step_by(p)) {
                h = times(step, h);
                h = (h.0 + hold.0 * x, h.1 + hold.1 * x);
                *y += 2.0 * times(c, h).0;
            }
        });
        out
    }
}
