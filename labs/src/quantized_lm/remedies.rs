//! Activations of 8 bits on the language model: ways to find their range, and what is done to channels that stretch it.

use lab_api::{Cell, Family, Interval, LabError, Report, Table};
use lab_kit::{
    Context,
    quant::{Activations, Calibration, Granularity, Remedy, Scheme, Settings},
    report::{MetricExt, metric},
};

use super::{
    judge::{self, Judged},
    model::Source,
    prepared::Prepared,
};

const ACTIVATIONS: [(Activations, &str); 6] = [
    (Activations::Fp32, "fp32"),
    (Activations::Dynamic, "dynamic"),
    (Activations::Static(Calibration::MinMax), "min_max"),
    (Activations::Static(Calibration::Percentile { percent: 99.9 }), "percentile"),
    (Activations::Static(Calibration::Mse), "mse"),
    (Activations::Static(Calibration::Entropy), "entropy"),
];
const REMEDIES: [(Remedy, &str, &str); 5] = [
    (Remedy::Nothing, "nothing", "nothing done"),
    (Remedy::Keep { share: 0.01 }, "keep", "1 % of the channels kept in FP32"),
    (Remedy::Smooth { alpha: 0.5 }, "smooth", "smoothed, exponent 0.5"),
    (Remedy::Smooth { alpha: 0.25 }, "smooth_25", "smoothed, exponent 0.25"),
    (Remedy::Smooth { alpha: 0.75 }, "smooth_75", "smoothed, exponent 0.75"),
];

/// Weights of 8 bits per channel under every treatment of activations and every remedy. `origin` stands in the names of what is
/// reported.
pub(super) async fn run(
    source: &Source,
    (windows, before): (&[&[u32]], &Judged),
    origin: &str,
    cx: &Context,
    report: &mut Report,
) -> Result<(), LabError> {
    let flows = source.flows(false, cx).await?;
    let loudest = flows.iter().map(|flow| f64::from(flow.stands_out())).fold(0.0, f64::max);
    report.metrics.push(metric(
        Family::Quality,
        &format!("loudest_{origin}"),
        &format!("Largest channel over the middle one, channels {origin}"),
        loudest,
        "×",
    ));
    // In per cent of what FP32 needs: from a hundredth to ten, where bits would have to be written with many zeros.
    let percent = 100.0 / judge::bits(before, cx)?;
    let mut rows = Vec::new();
    for (remedy, id, words) in REMEDIES {
        let prepared = Prepared::new(source, flows.clone(), remedy, cx).await?;
        for (activations, how) in ACTIVATIONS {
            cx.progress("Rounding activations", 1.0);
            let weights = Settings::weight_only(8, Scheme::Symmetric, Granularity::Channel);
            let settings = Settings { activations, ..weights };
            let packed = source.pack(&settings, &prepared, cx).await?;
            let after = Judged::of(&packed.model, source, windows, cx).await?;
            let (change, interval) = judge::change(before, &after, cx)?;
            let (change, low, high) = (percent * change, percent * interval.low, percent * interval.high);
            let label = format!(
                "Change of bits per character, 8 bits, channels {origin}, activations {}, {words}",
                how.replace('_', "-")
            );
            report.metrics.push(
                metric(Family::Quality, &format!("activations_{origin}_{how}_{id}"), &label, change, "%")
                    .lower()
                    .interval(Interval { low, high, level: interval.level }),
            );
            let numbers = [change, low, high].map(Cell::from);
            rows.push([how, words].into_iter().map(Cell::from).chain(numbers).collect());
        }
    }
    report.tables.push(Table {
        id: format!("activations-{origin}"),
        title: format!("Activations of 8 bits, channels {origin}"),
        columns: ["Activations", "Against outliers", "Change of bits per character (%)", "low", "high"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    });
    Ok(())
}
