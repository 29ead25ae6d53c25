//! What is learned: random facts that can only be stored, or the next token of a text from the two before it.

use lab_api::LabError;
use lab_kit::{
    Context,
    data::{Corpus, Part as TextPart},
    experts::{Facts, VALUES},
    rng,
    tokenizer::Tokenizer,
};

use super::{Learned, Params};
use lab_kit::order::Ordered as _;

/// Numbers of an embedding; a token of the layer is two of them.
pub(super) const EMBEDDING: usize = 16;
/// Characters that train, and those that judge.
const CHARACTERS: [usize; 2] = [1_200_000, 24_000];
/// Tokens of the tokenizer.
const VOCABULARY: usize = 1024;

/// Pairs of tokens, and what comes next.
#[derive(Debug, Clone, Default)]
pub(super) struct Examples {
    pub(super) before: Vec<[u32; 2]>,
    pub(super) next: Vec<u32>,
}

impl Examples {
    fn of(tokens: &[u32]) -> Self {
        let windows = || tokens.windows(3);
        Self { before: windows().map(|w| [w[0], w[1]]).collect(), next: windows().map(|w| w[2]).collect() }
    }

    pub(super) fn some(&self, which: &[usize]) -> (Vec<[u32; 2]>, Vec<u32>) {
        which.iter().map(|i| (self.before[*i], self.next[*i])).unzip()
    }
}

/// A task.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) vocabulary: usize,
    pub(super) outputs: usize,
    pub(super) train: Examples,
    /// What no training has seen; none for facts, which are judged by themselves.
    unseen: Option<Examples>,
    /// Embeddings that do not learn.
    pub(super) names: Vec<f32>,
    facts: Option<Facts>,
    /// Tokens that a picture shows, with their names.
    pub(super) shown: Vec<(u32, String)>,
}

impl Task {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        if params.task == Learned::Facts {
            return Ok(Self::facts(params, cx.seed));
        }
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut texts = Vec::new();
        for (part, characters) in [TextPart::Train, TextPart::Test].into_iter().zip(CHARACTERS) {
            let text = Corpus::read(part, &cx.asset(part.asset()).await?)?.text;
            let end = (characters.min(text.len())..=text.len()).find(|at| text.is_char_boundary(*at));
            texts.push(Examples::of(&tokenizer.encode(&text[..end.unwrap_or(text.len())])));
            cx.checkpoint().await?;
        }
        let unseen = texts.pop();
        let train = texts.pop().unwrap_or_default();
        let mut counts = vec![0_usize; VOCABULARY];
        train.next.iter().for_each(|token| counts[*token as usize % VOCABULARY] += 1);
        let mut order: Vec<u32> = (0..VOCABULARY as u32).collect();
        order.ordered_by_key(&|token| std::cmp::Reverse(counts[*token as usize]));
        let shown =
            order[..16].iter().map(|token| (*token, format!("“{}”", tokenizer.decode(&[*token]).escape_debug())));
        Ok(Self {
            vocabulary: VOCABULARY,
            outputs: VOCABULARY,
            shown: shown.collect(),
            train,
            unseen,
            names: Vec::new(),
            facts: None,
        })
    }

    pub(super) fn facts(params: &Params, seed: u64) -> Self {
        let facts = Facts::draw(params.facts as usize, &mut rng(seed, "facts"));
        let names = facts.embedding(EMBEDDING, params.common, &mut rng(seed, "names"));
        let shown = (0..16.min(facts.names) as u32).map(|i| i + facts.names as u32);
        Self {
            vocabulary: 2 * facts.names,
            outputs: VALUES,
            train: Examples { before: facts.pairs.clone(), next: facts.values.clone() },
            unseen: None,
            names,
            shown: shown.enumerate().map(|(i, token)| (token, format!("Name {}", i + 1))).collect(),
            facts: Some(facts),
        }
    }

    /// What judges.
    pub(super) fn judged(&self) -> &Examples {
        self.unseen.as_ref().unwrap_or(&self.train)
    }

    /// Whether quality is bits that are stored; else it is a loss.
    pub(super) fn stores(&self) -> bool {
        self.facts.is_some()
    }

    /// Bits stored at a loss, or the loss.
    pub(super) fn quality(&self, loss: f64) -> f64 {
        self.facts.as_ref().map_or(loss, |facts| facts.stored(loss))
    }
}
