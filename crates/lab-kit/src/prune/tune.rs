//! Training a network some of whose weights must stay zero.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Tensor, TensorData},
};
use lab_api::LabError;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::network::{Architecture, Net, Network};
use crate::{
    Context,
    data::Images,
    fit::{Classifier, Trainable, batch, optimizer, step},
    mlp::read,
    models::Cnn,
    train::Training,
};

/// A network in training with its masks.
#[derive(Debug, Clone)]
pub struct Masked {
    /// Kind and sizes.
    pub architecture: Architecture,
    net: Net,
    /// Ones and zeros beside each parameter in the module's order; nothing beside biases.
    masks: Vec<Option<Tensor<1>>>,
}

impl Masked {
    /// A network to train on the run's device, without masks.
    ///
    /// # Errors
    /// As [`Network::on`].
    pub fn new(network: &Network, cx: &Context) -> Result<Self, LabError> {
        let net = network.on(&cx.device.clone().autodiff())?;
        Ok(Self { architecture: network.architecture.clone(), net, masks: Vec::new() })
    }

    /// With masks, one for each layer and row-major as [`Network::weight`]; what they remove is zero from now on.
    ///
    /// # Errors
    /// As [`Network::on`].
    pub fn with_masks(mut self, masks: &[Vec<bool>], cx: &Context) -> Result<Self, LabError> {
        let mut ones = Network::init(&self.architecture, &mut crate::rng(0, "masks"));
        for (layer, mask) in self.architecture.layers().iter().zip(masks) {
            if let Some(weight) = ones.state.get_mut(&format!("{layer}.weight")) {
                weight.values = mask.iter().map(|kept| f32::from(u8::from(*kept))).collect();
            }
        }
        // As a network of its own, so that masks lie in memory as the weights do.
        let mut found = Flat::default();
        ones.on(&cx.device)?.visit(&mut found);
        self.masks = found.tensors;
        Ok(self.after_step())
    }

    /// Reads the network back.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn read(&self) -> Result<Network, LabError> {
        let net = match &self.net {
            Net::Mlp(mlp) => Net::Mlp(mlp.valid()),
            Net::Cnn(cnn) => Net::Cnn(<Cnn as Module>::valid(cnn)),
        };
        Network::read(&self.architecture, &net).await
    }
}

/// All parameters in the module's order: matrices and kernels flat, nothing in place of biases.
#[derive(Default)]
struct Flat {
    tensors: Vec<Option<Tensor<1>>>,
}

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.push((D > 1).then(|| param.val().flatten(0, D - 1)));
    }
}

impl Trainable for Masked {
    type Parameters = Net;
    fn parameters(&self) -> &Net {
        &self.net
    }
    fn map(mut self, change: impl FnOnce(Net) -> Net) -> Self {
        self.net = change(self.net);
        self
    }
    fn forward(&mut self, pixels: Tensor<2>) -> Tensor<2> {
        self.net.logits(pixels)
    }
    fn judge(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.net.valid().logits(pixels)
    }
    // ANCHOR: after_step
    /// Momentum and decay have moved the removed weights too: back to zero with them, after every step.
    fn after_step(mut self) -> Self {
        let mut masks = self.masks.iter();
        self.net = self.net.map(&mut Multiply { masks: &mut masks });
        self
    }
    // ANCHOR_END: after_step
}

/// Multiplies each parameter by its mask.
struct Multiply<'a, 'b> {
    masks: &'a mut std::slice::Iter<'b, Option<Tensor<1>>>,
}

impl ModuleMapper for Multiply<'_, '_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.masks.next() {
            Some(Some(mask)) => param.map(|weight| {
                let mask = mask.clone().reshape(weight.dims());
                Tensor::from_inner(weight.inner() * mask).require_grad()
            }),
            _ => param,
        }
    }
}

/// How long and in what portions to train; AdamW with the decay of the shipped networks' training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Steps.
    pub steps: usize,
    /// Images of a step.
    pub batch: usize,
}

/// Milliseconds of work after which the page gets its turn.
const BREATHE_MS: f64 = 15.0;
/// Steps between two readings of the loss, which wait for the device.
const READ_EVERY: usize = 8;

// ANCHOR: tune
/// Trains for some steps, on images in an order drawn from `order` (each once, then anew). `rate` is the learning rate of
/// a step; `before` gets each step's number and the network before it, and may give it other masks. It is called once more
/// when all steps are done.
///
/// # Errors
/// What `before` returns, [`LabError::Refused`] when the loss is no longer finite, [`LabError::Device`],
/// [`LabError::Cancelled`].
pub async fn tune(
    mut network: Masked,
    (all, images): (&Images, &[usize]),
    how: Tuning,
    rate: impl Fn(usize) -> f64,
    order: &mut ChaCha8Rng,
    cx: &Context,
    mut before: impl AsyncFnMut(usize, Masked) -> Result<Masked, LabError>,
) -> Result<Masked, LabError> {
    let mut optimizer = optimizer(&Training::default());
    let (mut queue, mut unread, mut last_breath) = (Vec::new(), Vec::new(), cx.now_ms());
    for i in 0..how.steps {
        network = before(i, network).await?;
        while queue.len() < how.batch && !images.is_empty() {
            let mut next = images.to_vec();
            next.shuffle(order);
            queue.extend(next);
        }
        let portion: Vec<usize> = queue.drain(..how.batch.min(queue.len())).collect();
        let (stepped, loss) = step(network, &mut optimizer, batch(all, &portion, cx), rate(i));
        network = stepped;
        unread.push(loss);
        if unread.len() == READ_EVERY {
            let losses = read(Tensor::cat(std::mem::take(&mut unread), 0)).await?;
            if !losses.iter().all(|loss| loss.is_finite()) {
                let why = format!("training diverged before step {}; choose a smaller learning rate", i + 1);
                return Err(LabError::Refused { why });
            }
        }
        if cx.now_ms() - last_breath > BREATHE_MS {
            cx.checkpoint().await?;
            last_breath = cx.now_ms();
        }
    }
    before(how.steps, network).await
}
// ANCHOR_END: tune

/// What a trained network answers to images, in portions: logits, row-major.
///
/// # Errors
/// [`LabError::Device`] when the device fails, [`LabError::Cancelled`].
pub async fn logits(network: &Network, all: &Images, images: &[usize], cx: &Context) -> Result<Vec<f32>, LabError> {
    let net = network.on(&cx.device)?;
    let portion = if matches!(net, Net::Cnn(_)) { 64 } else { 512 };
    let mut logits = Vec::new();
    for images in images.chunks(portion) {
        let pixels = TensorData::new(all.gather(images), [images.len(), all.pixels_each()]);
        logits.extend(read(net.logits(Tensor::from_data(pixels, &cx.device))).await?);
        cx.checkpoint().await?;
    }
    Ok(logits)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        data::Digits,
        models::CnnConfig,
        prune::mask,
        rng,
        testing::{FakeClock, context, ready},
        train::{argmax, half_cosine},
    };

    fn digits() -> Images {
        Images::from(Digits::read(include_bytes!("../../../../assets/digits/digits.csv.gz")).expect("shipped"))
    }

    fn kinds() -> [Architecture; 2] {
        let cnn = CnnConfig { side: 8, channels: vec![3, 4], classes: 10 };
        [Architecture::Mlp(vec![64, 12, 10]), Architecture::Cnn(cnn)]
    }

    fn magnitude_masks(network: &Network, sparsity: f64) -> Vec<Vec<bool>> {
        let layer = |name: &String| {
            let scores: Vec<f32> = network.weight(name).iter().map(|w| w.abs()).collect();
            mask(&scores, sparsity).expect("a mask")
        };
        network.architecture.layers().iter().map(layer).collect()
    }

    const HOW: Tuning = Tuning { steps: 12, batch: 16 };

    #[test]
    fn removed_weights_are_zero_after_training_and_the_others_learned() {
        let (cx, digits) = (context(Rc::new(FakeClock::new(0.1))), digits());
        let images: Vec<usize> = (0..200).collect();
        for architecture in kinds() {
            let start = Network::init(&architecture, &mut rng(0, "weights"));
            let masks = magnitude_masks(&start, 0.7);
            let network = Masked::new(&start, &cx).expect("fits").with_masks(&masks, &cx).expect("masked");
            let mut order = rng(0, "order");
            let run = tune(network, (&digits, &images), HOW, |_| 1e-2, &mut order, &cx, async |_, n| Ok(n));
            let trained = ready(ready(run).expect("trains").read()).expect("read");
            let names = architecture.layers();
            for (name, mask) in names.iter().zip(&masks) {
                let pairs = trained.weight(name).iter().zip(start.weight(name)).zip(mask);
                for ((now, before), kept) in pairs {
                    assert!(if *kept { now != before || *before == 0.0 } else { *now == 0.0 }, "{name}");
                }
            }
            // The twin that masks once and then forgets: momentum and decay bring weights back.
            let forgot = Masked::new(&start.clone().masked(&masks), &cx).expect("fits");
            let mut order = rng(0, "order");
            let run = tune(forgot, (&digits, &images), HOW, |_| 1e-2, &mut order, &cx, async |_, n| Ok(n));
            let revived = ready(ready(run).expect("trains").read()).expect("read");
            assert!(revived.non_zero().iter().sum::<usize>() > trained.non_zero().iter().sum::<usize>());
        }
    }

    #[test]
    fn a_mask_of_ones_trains_to_the_very_weights_of_no_mask_and_masks_may_change_on_the_way() {
        let (cx, digits) = (context(Rc::new(FakeClock::new(0.1))), digits());
        let images: Vec<usize> = (0..200).collect();
        let start = Network::init(&kinds()[0], &mut rng(0, "weights"));
        let run = |network: Masked, cut: Option<usize>| {
            let rate = |i: usize| 1e-2 * half_cosine(i as f64 / 12.0);
            let mut order = rng(0, "order");
            let tuned = tune(network, (&digits, &images), HOW, rate, &mut order, &cx, async |i, network| {
                if Some(i) != cut {
                    return Ok(network);
                }
                let masks = magnitude_masks(&network.read().await?, 0.5);
                network.with_masks(&masks, &cx)
            });
            ready(ready(tuned).expect("trains").read()).expect("read")
        };
        let plain = run(Masked::new(&start, &cx).expect("fits"), None);
        let all = magnitude_masks(&start, 0.0);
        assert_eq!(run(Masked::new(&start, &cx).expect("fits").with_masks(&all, &cx).expect("masked"), None), plain);
        let cut = run(Masked::new(&start, &cx).expect("fits"), Some(6));
        assert_eq!(cut.non_zero(), [64 * 12 / 2, 60]);
        // A cut after the last step is made, too.
        assert_eq!(
            run(Masked::new(&start, &cx).expect("fits"), Some(12)),
            plain.clone().masked(&magnitude_masks(&plain, 0.5))
        );
    }

    #[test]
    fn a_masked_network_still_learns_and_a_wild_rate_is_refused() {
        let (cx, digits) = (context(Rc::new(FakeClock::new(0.1))), digits());
        let images: Vec<usize> = (0..600).collect();
        let start = Network::init(&Architecture::Mlp(vec![64, 32, 10]), &mut rng(0, "weights"));
        let masks = magnitude_masks(&start, 0.5);
        let run = |rate: f64| {
            let network = Masked::new(&start, &cx).expect("fits").with_masks(&masks, &cx).expect("masked");
            let how = Tuning { steps: 120, batch: 32 };
            ready(tune(network, (&digits, &images), how, |_| rate, &mut rng(0, "order"), &cx, async |_, n| Ok(n)))
        };
        let trained = ready(run(1e-2).expect("trains").read()).expect("read");
        let unseen: Vec<usize> = (600..digits.len()).collect();
        let answers = argmax(&ready(logits(&trained, &digits, &unseen, &cx)).expect("runs"), 10);
        let right = answers.iter().zip(&unseen).filter(|(a, i)| **a == digits.labels[**i]).count();
        assert!(right * 100 > 80 * unseen.len(), "{right} right");
        assert!(run(f64::INFINITY).expect_err("refused").to_string().contains("smaller learning rate"));
    }
}
