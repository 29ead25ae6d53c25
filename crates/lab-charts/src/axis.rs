//! From values to positions, and where the ticks stand.

use lab_api::{Axis, Scale};

use crate::number::{THIN, decimals_of, grouped, superscript};

/// Maps values to logical pixels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    scale: Scale,
    /// Smallest and largest value shown.
    pub(crate) domain: (f64, f64),
    /// Their positions; descending for a vertical axis.
    pub(crate) range: (f64, f64),
    /// Values that bear a label.
    pub(crate) ticks: Vec<f64>,
}

impl Map {
    /// An axis that shows all `values` with about `count` ticks. `from_zero`: lengths are compared, so 0 is shown.
    pub(crate) fn fit(axis: &Axis, values: &[f64], from_zero: bool, count: f64) -> Self {
        let log = axis.scale == Scale::Log;
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.iter().copied().filter(|v| v.is_finite() && (!log || *v > 0.0)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if from_zero && !log {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if low > high {
            (low, high) = if log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        low = axis.min.filter(|m| !log || *m > 0.0).unwrap_or(low);
        high = axis.max.filter(|m| !log || *m > 0.0).unwrap_or(high);
        if low >= high {
            // One value only, or ends given the wrong way round: some room on both sides.
            let pad = if low == 0.0 { 1.0 } else { low.abs() * 0.5 };
            (low, high) = if log { (low / 2.0, low * 2.0) } else { (low - pad, low + pad) };
        }
        let ticks = if log { log_ticks(low, high) } else { linear_ticks(low, high, count, values) };
        if log || ticks.len() < 2 {
            return Self { scale: axis.scale, domain: (low, high), range: (0.0, 1.0), ticks };
        }
        // Where the ends are ours: out to the next tick if it is near, else a little air.
        let mut ticks = ticks;
        let step = ticks[1] - ticks[0];
        let (below, above) = (ticks[0] - step, ticks[ticks.len() - 1] + step);
        let air = 0.04 * (high - low);
        if axis.min.is_none() && low < ticks[0] - 1e-9 * step {
            if low - below < 0.7 * step {
                low = below;
                ticks.insert(0, below);
            } else {
                low -= air;
            }
        }
        if axis.max.is_none() && high > above - step * (1.0 - 1e-9) {
            if above - high < 0.7 * step {
                high = above;
                ticks.push(above);
            } else {
                high += air;
            }
        }
        Self { scale: axis.scale, domain: (low, high), range: (0.0, 1.0), ticks }
    }

    /// `count` equal slots without values, for categories.
    pub(crate) fn slots(count: usize) -> Self {
        Self { scale: Scale::Linear, domain: (0.0, count.max(1) as f64), range: (0.0, 1.0), ticks: vec![] }
    }

    /// Position of a value, within the range; `None` where a logarithm does not exist.
    pub(crate) fn at(&self, value: f64) -> Option<f64> {
        let ((low, high), (from, to)) = (self.domain, self.range);
        let share = match self.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Log if value > 0.0 => (value / low).ln() / (high / low).ln(),
            Scale::Log => return None,
        };
        Some(from + within(share, -0.02, 1.02) * (to - from))
    }

    /// Ticks where the data are, if those are a few whole numbers with room for their labels: widths and batches, which somebody
    /// has chosen, and between which nothing was measured.
    pub(crate) fn tick_at_data(&mut self, values: &[f64]) {
        let mut places: Vec<f64> = Vec::new();
        for value in values {
            // In order, without a sort, which would weigh two kilobytes in the page's WASM.
            let at = places.iter().take_while(|place| *place < value).count();
            if places.get(at) != Some(value) {
                if at == 8 || value.fract() != 0.0 || *value >= 10_000.0 {
                    return;
                }
                places.insert(at, *value);
            }
        }
        let mut last = f64::NEG_INFINITY;
        for place in &places {
            let at = self.at(*place).unwrap_or(last);
            if at - last < 0.09 {
                return;
            }
            last = at;
        }
        if places.len() > 2 {
            self.ticks = places;
        }
    }

    /// Labels of the ticks.
    pub(crate) fn labels(&self) -> Vec<String> {
        labels(&self.ticks)
    }
}

/// `f64::clamp`, without the panic that prints numbers in every form there is, which the page's WASM can do without.
pub(crate) fn within(value: f64, low: f64, high: f64) -> f64 {
    value.min(high).max(low)
}

fn linear_ticks(low: f64, high: f64, count: f64, values: &[f64]) -> Vec<f64> {
    let raw = (high - low) / count.max(1.0);
    let power = 10f64.powi(raw.log10().floor() as i32);
    let mut step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw * 0.999).unwrap_or(raw);
    // What is counted in wholes, bits or epochs, has no 2.5.
    if step < 3.0 && values.iter().all(|value| value.fract() == 0.0) {
        step = step.floor().max(1.0);
    }
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let count = within(last - first, 0.0, 50.0) as i32;
    // 0.1 + 0.2 shows as 0.30000000000000004 otherwise; adding 0 turns -0 into 0.
    (0..=count).map(|i| (first + f64::from(i)) * step + 0.0).collect()
}

fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let within = |v: &f64| *v >= low * 0.999 && *v <= high * 1.001;
    let decades = (high / low).log10();
    let factors: &[f64] = if decades < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = ((decades / 6.0).ceil() as usize).max(1);
    (first..=last).step_by(every).flat_map(|e| factors.iter().map(move |f| f * 10f64.powi(e))).filter(within).collect()
}

/// Labels of one axis, all in one manner: `20 k` for large numbers, `10⁻⁴` for small ones, else as many decimals as needed.
pub(crate) fn labels(ticks: &[f64]) -> Vec<String> {
    let largest = ticks.iter().fold(0.0_f64, |m, t| m.max(t.abs()));
    let smallest = ticks.iter().filter(|t| **t != 0.0).fold(f64::INFINITY, |m, t| m.min(t.abs()));
    if smallest < 1e-3 && ticks.iter().all(|t| *t > 0.0 && (t.log10() - t.log10().round()).abs() < 1e-9) {
        return ticks.iter().map(|t| format!("10{}", superscript(t.log10().round() as i32))).collect();
    }
    ticks.iter().map(|tick| label(*tick, largest, ticks)).collect()
}

fn label(tick: f64, largest: f64, ticks: &[f64]) -> String {
    if tick == 0.0 {
        return "0".into();
    }
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // A linear axis speaks in one unit, a logarithmic one in that of each tick.
    let linear = ticks.len() < 3 || ((ticks[1] - ticks[0]) - (ticks[2] - ticks[1])).abs() < 1e-6 * largest;
    let size = if linear { largest } else { tick.abs() };
    let (unit, suffix) = if largest < 10_000.0 {
        (1.0, "")
    } else {
        units.into_iter().find(|(unit, _)| size >= *unit).unwrap_or((1.0, ""))
    };
    let scaled: Vec<f64> = if linear { ticks.iter().map(|t| t / unit).collect() } else { vec![tick / unit] };
    let decimals = scaled.iter().fold(0, |most, value| decimals_of(*value).max(most));
    let number = grouped(tick / unit, decimals);
    if suffix.is_empty() { number } else { format!("{number}{THIN}{suffix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_data() {
        let map = Map::fit(&Axis::linear(""), &[0.13, 0.87], false, 5.0);
        assert_eq!(map.labels(), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let bytes = Map::fit(&Axis::linear(""), &[106_496.0, 27_000.0], true, 4.0);
        assert_eq!(bytes.labels().last().map(String::as_str), Some("100\u{202f}k"));
        assert_eq!(bytes.domain.0, 0.0);
        let fixed = Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("") };
        assert_eq!(Map::fit(&fixed, &[97.0], false, 4.0).domain, (0.0, 100.0));
    }

    #[test]
    fn whole_values_have_whole_ticks() {
        for (count, ticks) in [(2.6, vec![2.0, 4.0, 6.0, 8.0]), (20.0, (2..=8).map(f64::from).collect())] {
            assert_eq!(Map::fit(&Axis::linear("Bits"), &[8.0, 4.0, 3.0, 2.0], false, count).ticks, ticks);
        }
        let share = Map::fit(&Axis::linear(""), &[0.5, 8.0], false, 3.0);
        assert!(share.ticks.contains(&2.5), "{:?}", share.ticks);
    }

    #[test]
    fn few_whole_values_bear_the_ticks_themselves() {
        let ticks = |axis: Axis, values: &[f64]| {
            let mut map = Map::fit(&axis, values, false, 5.0);
            map.tick_at_data(values);
            map.ticks
        };
        let widths = [16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 64.0];
        assert_eq!(ticks(Axis::log(""), &widths), widths[..7]);
        assert_eq!(ticks(Axis::linear(""), &[4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        // No room on a linear axis; not whole; too large for a label.
        for values in [&widths[..], &[0.5, 2.0, 8.0], &[27_984.0, 53_000.0, 104_488.0]] {
            assert_eq!(ticks(Axis::linear(""), values), Map::fit(&Axis::linear(""), values, false, 5.0).ticks);
        }
    }

    #[test]
    fn logarithmic_axes_step_by_ratios() {
        let map = Map::fit(&Axis::log(""), &[1.0, 10_000.0], false, 5.0);
        assert_eq!(map.labels(), ["1", "10", "100", "1\u{202f}k", "10\u{202f}k"]);
        assert_eq!(map.at(0.0), None);
        assert!((map.at(100.0).expect("positive") - 0.5).abs() < 1e-9);
        assert_eq!(labels(&[1e-4, 1e-2]), ["10⁻⁴", "10⁻²"]);
    }

    #[test]
    fn no_data_and_one_value_have_an_axis_too() {
        for values in [vec![], vec![3.0], vec![0.0]] {
            let map = Map::fit(&Axis::linear(""), &values, false, 5.0);
            assert!(map.domain.0 < map.domain.1, "{values:?}");
            assert!(map.ticks.len() > 1);
        }
    }
}
