//! Our grids and fake quantization against those of PyTorch 2.9.1 (`fixtures/torch_quantization.py` made the numbers).
//!
//! Conventions that differ, and are taken into account below: PyTorch's symmetric grid uses the lowest code as well
//! (-128 to 127, scale = reach / 127.5), ours leaves it out (-127 to 127, scale = reach / 127), as its own per-channel
//! weights in most backends do; a tensor of zeros gets the scale 1.2e-7 there and 1 here. PyTorch multiplies by the
//! reciprocal of the scale where we divide, so values within rounding of half a step may go to either side.

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::{
    Granularity, Grid, PackedMatrix, Scheme, Settings,
    fake::{FakeGrid, MovingRange, fake_quantize},
    fit_range, min_max,
};
use crate::{mlp::read, testing::ready as now};

#[derive(Deserialize)]
struct Fixture {
    torch: String,
    tensors: std::collections::BTreeMap<String, Values>,
    cases: Vec<Case>,
    gradient: Gradient,
    moving: Moving,
}

#[derive(Deserialize)]
struct Values {
    columns: usize,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    tensor: String,
    bits: u32,
    scheme: String,
    per_channel: bool,
    scale: Vec<f32>,
    zero_point: Vec<i32>,
    fake: Vec<f32>,
}

#[derive(Deserialize)]
struct Gradient {
    scale: f32,
    zero_point: u8,
    highest: u8,
    values: Vec<f32>,
    gradient: Vec<f32>,
}

#[derive(Deserialize)]
struct Moving {
    batches: Vec<Vec<f32>>,
    min: f32,
    max: f32,
}

fn fixture() -> Fixture {
    let text = include_str!("../../fixtures/torch_quantization.json");
    let fixture: Fixture = serde_json::from_str(text).expect("the committed fixture parses");
    assert_eq!(fixture.torch, "2.9.1");
    fixture
}

#[test]
fn observers_and_fake_quantization_agree() {
    let fixture = fixture();
    let mut compared = 0;
    for case in fixture.cases.iter().filter(|case| case.scheme != "symmetric_full") {
        let Values { columns, values } = &fixture.tensors[&case.tensor];
        let scheme = if case.scheme == "affine" { Scheme::Affine } else { Scheme::Symmetric };
        let granularity = if case.per_channel { Granularity::Channel } else { Granularity::Tensor };
        let settings = Settings::weight_only(case.bits, scheme, granularity);
        let packed = PackedMatrix::quantize(values, *columns, &settings);
        let at = format!("{} {:?}", case.tensor, settings);

        assert_eq!(packed.scales.len(), case.scale.len(), "{at}");
        for (i, (ours, theirs)) in packed.scales.iter().zip(&case.scale).enumerate() {
            let block = if case.per_channel { &values[i * columns..(i + 1) * columns] } else { values };
            if block.iter().any(|value| *value != 0.0) {
                // One rounding of FP32 apart at most.
                assert!((ours / theirs - 1.0).abs() < 2e-7, "{at}: scale {ours}, not {theirs}");
            }
        }
        for (ours, theirs) in packed.zero_points.iter().zip(&case.zero_point) {
            assert_eq!(i32::from(*ours), *theirs, "{at}");
        }
        for (i, (ours, theirs)) in packed.dequantize().iter().zip(&case.fake).enumerate() {
            let scale = packed.scale(i / columns, 0);
            let steps = values[i] / scale;
            let tie = scale != 1.0 && ((steps - steps.floor()) - 0.5).abs() < 1e-5;
            let tolerance = if tie { 1.001 * scale } else { 1e-5 * scale };
            assert!((ours - theirs).abs() <= tolerance, "{at}: value {} gives {ours}, not {theirs}", values[i]);
            compared += 1;
        }
    }
    assert!(compared > 3000, "{compared}");
}

#[test]
fn the_full_symmetric_range_differs_by_its_one_more_code() {
    let fixture = fixture();
    let mut compared = 0;
    for case in fixture.cases.iter().filter(|case| case.scheme == "symmetric_full" && !case.per_channel) {
        let values = &fixture.tensors[&case.tensor].values;
        let ours = fit_range(super::Calibration::MinMax, Scheme::Symmetric, case.bits, values).scale;
        let codes = (1_u32 << case.bits) as f32;
        let expected = ours * (codes / 2.0 - 1.0) / ((codes - 1.0) / 2.0);
        assert!((case.scale[0] / expected - 1.0).abs() < 1e-6, "{} bits", case.bits);
        compared += 1;
    }
    assert_eq!(compared, 3);
}

#[test]
fn gradients_are_cut_where_theirs_are() {
    let Gradient { scale, zero_point, highest, values, gradient } = fixture().gradient;
    let device = Device::flex().autodiff();
    let grid = Grid { scale, zero_point, lowest: 0, highest };
    let grid = FakeGrid::from_grids(Scheme::Affine, 3, &[grid], &device);
    let x = Tensor::<2>::from_data(TensorData::new(values.clone(), [1, values.len()]), &device).require_grad();
    let y = fake_quantize(x.clone(), &grid).sum();
    let ours = now(read(x.grad(&y.backward()).expect("tracked"))).expect("reads");
    for (i, (ours, theirs)) in ours.iter().zip(&gradient).enumerate() {
        assert!((ours - theirs).abs() < 1e-6, "at {}: {ours}, not {theirs}", values[i]);
    }
    assert!(gradient.contains(&0.0) && gradient.contains(&1.0));
}

#[test]
fn moving_averages_agree() {
    let Moving { batches, min, max } = fixture().moving;
    let device = Device::flex();
    // PyTorch takes the first batch as it is; we start from a calibrated range, here the same one.
    let extremes = |batch: &[f32]| {
        let finite = |first: f32, pick: fn(f32, f32) -> f32| batch.iter().copied().fold(first, pick);
        (finite(f32::INFINITY, f32::min), finite(f32::NEG_INFINITY, f32::max))
    };
    let (first_min, first_max) = extremes(&batches[0]);
    let mut range = MovingRange::new(first_min, first_max, &device);
    for batch in &batches[1..] {
        range.observe(Tensor::from_data(TensorData::new(batch.clone(), [5, 4]), &device));
    }
    let ours = now(range.grid(8).grids()).expect("reads")[0];
    let theirs = Grid::fit(Scheme::Affine, 8, min, max);
    assert!((ours.scale / theirs.scale - 1.0).abs() < 1e-6);
    assert_eq!(ours.zero_point, theirs.zero_point);
}

/// The formula of block-wise quantization (Dettmers et al., arXiv:2110.02861): each block of a flattened tensor is
/// divided by its largest magnitude and rounded to a whole number of 127ths. (bitsandbytes puts the codes of its 8-bit
/// optimizers on a nonlinear map; its absolute maximum per block is the same.)
#[test]
fn groups_are_absmax_blocks() {
    let Values { values, columns } = &fixture().tensors["outlier"];
    for block in [4, 8, 16] {
        let settings = Settings::weight_only(8, Scheme::Symmetric, Granularity::Group(block));
        let ours = PackedMatrix::quantize(values, *columns, &settings).dequantize();
        for (ours, values) in ours.chunks(block).zip(values.chunks(block)) {
            let (min, max) = min_max(values);
            let absmax = max.max(-min);
            for (ours, value) in ours.iter().zip(values) {
                let expected = (value / absmax * 127.0).round_ties_even() / 127.0 * absmax;
                assert!((ours - expected).abs() < 1e-6 * absmax, "{ours} {expected}");
            }
        }
    }
}
