//! Running a network with exits: one input, or a batch of which some leave.

use burn::tensor::{Int, Tensor, TensorData};
use lab_api::LabError;

use super::{
    network::Staged,
    rule::{Confidence, Policy, softmax},
};
use crate::{mlp::read, train::argmax};

/// Everything that decides who leaves where.
#[derive(Debug, Clone, PartialEq)]
pub struct Deciding {
    /// How certainty is measured.
    pub confidence: Confidence,
    /// Who leaves.
    pub policy: Policy,
    /// Of each exit; 1 where one is missing.
    pub temperatures: Vec<f32>,
}

/// How an input left.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Left {
    /// Where.
    pub exit: usize,
    /// What all exits up to there answered.
    pub answers: Vec<u8>,
}

impl Deciding {
    fn leaves(&self, exit: usize, exits: usize, logits: &[f32], answers: &mut Vec<u8>) -> bool {
        answers.extend(argmax(logits, logits.len().max(1)));
        let temperature = self.temperatures.get(exit).copied().unwrap_or(1.0);
        self.policy.leaves(exits, self.confidence.of(&softmax(logits, temperature)), answers)
    }
}

// ANCHOR: one
/// One input `[1, pixels]`: after each exit a look at its logits, and on or out. The twin that [`classify_batch`] is
/// tested against.
///
/// # Errors
/// [`LabError::Device`] when the device fails.
pub async fn classify_one(network: &dyn Staged, input: Tensor<2>, how: &Deciding) -> Result<Left, LabError> {
    let (mut state, mut answers) = (input, Vec::new());
    for exit in 0..network.exits() {
        let (next, logits) = network.stage(exit, state);
        if how.leaves(exit, network.exits(), &read(logits).await?, &mut answers) {
            break;
        }
        state = next;
    }
    Ok(Left { exit: answers.len().saturating_sub(1), answers })
}
// ANCHOR_END: one

// ANCHOR: batch
/// A batch `[B, pixels]`. With `compact` those who leave are taken out of the batch, so that later blocks see fewer rows;
/// without, all rows run on until the last has left. Either way the answer of an input is that of the exit it left at.
///
/// # Errors
/// [`LabError::Device`] when the device fails.
pub async fn classify_batch(
    network: &dyn Staged,
    inputs: Tensor<2>,
    how: &Deciding,
    compact: bool,
) -> Result<Vec<Left>, LabError> {
    let [count, _] = inputs.dims();
    let mut all = vec![Left::default(); count];
    // Whom each row belongs to, and who has not left yet.
    let (mut rows, mut state): (Vec<usize>, _) = ((0..count).collect(), inputs);
    let mut inside = vec![true; count];
    for exit in 0..network.exits() {
        if !inside.contains(&true) {
            break;
        }
        let (next, logits) = network.stage(exit, state);
        let [_, classes] = logits.dims();
        let logits = read(logits).await?;
        let mut stay: Vec<i32> = Vec::new();
        for (row, (input, logits)) in rows.iter().zip(logits.chunks_exact(classes)).enumerate() {
            if inside[*input] {
                all[*input].exit = exit;
                inside[*input] = !how.leaves(exit, network.exits(), logits, &mut all[*input].answers);
                stay.extend(inside[*input].then_some(row as i32));
            }
        }
        state = next;
        if compact && stay.len() < rows.len() && !stay.is_empty() {
            rows = stay.iter().map(|row| rows[*row as usize]).collect();
            let stay = TensorData::new(stay, [rows.len()]);
            state = state.clone().select(0, Tensor::<1, Int>::from_data(stay, &state.device()));
        }
    }
    Ok(all)
}
// ANCHOR_END: batch

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        exits::{
            MultiExit, Verdicts,
            network::tests::{filled, pixels, tiny},
        },
        testing::ready,
    };

    #[test]
    fn a_batch_with_or_without_gaps_answers_as_one_input_after_the_other() {
        let (config, device) = (tiny(), Device::flex());
        let network = MultiExit::new(&config, &filled(&config), "a test", &device).expect("fits");
        let images = pixels(64, &device);
        let logits: Vec<Vec<f32>> =
            network.all(images.clone()).into_iter().map(|l| ready(read(l)).expect("runs")).collect();
        let temperatures = vec![1.5, 0.7];
        let verdicts = Verdicts::of(&logits, 5, Confidence::MaxProbability, &temperatures);
        let mut middle = verdicts.confidences[0].clone();
        middle.sort_by(f32::total_cmp);
        // Between two images: the last bits of a certainty depend on how many rows are multiplied together.
        let middle = f32::midpoint(middle[31], middle[32]);
        let policies = [
            Policy::Thresholds(vec![middle]),
            Policy::Thresholds(vec![0.0]),
            Policy::Thresholds(vec![2.0]),
            Policy::Patience(1),
        ];
        let mut seen = [0, 0];
        for policy in policies {
            let how = Deciding { confidence: Confidence::MaxProbability, policy, temperatures: temperatures.clone() };
            let expected = verdicts.leave(&how.policy);
            for count in [1, 2, 7, 64] {
                let batch = images.clone().narrow(0, 0, count);
                let one: Vec<Left> = (0..count)
                    .map(|i| ready(classify_one(&network, images.clone().narrow(0, i, 1), &how)).expect("runs"))
                    .collect();
                assert_eq!(one.iter().map(|left| left.exit).collect::<Vec<_>>(), expected[..count]);
                for compact in [true, false] {
                    assert_eq!(ready(classify_batch(&network, batch.clone(), &how, compact)).expect("runs"), one);
                }
                // In another order the answers are in that order.
                let turned: Vec<i32> = (0..count as i32).rev().collect();
                let turned = Tensor::<1, Int>::from_data(TensorData::new(turned, [count]), &device);
                let back = ready(classify_batch(&network, batch.select(0, turned), &how, true)).expect("runs");
                assert!(back.iter().rev().eq(&one));
            }
            expected.iter().for_each(|exit| seen[*exit] += 1);
        }
        assert!(seen[0] > 64 && seen[1] > 64, "all cases occur: {seen:?}");
    }
}
