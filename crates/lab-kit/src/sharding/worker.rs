//! One worker: what it holds, and one step.

use std::ops::Range;

use lab_api::LabError;
use lab_layers::{
    mixers::stack::Units,
    optim::{Adam, adamw, sgd},
};

use super::Compressor;
use crate::peers::{
    Link, Work, all_gather_ring, all_reduce_ring, gather_sum, part, reduce_scatter_ring, ring_pass, sum_by_arrival,
};

/// What is cut into parts, one for each worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing: every worker holds everything.
    Ddp,
    /// Moments of the optimizer.
    Zero1,
    /// Gradients too.
    Zero2,
    /// Weights too; as FSDP does.
    Zero3,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ddp, Self::Zero1, Self::Zero2, Self::Zero3];
}

/// How gradients that all hold are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// Around a ring.
    Ring,
    /// At worker 0.
    Gather,
    /// By each for itself, as they come.
    Arrival,
}

/// Bytes that a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Weights that stay.
    pub weights: usize,
    /// Gradients that stay.
    pub gradients: usize,
    /// Both moments.
    pub moments: usize,
    /// Weights and gradients of one unit that come and go.
    pub passing: usize,
    /// What the way back needs.
    pub activations: usize,
}

impl Held {
    /// All but activations.
    #[must_use]
    pub fn state(&self) -> usize {
        self.weights + self.gradients + self.moments + self.passing
    }
}

/// A worker of a network in units, trained by AdamW.
pub struct Worker<'a> {
    units: &'a Units,
    stage: Stage,
    sum: Sum,
    ranks: usize,
    rank: usize,
    /// By unit, padded to a multiple of the number of workers; empty while not held.
    pub(super) full: Vec<Vec<f32>>,
    /// The own part of each unit's weights, where only that is held.
    part: Vec<Vec<f32>>,
    gradient: Vec<Vec<f32>>,
    /// The own part of each unit's gradient, where only that stays.
    own: Vec<Vec<f32>>,
    moments: Vec<[Vec<f32>; 2]>,
    steps: u32,
    activations: usize,
    /// The most of each kind at once.
    peak: Held,
    most: [usize; 2],
    /// Sends only a share of each gradient, where set.
    pub compressor: Option<Compressor>,
    /// Trained by plain SGD instead of AdamW.
    pub plain: bool,
}

impl<'a> Worker<'a> {
    /// Worker `rank` of `ranks`, from the weights of all units one after the other.
    #[must_use]
    pub fn new(units: &'a Units, weights: &[f32], how: (Stage, Sum), (rank, ranks): (usize, usize)) -> Self {
        let stage = how.0;
        let mut start = 0;
        let mut full: Vec<Vec<f32>> = Vec::new();
        for size in units.sizes() {
            let mut unit = vec![0.0; size.next_multiple_of(ranks)];
            unit[..size].copy_from_slice(&weights[start..start + size]);
            start += size;
            full.push(unit);
        }
        let mut worker = Self {
            units,
            stage,
            sum: how.1,
            ranks,
            rank,
            part: Vec::new(),
            gradient: full
                .iter()
                .map(|u| if stage <= Stage::Zero1 { vec![0.0; u.len()] } else { Vec::new() })
                .collect(),
            own: Vec::new(),
            moments: Vec::new(),
            full,
            steps: 0,
            activations: 0,
            peak: Held::default(),
            most: [0; 2],
            compressor: None,
            plain: false,
        };
        for u in 0..worker.full.len() {
            let parts = worker.span(u);
            worker.moments.push([vec![0.0; parts.len()], vec![0.0; parts.len()]]);
            let own = part(worker.full[u].len(), ranks, rank);
            worker.own.push(vec![0.0; if stage >= Stage::Zero2 { own.len() } else { 0 }]);
            if stage == Stage::Zero3 {
                worker.part.push(worker.full[u][own].to_vec());
                worker.full[u] = Vec::new();
            }
        }
        worker.note();
        worker
    }

    /// What this worker updates of a unit that it holds whole.
    fn span(&self, unit: usize) -> Range<usize> {
        let length = self.full[unit].len();
        if self.stage == Stage::Ddp { 0..length } else { part(length, self.ranks, self.rank) }
    }

    /// What is held now, counted from the buffers.
    #[must_use]
    pub fn held(&self) -> Held {
        let bytes = |all: &[Vec<f32>]| 4 * all.iter().map(Vec::capacity).sum::<usize>();
        let moments = self.moments.iter().flatten().map(|m| 4 * m.capacity()).sum();
        let mut held = Held { moments, activations: self.activations, ..Held::default() };
        held.weights = bytes(&self.part);
        held.gradients = bytes(&self.own);
        *if self.stage == Stage::Zero3 { &mut held.passing } else { &mut held.weights } += bytes(&self.full);
        *if self.stage >= Stage::Zero2 { &mut held.passing } else { &mut held.gradients } += bytes(&self.gradient);
        held
    }

    /// The most of each kind that was held at once.
    #[must_use]
    pub fn peak(&self) -> Held {
        self.peak
    }

    /// The most bytes of states at once, and the most with activations.
    #[must_use]
    pub fn most(&self) -> [usize; 2] {
        self.most
    }

    fn note(&mut self) {
        let (now, peak) = (self.held(), &mut self.peak);
        for (peak, now) in [
            (&mut peak.weights, now.weights),
            (&mut peak.gradients, now.gradients),
            (&mut peak.moments, now.moments),
            (&mut peak.passing, now.passing),
            (&mut peak.activations, now.activations),
        ] {
            *peak = (*peak).max(now);
        }
        self.most = [self.most[0].max(now.state()), self.most[1].max(now.state() + now.activations)];
    }

    /// The weights that this worker holds between steps, unit after unit, padding among them.
    #[must_use]
    pub fn weights(&self) -> Vec<f32> {
        self.full.iter().chain(&self.part).flatten().copied().collect()
    }

    // ANCHOR: step
    /// One step on this worker's windows of `t` tokens, `tokens` and the `targets` of each. Gives the mean loss of all workers' tokens.
    ///
    /// # Errors
    /// A lost peer.
    pub async fn step(
        &mut self,
        link: &dyn Link,
        (tokens, targets): (&[usize], &[usize]),
        t: usize,
        rate: f64,
    ) -> Result<f64, LabError> {
        let (units, last, count) = (self.units, self.full.len() - 1, tokens.len());
        self.open(link, 0).await?;
        let mut x = units.enter(&self.full[0], tokens);
        self.close(link, 0, Work::Forward(0), count);
        let mut trails = Vec::new();
        for u in 1..last {
            self.open(link, u).await?;
            let trail = units.layer_forward(u - 1, &self.full[u], &mut x, t);
            self.activations += trail.bytes();
            trails.push(trail);
            self.close(link, u, Work::Forward(u), count);
        }
        self.open(link, last).await?;
        let answers = units.leave(&self.full[last], x, targets);
        let bytes = answers.bytes();
        self.activations += bytes;
        self.close(link, last, Work::Forward(last), count);
        // A mean over tokens, whoever read them: first how many there are, then each adds its share.
        let [loss, all] = totals(link, [answers.loss as f32, count as f32]).await?;

        self.open(link, last).await?;
        self.begin(last);
        let mut dx = units.leave_backward(&self.full[last], answers, (1.0 / all) as f32, &mut self.gradient[last]);
        self.activations -= bytes;
        self.close(link, last, Work::Backward(last), count);
        self.reduce(link, last).await?;
        for u in (1..last).rev() {
            self.open(link, u).await?;
            self.begin(u);
            if let Some(trail) = trails.pop() {
                units.layer_backward((u - 1, &trail), &self.full[u], &mut dx, &mut self.gradient[u], t);
                self.activations -= trail.bytes();
            }
            self.close(link, u, Work::Backward(u), count);
            self.reduce(link, u).await?;
        }
        // An embedding needs no weights on its way back. FSDP's hook does not know that, and gathers them.
        self.open(link, 0).await?;
        self.begin(0);
        units.enter_backward(tokens, &dx, &mut self.gradient[0]);
        self.close(link, 0, Work::Backward(0), count);
        self.reduce(link, 0).await?;

        let factor = self.shorten(link).await?;
        self.update(link, factor, rate).await?;
        Ok(loss / all)
    }
    // ANCHOR_END: step

    // ANCHOR: open
    /// Before a unit computes: its weights are gathered from all workers, where each holds a part.
    async fn open(&mut self, link: &dyn Link, unit: usize) -> Result<(), LabError> {
        if self.stage == Stage::Zero3 {
            let mut full = vec![0.0; self.part[unit].len() * self.ranks];
            let own = part(full.len(), self.ranks, self.rank);
            full[own].copy_from_slice(&self.part[unit]);
            all_gather_ring(link, &mut full).await?;
            self.full[unit] = full;
        }
        Ok(())
    }

    /// After it: they are let go.
    fn close(&mut self, link: &dyn Link, unit: usize, work: Work, tokens: usize) {
        link.mark(work, tokens);
        self.note();
        if self.stage == Stage::Zero3 {
            self.full[unit] = Vec::new();
        }
    }
    // ANCHOR_END: open

    fn begin(&mut self, unit: usize) {
        let length = self.full[unit].len();
        self.gradient[unit].clear();
        self.gradient[unit].resize(length, 0.0);
    }

    // ANCHOR: reduce
    /// After a unit's way back: its gradient is summed over all workers, while earlier units still wait for theirs.
    async fn reduce(&mut self, link: &dyn Link, unit: usize) -> Result<(), LabError> {
        let gradient = &mut self.gradient[unit];
        if let Some(compressor) = &mut self.compressor {
            return compressor.sum(link, unit, gradient).await;
        }
        if self.stage > Stage::Ddp {
            let own = reduce_scatter_ring(link, gradient).await?;
            if self.stage >= Stage::Zero2 {
                self.own[unit].copy_from_slice(&gradient[own]);
                *gradient = Vec::new();
            }
            return Ok(());
        }
        match self.sum {
            Sum::Ring => all_reduce_ring(link, gradient).await,
            Sum::Gather => gather_sum(link, gradient).await,
            Sum::Arrival => sum_by_arrival(link, gradient).await,
        }
    }
    // ANCHOR_END: reduce

    /// The summed gradient of this unit that is this worker's to apply.
    fn summed(&mut self, unit: usize) -> &mut [f32] {
        let span = if self.stage < Stage::Zero3 { self.span(unit) } else { 0..0 };
        if self.stage >= Stage::Zero2 { &mut self.own[unit] } else { &mut self.gradient[unit][span] }
    }

    /// What the gradient is to be multiplied by, for a length of 1 at most. Squares are summed part by part in the order of ranks, by
    /// whoever holds them, so that all stages find the same bits.
    async fn shorten(&mut self, link: &dyn Link) -> Result<f32, LabError> {
        let mut squares = vec![0.0_f64; self.ranks];
        for u in 0..self.full.len() {
            let (ranks, rank, ddp) = (self.ranks, self.rank, self.stage == Stage::Ddp);
            let gradient = self.summed(u);
            for (r, sum) in squares.iter_mut().enumerate() {
                let span = if ddp { part(gradient.len(), ranks, r) } else { 0..gradient.len() };
                if ddp || r == rank {
                    *sum += gradient[span].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
                }
            }
        }
        let square: f64 = if self.stage == Stage::Ddp {
            squares.iter().map(|s| f64::from(*s as f32)).sum()
        } else {
            totals(link, [squares[self.rank] as f32]).await?[0]
        };
        Ok((1.0 / square.sqrt().max(1.0)) as f32)
    }

    // ANCHOR: update
    /// New weights: each worker updates what it has moments for. Whoever holds all weights then gets the other parts from the others.
    async fn update(&mut self, link: &dyn Link, factor: f32, rate: f64) -> Result<(), LabError> {
        self.steps += 1;
        let mut updated = 0;
        for u in 0..self.full.len() {
            self.summed(u).iter_mut().for_each(|g| *g *= factor);
            let span = self.span(u);
            let [m, v] = &mut self.moments[u];
            let (w, g): (&mut [f32], &[f32]) = match self.stage {
                Stage::Zero3 => (&mut self.part[u], &self.own[u]),
                Stage::Zero2 => (&mut self.full[u][span], &self.own[u]),
                _ => (&mut self.full[u][span.clone()], &self.gradient[u][span]),
            };
            updated += w.len();
            if self.plain {
                sgd(w, g, rate);
            } else {
                adamw(w, g, (m, v), self.steps, rate, &Adam::W);
            }
        }
        link.mark(Work::Update(updated), 0);
        if matches!(self.stage, Stage::Zero1 | Stage::Zero2) {
            for unit in &mut self.full {
                all_gather_ring(link, unit).await?;
            }
        }
        Ok(())
    }
    // ANCHOR_END: update
}

/// Sums of a few numbers of all workers, added in the order of ranks.
async fn totals<const N: usize>(link: &dyn Link, own: [f32; N]) -> Result<[f64; N], LabError> {
    let mut sums = [0.0; N];
    for message in ring_pass(link, own.iter().flat_map(|x| x.to_le_bytes()).collect()).await? {
        for (sum, bytes) in sums.iter_mut().zip(message.as_chunks::<4>().0) {
            *sum += f64::from(f32::from_le_bytes(*bytes));
        }
    }
    Ok(sums)
}

/// The weights that all workers hold together, in the order of the network: from one that holds all, or from all parts.
#[must_use]
pub fn together(workers: &[Worker]) -> Vec<f32> {
    let Some(first) = workers.first() else { return Vec::new() };
    let mut all = Vec::new();
    for (u, size) in first.units.sizes().into_iter().enumerate() {
        let start = all.len();
        if first.stage == Stage::Zero3 {
            workers.iter().for_each(|worker| all.extend_from_slice(&worker.part[u]));
        } else {
            all.extend_from_slice(&first.full[u]);
        }
        all.truncate(start + size);
    }
    all
}

/// A number that differs where a bit does (FNV-1a).
#[must_use]
pub fn fingerprint(weights: &[f32]) -> u64 {
    let bytes = weights.iter().flat_map(|w| w.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
