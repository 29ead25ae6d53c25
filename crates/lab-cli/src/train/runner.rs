//! A training in the terminal: progress, and checkpoints under target/ so that a stopped training goes on.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use lab_api::LabError;
use lab_kit::{
    Host,
    burn::{
        module::Module,
        tensor::{Device, Tensor},
    },
    data::hex,
    training::{Checkpoint, Recipe, Trainer},
};
use sha2::{Digest, Sha256};

use super::TrainOptions;
use crate::{NativeHost, Problem, Show};

/// Time between two checkpoints.
const CHECKPOINT_MS: f64 = 60_000.0;
/// Time between two lines of the log.
const LINE_MS: f64 = 30_000.0;

/// A training that can be stopped.
pub(super) struct Runner<'a> {
    pub(super) root: &'a Path,
    pub(super) options: &'a TrainOptions,
    pub(super) recipe: Recipe,
    /// What else decides the result: sizes, data. Another training must not be mixed into this one.
    pub(super) settings: String,
    /// What a step trains on, for the rate in the log: tokens, images.
    pub(super) items_per_step: usize,
    pub(super) items: &'static str,
}

impl Runner<'_> {
    /// Trains from `start`, or on from the checkpoint of these settings. Returns the model and the steps done.
    pub(super) fn run<M: Module>(
        &self,
        start: M,
        device: &Device,
        loss: impl FnMut(&M, usize) -> Result<Tensor<1>, LabError>,
    ) -> Result<(M, usize), Problem> {
        let file = self.file()?;
        let mut trainer = self.begin(start, device, &file)?;
        if self.options.ship_checkpoint {
            let step = trainer.step();
            println!("Taking the checkpoint of step {step} of {} as it is.", self.recipe.steps);
            return Ok((trainer.finish(), step));
        }
        let host = NativeHost::new(self.root, Show::Progress);
        let (first, saved, spoken) = (trainer.step(), Cell::new(0.0), Cell::new(0.0));
        let smooth = Cell::new(None);
        let stage = format!("Training {}", self.options.name);
        pollster::block_on(trainer.run(|| host.now_ms(), loss, async |trainer, progress| {
            let now = host.now_ms();
            host.progress(&stage, progress.fraction());
            let mean = smooth.get().map_or(progress.loss, |mean: f32| mean + 0.05 * (progress.loss - mean));
            smooth.set(Some(mean));
            if now - spoken.get() > LINE_MS || progress.step == progress.steps {
                spoken.set(now);
                let rate = ((progress.step - first) * self.items_per_step) as f64 / (1e-3 * now);
                println!(
                    "step {} of {}: loss {mean:.4}, gradient norm {:.2}, learning rate {:.2e}, {rate:.0} {}/s, {:.0} s left",
                    progress.step,
                    progress.steps,
                    progress.gradient_norm,
                    progress.learning_rate,
                    self.items,
                    progress.seconds_left.unwrap_or(0.0)
                );
            }
            if now - saved.get() > CHECKPOINT_MS {
                saved.set(now);
                save(&file, &trainer.checkpoint().await?)?;
            }
            Ok(())
        }))?;
        host.finish();
        let checkpoint = pollster::block_on(trainer.checkpoint())?;
        save(&file, &checkpoint)?;
        let step = trainer.step();
        Ok((trainer.finish(), step))
    }

    fn begin<M: Module>(&self, start: M, device: &Device, file: &Path) -> Result<Trainer<M>, Problem> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) if !self.options.fresh => bytes,
            _ if self.options.ship_checkpoint => {
                return Err(Problem::Input(format!("there is no checkpoint {} to ship", file.display())));
            }
            _ => return Ok(Trainer::new(start, self.recipe.clone())?),
        };
        let checkpoint = Checkpoint::read(&file.display().to_string(), &bytes)?;
        println!("Going on from step {} of {} (--fresh begins anew).", checkpoint.step, self.recipe.steps);
        Ok(Trainer::resume(start, self.recipe.clone(), &checkpoint, device)?)
    }

    /// The checkpoint's place: other settings, another file.
    fn file(&self) -> anyhow::Result<PathBuf> {
        let folder = self.root.join("target/training");
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let settings = format!("{} {:?} {}", self.options.seed, self.recipe, self.settings);
        let hash = hex(&Sha256::digest(settings.as_bytes()));
        Ok(folder.join(format!("{}-{}.safetensors", self.options.name, &hash[..12])))
    }
}

/// Writes beside and then renames: a training stopped while it saves leaves the checkpoint before.
fn save(file: &Path, checkpoint: &Checkpoint) -> Result<(), LabError> {
    let fail =
        |error: std::io::Error| LabError::Engine { why: format!("{} cannot be written ({error})", file.display()) };
    let beside = file.with_extension("part");
    std::fs::write(&beside, checkpoint.write()?).map_err(fail)?;
    std::fs::rename(&beside, file).map_err(fail)
}
