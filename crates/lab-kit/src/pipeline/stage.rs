//! One worker of a pipeline: its chunks of the network, and the loop that runs any order.

use std::ops::Range;

use lab_api::LabError;
use lab_layers::{
    mixers::stack::{Answers, Trail, Units},
    optim::{Adam, adamw},
};

use super::{Half, PipeOp};
use crate::peers::{Link, Traffic, Work, ring_pass};

/// Bytes before the numbers of a message: which way, to which chunk, of which micro-batch.
const HEAD: usize = 8;

/// What all workers read in a step.
#[derive(Debug, Clone)]
pub struct PipeBatch<'a> {
    /// Tokens of all micro-batches, whole examples of `t`.
    pub tokens: &'a [usize],
    /// The class of each.
    pub targets: &'a [usize],
    /// Which tokens belong to each micro-batch.
    pub micros: Vec<Range<usize>>,
    /// Tokens of an example.
    pub t: usize,
}

/// What is kept of a micro-batch in a chunk until its way back.
enum PipeKept {
    /// All that the way back needs.
    Trails(Vec<Trail>, Option<Answers>),
    /// The input alone: the chunk is computed once more.
    Input(Vec<f32>),
}

impl PipeKept {
    fn bytes(&self) -> usize {
        match self {
            Self::Input(x) => 4 * x.len(),
            Self::Trails(trails, answers) => {
                trails.iter().map(Trail::bytes).sum::<usize>() + answers.as_ref().map_or(0, Answers::bytes)
            }
        }
    }
}

/// Which message.
type Key = (Half, usize, usize);

/// A worker that holds some chunks of a network, trained by AdamW.
pub struct PipeStage<'a> {
    units: &'a Units,
    chunks: &'a [Range<usize>],
    rank: usize,
    ranks: usize,
    /// Weights, gradients and moments of its own units; empty of others.
    weights: Vec<Vec<f32>>,
    gradient: Vec<Vec<f32>>,
    moments: Vec<[Vec<f32>; 2]>,
    /// The gradient of one micro-batch, before it is added.
    scratch: Vec<f32>,
    kept: Vec<((usize, usize), PipeKept)>,
    /// Messages that came before their turn.
    waiting: Vec<(Key, Vec<f32>)>,
    steps: u32,
    loss: f64,
    now: usize,
    most: usize,
    live: usize,
    /// Keeps inputs of chunks alone, and computes each chunk once more on the way back.
    pub recompute: bool,
    /// Shortens its gradient by its own length: the mistake, for comparison.
    pub clips_alone: bool,
}

impl<'a> PipeStage<'a> {
    /// Worker `rank` of `ranks`, from the weights of all units one after the other. Chunk `c`, a range of units, is its own where `c` is
    /// `rank` modulo `ranks`.
    #[must_use]
    pub fn new(
        units: &'a Units,
        weights: &[f32],
        chunks: &'a [Range<usize>],
        (rank, ranks): (usize, usize),
        recompute: bool,
    ) -> Self {
        let (mut own, mut start, mut most) = (Vec::new(), 0, 0);
        for (u, size) in units.sizes().into_iter().enumerate() {
            let mine = chunks.iter().position(|chunk| chunk.contains(&u)).is_some_and(|c| c % ranks == rank);
            own.push(if mine { weights[start..start + size].to_vec() } else { Vec::new() });
            // The gradient of an embedding is added where it lies.
            most = if mine && u > 0 { size.max(most) } else { most };
            start += size;
        }
        let zeros = || own.iter().map(|unit| vec![0.0; unit.len()]).collect::<Vec<_>>();
        let (gradient, m, v) = (zeros(), zeros(), zeros());
        Self {
            units,
            chunks,
            rank,
            ranks,
            gradient,
            moments: m.into_iter().zip(v).map(|(m, v)| [m, v]).collect(),
            weights: own,
            scratch: vec![0.0; most],
            kept: Vec::new(),
            waiting: Vec::new(),
            steps: 0,
            loss: 0.0,
            now: 0,
            most: 0,
            live: 0,
            recompute,
            clips_alone: false,
        }
    }

    /// Bytes of weights, gradients, moments and the gradient in work, counted from the buffers.
    #[must_use]
    pub fn states(&self) -> usize {
        let all = self.weights.iter().chain(&self.gradient).chain(self.moments.iter().flatten());
        4 * (all.map(Vec::capacity).sum::<usize>() + self.scratch.capacity())
    }

    /// The most bytes of activations that were kept at once, and the most micro-batches they belonged to, counted in chunks.
    #[must_use]
    pub fn kept_at_most(&self) -> (usize, usize) {
        (self.most, self.live)
    }

    /// Forgets what was kept for the way back, where only the way forward is wanted.
    pub fn forget(&mut self) {
        self.kept.clear();
        self.now = 0;
    }

    fn note(&mut self, beside: usize) {
        self.most = self.most.max(self.now + beside);
        self.live = self.live.max(self.kept.len());
    }

    /// Computes a chunk: what is kept of it, and what goes on to the next chunk.
    fn compute(&self, chunk: usize, batch: &PipeBatch, micro: usize, mut x: Vec<f32>) -> (PipeKept, Vec<f32>) {
        let (span, last) = (batch.micros[micro].clone(), self.weights.len() - 1);
        let (mut trails, mut answers) = (Vec::new(), None);
        for u in self.chunks[chunk].clone() {
            let w = &self.weights[u];
            if u == 0 {
                x = self.units.enter(w, &batch.tokens[span.clone()]);
            } else if u == last {
                answers = Some(self.units.leave(w, std::mem::take(&mut x), &batch.targets[span.clone()]));
            } else {
                trails.push(self.units.layer_forward(u - 1, w, &mut x, batch.t));
            }
        }
        (PipeKept::Trails(trails, answers), x)
    }

    // ANCHOR: forward
    /// A micro-batch forward through a chunk: from its input to its output, which is empty where the chunk ends in the loss.
    pub fn forward(&mut self, chunk: usize, batch: &PipeBatch, micro: usize, x: Vec<f32>) -> Vec<f32> {
        let input = if self.recompute { x.clone() } else { Vec::new() };
        let (mut kept, y) = self.compute(chunk, batch, micro, x);
        if let PipeKept::Trails(_, Some(answers)) = &kept {
            self.loss += answers.loss;
        }
        if self.recompute {
            kept = PipeKept::Input(input);
        }
        self.now += kept.bytes();
        self.kept.push(((chunk, micro), kept));
        self.note(0);
        y
    }
    // ANCHOR_END: forward

    // ANCHOR: backward
    /// The way back: from the gradient of the chunk's output to that of its input. Gradients of weights are added up.
    ///
    /// # Errors
    /// [`LabError::Engine`] where the micro-batch has not come forward.
    pub fn backward(
        &mut self,
        chunk: usize,
        batch: &PipeBatch,
        micro: usize,
        mut dx: Vec<f32>,
    ) -> Result<Vec<f32>, LabError> {
        let Some(at) = self.kept.iter().position(|one| one.0 == (chunk, micro)) else {
            let why = format!(
                "worker {}: micro-batch {micro} cannot come back through chunk {chunk} before it went forward",
                self.rank
            );
            return Err(LabError::Engine { why });
        };
        let mut kept = self.kept.remove(at).1;
        self.now -= kept.bytes();
        if let PipeKept::Input(x) = kept {
            kept = self.compute(chunk, batch, micro, x).0;
        }
        self.note(kept.bytes());
        let PipeKept::Trails(mut trails, mut answers) = kept else { return Ok(dx) };
        let (span, last) = (batch.micros[micro].clone(), self.weights.len() - 1);
        for u in self.chunks[chunk].clone().rev() {
            if u == 0 {
                self.units.enter_backward(&batch.tokens[span.clone()], &dx, &mut self.gradient[0]);
                return Ok(Vec::new());
            }
            let (w, own) = (&self.weights[u], &mut self.scratch[..self.weights[u].len()]);
            own.fill(0.0);
            if u == last {
                // A share of the mean over all tokens, whichever micro-batch they are in.
                let share = 1.0 / batch.tokens.len() as f32;
                if let Some(answers) = answers.take() {
                    dx = self.units.leave_backward(w, answers, share, own);
                }
            } else if let Some(trail) = trails.pop() {
                self.units.layer_backward((u - 1, &trail), w, &mut dx, own, batch.t);
            }
            self.gradient[u].iter_mut().zip(own).for_each(|(sum, g)| *sum += *g);
        }
        Ok(dx)
    }
    // ANCHOR_END: backward

    // ANCHOR: step
    /// One step: whatever the order, the same loop. Each piece of work waits for what it needs, computes, and sends on what the next
    /// one needs. Gives the mean loss of all tokens.
    ///
    /// # Errors
    /// A lost peer, an order that cannot be run.
    pub async fn step(
        &mut self,
        link: &dyn Link,
        ops: &[PipeOp],
        batch: &PipeBatch<'_>,
        rate: f64,
    ) -> Result<f64, LabError> {
        let last = self.chunks.len() - 1;
        self.loss = 0.0;
        for op in ops {
            let PipeOp { half, chunk, micro } = *op;
            let count = batch.micros[micro].len();
            match half {
                Half::Forward => {
                    let x = if chunk == 0 { Vec::new() } else { self.take(link, *op, chunk - 1).await? };
                    let y = self.forward(chunk, batch, micro, x);
                    link.mark(Work::Forward(chunk), count);
                    if chunk < last {
                        self.give(link, (half, chunk + 1, micro), y);
                    }
                }
                Half::Backward => {
                    let dy = if chunk == last { Vec::new() } else { self.take(link, *op, chunk + 1).await? };
                    let dx = self.backward(chunk, batch, micro, dy)?;
                    link.mark(Work::Backward(chunk), count);
                    if chunk > 0 {
                        self.give(link, (half, chunk - 1, micro), dx);
                    }
                }
                Half::Weights => {
                    let why = "an order that computes gradients of weights apart is simulated only".into();
                    return Err(LabError::Refused { why });
                }
            }
        }
        self.update(link, batch.tokens.len(), rate).await
    }
    // ANCHOR_END: step

    // ANCHOR: messages
    /// The message for a piece of work. Two kinds of messages come from one neighbour, and not always in the order in which they are
    /// wanted: what comes too early waits.
    async fn take(&mut self, link: &dyn Link, op: PipeOp, from: usize) -> Result<Vec<f32>, LabError> {
        let key = (op.half, op.chunk, op.micro);
        loop {
            if let Some(at) = self.waiting.iter().position(|one| one.0 == key) {
                return Ok(self.waiting.swap_remove(at).1);
            }
            let message = link.receive(from % self.ranks).await?;
            let (head, numbers) = message.split_at(HEAD.min(message.len()));
            let [way, chunk, micro, ..] = *head else {
                return Err(LabError::Engine { why: "a message without a head came".into() });
            };
            let half = if way == 0 { Half::Forward } else { Half::Backward };
            let x = numbers.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            self.waiting.push(((half, usize::from(chunk), usize::from(micro)), x));
        }
    }

    fn give(&mut self, link: &dyn Link, (half, chunk, micro): Key, x: Vec<f32>) {
        let to = chunk % self.ranks;
        if to == self.rank {
            self.waiting.push(((half, chunk, micro), x));
            return;
        }
        let mut message = vec![half as u8, chunk as u8, micro as u8, 0, 0, 0, 0, 0];
        message.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        link.send(to, message);
    }
    // ANCHOR_END: messages

    // ANCHOR: update
    /// New weights of the own units. The gradient is shortened to length 1 by the length of *all* of it: each worker tells the squares of
    /// its units, and all add them in the order of units.
    async fn update(&mut self, link: &dyn Link, tokens: usize, rate: f64) -> Result<f64, LabError> {
        let square = |g: &Vec<f32>| g.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        let mut own: Vec<f64> = self.gradient.iter().map(square).collect();
        own.push(self.loss);
        let told = own.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut all = vec![0.0; own.len()];
        for message in ring_pass(link, told).await? {
            for (sum, bytes) in all.iter_mut().zip(message.as_chunks::<8>().0) {
                *sum += f64::from_le_bytes(*bytes);
            }
        }
        let loss = all.pop().unwrap_or(0.0) / tokens as f64;
        own.pop();
        let norm = if self.clips_alone { own } else { all }.iter().sum::<f64>().sqrt();
        let factor = (1.0 / norm.max(1.0)) as f32;
        self.steps += 1;
        let mut updated = 0;
        for ((w, g), [m, v]) in self.weights.iter_mut().zip(&mut self.gradient).zip(&mut self.moments) {
            g.iter_mut().for_each(|g| *g *= factor);
            adamw(w, g, (m, v), self.steps, rate, &Adam::W);
            g.fill(0.0);
            updated += w.len();
        }
        link.mark(Work::Update(updated), 0);
        Ok(loss)
    }
    // ANCHOR_END: update
}

/// The weights of all units, each from the worker that holds it.
#[must_use]
pub fn joined(stages: &[PipeStage]) -> Vec<f32> {
    let units = stages.first().map_or(0, |stage| stage.weights.len());
    (0..units).flat_map(|u| stages.iter().flat_map(move |stage| stage.weights[u].iter().copied())).collect()
}

// ANCHOR: expected
/// What all workers together send in a step: activations and their gradients across each cut, for micro-batches of so many tokens,
/// and once around the ring the squares of each unit's gradient and the loss.
#[must_use]
pub fn expected_traffic(micros: &[usize], channels: usize, units: usize, (workers, chunks): (usize, usize)) -> Traffic {
    if workers == 1 {
        return Traffic::default();
    }
    let (cuts, ring) = (chunks - 1, workers * (workers - 1));
    let bytes: usize = micros.iter().map(|tokens| HEAD + 4 * tokens * channels).sum();
    Traffic { messages: 2 * cuts * micros.len() + ring, bytes: 2 * cuts * bytes + ring * 8 * (units + 1) }
}
// ANCHOR_END: expected

#[cfg(test)]
impl PipeStage<'_> {
    pub(super) fn loss_so_far(&self) -> f64 {
        self.loss
    }

    pub(super) fn gradient_of(&self, unit: usize) -> Vec<f32> {
        self.gradient[unit].clone()
    }
}
