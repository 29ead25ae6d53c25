//! Times: of chains over sizes, of pairs, of elements side by side.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    fusion::{ChainStep, LANES, blocked, fused, in_place, separate},
    measure::in_turns,
};

use super::{
    Operation, Params,
    subject::{Case, dyadic},
};

/// Ways of a chain.
pub(super) const ARMS: [&str; 5] =
    ["A fresh buffer each", "One buffer, in place", "Blocks, not fused", "Fused", "Fused, one by one"];
/// The same in ids.
#[cfg(feature = "schema")]
pub(super) const ARM_IDS: [&str; 5] = ["fresh", "in_place", "blocked", "fused", "one"];

/// Nanoseconds an element of each arm, at some sizes.
pub(super) struct Chains {
    pub(super) sizes: Vec<usize>,
    /// By size, step (cheap, exponential), arm; samples of one round belong together.
    pub(super) ns: Vec<[[Vec<f64>; 5]; 2]>,
}

impl Chains {
    /// Rounds of the first arm over those of another: the gain.
    pub(super) fn gains(&self, size: usize, step: usize, arm: usize) -> Vec<f64> {
        let arms = &self.ns[size][step];
        arms[0].iter().zip(&arms[arm]).map(|(slow, fast)| slow / fast.max(1e-9)).collect()
    }
}

/// 2^8, 2^12, 2^16, then every fourth size up to `2^numbers`, and that.
pub(super) fn sizes(numbers: u32) -> Vec<usize> {
    let powers = (8..=numbers).filter(|power| power % 4 == 0 || (*power > 16 && power % 2 == 0) || *power == numbers);
    powers.map(|power| 1 << power).collect()
}

/// Up to this many numbers a run times exponentials one by one; beyond, the line is flat and the wait long.
const SHORT: usize = 1 << 16;

const STEPS: [ChainStep; 2] = [ChainStep::Cheap, ChainStep::Exp];

fn arm(which: usize, step: ChainStep, params: &Params, x: &[f32], y: &mut Vec<f32>) {
    let length = params.length as usize;
    match which {
        0 => *y = separate(step, length, black_box(x)),
        1 => in_place(step, length, black_box(x), y),
        2 => blocked(step, length, params.block as usize, black_box(x), y),
        3 => fused(step, length, params.lanes.count(), black_box(x), y),
        _ => fused(step, length, 1, black_box(x), y),
    }
    black_box(y);
}

/// All arms of both steps; unless `all` are asked for, of the exponential only what the picture shows.
pub(super) async fn chains(
    params: &Params,
    sizes: &[usize],
    rounds: usize,
    all: bool,
    cx: &Context,
) -> Result<Chains, LabError> {
    let mut found = Chains { sizes: sizes.to_vec(), ns: Vec::new() };
    let both = all || params.operation == Operation::Exp;
    for n in sizes {
        let wanted = |i: &usize| match i {
            ..5 | 5 | 8 => true,
            9 => all || *n <= SHORT,
            _ => both,
        };
        let arms: Vec<usize> = (0..10).filter(wanted).collect();
        let x = dyadic(*n, &mut cx.rng("chain"));
        let mut y = vec![0.0; *n];
        let ms = in_turns(cx, arms.len(), rounds, |i| arm(arms[i] % 5, STEPS[arms[i] / 5], params, &x, &mut y)).await?;
        let mut ns: [[Vec<f64>; 5]; 2] = Default::default();
        for (arm, ms) in arms.iter().zip(ms) {
            ns[arm / 5][arm % 5] = ms.iter().map(|ms| 1e6 * ms / *n as f64).collect();
        }
        found.ns.push(ns);
    }
    Ok(found)
}

/// Milliseconds of each pair, separate and fused, in rounds that may be compared.
pub(super) async fn pairs(cases: &mut [Case], rounds: usize, cx: &Context) -> Result<Vec<[Vec<f64>; 2]>, LabError> {
    let count = cases.len();
    let ms = in_turns(cx, 2 * count, rounds, |i| {
        if i % 2 == 0 {
            cases[i / 2].separate()
        } else {
            cases[i / 2].fused()
        }
        black_box(&mut cases[i / 2].y);
    })
    .await?;
    let mut ms = ms.into_iter();
    let mut next = || ms.next().unwrap_or_default();
    Ok((0..count).map(|_| [next(), next()]).collect())
}

/// Nanoseconds an element of the exponential chain on 4,096 numbers: separate, then fused with each number of lanes.
pub(super) async fn lanes(params: &Params, rounds: usize, cx: &Context) -> Result<Vec<Vec<f64>>, LabError> {
    let n = 4096;
    let x = dyadic(n, &mut cx.rng("lanes"));
    let mut y = vec![0.0; n];
    let length = params.length as usize;
    let step = Operation::Exp.step();
    let ms = in_turns(cx, 1 + LANES.len(), rounds, |i| {
        match i {
            0 => y = separate(step, length, black_box(&x)),
            _ => fused(step, length, LANES[i - 1], black_box(&x), &mut y),
        }
        black_box(&mut y);
    })
    .await?;
    Ok(ms.into_iter().map(|ms| ms.iter().map(|ms| 1e6 * ms / n as f64).collect()).collect())
}
