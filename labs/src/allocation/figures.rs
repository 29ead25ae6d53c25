//! The bowl of one budget, and the three laws side by side.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::scaling::{Allocation, Law};

use super::Published;

/// Points of the bowl on each side of the best size, and how far it reaches.
const SIDE: i32 = 12;
const REACH: f64 = 10.0;

/// Loss over size, the budget being spent whatever the size.
pub(super) fn bowl(law: &Law, flops: f64, best: &Allocation) -> Chart {
    let points: Vec<[f64; 2]> = (-SIDE..=SIDE)
        .map(|i| {
            let n = best.n * REACH.powf(f64::from(i) / f64::from(SIDE));
            [n / 1e9, law.loss(n, flops / 6.0 / n)]
        })
        .collect();
    let more = law.optimal(2.0 * flops);
    let ends = [best.n / REACH / 1e9, best.n * REACH / 1e9];
    Chart {
        id: "bowl".into(),
        title: "What does a wrong size cost?".into(),
        caption: "Loss over size when all of the budget is spent: left of the lowest place the network is too small for what it reads, right of it it reads too little. The level line is what twice the budget would reach with its best size.".into(),
        x: Axis::log("Weights (billion)"),
        y: Axis::linear("Loss (nats)"),
        body: ChartBody::Line {
            series: vec![
                Series { name: "This budget".into(), points, band: vec![] },
                Series { name: "Twice the budget, at its best".into(), points: ends.map(|n| [n, more.loss]).to_vec(), band: vec![] },
            ],
        },
    }
}

/// What each law says of the budget.
pub(super) fn laws(flops: f64) -> Table {
    let row = |published: Published| {
        let best = published.law().optimal(flops);
        vec![
            Cell::from(published.name()),
            Cell::from(best.n / 1e9),
            Cell::from(best.d / 1e9),
            Cell::from(best.d / best.n),
            Cell::from(best.loss),
        ]
    };
    Table {
        id: "laws".into(),
        title: "One budget, three laws".into(),
        columns: ["Law", "Weights (billion)", "Tokens (billion)", "Tokens for each weight", "Loss (nats)"]
            .map(str::to_owned)
            .to_vec(),
        rows: Published::ALL.map(row).to_vec(),
    }
}

/// A count as people say it: 73.0 billion.
pub(super) fn count(value: f64) -> String {
    for (size, word) in [(1e12, "trillion"), (1e9, "billion"), (1e6, "million")] {
        if value >= size {
            return format!("{} {word}", digits(value / size));
        }
    }
    digits(value)
}

/// Three digits that count.
fn digits(value: f64) -> String {
    let places = (2 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.places$}")
}

/// A power of ten with its factor: 1.51 · 10²¹.
pub(super) fn power(value: f64) -> String {
    let mut exponent = value.log10().floor();
    let mut factor = format!("{:.2}", value / 10_f64.powf(exponent));
    if factor.starts_with("10") {
        exponent += 1.0;
        factor = "1.00".into();
    }
    let raised: String = format!("{exponent:.0}")
        .chars()
        .map(|digit| match digit {
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '0' => '⁰',
            '4'..='9' => char::from_u32('⁴' as u32 + digit as u32 - '4' as u32).unwrap_or(digit),
            _ => '⁻',
        })
        .collect();
    format!("{factor} · 10{raised}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_with_three_digits() {
        assert_eq!(count(73.04e9), "73.0 billion");
        assert_eq!(count(1.342e12), "1.34 trillion");
        assert_eq!(count(5.26e9), "5.26 billion");
        assert_eq!(power(5.88e23), "5.88 · 10²³");
        assert_eq!(power(9.999e20), "1.00 · 10²¹");
    }
}
