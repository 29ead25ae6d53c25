//! Which limit of a device binds a piece of work, from counts and rates alone: the roofline with a third and a fourth term.
//!
//! Nothing here is measured. What comes out is a bound: a program may be slower, none can be faster.

use crate::order::Ordered as _;

/// What a device offers, in units per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Operations per second, in the precision that is used.
    pub flops_per_s: f64,
    /// Bytes per second of the memory that holds the model.
    pub bytes_per_s: f64,
    /// Bytes that this memory holds; infinite where it does not matter.
    pub capacity_bytes: f64,
    /// Bytes per second to the next device; infinite for a device alone.
    pub link_bytes_per_s: f64,
    /// Seconds that starting one kernel takes, whatever it computes.
    pub launch_seconds: f64,
}

/// What a piece of work asks for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Demand {
    /// Operations.
    pub flops: f64,
    /// Bytes that pass between memory and processor.
    pub bytes: f64,
    /// Bytes that must be held.
    pub resident_bytes: f64,
    /// Bytes sent to other devices.
    pub sent_bytes: f64,
    /// Kernels started one after another.
    pub launches: f64,
}

/// What a piece of work runs out of first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// It does not fit.
    Capacity,
    /// Operations per second.
    Arithmetic,
    /// Bytes per second.
    Bandwidth,
    /// Bytes per second between devices.
    Link,
    /// Starting kernels.
    Overhead,
}

impl Limit {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Arithmetic => "arithmetic",
            Self::Bandwidth => "bandwidth",
            Self::Link => "link",
            Self::Overhead => "overhead",
        }
    }
}

/// The limits of a piece of work on a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What binds.
    pub limit: Limit,
    /// What each limit alone would take, in seconds: arithmetic, bandwidth, link, overhead.
    pub seconds: [f64; 4],
    /// What removing the binding limit altogether can bring at most: its time over the next longest. Infinite where no other
    /// limit takes any time.
    pub ceiling: f64,
}

impl Verdict {
    /// The bound, in seconds: the longest of the four.
    #[must_use]
    pub fn bound_seconds(&self) -> f64 {
        self.seconds.into_iter().fold(0.0, f64::max)
    }
}

/// The order of [`Verdict::seconds`].
pub const RATES: [Limit; 4] = [Limit::Arithmetic, Limit::Bandwidth, Limit::Link, Limit::Overhead];

// ANCHOR: bound_by
/// Which limit binds. Beyond the capacity nothing else matters; else it is the term that takes longest (all four may overlap).
/// Of equal terms the first of [`RATES`] is named: the ridge belongs to arithmetic.
#[must_use]
pub fn bound_by(machine: &Machine, demand: &Demand) -> Verdict {
    let over = |amount: f64, rate: f64| if amount > 0.0 { amount / rate } else { 0.0 };
    let seconds = [
        over(demand.flops, machine.flops_per_s),
        over(demand.bytes, machine.bytes_per_s),
        over(demand.sent_bytes, machine.link_bytes_per_s),
        demand.launches * machine.launch_seconds,
    ];
    let mut order = [0, 1, 2, 3];
    order.ordered_by(&|a, b| seconds[*b].total_cmp(&seconds[*a]));
    let fits = demand.resident_bytes <= machine.capacity_bytes;
    let limit = if fits { RATES[order[0]] } else { Limit::Capacity };
    Verdict { limit, seconds, ceiling: seconds[order[0]] / seconds[order[1]] }
}
// ANCHOR_END: bound_by

/// Operations per byte from which on arithmetic is the limit.
#[must_use]
pub fn balance(machine: &Machine) -> f64 {
    machine.flops_per_s / machine.bytes_per_s
}

// ANCHOR: intensity_linear
/// Operations per byte of a layer of `inputs x outputs` weights of `weight_bits` bits on `batch` rows of FP32.
#[must_use]
pub fn intensity_linear(batch: f64, inputs: f64, outputs: f64, weight_bits: f64) -> f64 {
    let bytes = inputs * outputs * weight_bits / 8.0 + 4.0 * batch * (inputs + outputs);
    2.0 * batch * inputs * outputs / bytes
}
// ANCHOR_END: intensity_linear

/// A language model as a server holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// Weights.
    pub parameters: f64,
    /// Bits of a weight.
    pub weight_bits: f64,
    /// Bytes of keys and values that a token of context takes.
    pub state_bytes_per_token: f64,
    /// Tokens of context of each user.
    pub context: f64,
    /// Users served together.
    pub users: f64,
    /// Kernels that a step starts.
    pub launches: f64,
    /// Bytes that a step sends to other devices.
    pub sent_bytes: f64,
}

impl Served {
    /// Bytes of the weights.
    #[must_use]
    pub fn weight_bytes(&self) -> f64 {
        self.parameters * self.weight_bits / 8.0
    }

    /// Bytes of one user's state.
    #[must_use]
    pub fn state_bytes(&self) -> f64 {
        self.state_bytes_per_token * self.context
    }

    /// One token for each user. Operations are those of the weights, two a weight and user; attention's are left out.
    #[must_use]
    pub fn decode(&self) -> Demand {
        let bytes = self.weight_bytes() + self.users * self.state_bytes();
        Demand {
            flops: 2.0 * self.parameters * self.users,
            bytes,
            resident_bytes: bytes,
            sent_bytes: self.sent_bytes,
            launches: self.launches,
        }
    }

    /// Reading one user's context at once.
    #[must_use]
    pub fn prefill(&self) -> Demand {
        let bytes = self.weight_bytes() + self.state_bytes();
        Demand {
            flops: 2.0 * self.parameters * self.context,
            bytes,
            resident_bytes: bytes,
            sent_bytes: self.sent_bytes * self.context,
            launches: self.launches,
        }
    }

    /// Tokens of context beyond which decode is bound by bytes at every batch, since each user brings more seconds of state
    /// than of arithmetic: `2 N β / (π k)`. Infinite where a token leaves no state.
    #[must_use]
    pub fn context_without_batching(&self, machine: &Machine) -> f64 {
        2.0 * self.parameters / machine.flops_per_s / (self.state_bytes_per_token / machine.bytes_per_s)
    }

    /// Users whose state fits beside the weights, with `reserve_bytes` set aside.
    #[must_use]
    pub fn users_that_fit(&self, machine: &Machine, reserve_bytes: f64) -> f64 {
        let room = machine.capacity_bytes - reserve_bytes - self.weight_bytes();
        if room < 0.0 { 0.0 } else { (room / self.state_bytes()).floor() }
    }

    /// Users from which on arithmetic takes longer than bytes; `None` where state never lets it.
    #[must_use]
    pub fn users_to_ridge(&self, machine: &Machine) -> Option<f64> {
        let gained = 2.0 * self.parameters / machine.flops_per_s - self.state_bytes() / machine.bytes_per_s;
        (gained > 0.0).then(|| self.weight_bytes() / machine.bytes_per_s / gained)
    }
}

/// A stretch of buffer sizes over which the bandwidth stays about the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The largest buffer of the stretch, in bytes.
    pub up_to_bytes: f64,
    /// Bytes per second, the middle of the stretch.
    pub bytes_per_s: f64,
}

/// A step down of a quarter or more ends a level: timing on a busy machine scatters by a tenth.
const STEP: f64 = 0.75;

/// The levels of a memory as its bandwidth shows them: `points` are `(bytes, bytes per second)` by rising size. A rate that is
/// a quarter below the middle of its level begins the next, unless the one after it is back up: a single slow measurement is
/// no level.
#[must_use]
pub fn fit_levels(points: &[(f64, f64)]) -> Vec<Level> {
    let mut levels = Vec::new();
    let mut rates: Vec<f64> = Vec::new();
    for (i, (bytes, rate)) in points.iter().enumerate() {
        let middle = crate::stats::median(&rates);
        let falls = |rate: f64| !rates.is_empty() && rate < STEP * middle;
        let stays_down = points.get(i + 1).is_none_or(|(_, next)| falls(*next));
        if falls(*rate) && stays_down {
            levels.push(Level { up_to_bytes: points[i - 1].0, bytes_per_s: middle });
            rates.clear();
        }
        rates.push(*rate);
        if i + 1 == points.len() {
            levels.push(Level { up_to_bytes: *bytes, bytes_per_s: crate::stats::median(&rates) });
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::measure::Work;

    /// One H100: dense bf16 and HBM as tabulated by Austin et al. (2025), "How to Scale Your Model".
    const H100: Machine = Machine {
        flops_per_s: 989e12,
        bytes_per_s: 3.35e12,
        capacity_bytes: 80e9,
        link_bytes_per_s: f64::INFINITY,
        launch_seconds: 0.0,
    };
    const LLAMA3_8B: Served = Served {
        parameters: 8.03e9,
        weight_bits: 16.0,
        state_bytes_per_token: 131_072.0,
        context: 2048.0,
        users: 1.0,
        launches: 0.0,
        sent_bytes: 0.0,
    };

    fn near(found: f64, expected: f64, digits: i32) {
        let off = (found / expected - 1.0).abs();
        assert!(off < 0.5 * 10f64.powi(1 - digits), "{found}, not {expected}");
    }

    #[test]
    fn published_machines_have_their_balance() {
        let of = |flops_per_s, bytes_per_s| balance(&Machine { flops_per_s, bytes_per_s, ..H100 });
        near(of(17.6e9, 15e9), 1.17, 3); // Opteron X2 (Williams et al., 2009)
        near(balance(&H100), 295.0, 3);
        near(of(1.97e14, 8.1e11), 243.0, 3); // TPU v5e
        near(of(9.2e14, 1.6e12), 575.0, 3); // TPU v6e
    }

    #[test]
    fn the_table_of_the_chapter() {
        // Users, seconds of bytes, seconds of arithmetic, tokens per second: redone by hand in the chapter.
        for (users, bytes, arithmetic, rate) in [
            (1.0, 4.87e-3, 0.0162e-3, 205.0),
            (8.0, 5.44e-3, 0.13e-3, 1472.0),
            (64.0, 9.92e-3, 1.04e-3, 6450.0),
            (128.0, 15.05e-3, 2.08e-3, 8505.0),
            (200.0, 20.82e-3, 3.25e-3, 9606.0),
        ] {
            let verdict = bound_by(&H100, &Served { users, ..LLAMA3_8B }.decode());
            assert_eq!(verdict.limit, Limit::Bandwidth);
            near(verdict.seconds[1], bytes, 3);
            near(verdict.seconds[0], arithmetic, 2);
            near(users / verdict.bound_seconds(), rate, 3);
        }
        near(LLAMA3_8B.context_without_batching(&H100), 415.0, 3);
        assert_eq!(LLAMA3_8B.users_that_fit(&H100, 4e9), 223.0);
        assert_eq!(LLAMA3_8B.users_to_ridge(&H100), None);
        // 512 KiB a token and 6.74e9 weights: Llama-2-7B.
        let older = Served { parameters: 6.74e9, state_bytes_per_token: 524_288.0, ..LLAMA3_8B };
        near(older.context_without_batching(&H100), 87.0, 2);
        // 4-bit weights and an 8-bit cache.
        let packed = Served { weight_bits: 4.0, state_bytes_per_token: 65_536.0, ..LLAMA3_8B };
        near(packed.decode().bytes, 4.15e9, 3);
        assert_eq!(packed.users_that_fit(&H100, 4e9), 536.0);
        // A prompt of 2,048 tokens: 32.9 TFLOP.
        let prompt = bound_by(&H100, &LLAMA3_8B.prefill());
        assert_eq!(prompt.limit, Limit::Arithmetic);
        near(prompt.bound_seconds(), 33.3e-3, 3);
    }

    #[test]
    fn corners() {
        let machine = Machine {
            flops_per_s: 100.0,
            bytes_per_s: 20.0,
            capacity_bytes: 50.0,
            link_bytes_per_s: 10.0,
            launch_seconds: 1.0,
        };
        let work = |flops, bytes| Demand { flops, bytes, ..Demand::default() };
        // On the ridge both take a second, and arithmetic is named; nothing is gained by removing it.
        let ridge = bound_by(&machine, &work(100.0, 20.0));
        assert_eq!((ridge.limit, ridge.ceiling), (Limit::Arithmetic, 1.0));
        assert_eq!(bound_by(&machine, &work(100.0, 0.0)).limit, Limit::Arithmetic);
        let bytes = bound_by(&machine, &work(50.0, 40.0));
        assert_eq!((bytes.limit, bytes.ceiling), (Limit::Bandwidth, 4.0));
        assert_eq!(bound_by(&machine, &Demand { launches: 3.0, ..work(50.0, 40.0) }).limit, Limit::Overhead);
        assert_eq!(bound_by(&machine, &Demand { sent_bytes: 25.0, ..work(50.0, 40.0) }).limit, Limit::Link);
        assert_eq!(bound_by(&machine, &Demand { resident_bytes: 51.0, ..work(50.0, 40.0) }).limit, Limit::Capacity);
        let nothing = Served { parameters: 1e12, ..LLAMA3_8B };
        assert_eq!(nothing.users_that_fit(&H100, 0.0), 0.0);
        // Without state, arithmetic binds from balance * bytes of a weight / 2 users on.
        let stateless = Served { state_bytes_per_token: 0.0, ..LLAMA3_8B };
        near(stateless.users_to_ridge(&H100).expect("a ridge"), balance(&H100), 6);
        assert_eq!(stateless.context_without_batching(&H100), f64::INFINITY);
    }

    #[test]
    fn the_closed_form_of_a_layer_is_that_of_the_counts() {
        for (batch, inputs, outputs) in [(1, 1, 1), (7, 13, 5), (64, 4096, 4096)] {
            let counted = Work::matmul(batch, inputs, outputs, 4).intensity();
            near(intensity_linear(batch as f64, inputs as f64, outputs as f64, 32.0), counted, 9);
        }
        // Wide and one column: 16 over the bits.
        near(intensity_linear(1.0, 1e6, 1e6, 4.0), 4.0, 4);
        near(intensity_linear(8.0, 1e6, 1e6, 32.0), 4.0, 4);
    }

    #[test]
    fn planted_steps_are_found_and_no_others() {
        let mut rng = crate::rng(3, "noise");
        let sizes: Vec<f64> = (0..14).map(|i| f64::from(16 << i) * 1024.0).collect();
        let stairs = |rate: &dyn Fn(f64) -> f64, rng: &mut rand_chacha::ChaCha8Rng| -> Vec<(f64, f64)> {
            sizes.iter().map(|size| (*size, rate(*size) * rng.random_range(0.95..1.05))).collect()
        };
        let flat = stairs(&|_| 80e9, &mut rng);
        assert_eq!(fit_levels(&flat).len(), 1);
        let mib = f64::from(1 << 20);
        let two = stairs(
            &|size| {
                if size <= mib {
                    80e9
                } else if size <= 16.0 * mib {
                    40e9
                } else {
                    12e9
                }
            },
            &mut rng,
        );
        let levels = fit_levels(&two);
        assert_eq!(levels.iter().map(|level| level.up_to_bytes / mib).collect::<Vec<_>>(), [1.0, 16.0, 128.0]);
        near(levels[2].bytes_per_s, 12e9, 2);
        // One slow measurement is no level.
        let mut dip = flat;
        dip[5].1 = 20e9;
        assert_eq!(fit_levels(&dip).len(), 1);
        assert_eq!(fit_levels(&[]), []);
    }
}
