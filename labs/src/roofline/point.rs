//! A kernel as it was counted and timed, and what the roofs say about it.

use lab_kit::{
    measure::{
        Work,
        limits::{Demand, Machine, Verdict, bound_by},
    },
    stats::median,
};

use super::roofs::Roofs;

/// One kernel.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) name: String,
    pub(super) work: Work,
    /// Bytes that it touches again and again: which level of the memory they come from.
    pub(super) held_bytes: usize,
    /// Milliseconds that it would take if it had nothing to compute.
    pub(super) overhead_ms: f64,
    /// Milliseconds per call.
    pub(super) ms: Vec<f64>,
}

impl Point {
    pub(super) fn time_ms(&self) -> f64 {
        median(&self.ms)
    }

    pub(super) fn gflops(&self) -> f64 {
        self.work.gflops(1e-3 * self.time_ms())
    }

    /// What the roofs and the overhead allow.
    pub(super) fn verdict(&self, roofs: &Roofs) -> Verdict {
        let machine = Machine {
            flops_per_s: roofs.peak_gflops() * 1e9,
            bytes_per_s: roofs.gb_per_s_at(self.held_bytes) * 1e9,
            capacity_bytes: f64::INFINITY,
            link_bytes_per_s: f64::INFINITY,
            launch_seconds: 1e-3 * self.overhead_ms,
        };
        let demand =
            Demand { flops: self.work.flops as f64, bytes: self.work.bytes as f64, launches: 1.0, ..Demand::default() };
        bound_by(&machine, &demand)
    }

    /// The bound over the time it took: 1 on the roof.
    pub(super) fn share(&self, roofs: &Roofs) -> f64 {
        1e3 * self.verdict(roofs).bound_seconds() / self.time_ms().max(f64::MIN_POSITIVE)
    }
}
