//! Charts and the table of a run.

use std::collections::BTreeSet;

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::{
    Context,
    recompute::{cost, kept, square_root, staircase, trace},
};
use rand::Rng;

use super::{
    arms::{Arm, Found, Subject},
    lowest,
    summary::apart,
};

const MIB: f64 = 1_048_576.0;
/// Layers up to which every placement is tried, placements drawn beyond, and dots at most.
const ALL: usize = 16;
const DRAWN: usize = 20_000;
const DOTS: usize = 1_500;

/// The layers whose inputs are kept, in words.
pub(super) fn list(keep: &[bool]) -> String {
    let kept = kept(keep);
    match kept.len() {
        0 => "none".into(),
        all if all + 1 == keep.len() && all > 4 => "every layer".into(),
        _ => kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn line(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

fn chart(id: &str, (title, caption): (&str, &str), x: Axis, y: Axis, body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

/// Every placement, and the best ones.
pub(super) fn plane(subject: &Subject, arms: &[Arm], cx: &Context) -> Chart {
    let layers = subject.chain.layers();
    let forward = subject.forward();
    let mut seen = BTreeSet::new();
    let mut see = |keep: &[bool]| {
        let (peak, extra) = subject.cost(keep);
        seen.insert((peak, extra as u64));
    };
    let mut keep = vec![false; layers];
    if layers <= ALL {
        for bits in 0..1_usize << (layers - 1) {
            (1..layers).for_each(|layer| keep[layer] = bits >> (layer - 1) & 1 == 1);
            see(&keep);
        }
    } else {
        let mut rng = cx.rng("placements");
        for _ in 0..DRAWN {
            let density = rng.random_range(0.05..0.95);
            keep.fill_with(|| rng.random_bool(density));
            see(&keep);
        }
    }
    let point = |peak: usize, extra: f64| [peak as f64 / MIB, extra];
    let step = seen.len().div_ceil(DOTS).max(1);
    let dots = seen.into_iter().step_by(step).map(|(peak, extra)| point(peak, extra as f64 / forward)).collect();
    let best = staircase(subject.inputs(), &subject.operations);
    let best = best.iter().map(|keep| subject.cost(keep)).map(|(peak, extra)| point(peak, extra / forward)).collect();
    let mut series = vec![line("Any placement", dots), line("Best for its bytes", best)];
    series.extend([1, 2, 4, 6].map(|arm| &arms[arm]).map(|arm| line(&arm.name, vec![point(arm.model, arm.extra)])));
    let words = (
        "What does a byte cost?",
        "Activations held at once against work done again, computed. Down and left is better. Keeping everything is the point at the bottom right.",
    );
    let x = Axis { min: Some(0.0), ..Axis::linear("Activations held at once (MiB)") };
    chart("plane", words, x, Axis::linear("Extra forward passes"), ChartBody::Scatter { series })
}

/// Bytes over the course of one step.
pub(super) fn held(subject: &Subject, arms: &[Arm], found: &[Found]) -> Chart {
    let forward = subject.forward();
    let mut series = Vec::new();
    for (arm, found) in arms.iter().zip(found).take(2) {
        let trace = trace(&arm.schedule, &subject.bytes, &subject.operations);
        // Where the host does not count, the count of the schedule stands in.
        let counted = found.held.len() == trace.held.len();
        let bytes = |at: usize| if counted { found.held[at] } else { trace.held[at].1 };
        let points = trace.held.iter().enumerate().map(|(at, (work, _))| [work / forward, bytes(at) as f64 / MIB]);
        series.push(line(&arm.name, points.collect()));
    }
    let words = (
        "When is memory held?",
        "Bytes held after each action of one step. One tent becomes a row of teeth, and a longer day.",
    );
    let x = Axis::linear("Work done (forward passes)");
    chart("held", words, x, Axis::linear("Held (MiB)"), ChartBody::Line { series })
}

/// Activations at once for longer and longer chains of equal layers.
pub(super) fn lengths() -> Chart {
    let peak = |layers: usize, keep: &[bool]| cost(keep, &vec![1; layers], &vec![1.0; layers]).0 as f64;
    let lengths = [4, 8, 16, 32, 64];
    let of = |place: &dyn Fn(usize) -> Vec<bool>| {
        lengths.iter().map(|layers| [*layers as f64, peak(*layers, &place(*layers))]).collect()
    };
    let series = vec![
        line("Keep all", of(&|layers| vec![false; layers])),
        line("√n segments", of(&square_root)),
        line("Lowest peak", of(&|layers| lowest(&vec![1; layers], &vec![1.0; layers]))),
    ];
    let words = (
        "How does it grow with depth?",
        "Activations held at once by a chain of equal layers, computed. Both axes are logarithmic.",
    );
    chart("lengths", words, Axis::log("Layers"), Axis::log("Activations at once"), ChartBody::Line { series })
}

/// Two trainings.
pub(super) fn curves(curves: &[Vec<f64>]) -> Chart {
    let series = ["Keep all", "Chosen"].iter().zip(curves).map(|(name, losses)| {
        line(name, losses.iter().enumerate().map(|(step, loss)| [step as f64 + 1.0, *loss]).collect())
    });
    let words = (
        "Do both learn alike?",
        "Loss of each batch, from the same weights and on the same data in the same order. Where the lines agree you see one.",
    );
    let body = ChartBody::Line { series: series.collect() };
    chart("training", words, Axis::linear("Step"), Axis::linear("Loss of the batch"), body)
}

/// All arms.
pub(super) fn table(subject: &Subject, arms: &[Arm], found: &[Found]) -> Table {
    let mib = |bytes: f64| Cell::from((bytes / MIB * 1000.0).round() / 1000.0);
    let rows = arms.iter().zip(found).map(|(arm, run)| {
        let (changed, far) = apart(&found[0].gradients, &run.gradients);
        let gradient = if changed == 0 { "equal, every bit".into() } else { format!("{far:.0e} apart") };
        let peak = run.peak.map(|peak| peak as f64);
        vec![
            Cell::from(arm.name.as_str()),
            arm.words.as_str().into(),
            mib(arm.model as f64),
            peak.map_or("not counted".into(), mib),
            peak.map_or("not counted".into(), |peak| mib(peak - arm.model as f64)),
            ((arm.extra * subject.chain.layers() as f64 * 10.0).round() / 10.0).into(),
            gradient.into(),
        ]
    });
    let columns = [
        "Step",
        "Checkpoints",
        "Activations (MiB)",
        "Counted peak (MiB)",
        "Difference (MiB)",
        "Layers run again",
        "Gradient",
    ];
    Table {
        id: "placements".into(),
        title: "What each way holds and does again".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}
