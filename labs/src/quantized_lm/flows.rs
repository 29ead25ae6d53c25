//! What flows into the matrices when the FP32 model reads an example text.

use lab_api::LabError;
use lab_kit::{
    Context,
    data::{Corpus, Part},
    mlp::read,
    quant::Hessian,
};

use super::model::{Source, WINDOW, windows};

/// Windows that show what flows into the matrices: 4,096 tokens.
const EXAMPLES: usize = 16;
/// Of their tokens one in so many is kept as it is: 512.
const EVERY: usize = 8;

/// The input of one matrix, or of several that share it.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// The matrices, by their names in the file.
    pub(super) names: Vec<String>,
    /// Its channels.
    pub(super) columns: usize,
    /// A sample, `[512, columns]`.
    pub(super) rows: Vec<f32>,
    /// How all of it varies, where that was asked for.
    pub(super) hessian: Option<Hessian>,
}

impl Flow {
    /// What it is after each channel was multiplied by one of `by`.
    pub(super) fn scaled(&self, by: &[f32]) -> Self {
        Self {
            rows: lab_kit::quant::remedy::scale_columns(&self.rows, by),
            hessian: self.hessian.as_ref().map(|hessian| hessian.scaled(by)),
            ..self.clone()
        }
    }

    /// The largest magnitude of each channel.
    pub(super) fn reach(&self) -> Vec<f32> {
        let mut reach = vec![0.0_f32; self.columns];
        for row in self.rows.chunks_exact(self.columns) {
            reach.iter_mut().zip(row).for_each(|(most, value)| *most = most.max(value.abs()));
        }
        reach
    }

    /// That of the largest channel over that of the middle one.
    pub(super) fn stands_out(&self) -> f32 {
        let mut reach = self.reach();
        reach.sort_by(f32::total_cmp);
        reach.last().map_or(1.0, |most| most / reach[reach.len() / 2].max(f32::MIN_POSITIVE))
    }
}

impl Source {
    /// Lets the FP32 model read a text that it is neither trained on nor judged by. `hessians`: whether how the inputs vary
    /// together is recorded too.
    pub(super) async fn flows(&self, hessians: bool, cx: &Context) -> Result<Vec<Flow>, LabError> {
        let corpus = Corpus::read(Part::Validation, &cx.asset(Part::Validation.asset()).await?)?;
        let tokens = self.tokenizer.encode(&corpus.text);
        let model = self.fp32(cx)?;
        let mut flows: Vec<Flow> = Vec::new();
        for window in windows(&tokens, EXAMPLES) {
            let seen = model.inputs_of_matrices(model.tokens(&[&window[..WINDOW]], &cx.device)?);
            for (i, (names, input)) in seen.into_iter().enumerate() {
                let [_, columns] = input.dims();
                if flows.len() == i {
                    let hessian = hessians.then(|| Hessian::new(columns));
                    flows.push(Flow { names, columns, rows: Vec::new(), hessian });
                }
                let (flow, input) = (&mut flows[i], read(input).await?);
                flow.rows.extend(input.chunks_exact(columns).step_by(EVERY).flatten());
                if let Some(hessian) = &mut flow.hessian {
                    hessian.add(&input);
                }
                cx.checkpoint().await?;
            }
        }
        Ok(flows)
    }
}
