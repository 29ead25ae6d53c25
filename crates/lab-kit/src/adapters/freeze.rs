//! Freezing by name: what is frozen gets no gradient, and so no place in the optimizer's state.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::Tensor,
};

// ANCHOR: freeze
/// The module in which only those parameters learn whose name is `wanted`, and how many numbers that are. Names are those of
/// a [`StateDict`](crate::models::StateDict). A [`Trainer`](crate::training::Trainer) then keeps moments for these alone.
pub fn train_only<M: Module>(module: M, wanted: &dyn Fn(&str) -> bool) -> (M, usize) {
    let mut gate = Gate { wanted, path: Vec::new(), numbers: 0 };
    let module = module.map(&mut gate);
    (module, gate.numbers)
}

struct Gate<'a> {
    wanted: &'a dyn Fn(&str) -> bool,
    path: Vec<String>,
    numbers: usize,
}

impl ModuleMapper for Gate<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let learns = (self.wanted)(&self.path.join(".").replace("gamma", "weight"));
        if learns {
            self.numbers += param.val().shape().num_elements();
        }
        param.set_require_grad(learns)
    }
}
// ANCHOR_END: freeze
