//! One choice for each part, the least sum of losses, within a budget of bytes.

/// The whole numbers' greatest common divisor.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

// ANCHOR: knapsack
/// For each part one of its choices, so that losses add up to the least that `budget` bytes allow: exact, by dynamic programming over
/// bytes. None if even the smallest choices are too large.
#[must_use]
pub fn knapsack(loss: &[Vec<f64>], bytes: &[Vec<usize>], budget: usize) -> Option<Vec<usize>> {
    let unit = bytes.iter().flatten().fold(0, |unit, bytes| divisor(unit, *bytes)).max(1);
    let cells = budget / unit + 1;
    let (mut least, mut taken) = (vec![0.0_f64; cells], Vec::with_capacity(loss.len()));
    for (loss, bytes) in loss.iter().zip(bytes) {
        let (mut next, mut choice) = (vec![f64::INFINITY; cells], vec![0_u8; cells]);
        for (c, (loss, bytes)) in loss.iter().zip(bytes).enumerate() {
            for cell in bytes / unit..cells {
                let sum = least[cell - bytes / unit] + loss;
                if sum < next[cell] {
                    (next[cell], choice[cell]) = (sum, c as u8);
                }
            }
        }
        least = next;
        taken.push(choice);
    }
    let mut cell = cells - 1;
    least[cell].is_finite().then(|| {
        let mut chosen = vec![0; loss.len()];
        for part in (0..loss.len()).rev() {
            chosen[part] = usize::from(taken[part][cell]);
            cell -= bytes[part][chosen[part]] / unit;
        }
        chosen
    })
}
// ANCHOR_END: knapsack

// ANCHOR: sweep
/// The same by a price for bytes: each part takes the choice of least loss plus price, and the price is halved towards the least that
/// the budget allows. Quick, never over the budget, and right only for the budgets that a price leads to.
#[must_use]
pub fn sweep(loss: &[Vec<f64>], bytes: &[Vec<usize>], budget: usize) -> Option<Vec<usize>> {
    let at = |price: f64| -> Vec<usize> {
        let pick = |(loss, bytes): (&Vec<f64>, &Vec<usize>)| {
            let cost = |c: &usize| loss[*c] + price * bytes[*c] as f64;
            (0..loss.len()).min_by(|a, b| cost(a).total_cmp(&cost(b)).then(bytes[*a].cmp(&bytes[*b]))).unwrap_or(0)
        };
        loss.iter().zip(bytes).map(pick).collect()
    };
    let fits = |chosen: &[usize]| bytes.iter().zip(chosen).map(|(bytes, c)| bytes[*c]).sum::<usize>() <= budget;
    let (mut low, mut high) = (0.0, 1e9);
    if fits(&at(low)) {
        return Some(at(low));
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if fits(&at(middle)) { high = middle } else { low = middle }
    }
    Some(at(high)).filter(|chosen| fits(chosen))
}
// ANCHOR_END: sweep
