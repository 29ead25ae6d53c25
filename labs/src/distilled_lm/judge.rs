//! How near a student comes to its teacher on text that neither has seen, and what the teacher thinks of its writing.

use lab_api::{Interval, LabError};
use lab_kit::{
    Context,
    measure::quality::mean_by_group,
    mlp::read,
    models::{Sampling, Transformer, write_rows},
};

use super::material::{Material, PROMPT};

/// Tokens that a window foretells: the models' whole context.
pub(super) const WINDOW: usize = 256;
/// Confidence of every interval.
pub(super) const LEVEL: f64 = 0.95;

/// The test text, and the teacher's distribution of each of its tokens.
pub(super) struct Exam {
    /// Each of 257 tokens.
    pub(super) windows: Vec<Vec<u32>>,
    /// Logarithms of the teacher's probabilities, and the probabilities: `[windows · 256, V]`.
    pub(super) log_p: Vec<f32>,
    pub(super) p: Vec<f32>,
    pub(super) vocabulary: usize,
}

/// What is noted of each token: loss, divergence from the teacher, acceptance, the same likeliest token, entropy.
const NOTED: usize = 5;

/// A student's results.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    values: [Vec<f64>; NOTED],
    /// The window of each token.
    groups: Vec<usize>,
}

impl Judged {
    pub(super) fn loss(&self) -> &[f64] {
        &self.values[0]
    }
    pub(super) fn divergence(&self) -> &[f64] {
        &self.values[1]
    }
    pub(super) fn acceptance(&self) -> &[f64] {
        &self.values[2]
    }
    pub(super) fn agreement(&self) -> &[f64] {
        &self.values[3]
    }
    pub(super) fn entropy(&self) -> &[f64] {
        &self.values[4]
    }

    pub(super) fn mean(&self, values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len().max(1) as f64
    }

    /// The interval of a mean, or of one of differences; whole windows are drawn.
    pub(super) fn interval(&self, values: &[f64], purpose: &str, cx: &Context) -> Result<Interval, LabError> {
        Ok(mean_by_group(values, &self.groups, LEVEL, &mut cx.rng(purpose))?.interval)
    }
}

/// Logarithms of the softmax of a row, in place.
fn log_softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = row.iter().map(|z| (z - largest).exp()).sum();
    let normal = largest + sum.ln();
    row.iter_mut().for_each(|z| *z -= normal);
}

fn likeliest(row: &[f32]) -> usize {
    row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (k, z)| if *z > best.1 { (k, *z) } else { best }).0
}

impl Exam {
    /// So many stretches of 257 tokens, evenly spread over the test text.
    pub(super) async fn new(material: &Material, count: usize, cx: &Context) -> Result<Self, LabError> {
        let room = material.test.len().saturating_sub(WINDOW + 1);
        let windows: Vec<Vec<u32>> =
            (0..count).map(|i| material.test[i * room / count.max(1)..][..WINDOW + 1].to_vec()).collect();
        let vocabulary = material.teacher.config().vocabulary;
        let mut exam = Self { windows, log_p: Vec::new(), p: Vec::new(), vocabulary };
        for number in 0..count {
            exam.log_p.extend(exam.answers(&material.teacher, number, cx).await?);
        }
        exam.p = exam.log_p.iter().map(|log_p| log_p.exp()).collect();
        Ok(exam)
    }

    /// Logarithms of a model's probabilities for one window.
    pub(super) async fn answers(&self, model: &Transformer, window: usize, cx: &Context) -> Result<Vec<f32>, LabError> {
        cx.checkpoint().await?;
        let seen = &self.windows[window][..WINDOW];
        let mut logits = read(model.forward(model.tokens(&[seen], &cx.device)?)).await?;
        logits.chunks_exact_mut(self.vocabulary).for_each(log_softmax);
        Ok(logits)
    }

    // ANCHOR: sit
    /// Judges a student on the first so many windows.
    pub(super) async fn sit(&self, model: &Transformer, windows: usize, cx: &Context) -> Result<Judged, LabError> {
        let mut judged = Judged::default();
        for number in 0..windows.min(self.windows.len()) {
            let answers = self.answers(model, number, cx).await?;
            for (i, log_q) in answers.chunks_exact(self.vocabulary).enumerate() {
                let at = (number * WINDOW + i) * self.vocabulary;
                let (log_p, p) = (&self.log_p[at..][..self.vocabulary], &self.p[at..][..self.vocabulary]);
                let [mut divergence, mut accepted, mut entropy] = [0.0_f32; 3];
                for ((log_q, log_p), p) in log_q.iter().zip(log_p).zip(p) {
                    let q = log_q.exp();
                    divergence += p * (log_p - log_q);
                    accepted += p.min(q);
                    entropy -= q * log_q;
                }
                let same = if likeliest(log_p) == likeliest(log_q) { 1.0 } else { 0.0 };
                let loss = -log_q[self.windows[number][i + 1] as usize];
                let noted = [loss, divergence, accepted, same, entropy];
                judged.values.iter_mut().zip(noted).for_each(|(all, value)| all.push(f64::from(value)));
                judged.groups.push(number);
            }
        }
        Ok(judged)
    }
    // ANCHOR_END: sit

    /// The probability that the teacher gives to its `count` likeliest tokens together, on average.
    pub(super) fn masses(&self, counts: &[usize]) -> Vec<f64> {
        let mut sums = vec![0.0_f64; counts.len()];
        // Every eighth token: sorting all of them would take as long as reading them.
        let rows = self.p.chunks_exact(self.vocabulary).step_by(8);
        let tokens = rows.len().max(1);
        for row in rows {
            let mut row = row.to_vec();
            row.sort_by(|a, b| b.total_cmp(a));
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += f64::from(row.iter().take(*count).sum::<f32>());
            }
        }
        sums.iter().map(|sum| (sum / tokens as f64).min(1.0)).collect()
    }
}

/// What a student writes after the beginnings of the test windows, and what that costs its teacher.
pub(super) struct Own {
    pub(super) texts: Vec<Vec<u32>>,
    /// `-ln p` of each written token under the teacher, and the text of each.
    pub(super) nats: Vec<f64>,
    groups: Vec<usize>,
}

impl Own {
    pub(super) async fn of(
        model: &Transformer,
        material: &Material,
        exam: &Exam,
        count: usize,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let prompts: Vec<&[u32]> = exam.windows.iter().map(|window| &window[..PROMPT]).collect();
        let sampling = Sampling { temperature: 1.0, top_k: None };
        // The same draws for every student.
        let mut rng = cx.rng("own text");
        let wait = async || cx.checkpoint().await;
        let texts = write_rows(model, (&prompts, count), &sampling, &mut rng, &cx.device, wait).await?;
        let mut own = Self { nats: Vec::new(), groups: Vec::new(), texts };
        for (number, (prompt, text)) in prompts.iter().zip(&own.texts).enumerate() {
            cx.checkpoint().await?;
            let row = [*prompt, text].concat();
            let seen = material.teacher.tokens(&[&row[..row.len() - 1]], &cx.device)?;
            let mut logits = read(material.teacher.forward(seen)).await?;
            for (row, token) in logits.chunks_exact_mut(exam.vocabulary).skip(PROMPT - 1).zip(text) {
                log_softmax(row);
                own.nats.push(-f64::from(row[*token as usize]));
                own.groups.push(number);
            }
        }
        Ok(own)
    }

    pub(super) fn mean(&self) -> f64 {
        self.nats.iter().sum::<f64>() / self.nats.len().max(1) as f64
    }

    pub(super) fn interval(&self, cx: &Context) -> Result<Interval, LabError> {
        Ok(mean_by_group(&self.nats, &self.groups, LEVEL, &mut cx.rng("texts"))?.interval)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::{
        distill::Tail,
        testing::{FakeClock, context_with, ready},
    };

    use super::super::{
        Params,
        material::{BATCH, LENGTH, Setting, targets},
    };
    use super::*;

    #[test]
    fn a_teacher_agrees_with_itself_and_foretells_the_next_token_and_no_other() {
        let assets = [
            "language/lm.safetensors",
            "language/draft.safetensors",
            "corpus/tokenizer.json",
            "corpus/validation.txt.gz",
            "corpus/test.txt.gz",
        ];
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &assets);
        let material = ready(Material::load(&cx)).expect("shipped");
        let exam = ready(Exam::new(&material, 1, &cx)).expect("reads");
        let own = ready(exam.sit(&material.teacher, 9, &cx)).expect("reads");
        assert_eq!(own.loss().len(), WINDOW);
        assert!(own.mean(own.divergence()).abs() < 1e-5 && (own.mean(own.acceptance()) - 1.0).abs() < 1e-4);
        assert!((own.mean(own.agreement()) - 1.0).abs() < 1e-12);
        let masses = exam.masses(&[1, 16, 1024]);
        assert!(masses[0] < masses[1] && masses[1] < masses[2] && (masses[2] - 1.0).abs() < 1e-4, "{masses:?}");

        // What is stored of a batch: rows that are one token longer than what is read, answers that sum to 1 or less.
        let rows = material.corpus(1, &cx);
        assert_eq!((rows.len(), rows[0].len()), (BATCH, LENGTH + 1));
        assert_eq!(material.corpus(8, &cx)[..BATCH], rows[..]);
        let batch = ready(material.ask(&rows, &cx)).expect("asks").remove(0);
        let mut setting = Params::default().setting().expect("sound");
        let told = |setting: &Setting| ready(async { read(targets(&batch, setting, "a test", &cx).await?).await });
        let full = told(&setting).expect("reads");
        setting.kept = 16;
        for (tail, whole) in [(Tail::Bucket, false), (Tail::Dropped, true), (Tail::Drawn, true)] {
            setting.tail = tail;
            for (few, all) in told(&setting).expect("reads").chunks(1024).zip(full.chunks(1024)) {
                let sum: f32 = few.iter().sum();
                assert!(few.iter().filter(|p| **p > 0.0).count() <= 16);
                assert!(if whole { (sum - 1.0).abs() < 1e-4 } else { sum < 1.0001 });
                assert!(tail != Tail::Bucket || few.iter().zip(all).all(|(few, all)| *few == 0.0 || few == all));
            }
        }
        // Labels and answers belong to the same place: shifted by one, the teacher foretells far worse.
        let loss = |shift: usize| {
            let labels = rows.iter().flat_map(|row| (0..LENGTH - 1).map(move |i| row[i + shift] as usize));
            let answers = full.chunks(1024).enumerate().filter(|(at, _)| at % LENGTH < LENGTH - 1);
            let nats: Vec<f32> = labels.zip(answers).map(|(label, (_, p))| -p[label].max(1e-9).ln()).collect();
            nats.iter().sum::<f32>() / nats.len() as f32
        };
        assert!(
            loss(1) < 4.0 && loss(2) > loss(1) + 2.0 && loss(0) > loss(1) + 2.0,
            "{} {} {}",
            loss(0),
            loss(1),
            loss(2)
        );
    }
}
