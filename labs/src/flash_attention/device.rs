//! The kernel of the GPU beside the kit's attention on the same device.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    attention::{Inputs, exact, on_gpu},
    burn::tensor::{Tensor, TensorData},
    measure::side_by_side,
    mlp::read,
    models::{attend, causal_mask},
    report::{MetricExt, metric},
    stats::median,
};

use super::{measure::apart, ways::Case};

/// Its distance from the formula, and its time beside operation by operation; nothing where the device has no such kernel.
pub(super) async fn run(case: &Case, cx: &Context) -> Result<Vec<Metric>, LabError> {
    let (head, sight) = (case.head, case.setting.sight());
    let Inputs { q, k, v } = case.inputs();
    let tensor = |x: &[f32]| {
        Tensor::<4>::from_data(TensorData::new(x.to_vec(), [1, 1, head.queries, head.channels]), &cx.device)
    };
    let (q, k, v) = (tensor(q), tensor(k), tensor(v));
    let mask = if sight.causal { causal_mask(head.queries, 0, &cx.device) } else { None };
    let Some(found) = on_gpu(&q, &k, &v, sight.causal) else { return Ok(Vec::new()) };
    let found = read(found).await?;
    let rows: Vec<usize> = (0..head.queries).rev().step_by(head.queries.div_ceil(64)).collect();
    let expected = exact(case.inputs(), head, sight, &rows).output;
    let some = rows.iter().flat_map(|i| found[i * head.channels..(i + 1) * head.channels].iter().copied());
    let error = apart(some, &expected);
    // Reading the result is what waits for the device; both do it.
    let kernel = async || match on_gpu(&q, &k, &v, sight.causal) {
        Some(y) => read(y).await.map(drop),
        None => Ok(()),
    };
    let operations = async || read(attend(q.clone(), k.clone(), v.clone(), mask.clone())).await.map(drop);
    let pair = side_by_side(cx, 300.0, operations, kernel).await?;
    let (ratio, interval) = pair.ratio(0.95, &mut cx.rng("kernel"));
    Ok(vec![
        metric(Family::Time, "kernel_speedup", "The GPU's kernel against operation by operation", ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(pair.ratios())
            .help("On the GPU: time of the kit's attention, which writes its table, over that of our kernel, which does not. Both times include reading the result."),
        metric(Family::Time, "kernel_ms", "The GPU's kernel", median(&pair.second), "ms")
            .lower()
            .baseline(median(&pair.first))
            .measured(pair.second)
            .detail(),
        metric(Family::Quality, "kernel_error", "Error of the GPU's kernel", error, "")
            .lower()
            .exact(1e-5, "rounding: the same sums in another order")
            .help("The largest distance of any compared output from the formula in double precision."),
    ])
}
