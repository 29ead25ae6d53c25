//! The language model: weights, texts, quality, and what a token takes.

use std::{collections::BTreeMap, rc::Rc};

#[cfg(feature = "schema")]
use lab_api::{Axis, Chart, ChartBody, Series};
use lab_api::{Family, LabError, Report};
use lab_kit::{
    Context,
    cache::{Decoder, Layout, Session, Setting},
    data::{Corpus, Part},
    measure::{
        Work,
        quality::{agreement_by_group, bits_per_character},
    },
    mlp::read,
    models::{LanguageModel, StateDict, Transformer},
    olympics::{
        CALIBRATION, EntryStep, LanguageMaterial, ScoredEntry, cached_generate, naive_generate, spread_windows,
        text_hash,
    },
    report::{MetricExt, metric},
    serving::{Arrivals, Chunk, Engine, Lengths, Policy, Request, Row, Rules, draw, serve},
    speculative::{Drafter, How, ModelDrafter, Round, Rule},
    tokenizer::Tokenizer,
};
use rand::Rng;

use super::{
    course::{Beside, LEVEL, Numbers, Text},
    writers::{Writer, beside},
};

/// Tokens of a window that judges.
const WINDOW: usize = 256;
/// How many of them; the study reads more.
const WINDOWS: usize = 8;
/// Windows that show what flows through the matrices.
const EXAMPLES: usize = 16;
/// Tokens that are written with and without a cache, to see whether they are the same.
const CHECKED: usize = 12;
/// Bytes of a page of keys and values; pages of the pool for requests at random times.
const PAGE: usize = 16;
const REQUESTS: usize = 24;
const PER_SECOND: f64 = 40.0;

/// What a model said to every token that judges.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    nats: Vec<f64>,
    answers: Vec<u32>,
}

/// Weights after some steps.
pub(super) struct Weights {
    pub(super) entry: ScoredEntry,
    pub(super) model: Transformer,
    judged: Judged,
}

/// Models, texts, and what was computed so far.
pub(super) struct Language {
    pub(super) material: LanguageMaterial,
    draft: Transformer,
    tokenizer: Tokenizer,
    test: Vec<u32>,
    text: Text,
    windows: usize,
    budget_ms: f64,
    /// Prompt and text of the timed work.
    prompt: Vec<u32>,
    weights: BTreeMap<String, Rc<Weights>>,
    small: BTreeMap<String, Judged>,
    files: BTreeMap<String, usize>,
    times: BTreeMap<String, Beside>,
    crowds: BTreeMap<String, Beside>,
    rounds: BTreeMap<String, Vec<Round>>,
}

fn line(steps: &[EntryStep], of: impl Fn(&EntryStep) -> bool) -> String {
    let chosen: Vec<EntryStep> = steps.iter().filter(|step| of(step)).copied().collect();
    lab_kit::olympics::format_line(&chosen)
}

fn batch_of(steps: &[EntryStep]) -> usize {
    steps.iter().find_map(|step| if let EntryStep::Batch { rows } = step { Some(*rows) } else { None }).unwrap_or(1)
}

fn gamma_of(steps: &[EntryStep]) -> usize {
    steps.iter().find_map(|step| if let EntryStep::Draft { gamma } = step { Some(*gamma) } else { None }).unwrap_or(0)
}

/// How keys and values are kept: `None` for not at all.
fn setting_of(steps: &[EntryStep]) -> Option<Setting> {
    steps.iter().find_map(|step| match step {
        EntryStep::Cache { bits: 32 } => Some(Setting::FULL),
        EntryStep::Cache { bits } => Some(Setting::kivi(*bits, 32)),
        EntryStep::Window { tokens } => Some(Setting::window(*tokens)),
        _ => None,
    })
}

impl Language {
    pub(super) async fn load(text: Text, cx: &Context) -> Result<Self, LabError> {
        let load =
            async |which: &LanguageModel| StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?);
        let (full, draft) = (LanguageModel::full(), LanguageModel::draft());
        let (weights, small) = (load(&full).await?, load(&draft).await?);
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut texts = Vec::new();
        for part in [Part::Validation, Part::Test] {
            let corpus = Corpus::read(part, &cx.asset(part.asset()).await?)?;
            cx.checkpoint().await?;
            texts.push(tokenizer.encode(&corpus.text));
        }
        let test = texts.pop().unwrap_or_default();
        let validation = texts.pop().unwrap_or_default();
        if test.len().min(validation.len()) <= 2 * WINDOW {
            let why = format!("it has {} tokens, and a window takes {WINDOW}", test.len().min(validation.len()));
            return Err(LabError::Asset { name: Part::Test.asset().into(), why });
        }
        // Another prompt for every seed, so that no answer can be remembered.
        let start = cx.rng("prompt").random_range(0..validation.len() - WINDOW);
        let draft = Transformer::new(&draft.config, &small, draft.asset, &cx.device)?;
        Ok(Self {
            prompt: validation[start..start + WINDOW].to_vec(),
            material: LanguageMaterial {
                full: weights,
                draft: small,
                calibration: spread_windows(&validation, EXAMPLES, CALIBRATION),
                text: validation,
            },
            draft,
            tokenizer,
            test,
            text,
            windows: WINDOWS,
            budget_ms: 0.0,
            weights: BTreeMap::new(),
            small: BTreeMap::new(),
            files: BTreeMap::new(),
            times: BTreeMap::new(),
            crowds: BTreeMap::new(),
            rounds: BTreeMap::new(),
        })
    }

    /// For the study: more text, and more samples.
    #[cfg(feature = "schema")]
    pub(super) fn thorough(mut self, windows: usize, budget_ms: f64) -> Self {
        (self.windows, self.budget_ms) = (windows, budget_ms);
        self
    }

    /// For the study: other work, with everything that does not depend on it kept.
    #[cfg(feature = "schema")]
    pub(super) fn set_text(&mut self, text: Text) {
        self.text = text;
        self.times.clear();
        self.crowds.clear();
        self.rounds.clear();
    }

    fn windows(&self) -> Vec<Vec<u32>> {
        spread_windows(&self.test, self.windows, WINDOW + 1)
    }

    fn characters(&self) -> (Vec<usize>, Vec<usize>) {
        let windows = self.windows();
        let told = windows.iter().enumerate().flat_map(|(i, window)| window[1..].iter().map(move |token| (i, *token)));
        told.map(|(i, token)| (i, self.tokenizer.bytes_of(token))).unzip()
    }

    /// Weights after these steps, of which those that change none do not count.
    pub(super) async fn weights(&mut self, steps: &[EntryStep], cx: &Context) -> Result<Rc<Weights>, LabError> {
        let changing: Vec<EntryStep> = steps.iter().filter(|step| step.changes_weights()).copied().collect();
        // From the longest beginning that is known.
        let known = (0..=changing.len())
            .rev()
            .find_map(|n| Some((n, Rc::clone(self.weights.get(&lab_kit::olympics::format_line(&changing[..n]))?))));
        let (from, mut found) = match known {
            Some(known) => known,
            None => {
                let entry = ScoredEntry::language(&self.material);
                let model = entry.model(cx)?;
                let judged = self.judge(&model, cx).await?;
                let whole = Rc::new(Weights { entry, model, judged });
                self.weights.insert(String::new(), Rc::clone(&whole));
                (0, whole)
            }
        };
        for step in &changing[from..] {
            let entry = found.entry.clone().step_language(*step, &self.material, cx).await?;
            let model = entry.model(cx)?;
            let judged = self.judge(&model, cx).await?;
            found = Rc::new(Weights { entry, model, judged });
            self.weights.insert(found.entry.line(), Rc::clone(&found));
        }
        Ok(found)
    }

    async fn judge(&self, model: &Transformer, cx: &Context) -> Result<Judged, LabError> {
        let mut judged = Judged::default();
        for window in self.windows() {
            cx.checkpoint().await?;
            let logits = read(model.forward(model.tokens(&[&window[..WINDOW]], &cx.device)?)).await?;
            judged.add(&logits, &window[1..], model.config().vocabulary);
        }
        Ok(judged)
    }

    /// The same with a cache that gives something up.
    async fn judge_small(&self, decoder: &Decoder, setting: Setting, cx: &Context) -> Result<Judged, LabError> {
        let mut judged = Judged::default();
        for window in self.windows() {
            let mut session = Session::new(decoder, &[setting], WINDOW, cx.rng("nobody leaves by lot"))?;
            let logits = read(session.feed(&window[..WINDOW], cx, &mut |_, _, _| {}).await?).await?;
            judged.add(&logits, &window[1..], decoder.config().vocabulary);
        }
        Ok(judged)
    }

    pub(super) async fn numbers(&mut self, steps: &[EntryStep], cx: &Context) -> Result<Numbers, LabError> {
        let whole = self.weights(&[], cx).await?;
        let weights = self.weights(steps, cx).await?;
        let entry = &weights.entry;
        let setting = setting_of(steps);
        let with_cache = line(steps, |step| step.changes_weights() || step.is_cache());
        let decoder = match setting {
            Some(setting) if setting != Setting::FULL => Some(self.decoder(entry, cx)?),
            _ => None,
        };

        let mut judged = weights.judged.clone();
        if let (Some(decoder), Some(setting)) = (&decoder, setting) {
            if !self.small.contains_key(&with_cache) {
                let found = self.judge_small(decoder, setting, cx).await?;
                self.small.insert(with_cache.clone(), found);
            }
            judged = self.small.get(&with_cache).cloned().unwrap_or_default();
        }
        let mut numbers = self.quality(&whole.judged, &judged, cx)?;

        let coded = line(steps, |step| step.changes_weights() || *step == EntryStep::Entropy);
        let entropy = steps.contains(&EntryStep::Entropy);
        let file = *self.files.entry(coded).or_insert_with(|| entry.stored.file_bytes(entropy));
        let drafts = gamma_of(steps) > 0;
        let draft_bytes = if drafts { 4 * self.material.draft.parameters() } else { 0 };
        numbers.file = (file + draft_bytes) as f64;
        numbers.fingerprint = entry.stored.fingerprint();
        numbers.trained = steps.iter().any(|step| matches!(step, EntryStep::Recover { .. }));

        let key =
            line(steps, |step| step.changes_weights() || step.is_cache() || matches!(step, EntryStep::Draft { .. }));
        if !self.times.contains_key(&key) {
            let found = self.time((&whole.model, &weights.model), (steps, decoder.as_ref()), cx).await?;
            self.times.insert(key.clone(), found);
        }
        numbers.time = self.times.get(&key).cloned().unwrap_or_default();
        numbers.crowd = numbers.time.clone();
        let rows = batch_of(steps);
        if rows > 1 || (self.text.crowd && setting == Some(Setting::FULL)) {
            let key = format!("{with_cache} {rows}");
            if !self.crowds.contains_key(&key) {
                let found = self.crowd(&whole.model, &weights, setting.is_some(), rows, cx).await?;
                self.crowds.insert(key.clone(), found);
            }
            numbers.crowd = self.crowds.get(&key).cloned().unwrap_or_default();
        }
        let rounds = self.rounds.get(&key).cloned().unwrap_or_default();
        numbers.work = self.work(&weights.entry, setting, (rows, &rounds))?;
        let cache = setting.map_or(0, |setting| {
            let layout = entry.transformer().map(Layout::of);
            layout.map_or(0, |layout| rows as u64 * layout.bytes(self.text.prompt + self.text.tokens, &setting))
        });
        numbers.memory = (entry.stored.memory_bytes() + draft_bytes) as f64 + cache as f64;
        Ok(numbers)
    }

    fn decoder(&self, entry: &ScoredEntry, cx: &Context) -> Result<Decoder, LabError> {
        if entry.stored.state.iter().any(|(name, _)| name.ends_with(".down")) {
            let why = "a cache that gives something up reads whole matrices: take cache:32 beside factors";
            return Err(LabError::Refused { why: why.into() });
        }
        if entry.transformer()?.tied {
            let why =
                "a cache that gives something up was built for the large model: take cache:32 beside the small one";
            return Err(LabError::Refused { why: why.into() });
        }
        Decoder::new(entry.transformer()?, &entry.stored.state, &cx.device)
    }

    fn quality(&self, before: &Judged, after: &Judged, cx: &Context) -> Result<Numbers, LabError> {
        let (groups, characters) = self.characters();
        let bits = |nats: &[f64]| bits_per_character(nats, &characters, &groups, LEVEL, &mut cx.rng("bits"));
        let (one, other) = (bits(&before.nats)?, bits(&after.nats)?);
        let paired: Vec<f64> = after.nats.iter().zip(&before.nats).map(|(a, b)| a - b).collect();
        let change = bits(&paired)?;
        let percent = |bits: f64| 100.0 * bits / one.value;
        let same = agreement_by_group(&before.answers, &after.answers, &groups, LEVEL, &mut cx.rng("agreement"))?;
        let mut interval = change.interval;
        (interval.low, interval.high) = (percent(interval.low), percent(interval.high));
        Ok(Numbers {
            quality: other.value,
            loss: percent(change.value),
            interval: Some(interval),
            agreement: 100.0 * same.value,
            ..Numbers::default()
        })
    }

    /// One request.
    async fn time(
        &mut self,
        (whole, model): (&Transformer, &Transformer),
        (steps, decoder): (&[EntryStep], Option<&Decoder>),
        cx: &Context,
    ) -> Result<Beside, LabError> {
        let (text, gamma) = (self.text, gamma_of(steps));
        let key =
            line(steps, |step| step.changes_weights() || step.is_cache() || matches!(step, EntryStep::Draft { .. }));
        let mut naive = Writer::Naive { model: whole, rows: 1 };
        let mut own = match (setting_of(steps), decoder) {
            (None, _) => Writer::Naive { model, rows: 1 },
            (Some(setting), Some(decoder)) => Writer::Small { decoder, setting },
            _ if gamma > 0 => {
                let rounds = self.write_drafted(model, gamma, cx).await?;
                self.rounds.insert(key, rounds);
                Writer::drafted((model, &self.draft), gamma, (&self.prompt, text), cx)?
            }
            _ => Writer::cached(model, 1, text, cx)?,
        };
        beside(&mut naive, &mut own, (&self.prompt, text), self.budget_ms, cx).await
    }

    /// What became of the proposals.
    async fn write_drafted(&self, model: &Transformer, gamma: usize, cx: &Context) -> Result<Vec<Round>, LabError> {
        let text = self.text;
        let room = (text.tokens + gamma + 1).min(WINDOW - text.prompt);
        let drafter = Drafter::Model(ModelDrafter::new(&self.draft, text.prompt + room, &cx.device)?);
        let mut session =
            lab_kit::speculative::Session::new(model, drafter, (&self.prompt[..text.prompt], room), &cx.device)?;
        let how = How { gamma, temperature: 0.0, rule: Rule::Exact };
        session.write(text.tokens, how, &mut cx.rng("greedy"), async || cx.checkpoint().await).await
    }

    /// Many requests.
    async fn crowd(
        &mut self,
        whole: &Transformer,
        weights: &Weights,
        cache: bool,
        rows: usize,
        cx: &Context,
    ) -> Result<Beside, LabError> {
        let text = self.text;
        let mut naive = Writer::Naive { model: whole, rows: 1 };
        if !cache {
            let mut own = Writer::Naive { model: &weights.model, rows };
            return beside(&mut naive, &mut own, (&self.prompt, text), self.budget_ms, cx).await;
        }
        if !text.crowd {
            let mut own = Writer::cached(&weights.model, rows, text, cx)?;
            return beside(&mut naive, &mut own, (&self.prompt, text), self.budget_ms, cx).await;
        }
        // The baseline serves one after the other, and never rests: requests come faster than it writes.
        let mut cached = Writer::cached(&weights.model, 1, text, cx)?;
        let times = beside(&mut naive, &mut cached, (&self.prompt, text), self.budget_ms, cx).await?;
        let ms = self.serve(weights, rows, cx).await?;
        Ok(Beside { own: vec![ms; times.naive.len()], naive: times.naive })
    }

    /// Serves requests that come at random times, for real: milliseconds a token.
    async fn serve(&self, weights: &Weights, rows: usize, cx: &Context) -> Result<f64, LabError> {
        let config = weights.entry.transformer()?;
        let lengths = Lengths { prompt: (45.0, 16, 128), output: (45.0, 16, 96), spread: 0.7 };
        let requests: Vec<Request> = draw(REQUESTS, PER_SECOND, Arrivals::Poisson, &lengths, &mut cx.rng("requests"));
        let pages = rows * WINDOW / PAGE;
        let policy = if rows > 1 { Policy::Continuous } else { Policy::One };
        let rules = Rules {
            policy,
            max_batch: rows,
            delay_ms: 0.0,
            budget: WINDOW,
            order: lab_kit::serving::Order::Fifo,
            pages,
            page: PAGE,
            reserve: None,
        };
        let mut engine = Engine::new(config, &weights.entry.stored.state, (pages, PAGE), &cx.device)?;
        let cut = |(i, request): (usize, &Request)| self.test[i * 151..][..request.prompt].to_vec();
        let mut texts: Vec<Vec<u32>> = requests.iter().enumerate().map(cut).collect();
        let log = serve(&requests, rules, async |step| {
            cx.checkpoint().await?;
            let start = cx.now_ms();
            let pieces: Vec<&Chunk> = step.decode.iter().chain(&step.prefill).collect();
            let mut batch = Vec::with_capacity(pieces.len());
            for piece in &pieces {
                batch.push(Row {
                    tokens: &texts[piece.id][piece.from..piece.to],
                    start: piece.from,
                    table: &piece.table,
                });
            }
            let logits = read(engine.step(&batch)?).await?;
            drop(batch);
            for (piece, logits) in pieces.iter().zip(logits.chunks_exact(config.vocabulary)) {
                if piece.last {
                    texts[piece.id].push(best(logits));
                }
            }
            Ok(cx.now_ms() - start)
        })
        .await?;
        Ok(1e3 / log.tokens_per_second())
    }

    /// Operations and bytes of a token that is written, counted: every weight that is multiplied, and every byte of weights and
    /// cache once a step.
    fn work(
        &self,
        entry: &ScoredEntry,
        setting: Option<Setting>,
        (rows, rounds): (usize, &[Round]),
    ) -> Result<Work, LabError> {
        let (config, text) = (entry.transformer()?, self.text);
        let (mut weights, mut embedding) = (0, 0);
        for (name, weight) in entry.stored.state.iter().filter(|(_, weight)| weight.shape.len() == 2) {
            if name.contains("embed") && !config.tied {
                embedding = weight.values.len();
            } else {
                weights += weight.values.len();
            }
        }
        let head = (config.vocabulary * config.channels) as u64;
        let all = entry.stored.memory_bytes() as u64;
        let held = all - all * embedding as u64 / entry.stored.state.parameters().max(1) as u64;
        let flops = |queries: u64, keys: u64, asked: u64| {
            let attention = 4 * (config.layers * config.channels) as u64 * queries * keys;
            2 * queries * (weights as u64 - head) + 2 * asked * head + attention
        };
        let (p, n) = (text.prompt as u64, text.tokens as u64);
        let mut work = Work { flops: 0, bytes: 0 };
        let Some(setting) = setting else {
            for length in p..p + n {
                work.flops += flops(length, length, length);
                work.bytes += held / rows as u64;
            }
            return Ok(Work { flops: work.flops / n, bytes: work.bytes / n });
        };
        let layout = Layout::of(config);
        work.flops += flops(p, p, 1);
        work.bytes += held / rows as u64;
        if rounds.is_empty() {
            for length in p..p + n {
                let keys = length.min(setting.budget as u64);
                work.flops += flops(1, keys, 1);
                work.bytes += held / rows as u64 + layout.bytes(length as usize, &setting);
            }
        } else {
            let small = LanguageModel::draft().config;
            let (draft, mut length) = (self.material.draft.parameters() as u64, p);
            for round in rounds {
                let (proposed, accepted) = (round.proposed as u64, round.accepted as u64);
                work.flops += flops(proposed + 1, length, proposed + 1);
                work.flops += proposed * small.flops(1, length as usize);
                work.bytes += held / rows as u64 + layout.bytes(length as usize, &setting) + proposed * 4 * draft;
                length += accepted + 1;
            }
        }
        Ok(Work { flops: work.flops / n, bytes: work.bytes / n })
    }

    /// Whether the entry writes what its own weights write without a cache, and how much the cache alone brings.
    pub(super) async fn finish(
        &mut self,
        steps: &[EntryStep],
        report: &mut Report,
        cx: &Context,
    ) -> Result<(), LabError> {
        let weights = self.weights(steps, cx).await?;
        let (model, prompt) = (&weights.model, (&self.prompt[..self.text.prompt], CHECKED));
        let naive = naive_generate(model, prompt, &cx.device, async || cx.checkpoint().await).await?;
        let cached = cached_generate(model, prompt, &cx.device, async || cx.checkpoint().await).await?;
        let same = naive.iter().zip(&cached).filter(|(a, b)| a == b).count();
        report.metrics.push(
            metric(Family::Quality, "same_tokens", "Tokens as without a cache", same as f64, "tokens")
                .higher()
                .baseline(CHECKED as f64)
                .detail()
                .exact(1.0, "sums in another order may part a near tie")
                .help("The first tokens of the entry's weights, written with a cache and without one."),
        );
        let plain = EntryStep::Cache { bits: 32 };
        let cached = self.numbers(&[plain], cx).await?.time;
        let (alone, interval) = cached.ratio(cx);
        report.metrics.push(
            metric(Family::Time, "cache_alone", "The cache alone, over the naive baseline", alone, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(cached.ratios())
                .help("FP32 with a cache is what everybody ships: the second denominator."),
        );
        if let Some(ratio) = report.metric("ratio_latency").map(|one| one.value) {
            report.metrics.push(
                metric(Family::Time, "ratio_cached", "Sprint: over FP32 with a cache", ratio / alone, "×")
                    .higher()
                    .baseline(1.0)
                    .measured(vec![ratio / alone])
                    .help("The same entry against the baseline that somebody would ship. Below 1 it is slower."),
            );
        }
        let hash = text_hash(&self.material.calibration);
        if let Some(card) = report.tables.iter_mut().find(|table| table.id == "card") {
            card.rows.push(vec!["Calibration text (SHA-256)".into(), hash.into()]);
        }
        Ok(())
    }

    /// For the study: milliseconds of a step, naive and cached, at growing lengths.
    #[cfg(feature = "schema")]
    pub(super) async fn lengths(&mut self, cx: &Context) -> Result<Vec<(usize, Beside)>, LabError> {
        let whole = self.weights(&[], cx).await?;
        let mut found = Vec::new();
        for length in [4, 8, 16, 32, 64, 128, 224] {
            let text = Text { prompt: length, tokens: 1, crowd: false };
            let mut naive = Writer::Naive { model: &whole.model, rows: 1 };
            let mut cached = Writer::cached(&whole.model, 1, text, cx)?;
            cached.steps(&self.prompt, text, cx).await?;
            let (each, others) = (naive.tokens(text), cached.tokens(text));
            let pair = lab_kit::measure::side_by_side(
                cx,
                self.budget_ms,
                async || naive.steps(&self.prompt, text, cx).await,
                async || cached.steps(&self.prompt, text, cx).await,
            )
            .await?;
            let naive = pair.first.iter().map(|ms| ms / each).collect();
            found.push((length, Beside { naive, own: pair.second.iter().map(|ms| ms / others).collect() }));
        }
        Ok(found)
    }

    /// For the study: milliseconds a token of the whole work, every token written, naive and cached.
    #[cfg(feature = "schema")]
    pub(super) async fn whole_work(&mut self, cx: &Context) -> Result<[f64; 2], LabError> {
        let whole = self.weights(&[], cx).await?;
        let prompt = (&self.prompt[..self.text.prompt], self.text.tokens);
        let mut ms = [0.0; 2];
        for (which, ms) in ms.iter_mut().enumerate() {
            let start = cx.now_ms();
            if which == 0 {
                naive_generate(&whole.model, prompt, &cx.device, async || Ok(())).await?;
            } else {
                cached_generate(&whole.model, prompt, &cx.device, async || Ok(())).await?;
            }
            *ms = (cx.now_ms() - start) / self.text.tokens as f64;
        }
        Ok(ms)
    }

    /// For the study: the share of proposals that were accepted when this entry was timed.
    #[cfg(feature = "schema")]
    pub(super) fn accepted(&self, steps: &[EntryStep]) -> Option<f64> {
        let key =
            line(steps, |step| step.changes_weights() || step.is_cache() || matches!(step, EntryStep::Draft { .. }));
        let rounds = self.rounds.get(&key)?;
        let proposed: usize = rounds.iter().map(|round| round.proposed).sum();
        let accepted: usize = rounds.iter().map(|round| round.accepted).sum();
        (proposed > 0).then(|| accepted as f64 / proposed as f64)
    }

    /// For the study: the windows that judge.
    #[cfg(feature = "schema")]
    pub(super) fn judging(&self) -> Vec<Vec<u32>> {
        self.windows()
    }

    /// For the study: the quality of an entry that was made elsewhere.
    #[cfg(feature = "schema")]
    pub(super) async fn judged(&mut self, entry: &ScoredEntry, cx: &Context) -> Result<Numbers, LabError> {
        let whole = self.weights(&[], cx).await?;
        let judged = self.judge(&entry.model(cx)?, cx).await?;
        self.quality(&whole.judged, &judged, cx)
    }

    /// For the study: the quality of an entry by so few windows.
    #[cfg(feature = "schema")]
    pub(super) async fn few(&mut self, windows: usize, steps: &[EntryStep], cx: &Context) -> Result<Numbers, LabError> {
        let (whole, weights) = (self.weights(&[], cx).await?, self.weights(steps, cx).await?);
        let all = std::mem::replace(&mut self.windows, windows);
        let before = self.judge(&whole.model, cx).await;
        let after = self.judge(&weights.model, cx).await;
        let found = before.and_then(|before| self.quality(&before, &after?, cx));
        self.windows = all;
        found
    }

    /// For the study: what the large model writes where the small one proposes.
    #[cfg(feature = "schema")]
    pub(super) async fn drafted_text(
        &mut self,
        prompt: &[u32],
        tokens: usize,
        cx: &Context,
    ) -> Result<Vec<u32>, LabError> {
        let whole = self.weights(&[], cx).await?;
        let room = tokens + 4;
        let drafter = Drafter::Model(ModelDrafter::new(&self.draft, prompt.len() + room, &cx.device)?);
        let mut session = lab_kit::speculative::Session::new(&whole.model, drafter, (prompt, room), &cx.device)?;
        let how = How { gamma: 3, temperature: 0.0, rule: Rule::Exact };
        session.write(tokens, how, &mut cx.rng("greedy"), async || Ok(())).await?;
        Ok(session.written().to_vec())
    }
}

impl Judged {
    fn add(&mut self, logits: &[f32], told: &[u32], vocabulary: usize) {
        for (logits, token) in logits.chunks_exact(vocabulary).zip(told) {
            let answer = best(logits);
            let largest = logits[answer as usize];
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
            self.nats.push(sum.ln() + f64::from(largest) - f64::from(logits[*token as usize]));
            self.answers.push(answer);
        }
    }
}

fn best(logits: &[f32]) -> u32 {
    let at = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    u32::try_from(at).unwrap_or(0)
}

/// Time of a step against the length of the text.
#[cfg(feature = "schema")]
pub(super) fn by_length(found: &[(usize, Beside)]) -> Chart {
    let line = |name: &str, of: fn(&Beside) -> &[f64]| Series {
        name: name.into(),
        points: found.iter().map(|(n, one)| [*n as f64, lab_kit::stats::median(of(one)).max(1e-4)]).collect(),
        band: vec![],
    };
    Chart {
        id: "length".into(),
        title: "What is the cache worth at this length?".into(),
        caption: "Milliseconds of one token against the tokens in the text. The gap between the lines is the ratio that somebody quotes: it says how long their text was.".into(),
        x: Axis::log("Tokens in the text"),
        y: Axis::log("Time of one token (ms)"),
        body: ChartBody::Line { series: vec![line("Naive", |one| &one.naive), line("Cached", |one| &one.own)] },
    }
}
