//! What is timed: each kind of unit on one worker, an update, and a message. What several workers take is simulated from that.

use std::{hint::black_box, ops::Range};

use lab_api::LabError;
use lab_kit::tuning::optim::{Adam, adamw};
use lab_kit::{
    Context,
    measure::in_turns,
    peers::{Link, Mail, Wire, fit_wire, take_in, to_bytes},
    pipeline::{PipeBatch, PipeOrder, PipeTimeline, PipeTimes, balance, equal_layers, simulate},
    stats::median,
};

use super::{
    PipeLink, Split,
    arms::{CHANNELS, LAYERS, Setup, TOKENS},
};

/// Numbers of the messages that are timed.
const MESSAGES: [usize; 4] = [16, 1024, 8192, 32_768];

/// Milliseconds by round.
pub(super) struct Costs {
    /// Of embedding, layer and head: forward, then both ways.
    kinds: Vec<Vec<f64>>,
    update: Vec<f64>,
    messages: Vec<Vec<f64>>,
    sizes: Vec<usize>,
    recompute: bool,
}

/// Embedding, layer, head.
fn kind(unit: usize) -> usize {
    usize::from(unit > 0) + usize::from(unit == LAYERS + 1)
}

impl Costs {
    pub(super) fn rounds(&self) -> usize {
        self.update.len()
    }

    /// Forward and backward of a unit.
    pub(super) fn unit(&self, round: usize, unit: usize) -> [f64; 2] {
        let [forward, both] = [0, 1].map(|way| self.kinds[2 * kind(unit) + way][round]);
        [forward, (both - forward).max(0.0)]
    }

    /// The same, of the quickest rounds: another program can make them slower and never quicker.
    pub(super) fn usual(&self, unit: usize) -> [f64; 2] {
        let quickest = |way: usize| self.kinds[2 * kind(unit) + way].iter().copied().fold(f64::INFINITY, f64::min);
        [quickest(0), (quickest(1) - quickest(0)).max(0.0)]
    }

    /// Units of each chunk.
    pub(super) fn cut(&self, split: Split, chunks: usize) -> Vec<Range<usize>> {
        if split == Split::EqualLayers {
            return equal_layers(LAYERS, chunks);
        }
        let costs: Vec<f64> = (0..LAYERS + 2).map(|unit| self.usual(unit).iter().sum()).collect();
        balance(&costs, chunks)
    }

    fn times(&self, round: usize, cut: &[Range<usize>], split_back: bool) -> PipeTimes {
        let of = |way: usize| -> Vec<f64> {
            cut.iter().map(|chunk| chunk.clone().map(|unit| self.unit(round, unit)[way]).sum()).collect()
        };
        let (forward, mut backward, mut weights) = (of(0), of(1), Vec::new());
        if split_back {
            backward.iter_mut().for_each(|b| *b *= 0.5);
            weights = backward.clone();
        }
        if self.recompute {
            backward.iter_mut().zip(&forward).for_each(|(b, f)| *b += f);
        }
        PipeTimes { forward, backward, weights }
    }

    fn updating(&self, round: usize, units: impl Iterator<Item = usize>) -> f64 {
        let all: usize = self.sizes.iter().sum();
        self.update[round] * units.map(|unit| self.sizes[unit]).sum::<usize>() as f64 / all.max(1) as f64
    }

    /// A step of one worker that does it all, without computing anything again.
    pub(super) fn alone(&self, round: usize, micros: usize) -> f64 {
        let both: f64 = (0..LAYERS + 2).map(|unit| self.unit(round, unit).iter().sum::<f64>()).sum();
        micros as f64 * both + self.update[round]
    }

    /// A step of workers of their own: the pipeline, and each worker's update, which begins when all have told the length of their
    /// gradients.
    ///
    /// # Errors
    /// An order that cannot be run.
    pub(super) fn step(
        &self,
        round: usize,
        (order, cut): (&PipeOrder, &[Range<usize>]),
        wire: Wire,
        bytes: f64,
    ) -> Result<Stepped, LabError> {
        let p = order.ops.len();
        let apart = order.ops[0].iter().any(|op| op.half == lab_kit::pipeline::Half::Weights);
        let line = simulate(order, &self.times(round, cut, apart), wire, bytes)?;
        let told = line.end + (p - 1) as f64 * wire.latency_ms;
        let own = |rank: usize| self.updating(round, (rank..cut.len()).step_by(p).flat_map(|c| cut[c].clone()));
        let updates: Vec<[f64; 2]> = (0..p).map(|rank| [told, told + own(rank)]).collect();
        let end = updates.iter().map(|update| update[1]).fold(0.0, f64::max);
        Ok(Stepped { line, updates, end })
    }

    /// A message within this thread.
    pub(super) fn copy(&self) -> Wire {
        let points: Vec<(f64, f64)> =
            MESSAGES.iter().zip(&self.messages).map(|(count, ms)| (4.0 * *count as f64, median(ms))).collect();
        fit_wire(&points).unwrap_or(Wire { latency_ms: 0.0, bytes_per_ms: 1e6 })
    }

    pub(super) fn wire(&self, link: PipeLink) -> Wire {
        let of = |latency_ms: f64| Wire { latency_ms, bytes_per_ms: 1.25e6 };
        match link {
            PipeLink::Copy => self.copy(),
            PipeLink::Rack => of(0.05),
            PipeLink::Slow => of(1.0),
            PipeLink::Slower => of(5.0),
        }
    }
}

/// A simulated step.
pub(super) struct Stepped {
    pub(super) line: PipeTimeline,
    /// From when to when each worker updates its weights.
    pub(super) updates: Vec<[f64; 2]>,
    pub(super) end: f64,
}

pub(super) async fn measure(setup: &Setup<'_>, rounds: usize, cx: &Context) -> Result<Costs, LabError> {
    let rows = setup.rows();
    let [tokens, targets] = setup.text.draw(setup.windows, &mut cx.rng("timed"));
    // Each unit a chunk of its own.
    let chunks: Vec<Range<usize>> = (0..LAYERS + 2).map(|unit| unit..unit + 1).collect();
    let mut stage = setup.stage(&chunks, (0, 1));
    let batch = PipeBatch { tokens: &tokens, targets: &targets, micros: std::iter::once(0..rows).collect(), t: TOKENS };
    let x = stage.forward(0, &batch, 0, Vec::new());
    let dx = vec![1e-4; rows * CHANNELS];
    stage.forget();
    let mut failed = None;
    let kinds = in_turns(cx, 6, rounds, |i| {
        let chunk = [0, 1, LAYERS + 1][i / 2];
        black_box(stage.forward(chunk, &batch, 0, if chunk == 0 { Vec::new() } else { x.clone() }));
        if i % 2 == 1 {
            let slope = if chunk > LAYERS { Vec::new() } else { dx.clone() };
            failed = black_box(stage.backward(chunk, &batch, 0, slope)).err().or(failed.take());
        }
        stage.forget();
    })
    .await?;
    if let Some(failed) = failed {
        return Err(failed);
    }
    drop(stage);
    let mut weights = setup.weights.clone();
    let (g, mut m, mut v) = (vec![0.01; weights.len()], vec![0.0; weights.len()], vec![0.0; weights.len()]);
    let update =
        in_turns(cx, 1, rounds, |_| adamw(&mut weights, &g, (&mut m, &mut v), 1, 0.001, &Adam::W)).await?.remove(0);
    let mail = Mail::new(2);
    let ports = mail.ports();
    let (x, mut y) = (vec![0.5; MESSAGES[3]], vec![0.0; MESSAGES[3]]);
    let messages = in_turns(cx, MESSAGES.len(), rounds, |i| {
        ports[0].send(1, to_bytes(&x[..MESSAGES[i]]));
        if let Some(message) = ports[1].take(0) {
            take_in(&mut y, &message);
        }
        drop(mail.take_events());
    })
    .await?;
    Ok(Costs { kinds, update, messages, sizes: setup.units.sizes(), recompute: setup.recompute })
}
