//! How many directions each matrix keeps, by the reader's choice.

use lab_api::LabError;
use lab_kit::{
    Context,
    linalg::{Rank, Spectrum, Weighted, break_even, gauge_numbers, plain_numbers, rank_by_energy, ranks_by_budget},
};

use super::{
    Choice, Params, Store,
    layer::{Layer, Piece},
    task::Task,
};

/// Ranks for a share of the numbers; the measured choice is made by [`measured`].
pub(super) fn ranks(layers: &[Layer], parts: &[Weighted], params: &Params, share: f64) -> Vec<Rank> {
    let shape = |layer: &Layer| (layer.weight.rows, layer.weight.columns);
    match params.choice {
        Choice::Share | Choice::Sensitivity => layers
            .iter()
            .map(|layer| {
                let (outputs, inputs) = shape(layer);
                Rank::Low(((share * break_even(outputs, inputs)) as usize).max(1))
            })
            .collect(),
        Choice::Energy => layers
            .iter()
            .zip(parts)
            .map(|(layer, part)| {
                let (outputs, inputs) = shape(layer);
                let rank = rank_by_energy(&part.gains, params.energy);
                let numbers = match params.store {
                    Store::Plain => plain_numbers(rank, outputs, inputs),
                    Store::Gauge => gauge_numbers(rank, outputs, inputs),
                };
                if numbers >= outputs * inputs { Rank::Dense } else { Rank::Low(rank) }
            })
            .collect(),
        Choice::Budget => {
            let numbers: usize = layers.iter().map(Layer::numbers).sum();
            let spectrum = |(layer, part): (&Layer, &Weighted)| {
                let (outputs, inputs) = shape(layer);
                // No matrix vanishes: its first direction comes before all others.
                let mut gains = part.gains.clone();
                gains.iter_mut().take(1).for_each(|gain| *gain = f64::INFINITY);
                Spectrum { gains, outputs, inputs }
            };
            let spectra: Vec<Spectrum> = layers.iter().zip(parts).map(spectrum).collect();
            let found = ranks_by_budget(&spectra, (share * numbers as f64) as usize);
            found.into_iter().map(|rank| if rank == Rank::Low(0) { Rank::Low(1) } else { rank }).collect()
        }
    }
}

/// Shares of the break-even rank at which each matrix is cut alone.
const CUTS: [f64; 3] = [0.25, 0.5, 0.75];
/// Steps of the search between nothing and the break-even rank.
const STEPS: usize = 16;

// ANCHOR: sensitivity
/// What cutting each matrix alone does to the loss: for each, at each of the three cuts.
pub(super) async fn sensitivities(task: &Task, parts: &[Weighted], cx: &Context) -> Result<Vec<[f64; 3]>, LabError> {
    let layers = task.layers();
    let dense = task.loss(&vec![Piece::Dense; layers.len()], cx).await?;
    let mut all = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let mut rises = [0.0; 3];
        for (rise, cut) in rises.iter_mut().zip(CUTS) {
            let rank = (cut * break_even(layer.weight.rows, layer.weight.columns)) as usize;
            let mut pieces = vec![Piece::Dense; layers.len()];
            pieces[i] = Piece::Pair(parts[i].truncate(rank.max(1)));
            *rise = task.loss(&pieces, cx).await? - dense;
            cx.checkpoint().await?;
        }
        all.push(rises);
    }
    Ok(all)
}

/// From all dense, always the cut that costs the least loss for each number it saves, until the budget is met.
pub(super) fn measured(layers: &[Layer], rises: &[[f64; 3]], numbers: usize) -> Vec<Rank> {
    let rank = |layer: &Layer, step: usize| {
        let most = break_even(layer.weight.rows, layer.weight.columns);
        ((most * step as f64 / STEPS as f64) as usize).max(1)
    };
    let held = |layer: &Layer, step: usize| match step {
        STEPS => layer.numbers(),
        _ => plain_numbers(rank(layer, step), layer.weight.rows, layer.weight.columns),
    };
    let mut steps = vec![STEPS; layers.len()];
    loop {
        let all: usize = layers.iter().zip(&steps).map(|(layer, step)| held(layer, *step)).sum();
        if all <= numbers {
            break;
        }
        let price = |i: usize| {
            let (layer, step) = (&layers[i], steps[i]);
            let saved = held(layer, step).saturating_sub(held(layer, step - 1)) as f64;
            (rise(&rises[i], step - 1) - rise(&rises[i], step)).max(0.0) / saved.max(1e-9)
        };
        let open = (0..layers.len()).filter(|i| steps[*i] > 1);
        let Some(next) = open.min_by(|a, b| price(*a).total_cmp(&price(*b))) else { break };
        steps[next] -= 1;
    }
    let of = |(layer, step): (&Layer, &usize)| if *step == STEPS { Rank::Dense } else { Rank::Low(rank(layer, *step)) };
    layers.iter().zip(&steps).map(of).collect()
}
// ANCHOR_END: sensitivity

/// The rise between the cuts that were measured; a straight line from the last one down, and to nothing at the break-even.
fn rise(rises: &[f64; 3], step: usize) -> f64 {
    let at = step as f64 / STEPS as f64;
    let points = [(CUTS[0], rises[0]), (CUTS[1], rises[1]), (CUTS[2], rises[2]), (1.0, 0.0)];
    let segment = points.windows(2).position(|pair| at <= pair[1].0).unwrap_or(2);
    let ((x0, y0), (x1, y1)) = (points[segment], points[segment + 1]);
    y0 + (at - x0) * (y1 - y0) / (x1 - x0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(outputs: usize, inputs: usize) -> Layer {
        Layer::new("a test", outputs, inputs, &vec![1.0; outputs * inputs])
    }

    #[test]
    fn the_insensitive_matrix_is_cut_first_and_the_budget_is_met() {
        let layers = [layer(40, 40), layer(40, 40)];
        let rises = [[1.0, 0.5, 0.2], [0.1, 0.02, 0.01]];
        let found = measured(&layers, &rises, 2400);
        assert_eq!(found[0], Rank::Dense);
        assert_eq!(found[1], Rank::Low(10));
        let numbers = |ranks: &[Rank]| -> usize {
            let of = |rank: &Rank| if let Rank::Low(rank) = rank { plain_numbers(*rank, 40, 40) } else { 1600 };
            ranks.iter().map(of).sum()
        };
        for budget in [3200, 3000, 2000, 1000, 300] {
            assert!(numbers(&measured(&layers, &rises, budget)) <= budget);
        }
        // Less than a direction each cannot be.
        assert_eq!(measured(&layers, &rises, 0), [Rank::Low(1); 2]);
    }

    #[test]
    fn rises_between_the_cuts_are_on_straight_lines() {
        let rises = [0.8, 0.4, 0.1];
        assert!((rise(&rises, 8) - 0.4).abs() < 1e-12 && (rise(&rises, 16)).abs() < 1e-12);
        assert!((rise(&rises, 6) - 0.6).abs() < 1e-12 && (rise(&rises, 14) - 0.05).abs() < 1e-12);
        // Below the lowest cut the line goes on.
        assert!((rise(&rises, 2) - 1.0).abs() < 1e-12);
    }
}
