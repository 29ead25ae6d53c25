//! Training exits: all together with the network, or new heads on one that stays as it is.

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Int, Tensor, activation::log_softmax, activation::softmax},
};
use lab_api::LabError;

use super::{MultiExit, Staged, network::zeros};
use crate::{
    Context,
    data::Images,
    fit::Trainable,
    mlp::read,
    models::StateDict,
    ops::{cross_entropy, dense},
};

/// A network and all its exits, trained together: the sum of the exits' losses, each with its weight (MSDNet,
/// arXiv:1703.09844, gives all 1).
#[derive(Debug, Clone)]
pub struct Joint {
    /// The network.
    pub network: MultiExit,
    /// One for each exit.
    pub weights: Vec<f32>,
}

impl Trainable for Joint {
    type Parameters = MultiExit;
    fn parameters(&self) -> &MultiExit {
        &self.network
    }
    fn map(self, change: impl FnOnce(MultiExit) -> MultiExit) -> Self {
        Self { network: change(self.network), ..self }
    }
    fn forward(&mut self, pixels: Tensor<2>) -> Tensor<2> {
        self.network.whole(pixels)
    }
    fn judge(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.network.valid().whole(pixels)
    }
    // ANCHOR: joint
    fn loss(&mut self, pixels: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let logits = self.network.all(pixels).into_iter();
        let losses = logits.zip(&self.weights).map(|(z, w)| cross_entropy(z, labels.clone()).mul_scalar(*w));
        losses.reduce(|sum, loss| sum + loss).unwrap_or_else(|| labels.float().sum())
    }
    // ANCHOR_END: joint
}

/// Mean cross-entropy `[1]` of logits against the probabilities of other logits, both `[rows, classes]` and softened by
/// `temperature`, times its square, so that the gradient keeps its size (Hinton et al., 2015, arXiv:1503.02531).
#[must_use]
pub fn soft_cross_entropy(logits: Tensor<2>, teacher: Tensor<2>, temperature: f32) -> Tensor<1> {
    let [rows, _] = logits.dims();
    let p = softmax(teacher.div_scalar(temperature), 1);
    let log_q = log_softmax(logits.div_scalar(temperature), 1);
    (p * log_q).sum().mul_scalar(-temperature * temperature / rows.max(1) as f32)
}

/// How far apart a feature's values lie, and around what.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standard {
    mean: Vec<f32>,
    spread: Vec<f32>,
}

impl Standard {
    /// Of the first `features` of rows of `wide` numbers.
    fn of(values: &[f32], features: usize, wide: usize) -> Self {
        let count = (values.len() / wide).max(1) as f64;
        let (mut sum, mut squares) = (vec![0.0_f64; features], vec![0.0_f64; features]);
        for row in values.chunks_exact(wide) {
            for (i, x) in row[..features].iter().enumerate() {
                sum[i] += f64::from(*x);
                squares[i] += f64::from(x * x);
            }
        }
        // A feature that is always the same tells nothing, and must not be divided by nothing.
        let deviation = |(s, q): (&f64, &f64)| (q / count - (s / count).powi(2)).max(1e-6).sqrt() as f32;
        Self {
            mean: sum.iter().map(|s| (s / count) as f32).collect(),
            spread: sum.iter().zip(&squares).map(deviation).collect(),
        }
    }

    /// Standardizes rows of `wide` numbers, and fills each up to a square.
    fn apply(&self, values: &[f32], wide: usize, (all, images): (&Images, &[usize])) -> Images {
        let side = (1..).find(|side| side * side >= wide).unwrap_or(1);
        let mut pixels = vec![0.0; images.len() * side * side];
        for (to, row) in pixels.chunks_exact_mut(side * side).zip(values.chunks_exact(wide)) {
            to[..wide].copy_from_slice(row);
            for (x, (mean, spread)) in to.iter_mut().zip(self.mean.iter().zip(&self.spread)) {
                *x = (*x - mean) / spread;
            }
        }
        let labels = images.iter().map(|i| all.labels[*i]).collect();
        Images { pixels, labels, side, classes: all.classes, groups: Vec::new() }
    }
}

/// What heads learn from: for every image what each of them sees, standardized, and what the last exit says of it. The
/// network has been run once for that, instead of in every step.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// A row for each image: the features of all heads, then the last exit's logits, then zeros up to a square. What
    /// [`fit`](crate::fit::fit) takes for pixels.
    pub rows: Images,
    /// How many of them belong to each head.
    widths: Vec<usize>,
    standard: Standard,
}

impl Lesson {
    // ANCHOR: lesson
    /// Runs the network once over some images, in portions.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails, [`LabError::Cancelled`].
    pub async fn of(network: &MultiExit, all: &Images, images: &[usize], cx: &Context) -> Result<Self, LabError> {
        let (values, widths, wide) = Self::seen(network, all, images, cx).await?;
        let standard = Standard::of(&values, widths.iter().sum(), wide);
        Ok(Self { rows: standard.apply(&values, wide, (all, images)), widths, standard })
    }
    // ANCHOR_END: lesson

    /// The same of other images, standardized as this one: for judging heads without running the network again.
    ///
    /// # Errors
    /// As [`Lesson::of`].
    pub async fn alike(
        &self,
        network: &MultiExit,
        all: &Images,
        images: &[usize],
        cx: &Context,
    ) -> Result<Images, LabError> {
        let (values, _, wide) = Self::seen(network, all, images, cx).await?;
        Ok(self.standard.apply(&values, wide, (all, images)))
    }

    /// What all heads see of images and what the last exit says, row by row; the width of each head's part; that of a row.
    async fn seen(
        network: &MultiExit,
        all: &Images,
        images: &[usize],
        cx: &Context,
    ) -> Result<(Vec<f32>, Vec<usize>, usize), LabError> {
        let (mut rows, mut widths, mut wide) = (Vec::new(), Vec::new(), 1);
        for portion in images.chunks(64) {
            let (pixels, _) = crate::fit::batch(all, portion, cx);
            let mut seen = network.features(pixels.inner());
            let (Some(last), Some(head)) = (seen.pop(), network.last_head()) else { break };
            widths = seen.iter().map(|x| x.dims()[1]).collect();
            seen.push(dense(last, head, false));
            let row = Tensor::cat(seen, 1);
            wide = row.dims()[1];
            rows.extend(read(row).await?);
            cx.checkpoint().await?;
        }
        Ok((rows, widths, wide))
    }

    /// Heads of zeros that can learn it, a share `soft` of the loss from the last exit's answers at `temperature`.
    #[must_use]
    pub fn heads(&self, soft: f32, temperature: f32, device: &Device) -> Heads {
        let classes = self.rows.class_count();
        let linear = self.widths.iter().map(|width| zeros(*width, classes, &device.clone().autodiff())).collect();
        Heads { linear: Linears { heads: linear }, widths: self.widths.clone(), classes, soft, temperature }
    }

    // ANCHOR: deploy
    /// The network's weights with heads that have learned: what standardized the features moves into the linear layer.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn deploy(&self, heads: &Heads, weights: &StateDict) -> Result<StateDict, LabError> {
        let learned = StateDict::of(&heads.linear.valid()).await?;
        let (mut state, mut first) = (weights.clone(), 0);
        for (exit, width) in self.widths.iter().enumerate() {
            let [weight, bias] = [format!("heads.{exit}.weight"), format!("heads.{exit}.bias")];
            let (Some(w), Some(b)) = (learned.get(&weight), learned.get(&bias)) else { continue };
            let (mut w, mut b) = (w.values.clone(), b.values.clone());
            for (row, bias) in w.chunks_exact_mut(*width).zip(&mut b) {
                for (i, w) in row.iter_mut().enumerate() {
                    *w /= self.standard.spread[first + i];
                    *bias -= *w * self.standard.mean[first + i];
                }
            }
            for (name, values) in [(weight, w), (bias, b)] {
                if let Some(to) = state.get_mut(&name) {
                    to.values = values;
                }
            }
            first += width;
        }
        Ok(state)
    }
    // ANCHOR_END: deploy
}

/// What the optimizer changes of [`Heads`].
#[derive(Module, Debug)]
pub struct Linears {
    heads: Vec<Linear>,
}

/// Heads in training on a network that stays as it is.
#[derive(Debug, Clone)]
pub struct Heads {
    linear: Linears,
    widths: Vec<usize>,
    classes: usize,
    soft: f32,
    temperature: f32,
}

impl Heads {
    /// Logits of every exit for rows of a [`Lesson`], without leaving traces; the last exit's stand in the rows.
    #[must_use]
    pub fn all(&self, rows: &Tensor<2>) -> Vec<Tensor<2>> {
        let mut all = Self::logits(&self.linear.valid(), &self.widths, rows);
        all.push(rows.clone().narrow(1, self.widths.iter().sum(), self.classes));
        all
    }

    /// Logits of each head.
    fn logits(linear: &Linears, widths: &[usize], rows: &Tensor<2>) -> Vec<Tensor<2>> {
        let mut first = 0;
        let one = |(head, width): (&Linear, &usize)| {
            first += width;
            dense(rows.clone().narrow(1, first - width, *width), head, false)
        };
        linear.heads.iter().zip(widths).map(one).collect()
    }
}

impl Trainable for Heads {
    type Parameters = Linears;
    fn parameters(&self) -> &Linears {
        &self.linear
    }
    fn map(self, change: impl FnOnce(Linears) -> Linears) -> Self {
        Self { linear: change(self.linear), ..self }
    }
    /// Of the last head.
    fn forward(&mut self, rows: Tensor<2>) -> Tensor<2> {
        Self::logits(&self.linear, &self.widths, &rows).pop().unwrap_or(rows)
    }
    fn judge(&self, rows: Tensor<2>) -> Tensor<2> {
        Self::logits(&self.linear.valid(), &self.widths, &rows).pop().unwrap_or(rows)
    }
    // ANCHOR: heads
    fn loss(&mut self, rows: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let features = self.widths.iter().sum();
        let teacher = rows.clone().narrow(1, features, self.classes);
        let one = |z: Tensor<2>| {
            let hard = cross_entropy(z.clone(), labels.clone());
            if self.soft == 0.0 {
                return hard;
            }
            let soft = soft_cross_entropy(z, teacher.clone(), self.temperature);
            hard.mul_scalar(1.0 - self.soft) + soft.mul_scalar(self.soft)
        };
        let losses = Self::logits(&self.linear, &self.widths, &rows).into_iter().map(one);
        losses.reduce(|sum, loss| sum + loss).unwrap_or_else(|| labels.clone().float().sum())
    }
    // ANCHOR_END: heads
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        data::Digits,
        exits::{ExitConfig, network::tests::filled},
        fit::{first_loss, fit},
        models::CnnConfig,
        rng,
        testing::{FakeClock, context, ready},
        train::{Training, argmax},
    };

    fn digits() -> Images {
        Images::from(Digits::read(include_bytes!("../../../../assets/digits/digits.csv.gz")).expect("shipped"))
    }

    fn config() -> ExitConfig {
        ExitConfig { cnn: CnnConfig { side: 8, channels: vec![4, 6], classes: 10 }, head_side: 2 }
    }

    fn accuracy(network: &MultiExit, exit: usize, digits: &Images, images: &[usize], cx: &Context) -> usize {
        let (pixels, _) = crate::fit::batch(digits, images, cx);
        let logits = ready(read(network.all(pixels.inner())[exit].clone())).expect("runs");
        argmax(&logits, 10).iter().zip(images).filter(|(a, i)| **a == digits.labels[**i]).count()
    }

    #[test]
    fn heads_learn_on_a_network_that_stays_as_it_is() {
        let (cx, digits, config) = (context(Rc::new(FakeClock::new(0.1))), digits(), config());
        let weights = config.init(&mut rng(0, "weights")).expect("fits");
        let network = MultiExit::new(&config, &weights, "a test", &cx.device).expect("fits");
        let images: Vec<usize> = (0..400).collect();
        let lesson = ready(Lesson::of(&network, &digits, &images, &cx)).expect("runs");
        for soft in [0.0, 0.5] {
            let heads = lesson.heads(soft, 2.0, &cx.device);
            let rows: Vec<usize> = (0..400).collect();
            let how = Training { epochs: 12, ..Training::default() };
            let data = (&lesson.rows, rows.as_slice());
            let heads =
                ready(fit(heads, data, &how, &mut rng(0, "order"), &cx, async |_, _, _| Ok(()))).expect("trains");
            let state = ready(lesson.deploy(&heads, &weights)).expect("read");
            for (name, weight) in weights.iter().filter(|(name, _)| !name.starts_with("heads.0")) {
                assert_eq!(state.get(name), Some(weight), "{name} is untouched");
            }
            let trained = MultiExit::new(&config, &state, "a test", &cx.device).expect("fits");
            // What standardized is inside the head: raw features give the logits that training saw.
            let (rows, _) = crate::fit::batch(&lesson.rows, &images[..9], &cx);
            let (pixels, _) = crate::fit::batch(&digits, &images[..9], &cx);
            let seen = ready(read(heads.judge(rows.inner()))).expect("runs");
            let deployed = ready(read(trained.all(pixels.inner())[0].clone())).expect("runs");
            assert!(seen.iter().zip(&deployed).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + a.abs())));
            // Labels teach; an untrained last exit as teacher at half the weight still leaves most of that.
            let right = accuracy(&trained, 0, &digits, &images, &cx);
            assert!(right > if soft == 0.0 { 250 } else { 150 }, "{soft}: {right}");
        }
    }

    #[test]
    fn all_exits_learn_together_and_one_weight_of_one_is_the_plain_loss() {
        let (cx, digits, config) = (context(Rc::new(FakeClock::new(0.1))), digits(), config());
        let images: Vec<usize> = (0..256).collect();
        let device = cx.device.clone().autodiff();
        let joint = |weights: &[f32]| Joint {
            network: MultiExit::new(&config, &filled(&config), "a test", &device).expect("fits"),
            weights: weights.to_vec(),
        };
        let how = Training { epochs: 40, ..Training::default() };
        let first = |weights: &[f32]| {
            let data = (&digits, images.as_slice());
            ready(first_loss(joint(weights), data, &how, &mut rng(0, "order"), &cx)).expect("runs")
        };
        let (one, other, both) = (first(&[1.0, 0.0]), first(&[0.0, 1.0]), first(&[1.0, 1.0]));
        assert!((one + other - both).abs() < 1e-4 && (first(&[0.5, 2.0]) - 0.5 * one - 2.0 * other).abs() < 1e-4);
        let data = (&digits, images.as_slice());
        let drawn = config.init(&mut rng(0, "weights")).expect("fits");
        let network = MultiExit::new(&config, &drawn, "a test", &device).expect("fits");
        let begun = Joint { network, weights: vec![1.0, 1.0] };
        let trained = ready(fit(begun, data, &how, &mut rng(0, "order"), &cx, async |_, _, _| Ok(())));
        let trained = trained.expect("trains").network.valid();
        for exit in 0..2 {
            // Of 256 images; one in ten by chance.
            let right = accuracy(&trained, exit, &digits, &images, &cx);
            assert!(right > 100, "exit {exit}: {right}");
        }
    }

    #[test]
    fn soft_targets_of_oneself_have_the_entropy_as_loss() {
        let device = Device::flex();
        let z = Tensor::<2>::from_floats([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]], &device);
        let found = ready(read(soft_cross_entropy(z.clone(), z.clone(), 1.0))).expect("runs")[0];
        assert!((found - 0.832_396).abs() < 1e-5, "{found}");
        // At T = 2 the entropy of 0.506480, 0.307196, 0.186324, times four.
        let found = ready(read(soft_cross_entropy(z.clone(), z, 2.0))).expect("runs")[0];
        let entropy: f32 = [0.506_480_f32, 0.307_196, 0.186_324].iter().map(|p| -p * p.ln()).sum();
        assert!((found - 4.0 * entropy).abs() < 1e-4, "{found}");
    }
}
