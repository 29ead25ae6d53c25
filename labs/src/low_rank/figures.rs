//! Tables and charts of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, LabError, Series, Table};
use lab_kit::linalg::{break_even, eigen, rank_by_energy};

use super::{
    Params,
    layer::Piece,
    summary::{Arm, Outcome},
    task::{Plan, Task},
};

/// Every matrix: its sizes, its ranks, what it becomes.
pub(super) fn matrices(task: &Task, plan: &Plan, params: &Params) -> Result<Table, LabError> {
    let rows = task.layers().iter().enumerate().map(|(i, layer)| {
        let (outputs, inputs) = (layer.weight.rows, layer.weight.columns);
        let piece = &plan.pieces[i];
        let rank = match piece {
            Piece::Pair(factors) => Cell::from(factors.rank() as f64),
            Piece::Chain(stages) => Cell::from(stages[0].shape[0] as f64),
            Piece::Dense | Piece::Whole(_) => Cell::from("dense"),
        };
        vec![
            Cell::from(layer.name.clone()),
            Cell::from(outputs as f64),
            Cell::from(inputs as f64),
            Cell::from((10.0 * break_even(outputs, inputs)).round() / 10.0),
            rank,
            Cell::from(piece.numbers(layer, params.store) as f64),
            Cell::from(rank_by_energy(&plan.plain[i].gains, 0.9) as f64),
            Cell::from(rank_by_energy(&plan.aware[i].gains, 0.9) as f64),
        ]
    });
    let columns = [
        "Matrix",
        "Outputs",
        "Inputs",
        "Break-even rank",
        "Rank",
        "Numbers stored",
        "Rank for 90 % of the energy: weights",
        "weights times inputs",
    ];
    Ok(Table {
        id: "matrices".into(),
        title: "What each matrix becomes".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    })
}

/// Quality against what is stored.
pub(super) fn curve(task: &Task, plan: &Plan, outcome: &Outcome, params: &Params) -> Chart {
    let (what, unit, _) = task.quality();
    let line = |name: &str, points| Series { name: name.into(), points, band: vec![] };
    let points = |arms: &[Arm]| arms.iter().map(|arm| [100.0 * arm.share, arm.judged.mean()]).collect();
    let dense = outcome.dense.mean();
    let least = outcome.curve.iter().chain([&outcome.int4]).map(|arm| 100.0 * arm.share).fold(100.0, f64::min);
    let held = 100.0 * super::summary::stored(task, &plan.pieces, params.store) as f64 / task.numbers() as f64;
    let mut series = vec![
        line("Dense", vec![[least, dense], [100.0, dense]]),
        line("Weights alone", points(&outcome.plain)),
        line("The method chosen", points(&outcome.curve)),
    ];
    if let Some((factors, _)) = &outcome.tuned {
        series.push(line("After training", vec![[held, factors.mean()]]));
    }
    series.push(line(&outcome.small.name, points(std::slice::from_ref(&outcome.small))));
    series.push(line(&outcome.int4.name, points(std::slice::from_ref(&outcome.int4))));
    Chart {
        id: "curve".into(),
        title: "What does each stored number buy?".into(),
        caption: "Quality against the bytes of the matrices that may be factored, in per cent of FP32. Factors that hold as much as \
                  the matrix stand at 100: nothing is saved there, and something may already be lost."
            .into(),
        x: Axis::linear("Bytes (% of FP32)"),
        y: Axis::linear(&format!("{what} ({unit})")),
        body: ChartBody::Line { series },
    }
}

/// Singular values of the largest matrix, of its inputs, and of both.
pub(super) fn spectra(task: &Task, plan: &Plan) -> Result<Option<Chart>, LabError> {
    // The first of the largest; an output layer that stands alone is shown too.
    let layers = task.layers();
    let Some(most) = layers.iter().map(|layer| layer.numbers()).max() else { return Ok(None) };
    let Some(i) = layers.iter().position(|layer| layer.numbers() == most) else { return Ok(None) };
    let layer = &layers[i];
    // Eigenvalues of a wide covariance would take longer than all else.
    let inputs = if layer.weight.columns <= 256 { eigen(&plan.flows[i].moment) } else { None };
    let roots = |values: &[f64]| {
        let first = values.first().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
        let all = values.iter().map(|value| (value.max(0.0) / first).sqrt()).enumerate();
        // Below a thousandth nothing is seen, and a logarithm has no zero.
        all.map(|(i, s)| [(i + 1) as f64, s]).filter(|point| point[1] > 1e-3).collect::<Vec<_>>()
    };
    let line = |name: &str, values: &[f64]| Series { name: name.into(), points: roots(values), band: vec![] };
    let mut series = vec![line("Weights", &plan.plain[i].gains)];
    series.extend(inputs.map(|inputs| line("Inputs", &inputs.values)));
    series.push(line("Weights times inputs", &plan.aware[i].gains));
    Ok(Some(Chart {
        id: "spectra".into(),
        title: "Where is the low rank?".into(),
        caption: format!(
            "Singular values of “{}”, {} x {}, of its inputs, and of the weights as the inputs reach them, each over its largest.",
            layer.name, layer.weight.rows, layer.weight.columns
        ),
        x: Axis::linear("Direction"),
        y: Axis::log("Singular value (largest = 1)"),
        body: ChartBody::Line { series },
    }))
}
