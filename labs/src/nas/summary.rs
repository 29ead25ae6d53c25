//! The numbers of a run.

use lab_api::{Family, Kind, Metric};
use lab_kit::{
    Context,
    cells::{CellCode, CellTimes, SLOTS, SlotOp},
    data::Glyphs,
    report::{MetricExt, metric},
    search::spearman,
    stats::{median, median_interval},
};

use super::{
    Cost, Params, Strategy,
    judge::{Allowed, Judge, Log, Trained},
    record::{Record, Scored},
    replay::{LENGTH, Replays, STRATEGIES},
};

const COUNTED: &str = "counted";
const OTHER_PATH: &str =
    "a training that ends elsewhere may propose and choose another network: as much as the largest of the space";
const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does: more than five standard deviations over seeds";
const RECORD: &str = "from the recorded table; a logarithm may round otherwise and turn a tie";
const LEVEL: f64 = 0.95;

/// A number that trainings decide.
pub(super) fn learned(family: Family, id: &str, label: &str, value: f64, unit: &str, within: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit).exact(within, SPREAD) }
}

/// What needs neither a training nor a clock.
pub(super) fn counted(params: &Params, record: &Record) -> Vec<Metric> {
    let (classes, hand) = (Glyphs::CLASSES.len(), params.by_hand());
    let full = CellCode([SlotOp::Conv; SLOTS]);
    let flops = |place: usize| record.table.entries[place].code.flops(classes) as f64;
    let early = record.order_of_all(|place| record.early(place));
    vec![
        metric(Family::Scale, "networks", "Different networks in the space", record.truth.len() as f64, "networks")
            .baseline(CellCode::COUNT as f64)
            .exact(0.0, COUNTED)
            .help("The baseline counts codes: a skip may stand anywhere."),
        metric(Family::Quality, "order_flops", "Order of all networks by FLOPs against the recorded one (Spearman)", record.order_of_all(flops), "")
            .higher()
            .baseline(early)
            .exact(1e-9, COUNTED)
            .help("1 is the same order. The baseline is a training of 44 steps. The record: right answers after 174 steps, mean of two seeds, families that choose."),
        metric(Family::Quality, "noise", "Standard deviation of one training, recorded", record.noise, "points")
            .lower()
            .exact(1e-9, COUNTED)
            .help("Of two trainings of one network that differ in the seed, over all networks; what the seed does to all of them alike is taken off, because the trials of a search share it."),
        metric(Family::Memory, "hand_bytes", "Your network: weights", 4.0 * hand.parameters(classes) as f64, "bytes")
            .lower()
            .baseline(4.0 * full.parameters(classes) as f64)
            .exact(0.0, COUNTED)
            .detail()
            .help("The baseline is four full convolutions."),
        metric(Family::Scale, "hand_flops", "Your network: arithmetic", hand.flops(classes) as f64 / 1e3, "kFLOP")
            .lower()
            .baseline(full.flops(classes) as f64 / 1e3)
            .exact(0.0, COUNTED)
            .detail()
            .help("Of an image. The baseline is four full convolutions."),
    ]
}

/// Medians of the samples.
pub(super) fn middles(samples: &[Vec<f64>]) -> Vec<f64> {
    samples.iter().map(|samples| median(samples)).collect()
}

/// Predicted over measured, less 1, in per cent, of each network that was timed.
pub(super) fn misses(times: &CellTimes, codes: &[CellCode], whole: &[Vec<f64>]) -> Vec<f64> {
    codes.iter().zip(middles(whole)).map(|(code, us)| 100.0 * (times.predict(*code) / us.max(1e-9) - 1.0)).collect()
}

pub(super) fn timed(times: &CellTimes, codes: &[CellCode], whole: &[Vec<f64>], cx: &Context) -> Vec<Metric> {
    let classes = Glyphs::CLASSES.len();
    let ratio = |a: SlotOp, b: SlotOp| -> Vec<f64> {
        times.ops[a as usize].iter().zip(&times.ops[b as usize]).map(|(a, b)| a / b.max(1e-9)).collect()
    };
    let of = |id: &str, label: &str, samples: Vec<f64>, flops: f64| {
        metric(Family::Time, id, label, median(&samples), "×")
            .baseline(flops)
            .interval(median_interval(&samples, LEVEL, &mut cx.rng(id)))
            .measured(samples)
            .help("Times of the operations alone. The baseline is the ratio of their FLOPs.")
    };
    let flops = |op: SlotOp| op.flops() as f64;
    let rate = |op: SlotOp| flops(op) * times.batch as f64 * 1e-3 / times.of(op).max(1e-9);
    let measured = middles(whole);
    let orders = |by: &dyn Fn(&CellCode) -> f64| spearman(&codes.iter().map(by).collect::<Vec<_>>(), &measured);
    let wide = |samples: Vec<f64>| median(&samples.iter().map(|x| x.abs()).collect::<Vec<_>>());
    let error = wide(misses(times, codes, whole));
    let hand = whole.last().map_or(0.0, |samples| median(samples));
    vec![
        of(
            "sep_over_conv",
            "Time of sep over time of conv",
            ratio(SlotOp::Sep, SlotOp::Conv),
            flops(SlotOp::Sep) / flops(SlotOp::Conv),
        )
        .lower(),
        of("mix_over_pw", "Time of mix over time of pw", ratio(SlotOp::Mix, SlotOp::Pw), 1.0).lower().detail(),
        metric(Family::Time, "hand_us", "Your network: a forward pass", hand, "µs")
            .lower()
            .measured(whole.last().cloned().unwrap_or_default())
            .help("Of a batch."),
        metric(
            Family::Quality,
            "prediction",
            "Error of a network's time, added up from its operations (median)",
            error,
            "%",
        )
        .lower()
        .measured(vec![error])
        .help(&format!("Over {} networks, by size.", codes.len())),
        metric(
            Family::Quality,
            "order_time",
            "Order of the timed networks by added times (Spearman)",
            orders(&|code| times.predict(*code)),
            "",
        )
        .higher()
        .baseline(orders(&|code| code.flops(classes) as f64))
        .measured(vec![orders(&|code| times.predict(*code))])
        .help("Against their measured times. The baseline is the order by FLOPs."),
        metric(Family::Utilization, "conv_rate", "Arithmetic of conv", rate(SlotOp::Conv), "GFLOP/s")
            .higher()
            .baseline(rate(SlotOp::Sep))
            .measured(vec![rate(SlotOp::Conv)])
            .help("The baseline is sep."),
    ]
}

/// Regret of a curve after so many proposals.
fn after(curve: &[f64], count: usize) -> f64 {
    curve.get(count.clamp(1, LENGTH) - 1).copied().unwrap_or(0.0)
}

pub(super) fn replayed(replays: &Replays, params: &Params) -> Vec<Metric> {
    let own = STRATEGIES.iter().position(|one| one.0 == params.strategy()).unwrap_or(0);
    let count = params.evaluations as usize;
    let value = |noise: usize, strategy: usize| after(&replays.curves[noise][strategy], count);
    // With a budget in time, which networks are allowed is measured.
    let one = |one: Metric| {
        if params.cost == Cost::Time {
            Metric { kind: Kind::Trained, ..one.exact(40.0, SPREAD) }
        } else {
            one.exact(1.0, RECORD)
        }
    };
    vec![
        one(metric(Family::Quality, "regret_noisy", &format!("Your strategy after {count} trials: worse than the best by"), value(1, own), "points")
            .lower()
            .baseline(value(1, 0)))
            .help("Mean over replays of the recorded table in which each trial has the noise of its seeds. The baseline is random search."),
        one(metric(Family::Quality, "regret", "The same if trials had no noise", value(0, own), "points").lower().baseline(value(0, 0))),
        one(metric(Family::Quality, "advantage", "Evolution over random search, with noise", value(1, 0) - value(1, 2), "points").higher())
            .help(&format!("Regret of random search less that of evolution, after {count} trials of the recorded table.")),
    ]
}

pub(super) fn free(record: &Record, scored: &Scored) -> Vec<Metric> {
    let codes: Vec<CellCode> = scored.iter().map(|one| one.0).collect();
    let flops = record.order(&codes, |i| codes[i].flops(Glyphs::CLASSES.len()) as f64);
    let one = |id: &str, label: &str, score: &dyn Fn(usize) -> f64| {
        metric(Family::Quality, id, label, record.order(&codes, score), "")
            .higher()
            .baseline(flops)
            .exact(0.1, "an order of scores whose last digits differ from device to device")
    };
    vec![
        one("order_naswot", "Order by patterns of ReLUs, untrained (Spearman)", &|i| scored[i].1.naswot).help(
            &format!(
                "Over {} networks by chance. The baseline is the order by FLOPs on the same networks.",
                codes.len()
            ),
        ),
        one("order_snip", "Order by SNIP, untrained", &|i| scored[i].1.snip),
        one("order_gradient", "Order by the length of the gradient, untrained", &|i| scored[i].1.gradient).detail(),
    ]
}

pub(super) fn searched(params: &Params, judge: &Judge<'_>, log: &Log, trained: &[Trained]) -> Vec<Metric> {
    let classes = Glyphs::CLASSES.len();
    let [winner, hand, dearest] = [0, 1, 2].map(|i| &trained[i]);
    let trials = judge.known.len() as f64;
    let mut all = vec![
        learned(
            Family::Quality,
            "gain",
            "The winner over your network, unseen families",
            winner.judged - hand.judged,
            "points",
            40.0,
        )
        .higher()
        .baseline(0.0)
        .help("Both trained anew with a seed that no trial had."),
        learned(Family::Quality, "right", "Winner: right on unseen families", winner.judged, "%", 40.0)
            .higher()
            .baseline(dearest.judged)
            .help("The baseline is the network within the budget that costs most: nothing was tried for it."),
        learned(Family::Quality, "right_hand", "Your network: right on unseen families", hand.judged, "%", 40.0)
            .higher(),
        Metric {
            kind: Kind::Trained,
            ..metric(Family::Scale, "trained", "Networks trained", trials, "networks")
                .exact(log.len() as f64, OTHER_PATH)
        }
        .lower()
        .baseline(log.len() as f64)
        .help("The baseline counts proposals: a network that comes again, or outside of the budget, is not trained."),
        metric(
            Family::Memory,
            "winner_bytes",
            "Winner: activations at its widest place",
            winner.code.peak_bytes(params.batch()) as f64,
            "bytes",
        )
        .lower()
        .baseline(CellCode([SlotOp::Conv; SLOTS]).peak_bytes(params.batch()) as f64)
        .exact(CellCode([SlotOp::Conv; SLOTS]).peak_bytes(params.batch()) as f64, OTHER_PATH)
        .help("Counted. The baseline is four full convolutions."),
        metric(Family::Scale, "winner_flops", "Winner: arithmetic", winner.code.flops(classes) as f64 / 1e3, "kFLOP")
            .lower()
            .baseline(hand.code.flops(classes) as f64 / 1e3)
            .exact(CellCode([SlotOp::Conv; SLOTS]).flops(classes) as f64 / 1e3, OTHER_PATH)
            .detail()
            .help("The baseline is your network."),
        metric(Family::Time, "search_s", "The search", judge.ms / 1e3, "s")
            .lower()
            .measured(vec![judge.ms / 1e3])
            .detail(),
    ];
    all.iter_mut().filter(|one| one.id.starts_with("winner_")).for_each(|one| one.kind = Kind::Trained);
    all
}

pub(super) fn notes(
    params: &Params,
    judge: &Judge<'_>,
    log: &Log,
    allowed: &Allowed,
    trained: &[Trained],
) -> Vec<String> {
    let fits = allowed.codes.iter().filter(|fits| **fits).count();
    let unit = if params.cost == Cost::Time { "µs, predicted" } else { "FLOPs" };
    let mut notes = vec![format!("The budget is {:.0} {unit}: {fits} of 1,296 codes keep it.", allowed.budget)];
    if let Some(claimed) = trained[0].claimed {
        let steps = params.steps();
        notes.push(format!(
            "The winner, {}, was right on {:.1} % in the search, after {steps} steps. Trained anew for {} steps, it is right on {:.1} % of the same families.",
            trained[0].code,
            100.0 - claimed,
            params.final_steps,
            trained[0].chosen
        ));
    } else {
        notes.push(
            "Nothing that was proposed keeps the budget: the dearest network that does stands in for a winner.".into(),
        );
    }
    let hand = allowed.cost[params.by_hand().index()];
    if hand > allowed.budget {
        notes.push(format!("Your network costs {hand:.0} {unit}, more than the budget."));
    }
    if log.len() > judge.known.len() {
        notes.push(format!(
            "Proposals that took no training, since the network had been tried or is over the budget: {}.",
            log.len() - judge.known.len()
        ));
    }
    if params.strategy == Strategy::Evolution && params.population >= params.evaluations {
        notes.push("The first population takes all trials, so this is random search.".into());
    }
    if !params.residual {
        notes.push("The recorded table was taken with residual operations: replays and orders are theirs.".into());
    }
    notes
}
