use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 2] = ["corpus/tokenizer.json", "corpus/validation.txt.gz"];

fn cx() -> Context {
    context_with(Rc::new(FakeClock::real()), &ASSETS)
}

fn run(params: Params) -> Report {
    let report = ready(PipelineParallelism::run(params, &mut cx())).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

fn small() -> Params {
    PipelineParallelism::smoke()
}

#[test]
fn counts_are_those_on_paper() {
    let report = run(Params { steps: 1, ..Params::default() });
    let (layer, head) = (256.0 * 128.0 + 4.0 * 256.0 + 128.0 * 128.0, 1024.0 * 128.0);
    // Weights, gradients, moments, and the largest gradient in work; equal layers, so the output layer sets it.
    assert!((value(&report, "states") - (16.0 * (4.0 * layer + head) + 4.0 * head) / 1e6).abs() < 1e-9);
    assert_eq!(
        [value(&report, "live_gpipe"), value(&report, "live_one_f_one_b"), value(&report, "live_naive")],
        [8.0, 2.0, 1.0]
    );
    // Interleaved on worker 0: half chunks of 2 (p - 1) + (v - 1) p + 1 micro-batches.
    assert_eq!(value(&report, "live_interleaved"), 2.5);
    // One cut, both ways, eight times; then the squares of ten units and a loss, once around.
    assert!((value(&report, "bytes") - (16.0 * (8.0 + 4.0 * 64.0 * 128.0) + 2.0 * 8.0 * 11.0) / 1e6).abs() < 1e-9);
    assert_eq!(value(&report, "messages"), 18.0);
    assert_eq!(value(&report, "weights_equal"), 4.0);
    assert!(value(&report, "held_gpipe") > value(&report, "held_one"));
    assert!(value(&report, "held_one_f_one_b") < value(&report, "held_one"));
    assert_eq!([report.charts[0].id.as_str(), report.charts[1].id.as_str()], ["steps", "held"]);
}

#[test]
fn one_micro_batch_gains_nothing_and_no_speed_exceeds_the_workers() {
    let one = run(Params { micro_batches: 1, ..small() });
    assert!(value(&one, "speed_one_f_one_b") < 1.2 && value(&one, "speed_gpipe") < 1.2);
    for (workers, split) in [(2, Split::EqualLayers), (4, Split::ByTime), (8, Split::ByTime)] {
        let report = run(Params { workers, micro_batches: 8, split, ..small() });
        assert!(value(&report, "speed_gpipe") <= f64::from(workers) && value(&report, "weights_equal") >= 3.0);
    }
}

#[test]
fn a_stage_that_clips_alone_is_found_out() {
    let wrong = run(Params { clip: Clip::Alone, steps: 2, ..small() });
    assert_eq!(value(&wrong, "weights_equal"), 0.0);
    assert!(wrong.notes.iter().any(|note| note.contains("0 of 4")));
}

#[test]
fn computing_again_saves_memory_and_no_bit() {
    let again = run(Params { recompute: true, micro_batches: 8, ..small() });
    let usual = run(Params { micro_batches: 8, ..small() });
    assert!(value(&again, "held_gpipe") < 0.7 * value(&usual, "held_gpipe"));
    assert_eq!(value(&again, "weights_equal"), 4.0);
}

#[test]
fn latency_is_paid_by_each_micro_batch_or_by_the_step() {
    let report = run(Params { workers: 4, micro_batches: 16, split: Split::ByTime, ..small() });
    let table = report.tables.iter().find(|table| table.id == "links").expect("simulated");
    let ms = |row: usize, column: usize| match table.rows[row][column] {
        lab_api::Cell::Number(ms) => ms,
        lab_api::Cell::Text(_) => panic!("it fits"),
    };
    // From 1 to 5 ms for a message, all else equal. One at a time: there and back over three cuts, 16 times. GPipe: once in all.
    // Then three messages tell the gradient's length.
    let naive = ms(3, 1) - ms(2, 1);
    assert!((naive - 4.0 * (2.0 * 3.0 * 16.0 + 3.0)).abs() < 1e-6, "{naive}");
    let gpipe = ms(3, 2) - ms(2, 2);
    assert!((0.0..4.0 * (2.0 * 3.0 + 3.0) + 1.0).contains(&gpipe), "{gpipe}");
    assert!(matches!(table.rows[0][5], lab_api::Cell::Text(_)));
}

#[test]
fn what_cannot_be_dealt_is_refused_by_name() {
    let refused = |params: Params| match params.check() {
        Err(LabError::BadParam(bad)) => (bad.name, bad.why),
        other => panic!("{other:?}"),
    };
    let four = Params { workers: 4, schedule: Schedule::InterleavedFour, ..Params::default() };
    let (name, why) = refused(four);
    assert!(name == "workers" && why.contains("take 2 workers"), "{why}");
    let seven = Params { micro_batches: 7, schedule: Schedule::Interleaved, ..Params::default() };
    let (name, why) = refused(seven);
    assert!(name == "micro_batches" && why.ends_with("take 6"), "{why}");
    let (_, why) =
        refused(Params { workers: 4, micro_batches: 3, schedule: Schedule::Interleaved, ..Params::default() });
    assert!(why.ends_with("take 4"), "{why}");
    assert!(Params { workers: 1, schedule: Schedule::InterleavedFour, ..Params::default() }.check().is_ok());
}

#[test]
fn every_order_runs_on_odd_numbers_of_workers() {
    for workers in [1, 3, 5] {
        let report = run(Params { workers, micro_batches: 3, ..small() });
        assert_eq!(value(&report, "weights_equal"), if workers == 5 { 3.0 } else { 4.0 }, "{workers}");
    }
}

#[cfg(feature = "schema")]
#[test]
fn two_threads_end_where_turns_end() {
    let cx = cx();
    let text = ready(arms::Text::load(&cx)).expect("shipped");
    let setup = arms::Setup::new(&text, &Params { micro_batches: 4, steps: 2, ..Params::default() }, 0);
    let truth = ready(arms::train(&setup, &arms::Arm::ONE, &lab_kit::pipeline::equal_layers(8, 1), async || Ok(())))
        .expect("trains");
    for schedule in [Schedule::Gpipe, Schedule::OneFOneB, Schedule::Interleaved] {
        let arm = arms::Arm::of(schedule);
        let cut = lab_kit::pipeline::equal_layers(8, arm.chunks(2));
        let turns = ready(arms::train(&setup, &arm, &cut, async || Ok(()))).expect("trains");
        let found = threads::train(&setup, &arm, &cut).expect("trains");
        assert!(found.ran.weights == truth.weights && turns.weights == truth.weights);
        assert_eq!((found.ran.sent, &found.ran.held), (turns.sent, &turns.held));
        assert!(
            found.steps().iter().all(|ms| *ms > 0.0) && found.waits().iter().all(|share| (0.0..1.0).contains(share))
        );
    }
    let wire = threads::wire().expect("two threads");
    assert!(wire.latency_ms < 20.0);
}
