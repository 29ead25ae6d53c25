//! Exit codes and words of the program itself.

use std::process::{Command, Output};

use lab_api::RunRecord;

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
    refused(&["run", "quantization", "--set", "bits=5", "scheme=afine"], &["“5” is not one of 8, 4, 3, 2", "“affine”"]);
    refused(&["run", "quantization", "--set", "bits"], &["not NAME=VALUE", "--set bits=8"]);
    refused(&["run", "quantization", "--set", "seed=7"], &["seed", "reserved"]);
    refused(&["run", "quantization", "--device", "gpu"], &["“gpu” is not one of auto, webgpu, cpu"]);
    refused(&["run", "quantization", "--seed", "-1"], &["--seed"]);
    refused(&["reference", "quant"], &["no lab named “quant”"]);
    refused(&["train", "digit"], &["did you mean “digits”"]);
    refused(&["new-lab", "02-pruning"], &["carries a number"]);
    refused(&["new-lab", "quantization"], &["already"]);
    refused(&["lst"], &["list"]);
}

#[test]
fn json_is_the_record_and_nothing_else() {
    let output = lab(&["run", "quantization", "--set", "bits=4", "--seed", "7", "--device", "cpu", "--json"]);
    let record: RunRecord = serde_json::from_slice(&output.stdout).expect("a record");
    assert_eq!((record.seed, record.params["bits"].as_str()), (7, Some("4")));
    assert_eq!(record.report.check(), Ok(()));
    let listed: serde_json::Value = serde_json::from_slice(&lab(&["list", "--json"]).stdout).expect("a list");
    assert_eq!(listed[0]["id"], "quantization");
    assert_eq!(listed[0]["params"][0]["name"], "bits");
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
