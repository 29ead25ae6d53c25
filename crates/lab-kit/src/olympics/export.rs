//! An entry of the language model as a safetensors file, to be run elsewhere: by `crates/tiny-run`, or by any tool.
//!
//! [`packed`] writes what the entry's size is counted of: for each coded matrix its codes, `NAME.codes` (`U8`, packed row by row) or
//! `NAME.huffman` (`U8`, a [stream](super::encode)), and `NAME.scales` (`F16`, `[rows, groups]`); everything else as `F32`. [`halves`]
//! writes the weights that the codes stand for as `F16`, under the names that Hugging Face's tools know. In both, notes tell sizes,
//! grids, steps and the tokenizer. [`read`] is the way back.

use std::collections::{BTreeMap, HashMap};

use half::f16;
use lab_api::LabError;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::{CodedMatrix, EntrySizes, ScoredEntry, StoredWeights, decode, encode, parse_line};
use crate::{
    data::hex,
    models::TransformerConfig,
    quant::{pack, packed_len, unpack_into},
};

/// What such a file says of itself; `crates/tiny-run` reads no other.
pub const EXPORT_FORMAT: &str = "efficient-ai tiny-run 1";

/// A tensor to be written: how its numbers are stored, its shape, its bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// The file that the entry's bytes are counted of: packed codes, or Huffman streams where its steps say so.
///
/// # Errors
/// [`LabError::Refused`] for the classifier, which the exported program does not run.
pub fn packed(entry: &ScoredEntry, tokenizer: &[u8]) -> Result<Vec<u8>, LabError> {
    let mut notes = notes(entry, tokenizer)?;
    let (mut tensors, mut grids) = (BTreeMap::new(), Vec::new());
    for (name, weight) in entry.stored.state.iter() {
        let Some(matrix) = entry.stored.coded.get(name) else {
            let bytes = weight.values.iter().flat_map(|w| w.to_le_bytes()).collect();
            tensors.insert(name.to_owned(), (Dtype::F32, weight.shape.clone(), bytes));
            continue;
        };
        let group = if matrix.group >= matrix.columns { 0 } else { matrix.group };
        grids.push((name, matrix.bits.to_string(), group.to_string()));
        let codes: Tensor = if entry.entropy() {
            let stream = encode(&matrix.codes, matrix.bits);
            (Dtype::U8, vec![stream.len()], stream)
        } else {
            let rows = matrix.codes.chunks(matrix.columns).flat_map(|row| pack(row, matrix.bits)).collect();
            (Dtype::U8, vec![matrix.rows, packed_len(matrix.columns, matrix.bits)], rows)
        };
        tensors.insert(format!("{name}.{}", if entry.entropy() { "huffman" } else { "codes" }), codes);
        let scales = matrix.scales.iter().flat_map(|scale| f16::from_f32(*scale).to_le_bytes()).collect();
        let shape = vec![matrix.rows, matrix.columns.div_ceil(matrix.group)];
        tensors.insert(format!("{name}.scales"), (Dtype::F16, shape, scales));
    }
    // What most matrices have in common is said once.
    if let Some((_, bits, group)) = grids.first().cloned() {
        for (name, other_bits, other_group) in &grids {
            if (other_bits, other_group) != (&bits, &group) {
                notes.insert(format!("{name}.bits"), other_bits.clone());
                notes.insert(format!("{name}.group"), other_group.clone());
            }
        }
        notes.insert("bits".to_owned(), bits);
        notes.insert("group".to_owned(), group);
    }
    Ok(file(&notes, &tensors))
}

/// The same weights as halves, every matrix whole: what any tool loads.
///
/// # Errors
/// As [`packed`], and for a weight that half precision cannot hold.
pub fn halves(entry: &ScoredEntry, tokenizer: &[u8]) -> Result<Vec<u8>, LabError> {
    let notes = notes(entry, tokenizer)?;
    let mut tensors = BTreeMap::new();
    for (name, weight) in entry.stored.state.iter().filter(|(name, _)| !name.ends_with(".down")) {
        let (mut shape, mut values) = (weight.shape.clone(), weight.values.clone());
        let down = name.strip_suffix(".weight").and_then(|name| entry.stored.state.get(&format!("{name}.down")));
        if let (Some(down), [outputs, rank]) = (down, shape.as_slice()) {
            let inputs = down.values.len() / (*rank).max(1);
            values = product(&values, &down.values, *rank, inputs);
            shape = vec![*outputs, inputs];
        }
        if let Some(bad) = values.iter().find(|w| !f16::from_f32(**w).is_finite()) {
            return Err(LabError::Refused { why: format!("tensor “{name}” holds {bad}, which FP16 cannot store") });
        }
        let bytes = values.iter().flat_map(|w| f16::from_f32(*w).to_le_bytes()).collect();
        tensors.insert(name.to_owned(), (Dtype::F16, shape, bytes));
    }
    Ok(file(&notes, &tensors))
}

/// `[rows, rank] · [rank, columns]`.
fn product(a: &[f32], b: &[f32], rank: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; a.len() / rank.max(1) * columns];
    for (a, out) in a.chunks(rank.max(1)).zip(out.chunks_mut(columns.max(1))) {
        for (a, b) in a.iter().zip(b.chunks(columns.max(1))) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    out
}

/// What both forms say.
fn notes(entry: &ScoredEntry, tokenizer: &[u8]) -> Result<BTreeMap<String, String>, LabError> {
    let EntrySizes::Language(config) = &entry.sizes else {
        let why = "the exported program writes text: take subject=language, not the classifier".to_owned();
        return Err(LabError::Refused { why });
    };
    let config = serde_json::to_string(config).map_err(|error| LabError::Engine { why: error.to_string() })?;
    Ok([
        ("format", EXPORT_FORMAT.to_owned()),
        ("config", config),
        ("scheme", "symmetric".to_owned()),
        ("steps", entry.line()),
        ("weights_sha256", entry.stored.fingerprint()),
        ("tokenizer_sha256", hex(&Sha256::digest(tokenizer))),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into())
}

/// A safetensors file, the same bytes for the same tensors: the crate's own writer keeps notes in a hash map, whose order is chance.
fn file(notes: &BTreeMap<String, String>, tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::json!(notes));
    let mut data = Vec::new();
    // Wide numbers first, so that each lies at a multiple of its size.
    for wanted in [Dtype::F32, Dtype::F16, Dtype::U8] {
        for (name, (dtype, shape, bytes)) in tensors.iter().filter(|(_, (dtype, ..))| *dtype == wanted) {
            let offsets = [data.len(), data.len() + bytes.len()];
            let entry = serde_json::json!({ "dtype": format!("{dtype:?}"), "shape": shape, "data_offsets": offsets });
            header.insert(name.clone(), entry);
            data.extend_from_slice(bytes);
        }
    }
    let mut text = serde_json::Value::Object(header).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &data].concat()
}

/// The entry that a file of either form holds. `source` names it, for errors.
///
/// # Errors
/// [`LabError::Asset`] when the file is damaged, is none of ours, or its weights are not those that its notes tell.
pub fn read(source: &str, bytes: &[u8]) -> Result<ScoredEntry, LabError> {
    let fail = |why: String| LabError::Asset { name: source.to_owned(), why };
    let whole = |error: safetensors::SafeTensorError| fail(format!("it is no whole safetensors file ({error})"));
    let notes: HashMap<String, String> =
        SafeTensors::read_metadata(bytes).map_err(whole)?.1.metadata().clone().unwrap_or_default();
    let tensors = SafeTensors::deserialize(bytes).map_err(whole)?;
    let note = |key: &str| {
        notes.get(key).ok_or_else(|| fail(format!("it has no note “{key}”: it was not exported by this book")))
    };
    if note("format")? != EXPORT_FORMAT {
        return Err(fail(format!("its format is “{}”, not “{EXPORT_FORMAT}”", note("format")?)));
    }
    let config: TransformerConfig =
        serde_json::from_str(note("config")?).map_err(|error| fail(format!("its note “config”: {error}")))?;
    config.check()?;
    let mut stored = StoredWeights::default();
    let mut names: Vec<&str> = tensors.names();
    names.sort_unstable();
    let floats = |name: &str| -> Result<(Vec<usize>, Vec<f32>), LabError> {
        let view = tensors.tensor(name).map_err(|_| fail(format!("it lacks the tensor “{name}”")))?;
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => view.data().as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            other => return Err(fail(format!("tensor “{name}” holds {other:?}, not floats"))),
        };
        match values.iter().find(|w| !w.is_finite()) {
            Some(bad) => Err(fail(format!("tensor “{name}” holds {bad}"))),
            None => Ok((view.shape().to_vec(), values)),
        }
    };
    for full in names {
        if full.ends_with(".scales") {
            continue;
        }
        let coded = full.strip_suffix(".codes").or_else(|| full.strip_suffix(".huffman"));
        let Some(name) = coded else {
            let (shape, values) = floats(full)?;
            stored.state.insert(full, &shape, values)?;
            continue;
        };
        let wrong = |why: &str| fail(format!("tensor “{full}” {why}"));
        let grid = |part: &str| -> Result<usize, LabError> {
            let text = notes.get(&format!("{name}.{part}")).map_or_else(|| note(part), Ok)?;
            text.parse().map_err(|_| fail(format!("its note “{part}” is “{text}”, no whole number")))
        };
        let (bits, group) = (u32::try_from(grid("bits")?).unwrap_or_default(), grid("group")?);
        if !(2..=8).contains(&bits) {
            return Err(fail(format!("its note “bits” is {bits}, and 2 to 8 can be read")));
        }
        let (rows, columns) =
            size(&config, name, &tensors).ok_or_else(|| wrong("belongs to no matrix of the model"))?;
        let group = if group == 0 { columns } else { group.min(columns) };
        let (shape, scales) = floats(&format!("{name}.scales"))?;
        if shape != [rows, columns.div_ceil(group)] {
            return Err(fail(format!(
                "“{name}.scales” has shape {shape:?}, not {:?}",
                [rows, columns.div_ceil(group)]
            )));
        }
        let view = tensors.tensor(full).map_err(whole)?;
        let stride = packed_len(columns, bits);
        let codes = if full.ends_with(".huffman") {
            decode(view.data(), bits, rows * columns).map_err(|error| wrong(&format!("({error})")))?
        } else if view.dtype() == Dtype::U8 && view.shape() == [rows, stride] {
            let mut codes = vec![0; rows * columns];
            let pairs = codes.chunks_mut(columns).zip(view.data().chunks(stride));
            pairs.for_each(|(codes, bytes)| unpack_into(bytes, bits, 0, codes));
            codes
        } else {
            return Err(wrong(&format!("has shape {:?}, not {:?}", view.shape(), [rows, stride])));
        };
        let matrix = CodedMatrix { rows, columns, bits, group, codes, scales };
        stored.state.insert(name, &[rows, columns], matrix.values())?;
        stored.coded.insert(name.to_owned(), matrix);
    }
    let steps = parse_line(note("steps")?)?;
    // Of halves the notes tell what they were rounded from.
    if !stored.coded.is_empty() && *note("weights_sha256")? != stored.fingerprint() {
        return Err(fail("its weights are not those that its notes tell: it was damaged or changed".to_owned()));
    }
    Ok(ScoredEntry { sizes: EntrySizes::Language(config), stored, steps })
}

/// Rows and columns of a matrix of the model; of two factors the rank is what the file's scales say.
fn size(config: &TransformerConfig, name: &str, tensors: &SafeTensors) -> Option<(usize, usize)> {
    let rows = |name: &str| tensors.tensor(name).ok().and_then(|view| view.shape().first().copied());
    let whole = name.strip_suffix(".down").map_or_else(|| name.to_owned(), |name| format!("{name}.weight"));
    let (_, shape) = config.shapes().into_iter().find(|(known, _)| *known == whole)?;
    let &[outputs, inputs] = shape.as_slice() else { return None };
    let down = format!("{}.down", whole.strip_suffix(".weight")?);
    let rank = rows(&down).or_else(|| rows(&format!("{down}.scales")));
    Some(match (rank, name.ends_with(".down")) {
        (Some(rank), true) => (rank, inputs),
        (Some(rank), false) => (outputs, rank),
        (None, _) => (outputs, inputs),
    })
}
