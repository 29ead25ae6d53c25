//! Fusions that may lose, and a product rung by rung.

use std::hint::black_box;

use lab_api::{Axis, BarSeries, Chart, ChartBody, LabError};
use lab_kit::{
    Context,
    fusion::{
        ChainStep, PassRoom, ProductRung, StripWeights, by_columns, multiply, online, plain_dense, shared,
        softmax_fused, softmax_separate, split_dense,
    },
    graph::TILES,
    measure::in_turns,
    stats::median,
};

use super::{
    Params,
    subject::{EPSILON, INPUTS, OUTPUTS, draw, dyadic},
};

/// Two ways in rounds that may be compared: milliseconds of the one that fuses less, and of the one that fuses more.
pub(super) struct Bout {
    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "names of the study"))]
    pub(super) id: String,
    pub(super) name: String,
    pub(super) ms: [Vec<f64>; 2],
}

impl Bout {
    /// How many times as fast the one is that fuses more.
    pub(super) fn gains(&self) -> Vec<f64> {
        self.ms[0].iter().zip(&self.ms[1]).map(|(less, more)| less / more.max(1e-9)).collect()
    }
}

async fn bout(id: &str, name: &str, rounds: usize, cx: &Context, call: impl FnMut(usize)) -> Result<Bout, LabError> {
    let mut ms = in_turns(cx, 2, rounds, call).await?.into_iter();
    let mut next = || ms.next().unwrap_or_default();
    Ok(Bout { id: id.into(), name: name.into(), ms: [next(), next()] })
}

pub(super) async fn run(params: &Params, rounds: usize, cx: &Context) -> Result<Vec<Bout>, LabError> {
    let mut all = Vec::new();
    for (step, name) in [(ChainStep::Cheap, "cheap"), (ChainStep::Exp, "exp")] {
        for length in [1, 4, 16] {
            all.push(recompute(step, name, length, params.numbers.min(20), rounds, cx).await?);
        }
    }
    for outputs in [OUTPUTS, 1024] {
        all.push(prologue(outputs, rounds, cx).await?);
    }
    all.push(own_product(rounds, cx).await?);
    let row = params.row as usize;
    all.extend(softmaxes(768, row, rounds, cx).await?);
    Ok(all)
}

/// The producer run by both consumers, against its result written once.
pub(super) async fn recompute(
    step: ChainStep,
    name: &str,
    length: usize,
    power: u32,
    rounds: usize,
    cx: &Context,
) -> Result<Bout, LabError> {
    let n = 1_usize << power;
    let x = dyadic(n, &mut cx.rng("shared"));
    let (mut room, mut y, mut z) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let words = format!("recompute {length} {name}");
    bout(&format!("recompute_{name}_{length}_{power}"), &words, rounds, cx, |i| {
        shared(step, length, i == 1, black_box(&x), &mut room, [&mut y, &mut z]);
    })
    .await
}

/// The norm once behind the product, against the norm again before each 64 columns.
pub(super) async fn prologue(outputs: usize, rounds: usize, cx: &Context) -> Result<Bout, LabError> {
    let mut rng = cx.rng("prologue");
    let rows = 128;
    let (x, w, gamma) = (draw(rows * INPUTS, &mut rng), draw(INPUTS * outputs, &mut rng), draw(INPUTS, &mut rng));
    let weights = [StripWeights::folded(&w, &gamma, outputs), StripWeights::new(&w, INPUTS, outputs)];
    let mut y = vec![0.0; rows * outputs];
    bout(&format!("prologue_{outputs}"), &format!("norm as prologue, {outputs}"), rounds, cx, |i| {
        by_columns(black_box(&x), (i == 1).then_some(&gamma[..]), EPSILON, &weights[i], &mut y);
    })
    .await
}

/// A good product with two passes behind it, against all of it in one plain loop.
pub(super) async fn own_product(rounds: usize, cx: &Context) -> Result<Bout, LabError> {
    let mut rng = cx.rng("own product");
    let rows = 128;
    let (x, w, bias) = (draw(rows * INPUTS, &mut rng), draw(INPUTS * OUTPUTS, &mut rng), draw(OUTPUTS, &mut rng));
    let (weights, mut y) = (StripWeights::new(&w, INPUTS, OUTPUTS), vec![0.0; rows * OUTPUTS]);
    let mut room = PassRoom::new(rows * OUTPUTS, rows);
    bout("own_product", "own plain product", rounds, cx, |i| {
        if i == 0 {
            split_dense(black_box(&x), &weights, &bias, &mut room, &mut y);
        } else {
            plain_dense(black_box(&x), &w, &bias, &mut y);
        }
    })
    .await
}

/// Softmax in five passes, against a row held, and against online with one lane and with eight.
pub(super) async fn softmaxes(rows: usize, row: usize, rounds: usize, cx: &Context) -> Result<Vec<Bout>, LabError> {
    let n = rows * row;
    let x = draw(n, &mut cx.rng("softmax"));
    let (mut room, mut y) = (PassRoom::new(n, rows), vec![0.0; n]);
    let ms = in_turns(cx, 4, rounds, |i| {
        match i {
            0 => softmax_separate(black_box(&x), row, &mut room, &mut y),
            1 => softmax_fused(black_box(&x), row, &mut y),
            2 => online(black_box(&x), row, 1, &mut y),
            _ => online(black_box(&x), row, 8, &mut y),
        }
        black_box(&mut y);
    })
    .await?;
    let names = ["softmax, row held", "softmax online, 1 lane", "softmax online, 8 lanes"];
    let ids = ["held", "online_1", "online_8"];
    let one = |i: usize| Bout {
        id: format!("softmax_{}_{row}", ids[i]),
        name: names[i].into(),
        ms: [ms[0].clone(), ms[i + 1].clone()],
    };
    Ok((0..3).map(one).collect())
}

pub(super) fn chart(all: &[Bout]) -> Chart {
    Chart {
        id: "losing".into(),
        title: "Does it always pay?".into(),
        caption: "How many times as fast the way is that fuses more. Below 1 it loses: it computes twice, waits for itself, or gives up a better loop.".into(),
        x: Axis::linear("What is fused"),
        y: Axis { min: Some(0.0), ..Axis::linear("Gain (×)") },
        body: ChartBody::Bar {
            categories: all.iter().map(|bout| bout.name.clone()).collect(),
            series: vec![BarSeries {
                name: "fused more, against fused less".into(),
                values: all.iter().map(|bout| median(&bout.gains())).collect(),
                intervals: Vec::new(),
            }],
        },
    }
}

/// A rung, its id, and samples of its rate in GFLOP/s.
pub(super) struct Rate {
    pub(super) name: String,
    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "names of the study"))]
    pub(super) id: String,
    pub(super) gflops: Vec<f64>,
}

/// Rates of all rungs on square matrices of this width.
pub(super) async fn ladder(width: usize, rounds: usize, cx: &Context) -> Result<Vec<Rate>, LabError> {
    let mut rng = cx.rng("ladder");
    let (a, b) = (draw(width * width, &mut rng), draw(width * width, &mut rng));
    let (mut c, mut room) = (vec![0.0; width * width], [Vec::new(), Vec::new()]);
    let plain = [
        (ProductRung::Depth, "depth innermost", "depth"),
        (ProductRung::Columns, "columns innermost", "columns"),
        (ProductRung::Tiles, "tiles of 64", "tiles"),
        (ProductRung::Registers, "4×8 in registers", "registers"),
    ];
    let mut rungs: Vec<_> = plain.map(|(rung, name, id)| (rung, name.to_owned(), id.to_owned())).into();
    rungs.extend(TILES.iter().enumerate().map(|(i, [rows, columns])| {
        (ProductRung::Packed(i), format!("packed, {rows}×{columns}"), format!("packed_{rows}_{columns}"))
    }));
    let ms = in_turns(cx, rungs.len(), rounds, |i| {
        multiply(rungs[i].0, black_box(&a), black_box(&b), [width; 3], &mut room, &mut c);
        black_box(&mut c);
    })
    .await?;
    let flops = 2.0 * (width * width * width) as f64;
    let rate = |((_, name, id), ms): ((ProductRung, String, String), Vec<f64>)| Rate {
        name,
        id,
        gflops: ms.iter().map(|ms| flops / 1e6 / ms.max(1e-9)).collect(),
    };
    Ok(rungs.into_iter().zip(ms).map(rate).collect())
}

pub(super) fn ladder_chart(rates: &[Rate]) -> Chart {
    Chart {
        id: "ladder".into(),
        title: "What makes a product fast?".into(),
        caption: "Square matrices; all rungs give the same bits. Look for the largest step, for the tile that does not help, and for the shapes of packed tiles that fall off a cliff.".into(),
        x: Axis::linear("Way to multiply"),
        y: Axis { min: Some(0.0), ..Axis::linear("Rate (GFLOP/s)") },
        body: ChartBody::Bar {
            categories: rates.iter().map(|rate| rate.name.clone()).collect(),
            series: vec![BarSeries {
                name: "on one core".into(),
                values: rates.iter().map(|rate| median(&rate.gflops)).collect(),
                intervals: Vec::new(),
            }],
        },
    }
}
