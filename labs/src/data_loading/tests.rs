use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 3] = ["glyphs/glyphs.bin.gz", "corpus/tokenizer.json", "corpus/validation.txt.gz"];

fn context() -> Context {
    context_with(Rc::new(FakeClock::real()), &ASSETS)
}

fn run(params: Params) -> Report {
    let report = ready(DataLoading::run(params, &mut context())).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

#[test]
fn every_setting_of_the_loader_gives_the_same_losses() {
    for augment in [Augment::None, Augment::Shift, Augment::Both] {
        for cache in [Cached::None, Cached::Decoded, Cached::Augmented] {
            let jitter = if augment == Augment::Shift { Slow::OnePercent } else { Slow::None };
            let params =
                Params { augment, cache, jitter, echo: 2, workers: 3, depth: 4, trained: 0, ..DataLoading::smoke() };
            let report = run(params);
            assert_eq!(value(&report, "differ"), 0.0, "{augment:?} {cache:?}");
            assert_eq!(value(&report, "flight"), 4.0);
        }
    }
}

#[test]
fn the_language_model_has_hardly_anything_to_load() {
    let report = run(Params { model: Fed::Lm, hand_over: HandOver::Clone, batch: 64, ..DataLoading::smoke() });
    assert_eq!(value(&report, "differ"), 0.0);
    assert!(value(&report, "load_ms") < 0.05 * value(&report, "train_ms"));
    assert!(report.metric("right").is_none());
}

#[test]
fn sorted_data_teach_little_and_shards_mix_them() {
    let right = |order, buffer| {
        let params = Params {
            images: Amount::All,
            batch: 64,
            order,
            buffer,
            shards: 512,
            augment: Augment::None,
            trained: 327,
            ..DataLoading::smoke()
        };
        let report = run(params);
        (
            value(&report, "right"),
            report.metric("right").and_then(|m| m.baseline).expect("a baseline"),
            value(&report, "classes"),
        )
    };
    let (sorted, full, few) = right(Ordered::Sorted, 64);
    assert!(sorted < 30.0 && full > 65.0 && few < 1.5, "{sorted} {full} {few}");
    let (shards, _, many) = right(Ordered::Shards, 512);
    assert!(shards > full - 12.0 && many > 20.0, "{shards} {many}");
}

#[test]
fn too_many_shards_are_refused_by_name() {
    let params = Params { order: Ordered::Shards, shards: 1024, ..DataLoading::smoke() };
    match ready(DataLoading::run(params, &mut context())) {
        Err(LabError::BadParam(bad)) => assert!(bad.name == "shards" && bad.why.contains("470"), "{}", bad.why),
        other => panic!("{:?}", other.map(|report| report.metrics.len())),
    }
}

#[test]
fn nobody_waits_longer_than_a_cancel() {
    let clock = Rc::new(FakeClock::real());
    clock.cancel();
    let mut cx = context_with(clock, &ASSETS);
    assert_eq!(ready(DataLoading::run(DataLoading::smoke(), &mut cx)).map(|one| one.notes), Err(LabError::Cancelled));
}

#[test]
fn a_gantt_chart_holds_each_step_once_and_nothing_overlaps_in_a_lane() {
    let report = run(Params { workers: 2, ..DataLoading::smoke() });
    let chart = report.charts.iter().find(|chart| chart.id == "gantt").expect("there");
    let lab_api::ChartBody::Gantt { lanes, spans } = &chart.body else { panic!("a Gantt chart") };
    assert_eq!(lanes.len(), 3);
    assert_eq!(spans.iter().filter(|span| span.label == "trains").count(), 9);
    for lane in 0..3 {
        let mut here: Vec<_> = spans.iter().filter(|span| span.lane == lane).collect();
        here.sort_by(|a, b| a.start.total_cmp(&b.start));
        assert!(here.windows(2).all(|two| two[0].end <= two[1].start + 1e-9), "{lane}");
    }
}

#[test]
fn small_buffers_and_batches_that_are_too_large_are_told() {
    let params = Params { images: Amount::Few, buffer: 9999, batch: 256, trained: 0, ..DataLoading::smoke() };
    let report = run(params);
    assert!(report.notes.iter().any(|note| note.contains("the buffer is as large as that")), "{:?}", report.notes);
}
