//! The outlier experiment on the language model, weights only: a few input channels of each matrix stay in FP32, chosen in
//! three ways; or are scaled into reach.

use lab_api::{Cell, Family, Interval, LabError, Report, Table};
use lab_kit::{
    Context,
    models::Weight,
    quant::{
        Granularity, Scheme, Settings,
        outlier::{Method, Salience},
    },
    report::{MetricExt, metric},
    stats::median,
};

use super::{
    judge::{self, Judged},
    model::Source,
};

/// Share of the input channels that stay in FP32: two of 192, six of 576.
const SHARE: f64 = 0.01;
/// Draws of the random channels.
const DRAWS: u64 = 5;
const SHARES: [(Granularity, &str); 3] =
    [(Granularity::Tensor, "tensor"), (Granularity::Channel, "channel"), (Granularity::Group(64), "group_64")];

/// Change of bits per character, with its interval where it is of one draw.
type Change = (f64, Option<Interval>);

/// Every method at 3 bits; the embedding, which has no inputs, is rounded to nearest. `prefix` begins the names of what is
/// reported.
pub(super) async fn run(
    source: &Source,
    (windows, before): (&[&[u32]], &Judged),
    prefix: &str,
    cx: &Context,
    report: &mut Report,
) -> Result<(), LabError> {
    let flows = source.flows(false, cx).await?;
    let judge = async |method: Method, settings: &Settings| {
        let change = |name: &str, Weight { shape, values }: &Weight| {
            let (method, inputs) = match flows.iter().find(|flow| flow.names.iter().any(|known| known == name)) {
                Some(flow) => (method, flow.rows.as_slice()),
                None => (Method::Nothing, &[][..]),
            };
            method.round(values, shape[1], inputs, SHARE, settings)
        };
        let after = Judged::of(&source.changed(change, cx)?, source, windows, cx).await?;
        judge::change(before, &after, cx).map(|(change, interval)| (change, Some(interval)))
    };
    let mut rows = Vec::new();
    for (granularity, word) in SHARES {
        cx.progress("Keeping a few channels", 1.0);
        let settings = Settings::weight_only(3, Scheme::Symmetric, granularity);
        let mut results: Vec<(&str, String, Change)> = Vec::new();
        for (method, id, words) in Method::ALL {
            results.push((id, words.to_owned(), judge(method, &settings).await?));
        }
        let mut draws = Vec::new();
        for seed in 0..DRAWS {
            draws.push(judge(Method::Keep(Salience::Random(seed)), &settings).await?.0);
        }
        let words = format!("Keep 1 % of channels, at random (median of {DRAWS})");
        results.push(("random", words, (median(&draws), None)));
        for (id, words, (change, interval)) in results {
            let name = format!("{prefix}outlier_{word}_{id}");
            let mut one =
                metric(Family::Quality, &name, &format!("Change, 3 bits per {word}: {words}"), change, "bits").lower();
            if let Some(interval) = interval {
                one = one.interval(interval);
            }
            report.metrics.push(one);
            let ends = interval.map_or([Cell::from(""), Cell::from("")], |ends| [ends.low, ends.high].map(Cell::from));
            rows.push([Cell::from(word), Cell::from(words), Cell::from(change)].into_iter().chain(ends).collect());
        }
    }
    report.tables.push(Table {
        id: format!("{}outliers", prefix.replace('_', "-")),
        title: "Keep a few channels, scale them, or compensate: 3 bits, weights only".into(),
        columns: ["Scales", "Method", "Change (bits per character)", "low", "high"].map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}
