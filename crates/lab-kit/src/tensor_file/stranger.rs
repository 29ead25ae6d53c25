//! What people take for a file of weights, and what to do about it.

use super::header::{bytes, count};

/// What a file is that is no safetensors file, told from its first bytes (512 suffice, an index of parts wants more).
pub(super) fn recognize(start: &[u8], size: u64) -> Option<String> {
    let text = String::from_utf8_lossy(start);
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    let lower: String = trimmed.chars().take(64).collect::<String>().to_ascii_lowercase();
    if size == 0 {
        return Some("it is empty (0 bytes) and so no safetensors file: did the download not finish?".into());
    }
    if text.starts_with("version https://git-lfs") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
        let of = size.map_or_else(String::new, |size: u64| format!(" to a file of {}", bytes(size)));
        return Some(format!("it is a Git LFS pointer{of}: run `git lfs pull`, or download the file itself"));
    }
    if ["<!doctype", "<html", "<head", "<?xml", "<!--"].iter().any(|tag| lower.starts_with(tag)) {
        return Some(
            "it is a web page and no safetensors file: is the model gated, and are you signed in there?".into(),
        );
    }
    let known: [(&[u8], &str); 19] = [
        (b"GGUF", "it is a GGUF file (llama.cpp); this lab reads safetensors"),
        (b"lmgg", "it is a GGML file (llama.cpp); this lab reads safetensors"),
        (
            b"PK\x03\x04",
            "it is a zip archive, perhaps a PyTorch checkpoint (.bin, .pt): save the weights as safetensors (safetensors.torch.save_file)",
        ),
        (
            b"\x80\x02",
            "it is a pickle, perhaps an old PyTorch checkpoint: save the weights as safetensors (safetensors.torch.save_file)",
        ),
        (b"\x80\x03", "it is a pickle, perhaps a checkpoint of Python: save the weights as safetensors"),
        (b"\x80\x04", "it is a pickle, perhaps a checkpoint of Python: save the weights as safetensors"),
        (b"\x80\x05", "it is a pickle, perhaps a checkpoint of Python: save the weights as safetensors"),
        (b"\x89HDF", "it is an HDF5 file (Keras): save the weights as safetensors"),
        (b"\x93NUMPY", "it is a NumPy array: save it as safetensors (safetensors.numpy.save_file)"),
        (b"\x1f\x8b", "it is compressed (gzip): unpack it first"),
        (b"\x28\xb5\x2f\xfd", "it is compressed (zstd): unpack it first"),
        (b"Rar!", "it is a RAR archive: unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive: unpack it first"),
        (b"\xfd7zXZ", "it is compressed (xz): unpack it first"),
        (b"BZh", "it is compressed (bzip2): unpack it first"),
        (b"%PDF", "it is a PDF document and no weights"),
        (b"\x89PNG", "it is a picture and no weights"),
        (b"/annex/objects/", "it is a git-annex pointer: run `git annex get`, or download the file itself"),
        (b"# xet version", "it is a Xet pointer: download the file itself"),
    ];
    if let Some((_, words)) = known.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some((*words).into());
    }
    if start.get(4..8) == Some(b"TFL3") {
        return Some("it is a TensorFlow Lite model; this lab reads safetensors".into());
    }
    if start.get(257..262) == Some(b"ustar") {
        return Some("it is a tar archive: unpack it first".into());
    }
    // A length of eight letters is one that no file has: what a server said in place of the file.
    if start.len() >= 16
        && start.iter().take(64).all(|byte| byte.is_ascii_graphic() || b" \t\r\n".contains(byte))
        && !trimmed.starts_with('{')
    {
        let words: String = trimmed.lines().next().unwrap_or_default().chars().take(60).collect();
        return Some(format!(
            "it is text and no weights (“{words}”): is the model gated, and are you signed in there?"
        ));
    }
    if trimmed.starts_with('{') {
        let part = text.split('"').find(|word| word.ends_with(".safetensors"));
        return Some(match part {
            Some(part) => format!("it is the index of a model in parts: choose one of them, such as {part}"),
            None => "it is JSON text and no weights: choose the .safetensors file beside it".into(),
        });
    }
    (size < 10).then(|| format!("{}: too short for a safetensors file", bytes(size)))
}

/// Why a length of the header cannot be.
pub(super) fn bad_length(prefix: [u8; 8], after: Option<u8>, size: u64, limit: u64) -> String {
    let (length, swapped) = (u64::from_le_bytes(prefix), u64::from_be_bytes(prefix));
    if after == Some(b'{') && swapped <= limit && swapped <= size {
        return "the length of its header is written in big-endian order; the format wants little-endian".into();
    }
    if length <= limit && after == Some(b'{') {
        return format!(
            "it is cut short within its header, which would take {} of the {} that are there; download it again",
            bytes(length),
            bytes(size)
        );
    }
    if length <= limit && after != Some(b'{') {
        return "it is no safetensors file: it does not begin with a header".into();
    }
    let no_header = if after == Some(b'{') { "" } else { "it does not begin with a header: " };
    format!(
        "it is no safetensors file: {no_header}its header would be {} long, and the format allows {}",
        bytes(length),
        count(limit)
    )
}
