//! Both phases, three widths, two numbers of requests, ten rounds: in which direction does energy go, and by which method?

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Family, LabError, Report, Table};
use lab_kit::{
    Context,
    choices::Width,
    measure::{EnergyAssumptions, Pair},
    report::{MetricExt, metric},
    stats::{median, median_interval, ratio_interval},
};

use super::{
    Params, Work, estimate,
    estimate::Band,
    subject::{Run, Subject},
    summary::{clock, count},
};

const LEVEL: f64 = 0.95;
/// Rounds of each arm: the model is packed and timed anew.
const ROUNDS: usize = 5;

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let (mut report, mut rows) = (Report::default(), Vec::new());
    let (mut names, mut by_clock, mut by_count) = (Vec::new(), Vec::new(), Vec::new());
    let params = Params::default();
    let mut training = Vec::new();
    for bits in [Width::Sixteen, Width::Eight, Width::Four] {
        for (work, word) in [(Work::Decode, "decode"), (Work::Prefill, "prefill")] {
            for batch in [1, 16] {
                if work == Work::Prefill && batch > 1 {
                    continue;
                }
                cx.progress(&format!("{} bits, {word}, {batch} at once", bits.bits()), 0.5);
                let mut all: Option<Run> = None;
                for _ in 0..ROUNDS {
                    let subject = Subject::load(bits, cx).await?;
                    let found = subject.time(work, batch, cx).await?;
                    // One number for each round: what stays the same within a round is no evidence.
                    let middle =
                        Pair { first: vec![median(&found.pair.first)], second: vec![median(&found.pair.second)] };
                    if let Some(all) = all.as_mut() {
                        all.pair.first.extend(middle.first);
                        all.pair.second.extend(middle.second);
                    } else {
                        all = Some(Run { pair: middle, ..found });
                    }
                    if bits == Width::Four && work == Work::Decode && batch == 1 {
                        training.extend(subject.training_ms_per_token(cx).await?);
                    }
                }
                let Some(run) = all else { continue };
                let id = format!("{}_{word}_{batch}", bits.bits());
                let words = format!("{} bits, {word}, {batch} at once", bits.bits());
                let ratio = ratio_interval(&run.pair.second, &run.pair.first, LEVEL, &mut cx.rng(&id));
                let time = median(&run.pair.second) / median(&run.pair.first);
                let counted = count(&run, &EnergyAssumptions::FP32_DRAM);
                let percent = |ratio: f64| 100.0 * (ratio - 1.0);
                let interval = lab_api::Interval { low: percent(ratio.low), high: percent(ratio.high), level: LEVEL };
                report.metrics.extend([
                    metric(
                        Family::Time,
                        &format!("clock_{id}"),
                        &format!("Change by the clock: {words}"),
                        percent(time),
                        "%",
                    )
                    .lower()
                    .interval(interval)
                    .measured(run.pair.ratios().iter().map(|ratio| percent(1.0 / ratio)).collect()),
                    metric(
                        Family::Memory,
                        &format!("count_{id}"),
                        &format!("Change by counting: {words}"),
                        percent(counted[1] / counted[0]),
                        "%",
                    )
                    .lower()
                    .exact(1e-6, "operations and bytes are counted"),
                    metric(
                        Family::Time,
                        &format!("mj_{id}"),
                        &format!("Energy of a token by the clock: {words}"),
                        1e3 * clock(&run, &params)[1],
                        "mJ",
                    )
                    .lower()
                    .baseline(1e3 * clock(&run, &params)[0])
                    .measured(vec![1e3 * clock(&run, &params)[1]]),
                    metric(
                        Family::Utilization,
                        &format!("explained_{id}"),
                        &format!("Share that counting explains: {words}"),
                        100.0 * counted[0] / clock(&run, &params)[0],
                        "%",
                    )
                    .measured(vec![100.0 * counted[0] / clock(&run, &params)[0]]),
                ]);
                rows.push(vec![
                    Cell::from(words.as_str()),
                    Cell::from(percent(counted[1] / counted[0])),
                    Cell::from(percent(time)),
                    Cell::from(interval.low),
                    Cell::from(interval.high),
                ]);
                names.push(words);
                by_clock.push(time);
                by_count.push(counted[1] / counted[0]);
                if id == "4_decode_1" {
                    reach(&run, &mut report, cx);
                    let trained = median(&training) * params.device_watts;
                    let generated = 1e3 * clock(&run, &params)[0];
                    report.metrics.extend([
                        metric(
                            Family::Time,
                            "training_mj",
                            "Energy of training on a token, by the clock",
                            trained,
                            "mJ",
                        )
                        .interval(median_interval(
                            &training.iter().map(|ms| ms * params.device_watts).collect::<Vec<_>>(),
                            LEVEL,
                            &mut cx.rng("training"),
                        ))
                        .measured(training.iter().map(|ms| ms * params.device_watts).collect()),
                        metric(
                            Family::Time,
                            "training_ratio",
                            "Training on a token over writing one",
                            trained / generated,
                            "×",
                        )
                        .measured(vec![trained / generated]),
                    ]);
                }
            }
        }
    }
    report.tables.push(Table {
        id: "arms".into(),
        title: format!("What packing changes in energy: counted, and by the clock at equal watts, {ROUNDS} rounds"),
        columns: ["Arm", "By counting (%)", "By the clock (%)", "From", "To"].map(str::to_owned).to_vec(),
        rows,
    });
    report.charts.push(Chart {
        id: "signs".into(),
        title: "Do the methods agree?".into(),
        caption: "Energy packed over energy in FP32. Below 1 packing saves.".into(),
        x: Axis::linear("Arm"),
        y: Axis::linear("Packed over FP32 (×)"),
        body: ChartBody::Bar {
            categories: names,
            series: vec![
                BarSeries { name: "By counting".into(), values: by_count, intervals: vec![] },
                BarSeries { name: "By the clock".into(), values: by_clock, intervals: vec![] },
            ],
        },
    });
    Ok(report)
}

/// How far each input moves the carbon, on a laptop and on an accelerator.
fn reach(run: &Run, report: &mut Report, cx: &Context) {
    let laptop = Params::default();
    let accelerator = Params {
        device_watts: 700.0,
        idle_watts: 100.0,
        overhead: 1.2,
        embodied_kg: 520.0,
        years: 5.0,
        busy: 60.0,
        ..Params::default()
    };
    for (word, params) in [("laptop", laptop), ("accelerator", accelerator)] {
        let band = Band::of(run, &params, cx);
        for (name, low, high) in &band.bars {
            let id = name.split([' ', '(']).next().unwrap_or_default().to_lowercase();
            let value = high / low.max(f64::MIN_POSITIVE);
            report.metrics.push(
                metric(Family::Scale, &format!("reach_{word}_{id}"), &format!("Reach of “{name}”, {word}"), value, "×")
                    .measured(vec![value]),
            );
        }
        let [low, _, high] = band.percentiles;
        report.metrics.push(
            metric(
                Family::Scale,
                &format!("band_{word}"),
                &format!("95th over 5th percentile of the carbon, {word}"),
                high / low,
                "×",
            )
            .measured(vec![high / low]),
        );
        let mid: Vec<f64> = estimate::inputs(run, &params, cx).iter().map(|input| input.mid).collect();
        let whole = estimate::grams(&mid, params.years);
        let mut without = mid;
        without[4] = 0.0;
        let share = 100.0 * (1.0 - estimate::grams(&without, params.years) / whole);
        report.metrics.push(
            metric(
                Family::Scale,
                &format!("embodied_{word}"),
                &format!("Share of making the device, {word}"),
                share,
                "%",
            )
            .measured(vec![share]),
        );
    }
}
