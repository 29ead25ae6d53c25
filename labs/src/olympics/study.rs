//! The reference entry on more text; every grid with and without a coder; all 64 sets of six steps; three workloads, lengths and
//! batches; which steps fight; and the classifier.

use lab_api::{Axis, BarSeries, Chart, ChartBody, Family, Kind, LabError, Metric, Report, Series};
use lab_kit::{
    Context,
    olympics::{EntryStep, EntrySubject, in_order, parse_line, shapley},
    report::{MetricExt, metric},
    stats::median,
};

use super::{
    Params, Workload, figures, language, language::Language, possible, study_classifier, study_pairs, summary,
};

/// Windows of the test text that judge, of 256 tokens.
pub(super) const WINDOWS: usize = 24;
const BUDGET_MS: f64 = 250.0;
pub(super) const SUMS: &str =
    "sums of floats differ in their last bits between devices, and a weight may then round to the other side";

pub(super) fn exact(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    metric(family, id, label, value, unit).exact(0.02 * value.abs() + 0.1, SUMS)
}

pub(super) fn trained(one: Metric) -> Metric {
    Metric { kind: Kind::Trained, ..one }
}

pub(super) fn timed(id: &str, label: &str, samples: &[f64], unit: &str) -> Metric {
    metric(Family::Time, id, label, median(samples), unit).measured(samples.to_vec())
}

pub(super) fn steps(line: &str) -> Result<Vec<EntryStep>, LabError> {
    parse_line(line)
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let params = Params::default();
    let mut language = Language::load(params.text(), cx).await?.thorough(WINDOWS, BUDGET_MS);
    cx.progress("The reference entry", 0.02);
    let reference = params.steps()?;
    let mut line = Vec::new();
    for taken in 0..=reference.len() {
        line.push(language.numbers(&reference[..taken], cx).await?);
    }
    let mut report = summary::report(&params, &reference, &line, cx)?;
    let parts: Vec<[f64; 2]> = line.windows(2).map(|two| two[1].over(&two[0])).collect();
    report.charts.push(figures::brought(&params, &reference, &parts));
    language.finish(&reference, &mut report, cx).await?;

    cx.progress("Grids", 0.1);
    grids(&mut report, &mut language, cx).await?;
    cx.progress("Every set of six steps", 0.25);
    sets(&mut report, &mut language, cx).await?;
    cx.progress("Which steps fight", 0.4);
    study_pairs::run(&mut report, &mut language, cx).await?;
    cx.progress("Lengths, workloads, batches", 0.6);
    let lengths = language.lengths(cx).await?;
    for (length, one) in &lengths {
        let ratios = one.ratios();
        report.metrics.push(
            timed(
                &format!("cache_at_{length}"),
                &format!("Cache: a step after {length} tokens is faster by"),
                &ratios,
                "×",
            )
            .higher(),
        );
    }
    report.charts.push(language::by_length(&lengths));
    workloads(&mut report, &mut language, &reference, cx).await?;
    cx.progress("The classifier", 0.8);
    study_classifier::run(&mut report, cx).await?;
    Ok(report)
}

/// Every grid, packed and coded, and what else changes weights.
async fn grids(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    let whole = language.numbers(&[], cx).await?;
    let (mut rows, mut packed, mut coded) = (Vec::new(), Vec::new(), Vec::new());
    for (id, text) in [
        ("int8", "quantize:8,channel"),
        ("int4", "quantize:4,channel"),
        ("int4_groups", "quantize:4,32"),
        ("int4_gptq", "quantize:4,channel,gptq"),
        ("levels13_gptq", "quantize:13levels,channel,gptq"),
        ("levels11", "quantize:11levels,channel"),
        ("levels11_gptq", "quantize:11levels,channel,gptq"),
        ("levels9_gptq", "quantize:9levels,channel,gptq"),
        ("int3_gptq", "quantize:3,channel,gptq"),
    ] {
        let mut list = steps(text)?;
        let plain = language.numbers(&list, cx).await?;
        list.push(EntryStep::Entropy);
        let short = language.numbers(&list, cx).await?;
        let (a, b) = (whole.file / plain.file, whole.file / short.file);
        let words = list[0].words();
        report.metrics.push(
            exact(Family::Memory, &format!("packed_{id}"), &format!("{words}: file smaller by"), a, "×").higher(),
        );
        report.metrics.push(
            exact(Family::Memory, &format!("coded_{id}"), &format!("{words}, coded: file smaller by"), b, "×").higher(),
        );
        let mut loss =
            exact(Family::Quality, &format!("loss_{id}"), &format!("{words}: bits lost"), plain.loss, "%").lower();
        loss.interval = plain.interval;
        report.metrics.push(loss);
        report.metrics.push(
            exact(
                Family::Quality,
                &format!("agreement_{id}"),
                &format!("{words}: same next token"),
                plain.agreement,
                "%",
            )
            .higher()
            .detail(),
        );
        packed.push([a, plain.loss.max(1e-3)]);
        coded.push([b, plain.loss.max(1e-3)]);
        rows.push(vec![words.into(), a.into(), b.into(), plain.loss.into(), plain.upper().into()]);
    }
    rows.iter_mut().flatten().for_each(|cell| {
        if let lab_api::Cell::Number(x) = cell {
            *x = (100.0 * *x).round() / 100.0;
        }
    });
    report.tables.push(figures::table(
        "grids",
        "Grids, packed and coded",
        &["Grid", "Packed (×)", "Coded (×)", "Bits lost (%)", "Upper end (%)"],
        rows,
    ));
    let dots = |name: &str, points| Series { name: name.into(), points, band: vec![] };
    report.charts.push(Chart {
        id: "grids".into(),
        title: "Which grid is smallest within the floor?".into(),
        caption: "Each grid twice: packed, and with a code for its codes. Down and to the right is better. The coder moves every dot to the right, and fine scales least.".into(),
        x: Axis::linear("File smaller by (×)"),
        y: Axis::log("Bits lost (%)"),
        body: ChartBody::Scatter { series: vec![dots("Packed", packed), dots("Coded", coded)] },
    });
    for (id, text) in [
        ("prune25", "prune:25"),
        ("prune50", "prune:50"),
        ("low_rank", "low_rank:96"),
        ("student", "student"),
        ("cache8", "cache:8"),
        ("window", "window:64"),
    ] {
        let numbers = language.numbers(&steps(text)?, cx).await?;
        let words = steps(text)?[0].words();
        let mut loss =
            exact(Family::Quality, &format!("loss_{id}"), &format!("{words}: bits lost"), numbers.loss, "%").lower();
        loss.interval = numbers.interval;
        report.metrics.push(loss);
        report.metrics.push(
            exact(
                Family::Memory,
                &format!("packed_{id}"),
                &format!("{words}: file smaller by"),
                whole.file / numbers.file,
                "×",
            )
            .higher(),
        );
        report.metrics.push(
            timed(&format!("time_{id}"), &format!("{words}: one request faster by"), &numbers.time.ratios(), "×")
                .higher(),
        );
    }
    Ok(())
}

/// Every set of six steps: what each brings in order, alone, and on average.
async fn sets(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    let six = steps("prune:25>quantize:11levels,channel,gptq>entropy>cache:32>draft:3>batch:8")?;
    let whole = language.numbers(&[], cx).await?;
    let mut values: Vec<[f64; 3]> = Vec::new();
    for set in 0..1_usize << six.len() {
        let found = language.numbers(&possible(&six, set, EntrySubject::Language), cx).await?;
        let [file, time] = found.over(&whole);
        values.push([file, time, found.loss]);
    }
    let names: Vec<String> = six.iter().map(|step| step.words()).collect();
    for (which, id, title, y) in [
        (0, "file", "Who made the file smaller?", "Doublings of the file"),
        (1, "time", "Who made one request faster?", "Doublings of the speed"),
        (2, "loss", "Who cost quality?", "Bits lost (%)"),
    ] {
        let all: Vec<f64> = values.iter().map(|value| value[which]).collect();
        let scale = if which < 2 { std::f64::consts::LN_2 } else { 1.0 };
        let prefix: Vec<f64> = (0..=six.len()).map(|n| all[(1 << n) - 1]).collect();
        let reckonings = [
            ("In order", in_order(&prefix)),
            ("Alone", (0..six.len()).map(|i| all[1 << i] - all[0]).collect()),
            ("Shapley", shapley(&all)),
        ];
        let sum = |values: &[f64]| values.iter().sum::<f64>() / scale;
        let interaction = sum(&reckonings[0].1) - sum(&reckonings[1].1);
        let one = metric(
            Family::Scale,
            &format!("interaction_{id}"),
            &format!("{y}: the whole less the sum of the parts alone"),
            interaction,
            "",
        );
        report.metrics.push(if which == 1 { one.measured(vec![interaction]) } else { one.exact(0.2, SUMS) });
        for (i, step) in six.iter().enumerate() {
            let part = reckonings[2].1[i] / scale;
            let one = metric(
                Family::Scale,
                &format!("shapley_{id}_{}", step.word()),
                &format!("{y}, {}", step.words()),
                part,
                "",
            );
            report.metrics.push(if which == 1 { one.measured(vec![part]) } else { one.exact(0.2, SUMS) });
        }
        let bars = |(name, values): &(&str, Vec<f64>)| BarSeries {
            name: (*name).to_owned(),
            values: values.iter().map(|x| x / scale).collect(),
            intervals: vec![],
        };
        report.charts.push(Chart {
            id: format!("sets_{id}"),
            title: title.into(),
            caption: "Six steps, reckoned in three ways over all 64 sets of them: each over the one before it, each over the baseline, and the mean over all 720 orders. Where the bars of a step differ, its worth depends on who came before.".into(),
            x: Axis::linear("Step"),
            y: Axis::linear(y),
            body: ChartBody::Bar { categories: names.clone(), series: reckonings.iter().map(bars).collect() },
        });
    }
    Ok(())
}

/// Three workloads; batches; and the factors of the number that somebody quotes.
async fn workloads(
    report: &mut Report,
    language: &mut Language,
    reference: &[EntryStep],
    cx: &Context,
) -> Result<(), LabError> {
    let cached = steps("cache:32")?;
    for (id, workload) in [("w1", Workload::W1), ("w2", Workload::W2), ("w3", Workload::W3)] {
        let params = Params { workload, ..Params::default() };
        language.set_text(params.text());
        let numbers = language.numbers(&cached, cx).await?;
        let entry = language.numbers(reference, cx).await?;
        let name = id.to_uppercase();
        report.metrics.push(
            timed(
                &format!("cache_{id}"),
                &format!("{name}: the cache alone, one request"),
                &numbers.time.ratios(),
                "×",
            )
            .higher(),
        );
        report.metrics.push(
            timed(
                &format!("entry_{id}"),
                &format!("{name}: the reference entry, one request"),
                &entry.time.ratios(),
                "×",
            )
            .higher(),
        );
        report.metrics.push(
            timed(
                &format!("crowd_{id}"),
                &format!("{name}: the reference entry, all requests"),
                &entry.crowd.ratios(),
                "×",
            )
            .higher(),
        );
        if workload == Workload::W3 {
            continue;
        }
        let [naive, with] = language.whole_work(cx).await?;
        report.metrics.push(
            timed(
                &format!("whole_{id}"),
                &format!("{name}: the cache, every token of the whole text written"),
                &[naive / with],
                "×",
            )
            .higher(),
        );
        let mut lines: Vec<Series> = Vec::new();
        for (kind, words, first) in
            [("fp32", "FP32", "cache:32"), ("packed", "11 levels", "quantize:11levels,channel,gptq>cache:32")]
        {
            let mut points = vec![[1.0, 1e3 / language.numbers(&steps(first)?, cx).await?.time.ms()]];
            for batch in [2, 4, 8, 16] {
                let list = steps(&format!("{first}>batch:{batch}"))?;
                let found = language.numbers(&list, cx).await?;
                points.push([f64::from(batch), 1e3 / found.crowd.ms()]);
                if batch == 16 {
                    let factor = points[4][1] / points[0][1];
                    report.metrics.push(
                        timed(
                            &format!("batch_{kind}_{id}"),
                            &format!("{name}, {words}: 16 together over one"),
                            &[factor],
                            "×",
                        )
                        .higher(),
                    );
                    report.metrics.push(
                        timed(
                            &format!("total_{kind}_{id}"),
                            &format!("{name}, {words}: 16 together over the naive baseline"),
                            &found.crowd.ratios(),
                            "×",
                        )
                        .higher(),
                    );
                }
            }
            lines.push(Series { name: words.into(), points, band: vec![] });
        }
        if workload == Workload::W1 {
            report.charts.push(Chart {
                id: "batches".into(),
                title: "What do more requests bring?".into(),
                caption: "Tokens in a second of all requests together, on a processor. Where the line bends, arithmetic is the limit.".into(),
                x: Axis::log("Requests together"),
                y: Axis::log("Tokens in a second"),
                body: ChartBody::Line { series: lines },
            });
        }
    }
    language.set_text(Params::default().text());
    Ok(())
}
