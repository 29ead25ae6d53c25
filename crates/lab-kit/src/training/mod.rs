//! The training loop of models that take long, native and in a browser: AdamW, warm-up and cosine, clipping, checkpoints.

mod checkpoint;
mod clip;
mod loss;
mod named;
mod order;
mod schedule;

use burn::{
    module::{Module, ModuleVisitor, Param, ParamGroup, ParamId},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::Tensor,
};
use lab_api::LabError;

use crate::mlp::read;

pub use checkpoint::Checkpoint;
pub use loss::cross_entropy;
pub use named::named_gradients;
pub use order::{Order, Windows};
pub use schedule::Recipe;

/// A loss so many times the first one (or 1, if that was lower) is no longer learning.
const DIVERGED: f32 = 100.0;

/// A model being trained.
pub struct Trainer<M: Module> {
    model: M,
    optimizer: ModuleOptimizer,
    recipe: Recipe,
    step: usize,
    first_loss: Option<f32>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done, this one included.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Loss of this step's batch, before its update.
    pub loss: f32,
    /// Norm of the gradient of all parameters together, before clipping.
    pub gradient_norm: f32,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Seconds that the rest will take, if it goes on as since the training began here; none after the first step, which
    /// warms up.
    pub seconds_left: Option<f64>,
}

impl Progress {
    /// Share of the steps that is done.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.step as f64 / self.steps as f64
    }
}

impl<M: Module> Trainer<M> {
    /// Begins to train a model, which must stand on a device from
    /// [`Device::autodiff`](burn::tensor::Device::autodiff).
    ///
    /// # Errors
    /// [`LabError::Refused`] for a recipe that trains nothing.
    pub fn new(model: M, recipe: Recipe) -> Result<Self, LabError> {
        recipe.check()?;
        let mut matrices = Matrices::default();
        model.visit(&mut matrices);
        let adam = AdamWConfig::new().with_beta_1(recipe.beta_1).with_beta_2(recipe.beta_2).with_epsilon(1e-8);
        let optimizer = ModuleOptimizer::from(adam.clone().with_weight_decay(0.0).build());
        let decayed = adam.with_weight_decay(recipe.weight_decay).build();
        let optimizer = optimizer.with_group(ParamGroup::from_ids(matrices.0), decayed, None);
        Ok(Self { model, optimizer, recipe, step: 0, first_loss: None })
    }

    /// The model as it is now.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Steps done.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Goes on with other weights: those of a model whose parameters have the same identities, as
    /// [`StateDict::load_into`](crate::models::StateDict::load_into) gives them.
    pub fn set_model(&mut self, model: M) {
        self.model = model;
    }

    /// The model, trained, for use: without records for gradients.
    #[must_use]
    pub fn finish(self) -> M {
        self.model.valid()
    }

    /// Trains until the recipe's last step. `loss` computes the loss `[1]` of a step from the model and the number of the
    /// step, counted from 0; its batch should depend on that number and a seed alone ([`Order`], [`Windows`]), so that a
    /// resumed training continues as if it had never stopped. `between` is called after each step: a place for progress,
    /// checkpoints and Cancel. `now_ms` is a clock.
    ///
    /// # Errors
    /// [`LabError::Refused`] naming the step when the training diverges; what `loss` and `between` return;
    /// [`LabError::Device`] when the device fails.
    pub async fn run(
        &mut self,
        now_ms: impl Fn() -> f64,
        mut loss: impl FnMut(&M, usize) -> Result<Tensor<1>, LabError>,
        mut between: impl AsyncFnMut(&Self, &Progress) -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        let mut warm: Option<(usize, f64)> = None;
        while self.step < self.recipe.steps {
            let mut progress = self.advance(&mut loss).await?;
            match warm {
                None => warm = Some((self.step, now_ms())),
                Some((step, since)) => {
                    let each = (now_ms() - since) / (self.step - step) as f64;
                    progress.seconds_left = Some(1e-3 * each * (self.recipe.steps - self.step) as f64);
                }
            }
            between(self, &progress).await?;
        }
        Ok(())
    }

    /// One step, for whoever trains several models side by side; else as [`Trainer::run`].
    ///
    /// # Errors
    /// As [`Trainer::run`].
    pub async fn advance(
        &mut self,
        loss: &mut impl FnMut(&M, usize) -> Result<Tensor<1>, LabError>,
    ) -> Result<Progress, LabError> {
        let loss = loss(&self.model, self.step)?;
        let value = loss.clone().inner();
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        let Some(squared) = clip::squared_norm(&self.model, &gradients) else {
            return Err(LabError::Engine { why: "the loss depends on no parameter of the model".into() });
        };
        // One wait for both: on a GPU each costs a trip there and back.
        let numbers = read(Tensor::cat(vec![value, squared], 0)).await?;
        let (value, norm) = (numbers[0], numbers[1].sqrt());
        self.judge(value, norm)?;
        let gradients = if f64::from(norm) > self.recipe.clip_norm {
            clip::scale(&self.model, gradients, self.recipe.clip_norm / f64::from(norm))
        } else {
            gradients
        };
        let learning_rate = self.recipe.rate(self.step);
        self.model = self.optimizer.step(learning_rate, self.model.clone(), gradients);
        self.step += 1;
        Ok(Progress {
            step: self.step,
            steps: self.recipe.steps,
            loss: value,
            gradient_norm: norm,
            learning_rate,
            seconds_left: None,
        })
    }

    /// Refuses to go on when nothing is being learned any more.
    fn judge(&mut self, loss: f32, norm: f32) -> Result<(), LabError> {
        let first = *self.first_loss.get_or_insert(loss);
        let limit = DIVERGED * first.max(1.0);
        let what = if !loss.is_finite() {
            format!("the loss is {loss}")
        } else if !norm.is_finite() {
            format!("the gradient's norm is {norm}")
        } else if loss > limit {
            format!("the loss is {loss}, after {first} at first")
        } else {
            return Ok(());
        };
        let why = format!(
            "the training diverged at step {} of {}: {what}. Take a lower learning rate than {}, a longer warm-up than {} \
             steps, or check the data",
            self.step + 1,
            self.recipe.steps,
            self.recipe.learning_rate,
            self.recipe.warmup_steps
        );
        Err(LabError::Refused { why })
    }
}

/// Parameters of two dimensions or more: those that are decayed.
#[derive(Default)]
struct Matrices(Vec<ParamId>);

impl ModuleVisitor for Matrices {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D > 1 {
            self.0.push(param.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        language::windows_to_tensors,
        models::{StateDict, Transformer, config_tests::tiny},
        testing::ready,
    };

    fn model(device: &Device) -> Transformer {
        let config = tiny();
        Transformer::new(&config, &config.init(&mut crate::rng(0, "weights")), "a test", device).expect("fits")
    }

    /// A text with a rule: each token is three more than the one before, but for a leap now and then.
    fn text() -> Vec<u32> {
        let mut text = vec![1];
        for i in 1..400 {
            text.push((text[i - 1] + if i % 37 == 0 { 8 } else { 3 }) % 17);
        }
        text
    }

    fn recipe() -> Recipe {
        Recipe { steps: 60, warmup_steps: 5, learning_rate: 1e-2, ..Recipe::default() }
    }

    fn run(trainer: &mut Trainer<Transformer>, device: &Device, stop: usize) -> Result<Vec<Progress>, LabError> {
        let mut windows = Windows::new(text(), 12, 4, 5);
        let mut seen = Vec::new();
        let loss = |model: &Transformer, step: usize| {
            let (x, y) = windows_to_tensors(&windows.rows(step), device);
            Ok(cross_entropy(model.forward(x).flatten::<2>(0, 1), y))
        };
        let ended = ready(trainer.run(
            || 0.0,
            loss,
            async |_, progress| {
                seen.push(*progress);
                if progress.step == stop { Err(LabError::Cancelled) } else { Ok(()) }
            },
        ));
        match ended {
            Err(LabError::Cancelled) | Ok(()) => Ok(seen),
            Err(error) => Err(error),
        }
    }

    #[test]
    fn a_resumed_training_ends_in_the_same_numbers() {
        let device = Device::flex().autodiff();
        let mut whole = Trainer::new(model(&device), recipe()).expect("begins");
        let seen = run(&mut whole, &device, usize::MAX).expect("trains");
        assert_eq!(seen.len(), 60);
        // It learns: the loss of guessing is ln(17).
        let late = seen[50..].iter().map(|p| p.loss).sum::<f32>() / 10.0;
        assert!(seen[0].loss > 2.7 && late < 2.0, "{} {late}", seen[0].loss);

        let mut first = Trainer::new(model(&device), recipe()).expect("begins");
        run(&mut first, &device, 23).expect("trains");
        let checkpoint = ready(first.checkpoint()).expect("written");
        let bytes = checkpoint.write().expect("fits");
        let read = Checkpoint::read("c", &bytes).expect("whole");
        assert_eq!(read, checkpoint);
        let mut second = Trainer::resume(model(&device), recipe(), &read, &device).expect("fits");
        let rest = run(&mut second, &device, usize::MAX).expect("trains");
        assert_eq!(
            rest.iter().map(|p| p.loss).collect::<Vec<_>>(),
            seen[23..].iter().map(|p| p.loss).collect::<Vec<_>>()
        );
        let weights = |trainer: Trainer<Transformer>| ready(StateDict::of(&trainer.finish())).expect("read");
        assert_eq!(weights(whole), weights(second));
        assert!(Checkpoint::read("c", &bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn divergence_names_the_step() {
        let device = Device::flex().autodiff();
        let wild = Recipe { learning_rate: 10.0, warmup_steps: 0, ..recipe() };
        let mut trainer = Trainer::new(model(&device), wild).expect("begins");
        let result = ready(trainer.run(
            || 0.0,
            |model: &Transformer, step| {
                let (x, y) = windows_to_tensors(&[&[1, 2, 3]], &device);
                let loss = cross_entropy(model.forward(x).flatten::<2>(0, 1), y);
                Ok(if step == 3 { loss.div_scalar(0.0) } else { loss })
            },
            async |_, _| Ok(()),
        ));
        let why = result.expect_err("diverged").to_string();
        assert!(why.contains("at step 4 of 60") && why.contains("lower learning rate"), "{why}");
    }

    #[test]
    fn the_norm_over_all_parameters_is_clipped_and_norms_are_not_decayed() {
        let device = Device::flex().autodiff();
        // One step on a loss that only the output layer feels: all else may change by its decay alone.
        let start = model(&device);
        let before = ready(StateDict::of(&start)).expect("read");
        let recipe = Recipe { steps: 1, warmup_steps: 0, learning_rate: 0.1, weight_decay: 0.5, ..recipe() };
        let mut trainer = Trainer::new(start, recipe).expect("begins");
        let loss = |model: &Transformer, _| {
            let (x, _) = windows_to_tensors(&[&[1, 2, 3]], &device);
            Ok(model.forward(x).mean().mul_scalar(1e-12))
        };
        ready(trainer.run(|| 0.0, loss, async |_, _| Ok(()))).expect("trains");
        let after = ready(StateDict::of(&trainer.finish())).expect("read");
        let change = |name: &str| {
            let (a, b) = (before.get(name).expect("there"), after.get(name).expect("there"));
            a.values.iter().zip(&b.values).map(|(a, b)| (b - a * 0.95).abs()).fold(0.0, f32::max)
        };
        // AdamW's own step is at most gradient / epsilon · rate: 1e-12 / 1e-8 · 0.1.
        assert!(change("model.layers.0.mlp.up_proj.weight") < 1e-4);
        assert!(change("model.norm.weight") > 0.04);
    }

    #[test]
    fn clipping_scales_the_gradient_of_all_parameters_together() {
        let device = Device::flex().autodiff();
        let model = model(&device);
        let (x, y) = windows_to_tensors(&[&[1, 2, 3, 4]], &device);
        let loss = cross_entropy(model.forward(x).flatten::<2>(0, 1), y);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let norm = |gradients: &GradientsParams| {
            clip::squared_norm(&model, gradients).expect("some").into_scalar::<f32>().sqrt()
        };
        let before = norm(&gradients);
        let after = norm(&clip::scale(&model, gradients, 0.25));
        assert!((after / before - 0.25).abs() < 1e-5, "{before} {after}");
    }
}
