//! The learning rate as a function of the step alone. Nothing is counted inside, so that drawing, resuming and branching off
//! cannot go wrong.

use lab_api::{BadParam, LabError};
use rand::seq::SliceRandom;

use crate::{rng, train::half_cosine};

/// How a cool-down falls, `x` from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fall {
    /// `1 - x`.
    Linear,
    /// `1 - sqrt(x)` (Hägele et al., 2024, arXiv:2405.18392): fast at first.
    Root,
    /// Halved ten times, at even distances.
    Halving,
}

impl Fall {
    /// What is left.
    #[must_use]
    pub fn left(self, x: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - x,
            Self::Root => 1.0 - x.sqrt(),
            Self::Halving => 0.5_f64.powf(10.0 * x),
        }
    }
}

/// The shape of a schedule behind its warm-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Curve {
    /// Stays at the peak.
    Constant,
    /// Falls evenly.
    Linear,
    /// Half a cosine (Loshchilov and Hutter, 2017, arXiv:1608.03983).
    Cosine,
    /// A power of what a linear one has left.
    Polynomial(f64),
    /// By the same factor at each step, to the floor, or to a hundredth where that is zero.
    Exponential,
    /// Times `gamma` at each milestone, a share of the steps.
    Step {
        /// Shares of the steps.
        milestones: [f64; 2],
        /// Factor.
        gamma: f64,
    },
    /// With the root of the warm-up's length over the step (Vaswani et al., 2017, arXiv:1706.03762).
    InverseRoot,
    /// Up in three tenths of the steps, and down to next to nothing (Smith and Topin, 2018, arXiv:1708.07120), as PyTorch has it.
    OneCycle,
    /// Stays, and falls in the last share of the steps: warm-up, stable, decay (Hu et al., 2024, arXiv:2404.06395).
    CoolDown {
        /// Of the steps.
        share: f64,
        /// How.
        fall: Fall,
    },
    /// So many half cosines, each twice as long as the one before (SGDR, arXiv:1608.03983).
    Restarts(u32),
}

/// A schedule of a run of known length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Behind the warm-up.
    pub curve: Curve,
    /// The largest rate.
    pub peak: f64,
    /// The last rate, as a share of the peak.
    pub floor: f64,
    /// Steps of the run.
    pub steps: usize,
    /// Of them, those that warm up.
    pub warmup: usize,
}

/// What an exponential decay leaves where the floor is zero: it never gets there.
const LEAST: f64 = 0.01;
/// One cycle: its share of steps that rise, and how many times smaller the first rate and the last are than the peak.
const RISING: f64 = 0.3;
const FIRST: f64 = 25.0;
const LAST: f64 = 25e4;
/// One cycle: momentum at small rates, and at the peak.
const MOMENTA: [f64; 2] = [0.95, 0.85];

impl Schedule {
    /// Refuses what is no schedule.
    ///
    /// # Errors
    /// [`LabError::BadParam`] that names the setting.
    pub fn check(&self) -> Result<(), LabError> {
        let refuse = |name: &str, why: String| Err(LabError::BadParam(BadParam { name: name.into(), why }));
        let cooling = self.cooling();
        if self.steps == 0 {
            return refuse("steps", "a run of 0 steps has no rate; take 1 or more".into());
        }
        if !(self.peak > 0.0 && self.peak.is_finite()) {
            return refuse("peak", format!("the peak is {}; it must be above 0", self.peak));
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return refuse("floor", format!("the last rate is {} of the peak; it must be 0 to 1", self.floor));
        }
        if self.warmup + cooling > self.steps {
            let (warmup, steps) = (self.warmup, self.steps);
            let why = format!("{warmup} steps of warm-up and {cooling} of cool-down are more than the run's {steps}");
            return refuse("cooldown", format!("{why}; shorten one of them"));
        }
        if let Curve::Step { milestones: [first, second], .. } = self.curve
            && !(0.0 <= first && first <= second && second <= 1.0)
        {
            return refuse("milestones", format!("they are {first} and {second}; they must rise, from 0 to 1 at most"));
        }
        Ok(())
    }

    /// Steps of the cool-down.
    #[must_use]
    pub fn cooling(&self) -> usize {
        match self.curve {
            Curve::CoolDown { share, .. } => (share * self.steps as f64).round().max(1.0) as usize,
            _ => 0,
        }
    }

    // ANCHOR: rate
    /// The rate of a step, counted from 0.
    #[must_use]
    pub fn rate(&self, step: usize) -> f64 {
        let (peak, last) = (self.peak, self.floor * self.peak);
        if self.curve == Curve::OneCycle {
            return self.one_cycle(step)[0];
        }
        if step < self.warmup {
            return peak * (step + 1) as f64 / self.warmup as f64;
        }
        let falling = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / falling).min(1.0);
        let down_to = |left: f64| last + (peak - last) * left;
        match self.curve {
            Curve::Constant | Curve::OneCycle => peak,
            Curve::Linear => down_to(1.0 - done),
            Curve::Cosine => down_to(half_cosine(done)),
            Curve::Polynomial(power) => down_to((1.0 - done).powf(power)),
            Curve::Exponential => peak * if self.floor > 0.0 { self.floor } else { LEAST }.powf(done),
            Curve::Step { milestones, gamma } => {
                let at = step as f64 / self.steps as f64;
                let passed = milestones.iter().filter(|milestone| at >= **milestone).count();
                (peak * gamma.powi(passed as i32)).max(last)
            }
            Curve::InverseRoot => {
                let warmup = self.warmup.max(1) as f64;
                (peak * (warmup / (step as f64).max(warmup)).sqrt()).max(last)
            }
            Curve::CoolDown { fall, .. } => {
                let (length, end) = (self.cooling(), self.steps);
                let cooled = (step + length).saturating_sub(end).min(length);
                if cooled == 0 { peak } else { down_to(fall.left(cooled as f64 / length as f64)) }
            }
            Curve::Restarts(periods) => {
                // In lengths of the first period: 1 + 2 + 4 + ...
                let place = 1.0 + 1e-12 + done * (2.0_f64.powi(periods as i32) - 1.0);
                let period = place.log2().floor().min(f64::from(periods) - 1.0);
                down_to(half_cosine((place / period.exp2() - 1.0).min(1.0)))
            }
        }
    }
    // ANCHOR_END: rate

    /// Rate and momentum of one cycle: one rises while the other falls.
    fn one_cycle(&self, step: usize) -> [f64; 2] {
        let (t, up) = (step as f64, RISING * self.steps as f64 - 1.0);
        let swing = |from: f64, to: f64, done: f64| to + (from - to) * half_cosine(done);
        let last = (self.peak / LAST).max(self.floor * self.peak);
        if t <= up {
            let done = t / up.max(1.0);
            return [swing(self.peak / FIRST, self.peak, done), swing(MOMENTA[0], MOMENTA[1], done)];
        }
        let done = ((t - up) / (self.steps as f64 - 1.0 - up)).min(1.0);
        [swing(self.peak, last, done), swing(MOMENTA[1], MOMENTA[0], done)]
    }

    /// The rates of all steps.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        (0..self.steps).map(|step| self.rate(step)).collect()
    }

    /// The momenta of one cycle, step by step.
    #[must_use]
    pub fn momenta(&self) -> Vec<f64> {
        (0..self.steps).map(|step| self.one_cycle(step)[1]).collect()
    }
}

/// The same rates in another order, which a seed decides.
#[must_use]
pub fn shuffled(mut rates: Vec<f64>, seed: u64) -> Vec<f64> {
    rates.shuffle(&mut rng(seed, "order of rates"));
    rates
}

/// A factor that halves whenever a loss has not fallen for some looks at it. It needs a validation set, and lags behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plateau {
    /// Of the rate.
    pub factor: f64,
    patience: u32,
    best: f64,
    waited: u32,
}

impl Plateau {
    /// Waits for so many looks.
    #[must_use]
    pub fn new(patience: u32) -> Self {
        Self { factor: 1.0, patience, best: f64::INFINITY, waited: 0 }
    }

    /// A look at the loss, and the factor from here on.
    pub fn look(&mut self, loss: f64) -> f64 {
        if loss < self.best {
            (self.best, self.waited) = (loss, 0);
        } else {
            self.waited += 1;
            if self.waited >= self.patience {
                (self.factor, self.waited) = (0.5 * self.factor, 0);
            }
        }
        self.factor
    }
}

// ANCHOR: bowl
/// Mean squared distance from the bottom of a bowl of steepness 1 after steps with these rates, from a gradient with noise of
/// variance 1: the distance shrinks, and the noise comes in with the square of the rate.
#[must_use]
pub fn in_a_bowl(rates: &[f64], start: f64) -> f64 {
    rates.iter().fold(start * start, |square, rate| (1.0 - rate).powi(2) * square + rate * rate)
}
// ANCHOR_END: bowl

/// The schedule that counts its own steps, as most libraries have it: warm-up and half a cosine, each rate made from the one
/// before.
pub mod naive {
    use std::f64::consts::PI;

    /// Hidden in it: how often it has been asked.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Scheduler {
        rate: f64,
        peak: f64,
        steps: usize,
        warmup: usize,
        asked: usize,
    }

    impl Scheduler {
        /// Before the first step.
        #[must_use]
        pub fn new(peak: f64, steps: usize, warmup: usize) -> Self {
            Self { rate: 0.0, peak, steps, warmup, asked: 0 }
        }

        // ANCHOR: step
        /// The rate of the next step. Each call moves the clock, whoever calls.
        pub fn step(&mut self) -> f64 {
            let step = self.asked;
            self.asked += 1;
            if step < self.warmup {
                self.rate += self.peak / self.warmup as f64;
            } else if step == self.warmup {
                self.rate = self.peak;
            } else {
                let angle = PI / (self.steps - self.warmup) as f64;
                let at = |step: usize| 1.0 + ((step - self.warmup) as f64 * angle).cos();
                self.rate *= at(step) / at(step - 1);
            }
            self.rate
        }
        // ANCHOR_END: step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: Curve = Curve::Step { milestones: [0.5, 0.75], gamma: 0.1 };

    fn schedule(curve: Curve) -> Schedule {
        Schedule { curve, peak: 1.0, floor: 0.0, steps: 100, warmup: 10 }
    }

    fn cool(share: f64, fall: Fall) -> Curve {
        Curve::CoolDown { share, fall }
    }

    fn all() -> Vec<Curve> {
        vec![
            Curve::Constant,
            Curve::Linear,
            Curve::Cosine,
            Curve::Polynomial(2.0),
            Curve::Exponential,
            MIDDLE,
            Curve::InverseRoot,
            Curve::OneCycle,
            cool(0.2, Fall::Linear),
            cool(0.2, Fall::Root),
            cool(0.2, Fall::Halving),
            Curve::Restarts(3),
        ]
    }

    fn near(schedule: &Schedule, right: &[(usize, f64)]) {
        for (step, right) in right {
            let found = schedule.rate(*step);
            assert!((found - right).abs() < 1e-6, "{:?} at {step}: {found}, not {right}", schedule.curve);
        }
    }

    #[test]
    fn values_by_hand() {
        near(
            &Schedule { floor: 0.1, ..schedule(Curve::Cosine) },
            &[(0, 0.1), (9, 1.0), (10, 1.0), (32, 0.873_703), (55, 0.55), (77, 0.237_404), (99, 0.100_274), (100, 0.1)],
        );
        near(
            &schedule(Curve::Linear),
            &[(10, 1.0), (32, 0.755_556), (55, 0.5), (77, 0.255_556), (99, 0.011_111), (100, 0.0)],
        );
        near(
            &schedule(Curve::Polynomial(2.0)),
            &[(10, 1.0), (32, 0.570_864), (55, 0.25), (77, 0.065_309), (99, 0.000_123)],
        );
        near(&schedule(Curve::Exponential), &[(10, 1.0), (55, 0.1), (100, 0.01)]);
        near(&schedule(MIDDLE), &[(9, 1.0), (49, 1.0), (50, 0.1), (74, 0.1), (75, 0.01), (99, 0.01)]);
        near(
            &schedule(cool(0.2, Fall::Linear)),
            &[(79, 1.0), (80, 1.0), (85, 0.75), (90, 0.5), (95, 0.25), (99, 0.05), (100, 0.0)],
        );
        near(
            &schedule(cool(0.2, Fall::Root)),
            &[(80, 1.0), (85, 0.5), (90, 0.292_893), (95, 0.133_975), (99, 0.025_321)],
        );
        near(&schedule(cool(0.2, Fall::Halving)), &[(80, 1.0), (82, 0.5), (90, 1.0 / 32.0)]);
        near(&schedule(Curve::InverseRoot), &[(10, 1.0), (40, 0.5), (90, 0.333_333), (99, 0.317_821)]);
        // As PyTorch's OneCycleLR.
        near(
            &schedule(Curve::OneCycle),
            &[(0, 0.04), (14, 0.494_013), (29, 1.0), (30, 0.999_497), (64, 0.500_002), (99, 4e-6)],
        );
        let momenta = schedule(Curve::OneCycle).momenta();
        assert!((momenta[0] - 0.95).abs() + (momenta[29] - 0.85).abs() + (momenta[99] - 0.95).abs() < 1e-9);
        // Periods of 1, 2 and 4 parts of 90 / 7 steps.
        let thrice = Schedule { warmup: 0, steps: 70, ..schedule(Curve::Restarts(3)) };
        near(&thrice, &[(0, 1.0), (5, 0.5), (10, 1.0), (20, 0.5), (30, 1.0), (50, 0.5), (70, 0.0)]);
    }

    #[test]
    fn shapes_become_one_another_at_their_ends() {
        let same = |a: &Schedule, b: &Schedule| {
            for step in 0..=100 {
                assert!((a.rate(step) - b.rate(step)).abs() < 1e-9, "{:?} and {:?} at {step}", a.curve, b.curve);
            }
        };
        for curve in all().into_iter().filter(|curve| *curve != Curve::OneCycle) {
            let full = Schedule { floor: 1.0, ..schedule(curve) };
            same(&full, &Schedule { floor: 1.0, ..schedule(Curve::Constant) });
        }
        same(&schedule(Curve::Polynomial(1.0)), &schedule(Curve::Linear));
        same(&schedule(Curve::Restarts(1)), &schedule(Curve::Cosine));
        same(&schedule(cool(0.9, Fall::Linear)), &schedule(Curve::Linear));
        same(&schedule(Curve::Step { milestones: [0.5, 0.75], gamma: 1.0 }), &schedule(Curve::Constant));
        let mean = |curve| schedule(curve).rates().iter().sum::<f64>() / 100.0;
        // Both fall from 1 to 0 with the same mean, but for half a step.
        assert!((mean(Curve::Linear) - mean(Curve::Cosine)).abs() < 1e-9);
        assert!((100.0 * mean(Curve::Linear) - (91.0 / 2.0 + 11.0 / 2.0)).abs() < 1e-9);
    }

    #[test]
    fn rates_stay_between_nothing_and_the_peak_and_do_not_leap() {
        for curve in all() {
            for (steps, warmup) in [(1, 0), (1, 1), (2, 0), (2, 1), (7, 7), (100, 0), (100, 10), (997, 3)] {
                let one = Schedule { steps, warmup, ..schedule(curve) };
                let rates = one.rates();
                assert!(rates.iter().all(|r| (0.0..=1.0 + 1e-12).contains(r)), "{curve:?} {steps} {warmup}: {rates:?}");
                let beyond = one.rate(10 * steps + 3);
                assert!((0.0..=1.0).contains(&beyond), "{curve:?} {steps} {warmup}: {beyond}");
                if curve != Curve::OneCycle {
                    assert!(rates[..warmup].windows(2).all(|pair| pair[0] < pair[1]));
                    if warmup > 0 && warmup < steps {
                        assert_eq!(rates[warmup - 1], 1.0);
                    }
                }
                if steps > 900 && !matches!(curve, Curve::Step { .. } | Curve::Restarts(_) | Curve::InverseRoot) {
                    let leap = rates.windows(2).skip(3).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
                    assert!(leap < 0.08, "{curve:?}: {leap}");
                }
            }
        }
    }

    #[test]
    fn the_counting_one_agrees_until_it_is_resumed_without_its_count() {
        let pure = schedule(Curve::Cosine);
        let mut counting = naive::Scheduler::new(1.0, 100, 10);
        let mut saved = counting;
        for step in 0..100 {
            if step == 60 {
                saved = counting;
            }
            let found = counting.step();
            assert!((found - pure.rate(step)).abs() < 1e-9, "{step}: {found}");
        }
        // With all that is hidden in it, it goes on; made anew, it warms up again in mid-run.
        assert!((saved.step() - pure.rate(60)).abs() < 1e-9);
        assert!((naive::Scheduler::new(1.0, 100, 10).step() - pure.rate(60)).abs() > 0.1);
    }

    #[test]
    fn what_is_no_schedule_is_named() {
        let name = |schedule: Schedule| match schedule.check() {
            Err(LabError::BadParam(BadParam { name, .. })) => name,
            other => format!("{other:?}"),
        };
        let fine = schedule(cool(0.9, Fall::Root));
        assert_eq!(fine.check(), Ok(()));
        assert_eq!(name(Schedule { steps: 0, warmup: 0, ..fine }), "steps");
        assert_eq!(name(Schedule { peak: 0.0, ..fine }), "peak");
        assert_eq!(name(Schedule { floor: 1.5, ..fine }), "floor");
        assert_eq!(name(Schedule { warmup: 11, ..fine }), "cooldown");
        assert_eq!(name(schedule(Curve::Step { milestones: [0.8, 0.5], gamma: 0.1 })), "milestones");
    }

    #[test]
    fn a_shuffle_keeps_the_rates_and_a_plateau_halves_what_has_stopped() {
        let rates = schedule(Curve::Linear).rates();
        let mut other = shuffled(rates.clone(), 3);
        assert_ne!(other, rates);
        other.sort_by(|a, b| b.total_cmp(a));
        let mut sorted = rates;
        sorted.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(other, sorted);
        let mut plateau = Plateau::new(2);
        let factors: Vec<f64> = [3.0, 2.0, 2.5, 2.0, 1.9, 2.0, 2.0].map(|loss| plateau.look(loss)).to_vec();
        assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn in_a_bowl_the_noise_that_stays_is_proportional_to_the_rate() {
        // Stationary: rate / (2 - rate).
        for (rate, right) in [(0.1, 0.052_632), (0.05, 0.025_641), (0.01, 0.005_025)] {
            assert!((in_a_bowl(&vec![rate; 5000], 10.0) - right).abs() < 1e-6);
        }
        let linear = Schedule { peak: 0.12, warmup: 0, ..schedule(Curve::Linear) };
        let constant = in_a_bowl(&[0.0516; 100], 10.0);
        let falling = in_a_bowl(&linear.rates(), 10.0);
        assert!((constant - 0.0290).abs() < 1e-3 && falling < 0.6 * constant, "{constant} {falling}");
    }
}
