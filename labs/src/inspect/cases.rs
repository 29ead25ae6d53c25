//! Files as people have them: what cannot be read is left out by name, and the rest is measured.

use std::rc::Rc;

use lab_api::{Cell, Report};
use lab_kit::{
    Input,
    testing::{FakeClock, context, ready},
};

use super::{Params, inspect};

/// A file being written.
#[derive(Default)]
struct Made {
    head: Vec<String>,
    data: Vec<u8>,
}

impl Made {
    fn add(mut self, name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) -> Self {
        let (from, to) = (self.data.len(), self.data.len() + bytes.len());
        let name = name.replace('"', "\\\"").replace('\t', "\\t");
        self.head
            .push(format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{from},{to}]}}"));
        self.data.extend_from_slice(bytes);
        self
    }

    fn floats(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add(name, "F32", shape, &bytes)
    }

    /// 8 rows of 16 ordinary weights.
    fn good(self) -> Self {
        let values: Vec<f32> = (0..128).map(|i| ((i * 37 % 101) as f32 - 50.0) / 900.0).collect();
        self.floats("layer.weight", &[8, 16], &values)
    }

    fn bytes(&self) -> Vec<u8> {
        let head = format!("{{{}}}", self.head.join(","));
        [&(head.len() as u64).to_le_bytes()[..], head.as_bytes(), &self.data].concat()
    }

    fn run(&self) -> Result<Report, String> {
        let input = Input::of_asset("f", self.bytes());
        let cx = context(Rc::new(FakeClock::real()));
        ready(inspect(input, &Params::default(), &cx)).map_err(|error| error.to_string())
    }

    fn report(&self) -> Report {
        self.run().unwrap_or_else(|error| panic!("{error}"))
    }
}

fn metric(report: &Report, id: &str) -> (f64, Option<f64>) {
    let metric = report.metrics.iter().find(|metric| metric.id == id).expect("there");
    (metric.value, metric.baseline)
}

#[test]
fn one_is_singular_and_many_are_plural() {
    let notes = Made::default().good().report().notes.join(" ");
    assert!(notes.contains("1 matrix with 128 weights measured."), "{notes}");
    let made = Made::default().good().floats("step", &[], &[3.0]).floats("bias", &[2], &[0.0; 2]).floats(
        "none",
        &[0, 16],
        &[],
    );
    let notes = made.floats("again", &[1, 1], &[0.25]).report().notes.join(" ");
    assert!(notes.contains("2 matrices with 129 weights measured"), "{notes}");
    assert!(notes.contains("1 vector (8 bytes), 1 scalar (4 bytes) and 1 empty tensor stay as they are"), "{notes}");
    let vector = Made::default().good().floats("bias", &[2], &[0.0; 2]).report().notes.join(" ");
    assert!(vector.contains("measured; 1 vector (8 bytes) stays as it is."), "{vector}");
    let one = Made::default().floats("one", &[1, 1], &[0.25]).report().notes.join(" ");
    assert!(one.contains("1 matrix with 1 weight measured"), "{one}");
}

#[test]
fn what_is_not_read_is_left_out_by_name_and_counts_in_every_total() {
    for (dtype, shape, bytes) in [
        ("F64", [4, 32], 1024),
        ("F8_E4M3", [4, 32], 128),
        ("F8_E5M2", [4, 32], 128),
        ("F8_E4M3FNUZ", [8, 16], 128),
        ("F8_E8M0", [8, 1], 8),
        ("F4", [8, 16], 64),
        ("I64", [1, 8], 64),
        ("BOOL", [8, 8], 64),
        ("U8", [4, 16], 64),
        ("C64", [4, 4], 128),
    ] {
        let report = Made::default().good().add("other", dtype, &shape, &vec![0; bytes]).report();
        let notes = report.notes.join(" ");
        assert!(notes.contains(&format!("“other” holds {dtype}")) && notes.contains("1 matrix with 128"), "{notes}");
        let (at_8, stored) = metric(&report, "bytes_8");
        assert_eq!(stored, Some(512.0 + bytes as f64), "{dtype}");
        // 8 rows of 16 codes and a scale.
        assert_eq!(at_8, 8.0 * (16.0 + 4.0) + bytes as f64, "{dtype}");
    }
}

#[test]
fn a_number_that_is_none_is_said_first_with_its_place_and_the_rest_is_measured() {
    let made = Made::default().good().floats("mask", &[2, 2], &[0.0, f32::NEG_INFINITY, 0.0, 0.0]);
    let notes = made.report().notes;
    assert!(notes[1].contains("“mask” holds -inf at [0, 1]") && notes[0].contains("1 matrix"), "{notes:?}");
    let made = made.floats("broken", &[2, 3], &[1.0, 0.5, 0.5, 0.5, f32::NAN, 0.25]);
    let report = made.report();
    assert!(report.notes[0].starts_with("Not a number: “broken” holds NaN at [1, 1]"), "{:?}", report.notes);
    assert_eq!(metric(&report, "bytes_4").1, Some(512.0 + 16.0 + 24.0));
    assert!(report.metrics.iter().all(|metric| metric.value.is_finite()));
    let alone = Made::default().floats("broken", &[1, 2], &[f32::NAN, 1.0]).run().expect_err("nothing to measure");
    assert!(alone.contains("“broken” holds NaN at [0, 0]"), "{alone}");
}

#[test]
fn a_number_that_is_none_is_found_in_vectors_and_scalars_too() {
    let made = Made::default().floats("norm", &[3], &[1.0, 1.0, f32::NAN]).good();
    let notes = made.report().notes;
    assert!(notes[0].starts_with("Not a number: “norm” holds NaN at [2]"), "{notes:?}");
    assert!(notes[1].contains("1 matrix with 128 weights") && notes[1].contains("1 vector"), "{notes:?}");
    let notes = made.floats("scale", &[], &[f32::INFINITY]).floats("bias", &[2], &[0.0, f32::NAN]).report().notes;
    assert!(notes[0].contains("“norm” holds NaN at [2]; “bias” holds NaN at [1]"), "{notes:?}");
    assert_eq!(notes.last().map(String::as_str), Some("Infinite: “scale” holds inf."), "{notes:?}");
}

#[test]
fn a_row_longer_than_a_buffer_is_left_out_by_name() {
    let columns = (1 << 22) + 1;
    let report = Made::default().add("flat", "F16", &[1, columns], &vec![0; 2 * columns]).good().report();
    let notes = report.notes.join(" ");
    assert!(notes.contains("“flat” has rows of 4,194,305 numbers") && notes.contains("1 matrix with 128"), "{notes}");
    assert_eq!(metric(&report, "bytes_8").1, Some(2.0 * columns as f64 + 512.0));
}

#[test]
fn a_file_without_a_matrix_says_what_it_holds() {
    let said = |made: Made| made.run().expect_err("nothing to measure");
    assert!(said(Made::default()).contains("it holds no tensor"));
    assert!(said(Made::default().floats("b", &[16], &[0.0; 16])).contains("1 vector (64 bytes) and no matrix"));
    let packed = said(Made::default().add("qweight", "I32", &[8, 16], &[0; 512]));
    assert!(
        packed.contains("“qweight” holds I32") && packed.contains("GPTQ") && packed.contains("unquantized"),
        "{packed}"
    );
    let eight = said(Made::default().add("w", "F8_E4M3", &[8, 16], &[0; 128]));
    assert!(eight.contains("“w” holds F8_E4M3") && !eight.contains("GPTQ"), "{eight}");
}

#[test]
fn weights_that_lose_nothing_have_no_error() {
    let ternary: Vec<f32> = (0..128).map(|i| (i % 3) as f32 - 1.0).collect();
    let report = Made::default().floats("zero", &[8, 16], &[0.0; 128]).floats("three", &[8, 16], &ternary).report();
    let words = |row: usize| {
        report.tables[0].rows[row].iter().filter(|cell| matches!(cell, Cell::Text(text) if text == "no error")).count()
    };
    assert_eq!((words(0), words(1)), (4, 4), "{:?}", report.tables[0].rows);
}

#[test]
fn odd_names_are_text_and_do_no_harm() {
    let long = "x".repeat(3000);
    let names = [
        "<img src=x onerror=alert(1)>",
        "weights \u{202e} gnirts",
        "层.权重",
        "with\ttab and \"quotes\"",
        "",
        "a.b",
        "../../etc/passwd",
        long.as_str(),
        "=1+2",
    ];
    let mut made = Made::default();
    for name in names {
        made = made.floats(name, &[4, 8], &[0.5; 32]);
    }
    let report = made.report();
    let shown: Vec<&str> = report.tables[0]
        .rows
        .iter()
        .filter_map(|row| if let Cell::Text(text) = &row[0] { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(shown.len(), names.len());
    assert!(shown.contains(&"(no name)") && shown.contains(&"层.权重") && shown.contains(&names[0]), "{shown:?}");
    assert!(shown.iter().all(|name| name.chars().count() <= 81 && !name.contains('\u{202e}')), "{shown:?}");
}

#[test]
fn thousands_of_tensors_are_listed_by_what_they_lose() {
    let mut made = Made::default();
    for i in 0..1200 {
        made = made.floats(&format!("h.{i}.w"), &[2, 4], &[0.1, -0.2, 0.3, 0.01 * i as f32, -0.1, 0.2, 0.05, 0.3]);
    }
    let report = made.report();
    assert_eq!(report.tables[0].rows.len(), 500);
    assert!(report.tables[0].title.contains("500 matrices that lose most"), "{}", report.tables[0].title);
    assert!(report.notes[0].contains("1,200 matrices with 9,600 weights"), "{:?}", report.notes);
}

#[test]
fn zeros_and_ranks_say_what_they_would_save() {
    // Half zero, and of rank 1.
    let values: Vec<f32> = (0..64).map(|i| if i % 16 < 8 { 0.0 } else { (i / 16 + 1) as f32 }).collect();
    let report = Made::default().floats("half", &[4, 16], &values).report();
    assert_eq!(metric(&report, "zeros").0, 50.0);
    // 32 weights of 4 bytes and 64 bits; a column of 4 and a row of 16.
    assert_eq!(metric(&report, "bytes_bitmap"), (136.0, Some(256.0)));
    assert_eq!(metric(&report, "bytes_factored"), (80.0, Some(256.0)));
    // Without zeros and of full rank nothing is saved, and nothing grows.
    let identity: Vec<f32> = (0..64).map(|i| if i % 9 == 0 { 2.0 } else { 0.5 }).collect();
    let report = Made::default().floats("full", &[8, 8], &identity).report();
    assert_eq!(metric(&report, "zeros").0, 0.0);
    assert_eq!(metric(&report, "bytes_bitmap"), (256.0, Some(256.0)));
}

/// What the lab says to these bytes.
fn said(bytes: Vec<u8>) -> Result<Report, String> {
    let cx = context(Rc::new(FakeClock::real()));
    ready(inspect(Input::of_asset("f", bytes), &Params::default(), &cx)).map_err(|error| error.to_string())
}

/// A header of any words before so many bytes of data.
fn headed(head: &str, data: usize) -> Vec<u8> {
    [&(head.len() as u64).to_le_bytes()[..], head.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_what_is_wrong_with_it() {
    let whole = Made::default().good().bytes();
    let cut = whole[..whole.len() - 100].to_vec();
    let within_header = whole[..40].to_vec();
    let trailing = [&whole[..], &[0]].concat();
    let mut swapped = whole.clone();
    swapped[..8].reverse();
    let twice = Made::default().good().good().bytes();
    let one = |rest: &str, data: usize| headed(&format!("{{\"w\":{{{rest}}}}}"), data);
    let cases: [(Vec<u8>, &[&str]); 16] = [
        (cut, &["cut short", "download it again"]),
        (within_header, &["cut short within its header", "40 bytes"]),
        (trailing, &["1 byte follows its last tensor"]),
        (swapped, &["big-endian"]),
        (twice, &["“layer.weight” stands twice"]),
        (one(r#""dtype":"F32","shape":[2,2],"data_offsets":[0,12]"#, 12), &["“w” should take 16 bytes and has 12"]),
        (one(r#""dtype":"F32","shape":[-2,2],"data_offsets":[0,16]"#, 16), &["“w” has a negative dimension"]),
        (one(r#""dtype":"F32","shape":[2,2],"data_offsets":[16,0]"#, 16), &["“w” ends before it begins"]),
        (one(r#""dtype":"float32","shape":[2,2],"data_offsets":[0,16]"#, 16), &["unknown type float32", "F32, F16"]),
        (one(r#""dtype":"F32","shape":[2,2],"data_offsets":[8,24]"#, 24), &["8 bytes lie between its header and “w”"]),
        (one(r#""dtype":"F4","shape":[3,1],"data_offsets":[0,2]"#, 2), &["“w” has 3 numbers of 4 bits"]),
        (headed("[1, 2, 3]", 0), &["a list and no object"]),
        (headed(r#"{"__metadata__":{"step":3}}"#, 0), &["no text (“step”)"]),
        (b"\x1f\x8b\x08\x00 some bytes that were packed".to_vec(), &["compressed (gzip)", "unpack it"]),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}".to_vec(), &["NumPy", "save_file"]),
        (b"<?xml version=\"1.0\"?><Error>AccessDenied</Error>".to_vec(), &["a web page", "signed in"]),
    ];
    for (i, (bytes, words)) in cases.into_iter().enumerate() {
        let Err(error) = said(bytes) else { panic!("{i} is read: {words:?}") };
        assert!(words.iter().all(|word| error.contains(word)), "{i}: {words:?}: {error}");
    }
}

/// What it is, its type, its shape, its bytes, and the words that tell why it is left out.
type OddTensor<'a> = (&'a str, &'a str, &'a [usize], &'a [u8], &'a str);

#[test]
fn part_of_a_file_that_is_not_read_is_named_and_counted_and_the_rest_is_measured() {
    let bf16 = |value: u16| value.to_le_bytes();
    let nan16 = [bf16(0x3f80), bf16(0x3f80), bf16(0x7fc0), bf16(0x3f80)].concat();
    // The largest F16 is finite, what follows it is none.
    let inf16 = [[0xff_u8, 0x7b], [0x00, 0x7c]].concat();
    let ints = vec![1_u8; 24];
    let cases: [OddTensor; 10] = [
        ("half", "BF16", &[2, 2], &nan16, "“half” holds NaN at [1, 0]"),
        ("scores", "F16", &[1, 2], &inf16, "“scores” holds inf at [0, 1]"),
        ("kernel", "F16", &[1, 2, 1, 2], &[0, 0, 0, 0, 0, 0, 0, 0xfc], "“kernel” holds -inf at [0, 1, 0, 1]"),
        ("tokens", "I16", &[3, 4], &ints, "“tokens” holds I16"),
        ("mask", "I8", &[4, 6], &ints, "“mask” holds I8"),
        ("places", "U64", &[1, 3], &ints, "“places” holds U64"),
        ("counts", "U16", &[2, 6], &ints, "“counts” holds U16"),
        ("six", "F6_E2M3", &[4, 8], &ints, "“six” holds F6_E2M3"),
        ("eight", "F8_E5M2FNUZ", &[6, 4], &ints, "“eight” holds F8_E5M2FNUZ"),
        ("packed", "U32", &[2, 3], &ints, "“packed” holds U32"),
    ];
    for (name, dtype, shape, bytes, words) in cases {
        // Before what is good, and after it: neither stops the other.
        for made in [
            Made::default().good().add(name, dtype, shape, bytes),
            Made::default().add(name, dtype, shape, bytes).good(),
        ] {
            let report = made.report();
            let notes = report.notes.join(" ");
            assert!(notes.contains(words) && notes.contains("1 matrix with 128 weights"), "{words}: {notes}");
            assert_eq!(metric(&report, "bytes_8").1, Some(512.0 + bytes.len() as f64), "{name}");
            assert_eq!(report.tables[0].rows.len(), 1, "{name}");
        }
    }
}
