//! The worked examples and tables of the chapter, by the code that the calculator runs.

use lab_api::{Family, Report};
use lab_kit::scaling::{Law, effective, serve_aware};

use super::{Published, R_STAR, number};

/// Chinchilla: 70 billion weights on 1.4 trillion tokens.
const CHINCHILLA: [f64; 2] = [70e9, 1.4e12];

pub(super) fn run() -> Report {
    let mut report = Report::default();
    let mut add = |family: Family, id: String, label: String, value: f64, unit: &str| {
        report.metrics.push(number(family, &id, &label, value, unit));
    };
    let [n, d] = CHINCHILLA;
    let budget = 6.0 * n * d;
    for (id, published) in
        [("refit", Published::Refit), ("printed", Published::Printed), ("unrounded", Published::Unrounded)]
    {
        let (law, name) = (published.law(), published.name());
        let best = law.optimal(budget);
        let factor = (law.alpha * law.a / (law.beta * law.b)).powf(1.0 / (law.alpha + law.beta));
        add(Family::Scale, format!("exponent_{id}"), format!("{name}: exponent of the best size"), law.exponent(), "");
        add(Family::Scale, format!("factor_{id}"), format!("{name}: factor G"), factor, "");
        add(
            Family::Memory,
            format!("weights_{id}"),
            format!("{name}: best size at Chinchilla's budget"),
            best.n / 1e9,
            "billion",
        );
        add(Family::Scale, format!("tokens_{id}"), format!("{name}: it reads"), best.d / 1e12, "trillion");
        add(Family::Scale, format!("ratio_{id}"), format!("{name}: tokens for each weight"), best.d / best.n, "");
    }
    let law = Law::REFIT;
    for exponent in [20, 21, 23, 25] {
        let best = law.optimal(10_f64.powi(exponent));
        let words = format!("10^{exponent} operations");
        add(Family::Memory, format!("weights_{exponent}"), format!("{words}: best size"), best.n / 1e9, "billion");
        add(Family::Scale, format!("tokens_{exponent}"), format!("{words}: it reads"), best.d / 1e9, "billion");
        add(
            Family::Scale,
            format!("ratio_{exponent}"),
            format!("{words}: tokens for each weight"),
            best.d / best.n,
            "",
        );
        add(Family::Quality, format!("loss_{exponent}"), format!("{words}: loss foretold"), best.loss, "nats");
    }
    let best = law.optimal(budget);
    let off = |factor: f64| law.loss(best.n * factor, best.d / factor) - best.loss;
    add(Family::Quality, "half".into(), "Half the best size costs".into(), off(0.5), "nats");
    add(Family::Quality, "quarter".into(), "A quarter of the best size costs".into(), off(0.25), "nats");
    add(
        Family::Quality,
        "more".into(),
        "Twice the compute brings".into(),
        best.loss - law.optimal(2.0 * budget).loss,
        "nats",
    );
    add(
        Family::Quality,
        "misprint".into(),
        "The misprinted optimum costs, under the refit".into(),
        off(Law::PRINTED.optimal(budget).n / best.n),
        "nats",
    );
    let wanted = law.loss(n, d);
    for billions in [70, 50, 40, 30, 20] {
        let size = f64::from(billions) * 1e9;
        let Some(read) = law.tokens_for(size, wanted) else { continue };
        add(
            Family::Scale,
            format!("serve_tokens_{billions}"),
            format!("{billions} billion: tokens for the same loss"),
            read / 1e12,
            "trillion",
        );
        for (id, served) in [("1", 1e12), ("10", 1e13)] {
            let cost = 6.0 * size * read + 2.0 * size * served;
            let words = format!("{billions} billion: operations with {id} trillion tokens served");
            add(Family::Scale, format!("serve_{billions}_{id}"), words, cost / 1e24, "10²⁴");
        }
    }
    if let Some((size, _)) = serve_aware(&law, wanted, 1e13, n) {
        add(
            Family::Memory,
            "serve_best".into(),
            "Cheapest size, 10 trillion tokens served".into(),
            size / 1e9,
            "billion",
        );
    }
    for billions in [20.0, 5.0] {
        let worth = effective(billions * 1e9, 60e9, R_STAR) / 1e9;
        add(
            Family::Scale,
            format!("worth_{billions}"),
            format!("60 billion tokens, {billions} billion of them different: worth"),
            worth,
            "billion",
        );
    }
    report
}
