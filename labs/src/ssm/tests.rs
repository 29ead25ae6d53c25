use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 2] = ["corpus/train.txt.gz", "corpus/test.txt.gz"];

fn run(params: Params) -> Report {
    let mut cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let report = ready(Ssm::run(params, &mut cx)).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

#[test]
fn attention_recalls_and_a_fixed_state_space_does_not() {
    let report = run(Params { longest: 256, pairs: 4, ..Params::default() });
    assert!(value(&report, "recall_attention_4") > 60.0);
    assert!(value(&report, "recall_invariant_4") < 45.0);
    assert!(value(&report, "recall_larger_4") > value(&report, "recall_invariant_4") + 15.0);
    assert_eq!(report.charts[0].id, "recall");
    assert_eq!(report.charts[1].id, "times");
}

#[test]
fn counts_are_those_on_paper() {
    let report = run(Ssm::smoke());
    // 48 KiB of state and 10.5 KiB of convolutions, 2,048 bytes a token.
    assert_eq!(value(&report, "state_bytes"), 1024.0 * 58.5);
    assert_eq!(value(&report, "even"), 30.0);
    assert!((value(&report, "scan_work") - 3.0).abs() < 0.2);
}

#[test]
fn every_task_and_race_runs() {
    for task in [TaskChoice::Copy, TaskChoice::Fixed, TaskChoice::Induction] {
        let report = run(Params { task, ..Ssm::smoke() });
        assert!((0.0..=100.0).contains(&value(&report, "right_selective")), "{task:?}");
    }
    let report = run(Params { task: TaskChoice::Text, ..Ssm::smoke() });
    assert!(value(&report, "loss_selective") > 2.0);
    for race in [Race::Choosing, Race::Hybrids] {
        let report = run(Params { race, convolution: 0, pairs: 12, layers: 2, ..Ssm::smoke() });
        assert!((0.0..=100.0).contains(&value(&report, "recall_selective_12")), "{race:?}");
        assert!(report.notes.iter().any(|note| note.contains("convolution")));
    }
}

#[test]
fn lines_cross_where_they_do() {
    let mut cells = Vec::new();
    for t in [64, 128, 256] {
        for mixer in 0..timing::NAMES.len() {
            // Squares against lines that meet at 128.
            cells.push(vec![if mixer == timing::ATTENTION { (t * t) as f64 } else { 128.0 * t as f64 }]);
        }
    }
    let times = timing::Times::new(vec![64, 128, 256], cells);
    assert!((times.crossing(timing::ATTENTION, timing::CHUNKS).expect("crosses") - 128.0).abs() < 1e-6);
    assert_eq!(times.crossing(timing::CHUNKS, timing::ATTENTION), None);
    // A matrix of 1 ms a token beside two heads: (1 + 2 · 256) / (1 + 2 · 128).
    assert!((times.model_ratios(256)[0] - 513.0 / 257.0).abs() < 1e-9);
}
