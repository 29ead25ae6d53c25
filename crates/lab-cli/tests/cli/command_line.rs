//! Exit codes and words of the program itself.

use std::process::{Command, Output};

use lab_api::RunRecord;
use lab_cli::Bench;

fn lab(args: &[&str]) -> Output {
    let root = lab_cli::root().expect("tests run in a checkout");
    Command::new(env!("CARGO_BIN_EXE_lab-cli")).args(args).current_dir(root).output().expect("starts")
}

fn refused(args: &[&str], words: &[&str]) {
    let output = lab(args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?}: {text}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_input_is_named_with_the_nearest_and_exits_with_2() {
    refused(&["run", "quantisation"], &["no lab named “quantisation”", "did you mean “quantization”"]);
    refused(&["run", "quantization", "--set", "bitz=4"], &["bitz", "did you mean “bits”"]);
    refused(
        &["run", "quantization", "--set", "bits=5", "scheme=afine"],
        &["“5” is not one of 16, 8, 4, 3, 2", "“affine”"],
    );
    refused(&["run", "quantization", "--set", "bits"], &["not NAME=VALUE", "--set bits=8"]);
    refused(&["run", "quantization", "--set", "seed=7"], &["seed", "reserved"]);
    refused(&["run", "quantization", "--device", "gpu"], &["“gpu” is not one of auto, webgpu, cpu"]);
    refused(&["run", "quantization", "--seed", "-1"], &["--seed"]);
    refused(&["reference", "quant"], &["no lab named “quant”"]);
    refused(&["train", "digit"], &["did you mean “digits”"]);
    refused(&["train", "zebra"], &["nothing named “zebra” to train.", "digits, glyphs, glyph-mlp, lm, draft"]);
    refused(&["train", "draft", "--ship-checkpoint", "--seed", "99"], &["there is no checkpoint"]);
    refused(&["train", "draft", "--check", "--trial"], &["--trial"]);
    refused(&["new-lab", "02-pruning"], &["carries a number"]);
    refused(&["new-lab", "quantization"], &["already"]);
    refused(&["lst"], &["list"]);
    refused(&["bench", "--technique", "quantisation"], &["no lab named “quantisation”", "did you mean “quantization”"]);
    refused(&["bench", "--techniqe", "quantization"], &["--techniqe", "--technique"]);
    refused(&["bench", "--device", "gpu"], &["“gpu” is not one of auto, webgpu, cpu"]);
    refused(&["bench", "--runs", "0"], &["--runs"]);
    refused(&["bench", "--one-run"], &["--technique"]);
    refused(&["bench", "--svg", "no/such/folder/a.svg"], &["--svg", "no folder no/such/folder"]);
}

#[test]
fn json_is_the_record_and_nothing_else() {
    let output = lab(&["run", "quantization", "--set", "bits=4", "--seed", "7", "--device", "cpu", "--json"]);
    let record: RunRecord = serde_json::from_slice(&output.stdout).expect("a record");
    assert_eq!((record.seed, record.params["bits"].as_str()), (7, Some("4")));
    assert_eq!(record.report.check(), Ok(()));
    let listed: serde_json::Value = serde_json::from_slice(&lab(&["list", "--json"]).stdout).expect("a list");
    let labs = listed.as_array().expect("an array");
    let quantization = labs.iter().find(|lab| lab["id"] == "quantization").expect("listed");
    let params = quantization["params"].as_array().expect("an array");
    assert!(params.iter().any(|param| param["name"] == "bits"));
}

#[test]
fn people_get_a_table() {
    let output = lab(&["run", "quantization", "--smoke", "--device", "cpu"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("bits=3") && text.contains("Accuracy") && text.contains("104,488"), "{text}");
}

#[cfg(not(feature = "webgpu"))]
#[test]
fn a_device_that_cannot_be_had_says_so_and_exits_with_1() {
    let output = lab(&["run", "quantization", "--device", "webgpu"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("built without WebGPU") && text.contains("Run on the CPU instead"), "{text}");
}

#[test]
fn a_technique_is_benchmarked_with_one_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("bench.svg");
    let svg_name = svg.display().to_string();
    let output = lab(&["bench", "--technique", "quantization", "--runs", "2", "--json", "--svg", &svg_name]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let bench: Bench = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert!(bench.roof.peak_gflops > 0.0 && bench.roof.memory_gb_per_s > 0.0 && bench.roof.cache_gb_per_s > 0.0);
    let [record] = &bench.labs[..] else { panic!("one lab") };
    assert_eq!(record.report.check(), Ok(()));
    for id in ["bench_first_number", "bench_run", "bench_longest_gap", "bench_peak_memory"] {
        let metric = record.report.metric(id).unwrap_or_else(|| panic!("{id} is missing"));
        assert!(metric.samples.len() == 2 && metric.value > 0.0, "{id}: {}", metric.value);
    }
    // The networks alone are 5 x 104,488 bytes.
    let peak = record.report.metric("bench_peak_memory").expect("reported").value;
    assert!((522_440.0..1e9).contains(&peak), "{peak}");
    let share = record.report.metric("bench_share_of_roof").expect("the lab tells its rate and intensity");
    assert!(share.value > 0.0 && share.baseline.is_some_and(|share| share > 0.0));
    let drawn = std::fs::read_to_string(svg).expect("written");
    assert!(drawn.starts_with("<svg xmlns=") && drawn.contains("Compression"), "{drawn:.200}");
}

/// A report as a page saves it, of a run that this program makes.
fn report(seed: u64, student: &str, change: impl Fn(&mut serde_json::Value)) -> String {
    let output = lab(&["run", "footprint", "--seed", &seed.to_string(), "--device", "cpu", "--json"]);
    let mut record: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a record");
    change(&mut record);
    serde_json::json!({ "format": "efficient-ai-report", "version": 1, "student": student, "guesses": [{}],
        "answers": [{ "right": true }, { "right": false }], "runs": [{ "id": format!("{student}{seed}"), "record": record }] })
    .to_string()
}

#[test]
fn a_saved_run_is_repeated_and_a_changed_number_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let [honest, forged] = ["honest.json", "forged.json"].map(|name| folder.path().join(name));
    std::fs::write(&honest, report(7, "ann", |_| {})).expect("written");
    std::fs::write(&forged, report(7, "bob", |record| record["metrics"][0]["value"] = 1.0.into())).expect("written");
    let from = |path: &std::path::Path| lab(&["run", "--from", &path.display().to_string()]);
    let output = from(&honest);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("agrees"), "{text}");
    let output = from(&forged);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("differs"), "{text}");
}

#[test]
fn a_class_is_graded_into_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("written");
    write("a.json", report(242_630, "s1234", |_| {}));
    write("b.json", report(7, "bob", |record| record["metrics"][0]["value"] = 1.0.into()));
    write("c.json", "{".to_owned());
    write("d.json", report(242_630, "s1234", |_| {}));
    let output = lab(&["grade", &folder.path().display().to_string()]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert!(lines[1].starts_with("a.json,s1234,footprint,yes,1,") && lines[1].contains(",,,,1,2,1,"), "{table}");
    assert!(lines[2].starts_with("b.json,bob,footprint,no,1,"), "{table}");
    assert!(lines[2].contains(",7,6,mwh,"), "an altered number is not named: {table}");
    assert!(lines[3].contains("cut off"), "{table}");
    assert!(lines[4].contains("a.json,1,2,1,"), "a copy is not named: {table}");
    refused(&["grade", "no/such/folder"], &["no/such/folder", "cannot be read"]);
    let empty = tempfile::tempdir().expect("a folder");
    refused(&["grade", &empty.path().display().to_string()], &["holds no .json file"]);
}

#[test]
fn score_cards_are_repeated_and_an_altered_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let short = ["--set", "step_1=int8", "step_2=cache", "step_3=none", "step_4=none"];
    let output = lab(&[&["run", "olympics", "--device", "cpu", "--json"][..], &short].concat());
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a record");
    let write = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut record = record.clone();
        change(&mut record);
        std::fs::write(folder.path().join(name), record.to_string()).expect("written");
    };
    write("honest.json", &|_| {});
    write("altered.json", &|record| {
        let metrics = record["metrics"].as_array_mut().expect("a list");
        let file = metrics.iter_mut().find(|metric| metric["id"] == "ratio_file").expect("reported");
        file["value"] = 99.0.into();
    });
    std::fs::write(folder.path().join("none.json"), "{").expect("written");
    let csv = folder.path().join("table.csv");
    let output = lab(&["verify", &folder.path().display().to_string(), "--out", &csv.display().to_string()]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{text}{errors}");
    assert!(errors.contains("2 of 3 cards do not hold"), "{errors}");
    assert!(text.contains("altered.json: ratio_file: the card says 99, here 3."), "{text}");
    assert!(text.contains("none.json: it is not JSON") && text.contains("Latency: "), "{text}");
    let table = std::fs::read_to_string(csv).expect("written");
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let honest = line("honest,honest.json,\"quantize:8,channel>cache:32\",closed");
    assert!(honest.contains(",yes,") && line("altered").contains(",no,"), "{table}");
    refused(&["verify", "no/such.json", "--out", "no/such/folder/a.csv"], &["cannot be written"]);
    refused(&["verify"], &["<FILES>"]);
}

#[test]
fn an_entry_is_exported_with_the_weights_that_the_lab_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, name) = (folder.path().join("entry"), folder.path().join("entry").display().to_string());
    let chosen = ["--set", "step_1=levels11_gptq", "step_2=entropy", "step_3=cache8", "step_4=none", "--seed", "3"];
    let output = lab(&[&["export", "olympics", "--out", &name][..], &chosen].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let has = |file: &str| std::fs::metadata(out.join(file)).map_or(0, |found| found.len());
    assert!(
        has("Cargo.toml") > 0 && has("src/main.rs") > 0 && has(".cargo/config.toml") > 0 && has("tokenizer.json") > 0
    );
    // A Huffman code on 11 levels: about three bits a weight.
    assert!((750_000..900_000).contains(&has("model.safetensors")), "{}", has("model.safetensors"));
    let readme = std::fs::read_to_string(out.join("README.md")).expect("there");
    assert!(readme.contains("quantize:11levels,channel,gptq>entropy>cache:8"), "{readme}");
    refused(&["export", "olympics", "--out", &name], &["is not empty"]);
    refused(&["export", "levels", "--out", "x"], &["“levels” has no entry to export"]);
    refused(&["export", "olympics"], &["--out"]);
    refused(&["export", "olympics", "--out", "x", "--set", "step_1=int5"], &["“int5” is not one of"]);
    refused(&["export", "olympics", "--out", "x", "--set", "subject=classifier"], &["subject=language"]);
    refused(&["export", "olympics", "--out", "x", "--set", "step_1=entropy"], &["no codes to write shorter"]);
}
