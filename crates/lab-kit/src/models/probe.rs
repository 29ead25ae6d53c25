//! The gradient of the loss by what each matrix of a language model puts out.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Int, Tensor},
};
use lab_api::LabError;

use super::{StateDict, Transformer, TransformerConfig};
use crate::{mlp::read, training::cross_entropy};

/// For each matrix of the model, by its name in [`TransformerConfig::shapes`], the gradient of the summed loss of `targets`
/// `[B · T]` by its outputs, `[B · T, outputs]`, when the model reads tokens `[B, T]`. `device` is one without gradients.
///
/// # Errors
/// As [`Transformer::new`]; [`LabError::Device`] when the device fails.
pub async fn output_gradients(
    (config, weights, source): (&TransformerConfig, &StateDict, &str),
    tokens: &[&[u32]],
    targets: Tensor<1, Int>,
    device: &Device,
) -> Result<Vec<(String, Vec<f32>)>, LabError> {
    let device = device.clone().autodiff();
    let rows = tokens.len() * tokens.first().map_or(0, |row| row.len());
    let mut probed = weights.clone();
    let is_matrix = |name: &str| name.ends_with("_proj.weight") || name == "lm_head.weight";
    for (name, weight) in weights.iter().filter(|(name, _)| is_matrix(name)) {
        let outputs = weight.shape[0];
        let probe = name.replace(".weight", ".probe");
        probed.insert(&probe, &[outputs, rows], vec![0.0; outputs * rows])?;
    }
    let model = Transformer::new(config, &probed, source, &device)?;
    let logits = model.forward(model.tokens(tokens, &device)?);
    let loss = cross_entropy(logits.reshape([rows, config.vocabulary]), targets).mul_scalar(rows as f32);
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let mut finder = Finder { gradients, path: Vec::new(), found: Vec::new() };
    model.visit(&mut finder);
    let mut all = Vec::new();
    for (name, gradient) in finder.found {
        all.push((name, read(gradient).await?));
    }
    Ok(all)
}

struct Finder {
    gradients: GradientsParams,
    path: Vec<String>,
    found: Vec<(String, Tensor<1>)>,
}

impl ModuleVisitor for Finder {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.path.last().is_some_and(|name| name == "probe")
            && let Some(gradient) = self.gradients.get::<D>(param.id)
        {
            let name = format!("{}.weight", self.path[..self.path.len() - 1].join("."));
            self.found.push((name, gradient.flatten::<1>(0, D - 1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::Rng;

    use super::*;
    use crate::{models::config_tests::tiny, testing::ready};

    #[test]
    fn a_gradient_tells_what_a_small_change_of_a_matrix_does_to_the_loss() {
        let (config, device) = (tiny(), Device::flex());
        let weights = config.init(&mut crate::rng(0, "weights"));
        let mut rng = crate::rng(1, "text");
        let text: Vec<u32> = (0..12).map(|_| rng.random_range(0..17)).collect();
        let targets: Vec<i32> = (0..12).map(|_| rng.random_range(0..17)).collect();
        let targets = || Tensor::<1, Int>::from_data(TensorData::new(targets.clone(), [12]), &device);
        let rows: Vec<&[u32]> = text.chunks(6).collect();
        let found = ready(output_gradients((&config, &weights, "a test"), &rows, targets(), &device)).expect("runs");
        let matrices = config.shapes().iter().filter(|(_, shape)| shape.len() == 2).count();
        // The embedding is read by row and has no product.
        assert_eq!(found.len(), matrices - 1);
        let model = Transformer::new(&config, &weights, "a test", &device).expect("fits");
        let inputs = model.inputs_of_matrices(model.tokens(&rows, &device).expect("valid"));
        let loss = |weights: &StateDict| -> f64 {
            let model = Transformer::new(&config, weights, "a test", &device).expect("fits");
            let logits = model.forward(model.tokens(&rows, &device).expect("valid")).reshape([12, 17]);
            12.0 * f64::from(ready(read(cross_entropy(logits, targets()))).expect("runs")[0])
        };
        for (name, gradient) in found {
            let (_, input) = inputs.iter().find(|(names, _)| names.contains(&name)).expect("has an input");
            let input = ready(read(input.clone())).expect("runs");
            let shape = weights.get(&name).expect("there").shape.clone();
            // dL/dW = gᵀ x, checked along one random direction.
            let direction: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut expected = 0.0;
            for (g, x) in gradient.chunks_exact(shape[0]).zip(input.chunks_exact(shape[1])) {
                for (o, g) in g.iter().enumerate() {
                    let row = &direction[o * shape[1]..(o + 1) * shape[1]];
                    expected += f64::from(g * row.iter().zip(x).map(|(d, x)| d * x).sum::<f32>());
                }
            }
            let moved = |by: f32| {
                let mut weights = weights.clone();
                let values = &mut weights.get_mut(&name).expect("there").values;
                values.iter_mut().zip(&direction).for_each(|(w, d)| *w += by * d);
                loss(&weights)
            };
            let slope = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            assert!((slope - expected).abs() < 2e-2 * (1.0 + expected.abs()), "{name}: {slope} {expected}");
        }
    }

    #[test]
    fn two_factors_compute_what_their_product_computes() {
        let (config, device) = (tiny(), Device::flex());
        let weights = config.init(&mut crate::rng(0, "weights"));
        let mut factored = weights.clone();
        let mut product = weights.clone();
        let mut rng = crate::rng(1, "factors");
        let name = "model.layers.1.mlp.gate_proj";
        let shape = weights.get(&format!("{name}.weight")).expect("there").shape.clone();
        let (a, b) = (
            (0..shape[0] * 3).map(|_| rng.random_range(-0.5..0.5)).collect::<Vec<f32>>(),
            (0..3 * shape[1]).map(|_| rng.random_range(-0.5..0.5)).collect::<Vec<f32>>(),
        );
        for (at, value) in product.get_mut(&format!("{name}.weight")).expect("there").values.iter_mut().enumerate() {
            let (i, j) = (at / shape[1], at % shape[1]);
            *value = (0..3).map(|k| a[i * 3 + k] * b[k * shape[1] + j]).sum();
        }
        factored.insert(&format!("{name}.weight"), &[shape[0], 3], a).expect("fits");
        factored.insert(&format!("{name}.down"), &[3, shape[1]], b).expect("fits");
        let run = |weights: &StateDict| {
            let model = Transformer::new(&config, weights, "a test", &device).expect("fits");
            let tokens = model.tokens(&[&[1, 5, 9, 2]], &device).expect("valid");
            ready(read(model.forward(tokens))).expect("runs")
        };
        let back = Transformer::new(&config, &factored, "a test", &device).expect("fits");
        assert_eq!(ready(back.weights()).expect("runs"), factored);
        for (one, other) in run(&factored).iter().zip(run(&product)) {
            assert!((one - other).abs() < 1e-5);
        }
    }
}
