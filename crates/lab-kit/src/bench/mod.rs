//! How much a measurement may claim: intervals where samples hang together, comparisons whose false alarms can be counted,
//! percentiles that enough queries stand behind, and load that does not wait for the answer.

mod blocks;
mod compare;
mod load;
mod stopping;

pub use blocks::{block_bootstrap, effective_samples};
pub use compare::{Gate, Statistic, coefficient_of_variation, gate, naive_speedup, ratio_interval, runs_needed};
pub use load::{Served, closed_loop, open_loop, peak_load, poisson, response_times};
pub use stopping::{claim, late_allowed, min_queries, percentile_interval};
