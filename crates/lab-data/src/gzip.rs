//! Gzipped files, read with care: a reader's network may cut them, and a wrong one must not fill the memory.

use std::io::Read;

use flate2::read::GzDecoder;
use lab_api::LabError;

/// The content of the gzipped file `name`.
///
/// # Errors
/// [`LabError::Asset`] when it is no gzip, is cut off or altered, or holds more than `limit` bytes.
pub fn gunzip(name: &str, gzip: &[u8], limit: usize) -> Result<Vec<u8>, LabError> {
    let fail = |why: String| LabError::Asset { name: name.into(), why };
    let mut content = Vec::new();
    let mut decoder = GzDecoder::new(gzip).take(limit as u64 + 1);
    decoder.read_to_end(&mut content).map_err(|error| fail(format!("it is not a whole gzip file ({error})")))?;
    if content.len() > limit {
        return Err(fail(format!("it unpacks to more than {limit} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::gunzip;

    #[test]
    fn what_is_cut_altered_too_large_or_no_gzip_is_refused() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&[7; 1000]).expect("in memory");
        let whole = encoder.finish().expect("in memory");
        assert_eq!(gunzip("a", &whole, 1000).expect("whole"), [7; 1000]);
        assert!(gunzip("a", &whole, 999).expect_err("too large").to_string().contains("more than 999 bytes"));
        for end in 0..whole.len() {
            assert!(gunzip("a", &whole[..end], 1000).is_err(), "cut at {end}");
        }
        let mut altered = whole.clone();
        let checksum = altered.len() - 8;
        altered[checksum] ^= 1;
        assert!(gunzip("a", &altered, 1000).is_err());
        assert!(gunzip("a", b"plain text", 1000).expect_err("no gzip").to_string().contains("“a”"));
    }
}
