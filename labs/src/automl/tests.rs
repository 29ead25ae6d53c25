use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 5] = [
    "glyphs/glyphs.bin.gz",
    "language/lm.safetensors",
    "corpus/tokenizer.json",
    "corpus/validation.txt.gz",
    "corpus/test.txt.gz",
];

fn run(params: Params) -> Report {
    let mut cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let report = ready(Automl::run(params, &mut cx)).expect("runs");
    report.check().expect("sound");
    report
}
