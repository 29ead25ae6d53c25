//! Pruning layer after layer: each is judged by what the layers before it, already pruned, hand on.

use lab_api::LabError;
use lab_kit::{
    Context,
    quant::{Granularity, PackedMatrix, Scheme, Settings},
    sparse::{Pattern, Sharing, SparseGpt, keep, wanda_scores},
};
use rand::Rng;

use super::{
    calibrate::{self, Flow},
    model::Weights,
};

/// Weights that share a scale, where kept ones are rounded.
pub(super) const GROUP: usize = 32;

/// How weights are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Score {
    Random,
    Magnitude,
    Wanda,
    SparseGpt,
}

impl Score {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Magnitude => "magnitude",
            Self::Wanda => "Wanda",
            Self::SparseGpt => "SparseGPT",
        }
    }

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Magnitude => "magnitude",
            Self::Wanda => "wanda",
            Self::SparseGpt => "sparse_gpt",
        }
    }
}

/// What becomes of the weights that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// They stay as they are.
    Float,
    /// They are rounded to so many bits, symmetric, in groups of 32.
    Bits(u32),
}

impl Kept {
    fn settings(self) -> Option<Settings> {
        match self {
            Self::Float => None,
            Self::Bits(bits) => Some(Settings::weight_only(bits, Scheme::Symmetric, Granularity::Group(GROUP))),
        }
    }
}

/// One way to prune.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct How {
    pub(super) score: Score,
    pub(super) pattern: Pattern,
    pub(super) sharing: Sharing,
    /// Whether the weights that stay make up for those that go.
    pub(super) update: bool,
    pub(super) kept: Kept,
}

/// A pruned model and what was seen on the way.
pub(super) struct Pruned {
    pub(super) model: Weights,
    /// What flowed into the matrices, layer by layer; empty where nothing had to be read.
    pub(super) flows: Vec<Flow>,
    /// By matrix: its name, and the relative error of what it computes on the calibration text, where that is known.
    pub(super) errors: Vec<(String, f64)>,
}

/// Prunes all matrices of all layers.
pub(super) async fn prune(weights: &Weights, how: &How, text: &[Vec<u32>], cx: &Context) -> Result<Pruned, LabError> {
    let mut pruned = Pruned { model: weights.clone(), flows: Vec::new(), errors: Vec::new() };
    let compensates = how.update || how.score == Score::SparseGpt;
    let reads = compensates || how.score == Score::Wanda;
    let mut rng = cx.rng("random mask");
    let mut streams = if reads { calibrate::embed(&weights.model(cx)?, text, cx)? } else { Vec::new() };
    for layer in 0..weights.config.layers {
        // The layer's own matrices are still whole here; those before it are not.
        let mut flows = if reads {
            calibrate::flows(&pruned.model.model(cx)?, layer, &streams, compensates, cx).await?
        } else {
            let prefix = format!(".layers.{layer}.");
            let names = weights.prunable().filter(|name| name.contains(&prefix));
            names.map(|name| Flow { names: vec![name], norms: vec![], hessian: None }).collect()
        };
        for flow in &mut flows {
            let what = flow.names.first().cloned().unwrap_or_default();
            // Of no further use afterwards, and large.
            let hessian = flow.hessian.take();
            let gpt = hessian.as_ref().filter(|_| compensates).map(|h| SparseGpt::new(h, &what)).transpose()?;
            cx.checkpoint().await?;
            for name in &flow.names {
                let Some(weight) = pruned.model.state.get_mut(name) else { continue };
                let columns = weight.shape[1];
                how.pattern.check(columns, name)?;
                let before = weight.values.clone();
                weight.values = one(&before, columns, how, (&flow.norms, gpt.as_ref()), &mut rng);
                if let Some(hessian) = &hessian {
                    let lost: Vec<f32> = before.iter().zip(&weight.values).map(|(a, b)| a - b).collect();
                    let share = hessian.output_power(&lost) / hessian.output_power(&before).max(f64::MIN_POSITIVE);
                    pruned.errors.push((name.clone(), share));
                }
                cx.checkpoint().await?;
            }
        }
        if reads && layer + 1 < weights.config.layers {
            streams = calibrate::through(&pruned.model.model(cx)?, layer, &streams, cx).await?;
        }
        pruned.flows.extend(flows.into_iter().filter(|flow| !flow.norms.is_empty()));
    }
    Ok(pruned)
}

/// One matrix.
fn one(
    weight: &[f32],
    columns: usize,
    how: &How,
    (norms, gpt): (&[f64], Option<&SparseGpt>),
    rng: &mut impl Rng,
) -> Vec<f32> {
    let settings = how.kept.settings();
    if let (Score::SparseGpt, Some(gpt)) = (how.score, gpt) {
        return gpt.prune(weight, how.pattern, how.sharing, how.update, settings.as_ref()).weights;
    }
    let scores: Vec<f32> = match how.score {
        Score::Random => weight.iter().map(|_| rng.random()).collect(),
        Score::Wanda => wanda_scores(weight, columns, norms),
        Score::Magnitude | Score::SparseGpt => weight.iter().map(|w| w.abs()).collect(),
    };
    let kept = keep(&scores, columns, how.pattern, how.sharing);
    if let (true, Some(gpt)) = (how.update, gpt) {
        return gpt.update(weight, &kept, settings.as_ref()).weights;
    }
    let rounded = match &settings {
        Some(settings) => PackedMatrix::quantize(weight, columns, settings).dequantize(),
        None => weight.to_vec(),
    };
    rounded.into_iter().zip(kept).map(|(w, kept)| if kept { w } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::{
        Lab,
        testing::{FakeClock, context_with, ready},
    };

    use super::{
        super::{Method, Params, PrunedLm, Where, model::Source, smaller::Units},
        *,
    };

    const ASSETS: [&str; 4] =
        ["language/lm.safetensors", "corpus/tokenizer.json", "corpus/validation.txt.gz", "corpus/test.txt.gz"];

    fn context() -> Context {
        context_with(Rc::new(FakeClock::real()), &ASSETS)
    }

    #[test]
    fn every_method_prunes_what_was_asked_and_chance_does_worst() {
        let cx = context();
        let source = ready(Source::load(&cx)).expect("shipped");
        let text = ready(source.calibration(super::super::Text::Corpus, 4, &cx)).expect("text");
        let windows = source.windows(2);
        let mut losses = Vec::new();
        for (score, update) in
            [(Score::Random, false), (Score::Magnitude, false), (Score::Wanda, false), (Score::SparseGpt, true)]
        {
            let how = How { score, pattern: Pattern::Free(0.6), sharing: Sharing::Row, update, kept: Kept::Float };
            let pruned = ready(prune(&source.dense, &how, &text, &cx)).expect("prunes");
            let (all, kept) = pruned.model.count();
            assert_eq!(all, 1_720_320);
            assert!((kept as f64 / all as f64 - 0.4).abs() < 0.005, "{score:?} {kept}");
            // Embedding, output layer and norms are untouched.
            for (name, weight) in source.dense.state.iter().filter(|(name, _)| !name.contains("_proj")) {
                assert_eq!(Some(weight), pruned.model.state.get(name));
            }
            let model = pruned.model.model(&cx).expect("fits");
            let judged = ready(super::super::judge::Judged::of(&model, &source, &windows, &cx)).expect("judged");
            losses.push(judged.mean());
        }
        // By a nat and more. The order of the others is not that of larger texts: four windows are too few for SparseGPT.
        assert!(losses[1..].iter().all(|loss| loss + 1.0 < losses[0]), "{losses:?}");
        // Errors of SparseGPT's matrices were looked at, and updating helps each of them.
        let how = |update| How {
            score: Score::SparseGpt,
            pattern: Pattern::NOfM { keep: 2, of: 4 },
            sharing: Sharing::Row,
            update,
            kept: Kept::Float,
        };
        let [with, without] =
            [true, false].map(|update| ready(prune(&source.dense, &how(update), &text, &cx)).expect("prunes"));
        assert_eq!(with.errors.len(), 28);
        // The first layer's inputs are the same in both.
        assert!(with.errors[..7].iter().zip(&without.errors[..7]).all(|(a, b)| a.1 < b.1));
    }

    #[test]
    fn smaller_models_are_smaller_and_keep_their_meaning() {
        let cx = context();
        let source = ready(Source::load(&cx)).expect("shipped");
        let text = ready(source.calibration(super::super::Text::Corpus, 2, &cx)).expect("text");
        let shallow = source.dense.without_layer(1).expect("there");
        assert_eq!(shallow.config.layers, 3);
        assert_eq!(
            shallow.state.get("model.layers.1.mlp.up_proj.weight"),
            source.dense.state.get("model.layers.2.mlp.up_proj.weight")
        );
        assert!(source.dense.without_layer(4).is_err());
        let narrow = ready(source.dense.narrowed(0.75, Units::Activation, &text, &cx)).expect("fits");
        assert_eq!(narrow.config.feed_forward, 432);
        assert_eq!(source.dense.count().0 - narrow.count().0, 331_776);
        // Removing units computes what zeroing their columns of the down-projection computes.
        let whole = ready(source.dense.narrowed(1.0, Units::Activation, &text, &cx)).expect("fits");
        assert_eq!(whole, source.dense);
        let windows = source.windows(1);
        let judge = |weights: &Weights| {
            let model = weights.model(&cx).expect("fits");
            ready(super::super::judge::Judged::of(&model, &source, &windows, &cx)).expect("judged").mean()
        };
        let mut zeroed = source.dense.clone();
        for layer in 0..4 {
            let named = |matrix: &str| format!("model.layers.{layer}.mlp.{matrix}_proj.weight");
            let rows = |weights: &Weights| weights.state.get(&named("gate")).expect("there").values.clone();
            let (few, all) = (rows(&narrow), rows(&source.dense));
            // A row of 192 weights is like no other.
            let stays: Vec<bool> = all.chunks(192).map(|row| few.chunks(192).any(|kept| kept == row)).collect();
            assert_eq!(stays.iter().filter(|stays| **stays).count(), 432);
            let down = &mut zeroed.state.get_mut(&named("down")).expect("there").values;
            down.iter_mut().enumerate().filter(|(i, _)| !stays[i % 576]).for_each(|(_, w)| *w = 0.0);
        }
        assert!((judge(&narrow) - judge(&zeroed)).abs() < 1e-4);
    }

    #[test]
    fn a_pattern_that_fits_no_row_is_refused_by_name() {
        let mut cx = context();
        // A quarter of 576 units less one layer: widths stay divisible. 0.9 of the units is 518, which 4 does not divide.
        let params =
            Params { ffn_kept: 0.9, pattern: Where::TwoOfFour, method: Method::Magnitude, ..PrunedLm::smoke() };
        let why = ready(PrunedLm::run(params, &mut cx)).expect_err("refused").to_string();
        assert!(why.contains("518 columns of model.layers.0.mlp.down_proj.weight"), "{why}");
    }
}
