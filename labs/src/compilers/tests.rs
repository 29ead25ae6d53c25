use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

fn run(params: Params) -> Report {
    let assets = ["language/lm.safetensors", "glyphs/teacher.safetensors"];
    let mut cx = context_with(Rc::new(FakeClock::real()), &assets);
    let report = ready(Compilers::run(params, &mut cx)).expect("runs");
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
fn a_short_text_is_compiled_and_answers_stay() {
    let report = run(Params { length: 16, ..Params::default() });
    assert_eq!((value(&report, "kernels"), baseline(&report, "kernels")), (55.0, 176.0));
    assert!(baseline(&report, "arena") > 10.0 * value(&report, "arena"));
    assert!(value(&report, "agree") > 99.0 && value(&report, "deviation") < 1000.0);
    assert_eq!((value(&report, "six_by_size"), value(&report, "six_in_time")), (11.0, 8.0));
    assert_eq!(report.charts[0].id, "map");
    assert_eq!(report.charts[1].id, "paid");
}

#[test]
fn every_network_and_planner_runs() {
    for model in [Model::LmDecode, Model::Heads, Model::Cnn, Model::Mlp] {
        let order = Order::LeastMemory;
        let report = run(Params { model, order, plan: Strategy::InTime, length: 8, batch: 2, ..Params::default() });
        assert!(value(&report, "arena") <= baseline(&report, "arena"), "{model:?}");
        assert!(value(&report, "agree") > 99.0, "{model:?}");
    }
    let report = run(Params { plan: Strategy::Exact, tune: 2, ..Compilers::smoke() });
    assert!(value(&report, "tune_ms") > 0.0 && value(&report, "tuned") > 0.1);
    let bare = Params {
        fold: false,
        cse: false,
        dead: false,
        merge: false,
        fuse: Fuse::None,
        plan: Strategy::None,
        layout: Layout::AsIs,
        in_place: false,
        ..Compilers::smoke()
    };
    let report = run(bare);
    assert_eq!(value(&report, "arena"), baseline(&report, "arena"));
    assert_eq!(value(&report, "deviation"), 0.0);
    assert!(report.notes.iter().any(|note| note.contains("Without a plan")));
}

#[test]
fn all_orders_of_many_buffers_are_refused_by_their_number() {
    let mut cx = context_with(Rc::new(FakeClock::real()), &[]);
    let params = Params { plan: Strategy::Exact, ..Params::default() };
    match ready(Compilers::run(params, &mut cx)) {
        Err(LabError::Refused { why }) => assert!(why.contains("buffers are too many: 9 at most"), "{why}"),
        other => panic!("{:?}", other.map(|report| report.metrics.len())),
    }
}

#[test]
fn a_map_shows_each_buffer_while_it_lives() {
    let params = Params { model: Model::Mlp, ..Params::default() };
    let none = compile(&net::graph(&params), Passes::NONE).expect("compiles");
    let lab_api::ChartBody::Gantt { spans, .. } = figures::map("m", "t", "c", &none).body else { panic!("a map") };
    // A staircase: in each line, who stands higher comes later.
    let first = |lane: usize| spans.iter().filter(|span| span.lane == lane).map(|span| span.start as usize).min();
    assert!(first(9) < first(0));
    assert!(spans.iter().all(|span| span.end > span.start && span.end <= none.kernels.len() as f64));
}
