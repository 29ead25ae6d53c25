use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 4] =
    ["glyphs/glyphs.bin.gz", "language/draft.safetensors", "corpus/tokenizer.json", "corpus/validation.txt.gz"];

fn context() -> Context {
    context_with(Rc::new(FakeClock::new(0.1)), &ASSETS)
}

#[test]
fn pieces_train_what_the_whole_trains_and_the_wrong_loops_do_not() {
    let cx = context();
    let task = ready(Task::load(&cx)).expect("shipped");
    let gap = |joined, optimizer, piece| {
        let params = Params { joined, optimizer, piece, ..GradientAccumulation::smoke() };
        let twins = ready(twins::run(&task, &params, &cx)).expect("trains");
        assert!(twins.whole.losses[39] < twins.whole.losses[0] - 0.5);
        twins.apart()
    };
    let right = gap(Joined::Right, Choice::Adam, 16);
    assert!(right < 1e-2, "{right}");
    let right = gap(Joined::Right, Choice::Sgd, 24);
    assert!(right < 1e-3, "a smaller last piece is weighted: {right}");
    // One piece is the whole batch, bit by bit.
    assert_eq!(gap(Joined::Right, Choice::Adam, 64), 0.0);
    for (joined, optimizer, piece) in [
        (Joined::Means, Choice::Sgd, 60),
        (Joined::ClippedEach, Choice::Sgd, 4),
        (Joined::ScheduleEach, Choice::Sgd, 16),
        (Joined::StepEach, Choice::Adam, 16),
        (Joined::BatchNorm, Choice::Sgd, 4),
    ] {
        let apart = gap(joined, optimizer, piece);
        assert!(apart > 0.02, "{joined:?}: {apart}");
    }
}

#[test]
fn a_mean_of_means_turns_the_gradient_where_lengths_differ_and_only_there() {
    let cx = context();
    let apart = |lengths| {
        let texts = ready(text::Texts::load(lengths, 6, &cx)).expect("shipped");
        ready(texts.joined(&cx)).expect("reads").apart
    };
    assert!(apart(Lengths::Equal).relative < 1e-5);
    let tail = apart(Lengths::LongTail);
    assert!(tail.relative > 0.2 && tail.cosine < 0.98, "{tail:?}");
}

#[test]
fn lengths_are_what_they_are_called() {
    let mut rng = lab_kit::rng(0, "t");
    let all = text::lengths(Lengths::LongTail, 400, &mut rng);
    assert!(all.iter().all(|length| (8..=128).contains(length)));
    let short = all.iter().filter(|length| **length < 32).count();
    assert!((160..240).contains(&short), "half of them lie below the geometric middle: {short}");
    assert_eq!(text::lengths(Lengths::Double, 3, &mut rng), [128, 64, 128]);
}

#[test]
fn a_target_is_reached_in_fewer_updates_of_more_images_and_the_meter_reads_a_noise() {
    let cx = context();
    let task = ready(Task::load(&cx)).expect("shipped");
    let run = |batch, target| {
        let descent = Descent::planned(batch, &Params { target, ..Params::default() });
        ready(descent.run(&task, 0, || 0.0, async || Ok(()))).expect("trains")
    };
    let (small, large) = (run(8, 2.6), run(64, 2.6));
    let (more, fewer) = (small.steps.expect("reached"), large.steps.expect("reached"));
    assert!(fewer < more && more < 8.0 * fewer, "{more} {fewer}");
    assert!(large.noise.is_some_and(|noise| noise > 0.0));
    assert!(large.until(2.6) == large.steps && large.until(2.0).is_none());
    // A rate that diverges ends the run and is no success.
    let far = Descent { rate: 1e6, ..Descent::planned(32, &Params { optimizer: Choice::Sgd, ..Params::default() }) };
    assert_eq!(ready(far.run(&task, 0, || 0.0, async || Ok(()))).expect("ends").steps, None);
}

#[test]
fn batch_norm_is_another_network_in_pieces_and_layer_norm_is_not() {
    let cx = context();
    let task = ready(Task::load(&cx)).expect("shipped");
    let rows = ready(equality::run(&task, &GradientAccumulation::smoke(), &cx)).expect("runs");
    assert_eq!(rows.iter().map(|row| row.piece).collect::<Vec<_>>(), [64, 16, 4, 2, 1]);
    for row in &rows {
        assert!(row.errors[0] < 1e-5 && row.layer < 1e-5, "{}", row.piece);
        assert!(row.piece == 64 || row.errors[2] > 100.0 * row.errors[0]);
        assert!(row.batch.is_none_or(|(apart, _)| (apart > 0.1) == (row.piece < 64)), "{:?}", row.batch);
    }
    assert_eq!((rows[0].same, rows[4].batch), (1.0, None));
}

#[test]
fn pieces_that_cannot_be_are_refused_by_name() {
    let refused = |params: Params| match params.check() {
        Err(LabError::BadParam(BadParam { name, why })) => (name, why),
        other => panic!("{other:?}"),
    };
    let (name, why) = refused(Params { batch: 32, piece: 64, ..Params::default() });
    assert!(name == "piece" && why.contains("64"), "{why}");
    let (_, why) = refused(Params { piece: 1, joined: Joined::BatchNorm, ..Params::default() });
    assert!(why.contains("no variance"), "{why}");
}
