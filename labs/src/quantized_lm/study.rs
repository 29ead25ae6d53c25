//! Every width, grid, share of scales and treatment of activations, on more text.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Interval, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    quant::{Activations, Granularity, GroupGrids, HALF, Remedy, Rounding, Scheme, Settings},
    report::{MetricExt, metric},
};

use super::{
    judge::{self, Judged},
    model::Source,
    outliers,
    prepared::Prepared,
    remedies, speeds,
};

/// Windows of text.
const WINDOWS: usize = 48;
const GRANULARITIES: [(Granularity, &str); 3] =
    [(Granularity::Channel, "channel"), (Granularity::Group(64), "group_64"), (Granularity::Group(32), "group_32")];
const SCHEMES: [(Scheme, &str); 2] = [(Scheme::Symmetric, "symmetric"), (Scheme::Affine, "affine")];

/// One arm, judged.
struct Arm {
    /// Grid, scales, and what is done beyond rounding each weight to the nearest level: 8-bit activations (`int8`), errors
    /// compensated (`gptq`; `gptq_in_turn` with grids of groups fitted in turn), or neither (`fp32`).
    words: [&'static str; 3],
    bits: u32,
    bytes: usize,
    bits_per_character: f64,
    change: f64,
    interval: Interval,
    agreement: f64,
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let source = Source::load(cx).await?;
    let windows = source.windows(WINDOWS);
    let before = Judged::of(&source.fp32(cx)?, &source, &windows, cx).await?;
    let [fp32, int8, gptq, in_turn] = ["fp32", "int8", "gptq", "gptq_in_turn"];
    let mut plan = vec![(HALF, SCHEMES[0], (Granularity::Channel, "weight"), fp32)];
    for bits in [8, 4, 3, 2] {
        for scheme in SCHEMES {
            for granularity in GRANULARITIES {
                plan.extend([fp32, int8].map(|how| (bits, scheme, granularity, how)));
                plan.extend((bits < 8).then_some((bits, scheme, granularity, gptq)));
                let grouped = bits < 8 && granularity == GRANULARITIES[2];
                plan.extend(grouped.then_some((bits, scheme, granularity, in_turn)));
            }
        }
    }
    let flows = source.flows(true, cx).await?;
    let mut prepared = Prepared::new(&source, flows, Remedy::Nothing, cx).await?;
    let (mut arms, count) = (Vec::new(), plan.len());
    for (done, (bits, scheme, granularity, beyond)) in plan.into_iter().enumerate() {
        cx.progress("Judging every arm", done as f64 / count as f64);
        prepared.grids = if beyond == in_turn { GroupGrids::InTurn } else { GroupGrids::Before };
        let settings = Settings {
            rounding: if beyond == gptq || beyond == in_turn { Rounding::Gptq } else { Rounding::Nearest },
            activations: if beyond == int8 { Activations::Dynamic } else { Activations::Fp32 },
            ..Settings::weight_only(bits, scheme.0, granularity.0)
        };
        let packed = source.pack(&settings, &prepared, cx).await?;
        let after = Judged::of(&packed.model, &source, &windows, cx).await?;
        let found = judge::metrics(&before, &after, cx)?;
        let value = |id: &str| found.iter().find(|metric| metric.id == id);
        let (Some(level), Some(change), Some(same)) =
            (value("bits_per_character"), value("bits_change"), value("agreement"))
        else {
            return Err(LabError::Engine { why: "a judged arm lacks a metric".into() });
        };
        arms.push(Arm {
            words: [scheme.1, granularity.1, beyond],
            bits,
            bytes: packed.bytes,
            bits_per_character: level.value,
            change: change.value,
            interval: change.interval.unwrap_or(Interval { low: change.value, high: change.value, level: 0.95 }),
            agreement: same.value,
        });
    }
    let mut report = report(&arms, judge::bits(&before, cx)?, source.fp32_bytes());
    drop(prepared);
    outliers::run(&source, (&windows, &before), "", cx, &mut report).await?;
    remedies::run(&source, (&windows, &before), "trained", cx, &mut report).await?;
    let mut planted = Source::load(cx).await?;
    planted.plant_outliers()?;
    outliers::run(&planted, (&windows, &before), "planted_", cx, &mut report).await?;
    remedies::run(&planted, (&windows, &before), "planted", cx, &mut report).await?;
    speeds::run(&source, cx, &mut report).await?;
    Ok(report)
}

fn report(arms: &[Arm], fp32: f64, fp32_bytes: usize) -> Report {
    let mut report = Report::default();
    report.metrics.push(metric(Family::Quality, "bits_fp32", "Bits per character of FP32", fp32, "bits").lower());
    for arm in arms {
        let [scheme, granularity, inputs] = arm.words;
        let name = format!("{}_{scheme}_{granularity}_{inputs}", arm.bits);
        let how = match inputs {
            "gptq" => "error-compensated".to_owned(),
            "gptq_in_turn" => "error-compensated, grids in turn".to_owned(),
            inputs => format!("activations {inputs}"),
        };
        let words = format!("{} bits, {scheme}, {granularity}, {how}", arm.bits);
        let add = [
            metric(
                Family::Quality,
                &format!("bits_{name}"),
                &format!("Bits per character: {words}"),
                arm.bits_per_character,
                "bits",
            )
            .lower(),
            metric(Family::Quality, &format!("change_{name}"), &format!("Change: {words}"), arm.change, "bits")
                .lower()
                .interval(arm.interval),
            metric(Family::Quality, &format!("agreement_{name}"), &format!("Agreement: {words}"), arm.agreement, "%")
                .higher(),
            metric(
                Family::Memory,
                &format!("compression_{name}"),
                &format!("Compression: {words}"),
                fp32_bytes as f64 / arm.bytes as f64,
                "×",
            )
            .higher(),
        ];
        report.metrics.extend(add);
    }
    let columns = [
        "Bits",
        "Grid",
        "Scales",
        "Beyond rounding",
        "Bytes",
        "Bits per character",
        "Change",
        "low",
        "high",
        "Agreement (%)",
    ];
    report.tables.push(Table {
        id: "arms".into(),
        title: "Every arm".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: arms
            .iter()
            .map(|arm| {
                let [scheme, granularity, inputs] = arm.words;
                let numbers = [arm.bits_per_character, arm.change, arm.interval.low, arm.interval.high, arm.agreement];
                [
                    Cell::from(f64::from(arm.bits)),
                    Cell::from(scheme),
                    Cell::from(granularity),
                    Cell::from(match inputs {
                        "int8" => "8-bit activations",
                        "gptq" => "errors compensated",
                        "gptq_in_turn" => "the same, grids in turn",
                        _ => "nothing",
                    }),
                    Cell::from(arm.bytes as f64),
                ]
                .into_iter()
                .chain(numbers.map(Cell::from))
                .collect()
            })
            .collect(),
    });
    report.charts.push(chart(arms, fp32, fp32_bytes));
    report
}

/// Bits per character against bytes, one line for each way to share scales.
fn chart(arms: &[Arm], fp32: f64, fp32_bytes: usize) -> Chart {
    let of = |scheme: &str, granularity: &str, how: &str| {
        let mut points: Vec<[f64; 2]> = arms
            .iter()
            .filter(|arm| arm.words == [scheme, granularity, how])
            .map(|arm| [arm.bytes as f64, arm.bits_per_character])
            .collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        points
    };
    let least = arms.iter().map(|arm| arm.bytes as f64).fold(fp32_bytes as f64, f64::min);
    let line = |name: &str, points| Series { name: name.into(), points, band: vec![] };
    Chart {
        id: "bytes".into(),
        title: "What does each bit buy?".into(),
        caption: "Bits per character on held-out text against bytes, weights alone quantized, at 8, 4, 3 and 2 bits (compensated from 4 on). Lower and \
                  further left is better."
            .into(),
        x: Axis::log("Weights (bytes)"),
        y: Axis::linear("Bits per character"),
        body: ChartBody::Line {
            series: vec![
                line("FP32", vec![[least, fp32], [fp32_bytes as f64, fp32]]),
                line("Symmetric, per channel", of("symmetric", "channel", "fp32")),
                line("Symmetric, groups of 32", of("symmetric", "group_32", "fp32")),
                line("Affine, groups of 32", of("affine", "group_32", "fp32")),
                line("The same, compensated", of("affine", "group_32", "gptq")),
            ],
        },
    }
}
