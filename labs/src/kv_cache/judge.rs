//! How well texts are foretold through a cache, in pairs with the same texts through a full one.

use lab_api::{Interval, LabError};
use lab_kit::{
    Context,
    cache::{Decoder, Session, Setting},
    measure::quality::mean_by_group,
};

/// Confidence of every interval.
pub(super) const LEVEL: f64 = 0.95;

/// What a model said to every token.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    /// `-ln p`, text by text.
    pub(super) nats: Vec<Vec<f64>>,
    /// Bytes of the caches after a text, and the most on the way.
    pub(super) bytes: [usize; 2],
}

/// Reads texts one after the other; each begins with an empty cache.
pub(super) async fn judge(
    decoder: &Decoder,
    settings: &[Setting],
    texts: &[&[u32]],
    cx: &Context,
) -> Result<Judged, LabError> {
    let mut judged = Judged::default();
    for text in texts {
        let mut session = Session::new(decoder, settings, text.len(), cx.rng("lots"))?;
        judged.nats.push(session.judge(text, cx, &mut |_, _, _| ()).await?);
        judged.bytes = session.bytes();
        cx.checkpoint().await?;
    }
    Ok(judged)
}

impl Judged {
    /// The first position that counts: later ones have something to remember.
    fn from(&self) -> usize {
        self.nats.first().map_or(0, |nats| (nats.len() / 2).min(128))
    }

    /// Mean nats of a token between two positions.
    pub(super) fn between(&self, from: usize, to: usize) -> f64 {
        let all: Vec<f64> = self.nats.iter().flat_map(|nats| nats.iter().take(to).skip(from).copied()).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }

    /// Mean nats of the tokens that count.
    pub(super) fn mean(&self) -> f64 {
        self.between(self.from(), usize::MAX)
    }

    /// By how much another cache's nats exceed these, and the interval over whole texts.
    pub(super) fn change(&self, other: &Self, cx: &Context) -> Result<(f64, Interval), LabError> {
        let (mut beyond, mut groups) = (Vec::new(), Vec::new());
        for (number, (before, after)) in self.nats.iter().zip(&other.nats).enumerate() {
            for (before, after) in before.iter().zip(after).skip(self.from()) {
                beyond.push(after - before);
                groups.push(number);
            }
        }
        let found = mean_by_group(&beyond, &groups, LEVEL, &mut cx.rng("change"))?;
        Ok((found.value, found.interval))
    }
}
