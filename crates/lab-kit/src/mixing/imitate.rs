//! Feature maps that learn to weigh as the trained softmax does (Hedgehog, Zhang et al., 2024, arXiv:2402.04347), head by head.

use lab_api::LabError;
use lab_layers::mixers::{Map, imitation, softmax_weights};
use rand::Rng;

use super::Reading;
use crate::{
    Context,
    accumulate::{Optimizer, Rule},
};

/// How maps learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesson {
    /// Features of a map.
    pub features: usize,
    /// Windows looked at, one a step.
    pub steps: usize,
    /// Learning rate of Adam, which falls to zero.
    pub rate: f64,
}

/// A map for each head of each layer, `[layer · heads + head]`, learned from the weights that softmax gives in `reading`. They begin as
/// `e^x` and `e^-x` of the scaled channels.
///
/// # Errors
/// What the checkpoints return.
pub async fn learn_maps(
    reading: &Reading,
    lesson: Lesson,
    cx: &Context,
    mut told: impl FnMut(f64),
) -> Result<Vec<Map>, LabError> {
    let (d, t, m) = (reading.channels, reading.length, lesson.features.max(1));
    let mut maps = Vec::new();
    for (at, windows) in reading.heads.iter().enumerate() {
        let mut rng = cx.rng("learned");
        let scale = (d as f32).powf(-0.25);
        // Channel c of feature r; beyond 2 d features the rest are drawn.
        let mut rows: Vec<f32> = (0..m * d)
            .map(|i| {
                let (r, c) = (i / d, i % d);
                let small = rng.random_range(-0.05..0.05_f32);
                if r % d == c { if r / d % 2 == 0 { scale + small } else { small - scale } } else { small }
            })
            .collect();
        rows.extend_from_within(..);
        let mut optimizer = Optimizer::new(Rule::ADAM, rows.len());
        let targets: Vec<Vec<f32>> = windows.iter().map(|w| softmax_weights(&w.q, &w.k, d, t)).collect();
        for step in 0..lesson.steps {
            let which = step % windows.len().max(1);
            let window = &windows[which];
            let (_, gradient) = imitation(&window.q, &window.k, d, &targets[which], &rows, 1.min(t - 1));
            let rate = lesson.rate * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / lesson.steps as f64).cos());
            optimizer.step(&mut rows, &gradient, rate);
            if step % 4 == 3 {
                cx.checkpoint().await?;
            }
        }
        let half = rows.len() / 2;
        maps.push(Map::Learned(rows[..half].to_vec(), rows[half..].to_vec()));
        told((at + 1) as f64 / reading.heads.len() as f64);
    }
    Ok(maps)
}
