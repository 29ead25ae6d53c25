//! What is left of an adapter that is written into stored weights.

use lab_api::LabError;
use lab_kit::{
    Context,
    adapters::{Method as Kind, Storage, merged_weights, retained},
    models::StateDict,
};

use super::{
    arm::Arm,
    judge::Judged,
    material::{Material, is_stored, stored},
};

/// A way to merge, and what the merged model does.
pub(super) struct Way {
    pub(super) name: String,
    pub(super) judged: Judged,
    /// Share of the change that the storage keeps.
    pub(super) kept: f64,
}

/// What merging brings.
#[derive(Default)]
pub(super) struct Merged {
    /// Into the base on which the adapter learned, first; into the weights as shipped, where those are others.
    pub(super) ways: Vec<Way>,
    /// Length of the change of the layers' matrices over that of the matrices.
    pub(super) size: f64,
}

/// Whether a method leaves something that fits into the matrices of the base.
pub(super) fn can_merge(method: Kind) -> bool {
    !matches!(method, Kind::Prompt | Kind::Prefix | Kind::Bottleneck | Kind::Bias)
}

// ANCHOR: merging
/// Merges a trained arm into the base that it learned on, and into the weights as shipped, and stores both.
pub(super) async fn run(arm: &Arm, material: &Material, storage: Storage, cx: &Context) -> Result<Merged, LabError> {
    if !can_merge(arm.setting.method) {
        return Ok(Merged::default());
    }
    let base = stored(&material.weights, arm.storage);
    let sum = merged_weights(&arm.model().weights().await?, &arm.setting)?;
    let mut merged = Merged { ways: Vec::new(), size: relative(&base, &sum) };
    merged.ways.push(way("Merged into the base", &base, &sum, (material, storage), cx).await?);
    if arm.storage != Storage::Fp32 {
        // The same change, on weights that lie on no grid.
        let sum = moved(&material.weights, &base, &sum);
        merged
            .ways
            .push(way("Merged into the weights as shipped", &material.weights, &sum, (material, storage), cx).await?);
    }
    Ok(merged)
}
// ANCHOR_END: merging

/// Stores merged weights and judges them.
pub(super) async fn way(
    name: &str,
    base: &StateDict,
    sum: &StateDict,
    (material, storage): (&Material, Storage),
    cx: &Context,
) -> Result<Way, LabError> {
    let kept = kept(base, sum, storage);
    let model = material.loaded(&stored(sum, storage), &cx.device)?;
    Ok(Way { name: name.into(), judged: Judged::of(&model, material, cx).await?, kept })
}

/// `onto + (sum - base)`.
pub(super) fn moved(onto: &StateDict, base: &StateDict, sum: &StateDict) -> StateDict {
    let mut all = onto.clone();
    for (name, weight) in sum.iter() {
        if let (Some(place), Some(base)) = (all.get_mut(name), base.get(name)) {
            place.values.iter_mut().zip(&weight.values).zip(&base.values).for_each(|((w, sum), base)| *w += sum - base);
        }
    }
    all
}

/// Each matrix of the layers: its weights, their change, its columns.
fn changes<'a>(base: &'a StateDict, sum: &'a StateDict) -> impl Iterator<Item = (&'a [f32], Vec<f32>, usize)> {
    sum.iter().filter(|(name, _)| is_stored(name)).filter_map(|(name, weight)| {
        let before = base.get(name)?;
        let change = weight.values.iter().zip(&before.values).map(|(sum, w)| sum - w).collect();
        Some((before.values.as_slice(), change, weight.shape[1]))
    })
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum()
}

/// Length of all changes over that of all matrices.
pub(super) fn relative(base: &StateDict, sum: &StateDict) -> f64 {
    let (mut change, mut whole) = (0.0, 0.0);
    for (weights, delta, _) in changes(base, sum) {
        change += squares(&delta);
        whole += squares(weights);
    }
    (change / whole.max(f64::MIN_POSITIVE)).sqrt()
}

/// Share of the change that storing keeps, over all matrices; 1 where these did not change.
pub(super) fn kept(base: &StateDict, sum: &StateDict, storage: Storage) -> f64 {
    let (mut along, mut length) = (0.0, 0.0);
    for (weights, delta, columns) in changes(base, sum) {
        let square = squares(&delta);
        along += square * retained(weights, &delta, &|values| storage.store(values, columns));
        length += square;
    }
    if length > 0.0 { along / length } else { 1.0 }
}
