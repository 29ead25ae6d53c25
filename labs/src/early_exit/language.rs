//! The language model: what it would say after each of its layers, and what asking costs.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    data::{Corpus, Part},
    exits::{break_even, least_squares, softmax},
    linalg::Matrix,
    measure::{Pair, peak_gflops, side_by_side},
    mlp::read,
    models::{LanguageModel, StateDict, Transformer},
    report::{MetricExt, metric},
    stats::median,
    tokenizer::Tokenizer,
};

use super::{Params, Rule, Translate, decide::confidence};

/// Tokens of a window; windows that judge, and those of another text that fit the maps.
const WINDOW: usize = 128;
const JUDGED: usize = 12;
const FITTED: usize = 16;
const LEVEL: f64 = 0.95;
const SUMS: &str = "sums in another order move certainties in their last bits, so that a few tokens change sides";

/// What stands after each layer, and the draft model beside them.
pub(super) struct Layers {
    /// Mean loss of the next token in nats.
    pub(super) loss: Vec<f64>,
    /// Share of tokens with the full model's first choice.
    pub(super) agree: Vec<f64>,
    /// Mean of `Σ min(p, q)` with the full model's probabilities: what speculation would accept.
    pub(super) accept: Vec<f64>,
    /// For each token how certain each exit is, its first choice, and its loss.
    tokens: Vec<Vec<(f32, u32, f64)>>,
}

/// Multiplications of a token in a layer and in the output layer; attention's share, which grows with the text, is left out.
pub(super) fn costs(which: &LanguageModel) -> (f64, f64) {
    let count = |wanted: &dyn Fn(&str) -> bool| {
        let shapes = which.config.shapes().into_iter().filter(|(name, shape)| shape.len() == 2 && wanted(name));
        shapes.map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>() as f64
    };
    let layers = which.config.layers.max(1) as f64;
    (count(&|name| name.contains(".layers.")) / layers, count(&|name| name.starts_with("lm_head")))
}

/// The model, the draft and two texts.
pub(super) struct Text {
    pub(super) which: LanguageModel,
    pub(super) model: Transformer,
    draft: (LanguageModel, Transformer),
    test: Vec<u32>,
    other: Vec<u32>,
}

impl Text {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let load = async |which: &LanguageModel| {
            let weights = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
            Transformer::new(&which.config, &weights, which.asset, &cx.device)
        };
        let (which, draft) = (LanguageModel::full(), LanguageModel::draft());
        let tokenizer = Tokenizer::read(&cx.asset("corpus/tokenizer.json").await?)?;
        let mut texts = Vec::new();
        for part in [Part::Test, Part::Validation] {
            texts.push(tokenizer.encode(&Corpus::read(part, &cx.asset(part.asset()).await?)?.text));
            cx.checkpoint().await?;
        }
        let other = texts.pop().unwrap_or_default();
        let test = texts.pop().unwrap_or_default();
        let (model, small) = (load(&which).await?, load(&draft).await?);
        Ok(Self { which, model, draft: (draft, small), test, other })
    }

    /// The residual stream after each layer, `[1, T, C]` each; the first is what enters the first layer.
    fn streams(&self, window: &[u32], cx: &Context) -> Result<Vec<Tensor<3>>, LabError> {
        let mut streams = vec![self.model.embed(self.model.tokens(&[window], &cx.device)?)];
        for layer in 0..self.which.config.layers {
            let x = self.model.layer(layer, streams[layer].clone()).0;
            streams.push(x);
        }
        Ok(streams)
    }

    // ANCHOR: translate
    /// For each exit before the last the map `[C, C]` from its stream to the last one, by least squares over another text
    /// (in the spirit of the tuned lens, arXiv:2303.08112, which trains it by the divergence of the outputs).
    pub(super) async fn maps(&self, cx: &Context) -> Result<Vec<Vec<f32>>, LabError> {
        let (layers, c) = (self.which.config.layers, self.which.config.channels);
        let mut moments = vec![(Matrix::zeros(c, c), Matrix::zeros(c, c)); layers];
        for window in windows(&self.other, FITTED, WINDOW) {
            let streams = self.streams(window, cx)?;
            let mut rows = Vec::new();
            for x in streams {
                rows.push(Matrix::from_singles(WINDOW, c, &read(x.reshape([WINDOW, c])).await?).transposed());
            }
            let Some(last) = rows.pop() else { break };
            for ((own, cross), x) in moments.iter_mut().zip(&rows) {
                add(own, &x.gram());
                add(cross, &last.product(&x.transposed()));
                cx.checkpoint().await?;
            }
        }
        let none = || LabError::Refused { why: "what a layer puts out has no spread to fit a map to".into() };
        moments.iter().map(|(own, cross)| Ok(least_squares(own, cross).ok_or_else(none)?.to_singles())).collect()
    }
    // ANCHOR_END: translate

    /// Asks after every layer; the last row is the full model.
    pub(super) async fn judge(
        &self,
        maps: &[Vec<f32>],
        count: usize,
        rule: Rule,
        cx: &Context,
    ) -> Result<Layers, LabError> {
        let (layers, c) = (self.which.config.layers, self.which.config.channels);
        let mut found = Layers::empty(layers + 1);
        let put = |x: Tensor<3>, map: Option<&Vec<f32>>| match map {
            Some(map) => {
                let map = Tensor::<2>::from_data(TensorData::new(map.clone(), [c, c]), &cx.device);
                let [b, t, _] = x.dims();
                x.reshape([b * t, c]).matmul(map.transpose()).reshape([b, t, c])
            }
            None => x,
        };
        for window in windows(&self.test, count, WINDOW + 1) {
            let streams = self.streams(&window[..WINDOW], cx)?;
            let mut logits = Vec::new();
            for (layer, x) in streams.into_iter().enumerate() {
                logits.push(read(self.model.readout(put(x, maps.get(layer)))).await?);
                cx.checkpoint().await?;
            }
            found.add(&logits, &window[1..], self.which.config.vocabulary, rule);
        }
        found.finish();
        Ok(found)
    }

    /// The draft against the full model: acceptance, and share of equal first choices.
    pub(super) async fn draft(&self, count: usize, rule: Rule, cx: &Context) -> Result<Layers, LabError> {
        let mut found = Layers::empty(2);
        for window in windows(&self.test, count, WINDOW + 1) {
            let mut logits = Vec::new();
            for model in [&self.draft.1, &self.model] {
                logits.push(read(model.forward(model.tokens(&[&window[..WINDOW]], &cx.device)?)).await?);
                cx.checkpoint().await?;
            }
            found.add(&logits, &window[1..], self.which.config.vocabulary, rule);
        }
        found.finish();
        Ok(found)
    }

    /// Multiplications of a token in the draft, over those in the full model.
    pub(super) fn draft_cost(&self) -> f64 {
        let ((layer, head), (own, own_head)) = (costs(&self.draft.0), costs(&self.which));
        // Its output layer is its embedding.
        let tied = (self.draft.0.config.vocabulary * self.draft.0.config.channels) as f64;
        let head = if head == 0.0 { tied } else { head };
        (layer * self.draft.0.config.layers as f64 + head) / (own * self.which.config.layers as f64 + own_head)
    }
}

/// So many stretches of this length, evenly spread.
fn windows(tokens: &[u32], count: usize, length: usize) -> impl Iterator<Item = &[u32]> {
    let room = tokens.len().saturating_sub(length);
    (0..count).filter_map(move |i| tokens.get(i * room / count.max(1)..)?.get(..length))
}

fn add(to: &mut Matrix, more: &Matrix) {
    to.values.iter_mut().zip(&more.values).for_each(|(a, b)| *a += b);
}

impl Layers {
    fn empty(exits: usize) -> Self {
        let zeros = || vec![0.0; exits];
        Self { loss: zeros(), agree: zeros(), accept: zeros(), tokens: Vec::new() }
    }

    /// Logits `[T, V]` of each exit, the full model's last, and the tokens that came.
    fn add(&mut self, logits: &[Vec<f32>], told: &[u32], vocabulary: usize, rule: Rule) {
        for (t, token) in told.iter().enumerate() {
            let p: Vec<Vec<f32>> =
                logits.iter().map(|all| softmax(&all[t * vocabulary..(t + 1) * vocabulary], 1.0)).collect();
            let Some(full) = p.last() else { continue };
            let best = |p: &[f32]| (0..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
            let first = best(full);
            let mut row = Vec::with_capacity(p.len());
            for (exit, q) in p.iter().enumerate() {
                let nats = -f64::from(q[*token as usize].max(f32::MIN_POSITIVE)).ln();
                let choice = best(q);
                self.loss[exit] += nats;
                self.agree[exit] += f64::from(u8::from(choice == first));
                self.accept[exit] += q.iter().zip(full).map(|(q, p)| f64::from(q.min(*p))).sum::<f64>();
                row.push((confidence(rule).of(q), choice as u32, nats));
            }
            self.tokens.push(row);
        }
    }

    fn finish(&mut self) {
        let count = self.tokens.len().max(1) as f64;
        let all = self.loss.iter_mut().chain(&mut self.agree).chain(&mut self.accept);
        all.for_each(|sum| *sum /= count);
    }

    /// Asking after every layer from the first on: share that leaves before the end, mean cost of a token as a share of a
    /// pass without questions, loss, and share of first choices that are the full model's; the last two of all tokens, and of
    /// those who left early.
    pub(super) fn at(&self, threshold: f32, (layer, head): (f64, f64)) -> Left {
        let exits = self.loss.len();
        let mut left = Left::default();
        for row in &self.tokens {
            let exit = (1..exits).find(|exit| *exit + 1 == exits || row[*exit].0 >= threshold).unwrap_or(exits - 1);
            let (_, choice, nats) = row[exit];
            let same = f64::from(u8::from(choice == row[exits - 1].1));
            left.cost += exit as f64 * (layer + head) / ((exits - 1) as f64 * layer + head);
            left.loss += nats;
            left.same += same;
            if exit + 1 < exits {
                left.early += 1.0;
                left.early_same += same;
            }
        }
        let count = self.tokens.len().max(1) as f64;
        left.early_same /= left.early.max(1.0);
        [&mut left.cost, &mut left.loss, &mut left.same, &mut left.early].into_iter().for_each(|sum| *sum /= count);
        left
    }
}

/// What a threshold does to the language model; shares are parts of one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Left {
    pub(super) early: f64,
    pub(super) cost: f64,
    pub(super) loss: f64,
    pub(super) same: f64,
    pub(super) early_same: f64,
}

pub(super) async fn run(params: &Params, cx: &mut Context) -> Result<Report, LabError> {
    if params.rule == Rule::Patience {
        let why = "the language model is asked with a threshold; choose another rule".to_owned();
        return Err(LabError::BadParam(lab_api::BadParam { name: "rule".into(), why }));
    }
    cx.progress("Loading the language model and two texts", 0.0);
    let text = Text::load(cx).await?;
    cx.progress("Fitting a map for each exit, where there is one", 0.1);
    let maps = match params.translate {
        Translate::Linear => text.maps(cx).await?,
        Translate::Nothing => Vec::new(),
    };
    cx.progress("Asking after every layer", 0.4);
    let layers = text.judge(&maps, JUDGED, params.rule, cx).await?;
    let draft = text.draft(JUDGED, params.rule, cx).await?;
    let mut report = Report {
        metrics: metrics(&text, &layers, &draft, params),
        tables: vec![table(&text, &layers, &draft)],
        charts: vec![curve(&text, &layers)],
        notes: Vec::new(),
    };
    cx.publish(&report)?;
    cx.progress("On a clock", 0.8);
    report.metrics.extend(timed(&text, cx).await?);
    cx.progress("Done", 1.0);
    Ok(report)
}

fn metrics(text: &Text, layers: &Layers, draft: &Layers, params: &Params) -> Vec<Metric> {
    let own = costs(&text.which);
    let found = layers.at(params.threshold as f32, own);
    let full = *layers.loss.last().unwrap_or(&0.0);
    let depth = text.which.config.layers;
    let whole = depth as f64 * own.0 + own.1;
    let quality = |id: &str, label: &str, value: f64, unit: &str| metric(Family::Quality, id, label, value, unit);
    let after = |layer: usize| 100.0 * break_even(whole, layer as f64 * own.0 + own.1, own.1);
    let map_bytes =
        if params.translate == Translate::Linear { 4 * text.which.config.channels.pow(2) * depth } else { 0 };
    vec![
        quality("loss", "Loss with exits", found.loss, "nats").lower().baseline(full).exact(0.02, SUMS)
            .help("Mean over the tokens of the test text; the baseline goes through all layers."),
        quality("same", "First choice as the full model", 100.0 * found.same, "%").higher().baseline(100.0).exact(1.0, SUMS),
        metric(Family::Time, "mean_cost", "Multiplications, on average", 100.0 * found.cost, "%")
            .lower().baseline(100.0).exact(1.0, SUMS)
            .help("Of a token, questions in vain included; the baseline asks once, at the end."),
        metric(Family::Scale, "leave_early", "Tokens that leave before the end", 100.0 * found.early, "%").higher().exact(1.0, SUMS),
        quality("early_same", "First choice as the full model, of those who leave early", 100.0 * found.early_same, "%")
            .higher().exact(15.0, "few leave, so that one token is a large share of them"),
        metric(Family::Scale, "break_even_1", "Must leave after layer 1 for its question to pay", after(1), "%")
            .lower().exact(1e-9, "multiplications are counted")
            .help("The share of tokens at which one question after the first layer costs nothing on balance."),
        metric(Family::Scale, "break_even_3", "Must leave after layer 3 for its question to pay", after(depth - 1), "%")
            .lower().exact(1e-9, "multiplications are counted").detail(),
        quality("accept_last", "Accepted after the layer before the last", 100.0 * layers.accept[depth - 1], "%")
            .higher().exact(0.5, SUMS).baseline(100.0 * draft.accept[0])
            .help("Probability that both models have in common, mean over tokens; the baseline is the draft model, a separate network."),
        metric(Family::Time, "draft_cost", "Cost of the draft model", 100.0 * text.draft_cost(), "%").lower()
            .exact(1e-9, "multiplications are counted").detail().help("Multiplications of a token, against the full model."),
        metric(Family::Memory, "added_bytes", "Bytes added", map_bytes as f64, "bytes").lower()
            .exact(0.0, "weights are counted").help("The exits share the output layer; only maps take room."),
    ]
}

fn table(text: &Text, layers: &Layers, draft: &Layers) -> Table {
    let own = costs(&text.which);
    let depth = layers.loss.len() - 1;
    let whole = depth as f64 * own.0 + own.1;
    let row = |name: String, cost: f64, of: &Layers, exit: usize| {
        let numbers = [100.0 * cost, of.loss[exit], 100.0 * of.agree[exit], 100.0 * of.accept[exit]];
        std::iter::once(Cell::from(name)).chain(numbers.map(Cell::from)).collect()
    };
    let mut rows: Vec<Vec<Cell>> = (0..=depth)
        .map(|exit| row(format!("After layer {exit}"), (exit as f64 * own.0 + own.1) / whole, layers, exit))
        .collect();
    rows.push(row("Draft model".into(), text.draft_cost(), draft, 0));
    let columns = ["Who answers", "Cost (%)", "Loss (nats)", "Same first choice (%)", "Accepted (%)"];
    Table { id: "layers".into(), title: "After each layer".into(), columns: columns.map(str::to_owned).to_vec(), rows }
}

/// Loss against mean cost over the threshold.
fn curve(text: &Text, layers: &Layers) -> Chart {
    let own = costs(&text.which);
    let points = super::figures::TRIED.iter().map(|t| {
        let found = layers.at(*t, own);
        [100.0 * found.cost, found.loss]
    });
    let full = *layers.loss.last().unwrap_or(&0.0);
    let series = |name: &str, points: Vec<[f64; 2]>| Series { name: name.into(), points, band: Vec::new() };
    Chart {
        id: "language".into(),
        title: "What do questions cost, and what do they save?".into(),
        caption: "Each point is a threshold. Right of 100 %, asking costs more than leaving saves.".into(),
        x: Axis::linear("Multiplications of a token (%)"),
        y: Axis::linear("Loss (nats)"),
        body: ChartBody::Scatter {
            series: vec![
                series("All layers, asked once", vec![[100.0, full]]),
                series("Leave when certain", points.collect()),
            ],
        },
    }
}

/// One token on the clock: a layer, and a question.
async fn timed(text: &Text, cx: &Context) -> Result<Vec<Metric>, LabError> {
    let token = text.test.get(..1).unwrap_or(&[0]);
    let x = text.model.embed(text.model.tokens(&[token], &cx.device)?);
    let layer = async || read(text.model.layer(0, x.clone()).0).await.map(drop);
    let ask = async || read(text.model.readout(x.clone())).await.map(drop);
    let pair: Pair = side_by_side(cx, 200.0, ask, layer).await?;
    let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng("asking"));
    let (own, peak) = (costs(&text.which), peak_gflops(cx, 120.0).await?);
    let share = |operations: f64, ms: f64| 200.0 * operations / (ms * 1e6) / peak.max(f64::MIN_POSITIVE);
    Ok(vec![
        metric(Family::Time, "asking", "Time of a question", ratio, "layers")
            .lower()
            .interval(interval)
            .measured(pair.ratios())
            .help("Norm, output layer and reading back for one token, over one layer of the model: counted it is 0.46."),
        metric(Family::Utilization, "utilization", "Utilization of a question", share(own.1, median(&pair.first)), "%")
            .higher()
            .baseline(share(own.0, median(&pair.second)))
            .measured(pair.first.iter().map(|ms| share(own.1, *ms)).collect())
            .detail()
            .help("Against this device's best matrix multiplication; the baseline is a layer. One token reads all weights for one use."),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_the_book() {
        assert_eq!(costs(&LanguageModel::full()), (430_080.0, 196_608.0));
    }

    #[test]
    fn whoever_may_leave_at_once_pays_one_layer_and_one_question() {
        let tokens =
            vec![vec![(0.1, 5, 6.0), (0.9, 3, 1.0), (1.0, 3, 0.5)], vec![(0.1, 5, 6.0), (0.4, 2, 4.0), (1.0, 7, 0.5)]];
        let layers = Layers { loss: vec![0.0; 3], agree: vec![0.0; 3], accept: vec![0.0; 3], tokens };
        // Two layers of 4 and an output layer of 2: a pass is 10, leaving after the first 6, staying 12.
        let at = |threshold| layers.at(threshold, (4.0, 2.0));
        assert!((at(0.0).cost - 0.6).abs() < 1e-12 && at(0.0).early == 1.0 && at(0.0).same == 0.5);
        assert!((at(0.5).cost - 0.9).abs() < 1e-12 && at(0.5).early_same == 1.0 && at(0.5).loss == 0.75);
        assert!((at(2.0).cost - 1.2).abs() < 1e-12 && at(2.0).early == 0.0 && at(2.0).loss == 0.5);
    }
}
