//! Ways to write a text, as things that are timed.

use lab_api::LabError;
use lab_kit::{
    Context,
    cache::{Decoder, Session, Setting},
    measure::{samples, side_by_side},
    mlp::read,
    models::{KvCache, Transformer},
    speculative::{Drafter, How, ModelDrafter, Rule},
    stats::median,
};

use super::course::{Beside, Text};

/// Where of the text that is written steps are timed: the mean over these three places is the mean over all for costs that are
/// curves of the third degree or simpler (Chebyshev's rule).
const PLACES: [f64; 3] = [0.146_446_6, 0.5, 0.853_553_4];
/// A step with a cache is short: so many at each place.
const REPEATS: usize = 4;

/// Lengths of the text at those places.
pub(super) fn places(text: Text) -> [usize; 3] {
    PLACES.map(|place| text.prompt + (place * text.tokens as f64) as usize)
}

/// Something that writes.
pub(super) enum Writer<'a> {
    /// Every token from the whole text, of so many texts at once.
    Naive { model: &'a Transformer, rows: usize },
    /// Every token from the last one and a cache, for so many texts at once.
    Cached { model: &'a Transformer, caches: Vec<KvCache>, rows: usize },
    /// With a cache that gives something up.
    Small { decoder: &'a Decoder, setting: Setting },
    /// Proposed by a small model.
    Drafted { model: &'a Transformer, session: Box<lab_kit::speculative::Session<'a>>, gamma: usize },
}

impl<'a> Writer<'a> {
    pub(super) fn cached(model: &'a Transformer, rows: usize, text: Text, cx: &Context) -> Result<Self, LabError> {
        // One for each place, so that a step never has to read again what another place forgot.
        let cache = |length: usize| KvCache::new(model.config(), rows, length, &cx.device);
        let caches = places(text).into_iter().map(cache).collect::<Result<_, _>>()?;
        Ok(Self::Cached { model, caches, rows })
    }

    pub(super) fn drafted(
        (model, draft): (&'a Transformer, &'a Transformer),
        gamma: usize,
        (tokens, text): (&[u32], Text),
        cx: &Context,
    ) -> Result<Self, LabError> {
        // What is proposed beyond the end needs room too, as far as the context reaches.
        let room = (text.tokens + gamma + 1).min(model.config().context - text.prompt);
        let drafter = Drafter::Model(ModelDrafter::new(draft, text.prompt + room, &cx.device)?);
        let session = lab_kit::speculative::Session::new(model, drafter, (&tokens[..text.prompt], room), &cx.device)?;
        Ok(Self::Drafted { model, session: Box::new(session), gamma })
    }

    /// Tokens that a call of [`Writer::steps`] stands for.
    pub(super) fn tokens(&self, text: Text) -> f64 {
        match self {
            Self::Naive { rows, .. } => (PLACES.len() * rows) as f64,
            Self::Cached { rows, .. } => (PLACES.len() * REPEATS * rows) as f64,
            Self::Small { .. } | Self::Drafted { .. } => text.tokens as f64,
        }
    }

    /// Some steps of the work, done when their answers have been read. `tokens` are prompt and text.
    pub(super) async fn steps(&mut self, tokens: &[u32], text: Text, cx: &Context) -> Result<(), LabError> {
        match self {
            Self::Naive { model, rows } => {
                for length in places(text) {
                    let all = vec![&tokens[..length]; *rows];
                    let logits = model.forward(model.tokens(&all, &cx.device)?); // [B, T, V]
                    settle(read(logits.narrow(1, length - 1, 1).flatten::<2>(0, 1)).await?);
                }
            }
            Self::Cached { model, caches, rows } => {
                for (length, cache) in places(text).into_iter().zip(caches) {
                    for _ in 0..REPEATS {
                        step(model, cache, (tokens, *rows), length, cx).await?;
                    }
                }
            }
            Self::Small { decoder, setting } => {
                let mut session =
                    Session::new(decoder, &[*setting], text.prompt + text.tokens, cx.rng("nobody leaves by lot"))?;
                settle(read(session.feed(&tokens[..text.prompt], cx, &mut |_, _, _| {}).await?).await?);
                for at in text.prompt..text.prompt + text.tokens - 1 {
                    settle(read(session.feed(&tokens[at..=at], cx, &mut |_, _, _| {}).await?).await?);
                }
            }
            Self::Drafted { session, gamma, .. } => {
                session.rewind();
                let how = How { gamma: *gamma, temperature: 0.0, rule: Rule::Exact };
                session.write(text.tokens, how, &mut cx.rng("greedy"), async || cx.checkpoint().await).await?;
            }
        }
        Ok(())
    }

    /// Reading the prompts, where that is not part of the steps: milliseconds.
    pub(super) async fn prompt_ms(&mut self, tokens: &[u32], text: Text, cx: &Context) -> Result<f64, LabError> {
        let (model, rows) = match self {
            Self::Cached { model, rows, .. } => (*model, *rows),
            Self::Drafted { model, .. } => (*model, 1),
            _ => return Ok(0.0),
        };
        let mut cache = KvCache::new(model.config(), rows, text.prompt, &cx.device)?;
        let all = vec![&tokens[..text.prompt]; rows];
        let times = samples(cx, 0.0, async || {
            cache.truncate(0);
            settle(read(model.next(model.tokens(&all, &cx.device)?, &mut cache)?).await?);
            Ok(())
        });
        Ok(median(&times.await?))
    }
}

/// One token for each row after `length - 1` others.
async fn step(
    model: &Transformer,
    cache: &mut KvCache,
    (tokens, rows): (&[u32], usize),
    length: usize,
    cx: &Context,
) -> Result<(), LabError> {
    if cache.len() < length - 1 {
        let missing = vec![&tokens[cache.len()..length - 1]; rows];
        model.next(model.tokens(&missing, &cx.device)?, cache)?;
    }
    cache.truncate(length - 1);
    let last = vec![&tokens[length - 1..length]; rows];
    settle(read(model.next(model.tokens(&last, &cx.device)?, cache)?).await?);
    Ok(())
}

fn settle(answers: Vec<f32>) {
    std::hint::black_box(answers);
}

/// Milliseconds of a token, the baseline's and another writer's, in turns.
pub(super) async fn beside(
    naive: &mut Writer<'_>,
    own: &mut Writer<'_>,
    (tokens, text): (&[u32], Text),
    budget_ms: f64,
    cx: &Context,
) -> Result<Beside, LabError> {
    let rows = if let Writer::Cached { rows, .. } = own { *rows } else { 1 };
    // The cache holds the text before anything counts, so that no step reads more than its token.
    own.steps(tokens, text, cx).await?;
    let prompt = own.prompt_ms(tokens, text, cx).await? / (text.tokens * rows) as f64;
    let (each, others) = (naive.tokens(text), own.tokens(text));
    let pair = side_by_side(
        cx,
        budget_ms,
        async || naive.steps(tokens, text, cx).await,
        async || own.steps(tokens, text, cx).await,
    )
    .await?;
    Ok(Beside {
        naive: pair.first.iter().map(|ms| ms / each).collect(),
        own: pair.second.iter().map(|ms| ms / others + prompt).collect(),
    })
}
