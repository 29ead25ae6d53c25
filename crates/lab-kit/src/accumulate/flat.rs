//! A module's gradient as one vector.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use lab_api::LabError;

use crate::mlp::read;

struct Flat<'a> {
    gradients: &'a mut GradientsParams,
    parts: Vec<Tensor<1>>,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.parts.push(gradient.reshape([-1]));
        }
    }
}

/// All gradients of a module one after the other, in the module's order; read in one go, since on a GPU each reading waits.
/// Empty where there is none.
///
/// # Errors
/// [`LabError::Device`] when the device fails.
pub async fn flat_gradient<M: Module>(module: &M, mut gradients: GradientsParams) -> Result<Vec<f32>, LabError> {
    let mut flat = Flat { gradients: &mut gradients, parts: Vec::new() };
    module.visit(&mut flat);
    if flat.parts.is_empty() { Ok(Vec::new()) } else { read(Tensor::cat(flat.parts, 0)).await }
}
