use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 8] = [
    "language/lm.safetensors",
    "language/draft.safetensors",
    "corpus/tokenizer.json",
    "corpus/validation.txt.gz",
    "corpus/test.txt.gz",
    "glyphs/glyphs.bin.gz",
    "glyphs/teacher.safetensors",
    "glyphs/small.safetensors",
];

fn cx() -> Context {
    context_with(Rc::new(FakeClock::real()), &ASSETS)
}

fn run(params: Params) -> Report {
    let report = ready(Olympics::run(params, &mut cx())).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

#[test]
fn look() {
    let start = std::time::Instant::now();
    let report = run(Params::default());
    println!("{:?}", start.elapsed());
    for one in &report.metrics {
        println!("{} = {} ({:?}) {:?}", one.id, one.value, one.baseline, one.interval.map(|i| (i.low, i.high)));
    }
    for table in &report.tables {
        println!("{}", table.columns.join(" | "));
        for row in &table.rows {
            println!("{row:?}");
        }
    }
    println!("{:?}", report.notes);
}
