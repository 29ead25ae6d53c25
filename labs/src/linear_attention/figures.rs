//! Charts and tables of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Image, Series, Table};
use lab_kit::{
    mixing::{Reading, Way},
    stats::median,
};

use super::{
    looks::{Held, KEY},
    swaps::Swaps,
    timing::{NAMES, Times},
    ways::Arm,
};

/// Tokens of a picture of weights.
const SIDE: usize = 28;

/// Loss added, by layer and method.
pub(super) fn grid(swaps: &Swaps) -> Chart {
    let rows = ["All layers", "Layer 0", "Layer 1", "Layer 2", "Layer 3"];
    Chart {
        id: "grid".into(),
        title: "Which layer misses its softmax?".into(),
        caption: "Loss that is added, in nats a token, when attention is exchanged in all layers or in one alone. Nothing was trained for it.".into(),
        x: Axis::linear("In the place of softmax"),
        y: Axis::linear("Exchanged in"),
        body: ChartBody::Heatmap {
            rows: rows.map(str::to_owned).to_vec(),
            columns: swaps.rows.iter().map(|(_, name, _)| name.clone()).collect(),
            values: (0..5).map(|i| swaps.rows.iter().map(|(_, _, row)| row[i]).collect()).collect(),
        },
    }
}

/// The weights of one head in the first and the last layer, for the same text.
pub(super) fn maps(reading: &Reading, arms: &[Arm]) -> Chart {
    let (d, heads) = (reading.channels, reading.heads.len());
    let side = SIDE.min(reading.length);
    let mut images = Vec::new();
    for layer in [0, 3] {
        let at = layer * heads / 4;
        let head = &reading.heads[at][0];
        let (q, k) = (&head.q[..side * d], &head.k[..side * d]);
        let mut draw = |name: String, way: &Way| {
            if let Some(weights) = way.weights(q, k, d, at) {
                // The root makes small weights visible; negative ones stay black.
                let pixels = weights.iter().map(|w| (255.0 * w.max(0.0).sqrt()).min(255.0) as u8).collect();
                images.push(Image { label: format!("Layer {layer}: {name}"), pixels, marked: false });
            }
        };
        draw("softmax".into(), &Way::FULL);
        for arm in arms {
            draw(arm.name.clone(), &arm.way);
        }
    }
    Chart {
        id: "maps".into(),
        title: "Who looks at whom?".into(),
        caption: format!(
            "Weights of one head over the first {side} tokens of a text: a row is a query, a column a key, bright is much. Layer 0 is nearly even, layer 3 has stripes and points."
        ),
        x: Axis::linear("Key"),
        y: Axis::linear("Query"),
        body: ChartBody::ImageGrid { width: side as u32, height: side as u32, images },
    }
}

/// Pairs found, by rule.
pub(super) fn memory(held: &Held) -> Table {
    let mut columns = vec!["Rule".to_owned()];
    for times in ["once", "twice"] {
        columns.extend(held.pairs.iter().map(|pairs| format!("{pairs} pairs, {times} (%)")));
    }
    let row = |(words, once, twice): &(String, Vec<f64>, Vec<f64>)| {
        [Cell::from(words.as_str())]
            .into_iter()
            .chain(once.iter().chain(twice).map(|share| Cell::from(*share)))
            .collect()
    };
    Table {
        id: "memory".into(),
        title: format!(
            "Values found under keys of {KEY} random numbers, each pair written once, or twice with the newer value asked for"
        ),
        columns,
        rows: held.rows.iter().map(row).collect(),
    }
}

/// Time against length.
pub(super) fn times(times: &Times) -> Chart {
    let line = |(mixer, name): (usize, &&str)| Series {
        name: (**name).into(),
        points: times.lengths.iter().map(|t| [*t as f64, median(times.of(mixer, *t)).max(1e-6)]).collect(),
        band: vec![],
    };
    Chart {
        id: "times".into(),
        title: "From which length on is linear faster?".into(),
        caption: "Median time of one head of 32 channels, forward, on this device. Both axes are logarithmic: steeper lines grow faster.".into(),
        x: Axis::log("Tokens"),
        y: Axis::log("Time (ms)"),
        body: ChartBody::Line { series: NAMES.iter().enumerate().map(line).collect() },
    }
}
