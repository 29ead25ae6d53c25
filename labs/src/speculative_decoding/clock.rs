//! What a pass of several tokens, a proposal and a whole text take on this device.

use lab_api::LabError;
use lab_kit::{
    Context,
    measure::{Pair, side_by_side},
    mlp::read,
    models::{KvCache, Transformer},
    speculative::{Drafter, How, Session, distribution},
};

use super::{
    Who,
    material::{Material, PROMPT},
};

/// Tokens of the passes that are timed; more than the largest proposal and one.
const PASSES: [usize; 8] = [2, 3, 4, 5, 6, 9, 13, 17];
/// Requests that are checked together.
pub(super) const BATCHES: [usize; 3] = [1, 4, 16];
const BUDGET_MS: f64 = 60.0;

/// Milliseconds for a comparison; a run for a look does with the fewest samples.
fn budget(quick: bool) -> f64 {
    if quick { 0.0 } else { BUDGET_MS }
}

/// Something that is timed: one type for all, so that the clock is compiled once.
pub(super) enum Call<'a> {
    /// The model reads the last tokens of rows, and what it says of each is made a distribution.
    Pass { model: &'a Transformer, cache: KvCache, rows: Vec<Vec<u32>>, temperature: f64 },
    /// A drafter proposes after a text of which it has read all but the last token.
    Propose { drafter: Drafter<'a>, text: &'a [u32], count: usize, temperature: f64, vocabulary: usize },
    /// Prompts that have been read are continued.
    Write { sessions: Vec<Session<'a>>, how: How, tokens: usize },
}

impl<'a> Call<'a> {
    pub(super) fn pass(
        model: &'a Transformer,
        (text, tokens): (&[u32], usize),
        batch: usize,
        temperature: f64,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let mut cache = KvCache::new(model.config(), batch, PROMPT + tokens, &cx.device)?;
        let text: Vec<u32> = text.iter().copied().cycle().take(PROMPT + tokens).collect();
        let prompts = vec![&text[..PROMPT]; batch];
        model.next(model.tokens(&prompts, &cx.device)?, &mut cache)?;
        Ok(Self::Pass { model, cache, rows: vec![text[PROMPT..].to_vec(); batch], temperature })
    }

    async fn once(&mut self, cx: &Context) -> Result<(), LabError> {
        match self {
            Self::Pass { model, cache, rows, temperature } => {
                cache.truncate(PROMPT);
                let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
                let logits = read(model.extend(model.tokens(&rows, &cx.device)?, cache)?).await?;
                for row in logits.chunks(model.config().vocabulary) {
                    std::hint::black_box(distribution(row, *temperature)?);
                }
            }
            Self::Propose { drafter, text, count, temperature, vocabulary } => {
                drafter.keep(text.len() - 1);
                std::hint::black_box(
                    drafter.propose(text, *count, *temperature, *vocabulary, &mut cx.rng("proposals")).await?,
                );
            }
            Self::Write { sessions, how, tokens } => {
                let mut rng = cx.rng("continue");
                for session in sessions {
                    session.rewind();
                    session.write(*tokens, *how, &mut rng, async || cx.checkpoint().await).await?;
                }
            }
        }
        Ok(())
    }
}

pub(super) async fn pair(cx: &Context, budget: f64, mut one: Call<'_>, mut other: Call<'_>) -> Result<Pair, LabError> {
    side_by_side(cx, budget, async || one.once(cx).await, async || other.once(cx).await).await
}

/// The least of many times: what else a machine does can only lengthen them.
pub(super) fn least(ms: &[f64]) -> f64 {
    ms.iter().copied().fold(f64::INFINITY, f64::min)
}

/// What was timed: a step of one token beside everything else.
pub(super) struct Costs {
    /// Passes of so many tokens.
    pub(super) passes: Vec<(usize, Pair)>,
    /// Proposals of `gamma` tokens.
    pub(super) drafts: Vec<(Who, Pair)>,
    pub(super) gamma: usize,
}

impl Costs {
    pub(super) async fn measure(
        material: &Material,
        text: &[u32],
        (gamma, temperature): (usize, f64),
        quick: bool,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let (mut passes, mut drafts) = (Vec::new(), Vec::new());
        let step = || Call::pass(&material.target, (text, 1), 1, temperature, cx);
        let mut wanted: Vec<usize> = if quick { vec![2] } else { PASSES.to_vec() };
        if !wanted.contains(&(gamma + 1)) {
            wanted.push(gamma + 1);
            wanted.sort_unstable();
        }
        for k in wanted {
            let many = Call::pass(&material.target, (text, k), 1, temperature, cx)?;
            passes.push((k, pair(cx, budget(quick), step()?, many).await?));
        }
        for who in Who::ALL {
            let drafter = material.drafter(who, PROMPT + gamma, cx)?;
            let (text, vocabulary) = (&text[..PROMPT], material.which.config.vocabulary);
            let propose = Call::Propose { drafter, text, count: gamma, temperature, vocabulary };
            drafts.push((who, pair(cx, 0.6 * budget(quick), step()?, propose).await?));
        }
        Ok(Self { passes, drafts, gamma })
    }

    /// A pass of `k` tokens in steps of one; between the sizes that were timed on a line, beyond them on the last one. More
    /// tokens never cost less: where a time says so, the machine was busy with something else before.
    pub(super) fn pass(&self, k: usize) -> f64 {
        let step = least(&self.steps()).max(f64::MIN_POSITIVE);
        let (mut points, mut most) = (vec![(1.0, 1.0)], 1.0_f64);
        for (tokens, pair) in &self.passes {
            most = most.max(least(&pair.second) / step);
            points.push((*tokens as f64, most));
        }
        let at = points.iter().position(|(x, _)| *x >= k as f64).unwrap_or(points.len() - 1).max(1);
        let ((x0, y0), (x1, y1)) = (points[at - 1], points[at]);
        y0 + (k as f64 - x0) * (y1 - y0) / (x1 - x0)
    }

    /// A proposed token, in steps of the model: the least and every turn.
    pub(super) fn draft(&self, who: Who) -> (f64, Vec<f64>) {
        let each = |ratio: f64| ratio / self.gamma.max(1) as f64;
        let found = self.drafts.iter().find(|(other, _)| *other == who).map(|(_, pair)| {
            let cost = least(&pair.second) / least(&self.steps()).max(f64::MIN_POSITIVE);
            (each(cost), pair.ratios().into_iter().map(|ratio| each(1.0 / ratio.max(f64::MIN_POSITIVE))).collect())
        });
        found.unwrap_or_default()
    }

    /// All times of a step, in milliseconds.
    pub(super) fn steps(&self) -> Vec<f64> {
        let pairs = self.passes.iter().map(|(_, pair)| pair).chain(self.drafts.iter().map(|(_, pair)| pair));
        pairs.flat_map(|pair| pair.first.iter().copied()).collect()
    }
}

/// What checking `gamma` proposals costs when requests come together: a pass of so many rows over one with a row each.
pub(super) async fn batches(
    material: &Material,
    text: &[u32],
    (gamma, temperature): (usize, f64),
    quick: bool,
    cx: &Context,
) -> Result<Vec<(usize, Pair)>, LabError> {
    let mut found = Vec::new();
    for batch in BATCHES.into_iter().skip(1).take(if quick { 1 } else { 2 }) {
        let call = |tokens| Call::pass(&material.target, (text, tokens), batch, temperature, cx);
        found.push((batch, pair(cx, budget(quick), call(1)?, call(gamma + 1)?).await?));
    }
    Ok(found)
}

/// Milliseconds of whole texts: plain decoding beside rounds of draft and check. The prompts have been read.
pub(super) async fn texts(
    material: &Material,
    (who, how): (Who, How),
    (prompts, tokens): (&[Vec<u32>], usize),
    budget: f64,
    cx: &Context,
) -> Result<Pair, LabError> {
    let sessions = |who: Option<Who>| -> Result<Call<'_>, LabError> {
        let session = |prompt: &Vec<u32>| material.session(who, how, (prompt, tokens), cx);
        Ok(Call::Write { sessions: prompts.iter().map(session).collect::<Result<_, _>>()?, how, tokens })
    };
    pair(cx, budget, sessions(None)?, sessions(Some(who))?).await
}
