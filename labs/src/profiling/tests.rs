//! What a reader may ask for, and what the counts must agree with.

use std::rc::Rc;

use lab_api::LabError;
use lab_kit::{
    Context, Lab,
    profile::{CountProbe, Depth, NoProbe, Part, Without},
    testing::{FakeClock, context_with, ready},
};

use super::{
    Profiling, experiment,
    settings::{Change, Clock, Granularity, Method, Params, Phase},
    subject::{Plan, Source},
};

const ASSETS: [&str; 3] = ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/test.txt.gz"];

fn load() -> (Context, Source) {
    let cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let source = ready(Source::load(&cx)).expect("loads");
    (cx, source)
}

#[test]
fn what_cannot_be_done_is_named() {
    let name = |params: Params, cpu: bool| match params.check(cpu) {
        Err(LabError::BadParam(bad)) => bad.name,
        _ => String::new(),
    };
    let alone = Params { method: Method::Alone, ..Params::default() };
    assert_eq!([name(Params::default(), false), name(alone.clone(), true)], ["", ""]);
    assert_eq!(name(alone.clone(), false), "method");
    assert_eq!(name(Params { granularity: Granularity::Block, ..alone }, true), "method");
    for tokens in [0, 257] {
        assert!(
            matches!(Plan::of(&Params { tokens, ..Params::default() }), Err(LabError::BadParam(bad)) if bad.why == "1 to 256")
        );
    }
}

#[test]
fn the_plan_counts_the_calls_that_happen_and_the_last_row_is_the_last_row() {
    let (cx, source) = load();
    for (phase, tokens) in [(Phase::Prefill, 16), (Phase::Decode, 16), (Phase::Prefill, 33)] {
        let plan = Plan::of(&Params { phase, tokens, ..Params::default() }).expect("valid");
        let mut count = CountProbe::default();
        let mut subject = source.subject(phase, tokens as usize, &cx).expect("fits");
        subject.logits(&mut count).expect("runs");
        for part in Part::ALL.into_iter().filter(|part| !part.has_parts() && *part != Part::Read) {
            let seen = count.calls(part);
            // One token has no mask to make, and the span around it is empty.
            assert!(seen == plan.calls(part) || part == Part::Mask, "{part:?}: {seen}");
        }
        assert_eq!(plan.products(), plan.config.flops(plan.sizes[0], plan.sizes[1]));
    }
    // Waiting after every block computes the same pass.
    let params = Params { tokens: 16, passes: 5, ..Params::default() };
    assert_eq!(ready(experiment::blocks(&source, &params, &cx)).expect("runs").map(|ms| ms.len()), Some(5));
    let metric = ready(experiment::quality(&source, &params, &cx)).expect("runs").expect("told");
    assert!(metric.value < 1e-3, "{}", metric.value);
    // The intact model foretells; a broken one does so worse.
    let mut losses = Vec::new();
    for change in [Change::WithoutSoftmax, Change::WithoutNorms, Change::WithoutRope, Change::WithoutSilu] {
        let params = Params { change, tokens: 64, ..params.clone() };
        let loss = ready(experiment::quality(&source, &params, &cx)).expect("runs").expect("finite");
        assert!(loss.value > loss.baseline.expect("intact") + 0.05, "{change:?} {}", loss.value);
        losses.push(loss.baseline);
    }
    assert!(
        losses.windows(2).all(|pair| pair[0] == pair[1]) && losses[0].is_some_and(|loss| (2.0..5.0).contains(&loss)),
        "{losses:?}"
    );
    let mut intact = source.subject(Phase::Prefill, 16, &cx).expect("fits");
    let nothing =
        ready(lab_kit::mlp::read(intact.logits(&mut Without(Change::None.parts())).expect("runs"))).expect("read");
    assert_eq!(nothing, ready(lab_kit::mlp::read(intact.logits(&mut NoProbe).expect("runs"))).expect("read"));
}

#[test]
fn spans_add_up_and_a_coarse_clock_says_what_it_cannot_tell() {
    let mut cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let smoke = ready(Profiling::run(Profiling::smoke(), &mut cx)).expect("runs");
    smoke.check().expect("a report");
    let closure = smoke.metric("closure").expect("told").value;
    assert!((80.0..100.1).contains(&closure), "{closure}");
    let (_, source) = load();
    let params = Params { phase: Phase::Decode, tokens: 16, passes: 40, clock: Clock::One, ..Params::default() };
    let plan = Plan::of(&params).expect("valid");
    let watched = ready(experiment::watch(&source, &plan, &params, &cx)).expect("runs");
    let lost = watched.profile.parts.iter().filter(|spent| !super::summary::resolved(&spent.ms)).count();
    assert!(lost * 2 > watched.profile.parts.len(), "{lost} of {}", watched.profile.parts.len());
    assert!(watched.profile.parts.iter().all(|spent| spent.part.is_leaf_at(Depth::Operation)));
}
