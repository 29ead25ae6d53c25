//! Sixteen questions behind one beginning, in blocks: what is reserved, what is filled, what is read again. Block tables of
//! real texts; no time is claimed.

use lab_api::{Cell, LabError, Table};
use lab_kit::cache::{Layout, Pool, Setting};

use super::source::Source;

/// Questions, tokens that they have in common, and the longest text that each might have become.
const QUESTIONS: usize = 16;
const SHARED: usize = 130;
const LONGEST: usize = 256;

/// Tokens that one block size reserves, fills with something of its own, and reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) reserved: usize,
    pub(super) filled: usize,
    pub(super) read: usize,
}

/// The texts: one beginning, and 8 to 98 tokens of their own.
pub(super) fn questions(source: &Source) -> Vec<Vec<u32>> {
    let common = &source.tokens[..SHARED];
    let own = |i: usize| &source.tokens[1000 + 100 * i..][..8 + 6 * i];
    (0..QUESTIONS).map(|i| [common, own(i)].concat()).collect()
}

/// All texts at once in blocks of this size.
pub(super) fn paged(texts: &[Vec<u32>], block: usize) -> Result<Use, LabError> {
    let mut pool = Pool::new(block, texts.len() * LONGEST.div_ceil(block));
    let mut reused = 0;
    for text in texts {
        reused += pool.admit(text)?.reused;
    }
    let tokens: usize = texts.iter().map(Vec::len).sum();
    Ok(Use { reserved: pool.used() * block, filled: tokens - reused, read: tokens - reused })
}

pub(super) fn table(source: &Source) -> Result<Table, LabError> {
    let texts = questions(source);
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let bytes = Layout::of(&source.config).bytes(1, &Setting::FULL) as f64;
    let row = |name: String, used: &Use| {
        vec![
            Cell::from(name),
            Cell::from(used.reserved as f64 * bytes),
            Cell::from(100.0 * used.filled as f64 / used.reserved as f64),
            Cell::from(used.read as f64),
        ]
    };
    let whole = Use { reserved: QUESTIONS * LONGEST, filled: tokens, read: tokens };
    let mut rows = vec![row("One stretch of 256 for each".into(), &whole)];
    for block in [64, 16, 4] {
        rows.push(row(format!("Blocks of {block}, beginning shared"), &paged(&texts, block)?));
    }
    let columns = ["Memory in", "Reserved (bytes)", "Filled (%)", "Tokens read"];
    Ok(Table {
        id: "paging".into(),
        title: "16 questions behind the same 130 tokens".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    })
}
