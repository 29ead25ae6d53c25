//! Checkpointing of a transformer's layers with an automatic differentiation that has no word for it.

use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Int, Tensor},
};
use lab_api::LabError;

use crate::{models::Transformer, training::cross_entropy};

/// Nothing depends on what was to be differentiated.
fn untracked() -> LabError {
    LabError::Engine { why: "a segment has no gradient: its model must stand on an autodiff device".into() }
}

// ANCHOR: remembered
/// Loss and gradients of tokens `[B, T]` and what follows each of them `[B · T]`, with everything kept: the usual step.
#[must_use]
pub fn remembered(model: &Transformer, tokens: Tensor<2, Int>, next: Tensor<1, Int>) -> (Tensor<1>, GradientsParams) {
    let loss = cross_entropy(model.forward(tokens).flatten::<2>(0, 1), next);
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    (loss.inner(), gradients)
}
// ANCHOR_END: remembered

// ANCHOR: recomputed
/// The same with nothing kept but the inputs of the marked layers; every segment but the last one is run again. The model
/// stands on an autodiff device.
///
/// # Errors
/// [`LabError::Engine`] for a model without gradients.
pub fn recomputed(
    model: &Transformer,
    tokens: Tensor<2, Int>,
    next: Tensor<1, Int>,
    keep: &[bool],
) -> Result<(Tensor<1>, GradientsParams), LabError> {
    let layers = model.config().layers;
    let run = |x: Tensor<3>, from: usize, to: usize| (from..to).fold(x, |x, i| model.layer(i, x).0);
    let starts: Vec<usize> = (1..layers).filter(|layer| keep.get(*layer) == Some(&true)).collect();

    // Forward on weights that ask for no gradient, so that no graph is recorded: one that is never run backward would stay in
    // memory. It is still the device of automatic differentiation, and takes the same kernels as later; without it Burn has
    // another softmax, which rounds differently.
    let plain = model.clone().no_grad();
    let mut kept = Vec::new();
    let mut x = plain.embed(tokens.clone());
    for layer in 1..=starts.last().copied().unwrap_or(0) {
        x = plain.layer(layer - 1, x).0;
        if starts.contains(&layer) {
            kept.push(x.clone().inner());
        }
    }
    drop((x, plain));

    let mut sum = GradientsAccumulator::new();
    let (mut loss, mut end, mut gradient) = (None, layers, None::<Tensor<3>>);
    for start in starts.into_iter().rev().chain([0]) {
        // A leaf of its own graph; the first segment has the embedding instead.
        let leaf = kept.pop().map(|x| Tensor::from_inner(x).require_grad());
        let input = leaf.clone().unwrap_or_else(|| model.embed(tokens.clone()));
        let output = run(input, start, end);
        let root = match gradient.take() {
            None => {
                let found = cross_entropy(model.readout(output).flatten::<2>(0, 1), next.clone());
                loss = Some(found.clone().inner());
                found
            }
            // The derivative of this sum by the output is the gradient that the later segment left.
            Some(g) => (output * Tensor::from_inner(g)).sum(),
        };
        let mut all = root.backward();
        drop(root);
        gradient = leaf.and_then(|leaf| leaf.grad_remove(&mut all));
        sum.accumulate(model, GradientsParams::from_grads(all, model));
        end = start;
    }
    Ok((loss.ok_or_else(untracked)?, sum.grads()))
}
// ANCHOR_END: recomputed

/// The usual step in so many parts of the batch, one after the other: their gradients, added up and divided.
///
/// # Errors
/// [`LabError::Engine`] for a batch of no row.
pub fn accumulated(
    model: &Transformer,
    tokens: &Tensor<2, Int>,
    next: &Tensor<1, Int>,
    parts: usize,
) -> Result<(Tensor<1>, GradientsParams), LabError> {
    let [rows, length] = tokens.dims();
    let each = rows.div_ceil(parts.max(1)).max(1);
    let (mut sum, mut loss) = (GradientsAccumulator::new(), None::<Tensor<1>>);
    for from in (0..rows).step_by(each) {
        let taken = each.min(rows - from);
        let next = next.clone().narrow(0, from * length, taken * length);
        let tokens = tokens.clone().narrow(0, from, taken);
        let share = taken as f64 / rows as f64;
        let part = cross_entropy(model.forward(tokens).flatten::<2>(0, 1), next) * share;
        sum.accumulate(model, GradientsParams::from_grads(part.backward(), model));
        loss = Some(loss.map_or_else(|| part.clone().inner(), |loss| loss + part.clone().inner()));
    }
    Ok((loss.ok_or_else(untracked)?, sum.grads()))
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{ModuleVisitor, Param},
        tensor::Device,
    };

    use super::*;
    use crate::{
        language::windows_to_tensors,
        models::{TransformerConfig, config_tests::tiny},
    };

    fn model(tied: bool) -> Transformer {
        let config = TransformerConfig { layers: 4, tied, ..tiny() };
        let weights = config.init(&mut crate::rng(0, "weights"));
        Transformer::new(&config, &weights, "a test", &Device::flex().autodiff()).expect("fits")
    }

    fn texts() -> (Tensor<2, Int>, Tensor<1, Int>) {
        let rows: [Vec<u32>; 2] = [3, 7].map(|by| (0..9).map(|i| by * i % 17).collect());
        windows_to_tensors(&[&rows[0], &rows[1]], &Device::flex().autodiff())
    }

    #[derive(Default)]
    struct Bits<'a>(Option<&'a GradientsParams>, Vec<Vec<f32>>);

    impl ModuleVisitor for Bits<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let found = self.0.and_then(|all| all.get::<D>(param.id)).expect("every weight has a gradient");
            self.1.push(found.into_data().try_to_vec::<f32>().expect("floats"));
        }
    }

    fn numbers(model: &Transformer, (loss, gradients): (Tensor<1>, GradientsParams)) -> (f32, Vec<Vec<f32>>) {
        let mut bits = Bits(Some(&gradients), Vec::new());
        model.visit(&mut bits);
        (loss.into_scalar(), bits.1)
    }

    #[test]
    fn no_placement_changes_one_bit_and_parts_only_round() {
        for tied in [false, true] {
            let model = model(tied);
            let (x, y) = texts();
            let reference = numbers(&model, remembered(&model, x.clone(), y.clone()));
            assert!(reference.1.iter().all(|gradient| gradient.iter().any(|g| g.abs() > 1e-9)));
            for bits in 0..8_usize {
                let keep: Vec<bool> = (0..4).map(|i| i == 0 || bits >> (i - 1) & 1 == 1).collect();
                let found = numbers(&model, recomputed(&model, x.clone(), y.clone(), &keep).expect("runs"));
                assert_eq!(found, reference, "{keep:?}");
            }
            let parts = numbers(&model, accumulated(&model, &x, &y, 2).expect("runs"));
            assert!((parts.0 - reference.0).abs() < 1e-5);
            for (a, b) in parts.1.iter().flatten().zip(reference.1.iter().flatten()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
