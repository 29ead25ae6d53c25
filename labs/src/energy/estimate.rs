//! One figure and how far it may be off: carbon of a reply, input by input and all at once.

use lab_kit::{
    Context,
    measure::footprint::{Embodied, GRIDS, Ranged, Site, footprint, monte_carlo, tornado},
    stats::{median, median_interval},
};

use super::{Params, subject::Run};

/// Tokens of a reply.
pub(super) const REPLY: f64 = 256.0;
const DRAWS: usize = 10_000;

/// Grams of a reply: each input's reach, and all of them together.
pub(super) struct Band {
    /// Name, smallest and largest grams, the widest first.
    pub(super) bars: Vec<(&'static str, f64, f64)>,
    /// 5th, 50th and 95th percentile of the grams.
    pub(super) percentiles: [f64; 3],
}

// ANCHOR: inputs
/// The inputs of the figure and how far each may plausibly be off. Only the time was measured.
pub(super) fn inputs(run: &Run, params: &Params, cx: &Context) -> Vec<Ranged> {
    let ms = median_interval(&run.pair.second, 0.95, &mut cx.rng("time"));
    let seconds = |ms: f64| 1e-3 * ms * REPLY;
    let about = |name, mid: f64, factor: f64| Ranged { name, low: mid / factor, mid, high: mid * factor };
    let time = Ranged {
        name: "Time (measured)",
        low: seconds(ms.low),
        mid: seconds(median(&run.pair.second)),
        high: seconds(ms.high),
    };
    let grid = Ranged { name: "Grid", low: GRIDS[0].1, mid: params.grid_grams(), high: GRIDS[GRIDS.len() - 1].1 };
    vec![
        time,
        about("Watts at work", params.watts()[1], 3.0),
        grid,
        Ranged { name: "Overhead of the building", low: 1.0, mid: params.overhead, high: params.overhead.max(1.6) },
        about("Making the device", params.embodied_kg, 2.0),
        about("Share of time at work", 0.01 * params.busy, 3.0),
    ]
}
// ANCHOR_END: inputs

/// Grams of CO2 equivalent from the inputs in their order.
pub(super) fn grams(values: &[f64], years: f64) -> f64 {
    let &[seconds, watts, grams_per_kwh, overhead, kilograms, busy_share] = values else { return 0.0 };
    let site = Site { overhead, grams_per_kwh, price_per_kwh: 0.0, litres_on_site: 0.0, litres_at_source: 0.0 };
    let made = Embodied { kilograms, years, busy_share: busy_share.min(1.0) };
    footprint(watts * seconds, seconds, &site, &made).grams()
}

impl Band {
    pub(super) fn of(run: &Run, params: &Params, cx: &Context) -> Self {
        let inputs = inputs(run, params, cx);
        // What is zero has no range on a logarithmic scale.
        let drawn: Vec<Ranged> = inputs
            .iter()
            .map(|input| Ranged { low: input.low.max(1e-12), high: input.high.max(1e-12), ..*input })
            .collect();
        let estimate = |values: &[f64]| grams(values, params.years);
        Self {
            bars: tornado(&inputs, estimate),
            percentiles: monte_carlo(&drawn, DRAWS, &mut cx.rng("draws"), estimate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_by_hand() {
        // 0.15 s at 15 W are 2.25 J: at 369 g/kWh 0.2306 mg. 200 kg over 4 years at a tenth: 15.85 mg a second.
        let operational = grams(&[0.15, 15.0, 369.0, 1.0, 0.0, 0.1], 4.0);
        assert!((operational * 1e3 - 0.2306).abs() < 1e-3, "{operational}");
        let whole = grams(&[0.15, 15.0, 369.0, 1.0, 200.0, 0.1], 4.0);
        assert!((whole * 1e3 - 0.2306 - 0.15 * 15.85).abs() < 2e-3, "{whole}");
    }
}
