//! What was recorded of every network of the space, once: a table to look up instead of training.

use lab_api::LabError;
use lab_layers::cells::CellCode;

use crate::Context;

/// The recorded table.
pub const CELL_TABLE: &str = "cells/table.bin";
/// Steps of the trainings that were recorded, each with a schedule of its own.
pub const TABLE_STEPS: [usize; 2] = [44, 174];
/// Seeds of the trainings of so many steps, counted from 0.
pub const TABLE_SEEDS: [usize; 2] = [1, 2];
/// How the file begins.
const MAGIC: &[u8; 8] = b"cells 1\n";
/// Counts of a network: right answers on the images that choose, for each length and seed; then those that judge, of the
/// first seed of the longest.
const COUNTS: usize = TABLE_SEEDS[0] + TABLE_SEEDS[1] + 1;

/// A network with what its trainings came to.
#[derive(Debug, Clone, PartialEq)]
pub struct CellEntry {
    /// Which one; canonical.
    pub code: CellCode,
    /// Right answers in per cent on the families that choose: for each of [`TABLE_STEPS`], one for each seed.
    pub chosen: [Vec<f64>; 2],
    /// The same on unseen families, after the longest training with the first seed.
    pub judged: f64,
}

/// All different networks, in the order of [`CellCode::distinct`].
#[derive(Debug, Clone, PartialEq)]
pub struct CellTable {
    /// The networks.
    pub entries: Vec<CellEntry>,
    /// Images that choose, and images that judge.
    pub images: [usize; 2],
}

impl CellTable {
    /// The recorded one.
    ///
    /// # Errors
    /// [`LabError::Asset`] where the file is another one.
    pub async fn load(cx: &Context) -> Result<Self, LabError> {
        Self::read(&cx.asset(CELL_TABLE).await?)
    }

    /// Of the bytes of the file.
    ///
    /// # Errors
    /// [`LabError::Asset`] where the file is another one.
    pub fn read(bytes: &[u8]) -> Result<Self, LabError> {
        let wrong = |why: &str| LabError::Asset { name: CELL_TABLE.into(), why: why.into() };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| wrong("it does not begin as a table of networks of this edition"))?;
        let numbers: Vec<u16> = rest.as_chunks::<2>().0.iter().map(|two| u16::from_le_bytes(*two)).collect();
        let codes = CellCode::distinct();
        if numbers.len() != 2 + codes.len() * COUNTS || rest.len() % 2 > 0 {
            return Err(wrong("it holds another number of networks than the space"));
        }
        let images = [usize::from(numbers[0]), usize::from(numbers[1])];
        let mut rows = numbers[2..].iter();
        let mut entries = Vec::with_capacity(codes.len());
        for code in codes {
            let mut some = |count: usize, of: usize| -> Result<Vec<f64>, LabError> {
                let row: Vec<usize> = rows.by_ref().take(count).map(|right| usize::from(*right)).collect();
                if row.iter().any(|right| *right > of) {
                    return Err(wrong("a network is right more often than there are images"));
                }
                Ok(row.into_iter().map(|right| 100.0 * right as f64 / of.max(1) as f64).collect())
            };
            let mut chosen: [Vec<f64>; 2] = Default::default();
            for (seeds, to) in TABLE_SEEDS.into_iter().zip(&mut chosen) {
                *to = some(seeds, images[0])?;
            }
            let judged = some(1, images[1])?[0];
            entries.push(CellEntry { code, chosen, judged });
        }
        Ok(Self { entries, images })
    }

    /// The entry of a network, whichever of its codes is asked for.
    #[must_use]
    pub fn entry(&self, code: CellCode) -> Option<&CellEntry> {
        let canonical = code.canonical();
        let at = self.entries.binary_search_by_key(&canonical.index(), |entry| entry.code.index());
        at.ok().map(|at| &self.entries[at])
    }

    /// The bytes of a file: `counts` are those of each network, as they stand in it.
    #[cfg(any(test, feature = "schema"))]
    #[must_use]
    pub fn write(images: [usize; 2], counts: &[Vec<usize>]) -> Vec<u8> {
        let numbers = images.iter().chain(counts.iter().flatten());
        MAGIC.iter().copied().chain(numbers.flat_map(|number| (*number as u16).to_le_bytes())).collect()
    }

    /// Trains a network as the table has it, and gives its counts.
    #[cfg(any(test, feature = "schema"))]
    #[must_use]
    pub fn counts(code: CellCode, images: &[crate::data::Images; 3]) -> Vec<usize> {
        use super::{CellNet, CellTraining};
        let net = CellNet { code, residual: true, classes: images[0].class_count() };
        let (mut counts, mut judged) = (Vec::new(), 0);
        for (at, steps) in TABLE_STEPS.into_iter().enumerate() {
            for seed in 0..TABLE_SEEDS[at] {
                let mut training = CellTraining::new(net, steps, images[0].len(), seed as u64);
                (0..steps).for_each(|_| training.step(&images[0]));
                let right = |images: &crate::data::Images| {
                    (training.right(images) / 100.0 * images.len() as f64).round() as usize
                };
                counts.push(right(&images[1]));
                if at == 1 && seed == 0 {
                    judged = right(&images[2]);
                }
            }
        }
        counts.push(judged);
        counts
    }
}
