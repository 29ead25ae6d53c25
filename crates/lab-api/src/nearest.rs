//! "Did you mean": every error that names an unknown thing also names the nearest known one.

/// The candidate nearest to `word`, if one is near enough to be a plausible slip of the keyboard. Case counts for nothing (names
/// here are ASCII; the tables for other scripts would weigh in the page's WASM).
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_a_slip_and_refuses_a_stranger() {
        let labs = ["quantization", "pruning", "kv-cache"];
        assert_eq!(nearest("quantisation", labs), Some("quantization"));
        assert_eq!(nearest("prunning", labs), Some("pruning"));
        assert_eq!(nearest("zzz", labs), None);
    }
}
