//! A safetensors file read tensor by tensor, a block of rows at a time: never more of it in memory than two blocks or the longest row, 16 MiB.

mod header;
mod stranger;

use std::cell::{Cell, RefCell};

use burn::tensor::{bf16, f16};
use lab_api::LabError;

use crate::{Context, Input};
pub use header::{bytes, count, shown};

/// Bytes of the length that a file begins with.
const PREFIX: u64 = 8;
/// The format's own limit of a header, in bytes.
const HEADER: u64 = 100_000_000;
/// Bytes of the beginning by which a stranger is known.
const START: u64 = 1 << 14;
/// Numbers read at once, about.
const BLOCK: usize = 1 << 18;
/// Bytes read at once where tensors are small: they lie one after the other, and each call of a browser's file takes a millisecond.
const AHEAD: u64 = 1 << 20;
/// Numbers of a row at most: rows are never parted.
const LONGEST_ROW: usize = 1 << 22;
/// Milliseconds of work between two questions whether to go on.
const ASK_EVERY_MS: f64 = 15.0;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How its numbers are stored, in the format's words: `F16`.
    pub dtype: String,
    /// Bytes it takes in the file.
    pub bytes: u64,
    /// Bytes of one number, and how to read it; `None` for types that are no floats of 16 or 32 bits.
    float: Option<Float>,
    /// Where its first byte lies.
    start: u64,
}

/// A floating-point type that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    fn of(dtype: &str) -> Option<Self> {
        match dtype {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Self::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Self::Bf16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        }
    }
}

impl TensorEntry {
    /// Numbers in it.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.is_empty() { 0 } else { self.shape.iter().product() }
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Its name as readers see it.
    #[must_use]
    pub fn label(&self) -> String {
        shown(&self.name)
    }

    /// Whether its numbers can be read: F32, F16 or BF16.
    #[must_use]
    pub fn is_float(&self) -> bool {
        self.float.is_some()
    }

    /// Numbers of a row: all dimensions after the first, as for a matrix `[outputs, inputs]` or a convolution
    /// `[outputs, inputs, height, width]`.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }
}

/// Why the numbers of a tensor are not read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unread {
    /// Its type is none of F32, F16 and BF16.
    Type,
    /// Its rows are longer than a buffer.
    LongRow,
    /// It holds an infinity or no number at all, first at this place (counted from 0, row after row).
    NotFinite {
        /// What stands there.
        value: f32,
        /// Where.
        at: usize,
    },
}

impl Unread {
    /// In words, after the tensor's name: `holds I64`.
    #[must_use]
    pub fn words(self, tensor: &TensorEntry) -> String {
        match self {
            Self::Type => format!("holds {}", tensor.dtype),
            Self::LongRow => format!(
                "has rows of {} numbers, and {} at most are read",
                count(tensor.columns() as u64),
                count(LONGEST_ROW as u64)
            ),
            Self::NotFinite { value, at } => {
                if tensor.shape.is_empty() {
                    return format!("holds {value}");
                }
                let mut place = Vec::new();
                let mut rest = at;
                for size in tensor.shape.iter().rev() {
                    place.insert(0, (rest % size.max(&1)).to_string());
                    rest /= size.max(&1);
                }
                format!("holds {value} at [{}]", place.join(", "))
            }
        }
    }
}

/// An opened file: what its header says.
pub struct TensorFile {
    input: Input,
    /// Tensors in the order of the file.
    pub tensors: Vec<TensorEntry>,
    /// Whether its header holds notes as well.
    pub has_metadata: bool,
    /// Where the bytes that were read last begin, and those bytes.
    ahead: RefCell<(u64, Vec<u8>)>,
    asked_ms: Cell<f64>,
}

impl TensorFile {
    /// Reads the header and holds it against the length of the file.
    ///
    /// # Errors
    /// [`LabError::File`] (or [`LabError::Asset`]) when it is no safetensors file, or is cut short.
    pub async fn open(input: Input) -> Result<Self, LabError> {
        let size = input.size_bytes();
        let start = input.read(0..size.min(START)).await?;
        let stranger = |otherwise: String| input.fail(stranger::recognize(&start, size).unwrap_or(otherwise));
        let Some(prefix) = start.first_chunk::<8>().filter(|_| size >= PREFIX + 2) else {
            return Err(stranger("it is no safetensors file: it does not begin with a header".to_owned()));
        };
        let length = u64::from_le_bytes(*prefix);
        if length > HEADER || length > size - PREFIX {
            return Err(stranger(stranger::bad_length(*prefix, start.get(8).copied(), size, HEADER)));
        }
        let data = PREFIX + length;
        let text = input.read(PREFIX..data).await?;
        let header = header::read(&text, data, size).map_err(|why| {
            // Bytes that happen to make a length are still those of a stranger.
            if text.first() == Some(&b'{') { input.fail(why) } else { stranger(why) }
        })?;
        let header::Header { tensors, has_metadata } = header;
        Ok(Self { input, tensors, has_metadata, ahead: RefCell::default(), asked_ms: Cell::new(f64::NEG_INFINITY) })
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// What is wrong with the file.
    #[must_use]
    pub fn fail(&self, why: String) -> LabError {
        self.input.fail(why)
    }

    /// Hands whole rows of a tensor to `block`, some at a time, in order; the last block may be smaller. A row is what
    /// [`TensorEntry::columns`] says. Stops where a number is not finite, and says so. Asks now and then whether to go on.
    ///
    /// # Errors
    /// [`LabError::File`] when the numbers cannot be had; what `block` fails with; [`LabError::Cancelled`].
    pub async fn rows(
        &self,
        tensor: &TensorEntry,
        cx: &Context,
        mut block: impl FnMut(&[f32]) -> Result<(), LabError>,
    ) -> Result<Option<Unread>, LabError> {
        let Some(float) = tensor.float else { return Ok(Some(Unread::Type)) };
        if tensor.columns() > LONGEST_ROW {
            return Ok(Some(Unread::LongRow));
        }
        let row = tensor.columns() * float.bytes();
        let rows = (BLOCK / tensor.columns().max(1)).max(1);
        let (mut at, end) = (tensor.start, tensor.start + tensor.bytes);
        let mut seen = 0;
        while at < end {
            if cx.now_ms() - self.asked_ms.get() >= ASK_EVERY_MS {
                cx.checkpoint().await?;
                self.asked_ms.set(cx.now_ms());
            }
            let next = end.min(at + (rows * row) as u64);
            self.fetch(at, next).await?;
            let numbers = {
                let ahead = self.ahead.borrow();
                // Both lie within the buffer, which is a slice.
                let (from, to) = ((at - ahead.0) as usize, (next - ahead.0) as usize);
                float.decode(ahead.1.get(from..to).unwrap_or_default())
            };
            if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
                return Ok(Some(Unread::NotFinite { value: numbers[place], at: seen + place }));
            }
            seen += numbers.len();
            block(&numbers)?;
            at = next;
        }
        Ok(None)
    }

    /// Sees to it that these bytes are in the buffer, with what follows them where they are few.
    async fn fetch(&self, from: u64, to: u64) -> Result<(), LabError> {
        let there = {
            let ahead = self.ahead.borrow();
            ahead.0 <= from && to <= ahead.0 + ahead.1.len() as u64
        };
        if !there {
            let until = to.max((from + AHEAD).min(self.input.size_bytes()));
            let read = self.input.read(from..until).await?;
            *self.ahead.borrow_mut() = (from, read);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        testing::{FakeClock, context, ready},
        weights::{Precision, WeightWriter},
    };

    fn bytes() -> Vec<u8> {
        let mut writer = WeightWriter::default();
        writer.floats("wide", &[300, 2000], &(0..600_000).map(|i| i as f32).collect::<Vec<_>>());
        writer.floats_as(Precision::Fp16, "half", &[2, 2], &[0.5, -1.0, 2.0, 4.0]).expect("fits");
        writer.integers("whole", &[3], &[1, 2, 3]);
        writer.finish("a test").expect("fits")
    }

    fn opened(bytes: Vec<u8>) -> Result<TensorFile, LabError> {
        ready(TensorFile::open(Input::of_asset("f", bytes)))
    }

    fn read(file: &TensorFile, name: &str, host: Rc<FakeClock>) -> Result<(Vec<f32>, usize), LabError> {
        let (mut all, mut blocks) = (Vec::new(), 0);
        let tensor = file.tensors.iter().find(|tensor| tensor.name == name).expect("there");
        let unread = ready(file.rows(tensor, &context(host), |block| {
            assert_eq!(block.len() % tensor.columns(), 0);
            all.extend_from_slice(block);
            blocks += 1;
            Ok(())
        }))?;
        // As the lab says it.
        match unread {
            None => Ok((all, blocks)),
            Some(why) => Err(file.fail(format!("“{}” {}", tensor.label(), why.words(tensor)))),
        }
    }

    #[test]
    fn rows_come_whole_and_in_order() {
        let file = opened(bytes()).expect("whole");
        let host = || Rc::new(FakeClock::new(1.0));
        let (all, blocks) = read(&file, "wide", host()).expect("reads");
        assert_eq!(blocks, 3);
        assert!(all.iter().enumerate().all(|(i, value)| *value == i as f32));
        assert_eq!(read(&file, "half", host()).expect("reads").0, [0.5, -1.0, 2.0, 4.0]);
        let refused = read(&file, "whole", host()).expect_err("integers").to_string();
        assert!(refused.contains("“whole” holds U8"), "{refused}");
    }

    #[test]
    fn bf16_is_the_upper_half_of_a_single() {
        assert_eq!(Float::Bf16.decode(&[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
    }

    #[test]
    fn cancel_is_heard_between_blocks() {
        let host = Rc::new(FakeClock::new(1.0));
        host.cancel();
        let file = opened(bytes()).expect("whole");
        assert_eq!(read(&file, "wide", host).expect_err("cancelled"), LabError::Cancelled);
    }

    #[test]
    fn a_number_that_is_none_is_named_with_its_place() {
        let mut writer = WeightWriter::default();
        writer.floats("x", &[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN, 7.0, f32::INFINITY]);
        let file = opened(writer.finish("a test").expect("fits")).expect("whole");
        let error = read(&file, "x", Rc::new(FakeClock::new(1.0))).expect_err("refused").to_string();
        assert!(error.contains("“x” holds NaN at [1, 0, 1]"), "{error}");
    }

    #[test]
    fn small_tensors_are_read_together() {
        let mut writer = WeightWriter::default();
        for i in 0..50 {
            writer.floats(&format!("t{i:02}"), &[2, 2], &[i as f32; 4]);
        }
        let file = opened(writer.finish("a test").expect("fits")).expect("whole");
        for tensor in &file.tensors {
            let wanted: f32 = tensor.name[1..].parse().expect("a number");
            let (all, _) = read(&file, &tensor.name, Rc::new(FakeClock::new(1.0))).expect("reads");
            assert_eq!(all, [wanted; 4]);
        }
        assert_eq!(file.ahead.borrow().0, file.tensors[0].start, "one read for all of them");
    }

    /// A file of this header, its length before it and `data` bytes after it.
    fn made(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    }

    fn why(bytes: Vec<u8>) -> String {
        opened(bytes).err().map_or_else(|| "read".to_owned(), |error| error.to_string())
    }

    #[test]
    fn strangers_are_recognized_and_told_with_the_remedy() {
        let whole = bytes();
        let cases: [(&[u8], &[&str]); 27] = [
            (b"", &["empty (0 bytes)", "download"]),
            (b"\x02\0\0\0\0\0\0", &["7 bytes: too short"]),
            (b"{}", &["JSON"]),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:4d4d\nsize 548118077\n",
                &["Git LFS pointer to a file of 548,118,077 bytes", "git lfs pull"],
            ),
            (b"version https://git-lfs.github.com/spec/v1\n", &["Git LFS pointer: run"]),
            (b"<!doctype html>\n<title>Access to this model is restricted</title>", &["web page", "signed in"]),
            (b"\n  <HTML><body>404</body></HTML>", &["web page"]),
            (b"<html>not found</html>", &["web page"]),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", &["web page"]),
            (
                b"{\n \"weight_map\": {\n \"a.weight\": \"model-00001-of-00002.safetensors\"}}",
                &["index", "model-00001-of-00002.safetensors"],
            ),
            (b"{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 4096}", &["JSON text", ".safetensors"]),
            (b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0", &["GGUF", "llama.cpp"]),
            (b"PK\x03\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &["zip archive", "PyTorch", "safetensors"]),
            (b"\x80\x02}q\x00(X\x06\0\0\0weight", &["pickle"]),
            (b"\x89HDF\r\n\x1a\n\0\0\0\0\0\0", &["HDF5"]),
            (b"\x93NUMPY\x01\0v\0{'descr': '<f4'}", &["NumPy"]),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03abc", &["gzip"]),
            (b"\x1c\0\0\0TFL3\x14\0\x20\0", &["TensorFlow Lite"]),
            (b"not weights at all, only a line of text", &["text and no weights", "not weights at all"]),
            (b"Access to model x/y is restricted. You must have access to it", &["is the model gated", "signed in"]),
            (b"\x80\x05\x95 some pickled bytes", &["pickle", "safetensors"]),
            (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01", &["xz", "unpack it"]),
            (b"/annex/objects/SHA256E-s12--ab.safetensors", &["git annex get"]),
            (b"\x60\0\0\0\0\0\0\0no header follows here, only bytes", &["does not begin with a header"]),
            (&whole[..whole.len() - 5], &["cut short", "download it again"]),
            (&whole[..40], &["cut short within its header"]),
            (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", &["9,223,372,036,854,775,807 bytes", "100,000,000"]),
        ];
        for (bytes, words) in cases {
            let said = why(bytes.to_vec());
            for word in words {
                assert!(said.contains(word), "{}: {said}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
            }
        }
        let longer = why([whole.clone(), vec![0]].concat());
        assert!(longer.contains("1 byte follows its last tensor"), "{longer}");
        let mut garbled = whole;
        garbled[9] = b'!';
        assert!(why(garbled).contains("header cannot be read"));
    }

    #[test]
    fn a_header_that_breaks_the_format_is_told_with_the_tensor_that_does() {
        let tensor = |name: &str, dtype: &str, shape: &str, offsets: &str| {
            format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
        };
        let one = |dtype: &str, shape: &str, offsets: &str| format!("{{{}}}", tensor("a", dtype, shape, offsets));
        let two = |first: &str, second: &str| {
            format!("{{{},{}}}", tensor("a", "F32", "[2,2]", first), tensor("b", "F32", "[2,2]", second))
        };
        let good = tensor("a", "F32", "[2,2]", "[0,16]");
        for (header, data, words) in [
            (two("[0,16]", "[24,40]"), 40, "8 bytes lie between “a” and “b”"),
            (two("[0,16]", "[8,24]"), 24, "“b” begins within “a”"),
            (one("F32", "[2,2]", "[8,24]"), 24, "8 bytes lie between its header and “a”"),
            (one("F32", "[2,2]", "[16,0]"), 16, "“a” ends before it begins"),
            (one("F32", "[2,2]", "[-16,0]"), 16, "“a” has a negative offset"),
            (one("F32", "[-2,2]", "[0,16]"), 16, "“a” has a negative dimension"),
            (one("F32", "[1000,1000]", "[0,16]"), 16, "“a” should take 4,000,000 bytes and has 16"),
            (one("F32", "[4294967296,4294967296]", "[0,16]"), 16, "more numbers than any file holds"),
            (one("F32", "[32768,65536]", "[0,8589934592]"), 16, "cut short: its header speaks of 8,589,934,6"),
            (one("F4", "[1,3]", "[0,2]"), 2, "3 numbers of 4 bits, which fill no whole byte"),
            (one("FLOAT32", "[2,2]", "[0,16]"), 16, "“a” is of the unknown type FLOAT32; the format writes F32"),
            (one("F32", "[2.5]", "[0,16]"), 16, "no whole numbers"),
            (one("F32", "[2,2]", "[0]"), 16, "needs two data_offsets"),
            ("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}".to_owned(), 16, "“a” has no shape"),
            (format!("{{{good},{good}}}"), 16, "the name “a” stands twice"),
            (format!("{{{good},{}}}", tensor("a", "F32", "[4,1]", "[0,16]")), 16, "the name “a” stands twice"),
            (format!("{{{good},\"__metadata__\":{{\"step\":3}}}}"), 16, "no text (“step”)"),
            ("[1,2,3]".to_owned(), 0, "a list and no object"),
            (format!(" {{{good}}}"), 16, "does not begin with {"),
            (format!("\u{feff}{{{good}}}"), 16, "byte order mark"),
            (format!("{{{good}}}\0\0"), 16, "zero bytes"),
            (format!("{{\"__metadata__\":{}{}}}", "[".repeat(5000), "]".repeat(5000)), 0, "cannot be read"),
            (format!("{{{good}}}"), 32, "16 bytes follow its last tensor"),
        ] {
            let said = why(made(&header, data));
            assert!(said.contains(words), "{:.90}: {said}", header);
        }
        let mut big = made(&format!("{{{good}}}"), 16);
        big[..8].reverse();
        assert!(why(big).contains("big-endian"));
    }

    #[test]
    fn what_the_format_allows_is_read_whatever_it_holds() {
        let good = "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}";
        let other = |dtype: &str, shape: &str, to: u64| {
            format!("{{{good},\"b\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[16,{to}]}}}}")
        };
        for (header, data, tensors) in [
            (format!("{{{good}}}   "), 16, 1),
            (format!("{{\"__metadata__\":{{}},{good}}}"), 16, 1),
            (other("C64", "[2,2]", 48), 48, 2),
            (other("F8_E4M3FNUZ", "[4]", 20), 20, 2),
            (other("F4", "[2,3]", 19), 19, 2),
            (other("F32", "[0]", 16), 16, 2),
            (other("F16", "[1099511627776,0]", 16), 16, 2),
            (other("F32", "[]", 20), 20, 2),
            ("{}".to_owned(), 0, 0),
            ("{\"__metadata__\":{\"format\":\"pt\"}}".to_owned(), 0, 0),
        ] {
            let file = opened(made(&header, data)).unwrap_or_else(|error| panic!("{header}: {error}"));
            assert_eq!(file.tensors.len(), tensors, "{header}");
            assert!(file.tensors.iter().all(|tensor| tensor.is_empty() == (tensor.bytes == 0)), "{header}");
        }
    }

    #[test]
    fn a_name_is_shown_without_what_it_would_do_to_the_page() {
        assert_eq!(shown(""), "(no name)");
        assert_eq!(shown("a\u{202e}b\tc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(shown(&"x".repeat(3000)).chars().count(), 81);
        assert_eq!(shown("层.权重"), "层.权重");
        assert_eq!((count(0), count(999), count(1 << 33)), ("0".into(), "999".into(), "8,589,934,592".into()));
    }
}
