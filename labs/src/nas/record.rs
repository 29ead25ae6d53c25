//! What was recorded of all networks, and scores of networks that nobody trained.

use lab_api::LabError;
use lab_kit::{
    Context,
    cells::{CellCode, CellProxies, CellTable, cell_proxies},
    data::Images,
    search::spearman,
};

use super::{net, some};

/// Networks that are scored untrained in a run.
pub(super) const POOL: usize = 48;

/// The table as searches see it.
pub(crate) struct Record {
    pub(super) table: CellTable,
    /// Mean errors in per cent after the longest training, in the table's order.
    pub(super) truth: Vec<f64>,
    /// Points by which one seed does better than the other on average over all networks: what changes no order.
    #[cfg(feature = "schema")]
    pub(super) shift: f64,
    /// Standard deviation of one training, in points, beside that: what the two seeds of each network say together.
    pub(super) noise: f64,
    /// For each of the 1,296 codes, its network's place in the table.
    pub(super) place: Vec<usize>,
}

impl Record {
    pub(super) fn new(table: CellTable) -> Self {
        let truth: Vec<f64> = table
            .entries
            .iter()
            .map(|one| 100.0 - one.chosen[1].iter().sum::<f64>() / one.chosen[1].len().max(1) as f64)
            .collect();
        let apart: Vec<f64> =
            table.entries.iter().filter_map(|one| Some(one.chosen[1].first()? - one.chosen[1].get(1)?)).collect();
        let count = apart.len().max(1) as f64;
        let shift = apart.iter().sum::<f64>() / count;
        let square: f64 = apart.iter().map(|apart| (apart - shift).powi(2) / 2.0).sum();
        let noise = (square / count).sqrt();
        let of = |i: usize| {
            let canonical = CellCode::from_index(i).canonical();
            table.entries.iter().position(|one| one.code == canonical).unwrap_or(0)
        };
        let place = (0..CellCode::COUNT).map(of).collect();
        Self {
            table,
            truth,
            #[cfg(feature = "schema")]
            shift,
            noise,
            place,
        }
    }

    /// Mean error of a network in per cent.
    pub(super) fn error(&self, code: CellCode) -> f64 {
        self.truth[self.place[code.index()]]
    }

    /// Rank correlation of a score (more is better) with the record, over some networks.
    pub(super) fn order(&self, codes: &[CellCode], score: impl Fn(usize) -> f64) -> f64 {
        let truth: Vec<f64> = codes.iter().map(|code| self.error(*code)).collect();
        spearman(&(0..codes.len()).map(|i| -score(i)).collect::<Vec<_>>(), &truth)
    }

    /// The same for all networks.
    pub(super) fn order_of_all(&self, score: impl Fn(usize) -> f64) -> f64 {
        let codes: Vec<CellCode> = self.table.entries.iter().map(|one| one.code).collect();
        self.order(&codes, score)
    }

    /// Right answers of the shortest training, by place in the table.
    pub(super) fn early(&self, place: usize) -> f64 {
        self.table.entries[place].chosen[0].first().copied().unwrap_or(0.0)
    }
}

/// Steps of what is recorded last.
#[cfg(feature = "schema")]
pub(super) const RECORDED: usize = lab_kit::cells::TABLE_STEPS[1];

/// Networks of a pool with the scores of their fresh weights.
pub(crate) type Scored = Vec<(CellCode, CellProxies)>;

/// Scores so many networks by chance.
pub(super) async fn proxies(images: &Images, count: usize, cx: &Context) -> Result<Scored, LabError> {
    let mut all = Vec::with_capacity(count);
    for code in some(count, "pool") {
        all.push((code, cell_proxies(net(code, true), images, 0)));
        cx.checkpoint().await?;
    }
    Ok(all)
}
