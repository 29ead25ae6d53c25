//! All paths of a supernet, each on the same images: one by one, and with what paths have in common done once.

use lab_layers::{
    blocks::Maps,
    cells::{CellCode, SLOTS, SlotOp, head, softmax_loss},
};

use super::supernet::{CHOICES, OPERATIONS, Supernet};

// ANCHOR: each
/// Right answers of every code, each path gone from the beginning: `4 * 6^4 = 5,184` slots.
#[must_use]
pub fn judge_each(net: &Supernet, weights: &[f32], pixels: &[f32], labels: &[u8]) -> Vec<usize> {
    let parts = net.parts();
    let one = |code: CellCode| {
        let mut x = net.embed(weights, pixels);
        for (slot, op) in code.0.into_iter().enumerate() {
            let at = parts[1 + slot * OPERATIONS + op as usize].clone();
            x = op.forward(&weights[at], &x, net.residual).y;
        }
        let mut logits = head(&weights[parts[CHOICES + 1].clone()], &x, net.classes);
        softmax_loss(&mut logits, labels, net.classes).1
    };
    (0..CellCode::COUNT).map(|index| one(CellCode::from_index(index))).collect()
}
// ANCHOR_END: each

/// All codes, beginning after beginning.
#[derive(Debug)]
pub struct CodeTree<'a> {
    net: &'a Supernet,
    weights: &'a [f32],
    parts: Vec<std::ops::Range<usize>>,
    /// Slots that were computed so far.
    pub slots: usize,
}

impl<'a> CodeTree<'a> {
    /// Before the first.
    #[must_use]
    pub fn new(net: &'a Supernet, weights: &'a [f32]) -> Self {
        Self { net, weights, parts: net.parts(), slots: 0 }
    }

    /// Adds to `right` the right answers of all codes that begin with this operation, on what the stem made of a batch.
    pub fn branch(&mut self, first: SlotOp, stem: &Maps, labels: &[u8], right: &mut [usize]) {
        self.step(0, first, 0, stem, labels, right);
    }

    // ANCHOR: tree
    /// Takes one operation more, then whatever may follow: `6 + 6^2 + 6^3 + 6^4 = 1,554` slots for all codes.
    fn step(&mut self, slot: usize, op: SlotOp, code: usize, x: &Maps, labels: &[u8], right: &mut [usize]) {
        let choice = slot * OPERATIONS + op as usize;
        let (weights, at) = (self.weights, self.parts[1 + choice].clone());
        let y = op.forward(&weights[at], x, self.net.residual).y;
        self.slots += 1;
        let code = code + op as usize * OPERATIONS.pow(slot as u32);
        if slot + 1 < SLOTS {
            SlotOp::ALL.into_iter().for_each(|next| self.step(slot + 1, next, code, &y, labels, right));
            return;
        }
        let mut logits = head(&weights[self.parts[CHOICES + 1].clone()], &y, self.net.classes);
        right[code] += softmax_loss(&mut logits, labels, self.net.classes).1;
    }
    // ANCHOR_END: tree
}

/// Right answers of every code, with shared beginnings.
#[must_use]
pub fn judge_tree(net: &Supernet, weights: &[f32], pixels: &[f32], labels: &[u8]) -> Vec<usize> {
    let (mut tree, mut right) = (CodeTree::new(net, weights), vec![0; CellCode::COUNT]);
    let stem = net.embed(weights, pixels);
    SlotOp::ALL.into_iter().for_each(|first| tree.branch(first, &stem, labels, &mut right));
    right
}
