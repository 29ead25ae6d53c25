//! Scores of whole channels: the filters of a convolution, the rows of a fully connected layer.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Gradients, Tensor},
};
use lab_api::LabError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::network::Network;
use crate::{
    Context,
    data::Images,
    fit::{Classifier, batch},
    models::StateDict,
    ops::cross_entropy,
};

/// What a channel is worth by which measure; [`taylor`] is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterScore {
    /// A number drawn at random: the control.
    Random,
    /// Sum of the absolute weights (Li et al., arXiv:1608.08710).
    L1,
    /// Sum of the distances to the layer's other filters: one near the middle is replaceable (geometric median: He et al.,
    /// arXiv:1811.00250).
    Median,
}

// ANCHOR: filter_scores
/// Scores of the channels of every layer but the last.
#[must_use]
pub fn filter_scores(network: &Network, score: FilterScore, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
    let layer = |(name, (_, columns)): (&String, (usize, usize))| -> Vec<f32> {
        let rows: Vec<&[f32]> = network.weight(name).chunks(columns.max(1)).collect();
        let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        match score {
            FilterScore::Random => rows.iter().map(|_| rng.random()).collect(),
            FilterScore::L1 => rows.iter().map(|row| row.iter().map(|w| w.abs()).sum()).collect(),
            FilterScore::Median => rows.iter().map(|row| rows.iter().map(|other| distance(row, other)).sum()).collect(),
        }
    };
    let hidden = network.architecture.hidden().len();
    network.architecture.layers().iter().zip(network.shapes()).take(hidden).map(layer).collect()
}
// ANCHOR_END: filter_scores

/// Images of a batch whose gradient is squared in [`taylor`].
const TAYLOR_BATCH: usize = 16;

/// How much the loss would change, to first order, if a channel were silent: for each batch the sum of weight times gradient
/// over the channel's row and bias, squared, and summed over batches (Molchanov et al., arXiv:1906.10771).
///
/// # Errors
/// [`LabError::Device`] when the device fails, [`LabError::Cancelled`].
pub async fn taylor(
    network: &Network,
    (all, images): (&Images, &[usize]),
    cx: &Context,
) -> Result<Vec<Vec<f32>>, LabError> {
    let net = network.on(&cx.device.clone().autodiff())?;
    let names = network.architecture.layers();
    let mut scores: Vec<Vec<f32>> = network.architecture.hidden().iter().map(|width| vec![0.0; *width]).collect();
    for images in images.chunks(TAYLOR_BATCH) {
        let (pixels, labels) = batch(all, images, cx);
        let gradients = cross_entropy(net.logits(pixels), labels).backward();
        let gradient = net.clone().map(&mut ToGradients { gradients: &gradients });
        let state = match &gradient {
            super::Net::Mlp(mlp) => Network::of_mlp(&mlp.weights().await?).state,
            super::Net::Cnn(cnn) => StateDict::of(cnn).await?,
        };
        let gradient = Network { architecture: network.architecture.clone(), state };
        for (name, scores) in names.iter().zip(&mut scores) {
            let row = network.weight(name).len() / scores.len().max(1);
            let products = |of: fn(&Network, &str) -> Vec<f32>, i: std::ops::Range<usize>| -> f32 {
                let (w, g) = (of(network, name), of(&gradient, name));
                w[i.clone()].iter().zip(&g[i]).map(|(w, g)| w * g).sum()
            };
            for (channel, score) in scores.iter_mut().enumerate() {
                let weights = products(|n, l| n.weight(l).to_vec(), channel * row..(channel + 1) * row);
                let sum = weights + products(|n, l| n.bias(l).to_vec(), channel..channel + 1);
                *score += sum * sum;
            }
        }
        cx.checkpoint().await?;
    }
    Ok(scores)
}

/// Puts each parameter's gradient in its place.
struct ToGradients<'a> {
    gradients: &'a Gradients,
}

impl ModuleMapper for ToGradients<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        let gradient = value.grad(self.gradients).unwrap_or_else(|| value.inner().zeros_like());
        Param::initialized(param.id, gradient)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        data::Digits,
        models::CnnConfig,
        prune::{Architecture, silence_channels},
        rng,
        testing::{FakeClock, context, ready},
    };

    #[test]
    fn the_scores_of_three_filters_by_hand() {
        let mut network = Network::init(&Architecture::Mlp(vec![2, 3, 2]), &mut rng(0, "weights"));
        network.state.get_mut("layers.0.weight").expect("there").values = vec![3.0, -4.0, 0.0, 0.0, 0.0, 1.0];
        let l1 = filter_scores(&network, FilterScore::L1, &mut rng(0, "none"));
        assert_eq!(l1, [vec![7.0, 0.0, 1.0]]);
        // Distances: 5 between the first two, sqrt(9 + 25) between first and third, 1 between the last two.
        let median = filter_scores(&network, FilterScore::Median, &mut rng(0, "none"));
        let expected = [5.0 + 34.0_f32.sqrt(), 6.0, 1.0 + 34.0_f32.sqrt()];
        assert!(median[0].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{median:?}");
        assert_eq!(filter_scores(&network, FilterScore::Random, &mut rng(0, "none"))[0].len(), 3);
    }

    #[test]
    fn the_first_order_change_foretells_what_a_slightly_quieter_channel_does() {
        let cx = context(Rc::new(FakeClock::new(0.1)));
        let digits =
            Images::from(Digits::read(include_bytes!("../../../../assets/digits/digits.csv.gz")).expect("shipped"));
        let config = CnnConfig { side: 8, channels: vec![3, 4], classes: 10 };
        let network = Network::init(&Architecture::Cnn(config), &mut rng(0, "weights"));
        let images: Vec<usize> = (0..TAYLOR_BATCH).collect(); // one batch: the score is its square
        let scores = ready(taylor(&network, (&digits, &images), &cx)).expect("scored");
        let loss = |network: &Network| {
            let (pixels, labels) = batch(&digits, &images, &cx);
            let net = network.on(&cx.device).expect("fits");
            let loss = cross_entropy(net.logits(pixels.inner()), labels.inner());
            f64::from(ready(crate::mlp::read(loss)).expect("read")[0])
        };
        let whole = loss(&network);
        for (layer, channel) in [(0, 1), (1, 2)] {
            // A hundredth of the way to silence.
            let mut quieter = network.clone();
            let keep: Vec<Vec<usize>> = [3, 4]
                .iter()
                .enumerate()
                .map(|(l, width)| (0..*width).filter(|c| (l, *c) != (layer, channel)).collect())
                .collect();
            let silent = silence_channels(&network, &keep);
            for part in ["weight", "bias"] {
                let name = format!("conv.{layer}.{part}");
                let to = &silent.state.get(&name).expect("there").values;
                let from = &mut quieter.state.get_mut(&name).expect("there").values;
                from.iter_mut().zip(to).for_each(|(w, s)| *w += 0.01 * (s - *w));
            }
            let slope = (loss(&quieter) - whole) / 0.01;
            let foretold = f64::from(scores[layer][channel]).sqrt();
            assert!((slope.abs() - foretold).abs() < 0.05 * foretold + 2e-3, "{slope} {foretold}");
        }
    }
}
