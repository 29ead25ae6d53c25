//! Charts and the table of texts.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, LabError, Series, Table};
use lab_kit::{Context, models::Transformer};

use super::{
    arms::Arm,
    judge::{Exam, Judged, Own, WINDOW},
    material::{Material, PROMPT},
};
use lab_kit::order::Ordered as _;

/// Tokens in the chart of one position, and tokens before it in its caption.
const SHOWN: usize = 6;
const CONTEXT: usize = 12;
/// Sizes of a shortened answer.
pub(super) const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 64, 256, 1024];

pub(super) fn curves(arms: &[Arm]) -> Chart {
    let line = |arm: &Arm| Series { name: arm.name.clone(), points: arm.curve.clone(), band: Vec::new() };
    Chart {
        id: "curves".into(),
        title: "How many of the draft's words would be accepted?".into(),
        caption: "Expected share of accepted tokens on one window of test text, while both students learn. They begin as one.".into(),
        x: Axis::linear("Step"),
        y: Axis::linear("Acceptance (%)"),
        body: ChartBody::Line { series: arms.iter().map(line).collect() },
    }
}

pub(super) fn mass(exam: &Exam) -> Chart {
    let points = SIZES.iter().zip(exam.masses(&SIZES)).map(|(count, mass)| [*count as f64, 100.0 * mass]).collect();
    Chart {
        id: "mass".into(),
        title: "How much of an answer do a few tokens hold?".into(),
        caption:
            "The probability that the teacher gives to its likeliest tokens together, on average over the test text."
                .into(),
        x: Axis::log("Tokens kept"),
        y: Axis { max: Some(100.0), ..Axis::linear("Probability (%)") },
        body: ChartBody::Line { series: vec![Series { name: "Kept".into(), points, band: Vec::new() }] },
    }
}

/// What teacher and draft expect at one place: where the teacher's doubt is nearest to two nats in the first window.
pub(super) async fn position(
    material: &Material,
    exam: &Exam,
    students: [&Transformer; 2],
    cx: &Context,
) -> Result<Chart, LabError> {
    let v = exam.vocabulary;
    let entropy = |i: usize| -> f32 { (i * v..(i + 1) * v).map(|k| -exam.p[k] * exam.log_p[k]).sum() };
    let away: Vec<f32> = (CONTEXT..WINDOW).map(|i| (entropy(i) - 2.0).abs()).collect();
    let at = CONTEXT + away.iter().enumerate().fold(0, |best, (i, d)| if *d < away[best] { i } else { best });
    let teacher = &exam.p[at * v..(at + 1) * v];
    let mut order: Vec<usize> = (0..v).collect();
    order.ordered_by(&|a, b| teacher[*b].total_cmp(&teacher[*a]));
    order.truncate(SHOWN);
    let series = |name: &str, p: &dyn Fn(usize) -> f32| BarSeries {
        name: name.into(),
        values: order.iter().map(|k| 100.0 * f64::from(p(*k))).collect(),
        intervals: Vec::new(),
    };
    let mut all = vec![series("Teacher", &|k| teacher[k])];
    for (name, model) in ["Draft before", "Draft after"].iter().zip(students) {
        let answers = exam.answers(model, 0, cx).await?;
        all.push(series(name, &|k| answers[at * v + k].exp()));
    }
    let words = |tokens: &[u32]| material.tokenizer.decode(tokens);
    Ok(Chart {
        id: "position".into(),
        title: "Which token comes next?".into(),
        caption: format!(
            "The teacher's six likeliest tokens after “…{}”, and what the draft gave them before and after.",
            words(&exam.windows[0][at + 1 - CONTEXT..=at])
        ),
        x: Axis::linear("Token"),
        y: Axis::linear("Probability (%)"),
        body: ChartBody::Bar {
            categories: order.iter().map(|k| format!("“{}”", words(&[*k as u32]))).collect(),
            series: all,
        },
    })
}

/// What each wrote after the same beginning.
pub(super) fn texts(material: &Material, exam: &Exam, judged: &[(Judged, Own)]) -> Table {
    let prompt = exam.windows.first().map_or(&[][..], |window| &window[..PROMPT]);
    let row = |(who, (_, own)): (&&str, &(Judged, Own))| {
        let text = own.texts.first().map_or(&[][..], Vec::as_slice);
        vec![Cell::from(*who), material.tokenizer.decode(&[prompt, text].concat()).into()]
    };
    Table {
        id: "texts".into(),
        title: "What they write after the same eight tokens, with the same draws".into(),
        columns: ["Writer", "Text"].map(str::to_owned).to_vec(),
        rows: ["The draft before", "Taught by labels", "Taught by the teacher"].iter().zip(judged).map(row).collect(),
    }
}
