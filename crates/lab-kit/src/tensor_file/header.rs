//! The header of a safetensors file, read with 64-bit places on every machine, and held against the rules of the format
//! (<https://github.com/huggingface/safetensors>, “Format”).

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Float, TensorEntry};
use crate::order::Ordered as _;

/// The types of the format, and the bits of one number.
const TYPES: [(&str, u64); 22] = [
    ("F32", 32),
    ("F16", 16),
    ("BF16", 16),
    ("F64", 64),
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("U16", 16),
    ("I16", 16),
    ("U32", 32),
    ("I32", 32),
    ("U64", 64),
    ("I64", 64),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("F4", 4),
    ("C64", 64),
];

/// A name as readers see it: characters that steer the direction of text or end a line are no letters, and long names are cut.
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 80;
    if name.is_empty() {
        return "(no name)".to_owned();
    }
    let plain = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let mut text: String = name.chars().take(LONGEST).map(plain).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

/// A count with commas between thousands; of 64 bits in a browser too.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Names and descriptions in the order of the header, each as often as it stands there.
struct Listed(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Listed;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Listed(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    /// Tensors in the order of their data.
    pub(super) tensors: Vec<TensorEntry>,
    pub(super) has_metadata: bool,
}

/// Reads a header; `data` is where the data begin, `size` the length of the file, both in bytes.
///
/// # Errors
/// What breaks the format, with the tensor that does.
pub(super) fn read(text: &[u8], data: u64, size: u64) -> Result<Header, String> {
    match text.first() {
        Some(b'{') => {}
        Some(0xef) => return Err("a byte order mark stands before its header, which begins with {".into()),
        Some(b'[') => return Err("its header is a list and no object".into()),
        _ => return Err("its header does not begin with {".into()),
    }
    if let Err(error) = std::str::from_utf8(text) {
        return Err(format!("its header is no UTF-8 from byte {} on", error.valid_up_to()));
    }
    if text.ends_with(&[0]) {
        return Err("its header is filled up with zero bytes; the format fills up with spaces".into());
    }
    let Listed(all) = serde_json::from_slice(text).map_err(|error| format!("its header cannot be read ({error})"))?;
    let mut tensors = Vec::with_capacity(all.len());
    let mut has_metadata = false;
    for (name, value) in &all {
        if name == "__metadata__" {
            has_metadata = true;
            let texts = value.as_object().ok_or("its metadata are no object of texts")?;
            if let Some((key, _)) = texts.iter().find(|(_, value)| !value.is_string()) {
                return Err(format!("its metadata hold something that is no text (“{}”)", shown(key)));
            }
        } else {
            tensors.push(tensor(name, value, data)?);
        }
    }
    let mut names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("the name “{}” stands twice in its header", shown(twice[0])));
    }
    // Without a stable order empty tensors would change places.
    tensors.ordered_by_key(&|tensor| (tensor.start, tensor.start + tensor.bytes));
    placed(&tensors, data, size)?;
    Ok(Header { tensors, has_metadata })
}

/// That tensors lie one after the other, up to the end of the file.
fn placed(tensors: &[TensorEntry], data: u64, size: u64) -> Result<(), String> {
    let mut end = data;
    let mut last: Option<&TensorEntry> = None;
    for tensor in tensors {
        let before = last.map_or_else(|| "its header".to_owned(), |last| format!("“{}”", last.label()));
        if tensor.start < end {
            return Err(format!("“{}” begins within {before}", tensor.label()));
        }
        if tensor.start > end {
            let gap = bytes(tensor.start - end);
            return Err(format!(
                "{gap} lie between {before} and “{}”, which the format does not allow",
                tensor.label()
            ));
        }
        end += tensor.bytes;
        last = Some(tensor);
    }
    if end > size {
        let (wanted, there) = (count(end), count(size));
        return Err(format!(
            "it is cut short: its header speaks of {wanted} bytes, and it has {there}; download it again"
        ));
    }
    if end < size {
        let verb = if size - end == 1 { "follows" } else { "follow" };
        return Err(format!("{} {verb} its last tensor", bytes(size - end)));
    }
    Ok(())
}

/// `1 byte`, `2 bytes`.
pub fn bytes(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "byte" } else { "bytes" })
}

fn tensor(name: &str, value: &Value, data: u64) -> Result<TensorEntry, String> {
    let named = |why: &str| format!("tensor “{}” {why}", shown(name));
    let field = |field: &str| value.get(field).ok_or_else(|| named(&format!("has no {field}")));
    let dtype = field("dtype")?.as_str().ok_or_else(|| named("has a dtype that is no text"))?;
    let Some((_, bits)) = TYPES.iter().find(|(known, _)| *known == dtype) else {
        return Err(named(&format!(
            "is of the unknown type {}; the format writes F32, F16, BF16 and others",
            shown(dtype)
        )));
    };
    let numbers = |field_name: &str| {
        let list = field(field_name)?.as_array().ok_or_else(|| named(&format!("has {field_name} that are no list")))?;
        list.iter()
            .map(|number| match (number.as_u64(), number.as_f64()) {
                (Some(number), _) => Ok(number),
                (None, Some(below)) if below < 0.0 && field_name == "shape" => Err(named("has a negative dimension")),
                (None, Some(below)) if below < 0.0 => Err(named("has a negative offset")),
                _ => Err(named(&format!("has {field_name} that are no whole numbers"))),
            })
            .collect::<Result<Vec<u64>, String>>()
    };
    let shape = numbers("shape")?;
    let offsets = numbers("data_offsets")?;
    let [from, to] = offsets[..] else { return Err(named("needs two data_offsets, its begin and its end")) };
    if to < from {
        return Err(named("ends before it begins"));
    }
    let all =
        if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1_u64, |all, size| all.checked_mul(*size)) };
    let Some(all_bits) = all.and_then(|all| all.checked_mul(*bits)) else {
        return Err(named("has a shape of more numbers than any file holds"));
    };
    if all_bits % 8 != 0 {
        return Err(named(&format!("has {} numbers of {bits} bits, which fill no whole byte", count(all_bits / bits))));
    }
    if all_bits / 8 != to - from {
        return Err(named(&format!("should take {} and has {}", bytes(all_bits / 8), count(to - from))));
    }
    let (Some(start), Some(_)) = (data.checked_add(from), data.checked_add(to)) else {
        return Err(named("lies beyond the end of any file"));
    };
    Ok(TensorEntry {
        name: name.to_owned(),
        // A dimension beyond 32 bits is that of an empty tensor, or of a file that is cut short.
        shape: shape.into_iter().map(|size| usize::try_from(size).unwrap_or(usize::MAX)).collect(),
        dtype: dtype.to_owned(),
        bytes: to - from,
        float: Float::of(dtype),
        start,
    })
}
