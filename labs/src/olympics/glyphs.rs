//! The classifier: weights, images, right answers, and what an image takes.

use std::{collections::BTreeMap, rc::Rc};

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    data::{Glyphs as Data, Images, Split},
    exits::{Cascade, Confidence, Deciding, Policy, classify_batch},
    fit::Classifier,
    measure::{
        Work,
        quality::{agreement_by_group, mean_by_group},
        side_by_side,
    },
    mlp::read,
    models::{GlyphClassifier, StateDict},
    olympics::{EntryStep, GlyphMaterial, ScoredEntry, format_line},
    prune::{Architecture, Net, Network, logits},
    train::argmax,
};

use super::course::{Beside, LEVEL, Numbers};

/// Images that are timed.
const TIMED: usize = 16;

struct Weights {
    entry: ScoredEntry,
    network: Network,
    logits: Vec<f32>,
}

/// Networks, images, and what was computed so far.
pub(super) struct Glyphs {
    material: GlyphMaterial,
    small: Network,
    small_logits: Vec<f32>,
    judging: Images,
    budget_ms: f64,
    weights: BTreeMap<String, Rc<Weights>>,
    times: BTreeMap<String, Beside>,
}

/// What classifies on the clock.
struct Sorter {
    net: Cascade,
    how: Option<Deciding>,
    rows: usize,
}

impl Sorter {
    async fn once(&self, pixels: &[Vec<f32>], cx: &Context) -> Result<(), LabError> {
        for part in pixels.chunks(self.rows) {
            let shape = [part.len(), Data::PIXELS];
            let images = Tensor::<2>::from_data(TensorData::new(part.concat(), shape), &cx.device);
            match &self.how {
                Some(how) => drop(std::hint::black_box(classify_batch(&self.net, images, how, true).await?)),
                None => {
                    let last = self.net.0.len().saturating_sub(1);
                    drop(std::hint::black_box(read(self.net.0[last].logits(images)).await?));
                }
            }
        }
        Ok(())
    }
}

fn deciding(percent: u32) -> Deciding {
    let threshold = percent as f32 / 100.0;
    Deciding {
        confidence: Confidence::MaxProbability,
        policy: Policy::Thresholds(vec![threshold]),
        temperatures: vec![],
    }
}

fn exit_of(steps: &[EntryStep]) -> Option<u32> {
    steps.iter().find_map(|step| if let EntryStep::Exit { percent } = step { Some(*percent) } else { None })
}

fn batch_of(steps: &[EntryStep]) -> usize {
    steps.iter().find_map(|step| if let EntryStep::Batch { rows } = step { Some(*rows) } else { None }).unwrap_or(1)
}

impl Glyphs {
    /// Every so many of the images of unseen families judge.
    pub(super) async fn load(every: usize, cx: &Context) -> Result<Self, LabError> {
        let data = Data::read(&cx.asset(Data::ASSET).await?)?;
        cx.checkpoint().await?;
        let unseen: Vec<usize> = data.indices(Split::Test).into_iter().step_by(every.max(1)).collect();
        let judging = Images::of_glyphs(&data, &unseen);
        let images = Images::of_glyphs(&data, &data.indices(Split::Train));
        cx.checkpoint().await?;
        let load =
            async |which: &GlyphClassifier| StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?);
        let (teacher, small) = (GlyphClassifier::teacher(), GlyphClassifier::small());
        let material = GlyphMaterial { teacher: load(&teacher).await?, small: load(&small).await?, images };
        let small = Network { architecture: Architecture::Cnn(small.config), state: material.small.clone() };
        let all: Vec<usize> = (0..judging.len()).collect();
        let small_logits = logits(&small, &judging, &all, cx).await?;
        Ok(Self {
            material,
            small,
            small_logits,
            judging,
            budget_ms: 0.0,
            weights: BTreeMap::new(),
            times: BTreeMap::new(),
        })
    }

    /// For the study: more samples.
    #[cfg(feature = "schema")]
    pub(super) fn thorough(mut self, budget_ms: f64) -> Self {
        self.budget_ms = budget_ms;
        self
    }

    /// For the study: what was trained under another seed.
    #[cfg(feature = "schema")]
    pub(super) fn forget(&mut self) {
        self.weights.clear();
    }

    async fn weights(&mut self, steps: &[EntryStep], cx: &Context) -> Result<Rc<Weights>, LabError> {
        let changing: Vec<EntryStep> = steps.iter().filter(|step| step.changes_weights()).copied().collect();
        let all: Vec<usize> = (0..self.judging.len()).collect();
        let mut entry = ScoredEntry::glyphs(&self.material);
        let mut found: Option<Rc<Weights>> = None;
        for n in 0..=changing.len() {
            let key = format_line(&changing[..n]);
            if let Some(known) = self.weights.get(&key) {
                found = Some(Rc::clone(known));
                continue;
            }
            if let Some(before) = &found {
                entry = before.entry.clone();
            }
            if n > 0 {
                entry = entry.step_glyphs(changing[n - 1], &self.material, cx).await?;
            }
            let network = entry.network()?;
            let logits = logits(&network, &self.judging, &all, cx).await?;
            let made = Rc::new(Weights { entry: entry.clone(), network, logits });
            self.weights.insert(key, Rc::clone(&made));
            found = Some(made);
        }
        found.ok_or_else(|| LabError::Engine { why: "no weights were made".into() })
    }

    pub(super) async fn numbers(&mut self, steps: &[EntryStep], cx: &Context) -> Result<Numbers, LabError> {
        let whole = self.weights(&[], cx).await?;
        let weights = self.weights(steps, cx).await?;
        let entry = &weights.entry;
        let (exit, rows) = (exit_of(steps), batch_of(steps));
        let classes = Data::CLASSES.len();
        let mut answers = argmax(&weights.logits, classes);
        let mut asked = 1.0;
        if let Some(percent) = exit {
            let threshold = percent as f32 / 100.0;
            let mut further = 0;
            for (answer, row) in answers.iter_mut().zip(self.small_logits.chunks_exact(classes)) {
                if Confidence::MaxProbability.of(&lab_kit::exits::softmax(row, 1.0)) >= threshold {
                    *answer = argmax(row, classes)[0];
                } else {
                    further += 1;
                }
            }
            asked = f64::from(further) / self.judging.len().max(1) as f64;
        }
        let mut numbers = self.quality(&argmax(&whole.logits, classes), &answers, cx)?;
        let small = if exit.is_some() { 4 * self.small.architecture.parameters() } else { 0 };
        numbers.file = (entry.stored.file_bytes(steps.contains(&EntryStep::Entropy)) + small) as f64;
        // Convolutions have no packed product here: in memory they are floats.
        let held = 4 * weights.network.architecture.parameters();
        numbers.memory = (held + small) as f64;
        let first = if exit.is_some() { self.small.architecture.flops() as f64 } else { 0.0 };
        let read = (small as f64 + asked * held as f64) / rows as f64;
        numbers.work = Work {
            flops: (first + asked * weights.network.architecture.flops() as f64) as u64,
            bytes: (read + 4.0 * Data::PIXELS as f64) as u64,
        };
        numbers.fingerprint = entry.stored.fingerprint();
        numbers.trained = steps.iter().any(|step| matches!(step, EntryStep::Recover { .. }));
        numbers.time = self.time((&whole, &weights), exit, 1, cx).await?;
        numbers.crowd =
            if rows > 1 { self.time((&whole, &weights), exit, rows, cx).await? } else { numbers.time.clone() };
        Ok(numbers)
    }

    fn quality(&self, before: &[u8], after: &[u8], cx: &Context) -> Result<Numbers, LabError> {
        let right = |answers: &[u8]| -> Vec<f64> {
            answers.iter().zip(&self.judging.labels).map(|(a, b)| 100.0 * f64::from(u8::from(a == b))).collect()
        };
        let (one, other) = (right(before), right(after));
        let lost: Vec<f64> = one.iter().zip(&other).map(|(a, b)| a - b).collect();
        let groups = &self.judging.groups;
        let found = mean_by_group(&lost, groups, LEVEL, &mut cx.rng("families"))?;
        let same = agreement_by_group(before, after, groups, LEVEL, &mut cx.rng("agreement"))?;
        Ok(Numbers {
            quality: other.iter().sum::<f64>() / other.len().max(1) as f64,
            loss: found.value,
            interval: Some(found.interval),
            agreement: 100.0 * same.value,
            ..Numbers::default()
        })
    }

    async fn time(
        &mut self,
        (whole, weights): (&Weights, &Weights),
        exit: Option<u32>,
        rows: usize,
        cx: &Context,
    ) -> Result<Beside, LabError> {
        // What is stored differently is computed alike.
        let key = format!("{:?} {exit:?} {rows}", weights.network.architecture);
        if let Some(known) = self.times.get(&key) {
            return Ok(known.clone());
        }
        let count = if rows > 1 { rows.max(TIMED) } else { TIMED };
        let step = (self.judging.len() / count).max(1);
        let pixels: Vec<Vec<f32>> =
            (0..count).map(|i| self.judging.image(i * step % self.judging.len().max(1)).to_vec()).collect();
        let nets = |networks: &[&Network]| -> Result<Vec<Net>, LabError> {
            networks.iter().map(|network| network.on(&cx.device)).collect()
        };
        let naive = Sorter { net: Cascade(nets(&[&whole.network])?), how: None, rows: 1 };
        let own = match exit {
            None => Sorter { net: Cascade(nets(&[&weights.network])?), how: None, rows },
            Some(percent) => {
                let both = nets(&[&self.small, &weights.network])?;
                Sorter { net: Cascade(both), how: Some(deciding(percent)), rows }
            }
        };
        let pair = side_by_side(
            cx,
            self.budget_ms,
            async || naive.once(&pixels, cx).await,
            async || own.once(&pixels, cx).await,
        )
        .await?;
        let each = |ms: &[f64]| ms.iter().map(|ms| ms / count as f64).collect();
        let found = Beside { naive: each(&pair.first), own: each(&pair.second) };
        self.times.insert(key, found.clone());
        Ok(found)
    }
}
