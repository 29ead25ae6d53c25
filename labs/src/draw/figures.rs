//! Probabilities side by side, the picture, and who answers what.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Image, Table};
use lab_kit::data::Glyphs;

use super::{
    networks::{Seen, WIDTHS},
    prepare::Picture,
};
use lab_kit::order::Ordered as _;

/// Classes shown in the bars, at most.
const CLASSES: usize = 6;

fn character(class: usize) -> String {
    u8::try_from(class).ok().and_then(Glyphs::character).map_or_else(|| "?".to_owned(), String::from)
}

/// `FP32`, `8 bits` and so on.
fn arms() -> Vec<String> {
    std::iter::once("FP32".to_owned()).chain(WIDTHS.map(|bits| format!("{bits} bits"))).collect()
}

/// The top classes of one network in FP32 and at each width.
pub(super) fn bars(seen: &Seen) -> Chart {
    let highest = |class: usize| seen.probabilities.iter().map(|arm| arm[class]).fold(0.0, f64::max);
    let mut classes: Vec<usize> = (0..seen.probabilities[0].len()).collect();
    classes.ordered_by(&|a, b| highest(*b).total_cmp(&highest(*a)));
    classes.truncate(CLASSES);
    let series = arms().into_iter().zip(&seen.probabilities).map(|(name, arm)| BarSeries {
        name,
        values: classes.iter().map(|class| 100.0 * arm[*class]).collect(),
        intervals: vec![],
    });
    Chart {
        id: "probabilities".into(),
        title: format!("What does it see? ({})", seen.name),
        caption:
            "Probabilities of the six classes that any width gives most to. Bars of one class that differ in height \
                  are what rounding has changed."
                .into(),
        x: Axis::linear("Class"),
        y: Axis { max: Some(100.0), ..Axis::linear("Probability (%)") },
        body: ChartBody::Bar {
            categories: classes.iter().map(|class| character(*class)).collect(),
            series: series.collect(),
        },
    }
}

/// What a student would be taught with: the likeliest classes in FP32, as they are and at the temperature.
pub(super) fn soft_targets(seen: &Seen, temperature: f64) -> Chart {
    let plain = &seen.probabilities[0];
    let soft = seen.soft_targets(temperature);
    let mut classes: Vec<usize> = (0..plain.len()).collect();
    classes.ordered_by(&|a, b| plain[*b].total_cmp(&plain[*a]));
    classes.truncate(CLASSES);
    let bars = |name: String, of: &[f64]| BarSeries {
        name,
        values: classes.iter().map(|class| 100.0 * of[*class]).collect(),
        intervals: vec![],
    };
    Chart {
        id: "soft".into(),
        title: "What could a student learn from it?".into(),
        caption: "The six likeliest classes in FP32, and the same at the temperature chosen: the order stays, and what the network finds similar comes to light.".into(),
        x: Axis::linear("Class"),
        y: Axis { max: Some(100.0), ..Axis::linear("Probability (%)") },
        body: ChartBody::Bar {
            categories: classes.iter().map(|class| character(*class)).collect(),
            series: vec![bars("T = 1".into(), plain), bars(format!("T = {temperature}"), &soft)],
        },
    }
}

/// What the networks look at.
pub(super) fn picture(picture: &Picture) -> Chart {
    let side = Glyphs::SIDE as u32;
    let pixels = picture.pixels.iter().map(|ink| (255.0 * ink).round() as u8).collect();
    Chart {
        id: "picture".into(),
        title: "What do they look at?".into(),
        caption: "16 by 16 pixels in 16 levels of grey, cut to the ink, scaled and centred.".into(),
        x: Axis::default(),
        y: Axis::default(),
        body: ChartBody::ImageGrid {
            width: side,
            height: side,
            images: vec![Image { label: picture.label.clone(), pixels, marked: false }],
        },
    }
}

/// How sure every network is of what it says in FP32, at each width.
pub(super) fn confidence(seen: &[Seen; 3]) -> Chart {
    let row = |network: &Seen| {
        let answer = network.answer(0);
        network.probabilities.iter().map(|arm| (10_000.0 * arm[answer]).round() / 100.0).collect()
    };
    Chart {
        id: "confidence".into(),
        title: "Do they stay with their answer?".into(),
        caption: "Probability, in per cent, of what each network answers in FP32. The row names the answer.".into(),
        x: Axis::linear("Width"),
        y: Axis::linear("Network"),
        body: ChartBody::Heatmap {
            rows: seen.iter().map(|network| format!("{}: {}", network.name, character(network.answer(0)))).collect(),
            columns: arms(),
            values: seen.iter().map(row).collect(),
        },
    }
}

/// Each answer.
pub(super) fn answers(seen: &[Seen; 3]) -> Table {
    let columns = ["Network", "Width", "Answer", "As in FP32", "Probability (%)", "Weights (bytes)"];
    let rows = seen.iter().flat_map(|network| {
        arms().into_iter().enumerate().map(|(arm, name)| {
            let same = if network.answer(arm) == network.answer(0) { "yes" } else { "no" };
            vec![
                Cell::from(network.name),
                name.into(),
                character(network.answer(arm)).into(),
                same.into(),
                network.confidence(arm).into(),
                (network.bytes[arm] as f64).into(),
            ]
        })
    });
    Table {
        id: "answers".into(),
        title: "Every answer".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

/// What this picture calls for saying.
pub(super) fn notes(seen: &[Seen; 3], source: &str) -> Vec<String> {
    let mut notes = vec![format!("The picture is {source}.")];
    for network in seen {
        let changed: Vec<String> = (0..WIDTHS.len())
            .filter(|i| network.answer(i + 1) != network.answer(0))
            .map(|i| format!("{} at {} bits", character(network.answer(i + 1)), WIDTHS[i]))
            .collect();
        if !changed.is_empty() {
            let answer = character(network.answer(0));
            notes.push(format!("{} says {answer} in FP32, but {}.", network.name, changed.join(" and ")));
        }
    }
    notes
}
