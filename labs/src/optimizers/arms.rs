//! The rules that are compared, with the middle of the rates that each may try.

use lab_kit::tuning::{
    Learned,
    optim::{Adafactor, Adam, EightBit, Rule, Sophia, codes::Spacing},
};

use super::Compare;

/// Between neighbouring rates: two tries a decade, so that the rates of all rules lie on one lattice.
pub(super) const RATIO: f64 = 3.162_277_660_168_379_5;

/// A rule by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arm {
    /// In ids.
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    /// Where earlier runs found the best rate, on the lattice.
    pub(super) middle: f64,
}

/// Adam in 8 bits, as published.
const EIGHT: EightBit = EightBit { adam: Adam::W, spacing: Spacing::Dynamic, block: 256, never_zero: false };

/// Adam with other decays.
const fn betas(beta_1: f64, beta_2: f64) -> Rule {
    Rule::Adam(Adam { beta_1, beta_2, ..Adam::W })
}

/// Id, name, rule, and the middle of the rates on images and on tokens, in half decades.
const ARMS: [(&str, &str, Rule, [i32; 2]); 18] = [
    ("sgd", "SGD", Rule::Sgd, [-1, 2]),
    ("momentum", "Momentum", Rule::Momentum { keep: 0.9, nesterov: false }, [-2, 0]),
    ("nesterov", "Nesterov", Rule::Momentum { keep: 0.9, nesterov: true }, [-2, 0]),
    ("adamw", "AdamW", Rule::Adam(Adam::W), [-4, -3]),
    ("adam_long", "Adam, betas 0.9, 0.99", betas(0.9, 0.99), [-4, -3]),
    ("adam_still", "Adam, betas 0, 0.99", betas(0.0, 0.99), [-4, -3]),
    ("adafactor", "Adafactor", Rule::Adafactor(Adafactor { clip: true, relative: false }), [-4, -3]),
    ("adafactor_free", "Adafactor, not clipped", Rule::Adafactor(Adafactor { clip: false, relative: false }), [-4, -3]),
    ("adafactor_paper", "Adafactor, its own rate", Rule::Adafactor(Adafactor { clip: true, relative: true }), [-4, -3]),
    ("lion", "Lion", Rule::Lion(0.9, 0.99), [-5, -5]),
    ("sign", "Bare signs", Rule::Sign, [-6, -5]),
    ("sophia", "Sophia", Rule::Sophia(Sophia::G), [-5, -5]),
    ("muon", "Muon", Rule::Muon(0.95), [-4, -3]),
    ("soap", "SOAP", Rule::Soap(10), [-4, -3]),
    ("eight_plain", "8-bit, as published", Rule::EightBit(EIGHT), [-4, -3]),
    ("eight", "8-bit, never zero", Rule::EightBit(EightBit { never_zero: true, ..EIGHT }), [-4, -3]),
    (
        "eight_epsilon",
        "8-bit, epsilon 1e-5",
        Rule::EightBit(EightBit { adam: Adam { epsilon: 1e-5, ..Adam::W }, ..EIGHT }),
        [-4, -3],
    ),
    ("eight_linear", "8-bit, evenly spaced", Rule::EightBit(EightBit { spacing: Spacing::Linear, ..EIGHT }), [-4, -3]),
];

/// The rule of this id, for a task.
pub(super) fn arm(id: &str, task: Learned) -> Option<Arm> {
    let (id, name, rule, middles) = ARMS.into_iter().find(|arm| arm.0 == id)?;
    let half_decades = middles[usize::from(task == Learned::Tokens)];
    Some(Arm { id, name, rule, middle: 10_f64.powf(0.5 * f64::from(half_decades)) })
}

/// Ids of a comparison.
pub(super) fn ids(compare: Compare) -> &'static [&'static str] {
    match compare {
        Compare::Families => &["sgd", "adamw", "lion", "muon"],
        Compare::Momentum => &["sgd", "momentum", "nesterov"],
        Compare::State => &["adamw", "adafactor", "eight"],
        Compare::Codes => &["adamw", "eight_plain", "eight", "eight_epsilon", "eight_linear"],
        Compare::Betas => &["adamw", "adam_long", "adam_still", "adafactor"],
        Compare::Curvature => &["adamw", "sophia", "muon", "soap"],
        Compare::Controls => &["lion", "sign", "adafactor", "adafactor_free", "adafactor_paper"],
    }
}

/// The rules of a comparison.
pub(super) fn group(compare: Compare, task: Learned) -> impl Iterator<Item = Arm> {
    ids(compare).iter().filter_map(move |id| arm(id, task))
}
