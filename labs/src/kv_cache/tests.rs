//! What a reader may ask for, and the bookkeeping of blocks.

use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::{
    paging::{Use, paged, questions},
    *,
};

const ASSETS: [&str; 3] = ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/test.txt.gz"];

fn source() -> (Context, Source) {
    let cx = context_with(Rc::new(FakeClock::new(0.1)), &ASSETS);
    let source = ready(Source::load(&cx)).expect("loads");
    (cx, source)
}

#[test]
fn what_contradicts_itself_is_named() {
    let name = |params: Params| match params.setting() {
        Err(LabError::BadParam(bad)) => bad.name,
        _ => String::new(),
    };
    let window = Params { policy: Policy::Window, ..Params::default() };
    assert_eq!(name(window.clone()), "grids");
    assert_eq!(name(Params { grids: Grids::Token, ..window.clone() }), "");
    assert_eq!(name(Params { bits: Bits::Half, ..window.clone() }), "");
    assert_eq!(name(Params { bits: Bits::Single, budget: 4, sinks: 4, ..window }), "sinks");
    assert_eq!(name(Params { budget: 4, sinks: 4, ..Params::default() }), "");
}

#[test]
fn blocks_share_what_fills_them_whole() {
    let (_, source) = source();
    let texts = questions(&source);
    let tokens: usize = texts.iter().map(Vec::len).sum();
    assert_eq!(tokens, 16 * 130 + (0..16).map(|i| 8 + 6 * i).sum::<usize>());
    for (block, shared) in [(4, 128), (16, 128), (64, 128), (1, 130)] {
        let Use { reserved, filled, read } = paged(&texts, block).expect("room");
        assert_eq!((filled, read), (tokens - 15 * shared, filled));
        // Each text has one block at most that is not full.
        assert!(reserved >= filled && reserved < filled + 16 * block, "{block}: {reserved} for {filled}");
    }
}

#[test]
fn a_window_forgets_and_a_wide_one_does_not() {
    let (cx, source) = source();
    let decoder = source.decoder(Heads::Two, &cx).expect("fits");
    let text = source.texts(1, 48);
    let judge = |setting: Setting| ready(judge::judge(&decoder, &[setting], &text, &cx)).expect("judged");
    let full = judge(Setting::FULL);
    assert_eq!(judge(Setting::window(48)).nats, full.nats);
    let near = judge(Setting::window(8));
    assert_eq!(near.nats[0][..8], full.nats[0][..8]);
    assert!(near.mean() > full.mean() + 0.05 && near.bytes[0] * 6 == full.bytes[0]);
    // One bit ruins what four hardly touch.
    let bits = |bits: usize| judge(Setting::kivi(bits, 0)).mean() - full.mean();
    assert!(bits(4).abs() < 0.1 && bits(1) > 0.2, "{} {}", bits(4), bits(1));
}
