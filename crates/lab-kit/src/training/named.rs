//! Gradients under the names of their parameters.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use lab_api::LabError;

use crate::{mlp::read, models::file_name};

/// The gradients of those parameters whose names `wanted` picks, as plain numbers in the order in which Burn keeps them, and
/// the names, which are those of the weight file.
///
/// # Errors
/// [`LabError::Device`] when the device fails.
pub async fn named_gradients<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<f32>)>, LabError> {
    let mut named = Named { gradients, wanted, path: Vec::new(), found: Vec::new() };
    module.visit(&mut named);
    let mut all = Vec::new();
    for (name, gradient) in named.found {
        all.push((name, read(gradient).await?));
    }
    Ok(all)
}

struct Named<'a> {
    gradients: &'a GradientsParams,
    wanted: &'a dyn Fn(&str) -> bool,
    path: Vec<String>,
    found: Vec<(String, Tensor<1>)>,
}

impl ModuleVisitor for Named<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = file_name(&self.path);
        if !(self.wanted)(&name) {
            return;
        }
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.found.push((name, gradient.flatten::<1>(0, D - 1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        language::windows_to_tensors,
        models::{Transformer, config_tests::tiny},
        testing::ready,
        training::cross_entropy,
    };

    #[test]
    fn gradients_have_the_names_of_their_weights_and_point_uphill() {
        let (device, config) = (Device::flex().autodiff(), tiny());
        let state = config.init(&mut crate::rng(0, "weights"));
        let loss = |state: &crate::models::StateDict| {
            let model = Transformer::new(&config, state, "a test", &device).expect("fits");
            let (x, y) = windows_to_tensors(&[&[1, 2, 3, 4]], &device);
            (cross_entropy(model.forward(x).flatten::<2>(0, 1), y), model)
        };
        let (value, model) = loss(&state);
        let gradients = GradientsParams::from_grads(value.clone().backward(), &model);
        let found = ready(named_gradients(&model, &gradients, &|name| name == "model.norm.weight")).expect("reads");
        let [(_, gradient)] = &found[..] else { panic!("{found:?}") };
        // A step along it in the named weight raises the loss by its squared length.
        let mut moved = state.clone();
        let weight = moved.get_mut("model.norm.weight").expect("there");
        weight.values.iter_mut().zip(gradient).for_each(|(w, g)| *w += 1e-2 * g);
        let rise = loss(&moved).0.into_scalar::<f32>() - value.into_scalar::<f32>();
        let expected = 1e-2 * gradient.iter().map(|g| g * g).sum::<f32>();
        assert!(expected > 1e-5 && (rise / expected - 1.0).abs() < 0.1, "{rise} {expected}");
    }
}
