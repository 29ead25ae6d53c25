//! Times of operations and of networks, with one image and with sixty-four, and what a budget in time chooses.

use lab_api::{Axis, BarSeries, Cell, ChartBody, Family, LabError, Report};
use lab_kit::{
    Context,
    cells::{CellCode, CellTimes, SlotOp, cell_times, network_times},
    data::Glyphs,
    report::{MetricExt, metric},
    search::spearman,
    stats::{median, median_interval},
};

use super::{
    figures::{chart, front, line, scatters, table},
    judge::Allowed,
    record::Record,
    some,
    summary::{middles, misses},
};

/// Samples of each, and networks that are timed whole.
const ROUNDS: usize = 21;
const NETWORKS: usize = 30;
/// Budgets in per cent of four full convolutions.
const BUDGETS: [u32; 5] = [20, 30, 40, 50, 60];

pub(super) async fn run(report: &mut Report, record: &Record, cx: &Context) -> Result<(), LabError> {
    let mut both = Vec::new();
    for (batch, id) in [(1, "one"), (64, "many")] {
        both.push(batched(report, record, (batch, id), cx).await?);
    }
    let series = ["One image", "64 images"].into_iter().zip(&both).map(|(name, times)| {
        let each = SlotOp::ALL.map(|op| times.of(op) / times.of(SlotOp::Conv).max(1e-9));
        BarSeries { name: name.into(), values: each.to_vec(), intervals: vec![] }
    });
    let mut series: Vec<BarSeries> = series.collect();
    let flops = SlotOp::ALL.map(|op| op.flops() as f64 / SlotOp::Conv.flops() as f64);
    series.insert(0, BarSeries { name: "FLOPs".into(), values: flops.to_vec(), intervals: vec![] });
    report.charts.push(chart(
        "shares",
        "What does an operation cost, if conv costs 1?",
        "FLOPs, and time with one image and with 64, each as a share of the full convolution's. Where two bars of an operation differ, a budget in FLOPs means something else than a budget in time.",
        (Axis::linear("Operation"), Axis { min: Some(0.0), ..Axis::linear("Share of conv") }),
        ChartBody::Bar { categories: SlotOp::ALL.map(|op| op.name().to_owned()).to_vec(), series },
    ));
    report.charts.extend(scatters(record, &both[0]));
    Ok(())
}

async fn batched(
    report: &mut Report,
    record: &Record,
    (batch, id): (usize, &str),
    cx: &Context,
) -> Result<CellTimes, LabError> {
    let classes = Glyphs::CLASSES.len();
    let times = cell_times(batch, classes, ROUNDS, cx).await?;
    let codes = some(NETWORKS, "timed");
    let whole = network_times(&codes, (batch, classes), ROUNDS, cx).await?;
    let mut measured = |family, name: &str, label: &str, samples: Vec<f64>, unit: &str| {
        let one = metric(family, &format!("{name}_{id}"), &format!("{label}, batch {batch}"), median(&samples), unit);
        let interval = median_interval(&samples, 0.95, &mut cx.rng(&format!("{name}_{id}")));
        report.metrics.push(one.interval(interval).measured(samples));
    };
    for op in SlotOp::ALL {
        measured(
            Family::Time,
            &format!("us_{}", op.name()),
            &format!("Time of {}", op.name()),
            times.ops[op as usize].clone(),
            "µs",
        );
    }
    let ratio = |a: SlotOp, b: SlotOp| -> Vec<f64> {
        times.ops[a as usize].iter().zip(&times.ops[b as usize]).map(|(a, b)| a / b.max(1e-9)).collect()
    };
    measured(Family::Time, "sep_over_conv", "Time of sep over time of conv", ratio(SlotOp::Sep, SlotOp::Conv), "×");
    measured(Family::Time, "mix_over_pw", "Time of mix over time of pw", ratio(SlotOp::Mix, SlotOp::Pw), "×");
    let off: Vec<f64> = misses(&times, &codes, &whole);
    measured(
        Family::Quality,
        "miss",
        "Added times against whole networks, by size",
        off.iter().map(|x| x.abs()).collect(),
        "%",
    );
    measured(Family::Quality, "bias", "Added times against whole networks", off, "%");
    let found = middles(&whole);
    for (name, label, by) in [
        (
            "order_flops",
            "Order of times by FLOPs (Spearman)",
            codes.iter().map(|code| code.flops(classes) as f64).collect::<Vec<_>>(),
        ),
        (
            "order_table",
            "Order of times by added times (Spearman)",
            codes.iter().map(|code| times.predict(*code)).collect(),
        ),
    ] {
        measured(Family::Quality, name, label, vec![spearman(&by, &found)], "");
    }
    let by_flops = front(record, |code| code.flops(classes) as f64);
    let by_time = front(record, |code| times.predict(code));
    let shared = by_time.iter().filter(|place| by_flops.contains(place)).count() as f64;
    measured(Family::Quality, "front", "Networks on the front by time", vec![by_time.len() as f64], "networks");
    measured(Family::Quality, "shared", "Of them also on the front by FLOPs", vec![shared], "networks");
    let mut rows = Vec::new();
    let mut points = [Vec::new(), Vec::new()];
    for budget in BUDGETS {
        let time = Allowed::of(f64::from(budget), |code| times.predict(code));
        let flops = Allowed::of(f64::from(budget), |code| code.flops(classes) as f64);
        let best = |allowed: &Allowed| -> Option<CellCode> {
            let open = record.table.entries.iter().map(|one| one.code).filter(|code| allowed.codes[code.index()]);
            open.min_by(|a, b| record.error(*a).total_cmp(&record.error(*b)))
        };
        let share = |code: CellCode| 100.0 * times.predict(code) * f64::from(budget) / 100.0 / time.budget.max(1e-9);
        let (Some(by_flops), by_time) = (best(&flops), best(&time)) else { continue };
        measured(
            Family::Time,
            &format!("spent_{budget}"),
            &format!("Time that the best within {budget} % of the FLOPs takes, of conv-conv-conv-conv"),
            vec![share(by_flops)],
            "%",
        );
        points[0].push([share(by_flops), 100.0 - record.error(by_flops)]);
        let round = |x: f64| Cell::Number((x * 10.0).round() / 10.0);
        let text = |words: String| Cell::Text(words);
        let mut row = vec![
            text(format!("{budget} %")),
            text(by_flops.to_string()),
            round(100.0 - record.error(by_flops)),
            round(share(by_flops)),
        ];
        if let Some(by_time) = by_time {
            measured(
                Family::Quality,
                &format!("timed_{budget}"),
                &format!("Best within {budget} % of the time: right, recorded"),
                vec![100.0 - record.error(by_time)],
                "%",
            );
            points[1].push([share(by_time), 100.0 - record.error(by_time)]);
            row.extend([text(by_time.to_string()), round(100.0 - record.error(by_time)), round(share(by_time))]);
        } else {
            row.extend([text("none".into()), text("none".into()), text("none".into())]);
        }
        rows.push(row);
    }
    report.tables.push(table(
        &format!("budgets_{id}"),
        &format!("The best of the record by budgets in FLOPs and in time, batch {batch}"),
        &[
            "Budget",
            "Within so many FLOPs",
            "Right (%)",
            "Its time (%)",
            "Within so much time",
            "Right (%), by time",
            "Its time (%), by time",
        ],
        rows,
    ));
    report.charts.push(chart(
        &format!("chosen_{id}"),
        &format!("What does a budget buy, batch {batch}?"),
        "Each dot is the best recorded network within a budget, at the time that it takes. Budgets in FLOPs and in time are the same shares of four full convolutions.",
        (Axis::linear("Time, of four full convolutions (%)"), Axis::linear("Right (%)")),
        ChartBody::Scatter { series: ["Budget in FLOPs", "Budget in time"].into_iter().zip(points).map(|(name, points)| line(name, points)).collect() },
    ));
    Ok(times)
}
