//! A layer without a framework.

/// One fully connected layer as plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Width of what comes in.
    pub inputs: usize,
    /// Width of what goes out.
    pub outputs: usize,
    /// `[outputs, inputs]`, row-major: a row is what one output channel weighs.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

impl Dense {
    /// Row `output` of the weight.
    #[must_use]
    pub fn row(&self, output: usize) -> &[f32] {
        &self.weight[output * self.inputs..(output + 1) * self.inputs]
    }
}
