//! From the weights of a language model to packed matrices.

use std::collections::BTreeMap;

use lab_api::LabError;

use super::{StateDict, Weight};
use crate::quant::PackedMatrix;

/// Packs every matrix by `quantize`, which gets its name and its weights; what else there is (the norms, vectors all) comes
/// back as it was.
///
/// # Errors
/// [`LabError::Engine`] for a tensor whose shape does not hold its numbers.
pub fn pack(
    weights: &StateDict,
    mut quantize: impl FnMut(&str, &Weight) -> PackedMatrix,
) -> Result<(BTreeMap<String, PackedMatrix>, StateDict), LabError> {
    let (mut matrices, mut rest) = (BTreeMap::new(), StateDict::default());
    for (name, weight) in weights.iter() {
        if weight.shape.len() == 2 {
            matrices.insert(name.to_owned(), quantize(name, weight));
        } else {
            rest.insert(name, &weight.shape, weight.values.clone())?;
        }
    }
    Ok((matrices, rest))
}

/// Bytes of the packed matrices and of the FP32 rest.
#[must_use]
pub fn packed_bytes(matrices: &BTreeMap<String, PackedMatrix>, rest: &StateDict) -> usize {
    matrices.values().map(PackedMatrix::bytes).sum::<usize>() + rest.parameters() * size_of::<f32>()
}
