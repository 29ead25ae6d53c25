//! Building a report with few words.

use lab_api::{Better, Family, Interval, Kind, Metric, Tolerance};

/// A number with its unit; what it lacks is added by the methods of [`MetricExt`].
#[must_use]
pub fn metric(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric {
        id: id.into(),
        label: label.into(),
        value,
        unit: unit.into(),
        better: Better::Neutral,
        kind: Kind::Exact,
        family,
        baseline: None,
        interval: None,
        tolerance: None,
        samples: Vec::new(),
        help: String::new(),
        detail: false,
    }
}

/// Completing a [`Metric`].
pub trait MetricExt: Sized {
    /// The same quantity before the optimization.
    #[must_use]
    fn baseline(self, value: f64) -> Self;
    /// More is better.
    #[must_use]
    fn higher(self) -> Self;
    /// Less is better.
    #[must_use]
    fn lower(self) -> Self;
    /// Interval of the value.
    #[must_use]
    fn interval(self, interval: Interval) -> Self;
    /// Agrees on every device within `absolute`, which `why` bounds.
    #[must_use]
    fn exact(self, absolute: f64, why: &str) -> Self;
    /// Measured on this machine.
    #[must_use]
    fn measured(self, samples: Vec<f64>) -> Self;
    /// What the number means.
    #[must_use]
    fn help(self, words: &str) -> Self;
    /// Shown on demand: it explains another number rather than answers the lab's question.
    #[must_use]
    fn detail(self) -> Self;
}

impl MetricExt for Metric {
    fn baseline(mut self, value: f64) -> Self {
        self.baseline = Some(value);
        self
    }
    fn higher(mut self) -> Self {
        self.better = Better::Higher;
        self
    }
    fn lower(mut self) -> Self {
        self.better = Better::Lower;
        self
    }
    fn interval(mut self, interval: Interval) -> Self {
        self.interval = Some(interval);
        self
    }
    fn exact(mut self, absolute: f64, why: &str) -> Self {
        self.kind = Kind::Exact;
        self.tolerance = Some(Tolerance { absolute, why: why.into() });
        self
    }
    fn measured(mut self, samples: Vec<f64>) -> Self {
        self.kind = Kind::Measured;
        self.samples = samples;
        self
    }
    fn help(mut self, words: &str) -> Self {
        self.help = words.into();
        self
    }
    fn detail(mut self) -> Self {
        self.detail = true;
        self
    }
}

/// A whole number with its thousands apart: `1,797`.
#[must_use]
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([7, 999, 1000, 104_488, 1_234_567].map(thousands).join(" "), "7 999 1,000 104,488 1,234,567");
    }
}
