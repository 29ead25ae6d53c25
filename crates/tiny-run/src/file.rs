//! A safetensors file: eight bytes of length, a header in JSON, then the numbers.

use std::collections::BTreeMap;

use crate::json::Json;

/// The format's own limit of a header, in bytes.
const HEADER: u64 = 100_000_000;

/// One tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<'a> {
    /// How its numbers are stored: `U8`, `F16` or `F32` here.
    pub kind: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its bytes, little-endian, row after row.
    pub bytes: &'a [u8],
}

/// All tensors of a file by name, and its notes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensors<'a> {
    tensors: BTreeMap<String, Tensor<'a>>,
    notes: BTreeMap<String, String>,
}

impl<'a> Tensors<'a> {
    /// Reads the header and holds it against the file.
    ///
    /// # Errors
    /// What is wrong with the file, in words: a stranger, cut short, or a header that contradicts itself.
    pub fn open(file: &'a [u8]) -> Result<Self, String> {
        let start = file.first_chunk::<8>().ok_or_else(|| stranger(file, "it is shorter than a header's length"))?;
        let length = u64::from_le_bytes(*start);
        let rest = &file[8..];
        if length > HEADER || length > rest.len() as u64 {
            return Err(stranger(
                file,
                &format!("its header should have {length} bytes, and {} are there", rest.len()),
            ));
        }
        let (header, data) = rest.split_at(length as usize);
        if header.first() != Some(&b'{') {
            return Err(stranger(file, "its header begins with no brace"));
        }
        let text = std::str::from_utf8(header).map_err(|_| "its header is no text")?;
        let Json::Object(pairs) =
            Json::parse(text.trim_end_matches(' ')).map_err(|why| format!("its header: {why}"))?
        else {
            return Err("its header is no object".to_owned());
        };
        let (mut tensors, mut notes, mut places) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, value) in pairs {
            if name == "__metadata__" {
                let Json::Object(pairs) = value else { return Err("its notes are no object".to_owned()) };
                for (key, value) in pairs {
                    let text = value.text().ok_or_else(|| format!("its note “{key}” is no string"))?;
                    notes.insert(key, text.to_owned());
                }
                continue;
            }
            let (tensor, from) = tensor(&value, data).map_err(|why| format!("its tensor “{name}” {why}"))?;
            places.push((from, from + tensor.bytes.len(), name.clone()));
            tensors.insert(name, tensor);
        }
        // One after the other, without gap or overlap: a file that hides something is none of ours.
        places.sort();
        let mut end = 0;
        for (from, to, name) in places {
            if from != end {
                return Err(format!("its tensor “{name}” begins at byte {from} of the data, not at {end}"));
            }
            end = to;
        }
        if end == data.len() {
            Ok(Self { tensors, notes })
        } else {
            Err(format!("{} bytes follow its last tensor", data.len() - end))
        }
    }

    /// A note of the file.
    ///
    /// # Errors
    /// When it is not there.
    pub fn note(&self, key: &str) -> Result<&str, String> {
        self.notes.get(key).map(String::as_str).ok_or_else(|| {
            format!(
                "it has no note “{key}”: it was not exported by this book; `cargo xtask lab export` makes such a file"
            )
        })
    }

    /// Takes a tensor out, if it is there.
    pub fn take(&mut self, name: &str) -> Option<Tensor<'a>> {
        self.tensors.remove(name)
    }

    /// The first size of a tensor's shape, if it is there and has one.
    #[must_use]
    pub fn rows(&self, name: &str) -> Option<usize> {
        self.tensors.get(name)?.shape.first().copied()
    }

    /// Names of the tensors that nobody took.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

/// A tensor of the header, and where its bytes begin.
fn tensor<'a>(value: &Json, data: &'a [u8]) -> Result<(Tensor<'a>, usize), String> {
    let Json::Object(pairs) = value else { return Err("is no object".to_owned()) };
    let kind = value.get("dtype").and_then(Json::text).ok_or("has no dtype")?.to_owned();
    let wholes = |key: &str| -> Option<Vec<usize>> { value.get(key)?.list()?.iter().map(Json::whole).collect() };
    let shape = wholes("shape").ok_or("has no shape")?;
    let Some([from, to]) = wholes("data_offsets").and_then(|list| <[usize; 2]>::try_from(list).ok()) else {
        return Err("has no pair of data_offsets".to_owned());
    };
    if pairs.len() != 3 {
        return Err("has more than dtype, shape and data_offsets".to_owned());
    }
    let each = match kind.as_str() {
        "U8" => 1,
        "F16" => 2,
        "F32" => 4,
        other => return Err(format!("holds {other}, which no export of this book does")),
    };
    let bytes = data.get(from..to).ok_or_else(|| {
        format!("lies at bytes {from} to {to} of {}: the file was cut short; copy it again", data.len())
    })?;
    let needed = shape.iter().try_fold(each, |product: usize, size| product.checked_mul(*size));
    if needed != Some(bytes.len()) {
        return Err(format!("of shape {shape:?} holds {} bytes, not as many as {kind} numbers take", bytes.len()));
    }
    Ok((Tensor { kind, shape, bytes }, from))
}

impl Tensor<'_> {
    /// Its floats, halves among them.
    ///
    /// # Errors
    /// For another shape or kind, and for a number that is not finite.
    pub fn floats(&self, shape: &[usize]) -> Result<Vec<f32>, String> {
        if self.shape != shape {
            return Err(format!("has shape {:?}, not {shape:?}", self.shape));
        }
        let numbers: Vec<f32> = match self.kind.as_str() {
            "F32" => self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            "F16" => self.bytes.chunks_exact(2).map(|b| any_half(u16::from_le_bytes([b[0], b[1]]))).collect(),
            other => return Err(format!("holds {other}, not floats")),
        };
        match numbers.iter().find(|number| !number.is_finite()) {
            Some(bad) => Err(format!("holds {bad}")),
            None => Ok(numbers),
        }
    }

    /// Its bytes, if it is of this shape.
    ///
    /// # Errors
    /// For another shape or kind.
    pub fn codes(&self, shape: &[usize]) -> Result<&[u8], String> {
        if self.kind != "U8" || self.shape != shape {
            return Err(format!("holds {} of shape {:?}, not U8 of shape {shape:?}", self.kind, self.shape));
        }
        Ok(self.bytes)
    }
}

/// Half precision (IEEE 754 binary16) as a single, infinities and what is no number among them.
fn any_half(bits: u16) -> f32 {
    if bits & 0x7c00 == 0x7c00 { f32::from_bits(0x7f80_0000 | u32::from(bits & 0x3ff) << 13) } else { half(bits) }
}

/// A finite half as a single. Exponents are 112 apart, and the product puts right what is subnormal too; without a branch, so that
/// the compiler may take vectors.
#[must_use]
pub fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let size = f32::from_bits(u32::from(bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(sign | size.to_bits())
}

/// What a file is that is none of ours, by how it begins; `otherwise` where that tells nothing.
fn stranger(file: &[u8], otherwise: &str) -> String {
    let starts = |word: &str| file.len() >= word.len() && file[..word.len()].eq_ignore_ascii_case(word.as_bytes());
    let what = if file.is_empty() {
        "it is empty: copy it again"
    } else if starts("version https://git-lfs") {
        "it is a Git LFS pointer: run `git lfs pull`"
    } else if starts("<!doctype") || starts("<html") {
        "it is a web page, not the file behind it"
    } else if starts("GGUF") {
        "it is a GGUF file of llama.cpp, not safetensors"
    } else if starts("PK\x03\x04") {
        "it is a zip archive, as PyTorch writes, not safetensors"
    } else {
        return format!("it is no safetensors file, or was cut short: {otherwise}");
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn tensors_and_notes_are_read() {
        let header = r#"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,1],"data_offsets":[2,10]},"y":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}  "#;
        let file = made(header, &[7, 8, 0, 0, 128, 63, 0, 0, 0, 192]);
        let mut tensors = Tensors::open(&file).expect("whole");
        assert_eq!(tensors.note("a"), Ok("b"));
        assert!(tensors.note("config").expect_err("none").contains("not exported by this book"));
        let x = tensors.take("x").expect("there");
        assert_eq!(x.floats(&[2, 1]), Ok(vec![1.0, -2.0]));
        assert!(x.floats(&[1, 2]).expect_err("shape").contains("[2, 1], not [1, 2]"));
        assert!(x.codes(&[2, 1]).expect_err("kind").contains("F32"));
        assert_eq!(tensors.left().collect::<Vec<_>>(), ["y"]);
        let y = tensors.take("y").expect("there");
        assert_eq!(y.codes(&[2]), Ok(&[7, 8][..]));
        assert!(y.floats(&[2]).expect_err("kind").contains("holds U8"));
    }

    #[test]
    fn every_damage_is_named() {
        let why = |file: &[u8]| Tensors::open(file).expect_err("refused");
        for (file, word) in [
            (&b""[..], "empty"),
            (b"abc", "shorter"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"GGUF\x03\0\0\0\0\0", "GGUF"),
            (b"PK\x03\x04\0\0\0\0\0\0", "zip"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff{}", "header should have"),
            (b"\x02\0\0\0\0\0\0\0[]", "no brace"),
        ] {
            assert!(why(file).contains(word), "{word}: {}", why(file));
        }
        let tensor = |words: &str, data: usize| why(&made(&format!("{{\"x\":{words}}}"), &vec![0; data]));
        assert!(tensor(r#"{"dtype":"I64","shape":[1],"data_offsets":[0,8]}"#, 8).contains("holds I64"));
        assert!(tensor(r#"{"dtype":"U8","shape":[9],"data_offsets":[0,9]}"#, 8).contains("cut short"));
        assert!(tensor(r#"{"dtype":"U8","shape":[7],"data_offsets":[0,8]}"#, 8).contains("shape [7]"));
        assert!(tensor(r#"{"dtype":"U8","shape":[8],"data_offsets":[8,0]}"#, 8).contains("bytes 8 to 0"));
        assert!(tensor(r#"{"dtype":"U8","shape":[6],"data_offsets":[2,8]}"#, 8).contains("not at 0"));
        assert!(tensor(r#"{"dtype":"U8","shape":[6],"data_offsets":[0,6]}"#, 8).contains("2 bytes follow"));
        assert!(tensor(r#"{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}"#, 1).contains("no shape"));
        assert!(tensor(r#"{"dtype":"U8","shape":[1],"data_offsets":[0]}"#, 1).contains("data_offsets"));
        assert!(tensor(r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1],"z":1}"#, 1).contains("more than"));
        assert!(tensor(r#"{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]}"#, 1).contains("shape"));
        assert!(tensor("7", 0).contains("no object"));
        assert!(why(&made("{\"__metadata__\":{\"a\":1}}", &[])).contains("note “a”"));
        assert!(why(&made("{\"x\":", &[])).contains("no JSON"));
    }

    #[test]
    fn halves_are_what_the_standard_says() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x8400, -6.103_515_6e-5),
        ];
        for (bits, value) in cases {
            assert_eq!([half(bits), any_half(bits)], [value; 2], "{bits:x}");
        }
        assert!(any_half(0x7c00).is_infinite() && any_half(0xfe00).is_nan());
    }
}
