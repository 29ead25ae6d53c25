//! The numbers of a run.

use lab_api::{Family, Kind, Metric};
use lab_kit::{
    Context,
    cells::{CellCode, CellTable},
    data::Glyphs,
    one_shot::{CHOICES, OPERATIONS, SLOTS, SlotOp},
    report::{MetricExt, metric},
};

use super::{
    Method, Params,
    run::{Alone, Melted, Shared, net},
    truth::{TOP, Truth, mean},
};

const COUNTED: &str = "counted";
const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does: more than five standard deviations over the seeds of the study";
/// Steps of a recorded training that the cost is compared with.
const ALONE_STEPS: usize = 174;

/// A number that trainings decide.
pub(super) fn learned(family: Family, id: &str, label: &str, value: f64, unit: &str, within: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit).exact(within, SPREAD) }
}

/// What needs no training.
pub(super) fn counted(params: &Params) -> Vec<Metric> {
    let classes = Glyphs::CLASSES.len();
    let net = net(params);
    let networks = CellCode::distinct();
    let largest = networks.iter().map(|code| code.parameters(classes)).max().unwrap_or(0);
    let whole: usize = SLOTS * SlotOp::ALL.map(SlotOp::flops).iter().sum::<usize>();
    let base = networks[0].flops(classes);
    let alike: f64 = networks.iter().map(|code| code.flops(classes) as f64).sum::<f64>() / networks.len() as f64;
    let mut all = vec![
        metric(Family::Memory, "weights", "Weights of the supernet", 4.0 * net.weights() as f64, "bytes")
            .lower()
            .baseline(4.0 * largest as f64)
            .exact(0.0, COUNTED)
            .help("For 781 networks. The baseline is the largest of them alone."),
        metric(Family::Scale, "steps_all", "Steps of this search", params.taken() as f64, "steps")
            .lower()
            .baseline((networks.len() * ALONE_STEPS) as f64)
            .exact(0.0, COUNTED)
            .help("The baseline trains each of 781 networks alone for 174 steps."),
    ];
    if params.method.mixes() {
        let flops = if params.method == Method::Darts { (base + whole) as f64 } else { alike };
        all.push(
            metric(Family::Scale, "step_flops", "FLOPs of an image, forward, in a step", flops, "FLOPs")
                .lower()
                .baseline(alike)
                .exact(0.0, COUNTED)
                .help("A mixture computes all six operations of each slot. The baseline is the mean network."),
        );
    } else {
        let leaves = OPERATIONS.pow(SLOTS as u32);
        let shared: usize = (1..=SLOTS).map(|slot| OPERATIONS.pow(slot as u32)).sum();
        all.push(
            metric(Family::Scale, "tree_slots", "Slots computed to judge 1,296 codes", shared as f64, "slots")
                .lower()
                .baseline((SLOTS * leaves) as f64)
                .exact(0.0, COUNTED)
                .help("For each image. Codes that begin alike share what they have in common; the baseline takes each code from the beginning."),
        );
    }
    all
}

/// What paths came to.
pub(super) fn shared(
    params: &Params,
    shared: &Shared,
    winner: &Alone,
    known: Option<(&CellTable, &Truth)>,
    cx: &Context,
) -> Vec<Metric> {
    let classes = Glyphs::CLASSES.len();
    let mut all = Vec::new();
    if let Some((table, truth)) = known {
        let flops: Vec<f64> = truth.codes.iter().map(|code| code.flops(classes) as f64).collect();
        let short: Vec<f64> = table.entries.iter().map(|entry| entry.chosen[1][1]).collect();
        let [order, top] = truth.agreement(&shared.said.scores(&truth.codes));
        let [by_flops, _] = truth.agreement(&flops);
        let [by_short, top_short] = truth.agreement(&short);
        let first = shared.said.order()[0];
        let twenty = shared.said.order().into_iter().take(20).filter_map(|code| truth.of(code)).fold(0.0, f64::max);
        all.extend([
            learned(Family::Quality, "order", "Order of 781 networks, against the truth (Spearman)", order, "", 1.0)
                .higher()
                .baseline(by_flops)
                .help("1 is the same order, 0 is none. The truth is each network's recorded training alone: 174 steps, unseen families. The baseline is the order by FLOPs, which costs nothing."),
            learned(
                Family::Quality,
                "order_top",
                &format!("Order of the best {TOP} alone, against the truth (Spearman)"),
                top,
                "",
                2.0,
            )
            .higher()
            .baseline(top_short)
            .help("The baseline is the order by another training alone, with another seed, of as many steps as the truth."),
            learned(
                Family::Quality,
                "place",
                "True place of the first by shared weights",
                truth.place(first).unwrap_or(0) as f64,
                "",
                800.0,
            )
            .lower()
            .help("Of 781; 1 is best."),
            learned(
                Family::Quality,
                "found",
                "First by shared weights, as recorded: right on unseen families",
                truth.of(first).unwrap_or(0.0),
                "%",
                40.0,
            )
            .higher()
            .baseline(truth.best())
            .help("The baseline is the best of all 781."),
            learned(
                Family::Quality,
                "found_twenty",
                "Best of the first twenty, as recorded",
                twenty,
                "%",
                40.0,
            )
            .higher()
            .baseline(truth.best())
            .detail()
            .help("What you would have if you trained the first twenty."),
            metric(Family::Quality, "order_short", "Order by another training alone, against the truth", by_short, "")
                .higher()
                .exact(1e-9, "from the recorded table")
                .detail(),
        ]);
    }
    let inherited = shared.said.of(winner.code);
    all.extend([
        learned(
            Family::Quality,
            "right",
            &format!("Its winner, trained alone here for {} steps: right on unseen families", params.winner_steps),
            winner.right,
            "%",
            60.0,
        )
        .higher(),
        learned(
            Family::Quality,
            "inherited",
            "The winner with shared weights: right on families that choose",
            inherited,
            "%",
            60.0,
        )
        .higher()
        .help("Nobody deploys these weights: they belong to all paths."),
        learned(
            Family::Quality,
            "apart",
            "Codes of one network apart, with shared weights",
            shared.said.apart(),
            "points",
            60.0,
        )
        .lower()
        .baseline(0.0)
        .help("From the worst code to the best of each network that has several, on average. Trained alone, they are one network."),
    ]);
    let (gain, interval) = shared.pair.ratio(0.95, &mut cx.rng("tree"));
    all.extend([
        metric(Family::Time, "train_s", "Training all paths", shared.ms[0] / 1e3, "s")
            .lower()
            .measured(vec![shared.ms[0] / 1e3]),
        metric(Family::Time, "judge_s", "Judging 1,296 codes", shared.ms[1] / 1e3, "s")
            .lower()
            .measured(vec![shared.ms[1] / 1e3])
            .help("With shared beginnings, on as many images as you chose."),
        metric(Family::Time, "alone_s", "Training one winner alone", winner.ms / 1e3, "s")
            .lower()
            .measured(vec![winner.ms / 1e3])
            .detail(),
        metric(Family::Time, "tree_gain", "Shared beginnings, times as fast", gain, "x")
            .higher()
            .interval(interval)
            .measured(vec![gain])
            .help("Against every code from the beginning, on two images."),
        metric(
            Family::Utilization,
            "slots_seen",
            "Of all slots that codes pass, computed",
            100.0 * shared.slots as f64 / (SLOTS * OPERATIONS.pow(SLOTS as u32)) as f64,
            "%",
        )
        .lower()
        .baseline(100.0)
        .exact(1e-9, COUNTED)
        .detail(),
    ]);
    let updates = shared.training.adam.steps();
    let least = updates[1..=CHOICES].iter().min().copied().unwrap_or(0);
    let most = updates[1..=CHOICES].iter().max().copied().unwrap_or(0);
    all.push(
        metric(Family::Scale, "updates_least", "Updates of the operation that had fewest", f64::from(least), "")
            .higher()
            .baseline(f64::from(most))
            .exact(0.0, COUNTED)
            .detail()
            .help("The baseline is the operation that had most."),
    );
    all
}

/// What a mixture came to.
pub(super) fn melted(melted: &Melted, winner: &Alone, known: Option<&Truth>) -> Vec<Metric> {
    let classes = Glyphs::CLASSES.len();
    let (mixture, cut) = melted.marks.last().map_or((0.0, 0.0), |mark| (mark.mixture, mark.cut));
    let skips = winner.code.0.iter().filter(|op| **op == SlotOp::Skip).count();
    let flops = winner.code.flops(classes);
    let sure: Vec<f64> =
        melted.training.shares().chunks(OPERATIONS).map(|row| row.iter().copied().fold(0.0, f64::max)).collect();
    let mut all = vec![
        learned(
            Family::Quality,
            "gap",
            "Loss of the strongest path above that of the mixture",
            cut - mixture,
            "nats",
            20.0,
        )
        .lower()
        .baseline(0.0)
        .help("With the same weights, on the same images. The cut is what you keep."),
        learned(Family::Quality, "mixture", "Loss of the mixture", mixture, "nats", 10.0).lower().detail(),
        learned(
            Family::Quality,
            "right",
            "What was found, trained alone here: right on unseen families",
            winner.right,
            "%",
            60.0,
        )
        .higher(),
    ];
    if let Some(truth) = known {
        all.extend([
            learned(
                Family::Quality,
                "found",
                "What was found, as recorded: right on unseen families",
                truth.of(winner.code).unwrap_or(0.0),
                "%",
                60.0,
            )
            .higher()
            .baseline(truth.typical(flops, classes).unwrap_or(0.0))
            .help("The baseline is the middle of all networks of about as many FLOPs, a quarter more or less."),
            learned(
                Family::Quality,
                "place",
                "Its true place",
                truth.place(winner.code).unwrap_or(0) as f64,
                "",
                800.0,
            )
            .lower()
            .help("Of 781; 1 is best."),
        ]);
    }
    let dearest = 309_120.0;
    all.extend([
        learned(Family::Scale, "flops", "FLOPs of what was found", flops as f64, "FLOPs", 3e5)
            .lower()
            .baseline(dearest),
        learned(Family::Quality, "skips", "Slots that went to skip", skips as f64, "slots", 4.0),
        learned(Family::Quality, "sure", "Mean share of the strongest operation", 100.0 * mean(&sure), "%", 100.0)
            .higher()
            .baseline(100.0 / OPERATIONS as f64)
            .help("The baseline is the even beginning."),
        metric(Family::Time, "train_s", "Training weights and shares", melted.ms / 1e3, "s")
            .lower()
            .measured(vec![melted.ms / 1e3]),
        metric(
            Family::Utilization,
            "passes",
            "Passes forward and back, for each step of the weights",
            melted.training.passes as f64 / melted.training.step.max(1) as f64,
            "",
        )
        .lower()
        .baseline(1.0)
        .exact(1e-9, COUNTED),
    ]);
    all
}
