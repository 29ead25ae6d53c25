//! The numbers, each with what it rests on.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    measure::Pair,
    mlp::read,
    models::KvCache,
    report::{MetricExt, metric},
    speculative::{best_gamma, expected_tokens, speedup},
    stats::{median, median_interval},
};

use super::{
    Params, Who,
    clock::{Costs, least},
    judge::{Accepted, Unchanged},
    material::{Material, PROMPT, Written},
};

const LEVEL: f64 = 0.95;
/// The largest proposal that is considered.
pub(super) const MOST: usize = 12;
/// A gap between the two largest logits that sums in another order can close.
const NEAR: f32 = 1e-3;

/// Where greedy texts part.
pub(super) struct Same {
    /// Texts that part though the model was sure.
    pub(super) different: usize,
    /// Texts that part at a near tie of two tokens.
    pub(super) ties: usize,
}

/// Compares greedy texts token by token.
pub(super) async fn compare(
    material: &Material,
    prompts: &[Vec<u32>],
    [plain, drafted]: [&[Written]; 2],
    cx: &Context,
) -> Result<Same, LabError> {
    let mut same = Same { different: 0, ties: 0 };
    for ((prompt, plain), drafted) in prompts.iter().zip(plain).zip(drafted) {
        let Some(at) = plain.tokens.iter().zip(&drafted.tokens).position(|(a, b)| a != b) else { continue };
        let text: Vec<u32> = prompt.iter().chain(&plain.tokens[..at]).copied().collect();
        let target = &material.target;
        let mut cache = KvCache::new(target.config(), 1, text.len(), &cx.device)?;
        let logits = read(target.next(target.tokens(&[&text], &cx.device)?, &mut cache)?).await?;
        let of = |token: u32| logits.get(token as usize).copied().unwrap_or(0.0);
        if (of(plain.tokens[at]) - of(drafted.tokens[at])).abs() < NEAR {
            same.ties += 1;
        } else {
            same.different += 1;
        }
    }
    Ok(same)
}

/// Passes, tokens that they yielded, and tokens that were proposed.
pub(super) struct Count {
    pub(super) passes: f64,
    pub(super) tokens: f64,
    pub(super) proposed: f64,
}

impl Count {
    pub(super) fn of(written: &[Written]) -> Self {
        let rounds = || written.iter().flat_map(|written| &written.rounds);
        let sum = |what: fn(&lab_kit::speculative::Round) -> usize| rounds().map(what).sum::<usize>() as f64;
        Self {
            passes: rounds().count() as f64,
            tokens: sum(|round| round.accepted + 1),
            proposed: sum(|round| round.proposed),
        }
    }

    /// Operations for each token that was kept, over those of plain decoding.
    pub(super) fn arithmetic(&self, [draft, target]: [f64; 2]) -> f64 {
        (self.proposed * draft + (self.proposed + self.passes) * target) / (self.tokens * target).max(1.0)
    }
}

/// How far counts of a text may lie from those of another device.
fn loose(params: &Params, at_256: f64) -> f64 {
    16.0 * at_256 / f64::from(params.tokens * params.prompts).sqrt()
}

const FLIPS: &str = "a near tie that falls to the other side changes all of the text after it";

pub(super) fn counted(material: &Material, drafted: &[Written], same: &Same, params: &Params) -> Vec<Metric> {
    let count = Count::of(drafted);
    let flops = material.flops(params.drafter, PROMPT + params.tokens as usize / 2);
    let mut metrics = vec![
        metric(Family::Scale, "tokens_per_pass", "Tokens for each pass of the model", count.tokens / count.passes, "tokens")
            .higher()
            .baseline(1.0)
            .exact(loose(params, 0.6), FLIPS)
            .help("Accepted ones and the one that the model adds itself, over all rounds of all texts."),
        metric(Family::Utilization, "arithmetic", "Operations for each token that is kept", count.arithmetic(flops), "×")
            .lower()
            .baseline(1.0)
            .exact(loose(params, 0.6), FLIPS)
            .help("Counted: the draft's and the model's, over those of plain decoding. What is rejected was computed in vain."),
        metric(
            Family::Memory,
            "draft_bytes",
            "Memory of the draft",
            material.added_bytes(params.drafter) as f64,
            "bytes",
        )
        .lower()
        .baseline(0.0)
        .exact(0.0, "bytes are counted")
        .help("Weights or tables that are added, and a cache for 256 tokens. First layers are the model's own."),
    ];
    if params.temperature == 0.0 {
        metrics.push(
            metric(Family::Quality, "different", "Texts that differ", same.different as f64, "texts")
                .lower()
                .baseline(0.0)
                .exact(0.0, "equal tokens are equal on every device; near ties are counted apart")
                .help("From plain decoding, token by token, where the two largest logits are more than a thousandth apart."),
        );
    }
    metrics
}

pub(super) fn of(accepted: &[Accepted], who: Who) -> (f64, f64) {
    accepted.iter().find(|accepted| accepted.who == who).map_or((0.0, 0.0), |found| (found.alpha, found.proposes))
}

pub(super) fn judged(accepted: &[Accepted], unchanged: &Unchanged, params: &Params) -> Vec<Metric> {
    let (alpha, _) = of(accepted, params.drafter);
    let exact = params.rule == super::Verdict::Exact;
    vec![
        metric(Family::Scale, "accepted", "Accepted", 100.0 * alpha, "%")
            .higher()
            .exact(loose(params, 12.0), FLIPS)
            .help("α: the chance that a proposed token stays, mean over the places of the model's own text where the draft proposes."),
        metric(
            Family::Scale,
            "expected_tokens",
            "Tokens for each pass, expected",
            expected_tokens(alpha, params.gamma as usize),
            "tokens",
        )
        .detail()
        .exact(loose(params, 0.6), FLIPS)
        .help("If α were the same at every place and a proposal came in every round."),
        metric(Family::Quality, "law_distance", "Distance from the model's law", 100.0 * unchanged.distance, "%")
            .lower()
            .baseline(100.0 * unchanged.unchecked)
            .exact(if exact { 1e-7 } else { 0.5 }, "probabilities are sums of singles in another order")
            .help("Computed, not drawn: the share of probability that lies on other tokens, at the worst of the beginnings. The baseline is the draft's own law, unchecked. At temperature 0 laws are compared at 1."),
        metric(Family::Quality, "p_value", "Chance of tokens so far off", 100.0 * unchanged.test.p_value, "%")
            .detail()
            .exact(10.0, "a draw at the edge of two tokens may fall to the other")
            .help("χ² test of 4,000 drawn tokens for each beginning against the model's probabilities. A value near 0 says that they come from another law."),
    ]
}

/// What speeds up whom, predicted from measured costs: the speed-up at γ, the best γ and its speed-up.
pub(super) fn predicted(costs: &Costs, accepted: (f64, f64), who: Who, gamma: usize) -> (f64, (usize, f64)) {
    let draft = costs.draft(who).0;
    let at = speedup(accepted, gamma, draft, costs.pass(gamma + 1));
    (at, best_gamma(accepted, draft, MOST, |k| costs.pass(k)))
}

pub(super) fn costs(costs: &Costs, accepted: &[Accepted], material: &Material, params: &Params) -> Vec<Metric> {
    let (who, gamma) = (params.drafter, costs.gamma);
    let (draft, drafts) = costs.draft(who);
    let passes: Vec<f64> = costs
        .passes
        .iter()
        .filter(|(k, _)| *k == gamma + 1)
        .flat_map(|(_, pair)| pair.ratios().into_iter().map(|ratio| 1.0 / ratio.max(f64::MIN_POSITIVE)))
        .collect();
    let [of_draft, of_target] = material.flops(who, PROMPT);
    let (now, (best, fastest)) = predicted(costs, of(accepted, who), who, gamma);
    let steps = costs.steps();
    vec![
        metric(Family::Time, "pass_cost", "A pass that checks the proposals", costs.pass(gamma + 1), "steps")
            .lower()
            .baseline(1.0)
            .measured(passes)
            .help("Least time of γ + 1 tokens in one pass over that of one token. 1 if checking were free; γ + 1 if nothing were saved."),
        metric(Family::Time, "draft_cost", "A proposed token", draft, "steps")
            .lower()
            .baseline(of_draft / of_target)
            .measured(drafts)
            .help("Least time of proposing one token over that of a step of the model. The baseline is what the operations say."),
        metric(Family::Time, "predicted", "Speed-up, predicted", now, "×")
            .higher()
            .baseline(1.0)
            .measured(vec![now])
            .help("From the acceptance and the two costs above."),
        metric(Family::Time, "best_speedup", "Speed-up at the best γ, predicted", fastest, "×")
            .higher()
            .baseline(1.0)
            .measured(vec![fastest])
            .help("1 where no number of proposals pays."),
        metric(Family::Time, "best_gamma", "The best γ", best as f64, "tokens")
            .detail()
            .measured(vec![best as f64])
            .help("0 where no number of proposals pays."),
        metric(Family::Time, "step_ms", "A step of the model", median(&steps), "ms")
            .detail()
            .measured(steps)
            .help("One token after 64, its logits read back and made a distribution."),
    ]
}

/// What the second costs in units of the first, by the least times of both.
pub(super) fn batch_cost(pair: &Pair) -> f64 {
    least(&pair.second) / least(&pair.first).max(f64::MIN_POSITIVE)
}

pub(super) fn batches(batches: &[(usize, Pair)]) -> Vec<Metric> {
    let metrics = batches.iter().map(|(batch, pair)| {
        let turns = pair.ratios().into_iter().map(|ratio| 1.0 / ratio.max(f64::MIN_POSITIVE)).collect();
        metric(
            Family::Scale,
            &format!("pass_cost_{batch}"),
            &format!("A pass that checks, {batch} requests at once"),
            batch_cost(pair),
            "steps",
        )
        .lower()
        .measured(turns)
        .detail()
        .help("Least time of γ + 1 tokens of each request over that of one token of each.")
    });
    metrics.collect()
}

pub(super) fn texts(pair: &Pair, tokens: f64, cx: &Context) -> Vec<Metric> {
    let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng("texts"));
    let rate = |ms: &f64| 1e3 * tokens / ms.max(f64::MIN_POSITIVE);
    let rates: Vec<f64> = pair.second.iter().map(rate).collect();
    let interval_of = |samples: &[f64]| median_interval(samples, LEVEL, &mut cx.rng("rate"));
    vec![
        metric(Family::Time, "speedup", "Speed-up, whole texts", ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(pair.ratios())
            .help("Plain decoding over rounds of draft and check, turn by turn, beginnings already read. Below 1 drafting is slower."),
        metric(Family::Time, "tokens_per_s", "Tokens written per second", median(&rates), "tokens/s")
            .higher()
            .baseline(rate(&median(&pair.first)))
            .interval(interval_of(&rates))
            .measured(rates)
            .detail()
            .help("The baseline is plain decoding on the same device."),
    ]
}

/// What this very run calls for saying.
pub(super) fn notes(metrics: &[Metric], same: &Same) -> Vec<String> {
    let value = |id: &str| metrics.iter().find(|metric| metric.id == id).map_or(0.0, |metric| metric.value);
    let (tokens, pass, draft) = (value("tokens_per_pass"), value("pass_cost"), value("draft_cost"));
    let mut notes = vec![format!(
        "A round yields {tokens:.2} tokens. Its pass costs {pass:.2} steps on this device and each proposed token {draft:.2}: whole texts ran at {:.2} times the plain speed.",
        value("speedup"),
    )];
    if same.ties > 0 {
        notes.push(format!(
            "{} of the texts part at a near tie of two tokens, which a sum in another order decides.",
            same.ties
        ));
    }
    notes
}
