//! Searches whose trials were truly trained; winners trained again; longer trainings; and the record held against new trainings.

use lab_api::{Axis, ChartBody, Family, LabError, Report};
use lab_kit::{
    Context,
    cells::{CellCode, CellSearch, CellStrategy, CellTraining, cell_incumbents},
    data::{Glyphs, Images},
    report::MetricExt,
    rng,
    search::spearman,
    testing::ready,
    two_cores::jobs_on_two_cores,
};

use super::{
    figures::{chart, line},
    judge::Allowed,
    net,
    record::{RECORDED, Record},
    some,
    study::{number, over_seeds},
};

/// Proposals of a search, and searches of a strategy.
const TRIALS: usize = 10;
const SEEDS: u64 = 3;
/// Networks that are trained anew and for longer.
const LONGER: usize = 24;
const STEPS: usize = 522;

fn trained(code: CellCode, steps: usize, seed: u64, images: &[Images; 3]) -> CellTraining {
    let mut training = CellTraining::new(net(code, true), steps, images[0].len(), seed);
    (0..steps).for_each(|_| training.step(&images[0]));
    training
}

/// Right answers on the families that choose, and on unseen ones.
fn both(code: CellCode, steps: usize, seed: u64, images: &[Images; 3]) -> [f64; 2] {
    let training = trained(code, steps, seed, images);
    [training.right(&images[1]), training.right(&images[2])]
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = values.collect();
    all.iter().sum::<f64>() / all.len().max(1) as f64
}

pub(super) fn run(report: &mut Report, record: &Record, images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
    searches(report, record, images, cx)?;
    cx.progress("Longer", 0.85);
    longer(report, record, images)
}

/// A search that is over: the winner, what it looked like, what two other seeds make of it.
struct Over {
    code: CellCode,
    claimed: f64,
    fresh: [f64; 2],
}

fn searches(report: &mut Report, record: &Record, images: &[Images; 3], cx: &Context) -> Result<(), LabError> {
    let allowed = Allowed::of(20.0, |code| code.flops(Glyphs::CLASSES.len()) as f64);
    let strategies = [
        (CellStrategy::Random, "random", "Random search"),
        (CellStrategy::Local, "local", "Local search"),
        (CellStrategy::Evolution, "evolution", "Evolution"),
    ];
    let found = jobs_on_two_cores(strategies.len() * SEEDS as usize, |job| {
        let (strategy, seed) = (strategies[job % strategies.len()].0, (job / strategies.len()) as u64);
        let search = CellSearch { strategy, evaluations: TRIALS, population: (4, 2), allowed: &allowed.codes };
        let mut known = std::collections::BTreeMap::new();
        let judge = async |code: CellCode| {
            let train = || 100.0 - trained(code.canonical(), RECORDED, 10 + seed, images).right(&images[1]);
            Ok(*known.entry(code.canonical()).or_insert_with(train))
        };
        let log = ready(search.run(&mut rng(seed, "search"), judge))?;
        let at = cell_incumbents(&log).last().copied().flatten().unwrap_or(0);
        let again: Vec<[f64; 2]> =
            (0..2).map(|more| both(log[at].0.canonical(), RECORDED, 100 + 2 * seed + more, images)).collect();
        let fresh = [0, 1].map(|which| mean(again.iter().map(|one| one[which])));
        Ok(Over { code: log[at].0.canonical(), claimed: 100.0 - log[at].1, fresh })
    })?;
    let mut lines = Vec::new();
    for (at, (_, id, name)) in strategies.into_iter().enumerate() {
        let own: Vec<&Over> = found.iter().skip(at).step_by(strategies.len()).collect();
        let values = |of: &dyn Fn(&Over) -> f64| own.iter().map(|one| of(one)).collect::<Vec<f64>>();
        report.metrics.push(
            over_seeds(
                Family::Quality,
                &format!("live_{id}"),
                &format!("{name}, ten trials: winner trained anew, unseen families"),
                &values(&|one| one.fresh[1]),
                "%",
                cx,
            )
            .higher(),
        );
        report.metrics.push(
            over_seeds(
                Family::Quality,
                &format!("live_{id}_recorded"),
                &format!("{name}, ten trials: winner by the record"),
                &values(&|one| 100.0 - record.error(one.code)),
                "%",
                cx,
            )
            .higher(),
        );
        lines.push(line(name, own.iter().map(|one| [one.claimed, one.fresh[0]]).collect()));
    }
    // What the search said of its winner, less what fresh seeds say on the same families.
    let luck: Vec<f64> = found.iter().map(|one| one.claimed - one.fresh[0]).collect();
    report.metrics.push(
        over_seeds(
            Family::Quality,
            "curse",
            "What a winner loses when it is trained anew, same families",
            &luck,
            "points",
            cx,
        )
        .lower(),
    );
    report.charts.push(chart(
        "curse",
        "Does a winner keep what it won by?",
        "Each dot is the winner of a search with ten trials: right answers in the search, across, and with two fresh seeds on the same families, up. A dot below the diagonal was lucky.",
        (Axis::linear("Right in the search (%)"), Axis::linear("Right, trained anew (%)")),
        ChartBody::Scatter { series: lines },
    ));
    let free =
        [("hand", CellCode::parse("mix-sep-mix-skip").unwrap_or(allowed.dearest())), ("dearest", allowed.dearest())];
    for (id, code) in free {
        let again = jobs_on_two_cores(SEEDS as usize, |seed| Ok(both(code, RECORDED, 200 + seed as u64, images)))?;
        let judged: Vec<f64> = again.iter().map(|one| one[1]).collect();
        report.metrics.push(
            over_seeds(
                Family::Quality,
                &format!("live_{id}"),
                &format!("{code}, which no search found: unseen families"),
                &judged,
                "%",
                cx,
            )
            .higher(),
        );
    }
    Ok(())
}

fn longer(report: &mut Report, record: &Record, images: &[Images; 3]) -> Result<(), LabError> {
    let codes = some(LONGER, "longer");
    let again = jobs_on_two_cores(2 * codes.len(), |job| {
        let steps = if job % 2 == 0 { RECORDED } else { STEPS };
        Ok(both(codes[job / 2], steps, 7, images))
    })?;
    let (anew, long): (Vec<[f64; 2]>, Vec<[f64; 2]>) = again.chunks_exact(2).map(|two| (two[0], two[1])).unzip();
    let recorded: Vec<f64> = codes.iter().map(|code| 100.0 - record.error(*code)).collect();
    let off = mean(anew.iter().zip(&recorded).map(|(anew, recorded)| (anew[0] - recorded).abs()));
    let bias = mean(anew.iter().zip(&recorded).map(|(anew, recorded)| anew[0] - recorded));
    report
        .metrics
        .push(number(Family::Quality, "checked", "New trainings against the record, by size", off, "points").lower());
    report.metrics.push(number(Family::Quality, "checked_bias", "The same with their signs", bias, "points"));
    let ends: Vec<f64> = long.iter().map(|one| -one[1]).collect();
    let order = |scores: &[f64]| spearman(&scores.iter().map(|x| -x).collect::<Vec<_>>(), &ends);
    report.metrics.push(
        number(
            Family::Quality,
            "order_longer",
            "Order after 174 steps against 522, unseen families (Spearman)",
            order(&recorded),
            "",
        )
        .higher(),
    );
    let flops: Vec<f64> = codes.iter().map(|code| code.flops(Glyphs::CLASSES.len()) as f64).collect();
    report.metrics.push(
        number(Family::Quality, "order_longer_flops", "Order by FLOPs against 522 steps (Spearman)", order(&flops), "")
            .higher(),
    );
    report.charts.push(chart(
        "longer",
        "Does the order last?",
        "Each dot is a network by chance: right answers in the record of 174 steps, across, and after 522 steps on unseen families, up.",
        (Axis::linear("Recorded, 174 steps (%)"), Axis::linear("522 steps, unseen families (%)")),
        ChartBody::Scatter { series: vec![line("Networks", recorded.iter().zip(&long).map(|(a, b)| [*a, b[1]]).collect())] },
    ));
    Ok(())
}
