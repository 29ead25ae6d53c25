//! Which limit binds? Five numbers of a device, four of a model, and divisions.

mod figures;
mod presets;
#[cfg(feature = "schema")]
mod study;

use lab_api::{Family, LabError, Metric, Report};
use lab_kit::{
    Context, Lab,
    measure::limits::{Limit, Machine, Served, Verdict, bound_by},
    report::{MetricExt, metric},
};
use serde::{Deserialize, Serialize};

use presets::{Bits, Device, Model};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Model
    ///
    /// How many weights it has, and how many bytes each token of context leaves in the cache.
    pub model: Model,
    /// Own model: weights
    ///
    /// In billions.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 1000.0), extend("x-unit" = "10⁹", "x-step" = 0.001)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["own"]})))]
    pub billions: f64,
    /// Own model: state of a token
    ///
    /// 2 × layers × heads of keys and values × their size × 2 bytes, for a cache of 16 bits.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 8192.0), extend("x-unit" = "KiB", "x-step" = 0.5)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["own"]})))]
    pub state_kib: f64,
    /// Bits of a weight
    pub weights: Bits,
    /// Bits of the cache
    pub cache: Bits,
    /// Context
    ///
    /// Tokens of each user that the model attends over.
    #[cfg_attr(feature = "schema", schemars(range(min = 128, max = 131_072), extend("x-unit" = "tokens", "x-step" = 128)))]
    pub context: u32,
    /// Users at once
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1024)))]
    pub users: u32,
    /// Device
    ///
    /// Best rates and memory; the sources stand in the chapter.
    pub machine: Device,
    /// Own device: arithmetic
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 10_000.0), extend("x-unit" = "TFLOP/s", "x-step" = 0.01)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "machine", "is": ["own"]})))]
    pub tflops: f64,
    /// Own device: bandwidth
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 20_000.0), extend("x-unit" = "GB/s", "x-step" = 1.0)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "machine", "is": ["own"]})))]
    pub gb_per_s: f64,
    /// Own device: memory
    #[cfg_attr(feature = "schema", schemars(range(min = 0.1, max = 1000.0), extend("x-unit" = "GB", "x-step" = 0.1)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "machine", "is": ["own"]})))]
    pub memory_gb: f64,
    /// Kernels a step starts
    ///
    /// One after another. Together with the next control: the overhead.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 2000), extend("x-step" = 10)))]
    pub kernels: u32,
    /// Starting a kernel
    ///
    /// 0 leaves overhead out. The lab on roofs measures it on your device.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 50.0), extend("x-unit" = "µs", "x-step" = 0.5)))]
    pub launch_us: f64,
    /// Offer: arithmetic
    ///
    /// A device with so many times the arithmetic.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 8.0), extend("x-unit" = "×", "x-step" = 0.25)))]
    pub more_arithmetic: f64,
    /// Offer: bandwidth
    ///
    /// A device with so many times the bandwidth.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 8.0), extend("x-unit" = "×", "x-step" = 0.25)))]
    pub more_bandwidth: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            model: Model::Llama3Small,
            billions: 3.0,
            state_kib: 128.0,
            weights: Bits::Sixteen,
            cache: Bits::Sixteen,
            context: 2048,
            users: 64,
            machine: Device::H100,
            tflops: 2.0,
            gb_per_s: 50.0,
            memory_gb: 4.0,
            kernels: 300,
            launch_us: 0.0,
            more_arithmetic: 1.0,
            more_bandwidth: 1.0,
        }
    }
}

/// Bytes of a GiB: what tools for GPUs count in.
const GIB: f64 = 1_073_741_824.0;
/// Bytes set aside for what a program needs beside weights and state: 5 % of the memory.
const RESERVE: f64 = 0.05;

impl Params {
    fn machine(&self) -> Machine {
        let (flops_per_s, bytes_per_s, capacity_bytes) = match self.machine.rates() {
            Some(rates) => rates,
            None => (self.tflops * 1e12, self.gb_per_s * 1e9, self.memory_gb * 1e9),
        };
        Machine {
            flops_per_s: flops_per_s * self.more_arithmetic,
            bytes_per_s: bytes_per_s * self.more_bandwidth,
            capacity_bytes: capacity_bytes * (1.0 - RESERVE),
            link_bytes_per_s: f64::INFINITY,
            launch_seconds: self.launch_us * 1e-6,
        }
    }

    fn served(&self) -> Served {
        let (parameters, state) = self.model.sizes().unwrap_or((self.billions * 1e9, self.state_kib * 1024.0));
        Served {
            parameters,
            weight_bits: self.weights.bits(),
            state_bytes_per_token: state * self.cache.bits() / 16.0,
            context: f64::from(self.context),
            users: f64::from(self.users),
            launches: f64::from(self.kernels),
            sent_bytes: 0.0,
        }
    }

    /// As it was before anybody optimized or bought anything.
    fn before(&self) -> Self {
        let (weights, cache) = (Bits::Sixteen, Bits::Sixteen);
        Self { weights, cache, more_arithmetic: 1.0, more_bandwidth: 1.0, ..self.clone() }
    }
}

/// The lab.
pub struct Limits;

impl Lab for Limits {
    const ID: &'static str = "limits";
    type Params = Params;

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.checkpoint().await?;
        let (machine, served) = (params.machine(), params.served());
        let verdict = bound_by(&machine, &served.decode());
        let before = params.before();
        let earlier = bound_by(&before.machine(), &before.served().decode());
        Ok(Report {
            metrics: metrics(&machine, &served, &verdict, &earlier),
            tables: vec![figures::terms(&verdict)],
            charts: vec![figures::users(&machine, &served)],
            notes: notes(&machine, &served, &verdict),
        })
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        let _ = cx;
        Ok(Some(study::run()))
    }
}

fn metrics(machine: &Machine, served: &Served, verdict: &Verdict, earlier: &Verdict) -> Vec<Metric> {
    const SAME: &str = "divisions of the same numbers on every device";
    let number = |family: Family, id: &str, label: &str, value: f64, unit: &str| {
        metric(family, id, label, value, unit).exact(1e-6 * value.abs(), SAME)
    };
    let demand = served.decode();
    let mut metrics = vec![
        number(Family::Memory, "held_bytes", "Weights and state", demand.resident_bytes, "bytes")
            .lower()
            .help("What must be in memory for all users at once."),
        number(Family::Memory, "users_fit", "Users that fit", served.users_that_fit(machine, 0.0), "")
            .higher()
            .help("Whose state fits beside the weights, with a twentieth of the memory set aside."),
        number(Family::Scale, "context_limit", "Context beyond which batching stops helping", served.context_without_batching(machine), "tokens")
            .help("Each user then brings more seconds of state than of arithmetic, so that decode is bound by bytes at every batch."),
        number(Family::Utilization, "balance", "Balance of the device", machine.flops_per_s / machine.bytes_per_s, "FLOP/byte")
            .help("Operations it can do while a byte arrives."),
    ];
    if verdict.limit == Limit::Capacity {
        return metrics;
    }
    let seconds = verdict.bound_seconds();
    metrics.extend([
        number(Family::Time, "step_ms", "One token for every user, at best", 1e3 * seconds, "ms")
            .lower()
            .baseline(1e3 * earlier.bound_seconds())
            .help("A bound: no program is faster. The baseline has 16 bits everywhere and takes no offer."),
        number(Family::Scale, "tokens_per_s", "Tokens per second, all users", served.users / seconds, "tokens/s")
            .higher()
            .baseline(served.users / earlier.bound_seconds()),
        number(Family::Utilization, "arithmetic_used", "Arithmetic in use", 100.0 * verdict.seconds[0] / seconds, "%")
            .higher()
            .help("Share of the step in which the device's arithmetic has something to do."),
        number(Family::Utilization, "ceiling", "Most that removing the binding limit can bring", verdict.ceiling, "×")
            .help("Its time over that of the next limit."),
        number(
            Family::Time,
            "prefill_ms",
            "Reading one user's context, at best",
            1e3 * bound_by(machine, &served.prefill()).bound_seconds(),
            "ms",
        )
        .detail()
        .lower(),
    ]);
    metrics
}

fn notes(machine: &Machine, served: &Served, verdict: &Verdict) -> Vec<String> {
    let helps = match verdict.limit {
        Limit::Capacity => {
            "fewer bits for weights or cache, heads that share keys and values, a shorter or windowed context, a second device"
        }
        Limit::Bandwidth => {
            "fewer bits for what is read most, more users for each read of the weights, a smaller cache"
        }
        Limit::Arithmetic => {
            "lower precision that the hardware multiplies faster, a smaller or sparser model, fewer tokens"
        }
        Limit::Link => "fewer and larger messages, another way to split the model",
        Limit::Overhead => "fusion, compilation, larger batches: fewer starts for the same work",
    };
    let mut notes = Vec::new();
    if verdict.limit == Limit::Capacity {
        notes.push(format!(
            "It does not fit: {:.2} GiB are asked for, and {:.2} GiB can be had. What helps: {helps}.",
            served.decode().resident_bytes / GIB,
            machine.capacity_bytes / GIB
        ));
        return notes;
    }
    notes.push(format!("{} binds. What helps: {helps}.", capital(verdict.limit.name())));
    let (weights, state) = (served.weight_bytes(), served.users * served.state_bytes());
    if verdict.limit == Limit::Bandwidth && state > weights {
        notes.push("Most of the bytes are state: fewer bits for the weights no longer help much.".into());
    }
    notes.push(match served.users_to_ridge(machine) {
        None => "At this context no number of users makes arithmetic the limit.".into(),
        Some(users) if users > served.users_that_fit(machine, 0.0) => {
            format!("Arithmetic would bind from {users:.0} users on, more than fit.")
        }
        Some(users) => format!("Arithmetic binds from {users:.0} users on."),
    });
    notes.push(format!(
        "It fits: {:.2} of {:.2} GiB are taken.",
        served.decode().resident_bytes / GIB,
        machine.capacity_bytes / GIB
    ));
    notes
}

fn capital(word: &str) -> String {
    word.chars().next().map_or_else(String::new, |first| first.to_uppercase().chain(word.chars().skip(1)).collect())
}

#[cfg(test)]
mod tests {
    use lab_kit::testing::{FakeClock, context, ready};

    use super::*;

    fn run(params: Params) -> Report {
        let mut cx = context(std::rc::Rc::new(FakeClock::new(0.1)));
        ready(Limits::run(params, &mut cx)).expect("runs")
    }

    fn value(report: &Report, id: &str) -> f64 {
        report.metric(id).expect("reported").value
    }

    #[test]
    fn the_chapters_example() {
        let report = run(Params::default());
        assert!((value(&report, "step_ms") - 9.92).abs() < 0.01);
        assert!((value(&report, "tokens_per_s") - 6450.0).abs() < 5.0);
        assert!((value(&report, "context_limit") - 415.0).abs() < 1.0);
        assert!((value(&report, "ceiling") - 9.55).abs() < 0.05);
        assert!(report.notes[0].starts_with("Bandwidth binds"), "{:?}", report.notes);
        // 16.06 GB of weights and 17.18 GB of state, of 76 GB.
        assert_eq!(report.notes.last().map(String::as_str), Some("It fits: 30.96 of 70.78 GiB are taken."));
        // Twice the arithmetic brings nothing; 1.43 times the bandwidth brings 1.43 times.
        let arithmetic = run(Params { more_arithmetic: 2.0, ..Params::default() });
        assert_eq!(value(&arithmetic, "step_ms"), value(&report, "step_ms"));
        let bandwidth = run(Params { more_bandwidth: 1.43, ..Params::default() });
        assert!((value(&report, "step_ms") / value(&bandwidth, "step_ms") - 1.43).abs() < 1e-9);
    }

    #[test]
    fn what_does_not_fit_has_no_rate() {
        let report = run(Params { model: Model::Llama3Large, ..Params::default() });
        assert!(report.metric("step_ms").is_none() && report.metric("held_bytes").is_some());
        assert!(report.notes[0].starts_with("It does not fit"), "{:?}", report.notes);
        report.check().expect("sound");
    }

    #[test]
    fn every_preset_and_corner_gives_a_sound_report() {
        for model in Model::ALL {
            for device in Device::ALL {
                for users in [1, 1024] {
                    let params =
                        Params { model, machine: device, users, launch_us: 5.0, context: 128, ..Params::default() };
                    run(params).check().expect("sound");
                }
            }
        }
    }
}
