//! Our masks against those of `torch.nn.utils.prune` and `torch.ao.pruning` of PyTorch 2.9.1, on weights whose magnitudes
//! all differ (PyTorch leaves the order of ties open). `1` is a weight that stays.

use super::{Architecture, FilterScore, Matrix, Network, Threshold, filter_scores, mask, masks, n_of_m};
use crate::rng;

const A: [f32; 24] = [
    -0.4375, 0.25, 1.4375, -0.5625, -1.5, 0.5, 0.375, -0.1875, -1.1875, -0.3125, -0.0625, -0.625, -1.375, -1.125, 0.75,
    -0.6875, 1.25, -0.125, 1.0625, 1.0, -0.875, -1.3125, 0.9375, 0.8125,
];
const B: [f32; 12] =
    [-0.84375, 0.21875, -0.71875, -0.59375, 1.21875, -0.34375, 1.09375, -1.46875, 0.46875, 1.34375, 0.96875, 0.09375];

fn shown(mask: &[bool]) -> String {
    mask.iter().map(|kept| if *kept { '1' } else { '0' }).collect()
}

fn magnitudes(weights: &[f32]) -> Vec<f32> {
    weights.iter().map(|w| w.abs()).collect()
}

#[test]
fn by_layer_and_global_as_l1_unstructured_and_global_unstructured() {
    let (a, b) = (magnitudes(&A), magnitudes(&B));
    let layers = [Matrix { name: "a", scores: &a, columns: 6 }, Matrix { name: "b", scores: &b, columns: 4 }];
    for (threshold, sparsity, expected_a, expected_b) in [
        (Threshold::Layer, 0.3, "001111001001111110111111", "101110110110"),
        (Threshold::Global, 0.3, "001111001001111110111111", "101110110110"),
        (Threshold::Layer, 0.5, "001010001000110010111111", "100010110110"),
        (Threshold::Global, 0.5, "001010001000110010111111", "100010110110"),
        (Threshold::Layer, 0.77, "001010001000100010000100", "000010010100"),
        (Threshold::Global, 0.77, "001010000000100010000100", "000010010100"),
    ] {
        let found = masks(&layers, sparsity, threshold).expect("masks");
        assert_eq!([shown(&found[0]), shown(&found[1])], [expected_a, expected_b], "{threshold:?} {sparsity}");
    }
}

#[test]
fn a_second_cut_takes_half_of_what_is_left() {
    // PyTorch counts the second half among the survivors; we say 75 % of all, and masked weights rank lowest.
    let half = mask(&magnitudes(&A), 0.5).expect("a mask");
    let left: Vec<f32> = A.iter().zip(&half).map(|(w, kept)| if *kept { w.abs() } else { 0.0 }).collect();
    assert_eq!(shown(&mask(&left, 0.75).expect("a mask")), "001010001000100010000100");
}

#[test]
fn whole_rows_as_ln_structured_and_two_of_four_as_the_weight_norm_sparsifier() {
    let mut network = Network::init(&Architecture::Mlp(vec![6, 4, 2]), &mut rng(0, "weights"));
    network.state.get_mut("layers.0.weight").expect("there").values = A.to_vec();
    let scores = filter_scores(&network, FilterScore::L1, &mut rng(0, "none"));
    assert_eq!(shown(&mask(&scores[0], 0.5).expect("a mask")), "0011");
    let both = magnitudes(&[&A[..], &B[..8]].concat());
    let found = n_of_m(Matrix { name: "a", scores: &both, columns: 8 }, 2, 4).expect("a mask");
    assert_eq!(shown(&found), "00111100100111001010011010101001");
}
