//! The heatmap, the bytes, and every tensor in a table.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Table};
use lab_kit::{report::thousands, tensor_file::TensorFile};

use super::survey::{Measured, Survey, WIDTHS};

/// Rows of the heatmap, at most.
const ROWS: usize = 40;

/// Error by tensor and width. Of many tensors those that lose most.
pub(super) fn heatmap(survey: &Survey) -> Chart {
    let mut shown: Vec<&Measured> = survey.tensors.iter().collect();
    let mut which = "every matrix of the file";
    if shown.len() > ROWS {
        // At 4 bits, where most decisions fall.
        shown.sort_by(|a, b| a.sqnr_db[1].total_cmp(&b.sqnr_db[1]));
        shown.truncate(ROWS);
        which = "the 40 matrices that lose most at 4 bits";
    }
    Chart {
        id: "sqnr".into(),
        title: "Which tensor loses most?".into(),
        caption: format!(
            "SQNR of {which}, in dB. A row that is paler than its neighbours holds outliers; all rows pale from 8 to 2 bits."
        ),
        x: Axis::linear("Bits per weight"),
        y: Axis::linear("Tensor"),
        body: ChartBody::Heatmap {
            rows: shown.iter().map(|tensor| tensor.name.clone()).collect(),
            columns: WIDTHS.map(|bits| bits.to_string()).to_vec(),
            values: shown.iter().map(|tensor| tensor.sqnr_db.map(|db| (10.0 * db).round() / 10.0).to_vec()).collect(),
        },
    }
}

/// Bytes of all, at every width.
pub(super) fn bytes(survey: &Survey) -> Chart {
    let mut categories = vec!["stored".to_owned()];
    categories.extend(WIDTHS.map(|bits| format!("{bits} bits")));
    let mut values = vec![survey.stored_bytes() as f64];
    values.extend((0..WIDTHS.len()).map(|width| survey.bytes(width) as f64));
    Chart {
        id: "bytes".into(),
        title: "What would it save?".into(),
        caption: "All tensors as stored, and with their matrices packed at each width, scales included.".into(),
        x: Axis::linear(""),
        y: Axis::linear("Bytes"),
        body: ChartBody::Bar {
            categories,
            series: vec![BarSeries { name: "Bytes".into(), values, intervals: vec![] }],
        },
    }
}

/// Every matrix.
pub(super) fn table(survey: &Survey) -> Table {
    let mut columns = ["Tensor", "Shape", "Type", "Max (σ)", "Kurtosis"].map(str::to_owned).to_vec();
    columns.extend(WIDTHS.map(|bits| format!("{bits} bits (dB)")));
    columns.extend(WIDTHS.map(|bits| format!("{bits} bits (bytes)")));
    let row = |tensor: &Measured| {
        let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        let mut cells = vec![Cell::from(tensor.name.as_str()), shape.into(), tensor.dtype.as_str().into()];
        cells.extend([tensor.max_over_sigma, tensor.kurtosis].map(Cell::from));
        cells.extend(tensor.sqnr_db.map(Cell::from));
        cells.extend(tensor.bytes.map(|bytes| Cell::from(bytes as f64)));
        cells
    };
    Table {
        id: "tensors".into(),
        title: "Every matrix".into(),
        columns,
        rows: survey.tensors.iter().map(row).collect(),
    }
}

/// What was read and what was left out.
pub(super) fn notes(survey: &Survey, file: &TensorFile) -> Vec<String> {
    let mut notes = vec![format!(
        "{}: {} matrices with {} weights measured; {} vectors ({} bytes) stay as they are.",
        file.name(),
        survey.tensors.len(),
        thousands(survey.weights()),
        survey.kept.0,
        thousands(survey.kept.1 as usize)
    )];
    if let Some(first) = survey.unread.first() {
        let others = match survey.unread.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} others"),
        };
        notes.push(format!("Left out: “{}” holds {}{others}; F32, F16 and BF16 are read.", first.name, first.dtype));
    }
    notes
}
