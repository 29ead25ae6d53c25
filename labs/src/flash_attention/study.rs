//! Lengths from 128 to 4,096 (bytes to 8,192), two widths of a head, ten draws for errors; and the kit's own attention and
//! Burn's beside our kernels.

use std::hint::black_box;

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    attention::{Head, Inputs, Sight, Traffic, one_table, split},
    burn::tensor::{Device, Tensor, TensorData, module::attention, ops::AttentionModuleOptions},
    measure::{in_turns, peak_bytes},
    models::{attend, causal_mask},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Params, Scores, figures,
    measure::{self, COLUMNS, PIECES, ROWS, ratios},
    ways::{Case, Setting, Way},
};

const LEVEL: f64 = 0.95;
/// Draws over which errors are taken.
const DRAWS: u64 = 10;

/// A measured number with the interval of its median.
fn of(family: Family, id: &str, label: &str, unit: &str, samples: Vec<f64>, cx: &Context) -> Metric {
    let interval = median_interval(&samples, LEVEL, &mut cx.rng(id));
    metric(family, id, label, median(&samples), unit).interval(interval).measured(samples)
}

fn setting(channels: u32, causal: bool) -> Setting {
    Params { head_channels: channels, causal, ..Params::default() }.setting()
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    bytes(&mut report, cx).await?;
    forward(&mut report, cx).await?;
    tiles(&mut report, cx).await?;
    frameworks(&mut report, cx).await?;
    backward(&mut report, cx).await?;
    decode(&mut report, cx).await?;
    errors(&mut report, cx).await?;
    Ok(report)
}

async fn bytes(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Bytes", 0.0);
    let lengths = [256, 512, 1024, 2048, 4096, 8192];
    let peaks = measure::peaks(&lengths, &setting(32, true), cx).await?;
    for (tokens, held) in &peaks {
        for (way, bytes) in Way::ALL.iter().zip(held) {
            let (id, label) =
                (format!("peak_{}_{tokens}", way.id()), format!("Held, {}, {tokens} tokens", way.words()));
            report
                .metrics
                .push(metric(Family::Memory, &id, &label, *bytes / 1e6, "MB").lower().measured(vec![*bytes / 1e6]));
        }
    }
    report.charts.extend(figures::peaks(&peaks));
    let case = Case::draw(1024, &setting(32, true), cx);
    let moved = measure::traffic(&case, cx).await?;
    report.charts.push(figures::traffic(&moved, &case));
    for (rows, bytes) in ROWS.iter().zip(&moved.by_rows) {
        let (id, label) = (format!("traffic_{rows}"), format!("Moved by tiles of {rows} queries, 1,024 tokens"));
        report.metrics.push(
            metric(Family::Memory, &id, &label, *bytes / 1e6, "MB")
                .baseline(moved.table / 1e6)
                .exact(0.0, "numbers are counted"),
        );
    }
    Ok(())
}

async fn forward(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for (channels, lengths, causal) in
        [(32, &[128, 256, 512, 1024, 2048, 4096][..], true), (64, &[512, 2048], true), (32, &[1024], false)]
    {
        cx.progress(&format!("Forward, {channels} channels"), 0.1);
        let times = measure::times(lengths, &setting(channels, causal), 7, cx).await?;
        let name = if causal { channels.to_string() } else { "full".to_owned() };
        for tokens in lengths {
            for way in Way::ALL {
                let id = format!("ms_{}_{name}_{tokens}", way.id());
                let label = format!("{}, {channels} channels, {tokens} tokens", way.words());
                let ms = times.of(way, *tokens).to_vec();
                let gain = ratios(times.of(Way::Eager, *tokens), &ms);
                let numbers = [f64::from(channels), *tokens as f64, median(&ms), median(&gain)];
                rows.push([Cell::from(way.words())].into_iter().chain(numbers.map(Cell::from)).collect());
                report.metrics.push(of(Family::Time, &id, &label, "ms", ms, cx).lower());
                let (id, label) = (format!("gain_{}_{name}_{tokens}", way.id()), format!("First over this: {label}"));
                report.metrics.push(of(Family::Time, &id, &label, "×", gain, cx).higher().baseline(1.0));
            }
            for (id, label, first, second) in [
                ("triangle", "Skipping the future", Way::AllTiles, Way::Tiled),
                ("alone", "Tiles against one table, nothing skipped", Way::OneTable, Way::AllTiles),
                ("against_chunks", "Tiles against chunks", Way::Chunked, Way::Tiled),
            ] {
                let samples = ratios(times.of(first, *tokens), times.of(second, *tokens));
                let (id, label) =
                    (format!("{id}_{name}_{tokens}"), format!("{label}, {channels} channels, {tokens} tokens"));
                report.metrics.push(of(Family::Time, &id, &label, "×", samples, cx).higher().baseline(1.0));
            }
        }
        if lengths.len() > 2 {
            report.charts.push(figures::times(&times));
        }
    }
    report.tables.push(Table {
        id: "times".into(),
        title: "Forward, one head: median times of seven rounds; the last rows see all keys".into(),
        columns: ["Way", "Channels", "Tokens", "Time (ms)", "First over this (×)"].map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

async fn tiles(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Tiles", 0.5);
    let all = measure::tiles(&Case::draw(1024, &setting(32, true), cx), cx).await?;
    for (columns, row) in COLUMNS.iter().zip(&all) {
        for (rows, ms) in ROWS.iter().zip(row) {
            let (id, label) = (format!("tile_{rows}_{columns}"), format!("Tiles of {rows} × {columns}, 1,024 tokens"));
            report.metrics.push(metric(Family::Time, &id, &label, *ms, "ms").lower().measured(vec![*ms]));
        }
    }
    report.charts.push(figures::tiles(&all));
    Ok(())
}

/// What a model really calls: the kit's attention, operation by operation, and Burn's, which changes its way with the length.
async fn frameworks(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Burn", 0.55);
    let device = Device::flex();
    let options = AttentionModuleOptions { is_causal: true, ..AttentionModuleOptions::default() };
    let mut series = [("The kit's attention", Vec::new()), ("Burn's attention", Vec::new()), ("Tiles", Vec::new())];
    for tokens in [256, 512, 1024, 2048] {
        let case = Case::draw(tokens, &setting(32, true), cx);
        let Inputs { q, k, v } = case.inputs();
        let tensor = |x: &[f32]| Tensor::<4>::from_data(TensorData::new(x.to_vec(), [1, 1, tokens, 32]), &device);
        let (q, k, v, mask) = (tensor(q), tensor(k), tensor(v), causal_mask(tokens, 0, &device));
        let kit = || attend(q.clone(), k.clone(), v.clone(), mask.clone());
        let burn = || attention(q.clone(), k.clone(), v.clone(), None, None, options);
        let ours = || Way::Tiled.run(&case).values;
        let samples = in_turns(cx, 3, 7, |which| match which {
            0 => drop(black_box(kit())),
            1 => drop(black_box(burn())),
            _ => drop(black_box(ours())),
        })
        .await?;
        let kit_ms = samples[0].clone();
        let peaks = [
            peak_bytes(cx, async || Ok(black_box(kit()))).await?.1,
            peak_bytes(cx, async || Ok(black_box(burn()))).await?.1,
            peak_bytes(cx, async || Ok(black_box(ours()))).await?.1,
        ];
        for ((id, samples), (peak, (name, points))) in
            ["kit", "burn", "ours"].iter().zip(&samples).zip(peaks.into_iter().zip(&mut series))
        {
            points.push([tokens as f64, median(samples)]);
            let label = format!("{name}, {tokens} tokens");
            report
                .metrics
                .push(of(Family::Time, &format!("{id}_ms_{tokens}"), &label, "ms", samples.clone(), cx).lower());
            let gain = ratios(&kit_ms, samples);
            report.metrics.push(
                of(Family::Time, &format!("{id}_gain_{tokens}"), &format!("The kit's over {label}"), "×", gain, cx)
                    .higher(),
            );
            if let Some(peak) = peak {
                let id = format!("{id}_peak_{tokens}");
                report.metrics.push(
                    metric(Family::Memory, &id, &format!("Held, {label}"), 1e-6 * peak as f64, "MB")
                        .lower()
                        .measured(vec![1e-6 * peak as f64]),
                );
            }
        }
    }
    report.charts.push(Chart {
        id: "frameworks".into(),
        title: "What a model calls".into(),
        caption: "Median time of one causal head of 32 channels: the kit's attention (operation by operation on Burn), Burn's own function, and our tiles. Natively Burn's products use wider vectors than ours.".into(),
        x: Axis::log("Tokens"),
        y: Axis::log("Time (ms)"),
        body: ChartBody::Line {
            series: series.into_iter().map(|(name, points)| Series { name: name.into(), points, band: vec![] }).collect(),
        },
    });
    Ok(())
}

async fn backward(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Backward", 0.65);
    for tokens in [128, 256, 512, 1024, 2048] {
        let found = measure::backward(&Case::draw(tokens, &setting(32, true), cx), cx).await?;
        for (id, label, which) in
            [("backward", "Weights made again", 1), ("backward_alone", "The same, nothing skipped", 2)]
        {
            let samples = ratios(&found.ms[0], &found.ms[which]);
            let label = format!("{label}, {tokens} tokens: kept over this");
            report
                .metrics
                .push(of(Family::Time, &format!("{id}_{tokens}"), &label, "×", samples, cx).higher().baseline(1.0));
        }
        for (id, label, peak) in
            [("kept", "weights kept", found.peaks[0]), ("again", "weights made again", found.peaks[1])]
        {
            if let Some(peak) = peak {
                let (id, label) =
                    (format!("backward_{id}_{tokens}"), format!("Held in training, {label}, {tokens} tokens"));
                report.metrics.push(
                    metric(Family::Memory, &id, &label, 1e-6 * peak as f64, "MB")
                        .lower()
                        .measured(vec![1e-6 * peak as f64]),
                );
            }
        }
    }
    Ok(())
}

async fn decode(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("One query", 0.85);
    for keys in [1024, 8192, 32_768] {
        let case = Case::draw(keys, &setting(32, true), cx);
        let Inputs { q, k, v } = case.inputs();
        let inputs = Inputs { q: &q[q.len() - 32..], k, v };
        let head = Head { queries: 1, ..case.head };
        let samples = in_turns(cx, 2, 11, |which| {
            let inputs = black_box(inputs);
            black_box(match which {
                0 => one_table(inputs, head, Sight::CAUSAL, &mut Traffic::default()).values,
                _ => split(inputs, 32, PIECES, 64),
            });
        })
        .await?;
        let label = format!("One query, {keys} keys");
        report.metrics.push(of(Family::Time, &format!("decode_{keys}"), &label, "ms", samples[0].clone(), cx).lower());
        let gain = ratios(&samples[0], &samples[1]);
        let label = format!("{label}: in one piece over in {PIECES}");
        report
            .metrics
            .push(of(Family::Time, &format!("decode_pieces_{keys}"), &label, "×", gain, cx).higher().baseline(1.0));
    }
    Ok(())
}

async fn errors(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    let before = cx.seed;
    let names = [(Scores::Ordinary, "ordinary"), (Scores::Peaked, "peaked"), (Scores::Huge, "huge")];
    for (inputs, name) in names {
        cx.progress("Errors", 0.9);
        let mut all: Vec<Vec<f64>> = vec![Vec::new(); Way::ALL.len()];
        let mut gradients = [Vec::new(), Vec::new()];
        for seed in 0..DRAWS {
            cx.seed = seed;
            let setting = Params { inputs, ..Params::default() }.setting();
            let errors = measure::errors(&Case::draw(512, &setting, cx), cx).await?;
            all.iter_mut().zip(errors.of).for_each(|(all, error)| all.push(error));
            gradients.iter_mut().zip(errors.gradient).for_each(|(all, error)| all.push(error));
        }
        cx.seed = before;
        for (way, samples) in Way::ALL.iter().zip(all) {
            let (id, label) = (
                format!("error_{}_{name}", way.id()),
                format!("Distance from the formula, {}, {name} scores", way.words()),
            );
            report.metrics.push(of(Family::Quality, &id, &label, "", samples, cx).lower());
        }
        for (id, samples) in ["again", "kept"].iter().zip(gradients) {
            let label = format!("Error of gradients, weights {id}, {name} scores");
            report.metrics.push(of(Family::Quality, &format!("gradient_{id}_{name}"), &label, "", samples, cx).lower());
        }
    }
    Ok(())
}
