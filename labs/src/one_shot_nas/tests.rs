use std::rc::Rc;

use lab_kit::{
    cells::{CellCode, SlotOp},
    testing::{FakeClock, context_with, ready},
};

use super::{
    truth::{Said, TOP, Truth},
    *,
};

fn cx() -> Context {
    context_with(Rc::new(FakeClock::real()), &["glyphs/glyphs.bin.gz", "cells/table.bin"])
}

fn run(params: Params) -> Report {
    let report = ready(OneShotNas::run(params, &mut cx())).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

fn code(text: &str) -> CellCode {
    CellCode::parse(text).expect("a code")
}

#[test]
fn shared_weights_rank_the_space_and_count_what_they_cost() {
    let report = run(Params { steps: 400, winner_steps: 174, ..Params::default() });
    assert_eq!(value(&report, "tree_slots"), 1_554.0);
    assert_eq!(report.metric("tree_slots").and_then(|one| one.baseline), Some(5_184.0));
    assert!((value(&report, "slots_seen") - 100.0 * 1_554.0 / 5_184.0).abs() < 1e-9);
    // So few steps give some order, and not a good one.
    assert!(value(&report, "order") > 0.1, "{}", value(&report, "order"));
    assert!((1.0..=781.0).contains(&value(&report, "place")));
    assert!(value(&report, "apart") > 0.0);
    // Chance is 2 %.
    assert!(value(&report, "right") > 20.0);
    assert_eq!(report.charts[0].id, "ranks");
}

#[test]
fn every_method_runs_with_and_without_residual() {
    for method in [Method::Uniform, Method::Fair, Method::Darts, Method::Gumbel] {
        for residual in [true, false] {
            let ahead = method == Method::Darts && residual;
            let report = run(Params { method, residual, ahead, price: 0.2, ..OneShotNas::smoke() });
            assert_eq!(report.metric("found").is_some(), residual, "{method:?}");
            assert_eq!(report.metric("gap").is_some(), method.mixes(), "{method:?}");
            if method == Method::Darts {
                assert_eq!(value(&report, "passes"), if ahead { 5.0 } else { 2.0 });
                assert_eq!(value(&report, "steps_all"), 10.0);
            }
        }
    }
}

#[test]
fn too_few_steps_for_a_mixture_are_refused_by_name() {
    match ready(OneShotNas::run(Params { method: Method::Darts, steps: 20, ..Params::default() }, &mut cx())) {
        Err(LabError::BadParam(bad)) => assert!(bad.name == "steps" && bad.why.contains("50"), "{}", bad.why),
        other => panic!("{:?}", other.map(|_| "ran")),
    }
}

#[test]
fn a_truth_agrees_with_itself_and_knows_its_best() {
    let codes = CellCode::distinct();
    let right: Vec<f64> = (0..codes.len()).map(|i| f64::from((i as u32 * 7919) % 781)).collect();
    let truth = Truth { codes, right };
    let [all, top] = truth.agreement(&truth.right.clone());
    assert!((all - 1.0).abs() < 1e-12 && (top - 1.0).abs() < 1e-12);
    let upside: Vec<f64> = truth.right.iter().map(|x| -x).collect();
    assert!((truth.agreement(&upside)[1] + 1.0).abs() < 1e-12);
    let best = truth.top(TOP);
    assert_eq!((best.len(), truth.right[best[0]], truth.right[best[14]]), (15, 780.0, 766.0));
    assert_eq!((truth.best(), truth.place(truth.codes[best[2]])), (780.0, Some(3)));
    // Any code of a network asks for it.
    assert_eq!(truth.of(code("skip-conv-skip-mix")), truth.of(code("conv-mix-skip-skip")));
    assert!(truth.typical(14_208, 47).is_some() && truth.typical(1, 47).is_none());
}

#[test]
fn a_network_is_the_mean_of_its_codes() {
    let mut right = vec![0; CellCode::COUNT];
    right[code("conv-skip-skip-skip").index()] = 10;
    right[code("skip-skip-conv-skip").index()] = 30;
    right[code("conv-conv-conv-conv").index()] = 12;
    let said = Said::new(&right, 100);
    assert!((said.of(code("skip-conv-skip-skip")) - 10.0).abs() < 1e-12);
    assert_eq!(said.order()[..2], [CellCode([SlotOp::Conv; 4]), code("conv-skip-skip-skip")]);
    // One network of several codes is 30 points apart; those with several are all but 5^4 and the one without any operation.
    let several = f64::from(781 - 625 - 1);
    assert!((said.apart() - 30.0 / several).abs() < 1e-12);
}
