//! The data, packed as a loader gets them, and what is trained on them.

use std::sync::Arc;

use lab_api::LabError;
use lab_kit::{
    Context,
    accumulate::{Norm, Shape},
    data::{Corpus, Glyphs, Images, Part as TextPart, Split},
    loading::{Arrange, BatchSequence, ItemRows, LoadPlan, LoaderPool, pack_pictures},
    rng,
    tokenizer::Tokenizer,
    tuning::{
        optim::{Adam, Decay, Optimizer, Pairs, Part, Role, Rule},
        schedule::{Curve, Schedule},
    },
};

use super::{Amount, Fed, HandOver, Params, Slow};

/// The largest rate of a training; it falls along a cosine.
const RATE: f64 = 3e-3;
/// Widths of the classifier's hidden layers, and of the language model's.
const WIDTH: usize = 64;
/// Tokens of a row: two that are read and one that is foretold.
const ROW: usize = 3;
/// Tokens of the tokenizer.
const VOCABULARY: usize = 1024;
/// Characters of the text.
const CHARACTERS: usize = 200_000;

/// What is loaded and trained on.
pub(super) struct Bench {
    /// Packed items.
    pub(super) data: Arc<Vec<u8>>,
    pub(super) rows: ItemRows,
    /// The class of each item, or its last token's low byte.
    pub(super) labels: Vec<u8>,
    /// Items as they lie: class by class, or as the text runs.
    pub(super) items: Vec<u32>,
    /// Families that nobody trains on; none for a text.
    pub(super) test: Option<Images>,
    /// What reading and unzipping took, in milliseconds.
    pub(super) read_ms: f64,
}

impl Bench {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        let began = cx.now_ms();
        if params.model == Fed::Lm {
            return Self::text(cx, began).await;
        }
        let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
        let read_ms = cx.now_ms() - began;
        cx.checkpoint().await?;
        let images = Images::of_glyphs(&glyphs, &glyphs.indices(Split::Train));
        let test = Images::of_glyphs(&glyphs, &glyphs.indices(Split::Test));
        Ok(Self::of(&images, test, params.images, read_ms))
    }

    /// Of images, so many of each class.
    pub(super) fn of(images: &Images, test: Images, amount: Amount, read_ms: f64) -> Self {
        let classes = images.class_count();
        let each = match amount {
            Amount::Few => 470 / classes,
            Amount::Some => 1410 / classes,
            Amount::All => usize::MAX,
        };
        // As in a directory: class by class, in each as the files come.
        let mut items = Vec::new();
        for class in 0..classes {
            let of = (0..images.len() as u32).filter(|i| usize::from(images.labels[*i as usize]) == class);
            // Spread over the families.
            let of: Vec<u32> = of.collect();
            let take = each.min(of.len());
            items.extend((0..take).map(|i| of[i * of.len() / take]));
        }
        Self {
            data: Arc::new(pack_pictures(&images.pixels)),
            rows: ItemRows::Pictures(images.side),
            labels: images.labels.clone(),
            items,
            test: Some(test),
            read_ms,
        }
    }

    async fn text(cx: &Context, began: f64) -> Result<Self, LabError> {
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let text = Corpus::read(TextPart::Validation, &cx.asset(TextPart::Validation.asset()).await?)?.text;
        // Bytes are characters in this corpus.
        let tokens = tokenizer.encode(text.get(..CHARACTERS).unwrap_or(&text));
        let read_ms = cx.now_ms() - began;
        cx.checkpoint().await?;
        let count = tokens.len().saturating_sub(ROW - 1);
        Ok(Self {
            data: Arc::new(tokens.iter().flat_map(|token| (*token as u16).to_le_bytes()).collect()),
            rows: ItemRows::Tokens(ROW),
            labels: tokens.iter().skip(ROW - 1).map(|token| *token as u8).collect(),
            items: (0..count as u32).collect(),
            test: None,
            read_ms,
        })
    }

    pub(super) fn plan(&self, params: &Params, seed: u64) -> LoadPlan {
        LoadPlan {
            seed,
            rows: self.rows,
            alter: params.alter(),
            kept: params.kept(),
            slow: params.jitter == Slow::OnePercent,
            data: Arc::clone(&self.data),
        }
    }

    pub(super) async fn pool(&self, params: &Params, workers: usize, cx: &Context) -> LoaderPool {
        LoaderPool::start(&self.plan(params, cx.seed), workers, cx).await
    }

    pub(super) fn sequence(&self, arrange: Arrange, batch: u32, seed: u64) -> BatchSequence {
        BatchSequence::new(self.items.clone(), arrange, batch as usize, seed)
    }

    /// Numbers of an item.
    pub(super) fn width(&self) -> usize {
        match self.rows {
            ItemRows::Pictures(side) => side * side,
            ItemRows::Tokens(row) => row,
        }
    }
}

/// Whether workers hand over copies.
pub(super) fn copied(params: &Params) -> bool {
    params.hand_over == HandOver::Clone
}

/// A network in training.
enum Net {
    Glyphs(Shape),
    Tokens(Pairs),
}

/// A training, step by step.
pub(super) struct Trainer {
    net: Net,
    weights: Vec<f32>,
    optimizer: Optimizer,
    schedule: Schedule,
    step: usize,
}

impl Trainer {
    pub(super) fn new(bench: &Bench, steps: usize, seed: u64) -> Self {
        let mut parts = Vec::new();
        let (net, weights) = match bench.rows {
            ItemRows::Pictures(side) => {
                let shape = Shape::new(&[side * side, WIDTH, WIDTH, Glyphs::CLASSES.len()], Norm::None);
                let part = |rows, columns, role| Part { rows, columns, role };
                for (l, pair) in shape.widths().windows(2).enumerate() {
                    parts.push(part(pair[1], pair[0], if l < 2 { Role::Hidden } else { Role::Edge }));
                    parts.push(part(pair[1], 1, Role::Vector));
                }
                let weights = shape.init(&mut rng(seed, "weights"));
                (Net::Glyphs(shape), weights)
            }
            ItemRows::Tokens(_) => {
                let pairs = Pairs { vocabulary: VOCABULARY, embedding: 32, hidden: WIDTH };
                parts.extend(pairs.parts());
                let weights = pairs.init(&mut rng(seed, "weights"));
                (Net::Tokens(pairs), weights)
            }
        };
        let optimizer = Optimizer::new(Rule::Adam(Adam::W), Decay::Decoupled(0.01), &parts);
        let schedule = Schedule { curve: Curve::Cosine, peak: RATE, floor: 0.0, steps: steps.max(1), warmup: 0 };
        Self { net, weights, optimizer, schedule, step: 0 }
    }

    /// A step on a batch; its loss before it, in nats.
    pub(super) fn step(&mut self, bench: &Bench, values: &[f32], items: &[u32]) -> f64 {
        let (loss, gradient) = match &self.net {
            Net::Glyphs(shape) => {
                let labels: Vec<u8> = items.iter().map(|item| bench.labels[*item as usize]).collect();
                let pass = shape.pass(&self.weights, values, &labels);
                (pass.loss, pass.gradient)
            }
            Net::Tokens(pairs) => {
                let rows = values.chunks_exact(ROW);
                let (before, next): (Vec<[u32; 2]>, Vec<u32>) =
                    rows.map(|row| ([row[0] as u32, row[1] as u32], row[2] as u32)).unzip();
                pairs.pass(&self.weights, &before, &next)
            }
        };
        self.optimizer.step(&mut self.weights, &gradient, self.schedule.rate(self.step.min(self.schedule.steps - 1)));
        self.step += 1;
        loss
    }

    /// Right answers on families that nobody trained on, in per cent.
    pub(super) fn right(&self, bench: &Bench) -> f64 {
        match (&self.net, &bench.test) {
            (Net::Glyphs(shape), Some(test)) => 100.0 * shape.judge(&self.weights, &test.pixels, &test.labels).1,
            _ => 0.0,
        }
    }
}
