//! Numbers and sentences of a run.

use lab_api::{Family, Kind, Metric, Report};
use lab_kit::{
    Context,
    accumulate::{Norm, fit_tradeoff},
    measure::Pair,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Joined, Params,
    descent::Reached,
    equality::Row,
    figures,
    memory::{Peak, TEXTS},
    task::shape,
    text::Together,
    twins::Twins,
};

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does: five standard deviations over the seeds of the study";
const COUNTED: &str = "counted, not measured";
const ROUNDING: &str = "exponentials differ in their last bit between devices";
const LEVEL: f64 = 0.95;

pub(super) fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What the settings alone say.
pub(super) fn counted(params: &Params) -> Vec<Metric> {
    let shape = shape(Norm::None);
    let each = 4 * shape.widths().iter().sum::<usize>();
    let (batch, piece) = (params.batch as usize, params.piece as usize);
    vec![
        metric(Family::Memory, "activation_bytes", "Activations of a piece of images", (each * piece) as f64, "bytes")
            .lower()
            .baseline((each * batch) as f64)
            .exact(0.0, COUNTED)
            .detail()
            .help("Computed: every number that the pass back needs, four bytes each. The baseline is the whole batch."),
        metric(Family::Scale, "pieces", "Pieces of an update", batch.div_ceil(piece) as f64, "pieces")
            .exact(0.0, COUNTED)
            .detail(),
        metric(
            Family::Memory,
            "state_bytes",
            "Weights, gradient and moments of the network",
            16.0 * shape.parameters() as f64,
            "bytes",
        )
        .exact(0.0, COUNTED)
        .detail()
        .help("Computed: the part that pieces do not shrink. The sum beside a new gradient adds a quarter to it."),
    ]
}

pub(super) fn equality(report: &mut Report, rows: &[Row]) {
    let (Some(whole), Some(small)) = (rows.first(), rows.last()) else { return };
    report.metrics.push(
        metric(Family::Quality, "sum_error", "Error of the sum of single images", 1e6 * small.errors[0], "millionths")
            .lower()
            .baseline(1e6 * whole.errors[0])
            .exact(1.0, ROUNDING)
            .help("Length of the difference from a gradient in double precision, over the length of that. The baseline is the batch in one piece."),
    );
    report.metrics.push(
        metric(Family::Quality, "bf16_error", "The same with the sum in BF16", 1e6 * small.errors[2], "millionths")
            .lower()
            .baseline(1e6 * small.errors[0])
            .exact(2000.0, "a last bit more or less moves a number to its neighbour in BF16")
            .detail(),
    );
    report.metrics.push(
        metric(Family::Quality, "same_bits", "Numbers with the same bits as in one piece", 100.0 * small.same, "%")
            .exact(10.0, ROUNDING)
            .detail(),
    );
    // The smallest pieces that batch norm knows.
    if let Some((apart, cosine)) = rows.iter().rev().find(|row| row.piece >= 4).and_then(|row| row.batch) {
        report.metrics.extend([
            metric(Family::Quality, "batch_norm_apart", "Batch norm in pieces of four: off by", 100.0 * apart, "%")
                .lower()
                .exact(20.0, "variances of four images amplify a last bit")
                .help("Difference from the gradient of one piece, as a share of its length."),
            metric(Family::Quality, "batch_norm_cosine", "Cosine of the two gradients", cosine, "")
                .exact(0.1, "variances of four images amplify a last bit")
                .detail(),
        ]);
    }
    let (chart, table) = figures::equality(rows);
    report.charts.push(chart);
    report.tables.push(table);
}

pub(super) fn text(report: &mut Report, joined: &Together) {
    let [right, wrong] = joined.losses;
    let rounding = "products of a language model, summed in another order";
    report.metrics.extend([
        metric(Family::Quality, "means_apart", "A mean of means: gradient off by", 100.0 * joined.apart.relative, "%")
            .lower()
            .exact(1.0, rounding)
            .help("Difference from the mean over tokens, as a share of its length: the same texts, one in each piece."),
        metric(Family::Quality, "means_loss", "And its reported loss", wrong, "nats")
            .baseline(right)
            .exact(0.01, rounding)
            .help("What the training would print. The baseline is the loss by tokens."),
        metric(Family::Quality, "means_cosine", "Cosine of the two gradients of the texts", joined.apart.cosine, "")
            .exact(0.01, rounding)
            .detail(),
    ]);
    if let Some(noise) = joined.noise {
        report.metrics.push(
            metric(Family::Scale, "text_noise", "Noise scale of the language model", noise, "texts")
                .exact(0.1 * noise, rounding)
                .detail()
                .help("From one batch, so take it as a first guess."),
        );
    }
    report.notes.push(format!(
        "Texts of {} to {} tokens: the loss of a mean of means is off by {:.1} %, its gradient by {:.0} %.",
        joined.shortest,
        joined.longest,
        100.0 * (wrong / right - 1.0).abs(),
        100.0 * joined.apart.relative
    ));
}

pub(super) fn memory(report: &mut Report, peaks: &[Peak]) {
    if let (Some(whole), Some(single)) = (peaks.first(), peaks.last()) {
        if let (Some(all), Some(one)) = (whole.bytes, single.bytes) {
            report.metrics.push(
                metric(Family::Memory, "peak_bytes", "Most memory held, one text in a piece", one as f64, "bytes")
                    .lower()
                    .baseline(all as f64)
                    .measured(vec![one as f64])
                    .help("Of one gradient of the language model, counted in the allocator of this worker: activations, the newest gradient, and the sum. The baseline is the batch in one piece."),
            );
        }
        report.metrics.push(
            metric(Family::Time, "text_ms", "Time of that gradient", single.ms, "ms")
                .lower()
                .baseline(whole.ms)
                .measured(vec![single.ms])
                .detail()
                .help("Done once each; the first also warms up."),
        );
        if whole.texts == TEXTS {
            report.charts.extend(figures::memory(peaks));
        }
    }
}

pub(super) fn twins(report: &mut Report, twins: &Twins, params: &Params) {
    report.metrics.extend([
        trained(
            metric(Family::Quality, "curves_apart", "Largest gap between the two loss curves", twins.apart(), "nats")
                .lower(),
            if params.joined == Joined::Right { 0.02 } else { 1.0 },
        )
        .help("Two trainings on the same images in the same order, one of them in pieces."),
        trained(
            metric(Family::Quality, "twin_accuracy", "Accuracy after training in pieces", twins.pieces.accuracy, "%")
                .higher(),
            25.0,
        )
        .baseline(twins.whole.accuracy)
        .detail()
        .help("On unseen fonts, after forty updates. The baseline took each batch in one piece."),
    ]);
    report.charts.push(figures::twins(twins));
    if params.piece == params.batch {
        report.notes.push("One piece is the whole batch, so both trainings are the same one.".into());
    }
}

pub(super) fn search(report: &mut Report, reached: &[Reached], params: &Params) {
    let points: Vec<(f64, f64)> = reached.iter().filter_map(|one| Some((one.batch as f64, one.steps?))).collect();
    let noise = reached.get(reached.len() / 2).and_then(|one| one.noise);
    if let (Some(first), Some(last)) = (reached.first(), reached.last()) {
        if let (Some(most), Some(least)) = (first.steps, last.steps) {
            let times = last.batch as f64 / first.batch as f64;
            report.metrics.extend([
                trained(
                    metric(Family::Scale, "fewer_updates", "Largest batch: fewer updates", most / least, "×").higher(),
                    0.8 * most / least,
                )
                .baseline(times)
                .help("Updates of the smallest batch over those of the largest. The baseline is how many times larger the batch is: what a larger batch would save if no image were wasted."),
                trained(
                    metric(Family::Scale, "more_images", "And more images read", times * least / most, "×").lower(),
                    4.0 * times * least / most,
                ),
            ]);
        }
        report.metrics.push(
            trained(
                metric(Family::Quality, "accuracy", "Accuracy at the target, largest batch", last.accuracy, "%")
                    .higher(),
                25.0,
            )
            .baseline(first.accuracy)
            .help("On unseen fonts. The baseline is the smallest batch at the same target."),
        );
        report.metrics.push(
            metric(Family::Time, "seconds", "Time to the target, largest batch", last.seconds, "s")
                .lower()
                .baseline(first.seconds)
                .measured(vec![last.seconds])
                .detail()
                .help("On one device that does one piece after the other. The baseline is the smallest batch."),
        );
    }
    if let Some(fit) = fit_tradeoff(&points).filter(|_| points.len() > 2) {
        report.metrics.push(
            trained(metric(Family::Scale, "critical", "Critical batch", fit.critical, "images"), 3.0 * fit.critical)
                .help("Where the fitted curve bends: twice the least updates, and twice the least images."),
        );
    }
    if let Some(noise) = noise {
        report.metrics.push(
            trained(metric(Family::Scale, "noise", "Noise scale near the target", noise, "images"), 5.0 * noise)
                .help("From the lengths of the gradients of the pieces alone, in the middle one of these trainings."),
        );
    }
    for missed in reached.iter().filter(|one| one.steps.is_none()) {
        report.notes.push(format!(
            "Batches of {} at a rate of {:.4} did not reach {} nats in {} updates.",
            missed.batch, missed.rate, params.target, missed.done
        ));
    }
    report.charts.extend(figures::search(reached, noise));
    report.tables.push(figures::reached(reached));
}

pub(super) fn timing(report: &mut Report, pair: &Pair, params: &Params, cx: &Context) {
    // Of the pieces over the whole.
    let turned = Pair { first: pair.second.clone(), second: pair.first.clone() };
    let (ratio, interval) = turned.ratio(LEVEL, &mut cx.rng("slowdown"));
    let work = 1e-6 * f64::from(params.batch) * shape(Norm::None).flops();
    let rates: Vec<f64> = pair.second.iter().map(|ms| work / ms.max(f64::MIN_POSITIVE)).collect();
    report.metrics.extend([
        metric(Family::Time, "slowdown", "Time of a gradient in pieces", ratio, "×")
            .lower()
            .baseline(1.0)
            .interval(interval)
            .measured(turned.ratios())
            .help("Over the time of the same batch in one piece, turn by turn. Pieces run one after the other."),
        metric(Family::Utilization, "rate", "Arithmetic in pieces", median(&rates), "GFLOP/s")
            .higher()
            .baseline(work / median(&pair.first).max(f64::MIN_POSITIVE))
            .interval(median_interval(&rates, LEVEL, &mut cx.rng("rate")))
            .measured(rates)
            .detail()
            .help("Small pieces fill the products worse. The baseline is the batch in one piece."),
    ]);
}
