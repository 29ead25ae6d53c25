//! Ten trainings of the exits on the frozen network, judged on all images of unseen families; rules, thresholds and cascades
//! from the same answers; exits that are trained together with a small network; the language model after each layer.

use lab_api::{Cell, Family, Kind, LabError, Metric, Report, Table};
use lab_kit::{
    Context,
    data::Images,
    exits::{ExitConfig, Joint, MultiExit, Policy, cost_in_batch, mean_cost},
    fit::fit,
    models::CnnConfig,
    report::{MetricExt, metric},
    stats::{median, median_interval},
    train::{Training, argmax},
};

use super::{
    First, Params, Rule, SetBy, Teacher, Translate,
    decide::{Judged, Outcome, decide},
    figures,
    language::{Left, Text, costs},
    material::{Material, logits, said, some},
    summary::errors,
};

const SEEDS: u64 = 10;
const LEVEL: f64 = 0.95;
/// Windows of the text that judge the language model.
const WINDOWS: usize = 48;
/// Images and epochs of the networks that are trained whole.
const SMALL_IMAGES: u32 = 4000;
const SMALL_EPOCHS: usize = 3;

/// A number over the seeds.
struct Line {
    id: String,
    words: String,
    unit: &'static str,
    values: Vec<f64>,
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, id: &str, words: &str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|line| line.id == id) {
            Some(line) => line.values.push(value),
            None => self.0.push(Line { id: id.into(), words: words.into(), unit, values: vec![value] }),
        }
    }

    fn metrics(&self, cx: &Context) -> Vec<Metric> {
        let one = |line: &Line| {
            let family = match line.unit {
                "points" | "nats" => Family::Quality,
                _ if line.id.contains("cost") => Family::Time,
                _ => Family::Quality,
            };
            let number = metric(family, &line.id, &line.words, median(&line.values), line.unit);
            if line.values.len() < 2 {
                return number.exact(1.0, "sums in another order");
            }
            Metric { kind: Kind::Trained, ..number }.interval(median_interval(
                &line.values,
                LEVEL,
                &mut cx.rng(&line.id),
            ))
        };
        self.0.iter().map(one).collect()
    }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let before = cx.seed;
    let mut lines = Lines::default();
    let mut table = Vec::new();
    frozen(&mut lines, &mut table, cx).await?;
    cx.seed = before;
    together(&mut lines, cx).await?;
    cx.seed = before;
    language(&mut lines, cx).await?;
    let columns = ["Exits", "Threshold", "Leave at 1 (%)", "Leave at 2 (%)", "Multiplications (%)", "Accuracy (%)"];
    let tables = vec![Table {
        id: "thresholds".into(),
        title: "One threshold for both exits, first seed".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: table,
    }];
    Ok(Report { metrics: lines.metrics(cx), tables, ..Report::default() })
}

fn accuracy(material: &Material, answers: &[u8]) -> f64 {
    100.0 * material.subject.right(answers) as f64 / answers.len().max(1) as f64
}

/// Cost, accuracy and loss against going to the end.
fn outcome(lines: &mut Lines, id: &str, words: &str, own: &Judged, found: &Outcome, material: &Material) {
    let each = figures::accuracies(&own.verdicts, material);
    let reached = accuracy(material, &found.answers);
    let full = each.last().copied().unwrap_or(0.0);
    lines.add(&format!("accuracy_{id}"), &format!("Accuracy: {words}"), "%", reached);
    lines.add(&format!("change_{id}"), &format!("Against going to the end: {words}"), "points", reached - full);
    lines.add(&format!("cost_{id}"), &format!("Multiplications: {words}"), "%", 100.0 * found.cost / material.full());
    lines.add(
        &format!("over_lot_{id}"),
        &format!("Against leaving by lot: {words}"),
        "points",
        reached - mean_cost(&found.shares, &each),
    );
}

async fn frozen(lines: &mut Lines, table: &mut Vec<Vec<Cell>>, cx: &mut Context) -> Result<(), LabError> {
    let default = Params::default();
    let mut material = Material::load(&Params { images: 6908, learn: 13_944, ..default.clone() }, cx).await?;
    let untaught = material.untaught(cx)?;
    let lesson = material.lesson(cx).await?;
    let all = |images: &Images| -> Vec<usize> { (0..images.len()).collect() };
    let judge = lesson.alike(&untaught, &material.subject.images, &all(&material.subject.images), cx).await?;
    let choose = lesson.alike(&untaught, &material.choose, &all(&material.choose), cx).await?;
    let rivals = material.rivals(cx).await?;
    let classes = material.subject.images.class_count();
    for rival in &rivals {
        let id = if rival.name.starts_with("Small") { "small" } else { "mlp" };
        lines.add(&format!("accuracy_{id}"), rival.name, "%", accuracy(&material, &argmax(&rival.logits, classes)));
    }
    for seed in 0..SEEDS {
        cx.seed = seed;
        cx.progress("Ten trainings of the exits", 0.05 + 0.06 * seed as f64);
        let rows = draw(lesson.rows.len(), default.learn as usize, cx);
        for (teacher, name, words) in
            [(Teacher::Labels, "labels", "labels"), (Teacher::LastExit, "last", "the last exit")]
        {
            let (mut asked, heads) = material.with_exits((&lesson, &rows), teacher, default.epochs, cx).await?;
            let heard =
                [said(&heads, &choose, &all(&choose), cx).await?, said(&heads, &judge, &all(&judge), cx).await?];
            for (rule, calibrate) in
                [(Rule::MaxProb, false), (Rule::Margin, false), (Rule::Entropy, false), (Rule::MaxProb, true)]
            {
                let params = Params { rule, calibrate, ..default.clone() };
                let own = Judged::from_logits(asked, [&heard[0], &heard[1]], &material, &params);
                match (rule, calibrate) {
                    (Rule::MaxProb, false) => {
                        plain(lines, name, words, &own, &material, cx)?;
                        if seed == 0 {
                            table.extend(thresholds(words, &own, &material));
                        }
                        if teacher == Teacher::Labels {
                            promises(lines, "exit", &own, &material);
                        }
                    }
                    (Rule::MaxProb, true) => {
                        for (exit, error) in errors(&own, true, &material, cx)?.into_iter().enumerate() {
                            let id = format!("calibrated_{name}_{}", exit + 1);
                            lines.add(
                                &id,
                                &format!("Calibration error with a temperature, exit {}, taught by {words}", exit + 1),
                                "%",
                                error,
                            );
                            let id = format!("temperature_{name}_{}", exit + 1);
                            lines.add(
                                &id,
                                &format!("Temperature of exit {}, taught by {words}", exit + 1),
                                "",
                                f64::from(own.temperatures[exit]),
                            );
                        }
                        outcome(
                            lines,
                            &format!("{name}_calibrated_90"),
                            &format!("{words}, calibrated, 0.9"),
                            &own,
                            &own.at(0.9, rule),
                            &material,
                        );
                    }
                    _ => {}
                }
                if !calibrate {
                    let id = match rule {
                        Rule::Margin => "margin",
                        Rule::Entropy => "entropy",
                        _ => "max",
                    };
                    for budget in [0.2, 0.3, 0.4] {
                        let params = Params { set_by: SetBy::Budget, budget, ..params.clone() };
                        let found = decide(&own, &material, &params)?;
                        let (id, words) = (
                            format!("{name}_{id}_budget_{:.0}", 100.0 * budget),
                            format!("{words}, {id}, budget {budget}"),
                        );
                        outcome(lines, &id, &words, &own, &found, &material);
                    }
                }
                asked = own.asked;
            }
        }
    }
    for (first, id, words) in
        [(First::Small, "small", "small network first"), (First::Mlp, "mlp", "fully connected first")]
    {
        material.learn = draw(lesson.rows.len(), default.learn as usize, cx);
        let own = Judged::of(material.cascade(first, cx).await?, &material, &default, cx).await?;
        for budget in [0.2, 0.3, 0.4] {
            let params = Params { set_by: SetBy::Budget, budget, ..default.clone() };
            let found = decide(&own, &material, &params)?;
            let (id, words) = (format!("{id}_cascade_{:.0}", 100.0 * budget), format!("{words}, budget {budget}"));
            outcome(lines, &id, &words, &own, &found, &material);
        }
        promises(lines, id, &own, &material);
        let labels = &material.subject.images.labels;
        let different = (0..labels.len())
            .filter(|i| own.verdicts.answers[0][*i] == labels[*i] && own.verdicts.answers[1][*i] != labels[*i])
            .count();
        let id = format!("{id}_right_where_large_errs");
        lines.add(
            &id,
            &format!("Right where the large network errs: {words}"),
            "%",
            100.0 * different as f64 / labels.len() as f64,
        );
    }
    Ok(())
}

/// So many of the rows.
fn draw(all: usize, count: usize, cx: &Context) -> Vec<usize> {
    use rand::seq::SliceRandom;
    let mut rows: Vec<usize> = (0..all).collect();
    rows.shuffle(&mut cx.rng("rows"));
    rows.truncate(count);
    rows
}

/// What the largest probability does, without calibration.
fn plain(
    lines: &mut Lines,
    name: &str,
    words: &str,
    own: &Judged,
    material: &Material,
    cx: &Context,
) -> Result<(), LabError> {
    for (exit, accuracy) in figures::accuracies(&own.verdicts, material).into_iter().enumerate() {
        lines.add(
            &format!("exit_{name}_{}", exit + 1),
            &format!("Exit {}, everybody, taught by {words}", exit + 1),
            "%",
            accuracy,
        );
    }
    for (exit, error) in errors(own, false, material, cx)?.into_iter().enumerate() {
        lines.add(
            &format!("calibration_{name}_{}", exit + 1),
            &format!("Calibration error, exit {}, taught by {words}", exit + 1),
            "%",
            error,
        );
    }
    for threshold in [0.5_f32, 0.7, 0.9] {
        let found = own.at(threshold, Rule::MaxProb);
        let id = format!("{name}_{:.0}", 100.0 * threshold);
        outcome(lines, &id, &format!("{words}, threshold {threshold}"), own, &found, material);
        let early = 100.0 * (found.shares[0] + found.shares[1]);
        lines.add(&format!("early_{id}"), &format!("Leave before the end: {words}, threshold {threshold}"), "%", early);
        if threshold == 0.9 {
            for batch in [2, 8, 64] {
                let cost = 100.0 * cost_in_batch(&found.shares, &own.asked.costs, batch) / material.full();
                lines.add(
                    &format!("cost_{id}_in_{batch}"),
                    &format!("Multiplications in a waiting batch of {batch}: {words}"),
                    "%",
                    cost,
                );
            }
            let last = own.asked.costs.len() - 1;
            let labels = &material.subject.images.labels;
            let tenth = {
                let mut order: Vec<usize> = (0..labels.len()).collect();
                order.sort_by(|a, b| own.verdicts.confidences[0][*a].total_cmp(&own.verdicts.confidences[0][*b]));
                order.truncate(labels.len() / 10);
                order
            };
            let right = |answers: &[u8]| tenth.iter().filter(|i| answers[**i] == labels[**i]).count() as f64;
            let change = 100.0 * (right(&found.answers) - right(&own.verdicts.answers[last])) / tenth.len() as f64;
            lines.add(&format!("hard_{id}"), &format!("Change on the hard tenth: {words}"), "points", change);
            let mistakes: Vec<usize> =
                (0..labels.len()).filter(|i| own.verdicts.answers[last][*i] != labels[*i]).collect();
            let over =
                mistakes.iter().filter(|i| own.verdicts.answers[..last].iter().any(|a| a[**i] == labels[**i])).count();
            lines.add(
                &format!("overthought_{name}"),
                &format!("Mistakes that an earlier exit did not make: {words}"),
                "%",
                100.0 * over as f64 / mistakes.len().max(1) as f64,
            );
        }
    }
    let known = own.verdicts.first_right(&material.subject.images.labels);
    lines.add(
        &format!("accuracy_{name}_known"),
        &format!("Accuracy at the first right exit: {words}"),
        "%",
        accuracy(material, &own.verdicts.answers_at(&known)),
    );
    let cost = mean_cost(&own.verdicts.shares(&known), &own.asked.costs);
    lines.add(
        &format!("cost_{name}_known"),
        &format!("Multiplications at the first right exit: {words}"),
        "%",
        100.0 * cost / material.full(),
    );
    let patient = own.verdicts.leave(&Policy::Patience(1));
    lines.add(
        &format!("accuracy_{name}_patience"),
        &format!("Accuracy with patience: {words}"),
        "%",
        accuracy(material, &own.verdicts.answers_at(&patient)),
    );
    let cost = mean_cost(&own.verdicts.shares(&patient), &own.asked.costs);
    lines.add(
        &format!("cost_{name}_patience"),
        &format!("Multiplications with patience: {words}"),
        "%",
        100.0 * cost / material.full(),
    );
    Ok(())
}

/// Errors that were allowed, and those that came.
fn promises(lines: &mut Lines, id: &str, own: &Judged, material: &Material) {
    for target in [0.01, 0.02] {
        for ((way, found), short) in own.ways(target, material).into_iter().zip(["training", "held_out", "bounded"]) {
            let Some([threshold, share, wrong]) = found else { continue };
            let (id, words) =
                (format!("{id}_{short}_{:.0}", 100.0 * target), format!("{way}, {:.0} % allowed", 100.0 * target));
            lines.add(&format!("threshold_{id}"), &format!("Threshold from {words}"), "", threshold);
            lines.add(&format!("leave_{id}"), &format!("Leave at the first exit, {words}"), "%", 100.0 * share);
            lines.add(&format!("wrong_{id}"), &format!("Wrong among them, {words}"), "%", 100.0 * wrong);
        }
    }
}

fn thresholds(words: &str, own: &Judged, material: &Material) -> Vec<Vec<Cell>> {
    let row = |threshold: f32| {
        let found = own.at(threshold, Rule::MaxProb);
        let numbers = [
            f64::from(threshold),
            100.0 * found.shares[0],
            100.0 * found.shares[1],
            100.0 * found.cost / material.full(),
            accuracy(material, &found.answers),
        ];
        std::iter::once(Cell::from(format!("Taught by {words}"))).chain(numbers.map(Cell::from)).collect()
    };
    [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.98, 2.0].map(row).to_vec()
}

/// A small network whose exits are trained with it, against plain networks of one, two and three blocks.
async fn together(lines: &mut Lines, cx: &mut Context) -> Result<(), LabError> {
    let material = Material::load(&Params { learn: SMALL_IMAGES, ..Params::default() }, cx).await?;
    let (all, _) = material.subject.training(0);
    let learned = some(all, &material.learn);
    let rows: Vec<usize> = (0..learned.len()).collect();
    let how = Training { epochs: SMALL_EPOCHS, ..Training::default() };
    let channels = [8, 16, 32];
    let device = cx.device.clone().autodiff();
    for seed in 0..SEEDS {
        cx.seed = seed;
        for blocks in [0, 1, 2, 3] {
            cx.progress("Small networks, trained whole", 0.65 + 0.025 * seed as f64);
            let used = if blocks == 0 { 3 } else { blocks };
            let cnn = CnnConfig { side: 16, channels: channels[..used].to_vec(), classes: all.class_count() };
            let config = ExitConfig { cnn, head_side: 4 };
            let network = MultiExit::new(&config, &config.init(&mut cx.rng("weights"))?, "a new network", &device)?;
            // Only the last exit counts, or all alike.
            let weights = (0..used).map(|exit| if blocks == 0 || exit + 1 == used { 1.0 } else { 0.0 }).collect();
            let start = Joint { network, weights };
            let end = fit(start, (&learned, &rows), &how, &mut cx.rng("order"), cx, async |_, _, _| Ok(())).await?;
            let network = lab_kit::burn::module::Module::valid(&end.network);
            let answers = logits(&network, &material.subject.images, cx).await?;
            for (exit, given) in answers.iter().enumerate() {
                let reached = accuracy(&material, &argmax(given, all.class_count()));
                if blocks == 0 {
                    lines.add(
                        &format!("joint_{}", exit + 1),
                        &format!("Exit {} of a network trained with all its exits", exit + 1),
                        "%",
                        reached,
                    );
                } else if exit + 1 == used {
                    lines.add(
                        &format!("alone_{blocks}"),
                        &format!("A network of {blocks} blocks on its own"),
                        "%",
                        reached,
                    );
                }
            }
        }
        for blocks in 1..=3 {
            let last =
                |id: String| lines.0.iter().find(|l| l.id == id).and_then(|l| l.values.last()).copied().unwrap_or(0.0);
            let gap = last(format!("joint_{blocks}")) - last(format!("alone_{blocks}"));
            lines.add(
                &format!("joint_gap_{blocks}"),
                &format!("Exit {blocks} of the joint network minus {blocks} blocks on their own"),
                "points",
                gap,
            );
        }
    }
    Ok(())
}

async fn language(lines: &mut Lines, cx: &Context) -> Result<(), LabError> {
    cx.progress("The language model after each layer", 0.92);
    let text = Text::load(cx).await?;
    let own = costs(&text.which);
    for (translate, id, words) in
        [(Translate::Nothing, "lens", "as it is"), (Translate::Linear, "map", "with a linear map")]
    {
        let maps = if translate == Translate::Linear { text.maps(cx).await? } else { Vec::new() };
        let layers = text.judge(&maps, WINDOWS, Rule::MaxProb, cx).await?;
        for layer in 0..layers.loss.len() {
            lines.add(
                &format!("lm_{id}_loss_{layer}"),
                &format!("Loss after layer {layer}, {words}"),
                "nats",
                layers.loss[layer],
            );
            lines.add(
                &format!("lm_{id}_same_{layer}"),
                &format!("Same first choice after layer {layer}, {words}"),
                "%",
                100.0 * layers.agree[layer],
            );
            lines.add(
                &format!("lm_{id}_accept_{layer}"),
                &format!("Accepted after layer {layer}, {words}"),
                "%",
                100.0 * layers.accept[layer],
            );
        }
        for threshold in [0.5_f32, 0.9] {
            let Left { early, cost, loss, early_same, .. } = layers.at(threshold, own);
            let at = format!("{id}_{:.0}", 100.0 * threshold);
            lines.add(
                &format!("lm_early_{at}"),
                &format!("Tokens that leave, {words}, threshold {threshold}"),
                "%",
                100.0 * early,
            );
            lines.add(
                &format!("lm_early_same_{at}"),
                &format!("Of these, same first choice, {words}, threshold {threshold}"),
                "%",
                100.0 * early_same,
            );
            lines.add(
                &format!("lm_cost_{at}"),
                &format!("Multiplications, {words}, threshold {threshold}"),
                "%",
                100.0 * cost,
            );
            lines.add(&format!("lm_loss_{at}"), &format!("Loss, {words}, threshold {threshold}"), "nats", loss);
        }
    }
    let draft = text.draft(WINDOWS, Rule::MaxProb, cx).await?;
    lines.add("lm_draft_same", "Same first choice, draft model", "%", 100.0 * draft.agree[0]);
    lines.add("lm_draft_accept", "Accepted, draft model", "%", 100.0 * draft.accept[0]);
    lines.add("lm_draft_loss", "Loss, draft model", "nats", draft.loss[0]);
    lines.add("lm_draft_cost", "Multiplications, draft model", "%", 100.0 * text.draft_cost());
    Ok(())
}
