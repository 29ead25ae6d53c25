use std::rc::Rc;

use lab_kit::{
    Context,
    blocks::{Kind, count, totals},
    testing::{FakeClock, context_with, ready},
};

use super::{arms::CLASSES, *};

fn context() -> Context {
    context_with(Rc::new(FakeClock::real()), &["glyphs/glyphs.bin.gz"])
}

#[test]
fn the_choice_and_the_baseline_stand_where_they_are_said_to() {
    for view in [View::Blocks, View::Sizes, View::Scaling] {
        for family in [Block::Plain, Block::Grouped, Block::Inverted, Block::Depthwise] {
            for beside in [Beside::Few, Beside::All, Beside::Switches] {
                let params = Params { view, family, beside, ..Params::default() };
                let plan = arms::plan(&params).expect("a plan");
                let shape = |i: usize| plan.all[i].shape;
                assert_eq!(shape(plan.chosen).family, family.family());
                let first = if view == View::Scaling { family.family() } else { Family::Plain };
                assert_eq!(shape(plan.baseline).family, first);
                let mut names: Vec<&str> = plan.all.iter().map(|planned| planned.name.as_str()).collect();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), plan.all.len(), "{names:?}");
            }
        }
    }
    let all = arms::plan(&Params { beside: Beside::All, ..Params::default() }).expect("a plan");
    assert_eq!(all.all.len(), 9);
}

#[test]
fn what_is_called_equal_is_equal() {
    let of = |equal| {
        let plan = arms::plan(&Params { equal, size: 200, ..Params::default() }).expect("a plan");
        [0, 1].map(|i| (plan.all[i].shape.width, totals(&plan.all[i].shape.ops(CLASSES), 16)))
    };
    let near = |a: usize, b: usize| (a as f64 / b as f64 - 1.0).abs() < 0.08;
    let [plain, own] = of(Equal::Madds);
    assert!(near(plain.1.madds, own.1.madds) && own.0 > plain.0);
    let [plain, own] = of(Equal::Weights);
    assert!(near(plain.1.weights, own.1.weights) && own.0 > plain.0);
    let [plain, own] = of(Equal::Width);
    assert!(plain.0 == own.0 && 3 * own.1.madds < plain.1.madds);
}

#[test]
fn a_short_run_learns_and_a_finished_network_answers_as_it_learned() {
    let cx = context();
    let task = ready(Task::load(&cx)).expect("shipped");
    let mut race = Race::new(arms::plan(&Params::default()).expect("a plan"), &task, &cx).expect("begins");
    for step in 0..80 {
        race.advance(step, 80, 0.03).expect("stays finite");
    }
    let judged = ready(race.judge(20, &cx)).expect("judged");
    for (arm, judged) in race.arms.iter().zip(&judged) {
        assert!(arm.late() < arm.losses[0] - 0.7, "{} {}", arm.planned.name, arm.late());
        // Guessing is right on one in 47.
        assert!(judged.accuracy > 15.0, "{} {}", arm.planned.name, judged.accuracy);
    }
    assert_eq!(judged[0].gap, 0.0);
}

#[test]
fn a_rate_that_is_too_high_is_refused_with_a_remedy() {
    let cx = context();
    let task = ready(Task::load(&cx)).expect("shipped");
    let params = Params { size: 50, ..Params::default() };
    let mut race = Race::new(arms::plan(&params).expect("a plan"), &task, &cx).expect("begins");
    let refused = (0..5).find_map(|step| race.advance(step, 5, f64::INFINITY).err());
    assert!(refused.is_some_and(|error| error.to_string().contains("lower learning rate")));
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let refused = |params: Params| match params.check() {
        Err(LabError::BadParam(BadParam { name, why })) => (name, why),
        other => panic!("{other:?}"),
    };
    let (name, why) = refused(Params { groups: 3, ..Params::default() });
    assert!(name == "groups" && why.contains("8 channels"), "{why}");
    let (name, _) = refused(Params { view: View::Scaling, size: 300, factor: 4, ..Params::default() });
    assert_eq!(name, "size");
    assert!(Params { groups: 8, ..Params::default() }.check().is_ok());
}

#[test]
fn shares_and_rates_cover_the_layers() {
    let cx = context();
    let task = ready(Task::load(&cx)).expect("shipped");
    let params = Params { size: 50, family: Block::Separable, ..Params::default() };
    let race = Race::new(arms::plan(&params).expect("a plan"), &task, &cx).expect("begins");
    let judged = ready(race.judge(100, &cx)).expect("judged");
    let times = ready(measure::Times::of(&race, &judged, &cx)).expect("timed");
    let (mut madds, mut ms) = (0.0, 0.0);
    for (_, work, time) in times.shares() {
        madds += work;
        ms += time;
    }
    assert!((madds - 100.0).abs() < 1e-9 && (ms - 100.0).abs() < 1e-9);
    assert!(times.rates().iter().flatten().all(|rate| rate.is_finite() && *rate > 0.0));
    let shape = race.arms[1].planned.shape;
    let kinds: Vec<Kind> = count(&shape.ops(CLASSES), 16).iter().map(|layer| layer.kind).collect();
    let pair = [Kind::Depthwise, Kind::Pointwise];
    assert_eq!(kinds, [&[Kind::Plain][..], &pair, &pair, &pair, &[Kind::Pointwise]].concat());
}
