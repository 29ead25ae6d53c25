//! The size of a gradient over all parameters together.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

/// Sum of the squares of all gradients, `[1]`; nothing when no parameter has one.
pub(super) fn squared_norm<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut squares = Squares { gradients, sums: Vec::new() };
    module.visit(&mut squares);
    // In a tree of one level, in the module's order: the same sum on every run.
    (!squares.sums.is_empty()).then(|| Tensor::cat(squares.sums, 0).sum())
}

/// All gradients times `factor`.
pub(super) fn scale<M: Module>(module: &M, gradients: GradientsParams, factor: f64) -> GradientsParams {
    let mut scaled = Scaled { from: gradients, factor, to: GradientsParams::new() };
    module.visit(&mut scaled);
    scaled.to
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.square().sum());
        }
    }
}

struct Scaled {
    from: GradientsParams,
    factor: f64,
    to: GradientsParams,
}

impl ModuleVisitor for Scaled {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            self.to.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
