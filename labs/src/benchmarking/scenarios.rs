//! The four scenarios, after MLPerf Inference: one user, a rig of eight cameras, a crowd, a batch job.

use lab_api::LabError;
use lab_kit::{
    Context,
    bench::{self, Served, closed_loop, open_loop, peak_load, poisson, response_times},
    serving::quantile,
    stats::median,
};
use rand::Rng;

use super::{Disturbance, Params, disturb::Disturber, machine::Machine};

/// Queries of one user at least: as many as a claim about 90 of 100 needs.
const QUERIES: usize = 64;
/// Samples of a query of the rig, and its queries.
pub(super) const STREAMS: usize = 8;
const RIG_QUERIES: usize = 24;
/// Samples at once, of the batch job.
const BATCHES: [usize; 4] = [1, 4, 16, 32];
/// Queries of the recursion.
const SIMULATED: usize = 20_000;
/// Share of the answers that must come in time.
pub(super) const IN_TIME: f64 = 0.99;
/// Loads of the curve.
const LOADS: [f64; 12] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95];

/// What a variant does in each.
pub(super) struct Scenarios {
    /// Milliseconds of each query of one user.
    pub(super) single: Vec<f64>,
    /// Milliseconds of each query of eight samples.
    pub(super) rig: Vec<f64>,
    /// Samples at once, and samples a second.
    pub(super) offline: Vec<[f64; 2]>,
    /// Really served: only for the candidate.
    pub(super) live: Vec<Served>,
    /// What the recursion foretells for the live run from the times of one user: a latency.
    pub(super) foretold_p90: f64,
    /// Highest load within the bound, as a share of the capacity.
    pub(super) peak: f64,
    /// Samples a second, and the milliseconds that 99 of 100 do not exceed.
    pub(super) curve: Vec<[f64; 2]>,
}

impl Scenarios {
    /// Samples a second of one after the other, at the middle latency.
    pub(super) fn capacity(&self) -> f64 {
        1e3 / median(&self.single).max(f64::MIN_POSITIVE)
    }

    /// Samples a second of the best batch.
    pub(super) fn best_offline(&self) -> [f64; 2] {
        self.offline.iter().copied().fold([1.0, 0.0], |best, now| if now[1] > best[1] { now } else { best })
    }

    pub(super) async fn measure(
        machine: &Machine,
        variant: usize,
        params: &Params,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let disturber = Disturber::new(params.disturbance, cx);
        let single = closed(machine, (variant, 1), (QUERIES, 500.0 * params.seconds), &disturber, cx).await?;
        // The rig and the batch job are spared: a single pause would be most of what they take.
        let calm = Disturber::new(Disturbance::None, cx);
        let rig = closed(machine, (variant, STREAMS), (RIG_QUERIES, 0.0), &calm, cx).await?;
        let mut offline = Vec::new();
        for batch in BATCHES {
            let times = closed(machine, (variant, batch), (3, 0.0), &calm, cx).await?;
            offline.push([batch as f64, 1e3 * batch as f64 / median(&times).max(f64::MIN_POSITIVE)]);
        }
        let middle = median(&single);
        let mut found =
            Self { single, rig, offline, live: Vec::new(), foretold_p90: 0.0, peak: 0.0, curve: Vec::new() };
        if variant == machine.candidate() {
            let rate = found.capacity() * f64::from(params.load) / 100.0;
            let count = ((rate * params.seconds) as usize).max(5);
            let schedule = poisson(count, rate, &mut cx.rng("schedule"));
            found.live = live(machine, variant, &schedule, params.disturbance, cx).await?;
        }
        found.foretell(params, middle, cx).await?;
        Ok(found)
    }

    /// What the recursion says, from the times of one user, drawn again.
    async fn foretell(&mut self, params: &Params, middle: f64, cx: &Context) -> Result<(), LabError> {
        let mut rng = cx.rng("recursion");
        let service: Vec<f64> = (0..SIMULATED).map(|_| self.single[rng.random_range(0..self.single.len())]).collect();
        let arrivals = poisson(SIMULATED, 1e3 / middle.max(f64::MIN_POSITIVE), &mut rng);
        let at = |load: f64, share: f64| {
            let spread: Vec<f64> = arrivals.iter().map(|time| time / load).collect();
            quantile(&response_times(&spread, &service), share)
        };
        self.foretold_p90 = at((f64::from(params.load) / 100.0).min(0.98), 0.9);
        cx.checkpoint().await?;
        self.peak = peak_load(&arrivals, &service, params.bound * middle, IN_TIME);
        for load in LOADS {
            cx.checkpoint().await?;
            let rate = load * self.capacity();
            self.curve.push([rate, at(load, IN_TIME)]);
        }
        Ok(())
    }
}

/// Queries of `samples`, the next when the last is done: so many, and for so many milliseconds.
async fn closed(
    machine: &Machine,
    (variant, samples): (usize, usize),
    (count, span_ms): (usize, f64),
    disturber: &Disturber,
    cx: &Context,
) -> Result<Vec<f64>, LabError> {
    let call = async || {
        machine.query(variant, samples, cx).await?;
        disturber.pause(0.0, 0.0, cx).await
    };
    closed_loop(cx, count, span_ms, call).await
}

/// Queries of one sample by a schedule.
pub(super) async fn live(
    machine: &Machine,
    variant: usize,
    schedule: &[f64],
    disturbance: Disturbance,
    cx: &Context,
) -> Result<Vec<Served>, LabError> {
    let disturber = Disturber::new(disturbance, cx);
    let call = async || {
        machine.query(variant, 1, cx).await?;
        disturber.pause(0.0, 0.0, cx).await
    };
    open_loop(cx, schedule, call).await
}

/// What may be claimed of a percentile, or what is lacking.
pub(super) fn told(latencies: &[f64], p: f64) -> Result<f64, String> {
    bench::claim(latencies, p, 0.99)
        .ok_or_else(|| format!("needs {} queries, had {}", bench::min_queries(1, p, 0.99), latencies.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_from_too_few_queries_is_refused_with_what_is_lacking() {
        assert_eq!(told(&[1.0; 300], 0.99), Err("needs 662 queries, had 300".into()));
        assert_eq!(told(&[1.0; 64], 0.9), Ok(1.0));
        assert_eq!(told(&[], 0.9), Err("needs 64 queries, had 0".into()));
    }
}
