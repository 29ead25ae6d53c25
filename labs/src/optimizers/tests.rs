use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 5] = [
    "glyphs/glyphs.bin.gz",
    "corpus/tokenizer.json",
    "corpus/train.txt.gz",
    "corpus/validation.txt.gz",
    "corpus/test.txt.gz",
];
const GROUPS: [Compare; 7] = [
    Compare::Families,
    Compare::Momentum,
    Compare::State,
    Compare::Codes,
    Compare::Betas,
    Compare::Curvature,
    Compare::Controls,
];

fn context() -> Context {
    context_with(Rc::new(FakeClock::new(0.1)), &ASSETS)
}

fn train(task: &Task, params: &Params, id: &str, rate: f64) -> Trained {
    let arm = arms::arm(id, params.task).expect("a rule");
    ready(params.plan(&arm, rate, 0).run(task, || 0.0, async || Ok(()))).expect("trains")
}

#[test]
fn every_rule_of_every_comparison_learns_letters_at_its_middle_rate() {
    let cx = context();
    let params = Params { width: 32, steps: 60, batch: 32, ..Params::default() };
    let task = ready(Task::load(params.task, 32, &cx)).expect("shipped");
    for compare in GROUPS {
        assert_eq!(arms::group(compare, params.task).count(), arms::ids(compare).len(), "{compare:?}");
        for arm in arms::group(compare, params.task) {
            // Those that are there to fail.
            if ["eight_plain", "eight_linear", "adafactor_paper"].contains(&arm.id) {
                continue;
            }
            let found = train(&task, &params, arm.id, arm.middle);
            // Bare signs move every weight by the same, which is slow to begin with.
            let least = if arm.id == "sign" { 0.03 } else { 0.2 };
            assert!(found.score() < task.chance() - least, "{}: {}", arm.id, found.score());
        }
    }
}

#[test]
fn tokens_are_learned_and_frequent_ones_first() {
    let cx = context();
    let params = Params { task: Learned::Tokens, width: 32, steps: 60, batch: 128, ..Params::default() };
    let task = ready(Task::load(params.task, 32, &cx)).expect("shipped");
    let found = train(&task, &params, "adamw", 0.03).chosen.expect("survives");
    let [frequent, rare] = found.by_rank.expect("ranks");
    assert!(found.loss < task.chance() - 1.0 && frequent < rare - 1.0, "{found:?}");
    assert!(train(&task, &params, "sophia", 0.003).score() < task.chance() - 0.5);
}

#[test]
fn a_loss_times_a_thousand_is_nothing_to_adam_and_the_end_of_sgd() {
    let cx = context();
    let task = ready(Task::load(Learned::Glyphs, 16, &cx)).expect("shipped");
    let params = Params { width: 16, steps: 40, batch: 32, ..Params::default() };
    let times = Params { loss: Times::Thousand, ..params.clone() };
    let apart = |id, rate| (train(&task, &params, id, rate).score() - train(&task, &times, id, rate).score()).abs();
    for (id, rate) in [("adamw", 0.01), ("muon", 0.01), ("lion", 1e-3), ("adafactor", 0.01), ("sign", 1e-3)] {
        assert!(apart(id, rate) < 0.05, "{id}: {}", apart(id, rate));
    }
    let sgd = train(&task, &times, "sgd", 0.3).score();
    assert!(sgd.is_nan() || sgd > task.chance(), "{sgd}");
}

#[test]
fn bytes_of_the_language_model_are_those_of_the_formulas() {
    let parts = summary::language_parts();
    let of = |id| summary::bytes(arms::arm(id, Learned::Glyphs).expect("a rule").rule, &parts);
    assert_eq!((of("sgd"), of("adamw"), of("adafactor")), (0.0, 1_214_976.0, 14_592.0));
    assert_eq!(of("momentum"), of("lion"));
    assert!(of("eight") < 0.5 * of("adamw") && of("muon") < of("adamw") && of("soap") > of("adamw"));
}

#[test]
fn rates_rise_fall_and_are_named() {
    let params = Params { steps: 150, ..Params::default() };
    let plan = params.plan(&arms::arm("sgd", Learned::Glyphs).expect("a rule"), 2.0, 0);
    let all: Vec<f64> = (0..150).map(|step| plan.rate_at(step)).collect();
    assert!((all[0] - 0.2).abs() < 1e-9 && (all[9] - 2.0).abs() < 1e-9 && all[149] < 0.02 && all[149] > 0.0);
    assert_eq!(all.iter().copied().fold(0.0, f64::max), 2.0);
    assert!(Plan { falls: false, ..plan }.rate_at(149) == 2.0);
    assert_eq!([0.001, 0.003_162, 0.316_2, 10.0, 31.6].map(figures::rate).join(" "), "0.001 0.0032 0.32 10 32");
}

#[test]
fn a_run_in_which_nothing_survives_is_refused_by_its_rates() {
    let mut cx = context();
    let params = Params {
        compare: Compare::Momentum,
        loss: Times::Thousand,
        schedule: Schedule::Constant,
        tries: 3,
        steps: 40,
        width: 16,
        batch: 16,
        ..Params::default()
    };
    match ready(Optimizers::run(params, &mut cx)) {
        Err(LabError::Refused { why }) => assert!(why.contains("0.32"), "{why}"),
        Err(other) => panic!("{other}"),
        // Where one survives, what it says is a result.
        Ok(report) => assert_eq!(report.check(), Ok(())),
    }
}
