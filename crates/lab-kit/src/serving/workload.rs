//! Requests as they come: random times, random lengths.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Request;

/// When requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Each for itself: the gaps are exponential (a Poisson process).
    Poisson,
    /// At equal distances.
    Regular,
    /// In groups of eight at one instant; the groups come at random.
    Bursts,
}

/// How long requests are: log-normal, so that a few are much longer than most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lengths {
    /// Median, least and most tokens of a prompt.
    pub prompt: (f64, usize, usize),
    /// The same of what is written.
    pub output: (f64, usize, usize),
    /// Standard deviation of the logarithms; 0.7 spreads a length by 80 % of its mean.
    pub spread: f64,
}

/// Requests in the order of their arrival, `rate` of them in a second.
#[must_use]
pub fn draw(count: usize, rate: f64, arrivals: Arrivals, lengths: &Lengths, rng: &mut ChaCha8Rng) -> Vec<Request> {
    let gap = 1e3 / rate.max(1e-9);
    let mut now = 0.0;
    let mut all = Vec::with_capacity(count);
    for i in 0..count {
        // Drawn for every request and every kind of arrival, so that lengths do not depend on the times.
        let exponential = -(1.0 - rng.random::<f64>()).ln();
        now += match arrivals {
            Arrivals::Poisson => gap * exponential,
            Arrivals::Regular => gap,
            Arrivals::Bursts => {
                if i % 8 == 0 {
                    8.0 * gap * exponential
                } else {
                    0.0
                }
            }
        };
        let mut length = |(median, least, most): (f64, usize, usize)| {
            let normal = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt()
                * (2.0 * std::f64::consts::PI * rng.random::<f64>()).cos();
            ((median * (lengths.spread * normal).exp()).round() as usize).clamp(least.max(1), most.max(1))
        };
        let (prompt, output) = (length(lengths.prompt), length(lengths.output));
        all.push(Request { arrival_ms: now, prompt, output });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: Lengths = Lengths { prompt: (40.0, 8, 96), output: (40.0, 4, 96), spread: 0.7 };

    #[test]
    fn requests_come_at_the_rate_and_lengths_do_not_depend_on_the_times() {
        let of = |arrivals| draw(4000, 50.0, arrivals, &LENGTHS, &mut crate::rng(0, "requests"));
        let (poisson, regular, bursts) = (of(Arrivals::Poisson), of(Arrivals::Regular), of(Arrivals::Bursts));
        for all in [&poisson, &regular, &bursts] {
            let seconds = all[3999].arrival_ms * 1e-3;
            // 4,000 exponential gaps: 5 % are three standard deviations; in 500 groups 13 %.
            assert!((seconds / 80.0 - 1.0).abs() < 0.13, "{seconds}");
            assert!(all.iter().all(|one| (8..=96).contains(&one.prompt) && (4..=96).contains(&one.output)));
        }
        assert!(poisson.iter().zip(&bursts).all(|(a, b)| (a.prompt, a.output) == (b.prompt, b.output)));
        assert_eq!(bursts[8].arrival_ms, bursts[15].arrival_ms);
        let mut outputs: Vec<usize> = regular.iter().map(|one| one.output).collect();
        outputs.sort_unstable();
        assert!((36..=44).contains(&outputs[2000]));
    }
}
