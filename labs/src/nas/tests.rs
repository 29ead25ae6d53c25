use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::{record::Record, *};

const ASSETS: [&str; 2] = ["glyphs/glyphs.bin.gz", "cells/table.bin"];

fn cx() -> Context {
    context_with(Rc::new(FakeClock::real()), &ASSETS)
}

fn run(params: Params) -> Report {
    let report = ready(Nas::run(params, &mut cx())).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

#[test]
fn a_search_ends_with_a_network_that_learned() {
    let report = run(Params { evaluations: 5, ..Params::default() });
    assert_eq!(value(&report, "networks"), 781.0);
    // Chance is 2 %.
    assert!(value(&report, "right") > 6.0 && value(&report, "right_hand") > 25.0);
    assert!(value(&report, "trained") <= 5.0);
    assert!(value(&report, "winner_flops") <= 0.2 * 309.12);
    assert!(value(&report, "sep_over_conv") > 0.174, "sep moves as much and multiplies less");
    assert_eq!(report.charts[0].id, "by_flops");
    assert_eq!(report.charts[1].id, "by_time");
}

#[test]
fn every_strategy_and_both_costs_run() {
    for strategy in [Strategy::Random, Strategy::Local, Strategy::Reinforce, Strategy::Predictor] {
        let report = run(Params { strategy, ..Nas::smoke() });
        assert!(value(&report, "right") > 0.0, "{strategy:?}");
    }
    let timed = run(Params { cost: Cost::Time, budget: 60, batch: Batch::Many, residual: false, ..Nas::smoke() });
    assert!(timed.notes.iter().any(|note| note.contains("predicted")));
}

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    let refused = |params: Params| match ready(Nas::run(params, &mut cx())) {
        Err(LabError::BadParam(bad)) => bad.name,
        other => panic!("{:?}", other.map(|_| "ran")),
    };
    assert_eq!(refused(Params { population: 2, sample: 5, ..Params::default() }), "sample");
    // The smallest network takes 4.6 % of the FLOPs of the largest, and more of its time.
    let least = Allowed::of(4.0, |code| code.flops(47) as f64);
    assert!(!least.codes.contains(&true));
    assert!(Allowed::of(5.0, |code| code.flops(47) as f64).codes.contains(&true));
}

#[test]
fn a_network_is_trained_once_whatever_it_is_called() {
    let cx = cx();
    let images = ready(cell_images(&cx)).expect("shipped");
    let params = Nas::smoke();
    let mut judge = Judge::new(&images, &params);
    let of = |text: &str| CellCode::parse(text).expect("a code");
    let one = ready(judge.score(of("skip-pw-skip-skip"), 0, &cx)).expect("trains");
    let other = ready(judge.score(of("pw-skip-skip-skip"), 0, &cx)).expect("trains");
    let anew = ready(judge.score_anew(of("skip-skip-pw-skip"), 0, &cx)).expect("trains");
    assert_eq!((one, one, judge.known.len()), (other, anew, 1));
}

#[test]
fn the_record_is_of_this_space_and_a_training_agrees_with_it() {
    let cx = cx();
    let record = Record::new(ready(CellTable::load(&cx)).expect("shipped"));
    assert_eq!((record.truth.len(), record.table.images), (781, [1_881, 6_908]));
    assert!((0.3..5.0).contains(&record.noise), "{}", record.noise);
    let of = |text: &str| record.error(CellCode::parse(text).expect("a code"));
    assert_eq!(of("skip-conv-mix-skip"), of("conv-mix-skip-skip"));
    assert!(of("conv-conv-conv-conv") < of("pool-pool-pool-pool"));
    let images = ready(cell_images(&cx)).expect("shipped");
    let code = CellCode::parse("pw-skip-skip-skip").expect("a code");
    let found = lab_kit::cells::CellTable::counts(code, &images);
    let entry = record.table.entry(code).expect("an entry");
    // The same seed: what another processor sums in another order apart.
    let recorded = entry.chosen[1][0];
    assert!((100.0 * found[1] as f64 / 1_881.0 - recorded).abs() < 3.0, "{found:?} {recorded}");
}

#[test]
fn replays_of_a_silent_table_never_get_worse_and_end_well() {
    let cx = cx();
    let record = Record::new(ready(CellTable::load(&cx)).expect("shipped"));
    let allowed = Allowed::of(100.0, |code| code.flops(47) as f64);
    let found =
        ready(replay::curves(&record, &allowed, &Params { replays: 20, ..Params::default() }, &cx)).expect("runs");
    for curve in &found.curves[0] {
        assert!(curve.is_sorted_by(|a, b| a >= b) && curve.iter().all(|regret| *regret >= 0.0));
    }
    let last = |noise: usize, strategy: usize| found.curves[noise][strategy][replay::LENGTH - 1];
    assert!(last(0, 0) < 4.0 && last(1, 0) > last(0, 0), "noise hides the best");
}
