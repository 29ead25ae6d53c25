//! Removing whole channels, so that the network is really smaller: a chain of layers, each of which reads the channels of
//! the one before.

use lab_api::LabError;

use super::network::Network;
use crate::models::Weight;

// ANCHOR: silence
/// The naive twin: channels that are not kept are silenced, row and bias, and the network stays as large as it was.
#[must_use]
pub fn silence_channels(network: &Network, keep: &[Vec<usize>]) -> Network {
    let mut silent = network.clone();
    for (layer, keep) in network.architecture.layers().iter().zip(keep) {
        for name in [format!("{layer}.weight"), format!("{layer}.bias")] {
            let Some(weight) = silent.state.get_mut(&name) else { continue };
            let row = weight.values.len() / weight.shape[0].max(1);
            for (channel, values) in weight.values.chunks_mut(row.max(1)).enumerate() {
                if !keep.contains(&channel) {
                    values.fill(0.0);
                }
            }
        }
    }
    silent
}
// ANCHOR_END: silence

// ANCHOR: remove
/// Keeps these channels of every layer but the last, and removes the others: rows and biases of the layer, and of the layer
/// after it the inputs that read them. A convolution reads a channel with 9 weights, the head one with its whole map.
///
/// # Errors
/// [`LabError::Refused`] where a layer would keep nothing, or a channel that it does not have.
pub fn keep_channels(network: &Network, keep: &[Vec<usize>]) -> Result<Network, LabError> {
    let hidden = network.architecture.hidden();
    let names = network.architecture.layers();
    let mut small = Network {
        architecture: network.architecture.with_hidden(&keep.iter().map(Vec::len).collect::<Vec<_>>()),
        state: network.state.clone(),
    };
    for (l, (name, before)) in names.iter().zip(std::iter::once(None).chain(hidden.iter().map(Some))).enumerate() {
        let rows = keep.get(l);
        if let (Some(rows), Some(width)) = (rows, hidden.get(l)) {
            refuse_bad(name, rows, *width)?;
        }
        let inputs = l.checked_sub(1).and_then(|l| keep.get(l)).zip(before);
        for part in ["weight", "bias"] {
            let Some(weight) = network.state.get(&format!("{name}.{part}")) else { continue };
            let columns = weight.values.len() / weight.shape[0].max(1);
            let read: Vec<usize> = match inputs.filter(|_| part == "weight") {
                None => (0..columns).collect(),
                Some((kept, before)) => {
                    let each = columns / before; // weights that read one channel
                    kept.iter().flat_map(|channel| channel * each..(channel + 1) * each).collect()
                }
            };
            let all: Vec<usize> = (0..weight.shape[0]).collect();
            let rows = rows.unwrap_or(&all);
            let values = rows.iter().flat_map(|r| read.iter().map(move |c| weight.values[r * columns + c])).collect();
            small.state.insert(&format!("{name}.{part}"), &shape(weight, rows.len(), read.len()), values)?;
        }
    }
    Ok(small)
}
// ANCHOR_END: remove

fn refuse_bad(name: &str, rows: &[usize], width: usize) -> Result<(), LabError> {
    let refuse = |why: String| Err(LabError::Refused { why });
    if rows.is_empty() {
        return refuse(format!("{name} would keep no channel, so nothing would pass through it"));
    }
    match rows.iter().find(|channel| **channel >= width) {
        Some(channel) => refuse(format!("{name} has {width} channels, and so no channel {channel}")),
        None => Ok(()),
    }
}

/// The shape with other numbers of outputs and of numbers in a row.
fn shape(weight: &Weight, rows: usize, row: usize) -> Vec<usize> {
    let kernel: usize = weight.shape.iter().skip(2).product();
    match weight.shape.len() {
        1 => vec![rows],
        _ => [&[rows, row / kernel.max(1)], &weight.shape[2..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use rand::Rng;

    use super::*;
    use crate::{fit::Classifier, mlp::read, models::CnnConfig, prune::Architecture, rng, testing::ready};

    fn networks() -> Vec<Network> {
        let cnn = Architecture::Cnn(CnnConfig { side: 16, channels: vec![4, 6, 8], classes: 5 });
        [Architecture::Mlp(vec![256, 7, 6, 5]), cnn]
            .iter()
            .map(|architecture| {
                let mut network = Network::init(architecture, &mut rng(1, "weights"));
                // Biases that are not zero: a removed channel's bias must go as well.
                for layer in architecture.layers() {
                    let bias = network.state.get_mut(&format!("{layer}.bias")).expect("a bias");
                    bias.values.iter_mut().enumerate().for_each(|(i, b)| *b = 0.1 + 0.05 * i as f32);
                }
                network
            })
            .collect()
    }

    fn logits(network: &Network) -> Vec<f32> {
        let device = Device::flex();
        let mut rng = rng(0, "images");
        let pixels: Vec<f32> = (0..3 * 256).map(|_| rng.random()).collect();
        let images = Tensor::<2>::from_data(TensorData::new(pixels, [3, 256]), &device);
        ready(read(network.on(&device).expect("fits").logits(images))).expect("runs")
    }

    fn near(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4)
    }

    #[test]
    fn removing_channels_gives_the_answers_of_silencing_them() {
        for network in networks() {
            let some: Vec<Vec<usize>> = network
                .architecture
                .hidden()
                .iter()
                .map(|width| (0..*width).filter(|c| c % 2 == 1).collect())
                .collect();
            let small = keep_channels(&network, &some).expect("smaller");
            assert!(small.state.parameters() < network.state.parameters());
            assert_eq!(small.state.parameters(), small.architecture.parameters());
            assert!(near(&logits(&small), &logits(&silence_channels(&network, &some))));
            // The usual mistake, a bias that stays behind, changes the answers.
            let mut wrong = silence_channels(&network, &some);
            let name = format!("{}.bias", network.architecture.layers()[0]);
            let bias = network.state.get(&name).expect("a bias").values.clone();
            wrong.state.get_mut(&name).expect("a bias").values = bias;
            assert!(!near(&logits(&wrong), &logits(&small)));
        }
    }

    #[test]
    fn keeping_all_changes_nothing_and_one_channel_is_enough() {
        for network in networks() {
            let hidden = network.architecture.hidden();
            let all: Vec<Vec<usize>> = hidden.iter().map(|width| (0..*width).collect()).collect();
            assert_eq!(keep_channels(&network, &all).expect("the same"), network);
            let reversed: Vec<Vec<usize>> = hidden.iter().map(|width| (0..*width).rev().collect()).collect();
            assert!(near(&logits(&keep_channels(&network, &reversed).expect("in another order")), &logits(&network)));
            let one: Vec<Vec<usize>> = hidden.iter().map(|_| vec![0]).collect();
            assert_eq!(logits(&keep_channels(&network, &one).expect("tiny")).len(), 15);
            let none: Vec<Vec<usize>> = hidden.iter().map(|_| vec![]).collect();
            assert!(keep_channels(&network, &none).expect_err("refused").to_string().contains("no channel"));
            let beyond: Vec<Vec<usize>> = hidden.iter().map(|width| vec![*width]).collect();
            assert!(keep_channels(&network, &beyond).is_err());
        }
    }
}
