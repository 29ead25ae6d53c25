//! Whether the saved arithmetic is saved time: one image after the other, and in batches.

use lab_api::{Axis, Chart, ChartBody, Family, LabError, Metric, Series};
use lab_kit::{
    Context,
    burn::tensor::Tensor,
    exits::{Deciding, Policy, classify_batch, cost_in_batch, mean_cost},
    fit::batch,
    measure::{Pair, peak_gflops, side_by_side},
    mlp::read,
    report::{MetricExt, metric},
    stats::median,
};

use super::{
    decide::{Judged, Outcome},
    material::Material,
};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Images on the clock.
const IMAGES: usize = 64;
/// How many go through together.
const BATCHES: [usize; 3] = [1, 8, 64];
const BUDGET_MS: f64 = 120.0;

/// Milliseconds of 64 images without exits (first) and with them (second).
pub(super) struct Timing {
    /// Those who leave are taken out of the batch; one for each of [`BATCHES`].
    closed: Vec<Pair>,
    /// They stay until the last has left; from batches of 8 on.
    open: Vec<Pair>,
    /// Nobody leaves, one image at a time.
    worst: Pair,
    /// Multiplications of these images, on average: of all exits they asked; share of the whole network's.
    cost: f64,
    share: f64,
    /// How many they are.
    count: f64,
    peak: f64,
}

/// Times the network with its exits against itself without them.
pub(super) async fn measure(
    own: &Judged,
    outcome: &Outcome,
    material: &Material,
    cx: &Context,
) -> Result<Timing, LabError> {
    let images = &material.subject.images;
    // Of few images fewer: a run for a look must not wait for the clock.
    let count = IMAGES.min(images.len() / 8).max(1);
    let shown: Vec<usize> = (0..images.len()).step_by((images.len() / count).max(1)).take(count).collect();
    let network = own.asked.network.as_ref();
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    let parts =
        |size: usize| -> Vec<Tensor<2>> { shown.chunks(size).map(|part| batch(images, part, cx).0.inner()).collect() };
    let with = async |parts: &[Tensor<2>], how: &Deciding, compact: bool| {
        for part in parts {
            classify_batch(network, part.clone(), how, compact).await?;
        }
        Ok(())
    };
    let without = async |parts: &[Tensor<2>]| {
        for part in parts {
            read(network.whole(part.clone())).await?;
        }
        Ok(())
    };
    for size in BATCHES {
        let parts = parts(size);
        let how = &outcome.deciding;
        closed.push(
            side_by_side(cx, BUDGET_MS, async || without(&parts).await, async || with(&parts, how, true).await).await?,
        );
        if size > 1 {
            open.push(
                side_by_side(cx, BUDGET_MS, async || without(&parts).await, async || with(&parts, how, false).await)
                    .await?,
            );
        }
    }
    let stay = Deciding { policy: Policy::Thresholds(Vec::new()), ..outcome.deciding.clone() };
    let few: Vec<Tensor<2>> = parts(1).into_iter().take(16).collect();
    let worst =
        side_by_side(cx, BUDGET_MS, async || without(&few).await, async || with(&few, &stay, true).await).await?;
    let exits: Vec<usize> = shown.iter().map(|i| outcome.exits[*i]).collect();
    let cost = mean_cost(&own.verdicts.shares(&exits), &own.asked.costs);
    let peak = peak_gflops(cx, 120.0).await?;
    Ok(Timing { closed, open, worst, cost, share: cost / material.full(), count: shown.len() as f64, peak })
}

impl Timing {
    pub(super) fn metrics(&self, cx: &Context) -> Vec<Metric> {
        let speedup = |id: &str, label: &str, pair: &Pair, help: &str| {
            let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng(id));
            metric(Family::Time, id, label, ratio, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(pair.ratios())
                .help(help)
        };
        let [one, eight, all] = [&self.closed[0], &self.closed[1], &self.closed[2]];
        let rate = |ms: f64| 100.0 * 2.0 * self.cost * self.count / (ms * 1e6) / self.peak.max(f64::MIN_POSITIVE);
        let full = self.cost / self.share.max(f64::MIN_POSITIVE);
        let whole = 100.0 * 2.0 * full * self.count / (median(&one.first) * 1e6) / self.peak.max(f64::MIN_POSITIVE);
        vec![
            speedup(
                "speedup_1",
                "Speed-up, one image at a time",
                one,
                "Time of 64 images without exits over the time with them, turn by turn.",
            ),
            speedup("speedup_8", "Speed-up in batches of 8", eight, "Those who leave are taken out of the batch."),
            speedup("speedup_64", "Speed-up in a batch of 64", all, "Those who leave are taken out of the batch.").detail(),
            speedup(
                "speedup_64_open",
                "Speed-up in a batch of 64 that waits",
                &self.open[1],
                "Nobody is taken out: the batch runs on until its last image has left.",
            ),
            speedup(
                "speed_worst",
                "Speed of an image that stays to the end",
                &self.worst,
                "Time without exits over time with all of them asked, one image at a time: below 1 the exits make the worst case worse.",
            ),
            metric(Family::Time, "time", "One image, on average", median(&one.second) / self.count, "ms")
                .lower()
                .baseline(median(&one.first) / self.count)
                .measured(one.second.iter().map(|ms| ms / self.count).collect())
                .detail()
                .help("One image at a time; the baseline is the network without exits."),
            metric(Family::Utilization, "utilization", "Utilization, one image at a time", rate(median(&one.second)), "%")
                .higher()
                .baseline(whole)
                .measured(one.second.iter().map(|ms| rate(*ms)).collect())
                .detail()
                .help("Multiplications and additions that were needed, per second, against this device's best matrix multiplication."),
        ]
    }

    /// What a batch leaves of the saving, counted and measured.
    pub(super) fn chart(&self, own: &Judged, outcome: &Outcome) -> Chart {
        let sizes = [1_u32, 2, 4, 8, 16, 32, 64];
        let line = |name: &str, points: Vec<[f64; 2]>| Series { name: name.into(), points, band: Vec::new() };
        let whole = self.cost / self.share.max(f64::MIN_POSITIVE);
        let full = outcome.cost / whole;
        let waiting =
            |size: &u32| [f64::from(*size), 100.0 * cost_in_batch(&outcome.shares, &own.asked.costs, *size) / whole];
        let measured = |pairs: &[Pair], sizes: &[usize]| -> Vec<[f64; 2]> {
            let point =
                |(pair, size): (&Pair, &usize)| [*size as f64, 100.0 * median(&pair.second) / median(&pair.first)];
            pairs.iter().zip(sizes).map(point).collect()
        };
        Chart {
            id: "batches".into(),
            title: "What does a batch leave of the saving?".into(),
            caption: "Against the network without exits, in the same batches. A batch that waits for its last image loses the \
                      saving; one that takes out who left keeps some of it."
                .into(),
            x: Axis::log("Images in a batch"),
            y: Axis { min: Some(0.0), ..Axis::linear("Share of the network without exits (%)") },
            body: ChartBody::Line {
                series: vec![
                    line("Arithmetic, each image for itself", sizes.iter().map(|s| [f64::from(*s), 100.0 * full]).collect()),
                    line("Arithmetic, the batch waits", sizes.iter().map(waiting).collect()),
                    line("Time, taken out", measured(&self.closed, &BATCHES)),
                    line("Time, the batch waits", measured(&self.open, &BATCHES[1..])),
                ],
            },
        }
    }

    /// What the times of this very run call for.
    pub(super) fn notes(&self) -> Vec<String> {
        let saved = |pair: &Pair| 100.0 * (1.0 - median(&pair.second) / median(&pair.first).max(f64::MIN_POSITIVE));
        vec![format!(
            "Of the arithmetic of these 64 images {:.0} % is saved; of the time {:.0} % one by one, {:.0} % in a batch of 64 that takes out who left, and {:.0} % in one that waits.",
            100.0 * (1.0 - self.share),
            saved(&self.closed[0]),
            saved(&self.closed[2]),
            saved(&self.open[1]),
        )]
    }
}
