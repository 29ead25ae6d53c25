use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 3] = ["corpus/tokenizer.json", "corpus/train.txt.gz", "corpus/test.txt.gz"];

fn run(params: Params) -> Report {
    let mut cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let report = ready(Moe::run(params, &mut cx)).expect("runs");
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
fn experts_store_more_than_their_arithmetic_and_a_hash_more_than_a_router() {
    let report = run(Params { facts: 1024, hidden: 8, batch: 128, ..Params::default() });
    let [small, yours, hash, wide] =
        ["small", "yours", "hash", "wide"].map(|id| value(&report, &format!("stored_{id}")));
    assert!(yours > 1.5 * small && hash > 1.1 * yours && wide > yours, "{small} {yours} {hash} {wide}");
    assert!(value(&report, "busiest") + 0.5 < baseline(&report, "busiest"));
    assert_eq!((value(&report, "weights"), value(&report, "products")), (8.0 * 512.0 + 256.0, 512.0 + 256.0));
    assert!((value(&report, "dropped_even") - 9.28).abs() < 0.01);
}

#[test]
fn nothing_in_common_does_not_collapse_and_much_does() {
    let of = |common| {
        let params = Params { common, balance: Balance::None, facts: 512, batch: 128, steps: 200, ..Params::default() };
        value(&run(params), "busiest")
    };
    let (even, much) = (of(0.0), of(2.0));
    assert!(even < 2.2 && much > 4.0, "{even} {much}");
}

#[test]
fn every_router_gate_and_balance_runs() {
    let small = || Params { experts: 4, ..Moe::smoke() };
    for router in [Routing::Random, Routing::Hash, Routing::Experts] {
        run(Params { router, ..small() });
    }
    for gate in [Times::Straight, Times::Sigmoid] {
        for balance in [Balance::None, Balance::Bias] {
            run(Params { gate, balance, noise: 0.5, z_weight: 0.01, capacity: 1.0, ..small() });
        }
    }
    let fine = Params { grain: 4, shared: 1, k: 2, gate: Times::Renormalized, ..small() };
    let report = run(fine);
    // 15 of one unit are chosen from, seven of them; one is always on.
    assert_eq!(value(&report, "weights"), (16 * 2 * 32 + 15 * 32) as f64);
    assert_eq!(value(&report, "products"), (8 * 2 * 32 + 15 * 32) as f64);
}

#[test]
fn text_is_learned_and_named_by_its_tokens() {
    let report = run(Params { task: Learned::Text, steps: 40, batch: 64, ..Params::default() });
    assert!(value(&report, "loss_hash") < 6.9 && value(&report, "loss_yours") < 6.9);
    let map = report.charts.iter().find(|chart| chart.id == "map").expect("a map");
    assert!(map.numbers().iter().all(|share| (0.0..=100.0).contains(share)));
}

#[test]
fn capacity_drops_and_is_told() {
    let report = run(Params { capacity: 1.0, balance: Balance::None, steps: 40, ..Params::default() });
    assert!(value(&report, "dropped") > 10.0);
}

#[test]
fn what_cannot_be_is_named() {
    let refused = |params: Params| match params.check() {
        Err(LabError::BadParam(BadParam { name, .. })) => name,
        Err(LabError::Refused { why }) => why.split(':').next().unwrap_or_default().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Params { k: 3, experts: 2, ..Params::default() }), "k");
    assert_eq!(refused(Params { hidden: 20, grain: 8, ..Params::default() }), "grain");
    assert_eq!(refused(Params { shared: 1, ..Params::default() }), "shared");
    assert_eq!(refused(Params { facts: 256, batch: 512, ..Params::default() }), "batch");
    assert_eq!(refused(Params { gate: Times::Renormalized, ..Params::default() }), "the router would get no gradient");
    let leaks = refused(Params { router: Routing::Experts, task: Learned::Text, ..Params::default() });
    assert!(leaks.starts_with("experts that choose"), "{leaks}");
}

#[test]
fn a_lost_training_is_refused_by_its_name() {
    let cx = context_with(Rc::new(FakeClock::new(0.1)), &[]);
    let params = Moe::smoke();
    let task = Task::facts(&params, 0);
    let mut arm = arms::Arm::dense(&params, false);
    arm.params.rate = f64::NAN;
    match ready(training::train(&arm, &task, 0, || 0.0, training::breathing(&cx))) {
        Err(LabError::Refused { why }) => assert!(why.contains("Dense, as much arithmetic"), "{why}"),
        other => panic!("{:?}", other.map(|one| one.loss)),
    }
}
