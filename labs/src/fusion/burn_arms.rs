//! Burn's own operations on the processor, beside ours in one pass.

use std::hint::black_box;

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    burn::tensor::{
        Device, Tensor, TensorData,
        activation::{silu, softmax},
    },
    fusion::{rms_norm_fused, softmax_fused, swiglu_fused},
    measure::in_turns,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Params,
    subject::{EPSILON, draw},
};

/// Most numbers of such a comparison.
const MOST: u32 = 16;

/// How many times as fast three of our passes are as Burn's operations; and how far the results are apart.
pub(super) async fn run(params: &Params, rounds: usize, cx: &Context) -> Result<Vec<Metric>, LabError> {
    let (n, row) = (1_usize << params.numbers.min(MOST), params.row as usize);
    let rows = (n / row).max(1);
    let n = rows * row;
    let mut rng = cx.rng("burn");
    let (x, z, gamma) = (draw(n, &mut rng), draw(n, &mut rng), draw(row, &mut rng));
    let device = Device::flex();
    let tensor = |x: &[f32], rows: usize| Tensor::<2>::from_data(TensorData::new(x.to_vec(), [rows, row]), &device);
    let (a, b, g) = (tensor(&x, rows), tensor(&z, rows), tensor(&gamma, 1));
    let burn = |which: usize| match which {
        0 => silu(a.clone()) * b.clone(),
        1 => softmax(a.clone(), 1),
        _ => {
            let r = (a.clone() * a.clone()).mean_dim(1).add_scalar(EPSILON).sqrt().recip();
            a.clone() * r * g.clone()
        }
    };
    let ours = |which: usize, y: &mut [f32]| match which {
        0 => swiglu_fused(&x, &z, y),
        1 => softmax_fused(&x, row, y),
        _ => rms_norm_fused(&x, &gamma, EPSILON, y),
    };
    let mut y = vec![0.0; n];
    let mut apart = 0.0_f32;
    for which in 0..3 {
        let theirs = lab_kit::mlp::read(burn(which)).await?;
        ours(which, &mut y);
        apart = theirs.iter().zip(&y).fold(apart, |worst, (a, b)| worst.max((a - b).abs() / (1.0 + a.abs())));
    }
    if apart > 1e-5 {
        return Err(LabError::Engine { why: format!("our passes differ from Burn's operations by {apart:e}") });
    }
    let ms = in_turns(cx, 6, rounds, |i| {
        if i % 2 == 0 {
            drop(black_box(burn(i / 2)));
        } else {
            ours(i / 2, black_box(&mut y));
        }
    })
    .await?;
    let names = [("swiglu", "SwiGLU"), ("softmax", "Softmax"), ("norm", "RMSNorm")];
    let one = |(i, (id, name)): (usize, (&str, &str))| {
        let gains: Vec<f64> = ms[2 * i].iter().zip(&ms[2 * i + 1]).map(|(a, b)| a / b.max(1e-9)).collect();
        metric(Family::Time, &format!("burn_{id}"), &format!("{name}: our pass against Burn's operations"), median(&gains), "×")
            .higher()
            .baseline(1.0)
            .interval(median_interval(&gains, 0.95, &mut cx.rng(id)))
            .measured(gains)
            .detail()
            .help("On the processor. Burn allocates each result and has an exponential of its own, so this is not fusion alone.")
    };
    Ok(names.into_iter().enumerate().map(one).collect())
}
