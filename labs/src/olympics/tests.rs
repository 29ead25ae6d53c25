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

fn show(report: &Report) {
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

#[test]
fn look() {
    let cx = cx();
    let clock = || std::time::Instant::now();
    let start = clock();
    let params = Params::default();
    let mut course = ready(Course::load(&params, &cx)).expect("loads");
    println!("load {:?}", start.elapsed());
    let steps = params.steps().expect("fine");
    for n in 0..=steps.len() {
        let start = clock();
        ready(course.numbers(&steps[..n], &cx)).expect("runs");
        println!("{n} {:?}", start.elapsed());
    }
    let start = clock();
    let report = run(params);
    println!("all {:?}", start.elapsed());
    show(&report);
}

#[test]
fn whole_study() {
    let start = std::time::Instant::now();
    let report = ready(Olympics::study(&mut cx())).expect("runs").expect("has one");
    report.check().expect("sound");
    println!("study {:?}", start.elapsed());
    show(&report);
}
