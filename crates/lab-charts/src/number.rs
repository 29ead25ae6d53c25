//! How numbers are written, everywhere: in tables, in prose, at axes.

use lab_api::{Better, Metric};

/// Stands between a number and its unit, and does not break. A narrow one lets words run together: `104,488bytes`.
pub(crate) const SPACE: char = '\u{a0}';
/// Narrow, for the suffix of a thousand at an axis.
pub(crate) const THIN: char = '\u{202f}';
const MINUS: char = '\u{2212}';

/// A number as a reader sees it, without its unit: counts and bytes grouped (`106,496`), percentages with two decimals
/// (`97.30`), so that columns of them align, everything else with three significant digits, where digits before the point are
/// never rounded away.
#[must_use]
pub fn format_number(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    let whole = value.fract() == 0.0;
    match unit {
        "bytes" | "B" => grouped(value, 0),
        "%" | "points" => grouped(value, 2),
        _ if whole && size < 1e15 && !is_measure(unit) => grouped(value, 0),
        _ if size >= 1e15 || (size > 0.0 && size < 1e-4) => scientific(value),
        _ => grouped(value, decimals_for_three(size)),
    }
}

/// A number with its unit: `106,496 bytes`, `97.3 %`, `0.412 ms`, `3.94×`; the space does not break.
#[must_use]
pub fn format_value(value: f64, unit: &str) -> String {
    let number = format_number(value, unit);
    match unit {
        "" => number,
        "×" => format!("{number}×"),
        unit => format!("{number}{SPACE}{unit}"),
    }
}

/// Units of things measured on a continuous scale: a whole value there is chance, and keeps its digits.
fn is_measure(unit: &str) -> bool {
    matches!(unit, "ns" | "µs" | "ms" | "s" | "dB" | "nats") || unit.starts_with('×')
}

/// Decimals that show three significant digits.
fn decimals_for_three(size: f64) -> usize {
    if size == 0.0 {
        return 0;
    }
    // Rounding can carry into a new digit: 9.996 is "10.0".
    let decimals = (2 - exponent_of(size)).clamp(0, 9);
    let rounded = (size * 10f64.powi(decimals)).round() / 10f64.powi(decimals);
    (2 - exponent_of(rounded)).clamp(0, 9) as usize
}

/// How many decimals write a number as it is, but for what floats lose of it; 6 where five do not, and where numbers are so
/// large that they are written as powers of ten.
pub(crate) fn decimals_of(number: f64) -> usize {
    let mut scaled = number;
    for decimals in 0..6 {
        let size = scaled.abs();
        if (scaled - scaled.round()).abs() <= 1e-6 * size.min(1000.0) && size < 1e15 {
            return decimals;
        }
        scaled *= 10.0;
    }
    6
}

/// The power of ten of the first digit.
fn exponent_of(number: f64) -> i32 {
    number.abs().log10().floor() as i32
}

/// Fixed decimals, thousands grouped by commas, a real minus sign.
pub(crate) fn grouped(value: f64, decimals: usize) -> String {
    // By whole numbers: `{:.2}` is exact to any length and would weigh 12 KB in the page's WASM. Beyond 2^63 nobody counts.
    let power = 10_u64.pow(decimals as u32);
    let scaled = (value.abs() * power as f64).round() as u64;
    let whole = (scaled / power).to_string();
    let mut fraction = String::new();
    if decimals > 0 {
        // The leading one keeps the zeros behind it.
        fraction = (scaled % power + power).to_string().split_off(1);
    }
    let mut out = String::new();
    if value < 0.0 && scaled > 0 {
        out.push(MINUS);
    }
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(&fraction);
    }
    out
}

/// `1.2×10⁻⁵`.
fn scientific(value: f64) -> String {
    let mut exponent = exponent_of(value);
    let mut mantissa = value / 10f64.powi(exponent);
    if (mantissa.abs() * 10.0).round() >= 100.0 {
        mantissa /= 10.0;
        exponent += 1;
    }
    format!("{}×10{}", grouped(mantissa, 1), superscript(exponent))
}

/// `⁻⁵`.
pub(crate) fn superscript(exponent: i32) -> String {
    let raise = |c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32(0x2070 + u32::from(digit) - u32::from('0')).unwrap_or(digit),
    };
    exponent.to_string().chars().map(raise).collect()
}

/// What a change means for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It went the right way.
    Better,
    /// It went the wrong way.
    Worse,
    /// It did not change.
    Same,
    /// The interval of the value holds the baseline: chance may have done it.
    Unclear,
    /// It changed, and neither way is right.
    Neutral,
}

impl Verdict {
    /// The word for it; empty where there is nothing to judge.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Unclear => "unclear",
            Self::Neutral => "",
        }
    }
}

/// The change from baseline to value.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The number behind `text`: percent where relative, else in the metric's unit.
    pub value: f64,
    /// With sign and unit: `−74.9 %`, `−0.33 points`.
    pub text: String,
    /// Whether it helps.
    pub verdict: Verdict,
}

/// The difference of a metric to its baseline, if it has one: relative in percent, but absolute where a ratio would
/// mislead (percentages, decibels, bits, or a baseline of zero).
#[must_use]
pub fn difference(metric: &Metric) -> Option<Difference> {
    let baseline = metric.baseline?;
    let change = metric.value - baseline;
    let absolute = matches!(metric.unit.as_str(), "%" | "points" | "dB" | "bits") || baseline == 0.0;
    let percent = 100.0 * change / baseline.abs();
    let (value, text) = match (absolute, metric.unit.as_str()) {
        (true, "%") => (change, format_value(change, "points")),
        (true, unit) => (change, format_value(change, unit)),
        // A percentage of a ratio tells nobody anything: 6.4× is not “537 % better”.
        (false, "×") => (percent, String::new()),
        (false, _) => (percent, format!("{}{SPACE}%", grouped(percent, 1))),
    };
    let verdict = match metric.better {
        _ if change == 0.0 => Verdict::Same,
        Better::Neutral => Verdict::Neutral,
        _ if metric.interval.is_some_and(|of| of.low <= baseline && baseline <= of.high) => Verdict::Unclear,
        Better::Higher if change > 0.0 => Verdict::Better,
        Better::Lower if change < 0.0 => Verdict::Better,
        _ => Verdict::Worse,
    };
    let sign = if value > 0.0 && !text.is_empty() { "+" } else { "" };
    Some(Difference { value, text: format!("{sign}{text}"), verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_api::{Family, Interval, Kind};

    #[test]
    fn numbers_by_unit() {
        let cases = [
            (106_496.0, "bytes", "106,496"),
            (27_148.5, "bytes", "27,149"),
            (97.3, "%", "97.30"),
            (97.272, "%", "97.27"),
            (100.0, "%", "100.00"),
            (0.41234, "ms", "0.412"),
            (9.996, "ms", "10.0"),
            (3.0, "ms", "3.00"),
            (754.3, "ms", "754"),
            (12_345.6, "ms", "12,346"),
            (3.9412, "×", "3.94"),
            (1.0, "× FP32", "1.00"),
            (1797.0, "", "1,797"),
            (-12.5, "dB", "−12.5"),
            (0.000_012, "", "1.2×10⁻⁵"),
            (-0.000_099_99, "", "−1.0×10⁻⁴"),
            (2.5e18, "", "2.5×10¹⁸"),
            (1.005, "ms", "1.00"),
            (0.05, "%", "0.05"),
            (0.0, "", "0"),
            (-0.000_000_1, "%", "0.00"),
            (2.5, "%", "2.50"),
            (9.996, "points", "10.00"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(format_number(value, unit), text, "{value} {unit}");
        }
        assert_eq!(format_value(97.3, "%"), "97.30\u{a0}%");
        assert_eq!(format_value(3.9412, "×"), "3.94×");
        assert_eq!(format_value(f64::NAN, ""), "–");
    }

    #[test]
    fn decimals_are_as_many_as_a_number_has() {
        let cases = [
            (0.0, 0),
            (-12.0, 0),
            (-1.4, 1),
            (0.1 + 0.2, 1),
            (f64::from(-2.25_f32), 2),
            (f64::from(0.3_f32), 1),
            (-0.475, 3),
            (1234.5, 1),
            (1.0 / 3.0, 6),
            // Nothing is so small that it may vanish.
            (1e-9, 6),
            (1e15, 6),
            (f64::NAN, 6),
        ];
        for (number, decimals) in cases {
            assert_eq!(decimals_of(number), decimals, "{number:?}");
        }
    }

    fn metric(value: f64, baseline: f64, unit: &str, better: Better) -> Metric {
        Metric {
            id: "m".into(),
            label: "M".into(),
            value,
            unit: unit.into(),
            better,
            kind: Kind::Exact,
            family: Family::Quality,
            baseline: Some(baseline),
            interval: None,
            tolerance: None,
            samples: vec![],
            detail: false,
            help: String::new(),
        }
    }

    #[test]
    fn differences_say_which_way_is_right() {
        let bytes = difference(&metric(25.0, 100.0, "bytes", Better::Lower)).expect("has a baseline");
        assert_eq!((bytes.text.as_str(), bytes.verdict), ("−75.0\u{a0}%", Verdict::Better));
        let accuracy = difference(&metric(97.0, 97.5, "%", Better::Higher)).expect("has a baseline");
        assert_eq!((accuracy.text.as_str(), accuracy.verdict), ("−0.50\u{a0}points", Verdict::Worse));
        let same = difference(&metric(5.0, 5.0, "", Better::Higher)).expect("has a baseline");
        assert_eq!(same.verdict, Verdict::Same);
        let from_zero = difference(&metric(4.0, 0.0, "", Better::Lower)).expect("has a baseline");
        assert_eq!(from_zero.text, "+4");
        let ratio = difference(&metric(6.4, 1.0, "×", Better::Higher)).expect("has a baseline");
        assert_eq!((ratio.text.as_str(), ratio.verdict), ("", Verdict::Better));
        // What chance may have done is no verdict.
        let interval = |low, high| Some(Interval { low, high, level: 0.95 });
        let latency = metric(9.0, 10.0, "ms", Better::Lower);
        let verdict = |interval| difference(&Metric { interval, ..latency.clone() }).map(|found| found.verdict);
        assert_eq!(verdict(interval(8.0, 10.5)), Some(Verdict::Unclear));
        assert_eq!(verdict(interval(8.0, 9.5)), Some(Verdict::Better));
    }
}
