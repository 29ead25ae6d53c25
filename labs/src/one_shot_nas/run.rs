//! A run: shared weights, what they say of every network, and the winner trained alone.

use lab_api::{LabError, Report};
use lab_kit::{
    Context,
    cells::{CellCode, CellNet, CellTable, CellTraining, SlotOp, cell_images},
    data::{Glyphs, Images},
    measure::{Pair, side_by_side},
    one_shot::{
        CodeTree, MixedHow, MixedMark, MixedTraining, PathDraw, PathTraining, Supernet, halves_of, judge_each,
        judge_tree, some_of,
    },
};

use super::{
    Method, Params, figures, summary,
    truth::{Said, Truth},
};

/// Images that the tree judges at once.
const CHUNK: usize = 64;
/// Images on which a mixture is compared with what is cut out of it.
pub(super) const SEEN: usize = 256;
/// Marks of a mixture's training.
const MARKS: usize = 12;
/// Seed of whoever trains alone: none of a supernet.
const ALONE: u64 = 1000;
/// Images and milliseconds of the comparison of both ways to judge.
const TIMED: (usize, f64) = (2, 250.0);

pub(super) fn net(params: &Params) -> Supernet {
    Supernet { residual: params.residual, classes: Glyphs::CLASSES.len() }
}

/// Every so many images, to the number of `count`: all families have their share.
pub(super) fn spread(images: &Images, count: usize) -> Images {
    let count = count.min(images.len()).max(1);
    some_of(images, &(0..count).map(|i| i * images.len() / count).collect::<Vec<_>>())
}

/// What lets the page have its turn, at most every 15 ms.
fn breathing(cx: &Context) -> impl AsyncFnMut() -> Result<(), LabError> {
    let mut breath = cx.now_ms();
    async move || {
        if cx.now_ms() - breath > 15.0 {
            cx.checkpoint().await?;
            breath = cx.now_ms();
        }
        Ok(())
    }
}

/// What a supernet says of all codes on these images; and how many slots it computed for each image.
pub(super) async fn judged(
    net: &Supernet,
    weights: &[f32],
    images: &Images,
    mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<(Said, usize), LabError> {
    let (mut tree, mut right) = (CodeTree::new(net, weights), vec![0; CellCode::COUNT]);
    let mut batches = 0;
    for (pixels, labels) in images.pixels.chunks(CHUNK * images.pixels_each()).zip(images.labels.chunks(CHUNK)) {
        let stem = net.embed(weights, pixels);
        batches += 1;
        for first in SlotOp::ALL {
            tree.branch(first, &stem, labels, &mut right);
            breathe().await?;
        }
    }
    Ok((Said::new(&right, images.len()), tree.slots / batches.max(1)))
}

/// A network that was trained alone here.
pub(crate) struct Alone {
    pub(super) code: CellCode,
    /// Right answers in per cent on unseen families.
    pub(super) right: f64,
    pub(super) ms: f64,
}

async fn alone(code: CellCode, params: &Params, images: &[Images; 3], cx: &Context) -> Result<Alone, LabError> {
    cx.progress("Training the winner alone", 0.85);
    let net = CellNet { code, residual: params.residual, classes: Glyphs::CLASSES.len() };
    let mut training = CellTraining::new(net, params.winner_steps as usize, images[0].len(), cx.seed + ALONE);
    let began = cx.now_ms();
    training.finish(&images[0], breathing(cx)).await?;
    let ms = cx.now_ms() - began;
    cx.checkpoint().await?;
    Ok(Alone { code, right: training.right(&images[2]), ms })
}

async fn truth(params: &Params, cx: &Context) -> Result<Option<(CellTable, Truth)>, LabError> {
    if !params.residual {
        return Ok(None);
    }
    let table = CellTable::load(cx).await?;
    let truth = Truth::recorded(&table);
    Ok(Some((table, truth)))
}

/// What paths came to.
pub(crate) struct Shared {
    pub(super) training: PathTraining,
    pub(super) said: Said,
    pub(super) slots: usize,
    /// Milliseconds of training, and of judging every code.
    pub(super) ms: [f64; 2],
    pub(super) pair: Pair,
}

pub(super) async fn paths(params: &Params, cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    report.metrics.extend(summary::counted(params));
    cx.publish(&report)?;
    cx.progress("Loading", 0.0);
    let (images, recorded) = (cell_images(cx).await?, truth(params, cx).await?);
    let net = net(params);
    let draw = if params.method == Method::Fair { PathDraw::Fair } else { PathDraw::Uniform };
    let mut training = PathTraining::new(net, draw, params.taken(), images[0].len(), cx.seed);
    cx.progress("Training all paths", 0.05);
    let began = cx.now_ms();
    training.finish(&images[0], breathing(cx)).await?;
    let trained = cx.now_ms();
    cx.progress("Judging 1,296 codes", 0.5);
    let judges = spread(&images[1], params.images as usize);
    let (said, slots) = judged(&net, &training.weights, &judges, breathing(cx)).await?;
    let ms = [trained - began, cx.now_ms() - trained];
    let few = spread(&judges, TIMED.0);
    let weights = &training.weights;
    let pair = side_by_side(
        cx,
        TIMED.1,
        async || {
            std::hint::black_box(judge_each(&net, weights, &few.pixels, &few.labels));
            Ok(())
        },
        async || {
            std::hint::black_box(judge_tree(&net, weights, &few.pixels, &few.labels));
            Ok(())
        },
    )
    .await?;
    let winner = alone(said.order()[0], params, &images, cx).await?;
    let shared = Shared { training, said, slots, ms, pair };
    let known = recorded.as_ref().map(|(table, truth)| (table, truth));
    report.metrics = summary::shared(params, &shared, &winner, known, cx);
    report.metrics.extend(summary::counted(params));
    if let Some((_, truth)) = known {
        report.charts.push(figures::scatter(&shared.said, truth));
        report.tables.push(figures::firsts(&shared.said, truth));
    } else {
        report.notes.push("The recorded table has residual networks only, so nothing is said about ranks.".into());
    }
    report.charts.push(figures::twins(&shared.said));
    report.charts.push(figures::losses(&shared.training.losses));
    cx.progress("Done", 1.0);
    Ok(report)
}

/// What a mixture came to.
pub(crate) struct Melted {
    pub(super) training: MixedTraining,
    pub(super) marks: Vec<MixedMark>,
    pub(super) ms: f64,
}

pub(super) async fn mixture(params: &Params, cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    report.metrics.extend(summary::counted(params));
    cx.publish(&report)?;
    cx.progress("Loading", 0.0);
    let (images, recorded) = (cell_images(cx).await?, truth(params, cx).await?);
    let halves = halves_of(&images[0]);
    let seen = spread(&halves[1], SEEN);
    let how = MixedHow {
        net: net(params),
        steps: params.taken(),
        second: params.ahead && params.method == Method::Darts,
        sampled: params.method == Method::Gumbel,
        cost: params.price,
    };
    let mut training = MixedTraining::new(how, [halves[0].len(), halves[1].len()], cx.seed);
    cx.progress("Training weights and shares", 0.05);
    let began = cx.now_ms();
    let marks = training.finish((&halves, &seen), (how.steps / MARKS).max(1), breathing(cx)).await?;
    let ms = cx.now_ms() - began;
    let winner = alone(training.found(), params, &images, cx).await?;
    let melted = Melted { training, marks, ms };
    let known = recorded.as_ref().map(|(_, truth)| truth);
    report.metrics = summary::melted(&melted, &winner, known);
    report.metrics.extend(summary::counted(params));
    report.charts.push(figures::gap(&melted.marks));
    report.charts.extend(figures::shares(&melted.marks));
    report.tables.push(figures::last_shares(&melted.marks));
    report.notes.push(format!("Found: {}.", winner.code));
    cx.progress("Done", 1.0);
    Ok(report)
}
