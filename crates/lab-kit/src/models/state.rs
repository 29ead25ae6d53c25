//! The weights of any Burn module as plain numbers under the names that Hugging Face gives them.
//!
//! A module's tensors are found by walking it; its fields are named like the file's tensors, so nothing is listed twice.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Device, Tensor, TensorData},
};
use lab_api::{LabError, nearest};

use crate::{
    mlp::{read, transpose},
    weights::{Precision, WeightFile, WeightWriter},
};

/// One tensor as plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Its shape. A linear layer's is `[outputs, inputs]`, as in PyTorch.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// All tensors of a model by name (PyTorch's word for it), the same on every platform.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StateDict {
    tensors: BTreeMap<String, Weight>,
}

impl StateDict {
    /// Adds a tensor, or replaces the one of this name.
    ///
    /// # Errors
    /// [`LabError::Engine`] when the shape does not hold so many numbers.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Result<(), LabError> {
        if shape.iter().product::<usize>() != values.len() {
            let why = format!("the tensor “{name}” of shape {shape:?} cannot hold {} numbers", values.len());
            return Err(LabError::Engine { why });
        }
        self.tensors.insert(name.to_owned(), Weight { shape: shape.to_vec(), values });
        Ok(())
    }

    /// The tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Weight> {
        self.tensors.get(name)
    }

    /// The tensor of this name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Weight> {
        self.tensors.get_mut(name)
    }

    /// Names and tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Weight)> {
        self.tensors.iter().map(|(name, weight)| (name.as_str(), weight))
    }

    /// Numbers in all tensors.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|weight| weight.values.len()).sum()
    }

    /// Reads the weights of a module back from its device.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn of<M: Module>(module: &M) -> Result<Self, LabError> {
        let mut collector = Collector::default();
        module.visit(&mut collector);
        let mut state = Self::default();
        for (name, mut shape, flat) in collector.found {
            let mut values = read(flat).await?;
            if is_projection(&name, &shape) {
                values = transpose(&values, shape[0], shape[1]);
                shape.reverse();
            }
            state.insert(&name, &shape, values)?;
        }
        Ok(state)
    }

    /// Puts these weights into a module, on `device`. `source` names where they come from, for errors. The identity of
    /// each parameter is made from its name, so that an optimizer's state fits after a restart.
    ///
    /// # Errors
    /// [`LabError::Asset`] when a tensor is missing, of another shape, or belongs to no parameter of the module.
    pub fn load_into<M: Module>(&self, module: M, source: &str, device: &Device) -> Result<M, LabError> {
        let mut loader =
            Loader { state: self, device: device.clone(), path: Vec::new(), used: Vec::new(), wrong: None };
        let module = module.map(&mut loader);
        let fail = |why: String| LabError::Asset { name: source.to_owned(), why };
        if let Some(why) = loader.wrong {
            return Err(fail(why));
        }
        if let Some(extra) = self.tensors.keys().find(|name| !loader.used.contains(name)) {
            let near = nearest(extra, loader.used.iter().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; the nearest that it has is “{near}”"));
            return Err(fail(format!("the model has no place for its tensor “{extra}”{hint}")));
        }
        Ok(module)
    }

    /// Reads all tensors of a safetensors file; halves become singles.
    ///
    /// # Errors
    /// [`LabError::Asset`] when the file is cut short, or a tensor holds something else than finite floats.
    pub fn from_safetensors(source: &str, bytes: &[u8]) -> Result<Self, LabError> {
        let file = WeightFile::open(source, bytes)?;
        let mut state = Self::default();
        for (name, shape) in file.shapes() {
            state.insert(&name, &shape, file.floats(&name, &shape)?)?;
        }
        Ok(state)
    }

    /// The safetensors file of these tensors.
    ///
    /// # Errors
    /// [`LabError::Refused`] when a number is too large for the precision.
    pub fn to_safetensors(&self, precision: Precision, made_by: &str) -> Result<Vec<u8>, LabError> {
        let mut writer = WeightWriter::default();
        for (name, weight) in &self.tensors {
            writer.floats_as(precision, name, &weight.shape, &weight.values)?;
        }
        writer.finish(made_by)
    }
}

/// Whether Burn keeps this tensor the other way round: its linear layers are `[inputs, outputs]`, PyTorch's and the
/// file's are `[outputs, inputs]`. An embedding is `[vocabulary, channels]` in both.
fn is_projection(name: &str, shape: &[usize]) -> bool {
    shape.len() == 2 && !name.contains("embed")
}

/// The name of a parameter in the file, from the fields that lead to it: Burn calls the weight of a norm `gamma`.
pub(crate) fn file_name(path: &[String]) -> String {
    path.join(".").replace("gamma", "weight")
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    found: Vec<(String, Vec<usize>, Tensor<1>)>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        self.found.push((file_name(&self.path), shape, tensor.flatten::<1>(0, D - 1)));
    }
}

struct Loader<'a> {
    state: &'a StateDict,
    device: Device,
    path: Vec<String>,
    used: Vec<String>,
    wrong: Option<String>,
}

impl Loader<'_> {
    /// The numbers of a parameter as Burn lays them out, or why there are none.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let Some(weight) = self.state.get(name) else {
            let near = nearest(name, self.state.tensors.keys().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; the nearest it has is “{near}”"));
            return Err(format!("it lacks the tensor “{name}”{hint}"));
        };
        let turned = is_projection(name, shape);
        let expected: Vec<usize> = if turned { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        if weight.shape != expected {
            return Err(format!("tensor “{name}” has shape {:?}, not {expected:?}", weight.shape));
        }
        Ok(if turned { transpose(&weight.values, shape[1], shape[0]) } else { weight.values.clone() })
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = file_name(&self.path);
        let shape = param.val().dims();
        match self.values(&name, &shape) {
            Ok(values) => {
                let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), &self.device);
                let tensor = if self.device.is_autodiff() { tensor.require_grad() } else { tensor };
                let id = identity(&name);
                self.used.push(name);
                Param::initialized(id, tensor)
            }
            Err(why) => {
                self.wrong.get_or_insert(why);
                param
            }
        }
    }
}

/// The identity of a parameter, made from its name (FNV-1a: any fixed hash serves).
fn identity(name: &str) -> ParamId {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ParamId::from(hash)
}
