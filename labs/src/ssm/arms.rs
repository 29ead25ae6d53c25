//! Who is trained, on what.

use lab_api::LabError;
use lab_kit::{
    Context,
    data::{Corpus, Part},
    mixing::{Mix, Recall, Stack, Task, fit_by},
};

use super::{Params, Race, TaskChoice};

/// Channels of every model.
pub(super) const CHANNELS: usize = 32;
/// Channels of a key of attention, which has no state to be sized.
const KEYS: usize = 8;
/// Examples of a step.
const BATCH: usize = 16;
/// Keys, and values, of the recall task.
pub(super) const KINDS: usize = 16;
/// Tokens of the other tasks.
const TOKENS: usize = 32;
/// Letters of an example of text.
const LETTERS: usize = 128;

/// One of a race.
#[derive(Debug, Clone)]
pub(super) struct Arm {
    /// In metrics.
    pub(super) id: &'static str,
    pub(super) name: String,
    layers: Vec<Mix>,
    /// N.
    state: usize,
}

/// What an arm has learned.
#[derive(Debug, Clone)]
pub(super) struct Raced {
    pub(super) arm: Arm,
    /// Right answers in per cent, by pairs; of other tasks one number.
    pub(super) right: Vec<(usize, f64)>,
    /// On examples of the judge, in nats.
    pub(super) loss: f64,
    /// Of each step.
    pub(super) losses: Vec<f64>,
    pub(super) stack: Stack,
    pub(super) weights: Vec<f32>,
}

pub(super) fn arm(id: &'static str, name: &str, layers: Vec<Mix>, state: usize) -> Arm {
    Arm { id, name: name.into(), layers, state }
}

pub(super) fn arms(params: &Params) -> Vec<Arm> {
    let n = params.state as usize;
    let many = |mix: Mix| vec![mix; params.layers as usize];
    let (attention, selective) = (Mix::Attention, Mix::Selective);
    match params.race {
        Race::Sizes => vec![
            arm("attention", "Attention", many(attention), KEYS),
            arm("invariant", &format!("Fixed (S4D), N {n}"), many(Mix::Invariant), n),
            arm("selective", &format!("Selective, N {n}"), many(selective), n),
            arm("larger", &format!("Selective, N {}", 4 * n), many(selective), 4 * n),
        ],
        Race::Choosing => vec![
            arm("invariant", "Nothing (S4D)", many(Mix::Invariant), n),
            arm("sum", "Where to write and read", many(Mix::Sum), n),
            arm("steady", "The same, and all fades alike", many(Mix::Steady), n),
            arm("selective", "The same, and how much fades", many(selective), n),
        ],
        Race::Hybrids => vec![
            arm("attention", "Attention twice", vec![attention; 2], n),
            arm("selective", "Selective twice", vec![selective; 2], n),
            arm("first", "Attention, then selective", vec![attention, selective], n),
            arm("last", "Selective, then attention", vec![selective, attention], n),
        ],
    }
}

/// How many pairs an example may hold.
fn pairs(params: &Params) -> Vec<usize> {
    let most = params.pairs as usize;
    let mut all: Vec<usize> = std::iter::successors(Some(1), |p| Some(2 * p)).take_while(|p| *p < most).collect();
    all.push(most);
    all
}

/// What is learned, and what judges: the same but for text, which is judged on the test text.
pub(super) async fn task(params: &Params, cx: &Context) -> Result<[Task; 2], LabError> {
    let task = match params.task {
        TaskChoice::Recall => {
            Task::Recall(Recall { tokens: TOKENS.max(4 * params.pairs as usize), pairs: pairs(params), kinds: KINDS })
        }
        TaskChoice::Copy => Task::Copy { tokens: TOKENS - 8, fixed: false },
        TaskChoice::Fixed => Task::Copy { tokens: TOKENS - 8, fixed: true },
        TaskChoice::Induction => Task::Induction { tokens: TOKENS, kinds: KINDS },
        TaskChoice::Text => {
            let [train, test] = [text(Part::Train, cx).await?, text(Part::Test, cx).await?];
            return Ok([train, test].map(|text| Task::Text { text, tokens: LETTERS }));
        }
    };
    Ok([task.clone(), task])
}

/// A part of the corpus as bytes.
async fn text(part: Part, cx: &Context) -> Result<Vec<u8>, LabError> {
    let text = Corpus::read(part, &cx.asset(part.asset()).await?)?.text.into_bytes();
    if text.len() <= LETTERS {
        let why = format!("it has {} letters, and {} are needed", text.len(), LETTERS + 1);
        return Err(LabError::Asset { name: part.asset().into(), why });
    }
    cx.checkpoint().await?;
    Ok(text)
}

/// Trains an arm, and judges it on examples that it has not seen.
pub(super) async fn train(
    arm: Arm,
    [task, judged]: &[Task; 2],
    params: &Params,
    cx: &Context,
) -> Result<Raced, LabError> {
    let stack = Stack {
        channels: CHANNELS,
        keys: arm.state,
        taps: params.convolution as usize,
        vocabulary: task.vocabulary(),
        outputs: task.outputs(),
        layers: arm.layers.clone(),
    };
    let (tokens, mut rng) = (task.tokens(), cx.rng("examples"));
    let first = stack.init(&mut cx.rng("weights"));
    let batch = if matches!(task, Task::Text { .. }) { BATCH / 2 } else { BATCH };
    let pass = |weights: &[f32]| stack.pass(weights, &task.batch(batch, &mut rng).0, tokens, true);
    let fitted = fit_by((params.steps as usize, params.rate), first, pass, async |_| cx.checkpoint().await).await?;
    let mut raced = Raced { arm, right: Vec::new(), loss: 0.0, losses: fitted.losses, stack, weights: fitted.weights };
    let rounds = if params.is_short() { 1 } else { 16 };
    (raced.right, raced.loss) = judge(&raced, judged, rounds, cx).await?;
    Ok(raced)
}

/// Right answers in per cent by pairs, and the loss, on the same examples for all arms.
pub(super) async fn judge(
    raced: &Raced,
    task: &Task,
    rounds: usize,
    cx: &Context,
) -> Result<(Vec<(usize, f64)>, f64), LabError> {
    let (mut right, mut asked, mut loss, mut rng) = (Vec::new(), Vec::new(), 0.0, cx.rng("judge"));
    for _ in 0..rounds {
        let (batch, held) = task.batch(BATCH, &mut rng);
        let pass = raced.stack.pass(&raced.weights, &batch, task.tokens(), false);
        loss += pass.loss / rounds as f64;
        for (hit, pairs) in pass.right.iter().zip(held) {
            if right.len() <= pairs {
                right.resize(pairs + 1, 0.0);
                asked.resize(pairs + 1, 0.0);
            }
            asked[pairs] += 1.0;
            right[pairs] += f64::from(u8::from(*hit));
        }
        cx.checkpoint().await?;
    }
    let all = right.iter().zip(&asked).enumerate().filter(|(_, (_, asked))| **asked > 0.0);
    Ok((all.map(|(pairs, (right, asked))| (pairs, 100.0 * right / asked)).collect(), loss))
}
