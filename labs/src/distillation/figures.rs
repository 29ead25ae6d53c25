//! Charts.

use lab_api::{Axis, BarSeries, Chart, ChartBody, LabError, Series};
use lab_kit::{
    Context,
    distill::{Material, softmax},
    prune::logits,
};

use super::arms::{ARMS, CLASSES};
use lab_kit::order::Ordered as _;

/// Classes in the chart of one letter.
const SHOWN: usize = 6;

/// Accuracy of every student while it learns; the teacher's as a level.
pub(super) fn curves(curves: &[Vec<[f64; 2]>], teacher: f64, steps: usize) -> Chart {
    let line =
        |name: &str, points: &[[f64; 2]]| Series { name: name.into(), points: points.to_vec(), band: Vec::new() };
    let mut series: Vec<Series> =
        ARMS.iter().zip(curves).filter(|(_, curve)| !curve.is_empty()).map(|(name, curve)| line(name, curve)).collect();
    series.push(line("Teacher", &[[0.0, teacher], [steps as f64, teacher]]));
    Chart {
        id: "curves".into(),
        title: "Who learns what from the same images?".into(),
        caption: "Accuracy on font families that nobody trains on, on every fifth image. All students begin with the same weights; \
                  the first three see the same images in the same order."
            .into(),
        x: Axis::linear("Step"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line { series },
    }
}

/// What the teacher says of one letter, at temperature 1 and at the reader's.
pub(super) async fn letter(material: &Material, class: u8, temperature: f64, cx: &Context) -> Result<Chart, LabError> {
    let images = &material.subject.images;
    let of_class: Vec<usize> = (0..images.len()).filter(|i| images.labels[*i] == class).collect();
    let picked = of_class.get(cx.seed as usize % of_class.len().max(1)).copied().unwrap_or(0);
    let row: Vec<f64> = logits(&material.teacher, images, &[picked], cx).await?.into_iter().map(f64::from).collect();
    let mut order: Vec<usize> = (0..CLASSES.min(row.len())).collect();
    order.ordered_by(&|a, b| row[*b].total_cmp(&row[*a]));
    order.truncate(SHOWN);
    let bars = |name: String, temperature: f64| {
        let p = softmax(&row, temperature);
        BarSeries { name, values: order.iter().map(|k| 100.0 * p[*k]).collect(), intervals: Vec::new() }
    };
    let character = |k: &usize| images.character(*k as u8).to_string();
    Ok(Chart {
        id: "soft_answer".into(),
        title: format!("What does the teacher say of this {}?", images.character(class)),
        caption: format!(
            "The six likeliest of 47 classes, at temperature 1 and at {temperature}. The order stays; what changes is how much the \
             others are heard."
        ),
        x: Axis::linear("Class"),
        y: Axis::linear("Probability (%)"),
        body: ChartBody::Bar {
            categories: order.iter().map(character).collect(),
            series: vec![bars("T = 1".into(), 1.0), bars(format!("T = {temperature}"), temperature)],
        },
    })
}
