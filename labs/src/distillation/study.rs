//! Temperatures, weights, schedules, teachers, sets of images, views and inner states, over seeds; a seed draws the teacher's
//! and the students' first weights, the transfer images and every order.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    distill::{Features, Lesson, Lessons, Material, Source, Views, entropy, shuffled_rows},
    prune::{Network, logits},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Params,
    arms::{CLASSES, Setting, students},
};

/// Seeds of the main comparison, and of those that take long.
const SEEDS: u64 = 10;
const LONG_SEEDS: u64 = 2;
const LEVEL: f64 = 0.95;

/// Values of the seeds by name, in the order in which they came.
#[derive(Default)]
struct Found(Vec<(String, String, &'static str, Vec<f64>)>);

impl Found {
    fn push(&mut self, id: &str, label: &str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| known == id) {
            Some((.., values)) => values.push(value),
            None => self.0.push((id.to_owned(), label.to_owned(), unit, vec![value])),
        }
    }

    fn values(&self, id: &str) -> &[f64] {
        self.0.iter().find(|(known, ..)| known == id).map_or(&[], |(.., values)| values)
    }

    /// One arm minus another, seed by seed.
    fn gap(&mut self, id: &str, label: &str, one: &str, other: &str) {
        let gaps: Vec<f64> = self.values(one).iter().zip(self.values(other)).map(|(a, b)| a - b).collect();
        gaps.into_iter().for_each(|gap| self.push(id, label, "points", gap));
    }
}

/// What a student of the study is taught.
#[derive(Clone, Copy)]
enum Taught {
    Labels,
    /// Temperatures at both ends, weight, inner states.
    Soft([f64; 2], f64, Features),
    Shuffled,
}

const PLAIN: Taught = Taught::Soft([4.0, 4.0], 1.0, Features::None);

fn at(temperature: f64) -> Taught {
    Taught::Soft([temperature; 2], 1.0, Features::None)
}

/// Trains students side by side and notes how well each does.
async fn group(
    material: &Material,
    setting: &Setting,
    arms: &[(&str, &str, Taught)],
    found: &mut Found,
    cx: &Context,
) -> Result<(), LabError> {
    let transfer = material.transfer(setting.images, &|_| true, cx);
    let table = material.table(&transfer, cx).await?;
    let lesson = |taught: &Taught| match taught {
        Taught::Labels => Lesson::labels(),
        Taught::Soft(temperature, weight, features) => {
            Lesson { temperature: *temperature, features: *features, ..Lesson::soft(table.clone(), 1.0, *weight) }
        }
        Taught::Shuffled => Lesson {
            asks: false,
            ..Lesson::soft(shuffled_rows(&table, CLASSES, &mut cx.rng("shuffled classes")), 4.0, 1.0)
        },
    };
    let lessons = arms.iter().map(|(.., taught)| lesson(taught)).collect();
    let students = students(lessons, transfer.len(), setting, material, cx)?;
    let net = material.teacher.on(&cx.device)?;
    let mut class = Lessons::new(students, (material.training(), &transfer), &net, setting.plan(), cx);
    class.advance(setting.steps, cx).await?;
    for ((id, label, _), student) in arms.iter().zip(class.students) {
        let network = student.network().await?;
        found.push(id, label, "%", accuracy(material, &network, cx).await?);
    }
    Ok(())
}

async fn accuracy(material: &Material, network: &Network, cx: &Context) -> Result<f64, LabError> {
    let answers = material.judge(network, cx).await?.1;
    let all: Vec<usize> = (0..answers.len()).collect();
    Ok(material.subject.accuracy_on(&all, &answers, LEVEL).0)
}

/// A teacher's own accuracy, its entropy, and what it makes of a student at two temperatures.
async fn teacher(
    (word, label): (&str, &str),
    material: &Material,
    setting: &Setting,
    found: &mut Found,
    cx: &Context,
) -> Result<(), LabError> {
    found.push(
        &format!("teacher_{word}"),
        &format!("Teacher, {label}"),
        "%",
        accuracy(material, &material.teacher, cx).await?,
    );
    let transfer = material.transfer(setting.images, &|_| true, cx);
    let table = material.table(&transfer, cx).await?;
    found.push(
        &format!("entropy_{word}"),
        &format!("Entropy of its answers, {label}"),
        "nats",
        entropy(&table, CLASSES, 1.0),
    );
    let arms = [
        (format!("student_{word}"), format!("Its student at T = 4, {label}"), at(4.0)),
        (format!("warm_{word}"), format!("Its student at T = 10, {label}"), at(10.0)),
    ];
    let arms: Vec<(&str, &str, Taught)> =
        arms.iter().map(|(id, label, taught)| (id.as_str(), label.as_str(), *taught)).collect();
    group(material, setting, &arms, found, cx).await
}

/// A student of the answers of its equal: a network of its own size that began alike and learned the labels of the same images
/// (Furlanello et al., 2018, arXiv:1805.04770).
async fn itself(material: &Material, setting: &Setting, found: &mut Found, cx: &Context) -> Result<(), LabError> {
    let transfer = material.transfer(setting.images, &|_| true, cx);
    let net = material.teacher.on(&cx.device)?;
    let (mut lesson, mut learned) = (Lesson::labels(), None);
    for _ in 0..2 {
        let students = students(vec![lesson], transfer.len(), setting, material, cx)?;
        let mut class = Lessons::new(students, (material.training(), &transfer), &net, setting.plan(), cx);
        class.advance(setting.steps, cx).await?;
        let Some(student) = class.students.pop() else { break };
        let network = student.network().await?;
        let answers = logits(&network, material.training(), &transfer, cx).await?;
        lesson = Lesson { temperature: [4.0; 2], asks: false, ..Lesson::soft(answers, 1.0, 1.0) };
        learned = Some(network);
    }
    if let Some(network) = learned {
        found.push("self_470", "470 images, answers of its equal", "%", accuracy(material, &network, cx).await?);
    }
    Ok(())
}

/// The comparison of every seed.
async fn short(seed: u64, found: &mut Found, cx: &Context) -> Result<(), LabError> {
    let base = Params::default().setting()?;
    let epochs = Params::default().teacher_epochs as usize;
    let material = Material::load(Source::Trained(epochs), cx, &|_| ()).await?;
    let soft = |t, weight| Taught::Soft(t, weight, Features::None);
    let arms = [
        ("labels_470", "470 images, labels", Taught::Labels),
        ("soft_470", "470 images, soft answers", PLAIN),
        ("shuffled_470", "470 images, wrong classes shuffled", Taught::Shuffled),
        ("t1", "Temperature 1", at(1.0)),
        ("t2", "Temperature 2", at(2.0)),
        ("t10", "Temperature 10", at(10.0)),
        ("t20", "Temperature 20", at(20.0)),
        ("t1_half", "Temperature 1, half labels", soft([1.0; 2], 0.5)),
        ("t4_half", "Temperature 4, half labels", soft([4.0; 2], 0.5)),
        ("t4_tenth", "Temperature 4, nine tenths labels", soft([4.0; 2], 0.1)),
        ("falling", "Temperature falling from 4 to 1", soft([4.0, 1.0], 1.0)),
        ("rising", "Temperature rising from 1 to 4", soft([1.0, 4.0], 1.0)),
    ];
    group(&material, &base, &arms, found, cx).await?;
    itself(&material, &base, found, cx).await?;
    for (images, word) in [(1410, "1,410"), (4700, "4,700"), (usize::MAX, "all")] {
        let id = |arm: &str| if images == usize::MAX { format!("{arm}_all") } else { format!("{arm}_{images}") };
        let setting = Setting { images, ..base.clone() };
        let (labels, soft) = (id("labels"), id("soft"));
        let (a, b) = (format!("{word} images, labels"), format!("{word} images, soft answers"));
        group(
            &material,
            &setting,
            &[(labels.as_str(), a.as_str(), Taught::Labels), (soft.as_str(), b.as_str(), PLAIN)],
            found,
            cx,
        )
        .await?;
    }
    teacher(("e3", "3 epochs"), &material, &base, found, cx).await?;
    if seed >= LONG_SEEDS {
        return Ok(());
    }
    long(&material, &base, found, cx).await
}

/// What takes longer.
async fn long(material: &Material, base: &Setting, found: &mut Found, cx: &Context) -> Result<(), LabError> {
    for (epochs, word, label) in [(1, "e1", "1 epoch"), (16, "e16", "16 epochs")] {
        let material = Material::load(Source::Trained(epochs), cx, &|_| ()).await?;
        teacher((word, label), &material, base, found, cx).await?;
    }
    for (source, word, label) in
        [(Source::Mlp, "mlp", "shipped, fully connected"), (Source::Cnn, "cnn", "shipped, convolutional")]
    {
        // It takes half a minute to answer, and its weights are the same under every seed.
        if source == Source::Cnn && cx.seed > 0 {
            continue;
        }
        let material = Material::load(source, cx, &|_| ()).await?;
        teacher((word, label), &material, base, found, cx).await?;
    }
    for width in [16, 128] {
        let setting = Setting { widths: vec![width; 2], ..base.clone() };
        let (labels, soft) = (format!("labels_w{width}"), format!("soft_w{width}"));
        let (a, b) = (format!("{width} units, labels"), format!("{width} units, soft answers"));
        group(
            material,
            &setting,
            &[(labels.as_str(), a.as_str(), Taught::Labels), (soft.as_str(), b.as_str(), PLAIN)],
            found,
            cx,
        )
        .await?;
    }
    for (steps, word) in [(base.steps, "short"), (4 * base.steps, "long")] {
        for (views, name) in [(Views::Same, "same"), (Views::Shifted, "shifted"), (Views::Stale, "stale")] {
            let setting = Setting { steps, views, ..base.clone() };
            let (labels, soft) = (format!("labels_{name}_{word}"), format!("soft_{name}_{word}"));
            let (a, b) =
                (format!("Labels, {name} views, {steps} steps"), format!("Soft answers, {name} views, {steps} steps"));
            let arms = [(soft.as_str(), b.as_str(), PLAIN), (labels.as_str(), a.as_str(), Taught::Labels)];
            // Stale answers matter only to those who listen.
            group(material, &setting, &arms[..if views == Views::Stale { 1 } else { 2 }], found, cx).await?;
        }
    }
    let inner = |features| Taught::Soft([4.0; 2], 1.0, features);
    for (widths, word, label) in [(vec![64; 2], "wide", "2 layers of 64"), (vec![24; 8], "deep", "8 layers of 24")] {
        let setting = Setting { widths, ..base.clone() };
        let arms = [
            (format!("labels_{word}"), format!("{label}, labels"), Taught::Labels),
            (format!("answers_{word}"), format!("{label}, soft answers"), PLAIN),
            (format!("hint_{word}"), format!("{label}, soft answers and hint"), inner(Features::Hint)),
            (
                format!("similarity_{word}"),
                format!("{label}, soft answers and similarity"),
                inner(Features::Similarity),
            ),
        ];
        let arms: Vec<(&str, &str, Taught)> =
            arms.iter().map(|(id, label, t)| (id.as_str(), label.as_str(), *t)).collect();
        group(material, &setting, &arms, found, cx).await?;
    }
    Ok(())
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let (seed_before, mut found) = (cx.seed, Found::default());
    for seed in 0..SEEDS {
        cx.seed = seed;
        cx.progress(&format!("Seed {seed}"), seed as f64 / SEEDS as f64);
        short(seed, &mut found, cx).await?;
    }
    cx.seed = seed_before;
    for (id, label, one, other) in [
        ("gain_470", "Soft answers minus labels, 470 images", "soft_470", "labels_470"),
        ("gain_1410", "Soft answers minus labels, 1,410 images", "soft_1410", "labels_1410"),
        ("gain_4700", "Soft answers minus labels, 4,700 images", "soft_4700", "labels_4700"),
        ("gain_all", "Soft answers minus labels, all images", "soft_all", "labels_all"),
        ("gain_self", "Answers of its equal minus labels", "self_470", "labels_470"),
        ("gain_shuffled", "Shuffled answers minus labels", "shuffled_470", "labels_470"),
        ("gap_schedule", "Falling temperature minus constant", "falling", "soft_470"),
        ("gap_hint_wide", "Hint minus none, 2 layers of 64", "hint_wide", "answers_wide"),
        ("gap_similarity_wide", "Similarity minus none, 2 layers of 64", "similarity_wide", "answers_wide"),
        ("gap_hint_deep", "Hint minus none, 8 layers of 24", "hint_deep", "answers_deep"),
        ("gap_similarity_deep", "Similarity minus none, 8 layers of 24", "similarity_deep", "answers_deep"),
    ] {
        found.gap(id, label, one, other);
    }
    Ok(report(&found, cx))
}

fn report(found: &Found, cx: &Context) -> Report {
    let over_seeds = |(id, label, unit, values): &(String, String, &'static str, Vec<f64>)| -> Metric {
        let family = if id.ends_with("_all") || id.ends_with("00") || id.ends_with("10") {
            Family::Scale
        } else {
            Family::Quality
        };
        let mut all = metric(family, id, label, median(values), unit)
            .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
            .measured(values.clone());
        all.kind = Kind::Trained;
        all
    };
    let metrics: Vec<Metric> = found.0.iter().map(over_seeds).collect();
    let row = |metric: &Metric| {
        let interval =
            metric.interval.unwrap_or(lab_api::Interval { low: metric.value, high: metric.value, level: LEVEL });
        vec![
            Cell::from(metric.label.as_str()),
            metric.value.into(),
            interval.low.into(),
            interval.high.into(),
            (metric.samples.len() as f64).into(),
        ]
    };
    let tables = vec![Table {
        id: "arms".into(),
        title: "Every arm, medians over seeds".into(),
        columns: ["Arm", "Median", "95 % from", "95 % to", "Seeds"].map(str::to_owned).to_vec(),
        rows: metrics.iter().map(row).collect(),
    }];
    Report { charts: vec![images(found, cx), teachers(found, cx)], metrics, tables, notes: Vec::new() }
}

fn line(name: &str, points: &[(f64, String)], found: &Found, cx: &Context) -> Series {
    let band = |(_, id): &(f64, String)| {
        let interval = median_interval(found.values(id), LEVEL, &mut cx.rng(id));
        [interval.low, interval.high]
    };
    Series {
        name: name.into(),
        points: points.iter().map(|(x, id)| [*x, median(found.values(id))]).collect(),
        band: points.iter().map(band).collect(),
    }
}

/// Accuracy against the number of transfer images.
fn images(found: &Found, cx: &Context) -> Chart {
    let points = |arm: &str| {
        [(470.0, "470"), (1410.0, "1410"), (4700.0, "4700"), (13_944.0, "all")]
            .map(|(x, word)| (x, format!("{arm}_{word}")))
    };
    Chart {
        id: "images".into(),
        title: "What is an answer worth, in images?".into(),
        caption: "Accuracy of students of 64 units after the same steps, medians over seeds. Bands are 95 % intervals."
            .into(),
        x: Axis::log("Transfer images"),
        y: Axis::linear("Accuracy (%)"),
        body: ChartBody::Line {
            series: vec![
                line("Labels", &points("labels"), found, cx),
                line("Soft answers", &points("soft"), found, cx),
            ],
        },
    }
}

/// A teacher and its student against how long the teacher trained.
fn teachers(found: &Found, cx: &Context) -> Chart {
    let points = |arm: &str| [(1.0, "e1"), (3.0, "e3"), (16.0, "e16")].map(|(x, word)| (x, format!("{arm}_{word}")));
    Chart {
        id: "teachers".into(),
        title: "How long should the teacher learn?".into(),
        caption: "Accuracy of the teacher, and of students that it teaches with 470 images. Bands are 95 % intervals over seeds.".into(),
        x: Axis::log("Epochs of the teacher"),
        y: Axis::linear("Accuracy (%)"),
        body: ChartBody::Line {
            series: vec![
                line("Teacher", &points("teacher"), found, cx),
                line("Student, T = 4", &points("student"), found, cx),
                line("Student, T = 10", &points("warm"), found, cx),
            ],
        },
    }
}
