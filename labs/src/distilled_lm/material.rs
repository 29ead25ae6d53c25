//! Teacher, draft and texts, and the teacher's answers in the form in which they are stored.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Device, Tensor, TensorData, activation::softmax},
    data::{Corpus, Part},
    distill::{Tail, shorten},
    mlp::read,
    models::{LanguageModel, Sampling, StateDict, Transformer, write_rows},
    tokenizer::Tokenizer,
    training::Windows,
};

/// Rows of a step, tokens that a row foretells, and tokens of the corpus that a written row begins with.
pub(super) const BATCH: usize = 4;
pub(super) const LENGTH: usize = 128;
pub(super) const PROMPT: usize = 8;

/// How the student of the reader learns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) kept: usize,
    pub(super) tail: Tail,
    pub(super) temperature: f64,
    pub(super) label_weight: f64,
    pub(super) steps: usize,
    pub(super) learning_rate: f64,
}

/// Both models and what they read.
pub(super) struct Material {
    pub(super) teacher: Transformer,
    draft: StateDict,
    pub(super) tokenizer: Tokenizer,
    /// Tokens of the test text, which judges.
    pub(super) test: Vec<u32>,
    /// Tokens of the validation text, which no training has seen either: what students learn from.
    text: Vec<u32>,
}

/// Rows of a step, `[BATCH][LENGTH + 1]`, and the teacher's logits for them, `[BATCH · LENGTH, V]`.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) rows: Vec<Vec<u32>>,
    pub(super) logits: Tensor<2>,
}

impl Batch {
    pub(super) fn rows(&self) -> Vec<&[u32]> {
        self.rows.iter().map(Vec::as_slice).collect()
    }
}

impl Material {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let LanguageModel { asset, config } = LanguageModel::full();
        let weights = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let teacher = Transformer::new(&config, &weights, asset, &cx.device)?;
        let asset = LanguageModel::draft().asset;
        let draft = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        cx.checkpoint().await?;
        let mut texts = Vec::new();
        for part in [Part::Test, Part::Validation] {
            texts.push(tokenizer.encode(&Corpus::read(part, &cx.asset(part.asset()).await?)?.text));
            cx.checkpoint().await?;
        }
        let (text, test) = (texts.pop().unwrap_or_default(), texts.pop().unwrap_or_default());
        Ok(Self { teacher, draft, tokenizer, test, text })
    }

    /// The draft as it is shipped; on a device from `Device::autodiff` it can learn.
    pub(super) fn draft(&self, device: &Device) -> Result<Transformer, LabError> {
        let LanguageModel { asset, config } = LanguageModel::draft();
        Transformer::new(&config, &self.draft, asset, device)
    }

    /// Rows of the text that students learn from, drawn under the run's seed: a smaller set begins a larger one.
    pub(super) fn corpus(&self, count: usize, cx: &Context) -> Vec<Vec<u32>> {
        let mut windows = Windows::new(self.text.clone(), LENGTH, BATCH, cx.seed);
        let batch = |step| windows.rows(step).into_iter().map(<[u32]>::to_vec).collect::<Vec<_>>();
        (0..count.div_ceil(BATCH)).flat_map(batch).collect()
    }

    // ANCHOR: on_policy
    /// The same rows as a model would go on after their first eight tokens.
    pub(super) async fn written(
        &self,
        model: &Transformer,
        rows: &[Vec<u32>],
        purpose: &str,
        cx: &Context,
    ) -> Result<Vec<Vec<u32>>, LabError> {
        let prompts: Vec<&[u32]> = rows.iter().map(|row| &row[..PROMPT]).collect();
        let sampling = Sampling { temperature: 1.0, top_k: None };
        let mut rng = cx.rng(purpose);
        let wait = async || cx.checkpoint().await;
        let texts = write_rows(model, (&prompts, LENGTH + 1 - PROMPT), &sampling, &mut rng, &cx.device, wait).await?;
        Ok(prompts.iter().zip(texts).map(|(prompt, text)| [*prompt, &text].concat()).collect())
    }
    // ANCHOR_END: on_policy

    // ANCHOR: ask
    /// The teacher's answers to every token of these rows, once.
    pub(super) async fn ask(&self, rows: &[Vec<u32>], cx: &Context) -> Result<Vec<Batch>, LabError> {
        let mut batches = Vec::new();
        for rows in rows.chunks(BATCH) {
            let seen: Vec<&[u32]> = rows.iter().map(|row| &row[..LENGTH]).collect();
            let logits = self.teacher.forward(self.teacher.tokens(&seen, &cx.device)?).flatten::<2>(0, 1);
            // Waits, so that no device falls behind unnoticed.
            read(logits.clone().narrow(0, 0, 1).narrow(1, 0, 1)).await?;
            batches.push(Batch { rows: rows.to_vec(), logits });
            cx.checkpoint().await?;
        }
        Ok(batches)
    }
    // ANCHOR_END: ask
}

/// What a student is told of a batch: the teacher's distributions `[N, V]`, softened, and shortened to what is stored.
pub(super) async fn targets(
    batch: &Batch,
    setting: &Setting,
    purpose: &str,
    cx: &Context,
) -> Result<Tensor<2>, LabError> {
    let p = softmax(batch.logits.clone().div_scalar(setting.temperature), 1);
    let [n, v] = p.dims();
    if setting.kept >= v {
        return Ok(p);
    }
    let mut rng = cx.rng(purpose);
    let mut dense = vec![0.0_f32; n * v];
    for (row, dense) in read(p).await?.chunks_exact(v).zip(dense.chunks_exact_mut(v)) {
        for (token, share) in shorten(row, setting.kept, setting.tail, &mut rng) {
            dense[usize::from(token)] = share;
        }
    }
    Ok(Tensor::from_data(TensorData::new(dense, [n, v]), &cx.device))
}
