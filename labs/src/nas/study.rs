//! The recorded table described, scores of all networks untrained, replays, searches that were truly run, longer trainings, and times
//! of operations and networks.

use lab_api::{Axis, ChartBody, Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    cells::{CellCode, CellProxies, CellSearch, CellTable, cell_images, cell_proxies},
    data::{Glyphs, Images},
    report::{MetricExt, metric},
    search::spearman,
    stats::{median, median_interval},
    two_cores::jobs_on_two_cores,
};

use super::{
    figures::{chart, line, regret_points},
    judge::Allowed,
    net,
    record::Record,
    replay::{LENGTH, STRATEGIES, regret},
    study_device, study_search,
};

/// Replays of each strategy, budget and noise.
const REPLAYS: usize = 300;
/// The best that are looked at apart.
const TOP: usize = 50;

pub(super) fn number(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit) }
}

pub(super) fn over_seeds(family: Family, id: &str, label: &str, values: &[f64], unit: &str, cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let record = Record::new(CellTable::load(cx).await?);
    let images = cell_images(cx).await?;
    described(&mut report, &record);
    cx.progress("Operations", 0.02);
    study_device::run(&mut report, &record, cx).await?;
    cx.progress("Networks that nobody trained", 0.1);
    untrained(&mut report, &record, &images)?;
    cx.progress("Replays", 0.2);
    replays(&mut report, &record, cx).await?;
    cx.progress("Searches", 0.5);
    study_search::run(&mut report, &record, &images, cx)?;
    Ok(report)
}

/// Networks of the record: all, those within a fifth of the largest's FLOPs, the best fifty.
fn parts(record: &Record) -> [(&'static str, &'static str, Vec<usize>); 3] {
    let allowed = Allowed::of(20.0, |code| code.flops(Glyphs::CLASSES.len()) as f64);
    let all: Vec<usize> = (0..record.truth.len()).collect();
    let small = all.iter().copied().filter(|place| allowed.codes[record.table.entries[*place].code.index()]).collect();
    let mut best = all.clone();
    best.sort_by(|a, b| record.truth[*a].total_cmp(&record.truth[*b]).then(a.cmp(b)));
    best.truncate(TOP);
    [
        ("all", "all networks", all),
        ("small", "networks within 20 % of the FLOPs", small),
        ("top", "the best fifty", best),
    ]
}

/// Rank correlations of a score with the record, by part.
fn orders(report: &mut Report, record: &Record, id: &str, words: &str, score: &dyn Fn(usize) -> f64) {
    for (part, of, places) in parts(record) {
        let truth: Vec<f64> = places.iter().map(|place| record.truth[*place]).collect();
        let scores: Vec<f64> = places.iter().map(|place| -score(*place)).collect();
        let label = format!("Order by {words}, {of} (Spearman)");
        report.metrics.push(
            number(Family::Quality, &format!("order_{id}_{part}"), &label, spearman(&scores, &truth), "").higher(),
        );
    }
}

fn described(report: &mut Report, record: &Record) {
    let classes = Glyphs::CLASSES.len();
    let code = |place: usize| record.table.entries[place].code;
    let mut sorted = record.truth.clone();
    sorted.sort_by(f64::total_cmp);
    for (id, words, at) in
        [("best", "best", 0), ("tenth", "tenth", 9), ("fiftieth", "fiftieth", 49), ("middle", "in the middle", 390)]
    {
        report.metrics.push(
            number(
                Family::Quality,
                &format!("table_{id}"),
                &format!("Recorded network, {words}: right"),
                100.0 - sorted[at],
                "%",
            )
            .higher(),
        );
    }
    report.metrics.push(
        number(Family::Quality, "table_noise", "Standard deviation of one training", record.noise, "points").lower(),
    );
    report.metrics.push(
        number(Family::Quality, "table_shift", "What a seed does to all networks alike", record.shift.abs(), "points")
            .lower(),
    );
    orders(report, record, "flops", "FLOPs", &|place| code(place).flops(classes) as f64);
    orders(report, record, "parameters", "parameters", &|place| code(place).parameters(classes) as f64);
    orders(report, record, "short", "44 steps", &|place| record.early(place));
    // One seed foretells the other: no score of single trainings can do better.
    for (part, of, places) in parts(record) {
        let seed = |seed: usize| -> Vec<f64> {
            places.iter().map(|place| -record.table.entries[*place].chosen[1][seed]).collect()
        };
        let label = format!("Order by another seed of the same training, {of} (Spearman)");
        report.metrics.push(
            number(Family::Quality, &format!("order_seed_{part}"), &label, spearman(&seed(0), &seed(1)), "").higher(),
        );
    }
    let (a, b): (Vec<f64>, Vec<f64>) = record.table.entries.iter().map(|one| (one.chosen[1][0], one.judged)).unzip();
    report.metrics.push(
        number(
            Family::Quality,
            "order_families",
            "Order on the families that choose against unseen ones (Spearman)",
            spearman(&a, &b),
            "",
        )
        .higher(),
    );
    let ways = |fits: &dyn Fn(CellCode) -> bool| -> (f64, String) {
        let places = (0..record.truth.len()).filter(|place| fits(code(*place)));
        let best = places
            .reduce(|best, place| if record.truth[place] < record.truth[best] { place } else { best })
            .unwrap_or(0);
        (100.0 - record.truth[best], code(best).to_string())
    };
    let mut rows = Vec::new();
    for budget in [10, 15, 20, 30, 40, 60, 100] {
        let allowed = Allowed::of(f64::from(budget), |code| code.flops(classes) as f64);
        let (found, words) = ways(&|code| allowed.codes[code.index()]);
        let dearest = allowed.dearest();
        report.metrics.push(
            number(
                Family::Quality,
                &format!("best_{budget}"),
                &format!("Best recorded within {budget} % of the FLOPs: right"),
                found,
                "%",
            )
            .higher()
            .baseline(100.0 - record.error(dearest)),
        );
        let round = |x: f64| lab_api::Cell::Number((x * 10.0).round() / 10.0);
        let text = |words: String| lab_api::Cell::Text(words);
        rows.push(vec![
            text(format!("{budget} %")),
            text(words),
            round(found),
            text(dearest.to_string()),
            round(100.0 - record.error(dearest)),
        ]);
    }
    report.tables.push(super::figures::table(
        "budgets",
        "The best of the record within each budget of FLOPs",
        &["Budget", "Best network", "Right (%)", "Dearest network within it", "Its right answers (%)"],
        rows,
    ));
}

fn untrained(report: &mut Report, record: &Record, images: &[Images; 3]) -> Result<(), LabError> {
    let codes: Vec<CellCode> = record.table.entries.iter().map(|one| one.code).collect();
    let scored: Vec<CellProxies> =
        jobs_on_two_cores(codes.len(), |i| Ok(cell_proxies(net(codes[i], true), &images[0], 0)))?;
    orders(report, record, "gradient", "the length of the gradient", &|place| scored[place].gradient);
    orders(report, record, "snip", "SNIP", &|place| scored[place].snip);
    orders(report, record, "naswot", "patterns of ReLUs", &|place| scored[place].naswot);
    let names = [
        ("parameters", "Parameters"),
        ("flops", "FLOPs"),
        ("gradient", "Gradient"),
        ("snip", "SNIP"),
        ("naswot", "NASWOT"),
        ("short", "44 steps"),
        ("seed", "Another seed"),
    ];
    let value = |id: &str, part: &str| report.metric(&format!("order_{id}_{part}")).map_or(0.0, |one| one.value);
    let parts = ["all", "small", "top"];
    let values = names.iter().map(|(id, _)| parts.iter().map(|part| value(id, part)).collect()).collect();
    let body = ChartBody::Heatmap {
        rows: names.iter().map(|one| one.1.to_owned()).collect(),
        columns: ["All", "Within 20 % FLOPs", "Best fifty"].map(String::from).to_vec(),
        values,
    };
    report.charts.push(chart(
        "foretold",
        "What orders all networks, and what orders the good ones?",
        "Rank correlation (Spearman) of a score with the record of 174 steps. Read the first column, then the last: whoever searches well soon has nothing but good networks to tell apart.",
        (Axis::linear("Networks"), Axis::linear("Score")),
        body,
    ));
    Ok(())
}

async fn replays(report: &mut Report, record: &Record, cx: &Context) -> Result<(), LabError> {
    for budget in [20, 100] {
        let allowed = Allowed::of(f64::from(budget), |code| code.flops(Glyphs::CLASSES.len()) as f64);
        for (noise, noisy, words) in [(0.0, "true", "without noise"), (record.noise, "noisy", "with noise")] {
            let mut series = Vec::new();
            for (strategy, id, name) in STRATEGIES {
                let search = CellSearch { strategy, evaluations: LENGTH, population: (8, 3), allowed: &allowed.codes };
                let curve = regret(&search, record, noise, REPLAYS, cx).await?;
                for count in [10, 20, 40] {
                    let label = format!("{name}, {budget} % of the FLOPs, {words}: worse than the best after {count}");
                    let id = format!("regret_{id}_{budget}_{noisy}_{count}");
                    report.metrics.push(number(Family::Quality, &id, &label, curve[count - 1], "points").lower());
                }
                series.push(line(name, regret_points(&curve)));
            }
            report.charts.push(chart(
                &format!("regret_{budget}_{noisy}"),
                &format!("Five strategies within {budget} % of the FLOPs, {words}"),
                "Mean over 300 searches on the recorded table: how many points the network that looks best is truly worse than the best that keeps the budget.",
                (Axis::linear("Networks tried"), Axis { min: Some(0.0), ..Axis::linear("Worse than the best (points)") }),
                ChartBody::Line { series },
            ));
        }
    }
    Ok(())
}
