use std::rc::Rc;

use lab_api::BadParam;
use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 5] = [
    "glyphs/glyphs.bin.gz",
    "corpus/tokenizer.json",
    "corpus/train.txt.gz",
    "corpus/validation.txt.gz",
    "corpus/test.txt.gz",
];
const GROUPS: [Compare; 5] = [Compare::Usual, Compare::Falls, Compare::CoolDowns, Compare::Older, Compare::Order];

fn context() -> Context {
    context_with(Rc::new(FakeClock::new(0.1)), &ASSETS)
}

fn small() -> Params {
    Params { steps: 60, batch: 32, width: 32, ..Params::default() }
}

fn letters(params: &Params) -> Task {
    ready(Task::load(params.task, params.width as usize, &context())).expect("shipped")
}

fn started<'a>(id: &'static str, peak: f64, params: &Params, task: &'a Task) -> Training<'a> {
    let steps = params.planned();
    let arm = arms::arm(id, params).expect("a schedule");
    Training::new(task, arm.plan(params, (steps, params.warmup(steps)), peak, 0))
}

fn to(training: &mut Training<'_>, step: usize) {
    ready(training.until(step, async || Ok(()))).expect("trains");
}

#[test]
fn every_schedule_of_every_comparison_learns_with_both_optimizers() {
    let task = letters(&small());
    for optimizer in [Optimizer::Adamw, Optimizer::Momentum] {
        for compare in GROUPS {
            let params = Params { compare, optimizer, ..small() };
            let group = arms::group(&params).expect("no drawing");
            assert_eq!(group.len(), arms::ids(compare).len(), "{compare:?}");
            for arm in group {
                let mut training = started(arm.id, params.middle(arm.free), &params, &task);
                to(&mut training, 60);
                let found = training.judge(1).expect("survives").loss;
                assert!(found < task.chance() - 0.15, "{}: {found}", arm.id);
            }
        }
    }
}

#[test]
fn a_branch_leaves_the_trunk_bit_by_bit_as_it_was() {
    let (params, task) = (small(), letters(&small()));
    for id in ["constant", "schedule_free"] {
        let mut whole = started(id, 0.01, &params, &task);
        to(&mut whole, 40);
        let mut trunk = started(id, 0.01, &params, &task);
        to(&mut trunk, 25);
        let mut branch = trunk.branch(vec![1e-3; 60]);
        to(&mut branch, 40);
        to(&mut trunk, 40);
        assert_eq!(trunk.state.weights, whole.state.weights, "{id}");
        assert_eq!(trunk.state.average, whole.state.average, "{id}");
        assert_ne!(branch.state.weights, whole.state.weights, "{id}");
    }
}

#[test]
fn equal_rates_are_equal_trainings_and_without_a_rate_nothing_moves() {
    let (params, task) = (small(), letters(&small()));
    // A floor as high as the peak makes a constant rate of a cosine.
    let mut one = started("cosine", 0.01, &Params { floor: 1.0, ..params.clone() }, &task);
    let mut other = started("constant", 0.01, &params, &task);
    to(&mut one, 30);
    to(&mut other, 30);
    assert_eq!(one.state.weights, other.state.weights);
    // Beyond the plan the rate is zero.
    to(&mut other, 60);
    let end = other.state.weights.clone();
    to(&mut other, 70);
    assert_eq!(end, other.state.weights);
    assert_ne!(end, other.state.average);
}

#[test]
fn the_branch_at_the_planned_length_is_the_schedule_of_that_length() {
    let (params, task) = (small(), letters(&small()));
    let peaks = anytime::Peaks { constant: 0.005, cooled: 0.01, cosine: 0.01, free: 0.01 };
    let cx = context();
    let found = ready(Anytime::run(&params, &peaks, &task, 0, &cx)).expect("runs");
    assert_eq!((found.stops, found.branched), ([30, 60, 120], 96));
    // The warm-up of all is that of the shortest.
    let arm = arms::arm("wsd_sqrt", &params).expect("a schedule");
    let mut alone = Training::new(&task, arm.plan(&params, (60, params.warmup(30)), 0.01, 0));
    to(&mut alone, 60);
    assert_eq!(found.judged[2][1], alone.judge(2));
    assert!(found.judged.iter().flatten().all(Option::is_some));
    let seen = |which: usize| found.dynamics[which].len();
    assert_eq!((seen(0), seen(1)), (120, 120));
    assert!(found.dynamics[0].iter().all(|d| d.gradient > 0.0 && d.update > 0.0 && d.turn.abs() <= 1.0 + 1e-9));
}

#[test]
fn a_drawing_is_a_schedule_and_what_is_none_is_named() {
    assert_eq!(arms::drawn(""), Ok(None));
    // Ink in the first row at the left and in the last row at the right.
    let mut levels = vec![0; 28 * 28];
    levels[0] = 15;
    levels[27 * 28 + 27] = 15;
    let params = Params { drawing: lab_api::drawing::text(&levels), compare: Compare::Order, ..small() };
    let yours = arms::group(&params).expect("a drawing").pop().expect("five");
    let rates = yours.rates(55, 0, 0.5, 0);
    assert_eq!((yours.id, rates.len(), rates[0], rates[54]), ("yours", 55, 0.5, 0.0));
    assert!(rates.windows(2).all(|pair| pair[0] >= pair[1]));
    let mut cx = context();
    match ready(LrSchedules::run(Params { drawing: "x".into(), ..small() }, &mut cx)) {
        Err(LabError::BadParam(BadParam { name, .. })) => assert_eq!(name, "drawing"),
        other => panic!("{:?}", other.map(|report| report.notes)),
    }
}

#[test]
fn the_same_rates_in_another_order_are_the_same_rates() {
    let params = small();
    let sorted = |id| {
        let mut rates = arms::arm(id, &params).expect("a schedule").rates(60, 3, 0.01, 5);
        rates.sort_by(f64::total_cmp);
        rates
    };
    assert_eq!(sorted("linear"), sorted("shuffled"));
    assert_eq!(sorted("linear"), sorted("rising"));
}

#[test]
fn a_run_holds_what_the_page_quotes() {
    let mut cx = context();
    let params = Params { tries: 1, steps: 40, width: 16, batch: 32, ..Params::default() };
    let report = ready(LrSchedules::run(params, &mut cx)).expect("runs");
    assert_eq!(report.check(), Ok(()));
    let value = |id: &str| report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value;
    assert_eq!((value("kept_adamw"), value("kept_free"), value("kept_average")), (8.0, 8.0, 4.0));
    assert!((value("mean_constant") - 98.75).abs() < 1e-9, "{}", value("mean_constant"));
    for id in ["constant_behind", "averaged_behind", "cut_behind", "twice_behind", "free_behind", "shapes_apart"] {
        assert!(value(id).is_finite(), "{id}");
    }
    assert!(value("bowl_linear") < value("bowl_constant"));
    for id in ["rates", "losses", "peaks", "branches", "anytime", "bounce"] {
        assert!(report.charts.iter().any(|chart| chart.id == id), "{id}");
    }
}

#[test]
fn peaks_at_which_nothing_survives_are_named() {
    let mut cx = context();
    let params = Params {
        compare: Compare::Order,
        optimizer: Optimizer::Momentum,
        peak: 0.2,
        warmup: 0.0,
        tries: 1,
        steps: 40,
        width: 16,
        batch: 16,
        ..Params::default()
    };
    match ready(LrSchedules::run(params, &mut cx)) {
        Err(LabError::Refused { why }) => assert!(why.contains('2'), "{why}"),
        Err(other) => panic!("{other}"),
        // Where one survives, what it says is a result.
        Ok(report) => assert_eq!(report.check(), Ok(())),
    }
}

#[test]
fn a_line_of_rates_takes_as_few_points_as_draw_it() {
    let warmed: Vec<f64> = (0..=300).map(|step| f64::from(step.min(100)) * 0.01).collect();
    assert_eq!(figures::over_steps(&warmed), [[0.0, 0.0], [100.0, 1.0], [300.0, 1.0]]);
    let cosine: Vec<f64> =
        (0..=300).map(|step| 0.5 + 0.5 * (f64::from(step) / 300.0 * std::f64::consts::PI).cos()).collect();
    let shown = figures::over_steps(&cosine);
    assert!(shown.len() < 20, "{}", shown.len());
    for (step, rate) in cosine.iter().enumerate() {
        let after = shown.iter().position(|point| point[0] >= step as f64).unwrap_or(0).max(1);
        let [[x0, y0], [x1, y1]] = [shown[after - 1], shown[after]];
        let drawn = y0 + (y1 - y0) * (step as f64 - x0) / (x1 - x0);
        assert!((drawn - rate).abs() < 0.006, "{step}: {drawn} for {rate}");
    }
    let noise: Vec<f64> = (0..1000_u64).map(|i| ((i * 7919) % 1009) as f64).collect();
    assert!(figures::over_steps(&noise).len() <= 120);
    assert_eq!(figures::over_steps(&[]), [[0.0; 2]; 0]);
}
