//! What every exit says, and who leaves where.

use lab_api::LabError;
use lab_kit::{
    Context,
    exits::{
        Confidence, Deciding, Policy, Verdicts, mean_cost, temperature, threshold_bounded, threshold_for_error,
        thresholds_for_budget, tolerable,
    },
};

use super::{
    Params, Rule, SetBy,
    material::{Asked, Material, logits},
};

/// A network whose exits have all been asked.
pub(super) struct Judged {
    pub(super) asked: Asked,
    /// About the images that judge, at temperature 1.
    pub(super) plain: Verdicts,
    /// The same at the temperatures in use.
    pub(super) verdicts: Verdicts,
    /// About the images that choose, and about training images.
    choose: Verdicts,
    training: Verdicts,
    /// Of each exit.
    pub(super) temperatures: Vec<f32>,
}

/// What the rule does to the images that judge.
pub(super) struct Outcome {
    pub(super) deciding: Deciding,
    /// Where each image leaves.
    pub(super) exits: Vec<usize>,
    pub(super) answers: Vec<u8>,
    pub(super) shares: Vec<f64>,
    /// Multiplications of an image.
    pub(super) cost: f64,
}

pub(super) fn confidence(rule: Rule) -> Confidence {
    match rule {
        Rule::Margin => Confidence::Margin,
        Rule::Entropy => Confidence::Entropy,
        Rule::MaxProb | Rule::Patience => Confidence::MaxProbability,
    }
}

impl Judged {
    pub(super) async fn of(asked: Asked, material: &Material, params: &Params, cx: &Context) -> Result<Self, LabError> {
        let images = &material.subject.images;
        let choose = logits(asked.network.as_ref(), &material.choose, cx).await?;
        let judge = logits(asked.network.as_ref(), images, cx).await?;
        Ok(Self::from_logits(asked, [&choose, &judge], material, params))
    }

    /// From what the exits said about the images that choose and those that judge.
    pub(super) fn from_logits(
        asked: Asked,
        [choose, judge]: [&[Vec<f32>]; 2],
        material: &Material,
        params: &Params,
    ) -> Self {
        let classes = material.subject.images.class_count();
        let fitted = |logits: &Vec<f32>| temperature(logits, &material.choose.labels, classes);
        let temperatures: Vec<f32> = choose.iter().map(|l| if params.calibrate { fitted(l) } else { 1.0 }).collect();
        let by = |logits: &[Vec<f32>], temperatures: &[f32]| {
            Verdicts::of(logits, classes, confidence(params.rule), temperatures)
        };
        let training = by(&asked.training.0, &temperatures);
        Self {
            plain: by(judge, &[]),
            verdicts: by(judge, &temperatures),
            choose: by(choose, &temperatures),
            training,
            asked,
            temperatures,
        }
    }

    /// What a rule does.
    pub(super) fn outcome(&self, deciding: Deciding) -> Outcome {
        let exits = self.verdicts.leave(&deciding.policy);
        let shares = self.verdicts.shares(&exits);
        let cost = mean_cost(&shares, &self.asked.costs);
        Outcome { answers: self.verdicts.answers_at(&exits), exits, shares, cost, deciding }
    }

    /// One threshold for all exits.
    #[cfg(any(test, feature = "schema"))]
    pub(super) fn at(&self, threshold: f32, rule: Rule) -> Outcome {
        let policy = Policy::Thresholds(vec![threshold; self.asked.costs.len() - 1]);
        self.outcome(Deciding { confidence: confidence(rule), policy, temperatures: self.temperatures.clone() })
    }

    // ANCHOR: trap
    /// For each way to keep the error of those who leave at the first exit: the threshold, the share of the judging images
    /// that it lets leave, and the share of these that is wrong. Nothing where no threshold will do.
    pub(super) fn ways(&self, target: f64, material: &Material) -> Vec<(&'static str, Option<[f64; 3]>)> {
        let labels = [&self.asked.training.1, &material.choose.labels];
        let right = |verdicts: &Verdicts, labels: &[u8]| -> Vec<bool> {
            verdicts.answers[0].iter().zip(labels).map(|(a, label)| a == label).collect()
        };
        let (learned, held) = (&self.training.confidences[0], &self.choose.confidences[0]);
        let (learned_right, held_right) = (right(&self.training, labels[0]), right(&self.choose, labels[1]));
        let found = [
            ("training images", threshold_for_error(learned, &learned_right, target)),
            ("held-out images", threshold_for_error(held, &held_right, target)),
            ("held-out images, bounded", threshold_bounded(held, &held_right, target)),
        ];
        let judged = right(&self.verdicts, &material.subject.images.labels);
        let apply = |threshold: f32| {
            let left: Vec<bool> = self.verdicts.confidences[0]
                .iter()
                .zip(&judged)
                .filter(|(certain, _)| **certain >= threshold)
                .map(|(_, right)| *right)
                .collect();
            let wrong = left.iter().filter(|right| !**right).count() as f64 / left.len().max(1) as f64;
            [f64::from(threshold), left.len() as f64 / judged.len().max(1) as f64, wrong]
        };
        found.into_iter().map(|(name, threshold)| (name, threshold.map(apply))).collect()
    }
    // ANCHOR_END: trap

    /// A threshold for each exit, from the images that are still there when it is asked.
    fn for_error(&self, params: &Params, material: &Material) -> Result<Vec<f32>, LabError> {
        let (verdicts, labels) = match params.set_by {
            SetBy::Training => (&self.training, &self.asked.training.1),
            _ => (&self.choose, &material.choose.labels),
        };
        let (mut here, mut thresholds): (Vec<usize>, Vec<f32>) = ((0..labels.len()).collect(), Vec::new());
        for exit in 0..self.asked.costs.len() - 1 {
            let certain: Vec<f32> = here.iter().map(|i| verdicts.confidences[exit][*i]).collect();
            let right: Vec<bool> = here.iter().map(|i| verdicts.answers[exit][*i] == labels[*i]).collect();
            let found = match params.set_by {
                SetBy::Bounded => threshold_bounded(&certain, &right, params.target_error),
                _ => threshold_for_error(&certain, &right, params.target_error),
            };
            let threshold = found.unwrap_or(f32::INFINITY);
            thresholds.push(threshold);
            here.retain(|i| verdicts.confidences[exit][*i] < threshold);
        }
        if thresholds.iter().all(|threshold| threshold.is_infinite()) {
            let why = format!(
                "no threshold lets anybody leave with at most {:.1} % wrong; a bound takes {} right answers in a row at least. Allow more errors",
                100.0 * params.target_error,
                tolerable(params.target_error),
            );
            return Err(LabError::Refused { why });
        }
        Ok(thresholds)
    }
}

/// Who leaves where, by the reader's choice.
pub(super) fn decide(own: &Judged, material: &Material, params: &Params) -> Result<Outcome, LabError> {
    let policy = match (params.rule, params.set_by) {
        (Rule::Patience, _) => Policy::Patience(1),
        (_, SetBy::Hand) => Policy::Thresholds(vec![params.threshold as f32; own.asked.costs.len() - 1]),
        (_, SetBy::Budget) => {
            let budget = params.budget * material.full();
            Policy::Thresholds(thresholds_for_budget(&own.choose.confidences, &own.asked.costs, budget))
        }
        _ => Policy::Thresholds(own.for_error(params, material)?),
    };
    let temperatures = own.temperatures.clone();
    Ok(own.outcome(Deciding { confidence: confidence(params.rule), policy, temperatures }))
}
