//! Time of a step in three ways, of compiling, and of tuning.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    graph::{Passes, Poison, Program, Strategy, TILES, compile},
    measure::in_turns,
    stats::median,
};

use super::{Layout, Params, net::Net};

/// Samples of each.
const ROUNDS: usize = 7;

/// Milliseconds, in rounds that may be compared.
pub(super) struct Times {
    /// Of a step: a buffer for each result; the same kernels in an arena; yours.
    pub(super) steps: Vec<Vec<f64>>,
    /// Of compiling: without any pass, and yours.
    pub(super) compiling: Vec<Vec<f64>>,
    /// Of preparing the weights, likewise.
    pub(super) binding: Vec<Vec<f64>>,
    /// Largest difference of the outputs, over the largest output; and how many outputs of the largest agree.
    pub(super) deviation: f64,
    pub(super) agree: f64,
}

impl Times {
    /// Milliseconds before the first step that are not needed without a compiler.
    pub(super) fn cost(&self) -> f64 {
        let more = |times: &[Vec<f64>]| median(&times[1]) - median(&times[0]);
        (more(&self.compiling) + more(&self.binding)).max(0.0)
    }

    /// Steps after which compiling has paid; none where a step is not faster.
    pub(super) fn paid_after(&self) -> Option<f64> {
        let [before, after] = [0, 2].map(|i| median(&self.steps[i]));
        (after < before).then(|| self.cost() / (before - after))
    }
}

/// The place of the largest number in each row.
fn largest(rows: &[Vec<f32>]) -> Vec<usize> {
    let best = |row: &Vec<f32>| {
        row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, x)| if *x > best.1 { (i, *x) } else { best }).0
    };
    rows.iter().map(best).collect()
}

pub(super) async fn measure(
    net: &Net,
    [none, yours]: [&Program; 2],
    params: &Params,
    cx: &Context,
) -> Result<Times, LabError> {
    let planned = compile(&net.graph, Passes { plan: Strategy::BySize, ..Passes::NONE })?;
    let pack = params.layout == Layout::Chosen;
    let programs = [none, &planned, yours];
    let mut bounds = Vec::new();
    for (i, program) in programs.iter().enumerate() {
        bounds.push(net.bind(program, i == 2 && pack, 0)?);
        cx.checkpoint().await?;
    }
    let mut memories: Vec<_> = programs.iter().enumerate().map(|(i, program)| net.memory(program, i == 0)).collect();
    let [one, other] = [0, 2].map(|i| programs[i].run(&bounds[i], &mut memories[i], Poison::No));
    let pairs = || one.iter().flatten().zip(other.iter().flatten());
    let most = one.iter().flatten().fold(0.0_f32, |most, x| most.max(x.abs()));
    let worst = pairs().fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    let width = none.graph.outputs.first().map_or(1, |id| none.graph.nodes[*id].shape[3]).max(1);
    let rows = |out: &[Vec<f32>]| {
        largest(&out.iter().flat_map(|out| out.chunks(width)).map(<[f32]>::to_vec).collect::<Vec<_>>())
    };
    let (one, other) = (rows(&one), rows(&other));
    let agree = one.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / one.len().max(1) as f64;
    let steps = in_turns(cx, 3, ROUNDS, |i| {
        black_box(programs[i].run(&bounds[i], &mut memories[i], Poison::No));
    })
    .await?;
    let settings = [Passes::NONE, params.setting()];
    let compiling = in_turns(cx, 2, ROUNDS, |i| {
        drop(black_box(compile(&net.graph, settings[i])));
    })
    .await?;
    let binding = in_turns(cx, 2, 3, |i| {
        drop(black_box(net.bind([none, yours][i], i == 1 && pack, 0)));
    })
    .await?;
    Ok(Times { steps, compiling, binding, deviation: f64::from(worst / most.max(f32::MIN_POSITIVE)), agree })
}

/// What tuning found.
pub(super) struct Tuned {
    /// Of [`TILES`].
    pub(super) winner: usize,
    /// Time of the usual tile over that of the winner: when it won, and measured once more, round by round.
    pub(super) claimed: f64,
    pub(super) confirmed: Vec<f64>,
    /// Milliseconds that the search took.
    pub(super) spent: f64,
}

/// Times so many tiles beside the usual one, and the winner once more.
pub(super) async fn tune(net: &Net, program: &Program, params: &Params, cx: &Context) -> Result<Tuned, LabError> {
    let pack = params.layout == Layout::Chosen;
    let count = (1 + params.tune as usize).min(TILES.len());
    let start = cx.now_ms();
    let mut bounds = Vec::new();
    for tile in 0..count {
        bounds.push(net.bind(program, pack, tile)?);
        cx.checkpoint().await?;
    }
    let mut memory = net.memory(program, false);
    let found = in_turns(cx, count, 3, |i| {
        black_box(program.run(&bounds[i], &mut memory, Poison::No));
    })
    .await?;
    let spent = cx.now_ms() - start;
    let times: Vec<f64> = found.iter().map(|ms| median(ms)).collect();
    let winner = (0..count).min_by(|a, b| times[*a].total_cmp(&times[*b])).unwrap_or(0);
    let again = in_turns(cx, 2, ROUNDS, |i| {
        black_box(program.run(&bounds[[0, winner][i]], &mut memory, Poison::No));
    })
    .await?;
    let confirmed = again[0].iter().zip(&again[1]).map(|(usual, best)| usual / best.max(1e-9)).collect();
    Ok(Tuned { winner, claimed: times[0] / times[winner].max(1e-9), confirmed, spent })
}
