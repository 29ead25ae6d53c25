//! The arms of a run, its numbers, and the sentences it calls for.

use lab_api::{Family, Kind, LabError, Metric};
use lab_kit::{
    Context,
    linalg::Gauge,
    report::{MetricExt, metric, thousands},
};

use super::{
    Choice, Params, Start, Store,
    layer::Piece,
    task::{Judged, LEVEL, Plan, Task},
};

/// Why numbers of a judged model may differ between devices.
const SUMS: &str =
    "sums of singles differ in their last bits between devices, so some answers on a boundary change sides";
/// Why trained ones may.
const SPREAD: &str = "sums in another order lead training elsewhere, as another order of the images does: five standard deviations over the seeds of the study";
/// Why counts may not.
const COUNTED: &str = "numbers are counted";

/// Shares of the numbers at which the models are compared.
pub(super) fn shares(task: &Task) -> &'static [f64] {
    match task {
        Task::Mlp(_) => &[1.0, 0.75, 0.5, 0.35, 0.25, 0.15],
        Task::Cnn(_) => &[0.6, 0.45, 0.3, 0.17, 0.09],
        // Each share reads all windows twice: more would not end while a reader waits.
        Task::Language(_) => &[1.0, 0.8, 0.5],
    }
}

/// Numbers of the pieces, stored as asked for.
pub(super) fn stored(task: &Task, pieces: &[Piece], store: Store) -> usize {
    task.layers().iter().zip(pieces).map(|(layer, piece)| piece.numbers(layer, store)).sum()
}

/// Multiplications of one row: those of the plain form. The gauge saves as many as it saves numbers.
fn bytes(task: &Task, pieces: &[Piece], params: &Params) -> f64 {
    if params.then_int4 {
        return task.layers().iter().zip(pieces).map(|(layer, piece)| piece.rounded(layer).1).sum::<usize>() as f64;
    }
    (stored(task, pieces, params.store) * size_of::<f32>()) as f64
}

/// What is known before anything is judged.
pub(super) fn memory(task: &Task, plan: &Plan, params: &Params) -> Vec<Metric> {
    let (dense, now) = ((task.numbers() * size_of::<f32>()) as f64, bytes(task, &plan.pieces, params));
    let stored_share = 100.0 * stored(task, &plan.pieces, params.store) as f64 / task.numbers() as f64;
    let mut metrics = vec![
        metric(Family::Memory, "weight_bytes", "Weights of the matrices", now, "bytes")
            .lower()
            .baseline(dense)
            // A rank chosen by sums of floats may change by a step.
            .exact(if params.choice == Choice::Share { 0.0 } else { 0.01 * dense }, COUNTED)
            .help("Of the matrices or the kernel that were to be factored; the baseline is FP32."),
        metric(Family::Memory, "stored", "Numbers stored", stored_share, "%")
            .detail()
            .lower()
            .baseline(100.0)
            .exact(if params.choice == Choice::Share { 1e-9 } else { 1.0 }, COUNTED)
            .help("Numbers of the factors over numbers of the matrices."),
    ];
    if params.store == Store::Gauge {
        metrics.push(
            metric(Family::Quality, "gauge_largest", "Largest number of the gauge", gauge_largest(&plan.pieces), "")
                .detail()
                .lower()
                .exact(0.5, "the pivots of two inputs that are nearly as good may change places")
                .help("Small means that the square which is left out was well chosen."),
        );
    }
    metrics
}

fn gauge_largest(pieces: &[Piece]) -> f64 {
    let largest = pieces.iter().filter_map(|piece| match piece {
        Piece::Pair(factors) => Gauge::of(factors),
        _ => None,
    });
    largest.flat_map(|gauge| gauge.c.values).fold(0.0, |most, value| most.max(value.abs()))
}

/// One model in a comparison.
pub(super) struct Arm {
    pub(super) name: String,
    /// Bytes, as a share of those of the matrices in FP32.
    pub(super) share: f64,
    pub(super) judged: Judged,
}

/// Everything judged in a run.
pub(super) struct Outcome {
    pub(super) dense: Judged,
    /// By the method, at the shares, and by the weights alone.
    pub(super) curve: Vec<Arm>,
    pub(super) plain: Vec<Arm>,
    /// At the share asked for.
    pub(super) at: Judged,
    plain_at: Judged,
    /// After training: the factors and the dense control.
    pub(super) tuned: Option<(Judged, Judged)>,
    pub(super) small: Arm,
    pub(super) int4: Arm,
}

impl Outcome {
    pub(super) async fn measure(task: &Task, plan: &Plan, params: &Params, cx: &Context) -> Result<Self, LabError> {
        let all = task.numbers() as f64;
        let (mut curve, mut plain) = (Vec::new(), Vec::new());
        let dense = task.dense(params, cx).await?;
        let shares = shares(task);
        for (i, share) in shares.iter().enumerate() {
            cx.progress("Judging at several shares", 0.25 + 0.25 * i as f64 / shares.len() as f64);
            // An energy or a measured choice has ranks of its own; the curves show shares.
            let params = Params {
                choice: if params.choice == Choice::Energy { Choice::Share } else { params.choice },
                ..params.clone()
            };
            for (arms, own) in [(&mut curve, true), (&mut plain, false)] {
                let pieces = if own {
                    task.pieces(plan, &plan.parts, &params, *share, cx)?
                } else {
                    task.plain_pieces(plan, &params, *share, cx)?
                };
                let held = stored(task, &pieces, params.store) as f64 / all;
                arms.push(Arm { name: String::new(), share: held, judged: task.judge(&pieces, &params, cx).await? });
            }
        }
        let at = task.judge(&finished(task, &plan.pieces, params), params, cx).await?;
        let plain_at = task.judge(&task.plain_pieces(plan, params, params.share, cx)?, params, cx).await?;
        cx.progress("Rounding the dense matrices to 4 bits", 0.5);
        let whole = vec![Piece::Dense; task.layers().len()];
        let (mut rounded, mut bytes) = (Vec::new(), 0);
        for layer in task.layers() {
            let (piece, more) = Piece::Dense.rounded(layer);
            bytes += more;
            rounded.push(piece);
        }
        let int4 = Arm {
            name: "4 bits, no training".into(),
            share: bytes as f64 / 4.0 / all,
            judged: task.judge(&rounded, params, cx).await?,
        };
        cx.progress("A smaller dense model", 0.52);
        let held = stored(task, &plan.pieces, params.store) + task.parameters() - task.numbers();
        let (name, numbers, judged) = task.small(held, cx).await?;
        let rest = (task.parameters() - task.numbers()) as f64;
        let small =
            Arm { name, share: ((numbers as f64 - rest) / all).max(numbers as f64 / task.parameters() as f64), judged };
        let mut tuned = None;
        if params.tune_steps > 0 || params.start == Start::Scratch {
            let steps = params.steps_of_training();
            cx.progress("Training the factors", 0.55);
            let factors = task.tune(&plan.pieces, steps, cx).await?;
            cx.progress("Training the dense model as long", 0.68);
            tuned = Some((factors, task.tune(&whole, steps, cx).await?));
        }
        Ok(Self { dense, curve, plain, at, plain_at, tuned, small, int4 })
    }

    pub(super) fn metrics(&self, task: &Task, plan: &Plan, params: &Params, cx: &Context) -> Vec<Metric> {
        let (what, unit, more_is_better) = task.quality();
        // A point of accuracy is much, a hundredth of a nat too.
        let (sums, spread) = if more_is_better { (0.3, 2.5) } else { (0.005, 0.1) };
        let of = |id: &str, label: &str, judged: &Judged, before: Option<f64>| {
            let one = metric(Family::Quality, id, label, judged.mean(), unit).interval(judged.interval(cx));
            let one = if more_is_better { one.higher() } else { one.lower() };
            let one = Metric { baseline: before, ..one };
            one.exact(sums, SUMS)
        };
        let trained = |one: Metric| Metric { kind: Kind::Trained, ..one.exact(spread, SPREAD) };
        let dense = self.dense.mean();
        let mut metrics = memory(task, plan, params);
        let rounded = if params.then_int4 { ", factors in 4 bits" } else { "" };
        metrics.push(
            of("quality", &format!("{what} of the factors, not trained{rounded}"), &self.at, Some(dense))
                .help("On images or text that no training saw; the baseline is the dense model."),
        );
        let change = self.at.since(&self.dense);
        metrics.push(
            metric(
                Family::Quality,
                "change",
                "Change by factoring",
                change.mean(),
                if more_is_better { "points" } else { unit },
            )
            .detail()
            .interval(change.interval(cx))
            .exact(sums, SUMS)
            .help("Against the dense model, paired on the same images or tokens."),
        );
        metrics.push(
            of("quality_plain", &format!("{what} by the weights alone"), &self.plain_at, Some(dense)).detail().help(
                "The singular value decomposition of the weights at the same share; the baseline is the dense model.",
            ),
        );
        if let Some((factors, control)) = &self.tuned {
            metrics.push(trained(
                of("quality_tuned", &format!("{what} after training"), factors, Some(control.mean()))
                    .help("The factors trained on; the baseline is the dense model with the same training."),
            ));
        }
        let small = of("quality_small", &format!("{what} of a smaller dense model"), &self.small.judged, Some(dense))
            .help(&format!("{}; the baseline is the large dense model.", self.small.name));
        metrics.push(if matches!(task, Task::Mlp(_)) { trained(small) } else { small });
        metrics.push(
            of("quality_int4", &format!("{what} of 4-bit weights"), &self.int4.judged, Some(dense))
                .help("The dense matrices rounded to nearest in groups of 32, not factored, not trained."),
        );
        metrics.push(
            metric(
                Family::Memory,
                "int4_bytes",
                "Weights in 4 bits",
                self.int4.share * 4.0 * task.numbers() as f64,
                "bytes",
            )
            .lower()
            .baseline(4.0 * task.numbers() as f64)
            .exact(0.5, COUNTED)
            .help("Integers and scales of the same matrices."),
        );
        metrics
    }

    /// What this very run calls for.
    pub(super) fn notes(&self, task: &Task, plan: &Plan, params: &Params, cx: &Context) -> Vec<String> {
        let mut notes = Vec::new();
        let (what, unit, more_is_better) = task.quality();
        let held = stored(task, &plan.pieces, params.store);
        if held >= task.numbers() {
            notes.push(format!(
                "The factors hold {} numbers, and the matrices {}: nothing is saved. Take a smaller share, or the gauge.",
                thousands(held),
                thousands(task.numbers())
            ));
        }
        let dense = plan.pieces.iter().filter(|piece| matches!(piece, Piece::Dense)).count();
        if dense > 0 && params.choice != Choice::Share {
            notes.push(format!("{dense} of {} matrices stay dense.", plan.pieces.len()));
        }
        let better = |a: &Judged, b: &Judged| if more_is_better { a.mean() > b.mean() } else { a.mean() < b.mean() };
        if let Some((factors, control)) = &self.tuned {
            let gap = factors.since(control);
            let interval = gap.interval(cx);
            let (low, high) = (interval.low, interval.high);
            notes.push(format!(
                "After training, {} of the factors is {:.2} {} {} than that of the dense model with the same training (difference {} to {}, {:.0} % confidence).",
                what.to_lowercase(),
                gap.mean().abs(),
                if unit == "%" { "points" } else { unit },
                if gap.mean() < 0.0 { "lower" } else { "higher" },
                format!("{low:.2}").replace('-', "−"),
                format!("{high:.2}").replace('-', "−"),
                100.0 * LEVEL
            ));
            if matches!(task, Task::Mlp(_)) && better(&self.small.judged, factors) {
                notes.push("A plain narrow network of the same size is better than the factors: rank was the wrong thing to cut.".into());
            }
        }
        if better(&self.int4.judged, &self.at) {
            notes.push("Rounding the dense matrices to 4 bits, without any training, loses less and takes fewer bytes than these factors before training.".into());
        }
        notes
    }
}

/// The pieces as they are judged: rounded where that was asked for.
fn finished(task: &Task, pieces: &[Piece], params: &Params) -> Vec<Piece> {
    if params.then_int4 {
        return task.layers().iter().zip(pieces).map(|(layer, piece)| piece.rounded(layer).0).collect();
    }
    pieces.to_vec()
}
