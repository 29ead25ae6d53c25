//! Every way to keep weights at three learning rates, formats and loss scales, over ten seeds: a seed draws the first weights and
//! the order of the images, and says which fifth of the digits judges. All arms of a seed see the same images in the same order.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    formats::{Format, Keep, Lost, Policy, Scaler, Scaling},
    report::{MetricExt, metric},
    stats::{median, median_interval},
    subject::Subject,
};

use super::{
    Clipping, Keeping, Numbers, Params,
    arms::{Judged, Race},
    language,
};

const SEEDS: u64 = 10;
/// Of the language model, whose steps take long.
const FEW: u64 = 2;
/// Of formats and loss scales, whose gaps are wide.
const FORMED: u64 = 5;
/// As in the default run.
const STEPS: usize = 400;
const RATES: [(f64, &str); 3] = [(0.05, "high"), (0.005, "mid"), (0.0005, "low")];
const LEVEL: f64 = 0.95;

/// A policy with all its tensors in a format.
fn all_in(format: Numbers, weights: Keeping, scale: f32) -> Policy {
    Policy { scaling: Scaling::Fixed(scale), ..Params { format, weights, ..Params::default() }.policy() }
}

/// Ways to keep weights: id, words, policy.
fn ways() -> Vec<(&'static str, &'static str, Policy)> {
    let bf16 = |weights| all_in(Numbers::Bf16, weights, 1.0);
    vec![
        ("fp32", "FP32", Policy::FP32),
        ("master", "BF16, master copy", bf16(Keeping::Master)),
        ("rounded", "BF16, rounded", bf16(Keeping::Rounded)),
        ("random", "BF16, rounded at random", bf16(Keeping::Stochastic)),
        ("kahan", "BF16, Kahan", bf16(Keeping::Kahan)),
        ("half", "FP16, rounded, scale 2^10", all_in(Numbers::Fp16, Keeping::Rounded, 1024.0)),
    ]
}

/// Formats and loss scales, all with a master copy and at the highest rate.
fn formats() -> Vec<(&'static str, &'static str, Policy)> {
    let kept = |format, power: i32| all_in(format, Keeping::Master, (power as f32).exp2());
    let scaler = Scaling::Dynamic(Scaler::new(2_f32.powi(24), 50));
    let clip = |clip| Policy { clip: Params { clip, ..Params::default() }.policy().clip, ..kept(Numbers::Fp16, 16) };
    let only = |policy: Policy| Policy { weights: Format::Fp32, keep: Keep::Rounded, ..policy };
    vec![
        ("single", "FP32", Policy::FP32),
        ("fp16", "FP16, no scale", kept(Numbers::Fp16, 0)),
        ("fp16_down", "FP16, scale 2^-12", kept(Numbers::Fp16, -12)),
        ("fp16_up", "FP16, scale 2^20", kept(Numbers::Fp16, 20)),
        ("fp16_dynamic", "FP16, dynamic from 2^24", Policy { scaling: scaler, ..kept(Numbers::Fp16, 0) }),
        ("clip_after", "FP16, scale 2^16, clipped after", clip(Clipping::After)),
        ("clip_before", "FP16, scale 2^16, clipped before", clip(Clipping::Before)),
        ("bf16", "BF16", kept(Numbers::Bf16, 0)),
        ("hybrid", "FP8 hybrid, no scale", kept(Numbers::Hybrid, 0)),
        ("hybrid_scaled", "FP8 hybrid, scale 2^10", kept(Numbers::Hybrid, 10)),
        ("e4m3", "E4M3, no scale", kept(Numbers::E4m3, 0)),
        ("e4m3_scaled", "E4M3, scale 2^12", kept(Numbers::E4m3, 12)),
        ("mxfp4", "MXFP4", kept(Numbers::Mxfp4, 0)),
        ("nvfp4", "NVFP4", kept(Numbers::Nvfp4, 0)),
        ("nvfp4_gradients", "NVFP4, weights in FP32", only(kept(Numbers::Nvfp4, 0))),
    ]
}

/// What an arm did in each seed.
#[derive(Debug, Clone, Default)]
struct Seeds {
    loss: Vec<f64>,
    test: Vec<f64>,
    accuracy: Vec<f64>,
    still: Vec<f64>,
    lost: Vec<f64>,
    skipped: Vec<f64>,
}

impl Seeds {
    fn add(&mut self, arm: &super::arms::Arm, judged: &Judged) {
        // A training that died is as bad as guessing.
        let kept = |x: f64| if x.is_finite() { x } else { 10_f64.ln() };
        self.loss.push(kept(arm.late(|step| step.loss)));
        self.test.push(kept(judged.loss));
        self.accuracy.push(judged.accuracy);
        self.still.push(100.0 * arm.late(|step| step.still));
        self.lost.push(100.0 * arm.late(|step| step.lost_logits));
        self.skipped.push(arm.skipped() as f64);
    }
}

fn over_seeds(family: Family, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let mut all = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec());
    all.kind = Kind::Trained;
    all
}

fn minus(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one - other).collect()
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let (ways, formats) = (ways(), formats());
    let mut kept = vec![vec![Seeds::default(); ways.len()]; RATES.len()];
    let mut formed = vec![Seeds::default(); formats.len()];
    let seed_before = cx.seed;
    for seed in 0..SEEDS {
        cx.seed = seed;
        let subject = Subject::load(cx).await?;
        let fold = (seed % 5) as usize;
        let mut plan: Vec<(String, Policy, f64)> = Vec::new();
        for (rate, _) in RATES {
            plan.extend(ways.iter().map(|(_, words, policy)| ((*words).to_owned(), *policy, rate)));
        }
        if seed < FORMED {
            plan.extend(formats.iter().map(|(_, words, policy)| ((*words).to_owned(), *policy, RATES[0].0)));
        }
        let mut race = Race::of(plan, &subject, fold, cx);
        for step in 0..STEPS {
            race.advance(cx);
            cx.checkpoint().await?;
            cx.progress(&format!("Seed {seed}"), 0.7 * (seed as f64 + step as f64 / STEPS as f64) / SEEDS as f64);
        }
        let judged = race.judge(cx).await?;
        let places = kept.iter_mut().flatten().chain(&mut formed);
        places.zip(race.arms.iter().zip(&judged)).for_each(|(seeds, (arm, judged))| seeds.add(arm, judged));
    }
    let mut report = Report::default();
    for ((_, rate), arms) in RATES.iter().zip(&kept) {
        for ((id, words, _), seeds) in ways.iter().zip(arms) {
            tell(&mut report, &format!("{id}_{rate}"), &format!("{words}, {rate} rate"), seeds, &arms[0], cx);
        }
    }
    for ((id, words, _), seeds) in formats.iter().zip(&formed) {
        tell(&mut report, id, words, seeds, &formed[0], cx);
    }
    report.tables.push(table("ways", "Ways to keep weights", &rows(&ways, &kept)));
    let of =
        formats.iter().zip(&formed).map(|((_, words, _), seeds)| row(words, RATES[0].0, seeds)).collect::<Vec<_>>();
    report.tables.push(table("formats", "Formats and loss scales", &of));
    report.charts.push(by_rate(&ways, &kept));
    gradients(&mut report, cx).await?;
    fine_tunings(&mut report, cx).await?;
    cx.seed = seed_before;
    Ok(report)
}

fn tell(report: &mut Report, id: &str, words: &str, seeds: &Seeds, full: &Seeds, cx: &Context) {
    let mut add = |what: &str, label: &str, unit: &str, values: &[f64], family| {
        let id = format!("{what}_{id}");
        report.metrics.push(over_seeds(family, &id, &format!("{label}: {words}"), unit, values, cx));
    };
    add("loss", "Training loss", "nats", &seeds.loss, Family::Quality);
    add("gap", "Training loss beyond FP32", "nats", &minus(&seeds.loss, &full.loss), Family::Quality);
    add("test_gap", "Loss on unseen images beyond FP32", "nats", &minus(&seeds.test, &full.test), Family::Quality);
    add("accuracy", "Right on unseen images", "%", &seeds.accuracy, Family::Quality);
    add("still", "Weights left unchanged", "%", &seeds.still, Family::Scale);
    add("lost", "Logit gradients lost", "%", &seeds.lost, Family::Scale);
    if seeds.skipped.iter().any(|skipped| *skipped > 0.0) {
        add("skipped", "Steps skipped", "steps", &seeds.skipped, Family::Scale);
    }
}

fn row(words: &str, rate: f64, seeds: &Seeds) -> Vec<Cell> {
    let middles =
        [&seeds.loss, &seeds.test, &seeds.accuracy, &seeds.still, &seeds.lost].map(|values| median(values).into());
    [vec![Cell::from(words), rate.into()], middles.to_vec()].concat()
}

fn rows(ways: &[(&str, &str, Policy)], kept: &[Vec<Seeds>]) -> Vec<Vec<Cell>> {
    let group = |((rate, _), arms): (&(f64, &str), &Vec<Seeds>)| {
        ways.iter().zip(arms).map(|((_, words, _), seeds)| row(words, *rate, seeds)).collect::<Vec<_>>()
    };
    RATES.iter().zip(kept).flat_map(group).collect()
}

fn table(id: &str, title: &str, rows: &[Vec<Cell>]) -> Table {
    let columns = [
        "Arm",
        "Learning rate",
        "Training loss (nats)",
        "Unseen images (nats)",
        "Right (%)",
        "Weights left unchanged (%)",
        "Logit gradients lost (%)",
    ];
    Table { id: id.into(), title: title.into(), columns: columns.map(str::to_owned).to_vec(), rows: rows.to_vec() }
}

fn by_rate(ways: &[(&str, &str, Policy)], kept: &[Vec<Seeds>]) -> Chart {
    let series = |(i, (_, words, _)): (usize, &(&str, &str, Policy))| Series {
        name: (*words).into(),
        points: RATES.iter().zip(kept).map(|((rate, _), arms)| [*rate, median(&arms[i].loss)]).collect(),
        band: Vec::new(),
    };
    Chart {
        id: "by_rate".into(),
        title: "Who stops learning when steps are small?".into(),
        caption: "Training loss over the last third of 400 steps, medians over ten seeds.".into(),
        x: Axis::log("Learning rate"),
        y: Axis::linear("Training loss (nats)"),
        body: ChartBody::Line { series: ways.iter().enumerate().map(series).collect() },
    }
}

/// What FP16 loses of the language model's gradients, by the scale and by the tokens in the mean.
async fn gradients(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let mut rows = Vec::new();
    for windows in [1, 2, 4, 8] {
        let found = language::Found::of(windows, cx).await?;
        let (logits, output) = (&found.tensors[0].1, &found.tensors[1].1);
        let lost = |values: &[f32], power: i32| 100.0 * Lost::of(values, Format::Fp16, (power as f32).exp2()).count;
        let why = "sums in another order move a few numbers across the end of the format";
        let mut add = |id: String, label: String, value: f64| {
            report.metrics.push(metric(Family::Scale, &id, &label, value, "%").exact(0.5, why));
        };
        let tokens = found.tokens;
        add(format!("logits_{tokens}"), format!("Logit gradients lost, mean over {tokens} tokens"), lost(logits, 0));
        if windows == 4 {
            for power in [0, 4, 5, 6, 7, 8, 16] {
                add(format!("logits_at_{power}"), format!("Logit gradients lost at 2^{power}"), lost(logits, power));
                add(
                    format!("output_at_{power}"),
                    format!("Output matrix's gradients lost at 2^{power}"),
                    lost(output, power),
                );
            }
            let plain = Lost::of(logits, Format::Fp16, 1.0);
            add("logits_sum".into(), "Logit gradients lost, by sizes".into(), 100.0 * plain.sum);
            add("logits_squares".into(), "Logit gradients lost, by squares".into(), 100.0 * plain.squares);
            for (i, step) in language::STEPS.iter().enumerate() {
                for (which, name) in ["bf16", "fp16"].iter().enumerate() {
                    add(
                        format!("at_rest_{name}_{i}"),
                        format!("Weights that a step of {step} leaves at rest, {name}"),
                        100.0 * found.at_rest[which][i],
                    );
                }
            }
            rows = super::figures::tensors(&found).rows;
            report.charts.extend(super::figures::gradients(&found, &Params::default()));
            report.charts.push(super::figures::standing(&found));
        }
    }
    let columns = [
        "Gradients of",
        "Median, power of two",
        "Largest, power of two",
        "Exactly zero (%)",
        "Lost in FP16 (%)",
        "With fewer digits (%)",
        "Largest loss scale, power of two",
    ];
    report.tables.push(Table {
        id: "tensors".into(),
        title: "Gradients of a mean over 512 tokens".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    Ok(())
}

/// The language model, with its stored weights rounded.
async fn fine_tunings(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    for (rate, word) in [(1e-4, "1e4"), (3e-4, "3e4")] {
        let mut found = vec![(Vec::new(), Vec::new()); 3];
        for seed in 0..FEW {
            cx.seed = seed;
            let params = Params { learning_rate: rate, steps: 240, ..Params::default() };
            let progress =
                |done: f64| cx.progress(&format!("Language model, rate {rate}, seed {seed}"), 0.75 + 0.2 * done);
            let runs = language::fine_tune(&params, cx, progress).await?;
            for ((losses, still), run) in found.iter_mut().zip(&runs) {
                losses.push(run.last());
                still.push(100.0 * run.still);
            }
        }
        let full = found[0].0.clone();
        for ((id, words), (losses, still)) in
            [("fp32", "FP32"), ("rounded", "BF16, rounded"), ("random", "BF16, rounded at random")].iter().zip(&found)
        {
            let mut add = |what: &str, label: &str, unit: &str, values: &[f64], family| {
                let id = format!("language_{what}_{id}_{word}");
                report.metrics.push(over_seeds(
                    family,
                    &id,
                    &format!("{label}, language model, rate {rate}: {words}"),
                    unit,
                    values,
                    cx,
                ));
            };
            add("loss", "Loss of the last quarter", "nats", losses, Family::Quality);
            add("gap", "Loss beyond FP32", "nats", &minus(losses, &full), Family::Quality);
            add("still", "Weights left unchanged", "%", still, Family::Scale);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_named_once() {
        let mut ids: Vec<String> = formats().iter().map(|(id, ..)| (*id).to_owned()).collect();
        for (_, rate) in RATES {
            ids.extend(ways().iter().map(|(id, ..)| format!("{id}_{rate}")));
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert_eq!((ways()[0].2, formats()[0].2), (Policy::FP32, Policy::FP32));
    }
}
