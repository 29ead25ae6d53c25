//! One set of weights for each operation of each slot, and what a mixture of them makes of a batch. A path is a mixture of which one
//! operation a slot has all.

use std::ops::Range;

use lab_layers::{
    blocks::Maps,
    cells::{
        CellCode, SLOTS, SlotOp, SlotTrace, head, head_backward, head_weights, init_head, init_stem, softmax_loss,
        stem, stem_backward, stem_weights,
    },
};
use rand_chacha::ChaCha8Rng;

/// Operations of a slot.
pub const OPERATIONS: usize = SlotOp::ALL.len();
/// Choices in all: one for each operation of each slot, slot after slot.
pub const CHOICES: usize = SLOTS * OPERATIONS;

/// Shapes of a supernet. Its weights lie in one slice: stem, then the operations of the first slot, and so on, then the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supernet {
    /// Whether operations add to what they got.
    pub residual: bool,
    /// Answers that there are.
    pub classes: usize,
}

/// What one pass led to.
#[derive(Debug, Clone, Default)]
pub struct SuperPass {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Right answers.
    pub right: usize,
    /// ChoiceSlopes by the weights, as they lie; zero for what had no share.
    pub gradient: Vec<f32>,
    /// ChoiceSlopes by the shares, `[CHOICES]`; zero for what had none.
    pub shares: Vec<f64>,
}

/// The shares of a path: 1 for its operations.
#[must_use]
pub fn path_shares(code: CellCode) -> Vec<f64> {
    let mut shares = vec![0.0; CHOICES];
    code.0.iter().enumerate().for_each(|(slot, op)| shares[slot * OPERATIONS + *op as usize] = 1.0);
    shares
}

/// The code that a choice for each slot spells.
#[must_use]
pub fn code_of_choices(choices: &[usize]) -> CellCode {
    CellCode(std::array::from_fn(|slot| SlotOp::ALL[choices[slot] % OPERATIONS]))
}

impl Supernet {
    /// Where stem, operations and classifier lie: `CHOICES + 2` parts.
    #[must_use]
    pub fn parts(&self) -> Vec<Range<usize>> {
        let ops = (0..SLOTS).flat_map(|_| SlotOp::ALL.map(SlotOp::weights));
        let mut end = 0;
        std::iter::once(stem_weights())
            .chain(ops)
            .chain([head_weights(self.classes)])
            .map(|length| {
                end += length;
                end - length..end
            })
            .collect()
    }

    /// Numbers that it learns.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.parts().last().map_or(0, |part| part.end)
    }

    /// Fresh weights.
    #[must_use]
    pub fn init(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut all = init_stem(rng);
        for _ in 0..SLOTS {
            SlotOp::ALL.iter().for_each(|op| all.extend(op.init(rng)));
        }
        all.extend(init_head(self.classes, rng));
        all
    }

    /// The parts that these shares use.
    #[must_use]
    pub fn used(&self, shares: &[f64]) -> Vec<bool> {
        std::iter::once(true).chain(shares.iter().map(|share| *share != 0.0)).chain([true]).collect()
    }

    /// What the stem makes of pixels `[B, 256]`.
    #[must_use]
    pub fn embed(&self, weights: &[f32], pixels: &[f32]) -> Maps {
        stem(&weights[self.parts()[0].clone()], pixels)
    }

    // ANCHOR: pass
    /// Loss and slopes of a batch. In each slot the results of all operations that have a share are added, each times its share.
    #[must_use]
    pub fn pass(&self, weights: &[f32], shares: &[f64], pixels: &[f32], labels: &[u8]) -> SuperPass {
        let parts = self.parts();
        let of = |choice: usize| &weights[parts[1 + choice].clone()];
        let embedded = stem(&weights[parts[0].clone()], pixels);
        let mut outs: Vec<(Maps, Vec<(usize, SlotTrace)>)> = Vec::with_capacity(SLOTS);
        for slot in 0..SLOTS {
            let x = outs.last().map_or(&embedded, |out| &out.0);
            let mut traces = Vec::new();
            let mut sum = Maps { data: vec![0.0; x.data.len()], ..*x };
            for (i, op) in SlotOp::ALL.into_iter().enumerate() {
                let choice = slot * OPERATIONS + i;
                if shares[choice] != 0.0 {
                    let trace = op.forward(of(choice), x, self.residual);
                    add(&mut sum.data, &trace.y.data, shares[choice] as f32);
                    traces.push((i, trace));
                }
            }
            outs.push((sum, traces));
        }
        let last = outs.last().map_or(&embedded, |out| &out.0);
        let classifier = parts[CHOICES + 1].clone();
        let mut slopes = head(&weights[classifier.clone()], last, self.classes);
        let (loss, right) = softmax_loss(&mut slopes, labels, self.classes);
        let mut pass = SuperPass { loss, right, gradient: vec![0.0; weights.len()], shares: vec![0.0; CHOICES] };
        let dw = &mut pass.gradient[classifier.clone()];
        let mut dy = head_backward(&weights[classifier], last, &slopes, dw, self.classes);
        for slot in (0..SLOTS).rev() {
            let x = if slot == 0 { &embedded } else { &outs[slot - 1].0 };
            let mut dx = Maps { data: vec![0.0; x.data.len()], ..*x };
            for (i, trace) in &outs[slot].1 {
                let choice = slot * OPERATIONS + i;
                let share = shares[choice];
                let by: f64 = dy.data.iter().zip(&trace.y.data).map(|(d, y)| f64::from(d * y)).sum();
                pass.shares[choice] = by;
                let scaled = Maps { data: dy.data.iter().map(|d| share as f32 * d).collect(), ..dy };
                let dw = &mut pass.gradient[parts[1 + choice].clone()];
                let back = SlotOp::ALL[*i].backward(of(choice), x, trace, &scaled, dw, self.residual);
                add(&mut dx.data, &back.data, 1.0);
            }
            dy = dx;
        }
        let at = parts[0].clone();
        stem_backward(pixels, &embedded, &dy, &mut pass.gradient[at]);
        pass
    }
    // ANCHOR_END: pass

    /// Mean loss in nats and share of right answers of a mixture.
    #[must_use]
    pub fn judge(&self, weights: &[f32], shares: &[f64], pixels: &[f32], labels: &[u8]) -> (f64, f64) {
        let parts = self.parts();
        let (mut loss, mut right) = (0.0, 0);
        let each = pixels.len() / labels.len().max(1);
        for (pixels, labels) in pixels.chunks(CHUNK * each.max(1)).zip(labels.chunks(CHUNK)) {
            let mut x = self.embed(weights, pixels);
            for slot in 0..SLOTS {
                let mut sum = Maps { data: vec![0.0; x.data.len()], ..x };
                for (i, op) in SlotOp::ALL.into_iter().enumerate() {
                    let choice = slot * OPERATIONS + i;
                    if shares[choice] != 0.0 {
                        let y = op.forward(&weights[parts[1 + choice].clone()], &x, self.residual).y;
                        add(&mut sum.data, &y.data, shares[choice] as f32);
                    }
                }
                x = sum;
            }
            let mut logits = head(&weights[parts[CHOICES + 1].clone()], &x, self.classes);
            let (mean, count) = softmax_loss(&mut logits, labels, self.classes);
            loss += mean * labels.len() as f64;
            right += count;
        }
        let count = labels.len().max(1) as f64;
        (loss / count, right as f64 / count)
    }
}

/// Images that are judged at once.
const CHUNK: usize = 128;

fn add(to: &mut [f32], from: &[f32], share: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += share * from);
}
