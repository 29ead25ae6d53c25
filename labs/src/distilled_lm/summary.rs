//! Numbers and sentences of a run.

use lab_api::{Cell, Family, Kind, LabError, Metric, Report, Table};
use lab_kit::{
    Context,
    distill::{answer_bytes, expected_tokens},
    measure::{Pair, side_by_side},
    mlp::read,
    models::Transformer,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    arms::Outcome,
    judge::{Exam, Judged, LEVEL, Own},
    material::{LENGTH, Material, Setting},
};

/// Why what training decides may differ between devices.
const SPREAD: &str = "sums in another order lead training elsewhere, as another order of the rows does: five standard deviations \
                      over the seeds of the study, and more for a single text";
const COUNTED: &str = "the lengths of weights and answers";
/// Words of the draft that are guessed before the teacher looks.
const GUESSES: u32 = 4;
/// Bytes of a weight in the files that the book ships.
const HALF: usize = 2;

fn trained(metric: Metric, apart: f64) -> Metric {
    Metric { kind: Kind::Trained, ..metric.exact(apart, SPREAD) }
}

/// What sizes and the teacher alone say.
pub(super) fn beforehand(material: &Material, setting: &Setting, exam: &Exam) -> Vec<Metric> {
    let vocabulary = exam.vocabulary;
    let weights = |parameters: usize| (HALF * parameters) as f64;
    let draft = lab_kit::models::LanguageModel::draft().config.parameters();
    vec![
        metric(Family::Memory, "weight_bytes", "Student's weights", weights(draft), "bytes")
            .lower()
            .baseline(weights(material.teacher.config().parameters()))
            .exact(0.0, COUNTED)
            .help("As shipped, two bytes each; the baseline is the teacher."),
        metric(
            Family::Memory,
            "answer_bytes",
            "A stored answer, for each token",
            answer_bytes(setting.kept, vocabulary) as f64,
            "bytes",
        )
        .lower()
        .baseline(answer_bytes(vocabulary, vocabulary) as f64)
        .exact(0.0, COUNTED)
        .help("A token's number and its share, two bytes each; the baseline is all 1,024 shares."),
        metric(
            Family::Memory,
            "mass",
            "Probability in so many of the likeliest tokens",
            100.0 * exam.masses(&[setting.kept])[0],
            "%",
        )
        .higher()
        .detail()
        .exact(0.1, "sums of floats differ in their last bits"),
    ]
}

/// Times of 128 tokens read by the teacher, and by the student.
pub(super) async fn speed(material: &Material, cx: &Context) -> Result<Pair, LabError> {
    let student = material.draft(&cx.device)?;
    let row = &material.test[..LENGTH];
    let once = async |model: &Transformer| {
        let logits = model.forward(model.tokens(&[row], &cx.device)?);
        read(logits.narrow(1, 0, 1).narrow(2, 0, 1)).await.map(|logit| drop(std::hint::black_box(logit)))
    };
    side_by_side(cx, 80.0, async || once(&material.teacher).await, async || once(&student).await).await
}

/// Everything.
pub(super) fn complete(
    report: &mut Report,
    setting: &Setting,
    outcome: &Outcome,
    judged: &[(Judged, Own)],
    speed: &Pair,
    cx: &Context,
) -> Result<(), LabError> {
    let [(before, own_before), (labels, own_labels), (soft, own_soft)] = judged else { return Ok(()) };
    let value = |of: fn(&Judged) -> &[f64], judged: &Judged| judged.mean(of(judged));
    let quality =
        |id: &str, label: &str, unit: &str, scale: f64, of: fn(&Judged) -> &[f64]| -> Result<Metric, LabError> {
            let values: Vec<f64> = of(soft).iter().map(|value| scale * value).collect();
            let interval = soft.interval(&values, id, cx)?;
            Ok(metric(Family::Quality, id, label, soft.mean(&values), unit)
                .baseline(scale * value(of, before))
                .interval(interval))
        };
    let gap = |id: &str, label: &str, unit: &str, scale: f64, of: fn(&Judged) -> &[f64]| -> Result<Metric, LabError> {
        let values: Vec<f64> = of(soft).iter().zip(of(labels)).map(|(a, b)| scale * (a - b)).collect();
        let interval = soft.interval(&values, id, cx)?;
        Ok(metric(Family::Quality, id, label, soft.mean(&values), unit).baseline(0.0).interval(interval))
    };
    let accepted = value(Judged::acceptance, soft);
    let looks = |acceptance: f64| expected_tokens(acceptance, GUESSES);
    let own = |id: &str, label: &str, own: &Own| -> Result<Metric, LabError> {
        let found = metric(Family::Quality, id, label, own.mean(), "nats").lower().baseline(own_before.mean());
        Ok(trained(found.interval(own.interval(cx)?), 2.0))
    };
    let mut metrics = vec![
        trained(quality("acceptance", "Accepted words of the student", "%", 100.0, Judged::acceptance)?.higher(), 3.0)
            .help("Expected share on test text: the sum over all tokens of the smaller of both probabilities. The baseline is the draft before."),
        trained(gap("acceptance_gain", "Accepted: teacher minus labels", "points", 100.0, Judged::acceptance)?.higher(), 3.0)
            .help("Against the student that learned the labels of the corpus, token by token."),
        trained(quality("loss", "Loss of the student", "nats", 1.0, Judged::loss)?.lower(), 0.15)
            .help("Cross-entropy with the test text; the baseline is the draft before."),
        trained(gap("loss_gain", "Loss: teacher minus labels", "nats", 1.0, Judged::loss)?.lower(), 0.15)
            .help("Below zero, the teacher's answers taught to foretell the text better than the text did."),
        trained(quality("divergence", "Forward KL from the teacher", "nats", 1.0, Judged::divergence)?.lower(), 0.15),
        own("own_text", "What its writing costs the teacher", own_soft)?
            .help("Mean negative logarithm of the teacher's probability of each token that the student writes. The baseline is the draft before."),
        trained(
            metric(Family::Scale, "tokens_a_look", "Tokens for each look of the teacher", looks(accepted), "tokens")
                .higher()
                .baseline(looks(value(Judged::acceptance, before))),
            0.15,
        )
        .help("Expected, where the student guesses four tokens and the teacher checks them in one pass."),
    ];
    metrics.append(&mut report.metrics);
    let (ratio, interval) = speed.ratio(LEVEL, &mut cx.rng("speed"));
    let step_ms = outcome.arms[1].ms / setting.steps.max(1) as f64;
    let rate = |ms: f64, parameters: usize| 2e-6 * (parameters * LENGTH) as f64 / ms.max(f64::MIN_POSITIVE);
    let student = lab_kit::models::LanguageModel::draft().config.parameters();
    let teacher = lab_kit::models::LanguageModel::full().config.parameters();
    metrics.extend([
        metric(Family::Time, "speedup", "Student's speed-up, 128 tokens", ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(speed.ratios())
            .help("Time of the teacher over that of the student, turn by turn."),
        metric(Family::Time, "time", "Student, 128 tokens", median(&speed.second), "ms")
            .lower()
            .baseline(median(&speed.first))
            .interval(median_interval(&speed.second, LEVEL, &mut cx.rng("time")))
            .measured(speed.second.clone())
            .detail(),
        metric(Family::Time, "ask_ms", "The teacher's answers to a step's rows", outcome.ask_ms, "ms")
            .lower()
            .measured(vec![outcome.ask_ms])
            .detail()
            .help("Of writing them too, where a model writes them. Stored answers save it at each further pass."),
        metric(Family::Time, "step_ms", "A step of the student's training", step_ms, "ms")
            .lower()
            .measured(vec![step_ms])
            .detail(),
        metric(
            Family::Utilization,
            "rate",
            "Student's arithmetic, 128 tokens",
            rate(median(&speed.second), student),
            "GFLOP/s",
        )
        .higher()
        .baseline(rate(median(&speed.first), teacher))
        .measured(speed.second.iter().map(|ms| rate(*ms, student)).collect())
        .detail()
        .help("Two operations a weight and token; the baseline is the teacher. Narrow matrices use the device worse."),
        trained(
            metric(
                Family::Quality,
                "acceptance_labels",
                "Accepted, taught by labels",
                100.0 * value(Judged::acceptance, labels),
                "%",
            )
            .higher(),
            3.0,
        )
        .detail(),
        trained(
            metric(Family::Quality, "loss_labels", "Loss, taught by labels", value(Judged::loss, labels), "nats")
                .lower(),
            0.15,
        )
        .detail(),
        own("own_text_labels", "What the writing costs the teacher, taught by labels", own_labels)?.detail(),
        trained(quality("entropy", "Entropy of the student", "nats", 1.0, Judged::entropy)?, 0.4)
            .detail()
            .help("How much it leaves open, on average. The baseline is the draft before."),
        trained(
            quality("agreement", "Same likeliest token as the teacher", "%", 100.0, Judged::agreement)?.higher(),
            6.0,
        )
        .detail(),
    ]);
    report.metrics = metrics;
    let rows = ["Before", outcome.arms[0].name.as_str(), outcome.arms[1].name.as_str()].into_iter().zip(judged);
    let row = |(name, (judged, own)): (&str, &(Judged, Own))| {
        let mut cells = vec![Cell::from(name)];
        let numbers = [
            100.0 * value(Judged::acceptance, judged),
            value(Judged::loss, judged),
            value(Judged::divergence, judged),
            value(Judged::entropy, judged),
            own.mean(),
        ];
        cells.extend(numbers.map(Cell::from));
        cells
    };
    report.tables.push(Table {
        id: "students".into(),
        title: "The draft before, and both students".into(),
        columns: [
            "Taught by",
            "Accepted (%)",
            "Loss (nats)",
            "KL from the teacher",
            "Entropy (nats)",
            "Teacher's loss of its text",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.map(row).collect(),
    });
    report.notes.push(format!(
        "With four guesses, one look of the teacher yields {:.2} tokens instead of {:.2}. The student has as many weights as before, so that this costs nothing when it runs.",
        looks(accepted),
        looks(value(Judged::acceptance, before))
    ));
    Ok(())
}
