//! Draft, verify, keep: the loop.

use burn::tensor::Device;
use lab_api::LabError;
use rand_chacha::ChaCha8Rng;

use super::{
    draft::Drafter,
    rule::{Rule, distribution, verify},
};
use crate::{
    mlp::read,
    models::{KvCache, Transformer},
};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct How {
    /// Tokens that are proposed in a round; 0 decodes plainly.
    pub gamma: usize,
    /// Of the model and of the draft alike; 0 takes the likeliest token.
    pub temperature: f64,
    /// What becomes of a proposal.
    pub rule: Rule,
}

/// What one pass of the model yielded: the accepted tokens and one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Tokens that were proposed.
    pub proposed: usize,
    /// How many of them stayed.
    pub accepted: usize,
}

/// A model that writes, and who drafts for it.
pub struct Session<'a> {
    target: &'a Transformer,
    cache: KvCache,
    drafter: Drafter<'a>,
    device: Device,
    /// Prompt and what was written. The model has read all but the last token.
    text: Vec<u32>,
    prompt: usize,
}

impl<'a> Session<'a> {
    /// Reads the prompt, all but its last token. There is room for `room` tokens after it, proposals that are rejected included.
    ///
    /// # Errors
    /// [`LabError::Refused`] for an empty prompt, or when prompt and room exceed the model's context.
    pub fn new(
        target: &'a Transformer,
        drafter: Drafter<'a>,
        (prompt, room): (&[u32], usize),
        device: &Device,
    ) -> Result<Self, LabError> {
        let mut cache = KvCache::new(target.config(), 1, prompt.len() + room, device)?;
        let Some((_, before)) = prompt.split_last() else {
            return Err(LabError::Refused { why: "a prompt has one token at least".into() });
        };
        if !before.is_empty() {
            target.next(target.tokens(&[before], device)?, &mut cache)?;
        }
        Ok(Self { target, cache, drafter, device: device.clone(), text: prompt.to_vec(), prompt: prompt.len() })
    }

    /// Prompt and what was written.
    #[must_use]
    pub fn text(&self) -> &[u32] {
        &self.text
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u32] {
        &self.text[self.prompt..]
    }

    /// Back to the prompt.
    pub fn rewind(&mut self) {
        self.shorten(self.prompt);
    }

    /// The first `length` tokens stay; the caches hold all of them but the last.
    fn shorten(&mut self, length: usize) {
        self.text.truncate(length);
        self.cache.truncate(length.saturating_sub(1));
        self.drafter.keep(length.saturating_sub(1));
    }

    // ANCHOR: plain
    /// One token: a pass over the last one.
    ///
    /// # Errors
    /// When the cache is full, or what the device returns.
    pub async fn step(&mut self, how: How, rng: &mut ChaCha8Rng) -> Result<Round, LabError> {
        let last = &self.text[self.text.len() - 1..];
        let logits = self.target.extend(self.target.tokens(&[last], &self.device)?, &mut self.cache)?;
        let p = distribution(&read(logits).await?, how.temperature)?;
        let (_, token) = verify(&[p], &[], &[], how.rule, rng);
        self.text.push(token);
        Ok(Round { proposed: 0, accepted: 0 })
    }
    // ANCHOR_END: plain

    // ANCHOR: round
    /// One token or more: a pass over the last one and all that are proposed after it.
    ///
    /// # Errors
    /// As [`Session::step`].
    pub async fn round(&mut self, how: How, rng: &mut ChaCha8Rng) -> Result<Round, LabError> {
        let vocabulary = self.target.config().vocabulary;
        let room = self.cache.capacity().saturating_sub(self.cache.len() + 1);
        let gamma = how.gamma.min(room);
        let draft = self.drafter.propose(&self.text, gamma, how.temperature, vocabulary, rng).await?;

        let mut checked = self.text[self.text.len() - 1..].to_vec();
        checked.extend(&draft.tokens);
        let logits = self.target.extend(self.target.tokens(&[&checked], &self.device)?, &mut self.cache)?;
        let logits = read(logits).await?;
        let rows = logits.chunks(vocabulary).map(|row| distribution(row, how.temperature));
        let p: Vec<Vec<f64>> = rows.collect::<Result<_, _>>()?;

        let (accepted, token) = verify(&p, &draft.q, &draft.tokens, how.rule, rng);
        self.text.extend(&draft.tokens[..accepted]);
        self.text.push(token);
        // What was rejected is forgotten, here and in the draft.
        self.shorten(self.text.len());
        Ok(Round { proposed: draft.tokens.len(), accepted })
    }
    // ANCHOR_END: round

    /// Writes `count` tokens after what is there; what the last round wrote beyond them is dropped. `between` is called after
    /// each round: a place for checkpoints.
    ///
    /// # Errors
    /// As [`Session::step`], and what `between` returns.
    pub async fn write(
        &mut self,
        count: usize,
        how: How,
        rng: &mut ChaCha8Rng,
        mut between: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<Vec<Round>, LabError> {
        let (end, mut rounds) = (self.text.len() + count, Vec::new());
        while self.text.len() < end {
            rounds.push(match self.drafter {
                Drafter::Nobody => self.step(how, rng).await?,
                _ => self.round(how, rng).await?,
            });
            between().await?;
        }
        self.shorten(end);
        Ok(rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        models::{Sampling, TransformerConfig, config_tests::tiny, generate},
        rng,
        speculative::{ModelDrafter, Ngrams, chi_square},
        testing::ready,
    };

    fn model(config: &TransformerConfig, seed: u64, device: &Device) -> Transformer {
        // Fresh output layers say nearly nothing; louder ones make greedy choices differ from place to place.
        let mut weights = config.init(&mut rng(seed, "weights"));
        if let Some(head) = weights.get_mut("lm_head.weight") {
            head.values.iter_mut().for_each(|w| *w *= 40.0);
        }
        Transformer::new(config, &weights, "a test", device).expect("fits")
    }

    const GREEDY: How = How { gamma: 4, temperature: 0.0, rule: Rule::Exact };

    /// All drafters, the model itself among them.
    fn drafters<'a>(
        target: &'a Transformer,
        small: &'a Transformer,
        ngrams: &'a Ngrams,
        device: &Device,
    ) -> Vec<Drafter<'a>> {
        let model = |model| Drafter::Model(ModelDrafter::new(model, 16, device).expect("fits"));
        vec![Drafter::Nobody, model(small), model(target), Drafter::Lookup(3), Drafter::Table(ngrams), Drafter::Chance]
    }

    #[test]
    fn the_greedy_text_is_that_of_plain_decoding_whoever_drafts() {
        let (device, config) = (Device::flex(), tiny());
        let (target, small) =
            (model(&config, 0, &device), model(&TransformerConfig { layers: 1, ..config.clone() }, 1, &device));
        let ngrams = Ngrams::count(&[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6]);
        let (mut kept, mut lost) = (0, 0);
        for prompt in [&[3_u32] as &[u32], &[3, 1, 4, 1], &[1, 2, 1, 2, 1, 2]] {
            let count = 16 - prompt.len();
            let between = async |_| Ok(());
            let plain =
                ready(generate(&target, (prompt, count), &Sampling::GREEDY, &mut rng(9, "t"), &device, between))
                    .expect("fits");
            for gamma in [0, 1, 2, 3, 5, 12] {
                for (i, drafter) in drafters(&target, &small, &ngrams, &device).into_iter().enumerate() {
                    // The context is full in the middle of a round.
                    let mut session = Session::new(&target, drafter, (prompt, count), &device).expect("fits");
                    for _ in 0..2 {
                        let how = How { gamma, ..GREEDY };
                        let rounds = ready(session.write(count, how, &mut rng(9, "t"), async || Ok(()))).expect("fits");
                        assert_eq!(session.written(), plain, "{:?} {gamma}", session.drafter);
                        assert_eq!(session.cache.len(), prompt.len() + count - 1);
                        for round in &rounds {
                            kept += round.accepted;
                            lost += round.proposed - round.accepted;
                            assert!(i != 2 || round.accepted == round.proposed, "its own draft is always right");
                        }
                        session.rewind();
                    }
                }
            }
        }
        assert!(kept > 100 && lost > 100, "both happened: {kept} {lost}");
    }

    #[test]
    fn without_proposals_sampling_draws_what_generation_draws() {
        let (device, config) = (Device::flex(), tiny());
        let target = model(&config, 0, &device);
        let sampling = Sampling { temperature: 0.8, top_k: None };
        let prompt = [3_u32, 1, 4];
        let plain = ready(generate(&target, (&prompt, 12), &sampling, &mut rng(5, "t"), &device, async |_| Ok(())))
            .expect("fits");
        for drafter in [Drafter::Nobody, Drafter::Lookup(0)] {
            let how = How { temperature: 0.8, ..GREEDY };
            let mut session = Session::new(&target, drafter, (&prompt, 12), &device).expect("fits");
            ready(session.write(12, how, &mut rng(5, "t"), async || Ok(()))).expect("fits");
            assert_eq!(session.written(), plain);
        }
    }

    #[test]
    fn after_each_round_both_caches_hold_what_was_kept() {
        let (device, config) = (Device::flex(), tiny());
        let (target, small) =
            (model(&config, 0, &device), model(&TransformerConfig { layers: 1, ..config.clone() }, 1, &device));
        let drafter = Drafter::Model(ModelDrafter::new(&small, 16, &device).expect("fits"));
        let mut session = Session::new(&target, drafter, (&[3, 1], 14), &device).expect("fits");
        let (how, mut numbers, mut all_kept) = (How { gamma: 2, temperature: 1.5, rule: Rule::Exact }, rng(1, "t"), 0);
        while session.text.len() < 13 {
            let round = ready(session.round(how, &mut numbers)).expect("fits");
            let n = session.text.len();
            assert_eq!(session.cache.len(), n - 1);
            let Drafter::Model(drafter) = &session.drafter else { panic!("a model drafts") };
            // When all were kept, the draft has not read the last of them.
            let unread = 1 + usize::from(round.accepted == 2);
            all_kept += usize::from(round.accepted == 2);
            assert_eq!(drafter.has_read(), n - unread);
            // What a next token sees of the cache is what reading the text anew gives.
            let mut cache = session.cache.clone();
            let last = target.tokens(&[&session.text[n - 1..]], &device).expect("valid");
            let kept = ready(read(target.next(last, &mut cache).expect("fits"))).expect("runs");
            let mut fresh = KvCache::new(&config, 1, n, &device).expect("fits");
            let whole = target.tokens(&[&session.text], &device).expect("valid");
            let anew = ready(read(target.next(whole, &mut fresh).expect("fits"))).expect("runs");
            assert!(kept.iter().zip(&anew).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + b.abs())), "{kept:?} {anew:?}");
        }
        assert!(all_kept > 0);
    }

    /// Two tokens through the whole loop against the model's exact law, and a wrong rule through the same test.
    #[test]
    fn two_sampled_tokens_follow_the_models_law() {
        let (device, config) = (Device::flex(), TransformerConfig { vocabulary: 5, ..tiny() });
        let (target, small) =
            (model(&config, 0, &device), model(&TransformerConfig { layers: 1, ..config.clone() }, 1, &device));
        let prompt = [3_u32, 1];
        let law = |text: &[u32]| {
            let logits = target.forward(target.tokens(&[text], &device).expect("valid"));
            let logits = ready(read(logits.narrow(1, text.len() - 1, 1))).expect("runs");
            distribution(&logits, 4.0).expect("numbers")
        };
        let first = law(&prompt);
        let joint: Vec<f64> = (0..5_u32)
            .flat_map(|a| law(&[3, 1, a]).into_iter().map(|b| first[a as usize] * b).collect::<Vec<_>>())
            .collect();
        for (rule, right) in [(Rule::Exact, true), (Rule::Unsubtracted, false)] {
            let drafter = Drafter::Model(ModelDrafter::new(&small, 8, &device).expect("fits"));
            let mut session = Session::new(&target, drafter, (&prompt, 5), &device).expect("fits");
            let (how, mut numbers) = (How { gamma: 2, temperature: 4.0, rule }, rng(2, "t"));
            let mut counts = [0; 25];
            for _ in 0..3000 {
                ready(session.write(2, how, &mut numbers, async || Ok(()))).expect("fits");
                counts[session.written().iter().fold(0, |cell, token| 5 * cell + *token as usize)] += 1;
                session.rewind();
            }
            let found = chi_square(&counts, &joint, 5.0);
            assert!(found.freedom > 10 && (found.p_value > 1e-3) == right, "{rule:?}: {found:?} {joint:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (device, config) = (Device::flex(), tiny());
        let target = model(&config, 0, &device);
        assert!(Session::new(&target, Drafter::Nobody, (&[], 3), &device).is_err());
        assert!(Session::new(&target, Drafter::Nobody, (&[1], 16), &device).is_err());
    }
}
