//! Schedules that compete, each tuned with the same number of tries.

use lab_api::{Axis, Cell, ChartBody, Family, LabError, Report};
use lab_kit::{
    Context,
    report::MetricExt,
    stats::median,
    tuning::{self, Learned, Task, Try},
};

use super::super::{
    Optimizer, Params, RATIO,
    arms::{self, Arm},
    figures::{self, chart, line, table},
    training::Plan,
};
use super::{
    TUNING, over_seeds, trained,
    trainings::{Done, run_all},
};

/// A set of schedules that is tuned by itself.
pub(super) struct Field {
    /// In ids.
    pub(super) id: &'static str,
    pub(super) words: &'static str,
    pub(super) task: Learned,
    pub(super) ids: &'static [&'static str],
    steps: u32,
    batch: u32,
    peak: f64,
    tries: usize,
    optimizer: Optimizer,
    /// Seeds that count.
    seeds: u64,
}

pub(super) const FIELDS: [Field; 4] = [
    Field {
        id: "short",
        words: "300 steps",
        task: Learned::Glyphs,
        ids: &[
            "constant",
            "inverse_sqrt",
            "exponential",
            "step",
            "polynomial",
            "linear",
            "cosine",
            "cosine_floor",
            "one_cycle",
            "one_cycle_momentum",
            "wsd_linear",
            "wsd_sqrt",
            "wsd_halving",
            "restarts",
            "schedule_free",
            "shuffled",
            "rising",
        ],
        steps: 300,
        batch: 64,
        peak: 0.01,
        tries: 4,
        optimizer: Optimizer::Adamw,
        seeds: 5,
    },
    Field {
        id: "long",
        words: "1,200 steps",
        task: Learned::Glyphs,
        ids: &["constant", "step", "linear", "cosine", "wsd_sqrt", "schedule_free"],
        steps: 1200,
        batch: 64,
        peak: 0.01,
        tries: 4,
        optimizer: Optimizer::Adamw,
        seeds: 3,
    },
    Field {
        id: "momentum",
        words: "SGD with momentum, 300 steps",
        task: Learned::Glyphs,
        ids: &["constant", "step", "linear", "cosine", "wsd_sqrt", "one_cycle", "one_cycle_momentum"],
        steps: 300,
        batch: 64,
        peak: 0.01,
        tries: 4,
        optimizer: Optimizer::Momentum,
        seeds: 3,
    },
    Field {
        id: "tokens",
        words: "the next token, 150 steps",
        task: Learned::Tokens,
        ids: &["constant", "linear", "cosine_floor", "wsd_sqrt", "schedule_free"],
        steps: 150,
        batch: 128,
        peak: 0.02,
        tries: 4,
        optimizer: Optimizer::Adamw,
        seeds: 3,
    },
];

/// More tries for all where a best one lies at the edge.
const EXTRA: usize = 1;

/// Tries of all schedules: losses of the weights and of their running average.
pub(super) struct Tune {
    ids: &'static [&'static str],
    tries: Vec<[Vec<Try>; 2]>,
    middle: f64,
}

impl Tune {
    fn best(&self, at: usize, which: usize) -> f64 {
        let tries = &self.tries[at][which];
        tuning::best(tries).map_or(self.middle, |(best, _)| tries[best].0)
    }

    /// The best peak of a schedule.
    pub(super) fn peak(&self, id: &str) -> f64 {
        self.ids.iter().position(|one| *one == id).map_or(self.middle, |at| self.best(at, 0))
    }
}

impl Field {
    pub(super) fn params(&self) -> Params {
        Params {
            task: self.task,
            steps: self.steps,
            batch: self.batch,
            peak: self.peak,
            optimizer: self.optimizer,
            ..Params::default()
        }
    }

    fn arms(&self) -> Vec<Arm> {
        let params = self.params();
        self.ids.iter().filter_map(|id| arms::arm(id, &params)).collect()
    }

    fn plan(&self, arm: &Arm, peak: f64, seed: u64) -> (Plan, usize) {
        let (params, steps) = (self.params(), self.steps as usize);
        (arm.plan(&params, (steps, params.warmup(steps)), peak, seed), steps)
    }

    /// Tries of all schedules.
    pub(super) fn tune(&self, task: &Task) -> Result<Tune, LabError> {
        let (arms, params) = (self.arms(), self.params());
        let mut tries: Vec<[Vec<Try>; 2]> = vec![Default::default(); arms.len()];
        for round in 0..=EXTRA {
            let edge = |tries: &[Vec<Try>; 2]| tuning::best(&tries[0]).is_some_and(|best| best.1);
            let peaks: Vec<(usize, f64)> = if round == 0 {
                let of = |(i, arm): (usize, &Arm)| {
                    tuning::grid(params.middle(arm.free), RATIO, self.tries).into_iter().map(move |peak| (i, peak))
                };
                arms.iter().enumerate().flat_map(of).collect()
            } else if tries.iter().any(edge) {
                tries.iter().enumerate().filter_map(|(i, tries)| Some((i, tuning::next(&tries[0], RATIO)?))).collect()
            } else {
                break;
            };
            let plans: Vec<_> = peaks.iter().map(|(i, peak)| self.plan(&arms[*i], *peak, TUNING)).collect();
            for ((i, peak), done) in peaks.into_iter().zip(run_all(&plans, task)?) {
                for (tries, chosen) in tries[i].iter_mut().zip(done.chosen) {
                    tries.push((peak, chosen));
                }
            }
        }
        Ok(Tune { ids: self.ids, tries, middle: params.middle(false) })
    }

    /// All schedules at their best peaks, over seeds; and the running averages at theirs.
    pub(super) fn race(&self, report: &mut Report, task: &Task, tune: &Tune, cx: &Context) -> Result<(), LabError> {
        let (arms, seeds, chance) = (self.arms(), self.seeds as usize, task.chance());
        let mut plans = Vec::new();
        for (i, arm) in arms.iter().enumerate() {
            plans.extend((0..self.seeds).map(|seed| self.plan(arm, tune.best(i, 0), seed)));
        }
        // The average of a constant rate has a best peak of its own; the others are judged where their weights are best.
        let constant = self.ids.iter().position(|id| *id == "constant").unwrap_or(0);
        plans.extend((0..self.seeds).map(|seed| self.plan(&arms[constant], tune.best(constant, 1), seed)));
        let done = run_all(&plans, task)?;
        let groups: Vec<&[Done]> = done.chunks_exact(seeds).collect();
        let linear = self.ids.iter().position(|id| *id == "linear").unwrap_or(0);
        let [unit, apart] = if self.task == Learned::Glyphs { ["%", "points"] } else { ["nats/100", "nats/100"] };
        let (mut rows, mut curves) = (Vec::new(), Vec::new());
        let mut pairs = Vec::new();
        for (i, arm) in arms.iter().enumerate() {
            let (group, averaged) = (groups[i], groups[if i == constant { arms.len() } else { i }]);
            let id = |what: &str| format!("{}_{what}_{}", self.id, arm.id);
            let label = |what: &str| format!("{}, {}: {what}", self.words, arm.name);
            let of = |group: &[Done], of: &dyn Fn(&Done) -> f64| group.iter().map(of).collect::<Vec<f64>>();
            let behind = |group: &[Done], which: usize| -> Vec<f64> {
                groups[linear].iter().zip(group).map(|(line, one)| line.right(0) - one.right(which)).collect()
            };
            let right = of(group, &|done| done.right(0));
            let of_average = of(averaged, &|done| done.right(1));
            let loss = of(group, &|done| done.loss(0, chance));
            let taught = of(group, &|done| if done.taught.is_finite() { done.taught } else { chance });
            let peak = tune.best(i, 0);
            let mut add = |what: &str, words: &str, unit: &str, values: &[f64]| {
                report.metrics.push(over_seeds(Family::Quality, &id(what), &label(words), unit, values, cx));
            };
            add("right", "right on unseen fonts", unit, &right);
            add("loss", "loss on what nothing has seen", "nats", &loss);
            add("taught", "loss on what it was trained on", "nats", &taught);
            add("averaged", "right, with averaged weights", unit, &of_average);
            add("averaged_loss", "loss, with averaged weights", "nats", &of(averaged, &|done| done.loss(1, chance)));
            add("averaged_behind", "averaged weights behind linear", apart, &behind(averaged, 1));
            if i != linear {
                add("behind", "behind linear", apart, &behind(group, 0));
            }
            report.metrics.push(trained(Family::Scale, &id("peak"), &label("best peak"), peak, ""));
            let mut row = vec![Cell::from(arm.name), figures::rate(peak).into()];
            row.extend([median(&taught), median(&loss), median(&right), median(&of_average)].map(Cell::from));
            rows.push(row);
            pairs.push([median(&taught), median(&loss)]);
            if let Some(first) = group.first().filter(|_| SHOWN.contains(&arm.id)) {
                curves.push(line(arm.name, first.curve.clone()));
            }
        }
        let columns = [
            "Schedule",
            "Best peak",
            "Taught (nats)",
            "Unseen (nats)",
            &format!("Right on unseen ({unit})"),
            &format!("Of the averaged weights ({unit})"),
        ];
        let title = format!("Every schedule at its best peak, {}: medians over seeds", self.words);
        report.tables.push(table(&format!("{}_tuned", self.id), &title, &columns, rows));
        let shown = arms.iter().enumerate().filter(|(_, arm)| SHOWN.contains(&arm.id));
        let lines = shown
            .map(|(i, arm)| (arm.name, tune.tries[i][0].iter().map(|(peak, loss)| [*peak, *loss]).collect::<Vec<_>>()));
        let mut peaks = figures::peaks(lines.collect(), chance);
        peaks.id = format!("{}_peaks", self.id);
        peaks.title = format!("{} ({})", peaks.title, self.words);
        report.charts.push(peaks);
        report.charts.push(chart(
            &format!("{}_curves", self.id),
            [
                &format!("Who is ahead on the way? ({})", self.words),
                "Training loss, each schedule at its best peak, one seed.",
            ],
            (Axis::linear("Steps"), Axis::linear("Training loss (nats)")),
            curves,
        ));
        if self.id == "short" {
            let fit = correlation(&pairs);
            report.metrics.push(
                trained(
                    Family::Quality,
                    "taught_unseen",
                    "Correlation of taught and unseen loss over schedules",
                    fit,
                    "",
                )
                .higher(),
            );
            let mut cloud = chart(
                "taught_unseen",
                [
                    "Does who learns more also generalize better?",
                    "One point for each schedule, at its best peak: medians over five seeds.",
                ],
                (Axis::linear("Loss on what was taught (nats)"), Axis::linear("Loss on unseen (nats)")),
                Vec::new(),
            );
            cloud.body = ChartBody::Scatter { series: vec![line("schedules", pairs)] };
            report.charts.push(cloud);
        }
        Ok(())
    }
}

/// Schedules that are drawn: a chart tells six lines apart.
const SHOWN: [&str; 6] = ["constant", "linear", "cosine", "step", "wsd_sqrt", "schedule_free"];

/// Pearson's.
fn correlation(pairs: &[[f64; 2]]) -> f64 {
    let n = pairs.len().max(1) as f64;
    let mean = [0, 1].map(|k| pairs.iter().map(|pair| pair[k]).sum::<f64>() / n);
    let sum = |a: usize, b: usize| pairs.iter().map(|pair| (pair[a] - mean[a]) * (pair[b] - mean[b])).sum::<f64>();
    sum(0, 1) / (sum(0, 0) * sum(1, 1)).sqrt().max(1e-30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_correlates_fully() {
        assert!((correlation(&[[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[[0.0, 1.0], [1.0, -3.0], [2.0, -7.0]]) + 1.0).abs() < 1e-12);
    }
}
