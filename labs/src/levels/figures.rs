//! The number line, the error at other widths, and what this setting calls for saying.

use lab_api::{Axis, Chart, ChartBody, GridLevel, Series, Snapped};

use super::{Params, Placement, Range, snap::Snap};

/// Weights snapping to levels.
pub(super) fn line(snap: &Snap, params: &Params) -> Chart {
    let grid = &snap.grid;
    let level =
        |code: u8| GridLevel { at: f64::from(grid.value(code)), code: i64::from(code), zero: code == grid.zero_point };
    let point = |weight: &f32| Snapped {
        at: f64::from(*weight),
        level: usize::from(grid.code(*weight) - grid.lowest),
        clipped: snap.is_clipped(*weight),
    };
    let unused = match params.scheme {
        Placement::Symmetric => " Code 0 stays unused, so that both sides are equal.",
        Placement::Affine => "",
    };
    Chart {
        id: "line".into(),
        title: "Where does each weight go?".into(),
        caption: format!(
            "Weights above, levels with their codes below; each weight snaps to the nearest level. What lies in a shaded \
             part is beyond the last level.{unused}"
        ),
        x: Axis::linear("Weight (σ)"),
        y: Axis::linear("Code"),
        body: ChartBody::NumberLine {
            points: snap.weights.iter().map(point).collect(),
            levels: (grid.lowest..=grid.highest).map(level).collect(),
        },
    }
}

/// The error at every width.
pub(super) fn sweep(sweep: &[(u32, f64)], bits: u32) -> Chart {
    let point = |(bits, db): &(u32, f64)| [f64::from(*bits), *db];
    let chosen = sweep.iter().filter(|(width, _)| *width == bits).map(point).collect();
    Chart {
        id: "sweep".into(),
        title: "What does a bit buy?".into(),
        caption: "SQNR of the same weights at other widths, grid and range as chosen.".into(),
        x: Axis::linear("Bits"),
        y: Axis::linear("SQNR (dB)"),
        body: ChartBody::Line {
            series: vec![
                Series { name: "2 to 8 bits".into(), points: sweep.iter().map(point).collect(), band: vec![] },
                Series { name: "Chosen".into(), points: chosen, band: vec![] },
            ],
        },
    }
}

/// What this very setting calls for saying.
pub(super) fn notes(snap: &Snap, params: &Params) -> Vec<String> {
    let mut notes = Vec::new();
    let at_zero = snap.weights.iter().filter(|weight| snap.grid.code(**weight) == snap.grid.zero_point).count();
    let used: std::collections::BTreeSet<u8> = snap.weights.iter().map(|weight| snap.grid.code(*weight)).collect();
    let levels = usize::from(snap.grid.highest - snap.grid.lowest) + 1;
    notes.push(format!(
        "The {} weights take {} of {levels} levels; {at_zero} become zero.",
        snap.weights.len(),
        used.len()
    ));
    if params.range == Range::Hand {
        match params.scheme {
            Placement::Symmetric => notes.push("A symmetric grid keeps its zero point in the middle.".into()),
            Placement::Affine if snap.grid.zero_point < params.zero_point => notes.push(format!(
                "The zero point is held at {}, the largest code of {} bits.",
                snap.grid.zero_point, params.bits
            )),
            Placement::Affine => {}
        }
    }
    notes
}
