//! What is learned: letters from font families, or the next token from the two before it.

use lab_api::LabError;
use serde::{Deserialize, Serialize};

use super::optim::{Pairs, Part, Role, draw};
use crate::order::Ordered as _;
use crate::{
    Context,
    accumulate::{Norm, Shape},
    data::{Corpus, Glyphs, Images, Part as TextPart, Split},
    rng,
    tokenizer::Tokenizer,
};

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Learned {
    /// Letters and digits
    #[serde(rename = "glyphs")]
    Glyphs,
    /// The next token, from two
    ///
    /// 1,024 tokens, few of them frequent. Takes some times as long.
    #[serde(rename = "tokens")]
    Tokens,
}

/// One family of this many chooses rates and trains nothing.
const CHOOSING: usize = 8;
/// Characters that are read, and those that choose rates and that judge.
const CHARACTERS: [usize; 3] = [1_200_000, 24_000, 24_000];
/// Tokens of the tokenizer.
const VOCABULARY: usize = 1024;
/// Ranks of tokens that count as frequent, and from which they count as rare.
const RANKS: [usize; 2] = [32, 256];

/// How good a network is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Nats.
    pub loss: f64,
    /// Per cent; none for tokens.
    pub accuracy: Option<f64>,
    /// Nats where the right token is among the 32 most frequent ones, and where 256 or more are more frequent.
    pub by_rank: Option<[f64; 2]>,
}

/// Pairs of tokens, and the next one.
pub struct Text {
    before: Vec<[u32; 2]>,
    next: Vec<u32>,
}

impl Text {
    fn of(tokens: &[u32]) -> Self {
        let windows = || tokens.windows(3);
        Self { before: windows().map(|w| [w[0], w[1]]).collect(), next: windows().map(|w| w[2]).collect() }
    }

    fn some(&self, which: &[usize]) -> (Vec<[u32; 2]>, Vec<u32>) {
        which.iter().map(|i| (self.before[*i], self.next[*i])).unzip()
    }
}

/// A task with its network.
pub enum Task {
    /// Images: to train on, to choose by, to judge by.
    Glyphs(Shape, Box<[Images; 3]>),
    /// Texts: the same; and the rank of each token by its number in the first.
    Tokens(Pairs, Box<[Text; 3]>, Vec<usize>),
}

impl Task {
    /// A task with hidden layers of this width.
    ///
    /// # Errors
    /// [`LabError`] where a data set cannot be read.
    pub async fn load(which: Learned, width: usize, cx: &Context) -> Result<Self, LabError> {
        if which == Learned::Tokens {
            return Self::tokens(width, cx).await;
        }
        let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
        let (chosen, taught): (Vec<usize>, Vec<usize>) =
            glyphs.indices(Split::Train).into_iter().partition(|i| glyphs.family_of(*i) % CHOOSING == 0);
        let images = [taught, chosen, glyphs.indices(Split::Test)].map(|which| Images::of_glyphs(&glyphs, &which));
        cx.checkpoint().await?;
        let widths = [Glyphs::PIXELS, width, width, Glyphs::CLASSES.len()];
        Ok(Self::Glyphs(Shape::new(&widths, Norm::None), Box::new(images)))
    }

    async fn tokens(width: usize, cx: &Context) -> Result<Self, LabError> {
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut texts = Vec::new();
        let mut counts = vec![0_usize; VOCABULARY];
        for (part, characters) in TextPart::ALL.into_iter().zip(CHARACTERS) {
            let text = Corpus::read(part, &cx.asset(part.asset()).await?)?.text;
            let end = (characters.min(text.len())..=text.len()).find(|at| text.is_char_boundary(*at));
            let tokens = tokenizer.encode(&text[..end.unwrap_or(text.len())]);
            cx.checkpoint().await?;
            if part == TextPart::Train {
                tokens.iter().for_each(|token| counts[*token as usize % VOCABULARY] += 1);
            }
            texts.push(Text::of(&tokens));
        }
        let mut order: Vec<usize> = (0..VOCABULARY).collect();
        order.ordered_by_key(&|token| std::cmp::Reverse(counts[*token]));
        let mut ranks = vec![0; VOCABULARY];
        order.iter().enumerate().for_each(|(rank, token)| ranks[*token] = rank);
        let texts: [Text; 3] =
            texts.try_into().map_err(|_| LabError::Engine { why: "the corpus has three parts".into() })?;
        Ok(Self::Tokens(Pairs { vocabulary: VOCABULARY, embedding: 32, hidden: width }, Box::new(texts), ranks))
    }

    /// Examples to train on.
    pub fn examples(&self) -> usize {
        match self {
            Self::Glyphs(_, images) => images[0].len(),
            Self::Tokens(_, texts, _) => texts[0].next.len(),
        }
    }

    /// Loss of a guess that knows nothing.
    pub fn chance(&self) -> f64 {
        match self {
            Self::Glyphs(..) => Glyphs::CLASSES.len() as f64,
            Self::Tokens(..) => VOCABULARY as f64,
        }
        .ln()
    }

    /// The tensors of the network.
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Tokens(pairs, ..) => pairs.parts().to_vec(),
            Self::Glyphs(shape, _) => {
                let layers = shape.widths().len() - 1;
                let of = |(l, pair): (usize, &[usize])| {
                    let role = if l + 1 < layers { Role::Hidden } else { Role::Edge };
                    let part = |columns, role| Part { rows: pair[1], columns, role };
                    [part(pair[0], role), part(1, Role::Vector)]
                };
                shape.widths().windows(2).enumerate().flat_map(of).collect()
            }
        }
    }

    /// Fresh weights.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut rng = rng(seed, "weights");
        match self {
            Self::Glyphs(shape, _) => shape.init(&mut rng),
            Self::Tokens(pairs, ..) => pairs.init(&mut rng),
        }
    }

    /// Mean loss of some examples, and its gradient.
    pub fn pass(&self, weights: &[f32], which: &[usize]) -> (f64, Vec<f32>) {
        match self {
            Self::Glyphs(shape, images) => {
                let labels: Vec<u8> = which.iter().map(|i| images[0].labels[*i]).collect();
                let pass = shape.pass(weights, &images[0].gather(which), &labels);
                (pass.loss, pass.gradient)
            }
            Self::Tokens(pairs, texts, _) => {
                let (before, next) = texts[0].some(which);
                pairs.pass(weights, &before, &next)
            }
        }
    }

    /// The gradient with labels that are drawn from the network's own answers.
    pub fn drawn(&self, weights: &[f32], which: &[usize], seed: u64, step: usize) -> Vec<f32> {
        let mut rng = rng(seed, &format!("labels of step {step}"));
        match self {
            Self::Glyphs(shape, images) => {
                let pixels = images[0].gather(which);
                let logits = shape.logits(weights, &pixels);
                let labels: Vec<u8> =
                    logits.chunks_exact(Glyphs::CLASSES.len()).map(|row| draw(row, &mut rng) as u8).collect();
                shape.pass(weights, &pixels, &labels).gradient
            }
            Self::Tokens(pairs, texts, _) => {
                let (before, _) = texts[0].some(which);
                let next = pairs.drawn(weights, &before, &mut rng);
                pairs.pass(weights, &before, &next).1
            }
        }
    }

    /// On what chooses the rate (1), or on what judges (2).
    pub fn judge(&self, weights: &[f32], on: usize) -> Judged {
        match self {
            Self::Glyphs(shape, images) => {
                let (loss, share) = shape.judge(weights, &images[on].pixels, &images[on].labels);
                Judged { loss, accuracy: Some(100.0 * share), by_rank: None }
            }
            Self::Tokens(pairs, texts, ranks) => {
                let text = &texts[on];
                let mut losses = Vec::with_capacity(text.next.len());
                for (before, next) in text.before.chunks(512).zip(text.next.chunks(512)) {
                    losses.extend(pairs.losses(weights, before, next));
                }
                let mean = |wanted: &dyn Fn(usize) -> bool| {
                    let of =
                        losses.iter().zip(&text.next).filter(|(_, next)| wanted(ranks[**next as usize % VOCABULARY]));
                    let (sum, count) = of.fold((0.0, 0.0), |(sum, count), (loss, _)| (sum + loss, count + 1.0));
                    if count > 0.0 { sum / count } else { 0.0 }
                };
                let by_rank = [mean(&|rank| rank < RANKS[0]), mean(&|rank| rank >= RANKS[1])];
                Judged { loss: mean(&|_| true), accuracy: None, by_rank: Some(by_rank) }
            }
        }
    }
}
