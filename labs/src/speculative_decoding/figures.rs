//! Charts and the table of a run.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table, Token};
use lab_kit::{
    measure::Pair,
    speculative::{expected_tokens, speedup},
};

use super::{
    Params, Who,
    clock::Costs,
    judge::Accepted,
    material::{Material, Written},
    summary::{MOST, batch_cost, of, predicted},
};

fn series(name: &str, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.into(), points, band: Vec::new() }
}

fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

/// The first text, each token in the colour of who wrote it.
pub(super) fn stream(material: &Material, prompts: &[Vec<u32>], drafted: &[Written]) -> Chart {
    let mut tokens = Vec::new();
    let mut push = |token: u32, colour| tokens.push(Token { text: material.tokenizer.decode(&[token]), colour });
    if let (Some(prompt), Some(written)) = (prompts.first(), drafted.first()) {
        prompt.iter().for_each(|token| push(*token, 1));
        let mut left = written.tokens.iter();
        for round in &written.rounds {
            left.by_ref().take(round.accepted).for_each(|token| push(*token, 2));
            let colour = match (round.proposed, round.accepted) {
                (0, _) => 0,
                (proposed, accepted) if accepted < proposed => 3,
                _ => 4,
            };
            left.by_ref().take(1).for_each(|token| push(*token, colour));
        }
    }
    chart(
        "stream",
        "Who wrote it?",
        "Grey: the beginning. Teal: proposed and accepted. Orange: the model's correction of a rejected token. Violet: the model's extra token after a round in which all were accepted. Plain: written without a proposal.",
        (Axis::default(), Axis::default()),
        ChartBody::TokenStream { tokens },
    )
}

/// What a round costs against what is accepted, and the line between winning and losing.
pub(super) fn plane(costs: &Costs, accepted: &[Accepted]) -> Chart {
    let gamma = costs.gamma;
    let even = (0..=20).map(|i| f64::from(i) / 20.0).map(|a| [100.0 * a, expected_tokens(a, gamma)]).collect();
    let mut all = vec![series("Break-even", even)];
    for found in accepted.iter().filter(|found| found.proposes > 0.0) {
        let round = gamma as f64 * costs.draft(found.who).0 + costs.pass(gamma + 1);
        all.push(series(found.who.name(), vec![[100.0 * found.alpha, round]]));
    }
    chart(
        "plane",
        "Who pays for itself?",
        "One dot for each draft: how often its tokens are accepted, and what a round costs on this device. Below the break-even points a round yields more tokens than it costs steps; above them plain decoding is faster.",
        (
            Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Accepted (%)") },
            Axis { min: Some(0.0), ..Axis::linear("Cost of a round (steps of the model)") },
        ),
        ChartBody::Scatter { series: all },
    )
}

/// Passes of more and more tokens.
pub(super) fn passes(costs: &Costs) -> Chart {
    let all = || std::iter::once(1).chain(costs.passes.iter().map(|(k, _)| *k));
    let line = |cost: &dyn Fn(usize) -> f64| all().map(|k| [k as f64, cost(k)]).collect();
    chart(
        "passes",
        "What does a pass of several tokens cost?",
        "In steps of one token. The lower line is what is often assumed, the upper one saves nothing.",
        (Axis::linear("Tokens in the pass"), Axis { min: Some(0.0), ..Axis::linear("Cost (steps of the model)") }),
        ChartBody::Line {
            series: vec![
                series("One step for each token", line(&|k| k as f64)),
                series("Measured", line(&|k| costs.pass(k))),
                series("If checking were free", line(&|_| 1.0)),
            ],
        },
    )
}

/// Predicted speed-up over the number of proposals.
pub(super) fn proposals(costs: &Costs, accepted: &[Accepted]) -> Chart {
    let line = |found: &Accepted| {
        let draft = costs.draft(found.who).0;
        let at = |gamma| speedup((found.alpha, found.proposes), gamma, draft, costs.pass(gamma + 1));
        series(found.who.name(), (1..=MOST).map(|gamma| [gamma as f64, at(gamma)]).collect())
    };
    chart(
        "proposals",
        "How many tokens should be proposed?",
        "Speed-up predicted from the acceptance and from the measured costs of a pass and of a proposed token. 1 is plain decoding.",
        (Axis::linear("Tokens proposed in a round, γ"), Axis { min: Some(0.0), ..Axis::linear("Speed-up (×)") }),
        ChartBody::Line { series: accepted.iter().map(line).collect() },
    )
}

/// What is left of it when requests come together.
pub(super) fn batches(batches: &[(usize, Pair)], costs: &Costs, accepted: &[Accepted], params: &Params) -> Chart {
    let (gamma, found) = (costs.gamma, of(accepted, params.drafter));
    let draft = costs.draft(params.drafter).0;
    let passes = std::iter::once((1, costs.pass(gamma + 1)))
        .chain(batches.iter().map(|(batch, pair)| (*batch, batch_cost(pair))));
    let (cost, speed): (Vec<_>, Vec<_>) =
        passes.map(|(n, pass)| ([n as f64, pass], [n as f64, speedup(found, gamma, draft, pass)])).unzip();
    chart(
        "batches",
        "And for several requests at once?",
        "A pass that checks the proposals of all requests, in steps that write one token for each; and the speed-up that follows if a proposed token costs as much of a step as it does for one request.",
        (Axis::log("Requests at once"), Axis { min: Some(0.0), ..Axis::linear("Steps, or times") }),
        ChartBody::Line {
            series: vec![series("Cost of the pass (steps)", cost), series("Speed-up, predicted (×)", speed)],
        },
    )
}

/// All drafts with what decides about them.
pub(super) fn drafters(costs: &Costs, accepted: &[Accepted], material: &Material) -> Table {
    let gamma = costs.gamma;
    let row = |found: &Accepted| {
        let who: Who = found.who;
        let both = (found.alpha, found.proposes);
        let (now, (best, fastest)) = predicted(costs, both, who, gamma);
        let [of_draft, of_target] = material.flops(who, super::material::PROMPT);
        let numbers = [
            100.0 * found.proposes,
            100.0 * found.alpha,
            of_draft / of_target,
            costs.draft(who).0,
            found.proposes * expected_tokens(found.alpha, gamma) + 1.0 - found.proposes,
            now,
            best as f64,
            fastest,
        ];
        std::iter::once(Cell::from(who.name())).chain(numbers.map(Cell::from)).collect()
    };
    let columns = [
        "Who drafts",
        "Proposes (% of places)",
        "Accepted (%)",
        "A proposed token, by operations (steps)",
        "A proposed token, measured (steps)",
        "Tokens for each pass, expected",
        "Speed-up, predicted (×)",
        "Best γ",
        "Speed-up there (×)",
    ];
    Table {
        id: "drafters".into(),
        title: format!("Who should draft? At γ = {gamma}"),
        columns: columns.map(str::to_owned).to_vec(),
        rows: accepted.iter().map(row).collect(),
    }
}
