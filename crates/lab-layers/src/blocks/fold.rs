//! Normalizations taken up by the convolutions before them.

use super::{Conv, Network, Norm, Op};

// ANCHOR: fold
/// The same function without normalizations: with the statistics `moments` fixed, each is a scale and a shift of each channel,
/// which the kernel before it takes up, and so is the ReLU after it. A normalization without a convolution before it stays.
#[must_use]
pub fn fold(network: &Network, moments: &[[Vec<f32>; 2]]) -> Network {
    let mut folded = Vec::new();
    let ops = fold_ops(&network.ops, &mut network.weights.as_slice(), &mut moments.iter(), &mut folded);
    Network::new(ops, folded)
}

/// Kernel and bias of a convolution and a normalization.
fn fold_pair(conv: &Conv, own: &[f32], norm: &[f32], [mean, inverse]: &[Vec<f32>; 2]) -> Vec<f32> {
    let (scale, shift) = norm.split_at(conv.outputs);
    let by: Vec<f32> = scale.iter().zip(inverse).map(|(scale, inverse)| scale * inverse).collect();
    // Output channels come last, so the factors repeat along the kernel.
    let kernel = own[..conv.kernel_len()].iter().zip(by.iter().cycle()).map(|(w, by)| w * by);
    let before = |n: usize| if conv.bias { own[conv.kernel_len() + n] } else { 0.0 };
    let bias = (0..conv.outputs).map(|n| shift[n] + (before(n) - mean[n]) * by[n]);
    kernel.chain(bias).collect()
}
// ANCHOR_END: fold

fn fold_ops(
    ops: &[Op],
    weights: &mut &[f32],
    moments: &mut std::slice::Iter<'_, [Vec<f32>; 2]>,
    folded: &mut Vec<f32>,
) -> Vec<Op> {
    let mut all = Vec::new();
    let mut i = 0;
    while i < ops.len() {
        let mut own = |op: &Op| {
            let (own, rest) = weights.split_at(op.weights().min(weights.len()));
            *weights = rest;
            own
        };
        match (&ops[i], ops.get(i + 1)) {
            (Op::Conv(conv), Some(next @ Op::Norm(Norm { relu, .. }))) => {
                let (kernel, norm) = (own(&ops[i]), own(next));
                if let Some(moments) = moments.next() {
                    folded.extend(fold_pair(conv, kernel, norm, moments));
                }
                all.push(Op::Conv(Conv { bias: true, relu: *relu, ..*conv }));
                i += 1;
            }
            (Op::Skip(ops), _) => all.push(Op::Skip(fold_ops(ops, weights, moments, folded))),
            (Op::Join(one, other), _) => {
                let one = fold_ops(one, weights, moments, folded);
                all.push(Op::Join(one, fold_ops(other, weights, moments, folded)));
            }
            (op, _) => {
                if matches!(op, Op::Norm(_)) {
                    moments.next();
                }
                folded.extend_from_slice(own(op));
                all.push(op.clone());
            }
        }
        i += 1;
    }
    all
}
