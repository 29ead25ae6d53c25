use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 4] =
    ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/test.txt.gz", "glyphs/glyphs.bin.gz"];

fn run(params: Params) -> Report {
    let mut cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let report = ready(LinearAttention::run(params, &mut cx)).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

#[test]
fn two_layers_do_not_notice_and_two_do() {
    let report = run(LinearAttention::smoke());
    assert!(value(&report, "blind_first") < 0.15 && value(&report, "blind_last") > 0.4);
    assert_eq!(value(&report, "leak"), 47.0);
    assert_eq!(report.metric("leak").and_then(|m| m.baseline), Some(0.0));
    assert!(value(&report, "features_needed") > 10_000.0);
    assert!(
        value(&report, "entropy_last") < 0.8 * report.metric("entropy_last").and_then(|m| m.baseline).expect("first")
    );
}

#[test]
fn a_mixture_of_kernel_and_window_is_nearly_free_and_wide_windows_are_free() {
    let mixture =
        Params { method: Method::Elu, layers: Layers::FirstTwo, rest: Rest::Window, ..LinearAttention::smoke() };
    assert!(value(&run(mixture), "added") < 0.2);
    let wide = Params { method: Method::Window, window: 128, ..LinearAttention::smoke() };
    assert!(value(&run(wide), "added").abs() < 1e-4);
}

#[test]
fn every_method_runs_and_what_cannot_be_trained_is_named() {
    for method in [
        Method::Relu,
        Method::Taylor,
        Method::Sines,
        Method::Learned,
        Method::Decay,
        Method::Delta,
        Method::GatedDelta,
        Method::Top,
        Method::Linformer,
    ] {
        let report = run(Params { method, redraw: true, ..LinearAttention::smoke() });
        assert!(value(&report, "added").is_finite(), "{method:?}");
    }
    let refused = |params: Params| match params.check() {
        Err(LabError::BadParam(BadParam { name, .. })) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Params { train: Training::Recall, ..Params::default() }), "method");
    assert_eq!(
        refused(Params { train: Training::Recall, method: Method::Elu, pairs: 32, ..Params::default() }),
        "pairs"
    );
}

#[test]
fn what_is_trained_is_reported() {
    let recall = Params { train: Training::Recall, method: Method::Delta, steps: 20, ..LinearAttention::smoke() };
    assert!((0.0..=100.0).contains(&value(&run(recall), "recall_2")));
    let glyphs = Params { train: Training::Images, steps: 20, ..LinearAttention::smoke() };
    assert!((0.0..=100.0).contains(&value(&run(glyphs), "glyphs")));
}

#[test]
fn lengths_are_halves_and_lines_cross_where_they_do() {
    assert_eq!(timing::lengths(2048), [64, 128, 256, 512, 1024, 2048]);
    let mut cells = Vec::new();
    for t in [64, 128, 256] {
        for mixer in 0..timing::NAMES.len() {
            // Squares against lines that meet at 128.
            cells.push(vec![if mixer == 1 { (t * t) as f64 } else { 128.0 * t as f64 }]);
        }
    }
    let times = timing::Times { lengths: vec![64, 128, 256], cells, steps: vec![1.0] };
    assert!((times.crossing(1, 2).expect("crosses") - 128.0).abs() < 1e-6);
    assert_eq!(times.crossing(2, 1), None);
}

/// `cargo test --test scratch -- --nocapture --ignored default_run`: what the default run takes and says.
#[test]
#[ignore = "a look at the default run"]
fn default_run() {
    let start = std::time::Instant::now();
    let report = run(Params::default());
    eprintln!("{:.2} s", start.elapsed().as_secs_f64());
    for metric in &report.metrics {
        eprintln!(
            "{:<20} {:>14.5} {:>14?} {} | {}",
            metric.id, metric.value, metric.baseline, metric.unit, metric.label
        );
    }
    for table in &report.tables {
        table.rows.iter().for_each(|row| eprintln!("{row:?}"));
    }
    for chart in &report.charts {
        if chart.id == "grid" || chart.id == "times" {
            eprintln!("{:?}", chart.body);
        }
    }
}
