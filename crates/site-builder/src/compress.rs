//! `.gz` and `.br` beside every text and WASM file, for hosts that serve them and for the budgets.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};

use crate::paths::files;

const EXTENSIONS: &[&str] = &["html", "css", "js", "json", "svg", "xml", "txt", "wasm", "csv"];
/// Smaller files fit into one packet anyway.
const MIN_BYTES: usize = 512;

/// Compresses what gains by it.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn compress(out: &Path) -> Result<()> {
    for file in files(out)? {
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !EXTENSIONS.contains(&extension) {
            continue;
        }
        let content = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if content.len() < MIN_BYTES {
            continue;
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&content)?;
        std::fs::write(file.with_extension(format!("{extension}.gz")), gzip.finish()?)?;
        // Level 11 takes minutes on a large engine; 9 is within 2 % of it.
        let quality = if content.len() > 1_000_000 { 9 } else { 11 };
        let mut br = Vec::new();
        let params = brotli::enc::BrotliEncoderParams { quality, ..Default::default() };
        brotli::BrotliCompress(&mut content.as_slice(), &mut br, &params)?;
        std::fs::write(file.with_extension(format!("{extension}.br")), br)?;
    }
    Ok(())
}
