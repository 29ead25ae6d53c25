//! Charts and tables of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, LabError, Series, Table};
use lab_kit::{
    Context,
    adapters::{Method as Kind, Storage},
    models::{Sampling, Transformer, write_rows},
    report::thousands,
};

use super::{arm::Arm, judge::Judged, material::Material, merging::Merged};

/// Tokens of a sample, and tokens before it.
const WRITTEN: usize = 24;
const PROMPT: usize = 16;

pub(super) fn curves(arms: &[Arm]) -> Chart {
    let line = |arm: &Arm| Series { name: arm.name.clone(), points: arm.losses.clone(), band: Vec::new() };
    Chart {
        id: "curves".into(),
        title: "How fast does each learn the new habit?".into(),
        caption: "Loss of each training batch. Both read the same text in the same order.".into(),
        x: Axis::linear("Step"),
        y: Axis::linear("Loss of the batch (nats)"),
        body: ChartBody::Line { series: arms.iter().map(line).collect() },
    }
}

/// What was learned against what was forgotten.
pub(super) fn plane(before: &Judged, arms: &[Arm], judged: &[Judged]) -> Chart {
    let point = |name: &str, judged: &Judged| Series {
        name: name.into(),
        points: vec![[judged.old_loss(), judged.new_loss()]],
        band: Vec::new(),
    };
    let mut series = vec![point("Before", before)];
    series.extend(arms.iter().zip(judged).map(|(arm, judged)| point(&arm.name, judged)));
    Chart {
        id: "plane".into(),
        title: "What is learned, and what is forgotten?".into(),
        caption: "Down is learned, right is forgotten: losses on unseen text in the new habit and as it was.".into(),
        x: Axis::linear("Loss on the old text (nats)"),
        y: Axis::linear("Loss on the new text (nats)"),
        body: ChartBody::Scatter { series },
    }
}

pub(super) fn table(before: &Judged, arms: &[Arm], judged: &[Judged], merged: &Merged) -> Table {
    let row = |name: &str, numbers: String, judged: &Judged| {
        vec![Cell::from(name), numbers.into(), judged.new_loss().into(), judged.old_loss().into()]
    };
    let mut rows = vec![row("Before", "none".into(), before)];
    rows.extend(arms.iter().zip(judged).map(|(arm, judged)| row(&arm.name, thousands(arm.numbers), judged)));
    rows.extend(merged.ways.iter().map(|way| row(&way.name, "merged".into(), &way.judged)));
    Table {
        id: "models".into(),
        title: "The model before, after, and merged".into(),
        columns: ["Model", "Numbers that learned", "New text (nats)", "Old text (nats)"].map(str::to_owned).to_vec(),
        rows,
    }
}

/// What the model writes before and after, likeliest token by likeliest token. None where it cannot read a text piece by
/// piece.
pub(super) async fn texts(material: &Material, arm: &Arm, cx: &Context) -> Result<Option<Table>, LabError> {
    if arm.setting.method == Kind::Prompt {
        return Ok(None);
    }
    let mut rows = Vec::new();
    let count = WRITTEN.min(2 * arm.losses.len());
    for (name, model) in [("Before", material.model(Storage::Fp32, &cx.device)?), (arm.name.as_str(), arm.model())] {
        let texts: [&[u32]; 2] = [&material.new[0][..PROMPT], &material.old[0][..PROMPT]];
        let written = write(&model, &texts, count, cx).await?;
        let mut cells = vec![Cell::from(name)];
        for (prompt, text) in texts.iter().zip(written) {
            cells.push(material.tokenizer.decode(&[*prompt, &text].concat()).into());
        }
        rows.push(cells);
    }
    let columns = ["Writer", "After a beginning in the new habit", "After the same beginning as it was"];
    let columns = columns.map(str::to_owned).to_vec();
    Ok(Some(Table { id: "texts".into(), title: "What it writes".into(), columns, rows }))
}

async fn write(model: &Transformer, texts: &[&[u32]], count: usize, cx: &Context) -> Result<Vec<Vec<u32>>, LabError> {
    let wait = async || cx.checkpoint().await;
    write_rows(model, (texts, count), &Sampling::GREEDY, &mut cx.rng("text"), &cx.device, wait).await
}
