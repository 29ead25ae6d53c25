//! Losses, texts and shortened answers over seeds; a seed draws the rows and every text.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Family, Kind, LabError, Metric, Report, Table};
use lab_kit::{
    Context,
    distill::{Divergence, Tail, expected_tokens},
    models::Transformer,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Params,
    arms::{Arm, Taught},
    judge::{Exam, LEVEL, Own},
    material::{BATCH, Batch, Material, Setting},
};

const SEEDS: u64 = 10;
/// Windows that judge, tokens written after each, rows that teach, passes over them.
const WINDOWS: usize = 12;
const WRITTEN: usize = 40;
const ROWS: u32 = 40;
const PASSES: u32 = 2;
/// How many times as much text one arm of labels reads, to price an answer in labels.
const MORE: usize = 4;

/// Whose text.
#[derive(Clone, Copy, PartialEq)]
enum From {
    Corpus,
    Teacher,
    Student,
    /// Of the corpus, four times as much.
    More,
}

struct Plan {
    id: &'static str,
    label: &'static str,
    taught: Taught,
    from: From,
    setting: Setting,
    /// Whether it writes and its teacher judges.
    writes: bool,
}

fn plans() -> Result<Vec<Plan>, LabError> {
    let base = Params { rows: ROWS, passes: PASSES, ..Params::default() }.setting()?;
    let few = |tail| Setting { kept: 16, tail, ..base.clone() };
    let plan = |id, label, taught, from, setting: Setting, writes| Plan { id, label, taught, from, setting, writes };
    let (forward, reverse) = (Taught::Teacher(Divergence::Forward), Taught::Teacher(Divergence::Reverse));
    let (jsd, tv) = (Taught::Teacher(Divergence::Between(0.5)), Taught::Teacher(Divergence::Variation));
    let full = || base.clone();
    let more = Setting { steps: MORE * base.steps, ..base.clone() };
    // Labels are noisier than answers, so that they may want smaller steps: a control that is fair to them.
    let slow = Setting { learning_rate: base.learning_rate / 2.0, ..base.clone() };
    Ok(vec![
        plan("labels", "Labels", Taught::Labels, From::Corpus, full(), true),
        plan("forward", "Forward KL", forward, From::Corpus, full(), true),
        plan("reverse", "Reverse KL", reverse, From::Corpus, full(), true),
        plan("jsd", "Jensen-Shannon", jsd, From::Corpus, full(), true),
        plan("tv", "Total variation", tv, From::Corpus, full(), true),
        plan("warm", "Forward KL, T = 2", forward, From::Corpus, Setting { temperature: 2.0, ..full() }, false),
        plan("dropped", "Forward KL, 16 tokens, rest dropped", forward, From::Corpus, few(Tail::Dropped), false),
        plan("bucket", "Forward KL, 16 tokens, rest in a bucket", forward, From::Corpus, few(Tail::Bucket), false),
        plan("drawn", "Forward KL, 16 drawn tokens", forward, From::Corpus, few(Tail::Drawn), false),
        plan("teacher_labels", "The teacher's text, labels", Taught::Labels, From::Teacher, full(), false),
        plan("teacher_forward", "The teacher's text, forward KL", forward, From::Teacher, full(), false),
        plan("student_forward", "The student's text, forward KL", forward, From::Student, full(), false),
        plan("student_reverse", "The student's text, reverse KL", reverse, From::Student, full(), false),
        plan("slow", "Labels, half the learning rate", Taught::Labels, From::Corpus, slow, false),
        plan("more", "Labels, four times the text", Taught::Labels, From::More, more, false),
    ])
}

/// Values of the seeds by name, in the order in which they came.
#[derive(Default)]
struct Found(Vec<(String, String, &'static str, Vec<f64>)>);

impl Found {
    fn push(&mut self, id: String, label: String, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| *known == id) {
            Some((.., values)) => values.push(value),
            None => self.0.push((id, label, unit, vec![value])),
        }
    }

    fn values(&self, id: &str) -> &[f64] {
        self.0.iter().find(|(known, ..)| known == id).map_or(&[], |(.., values)| values)
    }

    /// A student's results.
    async fn note(
        &mut self,
        (id, label, writes): (&str, &str, bool),
        student: &Transformer,
        (material, exam): (&Material, &Exam),
        cx: &Context,
    ) -> Result<(), LabError> {
        let judged = exam.sit(student, exam.windows.len(), cx).await?;
        let acceptance = judged.mean(judged.acceptance());
        for (what, words, unit, value) in [
            ("acceptance", "accepted", "%", 100.0 * acceptance),
            ("loss", "loss", "nats", judged.mean(judged.loss())),
            ("divergence", "KL from the teacher", "nats", judged.mean(judged.divergence())),
            ("entropy", "entropy", "nats", judged.mean(judged.entropy())),
            ("agreement", "same likeliest token", "%", 100.0 * judged.mean(judged.agreement())),
            ("tokens", "tokens a look", "tokens", expected_tokens(acceptance, 4)),
        ] {
            self.push(format!("{what}_{id}"), format!("{label}: {words}"), unit, value);
        }
        if writes {
            let own = Own::of(student, material, exam, WRITTEN, cx).await?.mean();
            self.push(format!("own_{id}"), format!("{label}: teacher's loss of its text"), "nats", own);
        }
        Ok(())
    }

    /// One arm minus the labels, seed by seed.
    fn gaps(&mut self, id: &str, label: &str) {
        for (what, unit) in [("acceptance", "points"), ("loss", "nats")] {
            let (own, other) = (self.values(&format!("{what}_{id}")), self.values(&format!("{what}_labels")));
            let gaps: Vec<f64> = own.iter().zip(other).map(|(a, b)| a - b).collect();
            for gap in gaps {
                self.push(format!("{what}_gap_{id}"), format!("{label} minus labels: {what}"), unit, gap);
            }
        }
    }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let (seed_before, mut found) = (cx.seed, Found::default());
    let material = Material::load(cx).await?;
    let exam = Exam::new(&material, WINDOWS, cx).await?;
    let plans = plans()?;
    for seed in 0..SEEDS {
        cx.seed = seed;
        cx.progress(&format!("Seed {seed}"), seed as f64 / SEEDS as f64);
        one(&plans, &material, &exam, &mut found, cx).await?;
    }
    cx.seed = seed_before;
    for plan in &plans[1..] {
        found.gaps(plan.id, plan.label);
    }
    let over_seeds = |(id, label, unit, values): &(String, String, &'static str, Vec<f64>)| -> Metric {
        let mut all = metric(Family::Quality, id, label, median(values), unit)
            .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
            .measured(values.clone());
        all.kind = Kind::Trained;
        all
    };
    let mut metrics: Vec<Metric> = found.0.iter().map(over_seeds).collect();
    for (count, mass) in super::figures::SIZES.iter().zip(exam.masses(&super::figures::SIZES)) {
        let label = format!("Probability in the {count} likeliest tokens");
        metrics.push(metric(Family::Memory, &format!("mass_{count}"), &label, 100.0 * mass, "%"));
    }
    Ok(Report {
        metrics,
        tables: vec![table(&plans, &found)],
        charts: vec![chart(&plans, &found, cx)],
        notes: Vec::new(),
    })
}

async fn one(
    plans: &[Plan],
    material: &Material,
    exam: &Exam,
    found: &mut Found,
    cx: &Context,
) -> Result<(), LabError> {
    let start = material.draft(&cx.device)?;
    found.note(("before", "Before", true), &start, (material, exam), cx).await?;
    let corpus = material.corpus(ROWS as usize, cx);
    let mut texts: Vec<Vec<Batch>> = Vec::new();
    for rows in [
        corpus.clone(),
        material.written(&material.teacher, &corpus, "text of the teacher", cx).await?,
        material.written(&start, &corpus, "text of the student", cx).await?,
    ] {
        texts.push(material.ask(&rows, cx).await?);
    }
    // Labels need no answers: any may stand beside these rows, unread.
    let unread = texts[0][0].logits.clone();
    let more = material.corpus(MORE * ROWS as usize, cx);
    texts.push(more.chunks(BATCH).map(|rows| Batch { rows: rows.to_vec(), logits: unread.clone() }).collect());
    for plan in plans {
        let mut arm = Arm::new(plan.label, plan.taught, &plan.setting, material, cx)?;
        arm.prepare(&texts[plan.from as usize], "answers", cx).await?;
        let pass = arm.lessons.len();
        for step in 0..plan.setting.steps {
            if plan.from == From::Student && step > 0 && step % pass == 0 {
                let purpose = format!("text of the student after {step}");
                let rows = material.written(&arm.student(), &corpus, &purpose, cx).await?;
                arm.prepare(&material.ask(&rows, cx).await?, &purpose, cx).await?;
            }
            arm.advance(cx).await?;
        }
        found.note((plan.id, plan.label, plan.writes), &arm.student(), (material, exam), cx).await?;
    }
    Ok(())
}

fn table(plans: &[Plan], found: &Found) -> Table {
    let before = [("before", "Before")];
    let rows = before.into_iter().chain(plans.iter().map(|plan| (plan.id, plan.label))).map(|(id, label)| {
        let of = |what: &str| median(found.values(&format!("{what}_{id}")));
        let numbers = ["acceptance", "loss", "divergence", "entropy"].map(|what| Cell::from(of(what)));
        let own = found.values(&format!("own_{id}"));
        let own = if own.is_empty() { Cell::from("not measured") } else { median(own).into() };
        std::iter::once(Cell::from(label)).chain(numbers).chain([own]).collect()
    });
    Table {
        id: "arms".into(),
        title: "Every arm, medians over seeds".into(),
        columns: [
            "Arm",
            "Accepted (%)",
            "Loss (nats)",
            "KL from the teacher",
            "Entropy (nats)",
            "Teacher's loss of its text",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
    }
}

/// What each loss gains over labels, in acceptance.
fn chart(plans: &[Plan], found: &Found, cx: &Context) -> Chart {
    let of = |plan: &Plan| found.values(&format!("acceptance_gap_{}", plan.id)).to_vec();
    let interval = |plan: &Plan| {
        let interval = median_interval(&of(plan), LEVEL, &mut cx.rng(plan.id));
        [interval.low, interval.high]
    };
    Chart {
        id: "arms".into(),
        title: "Which lesson makes the best draft?".into(),
        caption: "Points of acceptance beyond the twin that learned the labels of the corpus, medians over seeds with 95 % intervals.".into(),
        x: Axis::linear("Lesson"),
        y: Axis::linear("Points beyond labels"),
        body: ChartBody::Bar {
            categories: plans[1..].iter().map(|plan| plan.label.to_owned()).collect(),
            series: vec![BarSeries {
                name: "Acceptance".into(),
                values: plans[1..].iter().map(|plan| median(&of(plan))).collect(),
                intervals: plans[1..].iter().map(interval).collect(),
            }],
        },
    }
}
