//! The chain on the GPU: a launch for each operation, and one for all, by the same program that writes kernels.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    fusion::{chain_on_gpu, separate},
    measure::side_by_side,
    mlp::read,
    report::{MetricExt, metric},
    stats::median,
};

use super::{Params, subject::dyadic};

/// Most numbers on a GPU that may be a processor in disguise.
const MOST: u32 = 16;

/// Nothing where the device has no such kernel.
pub(super) async fn run(params: &Params, cx: &Context) -> Result<Vec<Metric>, LabError> {
    let n = 1_usize << params.numbers.min(MOST);
    let x = dyadic(n, &mut cx.rng("gpu"));
    let steps = vec![params.operation.step(); params.length as usize];
    let tensor = Tensor::<1>::from_data(TensorData::new(x.clone(), [n]), &cx.device);
    let one = |x: &Tensor<1>| chain_on_gpu(x, &steps);
    let many = |x: &Tensor<1>| steps.iter().try_fold(x.clone(), |x, step| chain_on_gpu(&x, &[*step]));
    let (Some(fused), Some(parts)) = (one(&tensor), many(&tensor)) else { return Ok(Vec::new()) };
    let expected = separate(params.operation.step(), params.length as usize, &x);
    let far = |found: Vec<f32>| expected.iter().zip(found).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    let error = f64::from(far(read(fused).await?).max(far(read(parts).await?)));
    // Wrong numbers from a kernel that a driver refused must not be timed.
    if error > 1e-4 {
        return Err(LabError::Device { why: format!("the chain's kernel is off by {error:e} on this GPU") });
    }
    // Reading one number waits for the device; both do it. Eight chains, so that reading is a small part.
    let times = async |chain: &dyn Fn(&Tensor<1>) -> Option<Tensor<1>>| {
        let mut last = None;
        for _ in 0..8 {
            last = chain(&tensor);
        }
        match last {
            Some(y) => read(y.narrow(0, 0, 1)).await.map(drop),
            None => Ok(()),
        }
    };
    let pair = side_by_side(cx, 400.0, async || times(&many).await, async || times(&one).await).await?;
    let (ratio, interval) = pair.ratio(0.95, &mut cx.rng("gpu chain"));
    let each = |ms: &[f64]| ms.iter().map(|ms| 1e3 * ms / 8.0).collect::<Vec<f64>>();
    Ok(vec![
        metric(Family::Time, "gpu_gain", "The chain on the GPU: one launch against one for each operation", ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(pair.ratios())
            .help("Both sides run kernels that the same program wrote, on at most 65,536 numbers; eight chains, then one number is read."),
        metric(Family::Time, "gpu_us", "The chain on the GPU, in one launch", median(&each(&pair.second)), "µs")
            .lower()
            .baseline(median(&each(&pair.first)))
            .measured(each(&pair.second))
            .detail(),
        metric(Family::Quality, "gpu_error", "Error of the chain on the GPU", error, "")
            .lower()
            .exact(1e-5, "rounding, and the GPU's own exponential")
            .detail(),
    ])
}
