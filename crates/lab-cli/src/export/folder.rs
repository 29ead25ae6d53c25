//! What stands in the exported folder.

use lab_kit::olympics::{EntryStep, ScoredEntry, export as forms};

use crate::Problem;

/// The program, as `crates/tiny-run` has it: copied, so that what is exported is what is tested.
const SOURCES: [(&str, &str); 8] = [
    ("main.rs", include_str!("../../../tiny-run/src/main.rs")),
    ("lib.rs", include_str!("../../../tiny-run/src/lib.rs")),
    ("model.rs", include_str!("../../../tiny-run/src/model.rs")),
    ("file.rs", include_str!("../../../tiny-run/src/file.rs")),
    ("json.rs", include_str!("../../../tiny-run/src/json.rs")),
    ("coder.rs", include_str!("../../../tiny-run/src/coder.rs")),
    ("tokens.rs", include_str!("../../../tiny-run/src/tokens.rs")),
    ("sha256.rs", include_str!("../../../tiny-run/src/sha256.rs")),
];
const CARGO_TOML: &str = include_str!("../../template/tiny-run.toml");
const CARGO_CONFIG: &str = include_str!("../../template/tiny-run-config.toml");
const README: &str = include_str!("../../template/tiny-run.md");

/// Everything in the folder.
pub(super) fn files(entry: &ScoredEntry, tokenizer: &[u8], halves: bool) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let model = if halves { forms::halves(entry, tokenizer)? } else { forms::packed(entry, tokenizer)? };
    let steps = entry.line();
    let form = match (halves, entry.entropy(), entry.stored.coded.is_empty()) {
        (true, ..) => "`model.safetensors` holds the weights as FP16 under Hugging Face's names.",
        (_, true, _) => "`model.safetensors` holds codes as Huffman streams; the program packs them when it starts.",
        (_, _, false) => "`model.safetensors` holds packed codes, which the product unpacks row by row.",
        _ => "`model.safetensors` holds the weights as FP32.",
    };
    // What is no property of weights stays behind.
    let small = entry.steps.iter().find(|step| step.is_cache() && **step != EntryStep::Cache { bits: 32 });
    let apart = small.map_or_else(String::new, |step| {
        format!("The program keeps all keys and values in FP32: of “{}” nothing is in this folder. ", step.line())
    });
    let fill = |text: &str| {
        text.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@KIB@", &model.len().div_ceil(1024).to_string())
            .replace("@STEPS@", if steps.is_empty() { "none" } else { &steps })
            .replace("@FORM@", form)
            .replace("@APART@", &apart)
    };
    let mut files = vec![
        ("Cargo.toml".to_owned(), fill(CARGO_TOML)),
        (".cargo/config.toml".to_owned(), CARGO_CONFIG.to_owned()),
        ("README.md".to_owned(), fill(README)),
    ];
    files.extend(SOURCES.iter().map(|(name, text)| (format!("src/{name}"), (*text).to_owned())));
    let mut files: Vec<(String, Vec<u8>)> = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    files.push(("model.safetensors".to_owned(), model));
    files.push(("tokenizer.json".to_owned(), tokenizer.to_vec()));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

    use lab_kit::{
        burn::tensor::Device,
        models::{LanguageModel, Sampling, StateDict, Transformer, generate},
        olympics::{CodedMatrix, EntrySizes, StoredWeights, parse_line},
        rng,
        testing::ready,
        tokenizer::Tokenizer,
    };

    use super::*;

    const TOKENIZER: &[u8] = include_bytes!("../../../../assets/corpus/tokenizer.json");
    const WEIGHTS: &[u8] = include_bytes!("../../../../assets/language/lm.safetensors");

    /// The shipped model on the grid of a step that rounds each weight for itself.
    fn entry(line: &str, levels: usize) -> ScoredEntry {
        let model = LanguageModel::full();
        let state = StateDict::from_safetensors(model.asset, WEIGHTS).expect("whole");
        let mut stored = StoredWeights::plain(state.clone());
        for (name, weight) in state.iter().filter(|(_, weight)| weight.shape.len() == 2) {
            stored.put(name, CodedMatrix::quantize(&weight.values, weight.shape[1], (levels, 0), None));
        }
        ScoredEntry { sizes: EntrySizes::Language(model.config), stored, steps: parse_line(line).expect("steps") }
    }

    fn cargo(at: &Path, words: &[&str]) -> (bool, String, String) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // Of this test's own cargo nothing is passed on, least of all its folder of results.
        let mut command = Command::new(cargo);
        command.args(words).current_dir(at).env("CARGO_TARGET_DIR", at.join("target")).env_remove("RUSTFLAGS");
        let output = command.output().expect("cargo starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    #[test]
    fn the_folder_is_built_offline_and_writes_the_tokens_of_the_engine() {
        let (entry, prompt) = (entry("quantize:11levels,channel>entropy", 11), "The borrow checker makes sure");
        let folder = tempfile::tempdir().expect("a folder");
        for sub in ["src", ".cargo"] {
            std::fs::create_dir(folder.path().join(sub)).expect("made");
        }
        let files = files(&entry, TOKENIZER, false).expect("a language model");
        for (name, bytes) in &files {
            std::fs::write(folder.path().join(name), bytes).expect("written");
        }
        let run =
            |more: &[&str]| cargo(folder.path(), &[&["run", "--quiet", "--release", "--offline", "--"], more].concat());
        let (well, out, err) = run(&["--ids", prompt]);
        assert!(well && err.contains("tokens in"), "{err}");

        let EntrySizes::Language(config) = &entry.sizes else { panic!("a language model") };
        let device = Device::flex();
        let model = Transformer::new(config, &entry.stored.state, "the entry", &device).expect("fits");
        let ids = Tokenizer::read(TOKENIZER).expect("shipped").encode(prompt);
        let mut rng = rng(0, "tokens");
        let written = generate(&model, (&ids, 64), &Sampling::GREEDY, &mut rng, &device, async |_| Ok(()));
        let expected: Vec<String> = ready(written).expect("writes").iter().map(u32::to_string).collect();
        assert_eq!(out.trim(), expected.join(" "));

        let (well, out, _) = run(&[prompt, "--tokens", "5"]);
        assert!(well && out.starts_with(prompt), "{out}");
        // What can go wrong at the keyboard and on the disk.
        for (words, why) in [
            (&["--tokens", "0"] as &[&str], "1 or more"),
            (&["--tokens", "999"], "at most"),
            (&["--modle", "x"], "there is no --modle"),
            (&["--model"], "needs a value"),
            (&["--model", "none"], "none cannot be read"),
            (&["--model", "tokenizer.json"], "tokenizer.json: it is no safetensors file"),
            (&["--tokenizer", "Cargo.toml"], "not the tokenizer that the model was trained with"),
            (&["two", "words"], "quotation marks"),
        ] {
            let (well, out, err) = run(words);
            assert!(!well && out.is_empty() && err.contains(why), "{words:?}: {err}");
        }
        let readme = std::fs::read_to_string(folder.path().join("README.md")).expect("there");
        assert!(readme.contains("quantize:11levels,channel>entropy") && !readme.contains('@'), "{readme}");
        assert!(readme.lines().filter(|line| !line.is_empty()).count() <= 12, "{readme}");
    }

    #[test]
    fn the_halves_are_named_and_a_classifier_is_refused() {
        let mut entry = entry("quantize:4,channel", 15);
        let sizes = |halves| -> Vec<usize> {
            let files = files(&entry, TOKENIZER, halves).expect("a language model");
            files.iter().filter(|(name, _)| name == "model.safetensors").map(|(_, bytes)| bytes.len()).collect()
        };
        let (packed, halves) = (sizes(false)[0], sizes(true)[0]);
        assert!((1_060_000..1_150_000).contains(&packed) && halves > 2 * 2_115_264, "{packed} {halves}");
        entry.steps = parse_line("quantize:4,channel>cache:8").expect("steps");
        let files = files(&entry, TOKENIZER, false).expect("a language model");
        let readme = files.iter().find(|(name, _)| name == "README.md").map(|(_, text)| String::from_utf8_lossy(text));
        assert!(readme.expect("there").contains("of “cache:8” nothing is in this folder"));
        entry.sizes = EntrySizes::Glyphs(lab_kit::models::GlyphClassifier::small().config);
        let refused = super::files(&entry, TOKENIZER, false).expect_err("no text");
        assert!(refused.to_string().contains("subject=language"), "{refused}");
    }
}
