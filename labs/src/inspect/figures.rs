//! The heatmap, the bytes, and every tensor in a table.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Table};
use lab_kit::{
    report::thousands,
    stats::median,
    tensor_file::{TensorEntry, TensorFile, Unread, bytes},
};

use super::survey::{Measured, Survey, WIDTHS, counted};
use lab_kit::order::Ordered as _;

/// Rows of the heatmap, at most.
const ROWS: usize = 40;

/// From here on nothing is lost but the last digits of a 32-bit float, as of weights that lie on the grid.
const NO_ERROR_DB: f64 = 120.0;

/// Rows of the table, at most.
const LISTED: usize = 500;

/// Characters of a name that fit beside the heatmap.
const NAME: usize = 18;

/// Error by tensor and width, held against the median of the width: between widths it differs so much that nothing else would
/// be seen. Of many tensors those that lose most.
pub(super) fn heatmap(survey: &Survey) -> Chart {
    let mut shown: Vec<&Measured> = survey.tensors.iter().collect();
    let mut which = "Every matrix of the file";
    if shown.len() > ROWS {
        // At 4 bits, where most decisions fall.
        shown.ordered_by(&|a, b| a.sqnr_db[1].total_cmp(&b.sqnr_db[1]));
        shown.truncate(ROWS);
        which = "The 40 matrices that lose most at 4 bits";
    }
    let middle = |width: usize| median(&survey.tensors.iter().map(|tensor| tensor.sqnr_db[width]).collect::<Vec<_>>());
    let middles: Vec<f64> = (0..WIDTHS.len()).map(middle).collect();
    let row = |tensor: &&Measured| {
        let differences = tensor.sqnr_db.iter().zip(&middles).map(|(db, middle)| (10.0 * (db - middle)).round() / 10.0);
        differences.collect()
    };
    let words: Vec<String> = WIDTHS.iter().zip(&middles).map(|(bits, db)| format!("{db:.1} at {bits}")).collect();
    Chart {
        id: "sqnr".into(),
        title: "Which tensor loses most?".into(),
        caption: format!(
            "{which}: SQNR above or below the median of its width, in dB. The fainter, the greater the loss. The medians are {} bits.",
            words.join(", ")
        ),
        x: Axis::linear("Bits per weight"),
        y: Axis::linear("Tensor"),
        body: ChartBody::Heatmap {
            rows: short_names(&shown.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>()),
            columns: WIDTHS.map(|bits| bits.to_string()).to_vec(),
            values: shown.iter().map(row).collect(),
        },
    }
}

/// Names of tensors, shortened where they stay apart: `model.layers.0.mlp.up_proj.weight` is `0.mlp.up_proj`.
fn short_names(names: &[&str]) -> Vec<String> {
    let short = |name: &str| {
        let name = name.strip_suffix(".weight").unwrap_or(name);
        let parts: Vec<&str> = name.split('.').collect();
        let number = |part: &&str| part.chars().all(|c| c.is_ascii_digit());
        let number = parts.iter().copied().find(number);
        let mut end = parts.len() - 1;
        let words = |from: usize| {
            let inner = parts[from..].iter().copied().filter(|part| Some(*part) != number);
            number.into_iter().chain(inner).collect::<Vec<_>>().join(".")
        };
        while end > 0 && Some(parts[end - 1]) != number && words(end - 1).len() <= NAME {
            end -= 1;
        }
        words(end)
    };
    let all: Vec<String> = names.iter().map(|name| short(name)).collect();
    let apart = all.iter().collect::<std::collections::BTreeSet<_>>().len() == all.len();
    if apart { all } else { names.iter().map(|name| (*name).to_owned()).collect() }
}

/// Bytes of all, at every width.
pub(super) fn sizes(survey: &Survey) -> Chart {
    let mut categories = vec!["stored".to_owned()];
    categories.extend(WIDTHS.map(|bits| format!("{bits} bits")));
    categories.extend(["no zeros", "factors"].map(str::to_owned));
    let mut values = vec![survey.stored_bytes() as f64];
    values.extend((0..WIDTHS.len()).map(|width| survey.bytes(width) as f64));
    values.push(survey.bytes_with(|tensor| tensor.bitmap_bytes) as f64);
    values.push(survey.bytes_with(|tensor| tensor.factored_bytes) as f64);
    Chart {
        id: "bytes".into(),
        title: "What would it save?".into(),
        caption: "All tensors as stored; with their matrices packed at each width, scales included; with zeros left out; in two factors of \
                  the rank that holds 99 % of the squared weights."
            .into(),
        x: Axis::linear("Width"),
        y: Axis::linear("Bytes"),
        body: ChartBody::Bar {
            categories,
            series: vec![BarSeries { name: "Bytes".into(), values, intervals: vec![] }],
        },
    }
}

/// Every matrix; of thousands those that lose most, and on the way (`draft`) few, since a page draws each row anew.
pub(super) fn table(survey: &Survey, draft: bool) -> Table {
    let mut shown: Vec<&Measured> = survey.tensors.iter().collect();
    let most = if draft { ROWS } else { LISTED };
    let title = if shown.len() > most {
        shown.ordered_by(&|a, b| a.sqnr_db[1].total_cmp(&b.sqnr_db[1]));
        shown.truncate(most);
        format!("The {most} matrices that lose most at 4 bits")
    } else {
        "Every matrix".to_owned()
    };
    let mut columns = ["Tensor", "Shape", "Type", "Max (σ)", "Kurtosis"].map(str::to_owned).to_vec();
    columns.extend(WIDTHS.map(|bits| format!("{bits} bits (dB)")));
    columns.extend(WIDTHS.map(|bits| format!("{bits} bits (bytes)")));
    columns.extend(["Zeros (%)", "No zeros (bytes)", "Rank for 99 %", "Two factors (bytes)"].map(str::to_owned));
    let row = |tensor: &Measured| {
        let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("\u{202f}×\u{202f}");
        let mut cells = vec![Cell::from(tensor.name.as_str()), shape.into(), tensor.dtype.as_str().into()];
        cells.extend([tensor.max_over_sigma, tensor.kurtosis].map(Cell::from));
        cells.extend(tensor.sqnr_db.map(|db| if db >= NO_ERROR_DB { Cell::from("no error") } else { Cell::from(db) }));
        cells.extend(tensor.bytes.map(|bytes| Cell::from(bytes as f64)));
        cells.push(Cell::from(100.0 * tensor.zeros as f64 / tensor.weights.max(1) as f64));
        cells.push(Cell::from(tensor.bitmap_bytes as f64));
        cells.push(tensor.rank.map_or_else(|| Cell::from("too large"), |rank| Cell::from(rank as f64)));
        cells.push(Cell::from(tensor.factored_bytes as f64));
        cells
    };
    Table { id: "tensors".into(), title, columns, rows: shown.into_iter().map(row).collect() }
}

/// What was read and what was left out; what is no number comes first.
pub(super) fn notes(survey: &Survey, file: &TensorFile) -> Vec<String> {
    const NAMED: usize = 8;
    let mut notes = Vec::new();
    let no_number =
        |(_, why): &&(TensorEntry, Unread)| matches!(why, Unread::NotFinite { value, .. } if value.is_nan());
    let (mut broken, other): (Vec<_>, Vec<_>) = survey.unread.iter().partition(no_number);
    let (spoiled, infinite): (Vec<_>, Vec<_>) = survey.odd.iter().partition(no_number);
    broken.extend(spoiled);
    if !broken.is_empty() {
        let names: Vec<String> = broken
            .iter()
            .take(NAMED)
            .map(|(tensor, why)| format!("“{}” {}", tensor.label(), why.words(tensor)))
            .collect();
        notes.push(format!(
            "Not a number: {}{}. The file is damaged, or its training went astray. Left out; all else is measured.",
            names.join("; "),
            more(broken.len(), NAMED)
        ));
    }
    let kept = survey.kept_words();
    let kept = if kept.is_empty() {
        String::new()
    } else {
        format!(
            "; {kept} {}",
            if survey.kept.iter().map(|(count, _)| count).sum::<usize>() == 1 {
                "stays as it is"
            } else {
                "stay as they are"
            }
        )
    };
    notes.push(format!(
        "{}: {} with {} measured{kept}.",
        file.name(),
        counted(survey.tensors.len(), "matrix"),
        counted(survey.weights(), "weight")
    ));
    if !other.is_empty() {
        let left: u64 = other.iter().map(|(tensor, _)| tensor.bytes).sum();
        let names: Vec<String> = other
            .iter()
            .take(NAMED)
            .map(|(tensor, why)| format!("“{}” {}", tensor.label(), why.words(tensor)))
            .collect();
        notes.push(format!(
            "Left out, with {} that count in every total: {}{}. F32, F16 and BF16 are read.",
            bytes(left),
            names.join("; "),
            more(other.len(), NAMED)
        ));
    }
    if !infinite.is_empty() {
        let names: Vec<String> = infinite
            .iter()
            .take(NAMED)
            .map(|(tensor, why)| format!("“{}” {}", tensor.label(), why.words(tensor)))
            .collect();
        notes.push(format!("Infinite: {}{}.", names.join("; "), more(infinite.len(), NAMED)));
    }
    notes
}

fn more(all: usize, named: usize) -> String {
    match all.saturating_sub(named) {
        0 => String::new(),
        1 => "; and 1 other".to_owned(),
        more => format!("; and {} others", thousands(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_stay_apart() {
        let names =
            ["lm_head.weight", "model.layers.0.mlp.down_proj.weight", "model.layers.11.self_attn.k_proj.weight"];
        assert_eq!(short_names(&names), ["lm_head", "0.mlp.down_proj", "11.k_proj"]);
        let same = ["encoder.layer.0.attention.output.dense.weight", "encoder.layer.0.output.dense.weight"];
        assert_eq!(short_names(&same), same);
        assert_eq!(short_names(&["0.weight", "7", "w"]), ["0", "7", "w"]);
    }
}
