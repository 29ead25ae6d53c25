//! The language model, what its steps take, and requests that it really serves.

use lab_api::LabError;
use lab_kit::{
    Context,
    data::{Corpus, Part},
    measure::samples,
    mlp::read,
    models::{LanguageModel, StateDict},
    serving::{Chunk, Costs, Engine, Log, Request, Row, Rules, Shape, Step, serve},
    stats::median,
    tokenizer::Tokenizer,
};

/// The most tokens of a sequence.
pub(super) const CONTEXT: usize = 256;
/// Bytes of the keys and values of a token, in all layers.
pub(super) const PAIR_BYTES: usize = 2048;
/// Sequences, contexts and prompts whose steps are timed.
pub(super) const ROWS: [usize; 5] = [1, 2, 4, 8, 16];
const CONTEXTS: [usize; 2] = [32, 160];
const PROMPTS: [usize; 5] = [8, 16, 32, 64, 128];
/// How many times as long as a size is timed steps run before any is.
const WARM: f64 = 8.0;

/// The model, and text to cut prompts from.
pub(super) struct Server {
    engine: Engine,
    vocabulary: usize,
    text: Vec<u32>,
}

/// What steps took.
#[derive(Clone, Default)]
pub(super) struct Measured {
    pub(super) costs: Costs,
    /// Milliseconds of a step that writes, for each of [`ROWS`], at the longer context.
    pub(super) rows: Vec<Vec<f64>>,
}

/// Requests that were really served.
pub(super) struct Served {
    pub(super) log: Log,
    /// What was written for each.
    pub(super) texts: Vec<Vec<u32>>,
    /// What each step took, and its sizes.
    pub(super) steps: Vec<(Shape, f64)>,
}

impl Server {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        cx.checkpoint().await?;
        let engine = Engine::new(&config, &weights, (1, 1), &cx.device)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        cx.checkpoint().await?;
        let corpus = Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?;
        let end = corpus.text.char_indices().map(|(i, _)| i).nth(40_000).unwrap_or(corpus.text.len());
        Ok(Self { engine, vocabulary: config.vocabulary, text: tokenizer.encode(&corpus.text[..end]) })
    }

    /// Times steps that write and steps that read, for so many milliseconds each.
    pub(super) async fn measure(&mut self, page: usize, budget_ms: f64, cx: &Context) -> Result<Measured, LabError> {
        let each = CONTEXTS[1].div_ceil(page);
        self.engine.set_pool(ROWS[4] * each, page)?;
        let table = |row: usize| (row * each..(row + 1) * each).collect::<Vec<_>>();
        let piece = |id: usize, from: usize, to: usize| Chunk { id, from, to, last: true, table: table(id) };
        let texts: Vec<Vec<u32>> = (0..ROWS[4]).map(|i| self.text[97 * i..][..CONTEXTS[1]].to_vec()).collect();
        let writing = |rows: usize, context: usize| (0..rows).map(|row| piece(row, context - 1, context)).collect();
        // The first steps of a run are slow, for a browser still compiles what they call: they are nobody's cost.
        for count in [1, 8] {
            let step = Step { decode: writing(count, CONTEXTS[1]), prefill: vec![] };
            samples(cx, WARM * budget_ms, async || self.compute(&step, &texts).await.map(drop)).await?;
        }
        let mut ms = async |decode: Vec<Chunk>, prefill: Vec<Chunk>| {
            let step = Step { decode, prefill };
            let times = samples(cx, budget_ms, async || self.compute(&step, &texts).await.map(drop)).await;
            cx.checkpoint().await?;
            times
        };
        let (mut costs, mut rows) = (Costs { contexts: CONTEXTS, ..Costs::default() }, Vec::new());
        for count in ROWS {
            let short = median(&ms(writing(count, CONTEXTS[0]), vec![]).await?);
            let long = ms(writing(count, CONTEXTS[1]), vec![]).await?;
            costs.decode.push((count, [short, median(&long)]));
            rows.push(long);
        }
        // One token read is one token written.
        costs.prefill.push((1, costs.decode_ms(1, 1)));
        for tokens in PROMPTS {
            costs.prefill.push((tokens, median(&ms(vec![], vec![piece(0, 0, tokens)]).await?)));
        }
        let read = |tokens: usize| costs.prefill.iter().find(|point| point.0 == tokens).map_or(0.0, |point| point.1);
        let both = median(&ms(writing(8, CONTEXTS[1]), vec![piece(8, 0, 16)]).await?);
        let late = median(&ms(vec![], vec![piece(0, 112, 128)]).await?);
        let (write, read) = (costs.decode_ms(8, CONTEXTS[1]), read(16));
        costs.shared_ms = (write + read - both).clamp(0.0, read);
        costs.past_ms = ((late - read) / (16.0 * 112.0)).max(0.0);
        Ok(Measured { costs, rows })
    }

    // ANCHOR: live
    /// Serves requests for real: each step is computed, and time passes by what it took.
    pub(super) async fn serve(&mut self, requests: &[Request], rules: Rules, cx: &Context) -> Result<Served, LabError> {
        self.engine.set_pool(rules.pages, rules.page)?;
        let cut = |(i, request): (usize, &Request)| {
            self.text[(i * 151) % (self.text.len() - CONTEXT)..][..request.prompt].to_vec()
        };
        let mut texts: Vec<Vec<u32>> = requests.iter().enumerate().map(cut).collect();
        let mut steps = Vec::new();
        let log = serve(requests, rules, async |step: &Step| {
            cx.checkpoint().await?;
            let start = cx.now_ms();
            for (id, token) in self.compute(step, &texts).await? {
                texts[id].push(token);
            }
            let took = cx.now_ms() - start;
            steps.push((Shape::of(step), took));
            Ok(took)
        })
        .await?;
        let written = texts.iter().zip(requests).map(|(text, r)| text[r.prompt..][..r.output].to_vec()).collect();
        Ok(Served { log, texts: written, steps })
    }
    // ANCHOR_END: live

    /// One step of the model: the next token of each sequence that wants one.
    async fn compute(&mut self, step: &Step, texts: &[Vec<u32>]) -> Result<Vec<(usize, u32)>, LabError> {
        let pieces: Vec<&Chunk> = step.decode.iter().chain(&step.prefill).collect();
        let mut rows = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            rows.push(Row { tokens: &texts[piece.id][piece.from..piece.to], start: piece.from, table: &piece.table });
        }
        let logits = read(self.engine.step(&rows)?).await?;
        let mut found = Vec::new();
        for (piece, logits) in pieces.iter().zip(logits.chunks_exact(self.vocabulary)) {
            if piece.last {
                let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
                found.push((piece.id, best as u32));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::{
        models::{Sampling, Transformer, generate},
        testing::{FakeClock, context_with, ready},
    };

    use super::super::{Memory, PageSize, Params, Policy};
    use super::*;

    const ASSETS: [&str; 3] = ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/test.txt.gz"];

    #[test]
    fn every_policy_writes_what_the_model_writes_alone() {
        let cx = context_with(Rc::new(FakeClock::new(0.001)), &ASSETS);
        let mut server = ready(Server::load(&cx)).expect("loads");
        let request = |arrival_ms, prompt, output| Request { arrival_ms, prompt, output };
        let requests = [
            request(0.0, 9, 8),
            request(0.0, 30, 3),
            request(0.001, 17, 12),
            request(0.002, 5, 1),
            request(0.01, 40, 6),
        ];
        let LanguageModel { asset, config } = LanguageModel::full();
        let weights = StateDict::from_safetensors(asset, &ready(cx.asset(asset)).expect("there")).expect("whole");
        let model = Transformer::new(&config, &weights, asset, &cx.device).expect("fits");
        let alone: Vec<Vec<u32>> = requests
            .iter()
            .enumerate()
            .map(|(i, r)| {
                let prompt = &server.text[151 * i..][..r.prompt];
                let mut none = cx.rng("none");
                ready(generate(&model, (prompt, r.output), &Sampling::GREEDY, &mut none, &cx.device, async |_| Ok(())))
                    .expect("writes")
            })
            .collect();
        for policy in [Policy::One, Policy::Static, Policy::Dynamic, Policy::Continuous, Policy::Chunked] {
            for (memory, page) in [(Memory::Paged, PageSize::Four), (Memory::Reserved, PageSize::Sixteen)] {
                let params = Params {
                    max_batch: 3,
                    budget: 8,
                    pool_kib: 1024,
                    memory,
                    page,
                    delay_ms: 0.0,
                    ..Params::default()
                };
                let served = ready(server.serve(&requests, params.rules(policy), &cx)).expect("serves");
                // Sums of another order: a near tie would part the texts, and none is here.
                assert_eq!(served.texts, alone, "{policy:?}");
            }
            // So few pages that somebody has to begin again.
            let tight =
                Rules { pages: 24, page: 2, ..Params { max_batch: 3, budget: 8, ..Params::default() }.rules(policy) };
            let served = ready(server.serve(&requests, tight, &cx)).expect("serves");
            assert_eq!(served.texts, alone, "{policy:?}");
        }
    }
}
