//! Scaling the channels of a transformer's activations without changing what it computes: what a norm or a matrix before writes
//! smaller, the matrices after read larger.

use lab_api::LabError;

use super::{StateDict, TransformerConfig};

/// Matrices that share an input, and what makes that input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The matrices whose columns read it.
    pub readers: Vec<String>,
    /// The norm whose numbers, or the matrix whose rows, write it.
    pub writer: String,
}

impl Site {
    /// All places where channels can be scaled, one by one: after each norm, and between `up_proj` and `down_proj`, whose other
    /// factor, the gate, stays as it is. An output layer that is the embedding too has none. Inputs of `o_proj` are left
    /// alone: heads that share values would have to share factors.
    #[must_use]
    pub fn all(config: &TransformerConfig) -> Vec<Self> {
        let site = |readers: &[&str], writer: &str, prefix: &str| Self {
            readers: readers.iter().map(|name| format!("{prefix}{name}.weight")).collect(),
            writer: format!("{prefix}{writer}.weight"),
        };
        let mut sites = Vec::new();
        for layer in 0..config.layers {
            let prefix = format!("model.layers.{layer}.");
            let attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
            sites.push(site(&attention, "input_layernorm", &prefix));
            sites.push(site(&["mlp.gate_proj", "mlp.up_proj"], "post_attention_layernorm", &prefix));
            sites.push(site(&["mlp.down_proj"], "mlp.up_proj", &prefix));
        }
        if !config.tied {
            sites.push(site(&["lm_head"], "model.norm", ""));
        }
        sites
    }

    /// Whether a norm writes it.
    #[must_use]
    pub fn is_normed(&self) -> bool {
        self.writer.contains("norm")
    }

    /// Divides channel `j` of the input by `factors[j]` and multiplies column `j` of its readers. By powers of two the model
    /// computes the same to the last bit.
    ///
    /// # Errors
    /// [`LabError::Engine`] when the model has no such site, or one of another width.
    pub fn rescale(&self, weights: &mut StateDict, factors: &[f32]) -> Result<(), LabError> {
        let missing =
            |name: &str| LabError::Engine { why: format!("{} factors do not fit “{name}”", factors.len()) };
        let writer = weights.get_mut(&self.writer).filter(|writer| writer.shape[0] == factors.len());
        let writer = writer.ok_or_else(|| missing(&self.writer))?;
        let row = writer.values.len() / factors.len().max(1);
        for (row, factor) in writer.values.chunks_exact_mut(row.max(1)).zip(factors) {
            row.iter_mut().for_each(|value| *value /= factor);
        }
        for name in &self.readers {
            let reader = weights.get_mut(name).filter(|reader| reader.shape[1..] == [factors.len()]);
            let reader = reader.ok_or_else(|| missing(name))?;
            reader.values.iter_mut().zip(factors.iter().cycle()).for_each(|(value, factor)| *value *= factor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::Rng;

    use super::*;
    use crate::{
        mlp::read,
        models::{Transformer, config_tests::tiny},
        testing::ready,
    };

    fn logits(config: &TransformerConfig, weights: &StateDict) -> Vec<f32> {
        let device = Device::flex();
        let model = Transformer::new(config, weights, "a test", &device).expect("fits");
        ready(read(model.forward(model.tokens(&[&[3, 1, 4, 1, 5]], &device).expect("valid")))).expect("runs")
    }

    #[test]
    fn scaled_channels_compute_what_they_did() {
        let mut rng = crate::rng(0, "factors");
        for tied in [false, true] {
            let config = TransformerConfig { tied, ..tiny() };
            let plain = config.init(&mut rng);
            let before = logits(&config, &plain);
            let (mut twos, mut any) = (plain.clone(), plain.clone());
            let sites = Site::all(&config);
            assert_eq!(sites.len(), 3 * config.layers + usize::from(!tied));
            assert_eq!(sites.iter().filter(|site| !site.is_normed()).count(), config.layers);
            for site in &sites {
                let width = plain.get(&site.readers[0]).expect("there").shape[1];
                let powers: Vec<f32> = (0..width).map(|_| 2_f32.powi(rng.random_range(-6..7))).collect();
                site.rescale(&mut twos, &powers).expect("fits");
                let factors: Vec<f32> = (0..width).map(|_| rng.random_range(0.1..10.0)).collect();
                site.rescale(&mut any, &factors).expect("fits");
            }
            assert_ne!(twos, plain);
            assert_eq!(logits(&config, &twos), before);
            for (a, b) in logits(&config, &any).iter().zip(&before) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
    }

    #[test]
    fn factors_of_another_width_are_refused() {
        let mut weights = tiny().init(&mut crate::rng(0, "weights"));
        let site = &Site::all(&tiny())[0];
        let why = site.rescale(&mut weights, &[1.0; 3]).expect_err("refused").to_string();
        assert!(why.contains("3 factors do not fit “model.layers.0.input_layernorm.weight”"), "{why}");
    }
}
