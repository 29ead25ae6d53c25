//! Errors, bytes and times of the ways.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    attention::{
        Blocks, Head, Inputs, Sight, Traffic, exact, exact_gradients, one_table, recomputed, saved, split, tiled,
    },
    measure::{in_turns, peak_bytes},
    stats::median,
};

use super::ways::{Case, Setting, Way};

/// Queries that are compared with the formula.
const COMPARED: usize = 64;
/// Tokens at most over which gradients are compared.
const DIFFERENTIATED: usize = 128;
/// Rows of tiles in the charts.
pub(super) const ROWS: [usize; 6] = [8, 16, 32, 64, 128, 256];
/// Keys of tiles in the chart of times.
pub(super) const COLUMNS: [usize; 3] = [16, 64, 256];
/// Pieces that the keys of a single query are dealt into.
pub(super) const PIECES: usize = 8;

/// The length and its halves, shortest first.
pub(super) fn lengths(tokens: usize) -> Vec<usize> {
    let mut all: Vec<usize> = std::iter::successors(Some(tokens), |t| Some(t / 2)).take_while(|t| *t >= 16).collect();
    all.truncate(6);
    all.reverse();
    all
}

/// Distances from the formula in double precision.
pub(super) struct Errors {
    /// Of each way; the window's is what it leaves out.
    pub(super) of: [f64; 6],
    /// Of the gradients with weights made again and with weights kept, over the largest gradient.
    pub(super) gradient: [f64; 2],
}

/// The largest distance; a NaN is infinitely far.
pub(super) fn apart(found: impl Iterator<Item = f32>, expected: &[f64]) -> f64 {
    let distance = |(found, expected): (f32, &f64)| {
        let off = (f64::from(found) - expected).abs();
        if off.is_nan() { f64::INFINITY } else { off }
    };
    found.zip(expected).map(distance).fold(0.0, f64::max)
}

pub(super) async fn errors(case: &Case, cx: &Context) -> Result<Errors, LabError> {
    let (head, d) = (case.head, case.head.channels);
    let step = head.queries.div_ceil(COMPARED);
    let rows: Vec<usize> = (0..head.queries).rev().step_by(step).collect();
    let expected = exact(case.inputs(), head, case.setting.sight(), &rows);
    let mut of = [0.0; 6];
    for (of, way) in of.iter_mut().zip(Way::ALL) {
        cx.checkpoint().await?;
        let found = way.run(case).values;
        *of = apart(rows.iter().flat_map(|i| found[i * d..(i + 1) * d].iter().copied()), &expected.output);
    }
    let short = Case::draw(head.queries.min(DIFFERENTIATED), &case.setting, cx);
    let (inputs, head, sight) = (short.inputs(), short.head, short.setting.sight());
    let expected = exact_gradients(inputs, head, sight, &short.d_output);
    let gradient = [
        recomputed(inputs, head, sight, short.setting.blocks(), &short.d_output).1,
        saved(inputs, head, sight, &short.d_output).1,
    ]
    .map(|found| {
        let largest = expected.iter().flatten().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let off = [found.q, found.k, found.v].into_iter().zip(&expected).map(|(f, e)| apart(f.into_iter(), e));
        off.fold(0.0, f64::max) / largest
    });
    Ok(Errors { of, gradient })
}

/// The most bytes that each way held at once beyond its inputs, for each length; empty where the host does not count.
pub(super) async fn peaks(
    lengths: &[usize],
    setting: &Setting,
    cx: &Context,
) -> Result<Vec<(usize, [f64; 6])>, LabError> {
    let mut all = Vec::new();
    for tokens in lengths {
        let case = Case::draw(*tokens, setting, cx);
        let mut of = [0.0; 6];
        for (of, way) in of.iter_mut().zip(Way::ALL) {
            cx.checkpoint().await?;
            let (output, peak) = peak_bytes(cx, async || Ok(way.run(&case))).await?;
            black_box(output);
            let Some(peak) = peak else { return Ok(Vec::new()) };
            *of = peak as f64;
        }
        all.push((*tokens, of));
    }
    Ok(all)
}

/// Bytes between slow and fast memory, counted: of one table, of the tiles that are set, and of tiles of [`ROWS`].
pub(super) struct Moved {
    pub(super) table: f64,
    pub(super) tiles: f64,
    pub(super) by_rows: Vec<f64>,
}

pub(super) async fn traffic(case: &Case, cx: &Context) -> Result<Moved, LabError> {
    let count = |blocks: Option<Blocks>| {
        let (mut traffic, sight) = (Traffic::default(), case.setting.sight());
        black_box(match blocks {
            Some(blocks) => tiled(case.inputs(), case.head, sight, blocks, &mut traffic),
            None => one_table(case.inputs(), case.head, sight, &mut traffic),
        });
        traffic.bytes() as f64
    };
    let blocks = case.setting.blocks();
    let mut moved = Moved { table: count(None), tiles: count(Some(blocks)), by_rows: vec![] };
    for rows in ROWS {
        cx.checkpoint().await?;
        moved.by_rows.push(count(Some(Blocks { rows, ..blocks })));
    }
    Ok(moved)
}

/// Milliseconds of each way at each length, one of each round.
pub(super) struct Times {
    pub(super) lengths: Vec<usize>,
    /// By length, then by way.
    cells: Vec<Vec<f64>>,
}

impl Times {
    pub(super) fn of(&self, way: Way, length: usize) -> &[f64] {
        let at = self.lengths.iter().position(|t| *t == length).unwrap_or(0) * Way::ALL.len();
        let way = Way::ALL.iter().position(|other| *other == way).unwrap_or(0);
        self.cells.get(at + way).map_or(&[], Vec::as_slice)
    }

    pub(super) fn longest(&self) -> usize {
        self.lengths.last().copied().unwrap_or(0)
    }

    /// Time of the first way over that of the second at the longest length, round by round.
    pub(super) fn ratios(&self, first: Way, second: Way) -> Vec<f64> {
        ratios(self.of(first, self.longest()), self.of(second, self.longest()))
    }

    pub(super) fn line(&self, way: Way) -> Vec<[f64; 2]> {
        self.lengths.iter().map(|t| [*t as f64, median(self.of(way, *t))]).collect()
    }
}

pub(super) fn ratios(first: &[f64], second: &[f64]) -> Vec<f64> {
    first.iter().zip(second).map(|(first, second)| first / second.max(1e-9)).collect()
}

pub(super) async fn times(
    lengths: &[usize],
    setting: &Setting,
    rounds: usize,
    cx: &Context,
) -> Result<Times, LabError> {
    let cases: Vec<Case> = lengths.iter().map(|tokens| Case::draw(*tokens, setting, cx)).collect();
    let ways = Way::ALL.len();
    let cells = in_turns(cx, cases.len() * ways, rounds, |i| {
        black_box(Way::ALL[i % ways].run(black_box(&cases[i / ways])));
    })
    .await?;
    Ok(Times { lengths: lengths.to_vec(), cells })
}

/// Median milliseconds of tiles: by columns, then by rows.
pub(super) async fn tiles(case: &Case, cx: &Context) -> Result<Vec<Vec<f64>>, LabError> {
    let samples = in_turns(cx, ROWS.len() * COLUMNS.len(), 5, |i| {
        let blocks = Blocks { rows: ROWS[i % ROWS.len()], columns: COLUMNS[i / ROWS.len()], skip: true };
        black_box(tiled(black_box(case.inputs()), case.head, case.setting.sight(), blocks, &mut Traffic::default()));
    })
    .await?;
    Ok(samples.chunks(ROWS.len()).map(|row| row.iter().map(|ms| median(ms)).collect()).collect())
}

/// Milliseconds of forward and backward, and the most bytes held: with weights kept, and with weights made again.
pub(super) struct Backward {
    pub(super) tokens: usize,
    pub(super) ms: Vec<Vec<f64>>,
    pub(super) peaks: [Option<usize>; 2],
}

pub(super) async fn backward(case: &Case, cx: &Context) -> Result<Backward, LabError> {
    let (head, sight, blocks) = (case.head, case.setting.sight(), case.setting.blocks());
    let run = |which: usize| {
        let inputs = black_box(case.inputs());
        match which {
            0 => saved(inputs, head, sight, &case.d_output),
            1 => recomputed(inputs, head, sight, blocks, &case.d_output),
            _ => recomputed(inputs, head, sight, Blocks { skip: false, ..blocks }, &case.d_output),
        }
    };
    let ms = in_turns(cx, 3, 5, |which| {
        black_box(run(which));
    })
    .await?;
    let kept = peak_bytes(cx, async || Ok(run(0))).await?.1;
    let again = peak_bytes(cx, async || Ok(run(1))).await?.1;
    Ok(Backward { tokens: head.queries, ms, peaks: [kept, again] })
}

/// One query against all keys, as when a token is written: with a row of scores, and in pieces that are merged.
pub(super) async fn decode(case: &Case, cx: &Context) -> Result<Vec<Vec<f64>>, LabError> {
    let Inputs { q, k, v } = case.inputs();
    let d = case.head.channels;
    let inputs = Inputs { q: &q[q.len() - d..], k, v };
    let head = Head { queries: 1, ..case.head };
    in_turns(cx, 2, 7, |which| {
        let inputs = black_box(inputs);
        black_box(match which {
            0 => one_table(inputs, head, Sight::CAUSAL, &mut Traffic::default()).values,
            _ => split(inputs, d, PIECES, case.setting.columns),
        });
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_halves_down_to_sixteen() {
        assert_eq!(lengths(1024), [32, 64, 128, 256, 512, 1024]);
        assert_eq!(lengths(37), [18, 37]);
    }
}
