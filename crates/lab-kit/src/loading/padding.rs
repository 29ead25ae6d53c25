//! What collating rows of unequal lengths wastes.

/// Cells that are used and cells that there are, where rows of these lengths are padded to the longest of their batch. Sorted rows
/// (`bucketed`) stand beside rows of like length.
#[must_use]
pub fn padding(lengths: &[usize], batch: usize, bucketed: bool) -> (usize, usize) {
    let mut rows = lengths.to_vec();
    if bucketed {
        rows.sort_unstable();
    }
    let cells = rows.chunks(batch.max(1)).map(|rows| rows.len() * rows.iter().max().copied().unwrap_or(0)).sum();
    (lengths.iter().sum(), cells)
}

#[cfg(test)]
mod tests {
    use super::padding;

    #[test]
    fn four_rows_by_hand() {
        assert_eq!(padding(&[3, 9, 4, 16], 4, false), (32, 64));
        assert_eq!(padding(&[3, 9, 4, 16], 2, true), (32, 40));
        assert_eq!(padding(&[3, 9, 4, 16], 2, false), (32, 50));
        assert_eq!(padding(&[], 4, true), (0, 0));
    }
}
