use std::rc::Rc;

use lab_kit::{
    graph::Fuse,
    testing::{FakeClock, context, ready},
};

use super::*;

fn run(params: Params) -> Report {
    let mut cx = context(Rc::new(FakeClock::real()));
    let report = ready(Fusion::run(params, &mut cx)).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

fn baseline(report: &Report, id: &str) -> f64 {
    report.metric(id).and_then(|metric| metric.baseline).unwrap_or_else(|| panic!("{id} has a baseline"))
}

#[test]
fn every_pair_is_counted_and_gives_the_same() {
    for pair in Neighbours::ALL {
        let report = run(Params { pair, ..Fusion::smoke() });
        assert_eq!(value(&report, "launches"), 1.0, "{pair:?}");
        assert!(baseline(&report, "moved") > 1.5 * value(&report, "moved"), "{pair:?}");
        // Sums of a product come in another order behind a folded factor: a few units, and no more.
        let bound = if pair == Neighbours::NormProduct { 16.0 } else { 0.0 };
        assert!(value(&report, "deviation") <= bound, "{pair:?}: {}", value(&report, "deviation"));
    }
    let report = run(Params { pair: Neighbours::Adamw, ..Fusion::smoke() });
    assert_eq!((baseline(&report, "launches"), baseline(&report, "moved")), (15.0, 4.0 * 34.0 * 512.0 / 1e6));
    assert_eq!(value(&report, "moved"), 4.0 * 7.0 * 512.0 / 1e6);
}

#[test]
fn the_model_is_counted_by_the_compilers_passes() {
    let model = network::count().expect("compiles");
    assert_eq!(model.prefill.map(|level| level.kernels), [176, 118, 75, 63]);
    assert_eq!(model.decode.map(|level| level.kernels)[..2], [176, 118]);
    assert_eq!(model.kinds.iter().sum::<usize>(), 176);
    assert!(model.share() > 5.0 && model.share() < 15.0, "{}", model.share());
    assert_eq!(Fuse::ALL.len(), network::LEVELS.len());
}

#[test]
fn a_chain_of_one_has_nothing_to_fuse() {
    let report = run(Params { length: 1, operation: Operation::Exp, lanes: Lanes::One, ..Fusion::smoke() });
    assert_eq!((value(&report, "launches"), baseline(&report, "launches")), (1.0, 1.0));
    assert_eq!(value(&report, "moved"), baseline(&report, "moved"));
    assert_eq!(baseline(&report, "temporaries"), 0.0);
    assert_eq!(report.notes.len(), 2);
    let text = report.tables.iter().find(|table| table.id == "kernel").expect("shown");
    assert!(text.rows.len() == 8);
}

#[test]
fn what_may_lose_and_products_run() {
    for side in [Side::Products, Side::Losing] {
        let report = run(Params { side, ..Fusion::smoke() });
        let last = report.charts.last().expect("a chart");
        assert_eq!(last.id, if side == Side::Products { "ladder" } else { "losing" });
    }
    assert_eq!(timing::sizes(9), [256, 512]);
    assert_eq!(timing::sizes(19), [256, 4096, 65_536, 262_144, 524_288]);
}
