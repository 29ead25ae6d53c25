use std::rc::Rc;

use lab_kit::{
    rng,
    testing::{FakeClock, context_with, ready},
};

use super::{
    policy::{BITS, Model, by_width, packed_in, swap},
    space::{Config, draw},
    training::{Bench, Training, images},
    *,
};

const ASSETS: [&str; 5] = [
    "glyphs/glyphs.bin.gz",
    "language/lm.safetensors",
    "corpus/tokenizer.json",
    "corpus/validation.txt.gz",
    "corpus/test.txt.gz",
];

fn cx() -> Context {
    context_with(Rc::new(FakeClock::real()), &ASSETS)
}

fn run(params: Params) -> Report {
    let report = ready(Automl::run(params, &mut cx())).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

#[test]
fn halving_costs_three_trainings_and_its_winner_learned() {
    let report = run(Params { seeds_each: 1, ..Params::default() });
    assert_eq!(value(&report, "full_runs"), 3.0);
    assert_eq!(report.metric("full_runs").and_then(|one| one.baseline), Some(4.0));
    assert_eq!((value(&report, "trials"), report.metric("trials").and_then(|one| one.baseline)), (27.0, Some(3.0)));
    assert!((value(&report, "on_cut") - 200.0 / 3.0).abs() < 1e-9);
    assert!((1.0..=9.0).contains(&value(&report, "winner_first")));
    // Chance is 2 %.
    assert!(value(&report, "right") > 40.0);
    assert_eq!(report.charts[0].id, "rungs");
}

#[test]
fn every_method_runs_on_its_problem() {
    use Method::{Arrival, Asha, Evolution, Halving, Hyperband, Median, Model, Random};
    for method in [Random, Halving, Hyperband, Asha, Arrival, Median, Model] {
        let report = run(Params { method, workers: 2, finish: method == Halving, ..Automl::smoke() });
        assert!(value(&report, "right") >= 0.0, "{method:?}");
        // Brackets of two rungs and 3: 3 trials, and 2.
        if method == Hyperband {
            assert_eq!(value(&report, "trials"), 5.0);
        }
    }
    for method in [Halving, Evolution] {
        let report = run(Params { problem: Problem::Policy, method, ..Automl::smoke() });
        assert!(value(&report, "policy_two") > value(&report, "policy_three"), "{method:?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    let refused = |params: Params| match ready(Automl::run(params, &mut cx())) {
        Err(LabError::BadParam(bad)) => bad.name,
        other => panic!("{:?}", other.map(|_| "ran")),
    };
    assert_eq!(refused(Params { configurations: 2, ..Params::default() }), "configurations");
    assert_eq!(refused(Params { method: Method::Evolution, ..Params::default() }), "method");
    let policy = Params { problem: Problem::Policy, ..Params::default() };
    assert_eq!(refused(Params { method: Method::Model, ..policy.clone() }), "method");
    assert_eq!(refused(Params { windows: 4, ..policy }), "windows");
}

#[test]
fn a_training_in_pieces_is_a_training_in_one() {
    let cx = cx();
    let images = ready(images(&cx)).expect("shipped");
    let point = draw(&mut rng(3, "a point"));
    let config = Config { replaced: 0.1, batch: 16, width: 16, ..Config::at(&point, true) };
    let run = |stops: &[usize]| {
        let mut training = Training::new(config, 24, images[0].len(), 5);
        for stop in stops {
            ready(training.until(*stop, &images[0], async || Ok(()))).expect("trains");
        }
        training.weights
    };
    assert_eq!(run(&[24]), run(&[1, 3, 3, 2, 8, 24]));
    // The bench keeps what it paused, and pays for what is new alone.
    let mut bench = Bench::new(&images, 1080, false, 0);
    let costs = [360, 1080, 1080].map(|to| ready(bench.advance(1, to, &cx)).expect("trains").cost);
    assert!((costs[0] - 1.0 / 3.0).abs() < 1e-9 && (costs[1] - 2.0 / 3.0).abs() < 1e-9 && costs[2] == 0.0);
    assert_eq!(bench.trials.len(), 2);
}

#[test]
fn points_of_the_cube_are_configurations_within_the_limits() {
    for end in [0.0, 0.999_999] {
        let config = Config::at(&[end; space::AXES], false);
        assert!((1e-4..=0.1).contains(&config.rate) && (1e-3..=0.32).contains(&config.decay), "{config:?}");
        assert_eq!(config.falls, end < 0.5);
        assert!(Config::at(&[end; space::AXES], true).falls);
    }
    let names: Vec<f64> = (0..100).map(|i| Config::at(&draw(&mut rng(i, "points")), false).batch as f64).collect();
    assert!(space::BATCHES.iter().all(|batch| names.contains(&(*batch as f64))));
}

#[test]
fn what_was_cut_is_one_line_that_comes_back() {
    let curves = [vec![10.0, 20.0], vec![5.0], vec![7.0, 30.0]];
    let chart = figures::cut(&curves, &[2, 1, 1], 2);
    let lab_api::ChartBody::Line { series } = &chart.body else { panic!("lines") };
    let start = [0.0, 100.0 / 47.0];
    assert_eq!(series[0].points, [start, [1.0, 5.0], start, start, [1.0, 7.0], start]);
    assert_eq!((series[1].name.as_str(), &series[1].points[2]), ("Winner of the search", &[2.0, 20.0]));
    assert_eq!((series[2].name.as_str(), &series[2].points[2]), ("Best of all, cut", &[2.0, 30.0]));
}

#[test]
fn policies_keep_their_bytes_and_wide_ones_lose_nothing() {
    let cx = cx();
    for grid in [Grid::Symmetric, Grid::Affine] {
        let model = ready(Model::load(grid, 2, 1, &cx)).expect("shipped");
        assert_eq!(model.names.len(), 28);
        let (two, four) = (model.bytes_of(&model.uniform(0)), model.bytes_of(&model.uniform(2)));
        // Two bits more of each weight, without the scales.
        let weights = 4 * (192 * 192 * 2 + 2 * 64 * 192 + 3 * 192 * 576);
        assert_eq!(four - two, weights / 4);
        let alike = by_width(&[0.5; 28], grid);
        assert!(alike.iter().all(|loss| loss.is_sorted_by(|a, b| a > b)));
        assert_eq!(packed_in(&alike, &model, two).expect("fits"), model.uniform(0));
        match packed_in(&alike, &model, two - 1) {
            Err(LabError::BadParam(bad)) => assert!(bad.why.contains(&two.to_string()), "{}", bad.why),
            other => panic!("{other:?}"),
        }
        if grid == Grid::Affine {
            let fp32 = ready(model.losses(None, &model.choosing, &cx)).expect("judged");
            let eight = ready(model.losses(Some(&model.uniform(3)), &model.choosing, &cx)).expect("judged");
            assert!(fp32.iter().zip(&eight).all(|(a, b)| (a - b).abs() < 5e-3), "{fp32:?} {eight:?}");
        }
    }
}

#[test]
fn swaps_stay_within_the_bytes_and_reach_every_policy() {
    let bytes = vec![vec![20, 30, 40, 80], vec![10, 15, 20, 40], vec![20, 30, 40, 80]];
    let total = |policy: &[usize]| policy.iter().zip(&bytes).map(|(width, bytes)| bytes[*width]).sum::<usize>();
    let (mut rng, mut policy, mut seen) = (rng(0, "swaps"), vec![0; 3], std::collections::BTreeSet::new());
    for _ in 0..4000 {
        policy = swap(&policy, &bytes, 90, &mut rng);
        assert!(total(&policy) <= 90);
        seen.insert(policy.clone());
    }
    // What takes the bytes up to a step that nobody can fill.
    let full = (0..4_usize.pow(3)).map(|code| vec![code % 4, code / 4 % 4, code / 16]).filter(|policy| {
        total(policy) <= 90
            && (0..3).all(|i| {
                policy[i] + 1 == BITS.len() || total(policy) - bytes[i][policy[i]] + bytes[i][policy[i] + 1] > 90
            })
    });
    for policy in full {
        assert!(seen.contains(&policy), "{policy:?}");
    }
}
