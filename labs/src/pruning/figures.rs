//! Tables and charts of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Image, Series, Table};
use lab_kit::prune::Network;

use super::{
    material::Material,
    summary::{Arm, by_class, bytes},
};
use lab_kit::order::Ordered as _;

fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    Table { id: id.into(), title: title.into(), columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows }
}

/// Each layer before and after the cut.
pub(super) fn layers(whole: &Network, cut: &Network) -> Table {
    let names = whole.architecture.layers();
    let before = whole.shapes().into_iter().map(|(rows, columns)| rows * columns);
    let row = |((name, before), after): ((&String, usize), usize)| {
        let share = 100.0 * after as f64 / before.max(1) as f64;
        vec![Cell::from(name.clone()), Cell::from(before as f64), Cell::from(after as f64), Cell::from(share)]
    };
    let rows = names.iter().zip(before).zip(cut.non_zero()).map(row).collect();
    table("layers", "What each layer keeps", &["Layer", "Weights", "Kept", "Kept (%)"], rows)
}

/// All arms side by side.
pub(super) fn arms(material: &Material, shipped: &[u8], cut: &[u8], arms: &[Arm]) -> Table {
    let subject = &material.subject;
    let whole = &material.network.architecture;
    let row = |name: &str, answers: &[u8], network: &Network| {
        let all: Vec<usize> = (0..answers.len()).collect();
        let (percent, interval) = subject.accuracy_on(&all, answers, 0.95);
        let kept = network.non_zero().iter().sum::<usize>() as f64;
        let numbers = [percent, interval.low, interval.high, kept, bytes(network, whole) as f64];
        std::iter::once(Cell::from(name)).chain(numbers.map(Cell::from)).collect()
    };
    let mut rows = vec![row("As shipped", shipped, &material.network)];
    if let Some(pruned) = arms.first() {
        rows.push(row("Pruned, not trained", cut, &pruned.network));
    }
    rows.extend(arms.iter().map(|arm| row(arm.name, &arm.answers, &arm.network)));
    let columns = ["Network", "Accuracy (%)", "95 % from", "95 % to", "Weights", "Bytes"];
    table("arms", "All networks, the same images", &columns, rows)
}

/// The classes that lost most.
pub(super) fn classes(material: &Material, arms: &[Arm]) -> Table {
    let mut rows = Vec::new();
    if let [pruned, dense, ..] = arms {
        let mut classes = by_class(material, dense, pruned);
        classes.ordered_by_key(&|(_, [a, b, _])| *b as i64 - *a as i64);
        let row = |(class, [a, b, n]): (char, [usize; 3])| {
            let numbers = [n as f64, a as f64, b as f64, b as f64 - a as f64];
            std::iter::once(Cell::from(class.to_string())).chain(numbers.map(Cell::from)).collect()
        };
        rows = classes.into_iter().take(6).map(row).collect();
    }
    let columns = ["Class", "Images", "Right: dense", "Right: pruned", "Change"];
    table("classes", "Who pays? The six classes that lost most", &columns, rows)
}

/// Accuracy against steps.
pub(super) fn learning(arms: &[Arm]) -> Chart {
    let line = |arm: &Arm| Series { name: arm.name.into(), points: arm.path.clone(), band: vec![] };
    // The dense network first: it is what the others are compared with.
    let mut series: Vec<Series> = arms.iter().map(line).collect();
    if series.len() > 1 {
        series.swap(0, 1);
    }
    Chart {
        id: "learning".into(),
        title: "What does training bring back?".into(),
        caption: "Accuracy on every fifth image of unseen font families against the steps trained. All arms see the same images \
                  in the same order at the same learning rates."
            .into(),
        x: Axis::linear("Steps"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line { series },
    }
}

/// Where the first layer still looks, or what its filters are.
pub(super) fn pixels(cut: &Network) -> Chart {
    let names = cut.architecture.layers();
    let (rows, columns) = cut.shapes().first().copied().unwrap_or((0, 0));
    let weights = names.first().map_or(&[][..], |name| cut.weight(name));
    let side = columns.isqrt() as u32;
    let grey = |values: Vec<f32>| -> Vec<u8> {
        let most = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        values.iter().map(|v| (255.0 * v / most) as u8).collect()
    };
    let readers = (0..columns).map(|c| (0..rows).filter(|r| weights[r * columns + c] != 0.0).count() as f32);
    let mut images = vec![Image { label: "all outputs".into(), pixels: grey(readers.collect()), marked: false }];
    let output = |row: usize| Image {
        label: format!("output {}", row + 1),
        pixels: grey(weights[row * columns..(row + 1) * columns].iter().map(|w| w.abs()).collect()),
        marked: false,
    };
    images.extend((0..rows.min(7)).map(output));
    Chart {
        id: "pixels".into(),
        title: "Where does the first layer still look?".into(),
        caption: "Of a fully connected network the first picture counts, for each of the 256 pixels, the outputs that still read \
                  it; the others are the weights of single outputs (of a convolution: its filters). Black is zero."
            .into(),
        x: Axis::linear("Pixels across"),
        y: Axis::linear("Pixels down"),
        body: ChartBody::ImageGrid { width: side, height: side, images },
    }
}
