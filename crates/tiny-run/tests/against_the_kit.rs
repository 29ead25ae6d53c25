//! The exported program and the engine of the book write the same tokens from the same file.

use lab_kit::{
    burn::tensor::Device,
    models::{LanguageModel, Sampling, StateDict, Transformer, generate as kit_generate},
    olympics::{
        CodedMatrix, EntrySizes, EntryStep, ScoredEntry, StoredWeights,
        export::{halves, packed, read},
        parse_line,
    },
    quant::{Inputs, PackedWeight},
    testing::ready,
    tokenizer::Tokenizer,
};
use tiny_run::{file::Tensors, generate, model::Model, sha256::sha256, tokens::Tokens};

const TOKENIZER: &[u8] = include_bytes!("../../../assets/corpus/tokenizer.json");
const FULL: &[u8] = include_bytes!("../../../assets/language/lm.safetensors");
const DRAFT: &[u8] = include_bytes!("../../../assets/language/draft.safetensors");
const PROMPT: &str = "The borrow checker makes sure that";

/// A shipped model, every matrix rounded as a step says.
fn entry(model: &LanguageModel, bytes: &[u8], line: &str) -> ScoredEntry {
    let state = StateDict::from_safetensors(model.asset, bytes).expect("shipped");
    let steps = parse_line(line).expect("steps");
    let mut stored = StoredWeights::plain(state.clone());
    for step in &steps {
        if let EntryStep::Quantize { levels, group, .. } = step {
            for (name, weight) in state.iter().filter(|(_, weight)| weight.shape.len() == 2) {
                stored.put(name, CodedMatrix::quantize(&weight.values, weight.shape[1], (*levels, *group), None));
            }
        }
    }
    ScoredEntry { sizes: EntrySizes::Language(model.config.clone()), stored, steps }
}

fn full(line: &str) -> ScoredEntry {
    entry(&LanguageModel::full(), FULL, line)
}

/// What the engine writes.
fn kit_tokens(entry: &ScoredEntry, prompt: &[u32], count: usize) -> Vec<u32> {
    let EntrySizes::Language(config) = &entry.sizes else { panic!("a language model") };
    let (device, stored) = (Device::flex(), &entry.stored);
    let model = if stored.is_packed() {
        let mut rest = StateDict::default();
        for (name, weight) in stored.state.iter().filter(|(name, _)| !stored.coded.contains_key(*name)) {
            rest.insert(name, &weight.shape, weight.values.clone()).expect("fits");
        }
        let matrices = stored.coded.iter().map(|(name, matrix)| (name.clone(), matrix.packed())).collect();
        let place = |_: &str, matrix| PackedWeight::new(matrix, Inputs::Float, &device);
        Transformer::packed(config, matrices, &rest, ("an entry", place), &device)
    } else {
        Transformer::new(config, &stored.state, "an entry", &device)
    };
    let (model, mut rng) = (model.expect("fits"), lab_kit::rng(0, "tokens"));
    let written = kit_generate(&model, (prompt, count), &Sampling::GREEDY, &mut rng, &device, async |_| Ok(()));
    ready(written).expect("writes")
}

/// What the exported program writes.
fn own_tokens(file: &[u8], prompt: &[u32], count: usize) -> Vec<u32> {
    let mut model = Model::read(Tensors::open(file).expect("whole")).expect("ours");
    // Nothing is left of an earlier text.
    generate(&mut model, &[9, 8, 7], 2).expect("writes");
    generate(&mut model, prompt, count).expect("writes")
}

#[test]
fn both_write_the_same_64_tokens_from_the_same_file() {
    let prompt = Tokenizer::read(TOKENIZER).expect("shipped").encode(PROMPT);
    for line in [
        "",
        "quantize:8,channel",
        "quantize:4,channel",
        "quantize:4,32",
        "quantize:3,channel",
        "quantize:11levels,channel>entropy",
        "quantize:8,channel>entropy",
    ] {
        let entry = full(line);
        let file = packed(&entry, TOKENIZER).expect("a language model");
        let back = read("model.safetensors", &file).expect("own file");
        assert!(back == entry, "{line}: the entry came back changed");
        assert!(packed(&back, TOKENIZER).expect("again") == file, "{line}: the same entry, other bytes");
        assert_eq!(own_tokens(&file, &prompt, 64), kit_tokens(&back, &prompt, 64), "{line}");
        // Names, shapes and notes alone come on top of what the entry's size is counted of.
        let over = file.len() - entry.file_bytes();
        assert!(over < 12_000, "{line}: {over} bytes of {}", file.len());
    }
}

#[test]
fn halves_are_what_any_tool_loads_and_write_the_same() {
    let prompt = Tokenizer::read(TOKENIZER).expect("shipped").encode(PROMPT);
    for line in ["", "quantize:4,channel>entropy"] {
        let entry = full(line);
        let file = halves(&entry, TOKENIZER).expect("fits");
        let state = StateDict::from_safetensors("halves", &file).expect("any tool");
        let back = read("halves", &file).expect("own file");
        assert!(back.stored.state == state && back.steps == entry.steps);
        if line.is_empty() {
            assert!(state == entry.stored.state, "the shipped weights are halves");
        }
        assert_eq!(own_tokens(&file, &prompt, 64), kit_tokens(&back, &prompt, 64), "{line}");
    }
}

#[test]
fn tied_and_factored_models_are_run_too() {
    let prompt = [72, 101, 300];
    let mut student = entry(&LanguageModel::draft(), DRAFT, "student>quantize:8,channel");
    let file = packed(&student, TOKENIZER).expect("a language model");
    assert_eq!(own_tokens(&file, &prompt, 20), kit_tokens(&student, &prompt, 20));
    // Two factors of rank 40 in the place of one matrix, in floats, in packed codes and in streams.
    let (name, down) = ("model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.gate_proj.down");
    let mut state = student.stored.state.clone();
    // Of both signs, and no two rows alike.
    let draw = |count: usize| -> Vec<f32> { (0..count).map(|i| (i as f32 * 1.7).sin() * 0.1).collect() };
    state.insert(name, &[160, 40], draw(160 * 40)).expect("fits");
    state.insert(down, &[40, 64], draw(40 * 64)).expect("fits");
    student.stored = StoredWeights::plain(state.clone());
    for coded in [None, Some(""), Some(">entropy")] {
        let line = coded.map_or_else(String::new, |more| format!("quantize:8,channel{more}"));
        student.steps = parse_line(&line).expect("steps");
        if coded.is_some() {
            for name in [name, down] {
                let weight = state.get(name).expect("there");
                student.stored.put(name, CodedMatrix::quantize(&weight.values, weight.shape[1], (255, 0), None));
            }
        }
        let file = packed(&student, TOKENIZER).expect("a language model");
        assert!(read("factors", &file).expect("own file") == student);
        assert_eq!(own_tokens(&file, &prompt, 20), kit_tokens(&student, &prompt, 20), "{line}");
        let whole = halves(&student, TOKENIZER).expect("fits");
        assert_eq!(own_tokens(&whole, &prompt, 20).len(), 20);
    }
}

#[test]
fn tokens_are_those_of_the_book() {
    let (kit, own) = (Tokenizer::read(TOKENIZER).expect("shipped"), Tokens::read(TOKENIZER).expect("shipped"));
    for text in
        [PROMPT, "", " ", "a  b\n\n C 12,345!?\t", "Größe — π ≈ 3.14", "fn main() {\n    println!(\"{}\", 1);\n}\n"]
    {
        assert_eq!(own.encode(text), kit.encode(text), "{text}");
        assert_eq!(own.decode(&own.encode(text)), text);
    }
    assert_eq!(own.decode(&[0xc3, 9999]), kit.decode(&[0xc3, 9999]));
}

/// A file with its header changed.
fn changed(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let length = usize::try_from(u64::from_le_bytes(*file.first_chunk().expect("a header"))).expect("short");
    let header = String::from_utf8(file[8..8 + length].to_vec()).expect("text");
    assert!(header.contains(from), "{from}");
    let header = header.replacen(from, to, 1);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &file[8 + length..]].concat()
}

#[test]
fn damaged_and_foreign_files_are_refused_by_both_with_the_offender() {
    let file =
        packed(&entry(&LanguageModel::draft(), DRAFT, "quantize:4,channel"), TOKENIZER).expect("a language model");
    let own = |file: &[u8]| match Tensors::open(file).and_then(Model::read) {
        Ok(_) => panic!("read"),
        Err(why) => why,
    };
    let kit = |file: &[u8]| read("f.safetensors", file).err().map_or_else(String::new, |error| error.to_string());
    for (from, to, word, both) in [
        ("tiny-run 1", "tiny-run 2", "tiny-run 2", true),
        ("\"config\"", "\"konfig\"", "no note “config”", true),
        ("symmetric", "affine", "“affine”", false),
        ("\\\"heads\\\":4", "\\\"heads\\\":5", "5 heads", true),
        ("\\\"vocabulary\\\":1024", "\\\"vocabulary\\\":1023", "model.embed_tokens.weight", true),
        ("\"bits\":\"4\"", "\"bits\":\"9\"", "2 to 8", true),
        ("\"bits\":\"4\"", "\"bits\":\"x\"", "no whole number", true),
        ("\"bits\":\"4\"", "\"bits\":\"8\"", "has shape", true),
        ("q_proj.weight.codes", "q_proj.weight.kodes", "q_proj", false),
        ("model.norm.weight", "model.norm.wait", "model.norm.weight", false),
        ("k_proj.weight.scales", "k_proj.weight.skales", "k_proj.weight.scales", true),
    ] {
        let file = changed(&file, from, to);
        let why = own(&file);
        assert!(why.contains(word) || (word == "has shape" && why.contains("of shape")), "{from}: {why}");
        assert!(!both || kit(&file).contains(word), "{from}: {}", kit(&file));
    }
    // A code that was changed is found by the hash of the notes; the engine reads it, the program only runs it.
    let mut bent = file.clone();
    *bent.last_mut().expect("not empty") ^= 1;
    assert!(kit(&bent).contains("damaged or changed"), "{}", kit(&bent));
    assert!(own(&file[..file.len() - 1]).contains("cut short"));
    assert!(kit(&file[..file.len() - 1]).contains("no whole safetensors file"));
    // The shipped file has no notes.
    assert!(own(DRAFT).contains("not exported by this book") && kit(DRAFT).contains("not exported by this book"));
    assert_eq!(sha256(TOKENIZER).len(), 64);
    assert!(changed(&file, &sha256(TOKENIZER), "x").len() < file.len());
}

#[test]
fn texts_that_do_not_fit_are_refused() {
    let file =
        packed(&entry(&LanguageModel::draft(), DRAFT, "quantize:4,channel"), TOKENIZER).expect("a language model");
    let mut model = Model::read(Tensors::open(&file).expect("whole")).expect("ours");
    assert!(generate(&mut model, &[], 3).expect_err("refused").contains("empty"));
    assert!(generate(&mut model, &[1024], 3).expect_err("refused").contains("no token 1024"));
    assert!(generate(&mut model, &[1; 200], 57).expect_err("refused").contains("56 at most"));
    assert_eq!(generate(&mut model, &[1; 200], 56).expect("fits").len(), 56);
    assert_eq!(generate(&mut model, &[1], 0), Ok(vec![]));
}
