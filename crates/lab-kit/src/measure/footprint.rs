//! From joules to kilowatt-hours, carbon, water and money, with every assumption an input: arithmetic alone, shared by labs,
//! calculators and tests.

use crate::order::Ordered as _;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Joules of a kilowatt-hour.
pub const JOULES_PER_KWH: f64 = 3.6e6;
/// Joules of a watt-hour.
pub const JOULES_PER_WH: f64 = 3.6e3;
/// Seconds of a year of 365 days.
pub const SECONDS_PER_YEAR: f64 = 365.0 * 86_400.0;

/// Grams of CO2 equivalent for a kilowatt-hour, a year's average over a country: location-based, 2023, lowest first. Our World in
/// Data (CC BY, after Ember and the Energy Institute) as CodeCarbon ships it, rounded to whole grams.
pub const GRIDS: [(&str, f64); 10] = [
    ("Norway", 30.0),
    ("Sweden", 41.0),
    ("France", 56.0),
    ("United Kingdom", 238.0),
    ("United States", 369.0),
    ("Germany", 381.0),
    ("China", 582.0),
    ("Poland", 662.0),
    ("South Africa", 708.0),
    ("India", 713.0),
];

/// Where something runs, and what a kilowatt-hour means there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Site {
    /// Energy at the plug over energy of the computers (PUE): supply and cooling. 1 or more.
    pub overhead: f64,
    /// Grams of CO2 equivalent for a kilowatt-hour at the plug.
    pub grams_per_kwh: f64,
    /// Price of a kilowatt-hour at the plug.
    pub price_per_kwh: f64,
    /// Litres evaporated on site for a kilowatt-hour of the computers.
    pub litres_on_site: f64,
    /// Litres consumed where a kilowatt-hour at the plug is generated.
    pub litres_at_source: f64,
}

/// What making a machine emitted, and how it is laid to its use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Embodied {
    /// Kilograms of CO2 equivalent of making it.
    pub kilograms: f64,
    /// Years it is kept.
    pub years: f64,
    /// Share of those years in which it works: idle time is laid to the work, too.
    pub busy_share: f64,
}

impl Embodied {
    /// Grams for each second of work.
    #[must_use]
    pub fn grams_per_second(&self) -> f64 {
        1e3 * self.kilograms / (self.years * SECONDS_PER_YEAR * self.busy_share)
    }
}

/// What a piece of work leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Footprint {
    /// Kilowatt-hours at the plug.
    pub kwh: f64,
    /// Grams of CO2 equivalent of generating them.
    pub operational_grams: f64,
    /// Grams of CO2 equivalent of making the machine, laid to this work.
    pub embodied_grams: f64,
    /// Litres of water, on site and at the source.
    pub litres: f64,
    /// Price of the energy.
    pub cost: f64,
}

impl Footprint {
    /// Both kinds of carbon.
    #[must_use]
    pub fn grams(&self) -> f64 {
        self.operational_grams + self.embodied_grams
    }
}

// ANCHOR: footprint
/// What `joules` of the computers, spent in `seconds` of work, leave behind: the Software Carbon Intensity of ISO/IEC 21031,
/// `E I + M`, and water as on site plus `overhead` times that of generation (Li et al., 2023, arXiv:2304.03271).
#[must_use]
pub fn footprint(joules: f64, seconds: f64, site: &Site, made: &Embodied) -> Footprint {
    let computers = joules / JOULES_PER_KWH;
    let kwh = computers * site.overhead;
    Footprint {
        kwh,
        operational_grams: kwh * site.grams_per_kwh,
        embodied_grams: seconds * made.grams_per_second(),
        litres: computers * (site.litres_on_site + site.overhead * site.litres_at_source),
        cost: kwh * site.price_per_kwh,
    }
}
// ANCHOR_END: footprint

/// Uses after which something that cost `extra` once has paid, if each use took `before` and takes `after`; `None` where it
/// never does.
#[must_use]
pub fn break_even_uses(extra: f64, before: f64, after: f64) -> Option<f64> {
    (after < before).then(|| extra / (before - after))
}

/// Joules of a period in which a machine works for `busy` seconds at `active` watts and waits at `idle` watts.
#[must_use]
pub fn period_joules([active, idle]: [f64; 2], busy: f64, period: f64) -> f64 {
    active * busy + idle * (period - busy).max(0.0)
}

// ANCHOR: race_to_idle
/// Watts at idle below which finishing early saves energy, when work that is `speedup` times as fast takes `power_ratio` times
/// the `active` watts: racing to idle pays only where there is something to idle down to. 0 or less: it never pays.
#[must_use]
pub fn idle_watts_that_pay(active: f64, speedup: f64, power_ratio: f64) -> f64 {
    active * (1.0 - power_ratio / speedup) / (1.0 - 1.0 / speedup)
}
// ANCHOR_END: race_to_idle

/// The total of a year against that before: use grows by `growth`, each use takes `1 / gain`.
#[must_use]
pub fn rebound(gain: f64, growth: f64) -> f64 {
    growth / gain
}

/// A prompt of a served model, after EcoLogits (methodology of March 2026): GPUs by a regression on measurements of ML.ENERGY,
/// the rest of the server by its share and the latency, the building by its overhead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServedPrompt {
    /// Active parameters, in 10⁹.
    pub active_billions: f64,
    /// All parameters, in 10⁹.
    pub billions: f64,
    /// Tokens written.
    pub tokens: f64,
    /// Requests served together.
    pub batch: f64,
    /// Energy at the plug over that of the computers.
    pub overhead: f64,
}

impl ServedPrompt {
    /// GPUs of 80 GB that hold the weights in 16 bits and a fifth more, rounded up to a power of two.
    #[must_use]
    pub fn gpus(&self) -> f64 {
        let needed = (1.2 * self.billions * 2.0 / 80.0).ceil().max(1.0);
        needed.log2().ceil().exp2()
    }

    /// Seconds until the last token.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.tokens * (6.78e-4 * self.active_billions + 3.12e-4 * self.batch + 1.94e-2)
    }

    /// Watt-hours of the GPUs, of the rest of the server, and of all of it at the plug.
    #[must_use]
    pub fn watt_hours(&self) -> [f64; 3] {
        let per_token = 1.17e-6 * (-1.12e-2 * self.batch).exp() * self.active_billions + 4.05e-5;
        let gpus = self.gpus() * self.tokens * per_token;
        let server = 1200.0 * self.gpus() / 8.0 / self.batch * self.seconds() / 3600.0;
        [gpus, server, (gpus + server) * self.overhead]
    }
}

/// An input of an estimate: what it is taken to be, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranged {
    /// Its name.
    pub name: &'static str,
    /// Smallest plausible value.
    pub low: f64,
    /// The value taken.
    pub mid: f64,
    /// Largest plausible value.
    pub high: f64,
}

// ANCHOR: tornado
/// What the estimate becomes when one input at a time goes to either end of its range, the others as taken: name, smallest and
/// largest result, the widest first.
#[must_use]
pub fn tornado(inputs: &[Ranged], estimate: impl Fn(&[f64]) -> f64) -> Vec<(&'static str, f64, f64)> {
    let mid: Vec<f64> = inputs.iter().map(|input| input.mid).collect();
    let mut bars: Vec<(&str, f64, f64)> = inputs
        .iter()
        .enumerate()
        .map(|(i, input)| {
            let at = |value: f64| {
                let mut values = mid.clone();
                values[i] = value;
                estimate(&values)
            };
            let (one, other) = (at(input.low), at(input.high));
            (input.name, one.min(other), one.max(other))
        })
        .collect();
    bars.ordered_by(&|a, b| (b.2 / b.1).total_cmp(&(a.2 / a.1)));
    bars
}

/// The 5th, 50th and 95th percentile of the estimate over `draws` draws of all inputs at once, each log-uniform in its range.
#[must_use]
pub fn monte_carlo(
    inputs: &[Ranged],
    draws: usize,
    rng: &mut ChaCha8Rng,
    estimate: impl Fn(&[f64]) -> f64,
) -> [f64; 3] {
    let mut values = vec![0.0; inputs.len()];
    let mut results: Vec<f64> = (0..draws.max(1))
        .map(|_| {
            for (value, input) in values.iter_mut().zip(inputs) {
                *value = input.low * (input.high / input.low).powf(rng.random::<f64>());
            }
            estimate(&values)
        })
        .collect();
    results.sort_by(f64::total_cmp);
    [0.05, 0.5, 0.95].map(|share| results[((share * results.len() as f64) as usize).min(results.len() - 1)])
}
// ANCHOR_END: tornado

#[cfg(test)]
mod tests {
    use super::*;

    const NO_MACHINE: Embodied = Embodied { kilograms: 0.0, years: 4.0, busy_share: 1.0 };

    fn near(found: f64, expected: f64, digits: i32) {
        let off = (found / expected - 1.0).abs();
        assert!(off < 0.51 * 10f64.powi(1 - digits), "{found}, not {expected}");
    }

    fn site(grams_per_kwh: f64) -> Site {
        Site { overhead: 1.0, grams_per_kwh, price_per_kwh: 0.1, litres_on_site: 1.08, litres_at_source: 2.0 }
    }

    #[test]
    fn bloom_where_it_ran_and_elsewhere() {
        // Luccioni et al. (2023): 1,082,990 GPU-hours at 0.4 kW, idle 256,646 kWh, 57 g/kWh.
        let dynamic = 1_082_990.0 * 0.4;
        near(dynamic, 433_196.0, 6);
        let tonnes = |kwh: f64, grams| footprint(kwh * JOULES_PER_KWH, 0.0, &site(grams), &NO_MACHINE).grams() * 1e-6;
        near(tonnes(dynamic, 57.0), 24.69, 4);
        near(tonnes(256_646.0, 57.0), 14.63, 4);
        let whole = |grams| tonnes(dynamic + 256_646.0, grams) + 11.2;
        for (grams, expected) in [(57.0, 50.5), (662.0, 467.9), (30.0, 31.9), (369.0, 265.8)] {
            near(whole(grams), expected, 3);
        }
    }

    #[test]
    fn a_million_prompts() {
        let day = footprint(1e6 * 0.24 * JOULES_PER_WH, 0.0, &site(369.0), &NO_MACHINE);
        near(day.kwh, 240.0, 9);
        near(365.0 * day.operational_grams * 1e-6, 32.3, 3);
        near(day.cost, 24.0, 9);
        // Only on site: 0.26 mL a prompt.
        let on_site = Site { litres_at_source: 0.0, ..site(369.0) };
        near(footprint(0.24 * JOULES_PER_WH, 0.0, &on_site, &NO_MACHINE).litres, 0.26e-3, 2);
        // 100 kWh of computers, overhead 1.1, source 2 L/kWh: 100 (1.08 + 2.2).
        let wet = Site { overhead: 1.1, ..site(0.0) };
        near(footprint(100.0 * JOULES_PER_KWH, 0.0, &wet, &NO_MACHINE).litres, 328.0, 6);
    }

    #[test]
    fn manufacture_is_laid_to_the_seconds_of_work() {
        let made = Embodied { kilograms: 200.0, years: 4.0, busy_share: 0.1 };
        // 200 kg over 0.4 years of work.
        near(made.grams_per_second() * 0.4 * SECONDS_PER_YEAR, 200e3, 9);
        let nothing = footprint(0.0, 0.0, &site(369.0), &made);
        assert_eq!((nothing.grams(), nothing.cost, nothing.litres), (0.0, 0.0, 0.0));
    }

    #[test]
    fn racing_to_idle_pays_below_half_of_the_active_watts() {
        // Twice as fast at 1.5 times the power.
        near(idle_watts_that_pay(15.0, 2.0, 1.5), 7.5, 9);
        for idle in [0.0, 5.0, 7.4, 7.6, 15.0] {
            let slow = period_joules([15.0, idle], 10.0, 60.0);
            let fast = period_joules([22.5, idle], 5.0, 60.0);
            assert_eq!(fast < slow, idle < 7.5, "{idle}");
        }
        // 5 W: 150 J and 250 J against 112.5 J and 275 J.
        near(period_joules([15.0, 5.0], 10.0, 60.0), 400.0, 9);
        near(period_joules([22.5, 5.0], 5.0, 60.0), 387.5, 9);
        // Twice the speed at twice the power never pays: what idles saves nothing.
        assert_eq!(idle_watts_that_pay(15.0, 2.0, 2.0), 0.0);
    }

    #[test]
    fn break_even_and_rebound() {
        // A student that saves 0.18 Wh of 0.24 after 20 MWh of training: 111 million prompts.
        near(break_even_uses(20e6, 0.24, 0.06).expect("pays"), 111e6, 3);
        assert_eq!(break_even_uses(1.0, 2.0, 2.0), None);
        assert_eq!(break_even_uses(1.0, 2.0, 3.0), None);
        assert_eq!(rebound(4.0, 3.0), 0.75);
        near(rebound(33.0, 50.0), 1.52, 3);
    }

    #[test]
    fn a_public_estimator_redone() {
        let prompt = ServedPrompt { active_billions: 70.0, billions: 70.0, tokens: 300.0, batch: 64.0, overhead: 1.2 };
        assert_eq!(prompt.gpus(), 4.0);
        near(prompt.seconds(), 26.05, 4);
        let [gpus, server, plug] = prompt.watt_hours();
        near(gpus, 0.0966, 3);
        near(server, 0.0678, 3);
        near(plug, 0.197, 3);
        let alone = ServedPrompt { batch: 1.0, ..prompt };
        near(alone.watt_hours()[0], 0.146, 3);
        near(alone.watt_hours()[1], 3.36, 3);
    }

    #[test]
    fn bars_of_a_product_are_as_long_as_their_ranges() {
        let input = |name, low: f64, high: f64| Ranged { name, low, mid: (low * high).sqrt(), high };
        let inputs = [input("a", 1.0, 2.0), input("b", 3.0, 27.0), input("c", 2.0, 2.2)];
        let product = |values: &[f64]| values.iter().product::<f64>();
        let bars = tornado(&inputs, product);
        assert_eq!(bars.iter().map(|bar| bar.0).collect::<Vec<_>>(), ["b", "a", "c"]);
        for (bar, ratio) in bars.iter().zip([9.0, 2.0, 1.1]) {
            near(bar.2 / bar.1, ratio, 9);
        }
        // The middle of a product of log-uniform numbers is the product of their geometric means.
        let [low, mid, high] = monte_carlo(&inputs, 10_000, &mut crate::rng(0, "draws"), product);
        let geometric: f64 = inputs.iter().map(|input| input.mid).product();
        assert!((mid / geometric - 1.0).abs() < 0.03, "{mid} {geometric}");
        assert!(low < mid && mid < high);
        // An estimate that falls as an input rises has its ends the right way round.
        let falling = tornado(&inputs[..1], |values| 1.0 / values[0]);
        assert!(falling[0].1 < falling[0].2);
    }

    #[test]
    fn every_input_of_the_footprint_raises_it() {
        let (base, made) = (site(400.0), Embodied { kilograms: 100.0, years: 4.0, busy_share: 0.5 });
        let grams = |site: &Site, made: &Embodied, joules| footprint(joules, 10.0, site, made).grams();
        let before = grams(&base, &made, 1e6);
        assert!(grams(&Site { overhead: 1.2, ..base }, &made, 1e6) > before);
        assert!(grams(&Site { grams_per_kwh: 500.0, ..base }, &made, 1e6) > before);
        assert!(grams(&base, &Embodied { kilograms: 150.0, ..made }, 1e6) > before);
        assert!(grams(&base, &made, 2e6) > before);
        assert!(grams(&base, &Embodied { years: 8.0, ..made }, 1e6) < before);
    }

    #[test]
    fn grids_are_in_order() {
        assert!(GRIDS.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
}
