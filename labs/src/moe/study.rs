//! Every layer at its own best of three rates, over three seeds: on facts whose names have much in common or nothing, after three times
//! the steps, on text; then number of experts, weights of balancing, capacity, and time.

use lab_api::{Axis, Cell, ChartBody, Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    experts::{Gate, capacity, dropped_when_even, expert_choice, experts_read, softmax, token_choice},
    report::{MetricExt, metric},
    stats::{median, median_interval},
    testing::ready,
    two_cores::jobs_on_two_cores,
};
use rand::Rng;

use super::{
    Balance, Learned, Params, Routing, Times,
    arms::Arm,
    figures::{chart, line, measure, table},
    summary,
    task::Task,
    timing::{self, NAMES, PADDED, SMALL, SORTED, WIDE},
    training::{Trained, train},
};

/// Rates that every layer tries on a seed of its own, in short trainings and in long ones.
const RATES: [f64; 3] = [0.02, 0.04, 0.08];
const LONG_RATES: [f64; 3] = [0.01, 0.02, 0.04];
const TUNING: u64 = 100;
const SEEDS: u64 = 3;
/// Layers on facts, on long trainings and on text; the first is what others are compared with.
const FACTS: [&str; 15] = [
    "small", "wide", "none", "aux", "straight", "bias", "random", "hash", "fine", "shared", "two", "half", "choice",
    "noisy", "zloss",
];
const EVEN: [&str; 11] =
    ["small", "wide", "none", "aux", "straight", "bias", "random", "hash", "fine", "half", "choice"];
const LONG: [&str; 5] = ["small", "wide", "none", "aux", "hash"];
const TEXT: [&str; 7] = ["small", "wide", "none", "aux", "bias", "hash", "fine"];
const WIDE_MOST: u32 = 16;

fn base() -> Params {
    Params::default()
}

/// A layer by id.
fn arm(id: &'static str, p: &Params) -> Arm {
    let learned = |balance, gate| Params { balance, gate, ..p.clone() };
    let aux = |change: &dyn Fn(&mut Params)| {
        let mut params = learned(Balance::Auxiliary, p.gate);
        change(&mut params);
        params
    };
    match id {
        "small" => Arm::dense(p, false),
        "wide" => Arm::dense(p, true),
        "none" => Arm::new(id, "Learned, no balancing", learned(Balance::None, p.gate)),
        "straight" => Arm::new(id, "Learned, auxiliary loss, gate 1", learned(Balance::Auxiliary, Times::Straight)),
        "bias" => Arm::new(id, "Learned, sigmoid, bias", learned(Balance::Bias, Times::Sigmoid)),
        "random" => Arm::new(id, "Random matrix", aux(&|p| p.router = Routing::Random)),
        "hash" => Arm::new(id, "Hash", aux(&|p| p.router = Routing::Hash)),
        "fine" => Arm::new(id, "Learned, fine-grained by 4", aux(&|p| (p.grain, p.gate) = (4, Times::Renormalized))),
        "shared" => Arm::new(id, "Learned, half always on", aux(&|p| (p.grain, p.shared) = (2, 1))),
        "two" => {
            Arm::new(id, "Learned, two of twice as many halves", aux(&|p| (p.grain, p.gate) = (2, Times::Renormalized)))
        }
        "half" => Arm::new(
            id,
            "Learned, two experts, half the weights",
            aux(&|p| (p.k, p.hidden, p.gate) = (2, p.hidden / 2, Times::Renormalized)),
        ),
        "choice" => Arm::new(id, "Experts choose", aux(&|p| p.router = Routing::Experts)),
        "noisy" => Arm::new(id, "Learned, auxiliary loss, noise", aux(&|p| p.noise = 1.0)),
        "zloss" => Arm::new(id, "Learned, auxiliary loss, z-loss", aux(&|p| p.z_weight = 0.001)),
        _ => Arm::new("aux", "Learned, auxiliary loss", aux(&|_| ())),
    }
}

/// All trainings, two at a time: each takes one core. Facts are drawn by the seed; `text` is for the others.
fn run_all(jobs: &[(Arm, u64)], text: Option<&Task>) -> Result<Vec<Trained>, LabError> {
    jobs_on_two_cores(jobs.len(), |i| {
        let (arm, seed) = &jobs[i];
        let drawn;
        let task = match text {
            Some(task) => task,
            None => {
                drawn = Task::facts(&arm.params, *seed);
                &drawn
            }
        };
        ready(train(arm, task, *seed, || 0.0, async || Ok(())))
    })
}

/// A number that every seed has: its median, with an interval.
fn over_seeds(family: Family, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    exact(&mut report, cx);
    let text = Params { task: Learned::Text, steps: 160, hidden: 32, ..base() };
    let fields = [
        ("common", "facts, names with much in common", base(), &FACTS[..]),
        ("even", "facts, names with nothing in common", Params { common: 0.0, ..base() }, &EVEN[..]),
        ("long", "facts, names with much in common, 900 steps", Params { steps: 900, ..base() }, &LONG[..]),
        ("text", "text", text, &TEXT[..]),
    ];
    for (done, (id, words, params, ids)) in fields.into_iter().enumerate() {
        cx.progress(words, 0.02 + 0.17 * done as f64);
        let task = if params.task == Learned::Text { Some(Task::load(&params, cx).await?) } else { None };
        field(&mut report, (id, words), &params, ids, task.as_ref(), cx)?;
    }
    cx.progress("Numbers of experts", 0.7);
    experts(&mut report, cx)?;
    cx.progress("Balancing", 0.8);
    balancing(&mut report, cx)?;
    cx.progress("Time", 0.92);
    times(&mut report, cx).await?;
    Ok(report)
}

/// One set of layers: tuned, then over seeds.
fn field(
    report: &mut Report,
    (id, words): (&str, &str),
    params: &Params,
    ids: &[&'static str],
    text: Option<&Task>,
    cx: &Context,
) -> Result<(), LabError> {
    let arms: Vec<Arm> = ids.iter().map(|id| arm(id, params)).collect();
    let rates = if params.steps > base().steps { LONG_RATES } else { RATES };
    let at = |arm: &Arm, rate: f64| Arm { params: Params { rate, ..arm.params.clone() }, ..arm.clone() };
    let tries: Vec<(Arm, u64)> = arms.iter().flat_map(|arm| rates.map(|rate| (at(arm, rate), TUNING))).collect();
    let tried = run_all(&tries, text)?;
    let late = |one: &Trained| one.late(|s| s.loss);
    let best: Vec<f64> = tried
        .chunks_exact(rates.len())
        .map(|tries| {
            let best = (0..rates.len()).min_by(|a, b| late(&tries[*a]).total_cmp(&late(&tries[*b])));
            rates[best.unwrap_or(0)]
        })
        .collect();
    let jobs: Vec<(Arm, u64)> =
        arms.iter().zip(&best).flat_map(|(arm, rate)| (0..SEEDS).map(|seed| (at(arm, *rate), seed))).collect();
    let done = run_all(&jobs, text)?;
    let groups: Vec<&[Trained]> = done.chunks_exact(SEEDS as usize).collect();
    let facts = Task::facts(params, 0);
    let judge = text.unwrap_or(&facts);
    let (mut rows, mut dots, mut loads) = (Vec::new(), Vec::new(), Vec::new());
    for ((arm, rate), group) in arms.iter().zip(&best).zip(&groups) {
        let of = |what: &dyn Fn(&Trained) -> f64| group.iter().map(what).collect::<Vec<f64>>();
        let (quality, busiest) = (of(&|one| judge.quality(one.loss)), of(&|one| one.late(|s| s.busiest)));
        let mut add = |what: &str, label: &str, unit: &str, values: &[f64], higher: bool| {
            let one = over_seeds(
                Family::Quality,
                &format!("{id}_{what}_{}", arm.id),
                &format!("{words}, {}: {label}", arm.name),
                unit,
                values,
                cx,
            );
            report.metrics.push(if higher { one.higher() } else { one.lower() });
        };
        if judge.stores() {
            add("stored", "stored", "bits", &quality, true);
            let times: Vec<f64> = group
                .iter()
                .zip(groups[0])
                .map(|(a, b)| judge.quality(a.loss) / judge.quality(b.loss).max(1.0))
                .collect();
            add("times", "stored, of the small dense layer", "×", &times, true);
            add("each", "stored in a weight", "bits", &of(&|one| judge.quality(one.loss) / one.weights as f64), true);
        } else {
            add("loss", "loss", "nats", &quality, false);
            let below: Vec<f64> = group.iter().zip(groups[0]).map(|(a, b)| b.loss - a.loss).collect();
            add("below", "loss below the small dense layer's", "nats", &below, true);
        }
        if arm.routes() {
            add("busiest", "busiest expert", "mean loads", &busiest, false);
            add("follows", "tokens that go where most of their kind go", "%", &of(&|one| one.follows), true);
            loads.push(line(&arm.name, group[0].stretches.iter().map(|s| [s.until as f64, s.busiest]).collect()));
        }
        let one = &group[0];
        let rate_id = format!("{id}_rate_{}", arm.id);
        let rate_metric = metric(Family::Scale, &rate_id, &format!("{words}, {}: best rate", arm.name), *rate, "");
        report.metrics.push(Metric { kind: Kind::Trained, ..rate_metric });
        let cells = [
            *rate,
            one.products as f64,
            one.weights as f64,
            median(&quality),
            median(&of(&|one| one.right)),
            median(&busiest),
        ];
        rows.push([Cell::from(arm.name.as_str())].into_iter().chain(cells.map(Cell::from)).collect());
        dots.push(line(&arm.name, vec![[one.products as f64, median(&quality)]]));
    }
    let columns = [
        "Layer",
        "Best rate",
        "Multiplications for a token",
        "Weights",
        measure(judge),
        "Right (%)",
        "Busiest (mean loads)",
    ];
    report.tables.push(table(
        &format!("{id}_layers"),
        &format!("All layers, {words}: medians of three seeds"),
        &columns,
        rows,
    ));
    dots.truncate(10);
    report.charts.push(chart(
        &format!("{id}_quality"),
        &format!("What does arithmetic buy? ({words})"),
        "Medians of three seeds, each layer at its own best rate. Compare heights at the left, then with the wide dense layer at the right.",
        (Axis::log("Multiplications of the layer for a token"), Axis::linear(measure(judge))),
        ChartBody::Scatter { series: dots },
    ));
    loads.truncate(6);
    report.charts.push(chart(
        &format!("{id}_load"),
        &format!("Do loads collapse? ({words})"),
        "Busiest expert over training, one seed. 1 is even, 8 is one expert for all.",
        (Axis::linear("Steps"), Axis { min: Some(0.0), ..Axis::linear("Busiest expert (mean loads)") }),
        ChartBody::Line { series: loads },
    ));
    Ok(())
}

/// Medians over seeds of what variants store, and of their busiest expert and dropped share.
fn variants(
    report: &mut Report,
    what: &str,
    all: &[(String, String, Arm)],
    cx: &Context,
) -> Result<Vec<[f64; 4]>, LabError> {
    let jobs: Vec<(Arm, u64)> = all.iter().flat_map(|(_, _, arm)| (0..SEEDS).map(|seed| (arm.clone(), seed))).collect();
    let done = run_all(&jobs, None)?;
    let mut found = Vec::new();
    for ((id, label, arm), group) in all.iter().zip(done.chunks_exact(SEEDS as usize)) {
        let facts = Task::facts(&arm.params, 0);
        let of = |what: &dyn Fn(&Trained) -> f64| group.iter().map(what).collect::<Vec<f64>>();
        let (stored, busiest, dropped) = (
            of(&|one| facts.quality(one.loss)),
            of(&|one| one.late(|s| s.busiest)),
            of(&|one| 100.0 * one.late(|s| s.dropped)),
        );
        let mut add = |part: &str, words: &str, unit: &str, values: &[f64]| {
            let id = format!("{what}_{part}_{id}");
            report.metrics.push(over_seeds(Family::Quality, &id, &format!("{label}: {words}"), unit, values, cx));
        };
        add("stored", "stored", "bits", &stored);
        if arm.routes() {
            add("busiest", "busiest expert", "mean loads", &busiest);
        }
        if arm.params.capacity > 0.0 {
            add("dropped", "dropped", "%", &dropped);
        }
        found.push([median(&stored), median(&busiest), median(&dropped), group[0].weights as f64]);
    }
    Ok(found)
}

/// What is stored by the number of experts, at the same arithmetic.
fn experts(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    const COUNTS: [u32; 6] = [1, 2, 4, 8, 16, 32];
    let mut all = Vec::new();
    for id in ["aux", "hash", "wide"] {
        for experts in COUNTS.into_iter().filter(|e| id != "wide" || *e <= WIDE_MOST) {
            let one = arm(id, &Params { experts, ..base() });
            let label = format!("{}, {experts} experts' weights", one.name);
            all.push((format!("{id}_{experts}"), label, one));
        }
    }
    let found = variants(report, "scale", &all, cx)?;
    let of = |id: &str, name: &str| {
        let points = all.iter().zip(&found).filter(|(one, _)| one.2.id == id).map(|(_, f)| [f[3], f[0]]);
        line(name, points.collect())
    };
    report.charts.push(chart(
        "scale",
        "Does the storage grow with the experts?",
        "Bits stored over the weights of the layer, at a rate of 0.02. Along the lines of experts the arithmetic of a token stays what it is at the left; along the dense one it grows with the weights.",
        (Axis::log("Weights of the layer"), Axis::linear("Bits stored")),
        ChartBody::Line { series: vec![of("wide", "Dense"), of("aux", "Learned, auxiliary loss"), of("hash", "Hash")] },
    ));
    Ok(())
}

/// Weights of the auxiliary loss, rates of the bias, capacities, and what names have in common.
fn balancing(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let mut rows = Vec::new();
    let mut sweep = |what: &str, words: &str, all: Vec<(String, String, Arm)>, report: &mut Report| {
        let found = variants(report, what, &all, cx)?;
        for ((_, label, _), f) in all.iter().zip(&found) {
            rows.push(vec![Cell::from(words), label.as_str().into(), f[0].into(), f[1].into(), f[2].into()]);
        }
        Ok::<Vec<[f64; 4]>, LabError>(found)
    };
    let thousandths = |x: f64| format!("{:.0}", 1000.0 * x);
    let aux = [0.0, 0.001, 0.01, 0.1, 1.0].map(|aux_weight| {
        (
            thousandths(aux_weight),
            format!("Auxiliary loss times {aux_weight}"),
            arm("aux", &Params { aux_weight, ..base() }),
        )
    });
    sweep("auxiliary", "Weight", aux.to_vec(), report)?;
    let bias = [0.001, 0.003, 0.01, 0.03].map(|bias_rate| {
        (thousandths(bias_rate), format!("Bias at a rate of {bias_rate}"), arm("bias", &Params { bias_rate, ..base() }))
    });
    sweep("bias", "Rate", bias.to_vec(), report)?;
    let places = [1.0, 1.25, 1.5, 2.0].map(|capacity| {
        (format!("{:.0}", 100.0 * capacity), format!("Capacity {capacity}"), arm("aux", &Params { capacity, ..base() }))
    });
    sweep("capacity", "Capacity", places.to_vec(), report)?;
    const COMMON: [f64; 4] = [0.0, 0.5, 1.0, 2.0];
    let mut series = Vec::new();
    for (id, name) in [("none", "No balancing"), ("aux", "Auxiliary loss")] {
        let all = COMMON.map(|common| {
            (
                format!("{id}_{:.0}", 10.0 * common),
                format!("{name}, {common} in common"),
                arm(id, &Params { common, ..base() }),
            )
        });
        let found = sweep("shift", "In common", all.to_vec(), report)?;
        series.push(line(name, COMMON.iter().zip(&found).map(|(x, f)| [*x, f[1]]).collect()));
    }
    let columns = ["What varies", "Setting", "Bits stored", "Busiest (mean loads)", "Dropped (%)"];
    report.tables.push(table(
        "balancing",
        "Ways to keep loads even: medians of three seeds at a rate of 0.02",
        &columns,
        rows,
    ));
    report.charts.push(chart(
        "shift",
        "What makes a router collapse?",
        "Busiest expert at the end of training, over what all names have in common. Where inputs point the same way, all logits rise and fall together.",
        (Axis::linear("Added to all numbers, in deviations"), Axis { min: Some(0.0), ..Axis::linear("Busiest expert (mean loads)") }),
        ChartBody::Line { series },
    ));
    Ok(())
}

/// What no training is needed for.
fn exact(report: &mut Report, cx: &Context) {
    let factors = [1.0, 1.25, 1.5, 2.0];
    let mut rows = Vec::new();
    for (tokens, experts) in [(128, 8), (1024, 8), (128, 32), (1024, 64)] {
        let shares =
            factors.map(|factor| 100.0 * dropped_when_even(tokens, experts, capacity(tokens, experts, factor)));
        for (factor, share) in factors.iter().zip(shares) {
            let id = format!("even_dropped_{tokens}_{experts}_{:.0}", 100.0 * factor);
            let label = format!("Dropped of {tokens} tokens, {experts} experts, capacity {factor}");
            report.metrics.push(metric(Family::Quality, &id, &label, share, "%").lower().exact(1e-6, "a closed form"));
        }
        rows.push(
            [Cell::from(tokens as f64), (experts as f64).into()].into_iter().chain(shares.map(Cell::from)).collect(),
        );
    }
    let columns = ["Tokens", "Experts", "Capacity 1 (%)", "1.25 (%)", "1.5 (%)", "2 (%)"];
    report.tables.push(table("even_dropped", "Dropped although routing is even", &columns, rows));
    let mut series = Vec::new();
    for (experts, k) in [(8, 2), (64, 8), (256, 8)] {
        let points = (0..9).map(|i| 1_usize << i).map(|n| {
            let share = 100.0 * experts_read(n, experts, k) / experts as f64;
            let id = format!("read_{experts}_{k}_{n}");
            let label = format!("Weights read by {n} tokens, {k} of {experts}");
            report.metrics.push(metric(Family::Memory, &id, &label, share, "%").lower().exact(1e-6, "a closed form"));
            [n as f64, share]
        });
        series.push(line(&format!("{k} of {experts}"), points.collect()));
    }
    report.charts.push(chart(
        "read",
        "How much is read for a batch?",
        "Share of the experts' weights that a step reads, where tokens choose evenly and independently. The saving in bytes belongs to small batches.",
        (Axis::log("Tokens at once"), Axis::linear("Weights read (%)")),
        ChartBody::Line { series },
    ));
    // How many tokens of the first half go elsewhere when only the second half changes.
    let (n, e) = (128, 8);
    let mut rng = cx.rng("leak");
    let logits: Vec<f32> = (0..n * e).map(|_| rng.random_range(-2.0..2.0)).collect();
    let mut other = logits.clone();
    other[n / 2 * e..].fill_with(|| rng.random_range(-2.0..2.0));
    let [a, b] = [&logits, &other].map(|z| softmax(z, e));
    let changed = |of: &dyn Fn(&[f32]) -> Vec<Vec<u32>>| {
        let (a, b) = (of(&a), of(&b));
        (0..n / 2).filter(|token| a[*token] != b[*token]).count() as f64
    };
    let by_token = |all: &lab_kit::experts::Assignments| {
        let mut sets = vec![Vec::new(); n];
        all.token.iter().zip(&all.expert).for_each(|(t, x)| sets[*t as usize].push(*x));
        sets
    };
    for (id, label, count) in [
        (
            "leak_choice",
            "Experts choose: of 64 tokens, moved by 64 others that come later",
            changed(&|p| by_token(&expert_choice(p, e, n / e))),
        ),
        (
            "leak_tokens",
            "Tokens choose: of 64 tokens, moved by 64 others that come later",
            changed(&|p| by_token(&token_choice(p, e, 1, &[], Gate::Probability))),
        ),
    ] {
        report
            .metrics
            .push(metric(Family::Quality, id, label, count, "tokens").lower().exact(4.0, "ties in the last bit"));
    }
}

/// Times of a layer by tokens, for two numbers of experts.
async fn times(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    const BATCHES: [usize; 5] = [1, 4, 16, 64, 256];
    for experts in [8, 32] {
        let found = timing::measure(&Params { experts, ..base() }, &BATCHES, 7, cx).await?;
        for n in BATCHES {
            for (id, label, slow, fast) in [
                ("saves", "Dense of as many weights takes, of sorted experts", WIDE, SORTED),
                ("dispatch", "Sorted experts take, of dense of as much arithmetic", SORTED, SMALL),
                ("padding", "Fixed buffers take, of sorted experts", PADDED, SORTED),
                ("mask", "Masked experts take, of sorted ones", timing::MASKED, SORTED),
            ] {
                let label = format!("{label}, {experts} experts, {n} tokens");
                report.metrics.push(summary::ratio(
                    &format!("{id}_{experts}_{n}"),
                    &label,
                    found.ratios(slow, fast, n),
                    cx,
                ));
            }
            for (way, name) in [(SMALL, "small"), (SORTED, "sorted"), (WIDE, "wide")] {
                let values = found.of(way, n).to_vec();
                let id = format!("time_{name}_{experts}_{n}");
                report.metrics.push(
                    metric(
                        Family::Time,
                        &id,
                        &format!("{}, {experts} experts, {n} tokens", NAMES[way]),
                        median(&values),
                        "ms",
                    )
                    .lower()
                    .interval(median_interval(&values, 0.95, &mut cx.rng(&id)))
                    .measured(values),
                );
            }
        }
        let mut picture = super::figures::times(&found);
        picture.id = format!("times_{experts}");
        picture.title = format!("What does a dispatched layer take? ({experts} experts, one chosen)");
        report.charts.push(picture);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_of_the_study_has_its_own_name_and_the_promised_sizes() {
        let all: Vec<Arm> = FACTS.iter().map(|id| arm(id, &base())).collect();
        for (one, id) in all.iter().zip(FACTS) {
            assert_eq!((one.id, one.params.check().is_ok()), (id, true), "{id}");
        }
        let of = |id: &str| all.iter().find(|one| one.id == id).expect("a layer").sizes();
        assert_eq!(of("small"), [1024, 1024]);
        assert_eq!(of("wide"), [8192, 8192]);
        assert_eq!(of("hash"), [8192, 1024]);
        assert_eq!(of("aux"), [8192 + 256, 1024 + 256]);
        assert_eq!(of("fine"), [8192 + 1024, 1024 + 1024]);
        assert_eq!(of("shared"), [8192 + 480, 1024 + 480]);
        assert_eq!(of("half"), [4096 + 256, 1024 + 256]);
    }
}
