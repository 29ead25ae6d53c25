//! What storing in two bytes saves of memory, and what products of halves take on this device.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{DType, FloatDType, Tensor, TensorData},
    formats::{Format, Network, Policy},
    matmul,
    measure::{Pair, peak_bytes, side_by_side},
    mlp::read,
};
use rand::Rng;

use super::arms::Race;

/// Images of the step whose memory is counted: activations outweigh weights.
pub(super) const MANY: usize = 1024;
/// Sides of the matrices that are multiplied.
pub(super) const SIDE: usize = 192;

/// What was counted and timed.
pub(super) struct Measured {
    /// Bytes that a step of FP32 and one of the reader's choice held at once; none where nobody counts, or where the choice
    /// is kept in fewer bits than are really stored.
    pub(super) peaks: Option<[usize; 2]>,
    /// Products in FP32 and in FP16; none where the device has no arithmetic of 16 bits.
    pub(super) products: Option<Pair>,
}

/// Whether every tensor of a policy takes its own bytes here.
fn is_really_stored(policy: &Policy) -> bool {
    [policy.weights, policy.activations, policy.gradients].iter().all(|format| format.bits() >= 16.0)
}

impl Measured {
    pub(super) async fn of(race: &Race<'_>, cx: &Context) -> Result<Self, LabError> {
        let policy = race.arms[race.chosen].policy;
        let one = peak(race, Policy::FP32, cx).await?;
        let other = peak(race, policy, cx).await?;
        let peaks = one.zip(other).map(|(one, other)| [one, other]).filter(|_| is_really_stored(&policy));
        Ok(Self { peaks, products: products(cx).await? })
    }
}

// ANCHOR: peak
/// The most bytes that a network and two of its steps hold at once.
async fn peak(race: &Race<'_>, policy: Policy, cx: &Context) -> Result<Option<usize>, LabError> {
    let (pixels, labels) = race.batch(&(0..MANY).collect::<Vec<_>>());
    let (_, peak) = peak_bytes(cx, async || {
        let mut network = Network::new(&race.start, policy);
        for _ in 0..2 {
            network.step(&pixels, &labels, 0.01);
            cx.checkpoint().await?;
        }
        Ok(())
    })
    .await?;
    Ok(peak)
}
// ANCHOR_END: peak

/// The same product of singles and of halves, turn by turn.
async fn products(cx: &Context) -> Result<Option<Pair>, LabError> {
    if !cx.device.supports_dtype(DType::F16) {
        return Ok(None);
    }
    let mut rng = cx.rng("product");
    let mut draw = || {
        let values: Vec<f32> = (0..SIDE * SIDE).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::<2>::from_data(TensorData::new(values, [SIDE, SIDE]), &cx.device)
    };
    let (a, b) = (draw(), draw());
    let halves = [a.clone().cast(FloatDType::F16), b.clone().cast(FloatDType::F16)];
    // Reading one number makes the device finish.
    let corner = async |product: Tensor<2>| read(product.slice([0..1, 0..1]).cast(FloatDType::F32)).await.map(|_| ());
    let singles = async || corner(matmul(a.clone(), b.clone())).await;
    let halved = async || corner(halves[0].clone().matmul(halves[1].clone())).await;
    side_by_side(cx, 150.0, singles, halved).await.map(Some)
}

/// Operations of such a product.
pub(super) fn operations() -> f64 {
    2.0 * (SIDE as f64).powi(3)
}

/// Bytes that it moves at least.
pub(super) fn bytes(format: Format) -> f64 {
    3.0 * (SIDE * SIDE) as f64 * format.bits() / 8.0
}
