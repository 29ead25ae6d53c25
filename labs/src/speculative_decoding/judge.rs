//! What would be accepted, and whether the law of the text is still the model's.

use lab_api::LabError;
use lab_kit::{
    Context,
    speculative::{ChiSquare, Rule, chi_square, draw, emitted, overlap, verify},
};

use super::{
    Who,
    material::{Material, PROMPT, Written},
};

/// Tokens drawn for the test at each prompt.
pub(super) const DRAWN: usize = 4000;

/// What a drafter's next token is worth on texts that the model wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) who: Who,
    /// Mean probability that a proposed token is accepted.
    pub(super) alpha: f64,
    /// Share of the places where it proposes anything.
    pub(super) proposes: f64,
}

// ANCHOR: alpha
/// `α`: the mean of `Σ min(p, q)` over the places of the texts at which a drafter proposes, each judged by itself.
pub(super) async fn accepted(
    material: &Material,
    (prompts, written): (&[Vec<u32>], &[Written]),
    temperature: f64,
    cx: &Context,
) -> Result<Vec<Accepted>, LabError> {
    let (mut sums, mut places) = ([(0.0_f64, 0.0_f64); Who::ALL.len()], 0.0_f64);
    for (prompt, written) in prompts.iter().zip(written) {
        // What follows the last token is not in the text.
        let text: Vec<u32> = prompt.iter().chain(&written.tokens[..written.tokens.len() - 1]).copied().collect();
        let at = (prompt.len() - 1, temperature);
        let p = Material::laws(&material.target, &text, at, cx).await?;
        places += p.len() as f64;
        for (who, sum) in Who::ALL.into_iter().zip(&mut sums) {
            let q = material.proposals(who, &text, at, cx).await?;
            for (p, q) in p.iter().zip(&q) {
                if let Some(q) = q {
                    *sum = (sum.0 + overlap(p, q), sum.1 + 1.0);
                }
            }
            cx.checkpoint().await?;
        }
    }
    let found = Who::ALL.into_iter().zip(sums).map(|(who, (alpha, proposed))| Accepted {
        who,
        alpha: alpha / proposed.max(1.0),
        proposes: proposed / places.max(1.0),
    });
    Ok(found.collect())
}
// ANCHOR_END: alpha

/// How far the law of the next token is from the model's, at the ends of the prompts.
#[derive(Debug, Clone)]
pub(super) struct Unchanged {
    /// Largest total variation, from probabilities: how much of it lies elsewhere.
    pub(super) distance: f64,
    /// The same of the draft's own law: what an unchecked draft would be off.
    pub(super) unchecked: f64,
    /// Drawn tokens against the model's probabilities.
    pub(super) test: ChiSquare,
}

pub(super) async fn unchanged(
    material: &Material,
    (who, rule): (Who, Rule),
    prompts: &[Vec<u32>],
    temperature: f64,
    cx: &Context,
) -> Result<Unchanged, LabError> {
    let (mut rng, mut tests) = (cx.rng("rounds"), Vec::new());
    let (mut distance, mut unchecked) = (0.0_f64, 0.0_f64);
    for prompt in prompts {
        let at = (PROMPT - 1, temperature);
        let p = Material::laws(&material.target, prompt, at, cx).await?.remove(0);
        let Some(q) = material.proposals(who, prompt, at, cx).await?.remove(0) else { continue };
        distance = distance.max(1.0 - overlap(&emitted(&p, &q, rule), &p));
        unchecked = unchecked.max(1.0 - overlap(&q, &p));
        let mut counts = vec![0; p.len()];
        let (laws, draft) = ([p.clone(), p.clone()], std::slice::from_ref(&q));
        for i in 0..DRAWN {
            let proposed = draw(&q, &mut rng);
            let (kept, next) = verify(&laws, draft, &[proposed], rule, &mut rng);
            let first = if kept == 1 { proposed } else { next };
            counts[first as usize] += 1;
            if i % 1000 == 0 {
                cx.checkpoint().await?;
            }
        }
        tests.push(chi_square(&counts, &p, 5.0));
    }
    Ok(Unchanged { distance: distance.max(0.0), unchecked: unchecked.max(0.0), test: ChiSquare::together(&tests) })
}
