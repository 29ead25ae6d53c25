//! The numbers of a run.

use lab_api::{Family, Kind, Metric};
use lab_kit::{
    report::{MetricExt, metric, thousands},
    search::{cost, expected_best, kept, rank_of, spearman},
};

use super::{
    Method, Params, Problem, Resource,
    schedule::whole,
    training_run::{Fresh, Searched, mean},
};

const COUNTED: &str = "counted";
const SPREAD: &str = "sums in another order lead a training elsewhere, as another seed does, and a cut amplifies it: more than five standard deviations over the seeds of the study";

/// A number that trainings decide.
pub(super) fn learned(family: Family, id: &str, label: &str, value: f64, unit: &str, within: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit).exact(within, SPREAD) }
}

/// What needs no training.
pub(super) fn counted(params: &Params) -> Vec<Metric> {
    let n = params.configurations as usize;
    let [resumed, anew] = cost(n, &params.rungs(), params.eta as usize);
    let of = match params.problem {
        Problem::Training => "whole trainings",
        Problem::Policy => "whole judgements",
    };
    vec![
        metric(Family::Scale, "full_runs", &format!("Halving of {n} trials costs as much as"), resumed, of)
            .lower()
            .baseline(anew)
            .exact(1e-9, COUNTED)
            .help("Each trial goes on where it stopped. The baseline begins anew at each rung."),
        metric(
            Family::Quality,
            "luck",
            &format!("Of {n} equal trials, the best looks better than it is by"),
            expected_best(n),
            "σ",
        )
        .lower()
        .exact(1e-6, COUNTED)
        .help("The mean of the maximum of so many normal numbers, in standard deviations of the noise of one trial."),
    ]
}

/// Exact where the method counts, trained where scores decide how many trials there are.
fn certain(params: &Params, one: Metric) -> Metric {
    let fixed = matches!(params.method, Method::Random | Method::Halving | Method::Hyperband);
    if fixed { one.exact(1e-9, COUNTED) } else { Metric { kind: Kind::Trained, ..one.exact(1e9, SPREAD) } }
}

pub(super) fn searched(params: &Params, [found, random]: [&Searched<'_>; 2], fresh: &[Fresh]) -> Vec<Metric> {
    let rungs = params.rungs as usize;
    let [yours, others, untuned] = [0, 1, 2].map(|i| mean(&fresh[i].judging));
    let first: Vec<f64> = found.log.at(0).iter().map(|one| one.score).collect();
    let trials: Vec<usize> = found.log.at(0).iter().map(|one| one.trial).collect();
    let place = trials.iter().position(|trial| *trial == found.winner.trial).map_or(1, |at| rank_of(&first, at));
    let held: usize = found.bench.trials.iter().map(super::training::Training::bytes).sum();
    let largest = found.bench.trials.iter().map(super::training::Training::bytes).max().unwrap_or(0);
    let ms = |of: &Searched<'_>| of.bench.ms.iter().sum::<f64>() / 1e3;
    let mut whole: Vec<f64> = random.bench.ms.clone();
    whole.retain(|ms| *ms > 0.0);
    let chosen = 100.0 - found.winner.score;
    let again = mean(&fresh[0].choosing);
    let mut all = vec![
        learned(
            Family::Quality,
            "gain",
            "The method's winner over that of random search, unseen families",
            yours - others,
            "points",
            60.0,
        )
        .higher()
        .baseline(0.0)
        .help("Both winners trained anew with fresh seeds; both searches had the same budget."),
        learned(Family::Quality, "right", "Winner, trained anew: right on unseen families", yours, "%", 60.0)
            .higher()
            .baseline(others)
            .help("The baseline is the winner of random search."),
        learned(Family::Quality, "right_untuned", "Untuned: right on unseen families", untuned, "%", 40.0).higher(),
        learned(
            Family::Quality,
            "chosen",
            "Winner in the search: right on the families that choose",
            chosen,
            "%",
            60.0,
        )
        .higher()
        .baseline(again)
        .help(
            "The baseline is the same configuration with fresh seeds, on the same families. What lies between is luck.",
        ),
        learned(
            Family::Quality,
            "gap",
            "From families that choose to unseen ones, winner trained anew",
            again - yours,
            "points",
            40.0,
        )
        .lower()
        .detail()
        .help("Unseen families may also be harder."),
        learned(Family::Scale, "winner_first", "Place of the winner at the first rung", place as f64, "", 100.0)
            .lower()
            .help(&format!("Of {} trials that came there. 1 is best.", first.len())),
        certain(params, metric(Family::Scale, "trials", "Trials begun", found.log.trials() as f64, "trials"))
            .higher()
            .baseline(random.log.trials() as f64),
        certain(
            params,
            metric(
                Family::Utilization,
                "on_cut",
                "Share of the budget for trials that were cut",
                100.0 * found.log.on_the_cut(rungs - 1),
                "%",
            ),
        )
        .lower()
        .baseline(100.0 * random.log.on_the_cut(rungs - 1)),
        certain(params, metric(Family::Memory, "held", "Held by all trials that wait", held as f64, "bytes"))
            .lower()
            .baseline(largest as f64)
            .help("Weights and the optimizer's memory of each. The baseline is the largest trial alone."),
        metric(Family::Time, "search_s", "Training of the search", ms(found), "s")
            .lower()
            .baseline(ms(random))
            .measured(vec![ms(found)])
            .help("Without judging. The baseline is random search."),
    ];
    if !whole.is_empty() {
        let of = lab_kit::stats::median(&whole);
        all.push(
            metric(Family::Time, "whole_s", "A whole training", of / 1e3, "s")
                .lower()
                .measured(whole.iter().map(|ms| ms / 1e3).collect())
                .detail()
                .help("Of random search: sizes and batches differ."),
        );
    }
    all
}

/// What only those know who train to the end what was cut.
pub(super) fn finished(params: &Params, found: &Searched<'_>) -> Vec<Metric> {
    let ends: Vec<f64> =
        found.bench.marks.iter().map(|marks| -marks.last().map_or(f64::NAN, |mark| mark.right)).collect();
    let best = (0..ends.len()).find(|i| rank_of(&ends, *i) == 1).unwrap_or(0);
    let mut all = vec![
        learned(
            Family::Quality,
            "missed",
            "The best of all trials over the winner, families that choose",
            found.winner.score - (100.0 + ends[best]),
            "points",
            60.0,
        )
        .lower(),
    ];
    for (rung, to) in params.rungs().into_iter().enumerate().take(params.rungs as usize - 1) {
        let at = |i: usize| found.bench.marks[i].iter().find(|mark| mark.at == to).map(|mark| -mark.right);
        // Some methods pass a rung without a look.
        let seen: Vec<usize> = (0..ends.len()).filter(|i| at(*i).is_some()).collect();
        let early: Vec<f64> = seen.iter().filter_map(|i| at(*i)).collect();
        let ends: Vec<f64> = seen.iter().map(|i| ends[*i]).collect();
        let Some(best) = seen.iter().position(|i| *i == best) else { continue };
        let words = format!("rung {}", rung + 1);
        all.push(
            learned(
                Family::Scale,
                &format!("order_{rung}"),
                &format!("Order at {words} against the end (Spearman)"),
                spearman(&early, &ends),
                "",
                2.0,
            )
            .higher(),
        );
        let third = ends.len().div_ceil(3);
        all.push(
            learned(
                Family::Scale,
                &format!("kept_{rung}"),
                &format!("Best third of the end within that of {words}"),
                100.0 * kept(&early, &ends, third),
                "%",
                100.0,
            )
            .higher()
            .detail(),
        );
        all.push(
            learned(
                Family::Scale,
                &format!("best_{rung}"),
                &format!("Place of the best of all at {words}"),
                rank_of(&early, best) as f64,
                "",
                100.0,
            )
            .lower(),
        );
    }
    all
}

pub(super) fn notes(params: &Params, found: &Searched<'_>, budget: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let lost = found.bench.marks.iter().flatten().filter(|mark| !mark.right.is_finite()).count();
    if lost > 0 {
        notes.push(format!("{lost} of the trials' scores were no numbers: such a trial is cut as the worst."));
    }
    notes.push(format!(
        "Budget: {budget:.1} whole trainings of {} images; random search had {} of them. Trials begun: {}.",
        thousands(params.images as usize),
        whole(budget),
        found.log.trials(),
    ));
    let rungs = params.rungs();
    if rungs.windows(2).any(|two| two[0] * params.eta as usize != two[1]) {
        notes.push(format!("Rungs were rounded to {rungs:?}."));
    }
    if params.method == Method::Hyperband {
        notes.push("Hyperband spends what its brackets say, which is more than random search had here.".into());
    }
    if params.resource == Resource::Seconds {
        notes.push("Each trial trains on as many images as it can in the time that the untuned configuration takes. Times were measured beforehand, so results differ from run to run.".into());
    }
    if params.workers > 1 {
        notes.push("Workers are simulated: the clock of each is what its trials cost.".into());
    }
    notes
}
