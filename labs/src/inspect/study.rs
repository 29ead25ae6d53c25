//! The book's own model under every sharing of scales: which kind of matrix loses most, and when.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Family, LabError, Report, Table};
use lab_kit::{
    Context, Input,
    models::LanguageModel,
    quant::{Granularity, Scheme},
    report::{MetricExt, metric},
    tensor_file::TensorFile,
};

use super::survey::{Measured, Survey, WIDTHS};

const SHARES: [(Granularity, &str, &str); 3] = [
    (Granularity::Tensor, "tensor", "one scale a tensor"),
    (Granularity::Channel, "channel", "one scale a row"),
    (Granularity::Group(32), "group_32", "groups of 32"),
];
/// Kinds of matrix, by how their names end, and as identifiers.
const KINDS: [(&str, &str); 6] = [
    ("embed_tokens", "embedding"),
    ("lm_head", "output"),
    ("down_proj", "down"),
    ("up_proj", "up"),
    ("gate_proj", "gate"),
    ("self_attn", "attention"),
];

pub(super) async fn run(cx: &Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let mut bars = Vec::new();
    let mut rows: Vec<Vec<Cell>> = KINDS.map(|(_, kind)| vec![Cell::from(kind)]).to_vec();
    for (granularity, id, words) in SHARES {
        let file = TensorFile::open(Input::open(cx, "file", "", LanguageModel::full().asset).await?).await?;
        let mut survey = Survey::new(&file, Scheme::Symmetric, granularity)?;
        while survey.next_tensor().is_some() {
            survey.measure(&file, cx).await?;
        }
        for (i, bits) in WIDTHS.iter().enumerate() {
            for (part, kind) in KINDS {
                let db = least(&survey.tensors, part, i);
                let label = format!("Least SQNR of {kind} at {bits} bits, {words}");
                report
                    .metrics
                    .push(metric(Family::Quality, &format!("sqnr_{id}_{bits}_{kind}"), &label, db, "dB").higher());
            }
        }
        let at_4 = WIDTHS.iter().position(|bits| *bits == 4).unwrap_or(0);
        let values = KINDS.map(|(part, _)| least(&survey.tensors, part, at_4)).to_vec();
        for (row, db) in rows.iter_mut().zip(&values) {
            row.push(Cell::from(*db));
        }
        bars.push(BarSeries { name: words.into(), values, intervals: vec![] });
    }
    report.tables.push(Table {
        id: "kinds".into(),
        title: "Least SQNR of each kind at 4 bits (dB)".into(),
        columns: std::iter::once("Matrix").chain(SHARES.map(|(_, _, words)| words)).map(str::to_owned).collect(),
        rows,
    });
    report.charts.push(Chart {
        id: "kinds".into(),
        title: "Who loses most depends on who shares".into(),
        caption: "The worst matrix of each kind at 4 bits, symmetric.".into(),
        x: Axis::linear("Matrix"),
        y: Axis { min: Some(0.0), ..Axis::linear("SQNR (dB)") },
        body: ChartBody::Bar { categories: KINDS.map(|(_, kind)| kind.to_owned()).to_vec(), series: bars },
    });
    Ok(report)
}

/// Of the matrices whose names hold `part`, at one of the widths.
fn least(tensors: &[Measured], part: &str, width: usize) -> f64 {
    let kind = tensors.iter().filter(|tensor| tensor.name.contains(part));
    kind.map(|tensor| tensor.sqnr_db[width]).fold(f64::INFINITY, f64::min)
}
