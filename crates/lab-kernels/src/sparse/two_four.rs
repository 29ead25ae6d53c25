//! Two of every four: the pattern that tensor cores know (Mishra et al., 2021, arXiv:2104.08378).

use lab_api::LabError;

use super::{Format, narrow, strip::along_batch};

// ANCHOR: two_four
/// Of every four neighbours in a row two values, and two bits for the place of each: a byte holds the places of two groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed24 {
    width: usize,
    /// `[rows, columns / 2]`.
    values: Vec<f32>,
    /// `[rows, columns / 8]`, rounded up.
    places: Vec<u8>,
}

impl Packed24 {
    /// Packs `weights` `[rows, columns]`; a group with fewer than two weights stores a zero.
    ///
    /// # Errors
    /// [`LabError::Refused`] for a width that is no multiple of 4, and for a group with more than two weights.
    pub fn new(weights: &[f32], columns: usize) -> Result<Self, LabError> {
        narrow(columns)?;
        if !columns.is_multiple_of(4) {
            let why = format!("a pattern of 2 in 4 needs a width that 4 divides, not {columns}");
            return Err(LabError::Refused { why });
        }
        let mut packed = Self { width: columns, values: Vec::new(), places: Vec::new() };
        for (row, weights) in weights.chunks_exact(columns).enumerate() {
            for (eighth, pair) in weights.chunks(8).enumerate() {
                let mut byte = 0;
                for (half, group) in pair.chunks_exact(4).enumerate() {
                    let mut kept: Vec<usize> = (0..4).filter(|i| group[*i] != 0.0).collect();
                    if kept.len() > 2 {
                        let at = 8 * eighth + 4 * half;
                        let why = format!("row {row} has {} weights in the four from column {at}, not two", kept.len());
                        return Err(LabError::Refused { why });
                    }
                    // Places that are not needed: any other two will do, in order.
                    let spare = (0..4).filter(|i| group[*i] == 0.0).take(2 - kept.len());
                    kept.extend(spare);
                    kept.sort_unstable();
                    for (slot, place) in kept.into_iter().enumerate() {
                        packed.values.push(group[place]);
                        byte |= (place as u8) << (4 * half + 2 * slot);
                    }
                }
                packed.places.push(byte);
            }
        }
        Ok(packed)
    }

    /// Column of value `i` of a row, from the row's places.
    #[inline(always)]
    fn column(places: &[u8], i: usize) -> usize {
        4 * (i / 2) + usize::from(places[i / 4] >> (2 * (i % 4)) & 3)
    }
}
// ANCHOR_END: two_four

impl Format for Packed24 {
    fn multiply(&self, x: &[f32], y: &mut [f32], n: usize) {
        let rows = self.values.chunks_exact(self.width / 2).zip(self.places.chunks_exact(self.width.div_ceil(8)));
        for ((values, places), y) in rows.zip(y.chunks_exact_mut(n)) {
            if n > 1 {
                let entries = values.iter().enumerate().map(|(i, w)| (*w, Self::column(places, i)));
                along_batch(entries, x, n, y);
                continue;
            }
            let mut sums = [0.0_f32; 4];
            let (four, rest) = values.as_chunks::<4>();
            for ((w, byte), x) in four.iter().zip(places).zip(x.as_chunks::<8>().0) {
                for i in 0..4 {
                    sums[i] += w[i] * x[4 * (i / 2) + usize::from(byte >> (2 * i) & 3)];
                }
            }
            let tail = (0..rest.len()).map(|i| rest[i] * x[Self::column(places, 4 * four.len() + i)]);
            y[0] = sums.iter().sum::<f32>() + tail.sum::<f32>();
        }
    }

    fn rows(&self) -> usize {
        self.values.len() / (self.width / 2)
    }

    fn columns(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice()) + self.places.len()
    }

    fn stored(&self) -> usize {
        self.values.len()
    }
}
