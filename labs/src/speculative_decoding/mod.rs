//! A cheap guesser proposes, the model checks several tokens in one pass: how many tokens a pass yields, what it costs on this
//! device, and whether the text is still the model's.

mod clock;
mod figures;
mod judge;
mod material;
#[cfg(feature = "schema")]
mod study;
mod summary;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    speculative::{How, Rule},
};
use serde::{Deserialize, Serialize};

use clock::Costs;
use material::Material;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Who drafts
    pub drafter: Who,
    /// Tokens proposed in a round
    ///
    /// Called γ in the text. The model checks them, and one more, in one pass.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 12)))]
    pub gamma: u32,
    /// Temperature
    ///
    /// Of the model and of the draft. 0 always takes the likeliest token; 1 draws from the model's own probabilities.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.5), extend("x-step" = 0.1)))]
    pub temperature: f64,
    /// What becomes of a proposal
    pub rule: Verdict,
    /// Beginnings
    pub text: Text,
    /// Tokens written
    ///
    /// After each beginning of 64 tokens.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 128)))]
    pub tokens: u32,
    /// Number of beginnings
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16)))]
    pub prompts: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            drafter: Who::Draft,
            gamma: 4,
            temperature: 0.0,
            rule: Verdict::Exact,
            text: Text::Prose,
            tokens: 64,
            prompts: 4,
        }
    }
}

/// Who proposes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// A small model
    ///
    /// Trained on the same text: 64 channels and 2 layers, where the model has 192 and 4.
    Draft,
    /// The text itself
    ///
    /// Looks for the last three, two or one tokens earlier in the text, and copies what came after them.
    Lookup,
    /// A table
    ///
    /// What followed the last two tokens most often in another part of the corpus.
    Table,
    /// The model's first layers
    ///
    /// Two of four, with its last norm and its output layer. Nothing was trained for it.
    Early,
    /// The model in 4 bits
    ///
    /// Its own weights, rounded and packed.
    Packed,
    /// Chance
    ///
    /// Any token. The lower bound: the text must be right even so.
    Chance,
}

impl Who {
    const ALL: [Self; 6] = [Self::Draft, Self::Lookup, Self::Table, Self::Early, Self::Packed, Self::Chance];

    fn name(self) -> &'static str {
        match self {
            Self::Draft => "Small model",
            Self::Lookup => "The text itself",
            Self::Table => "Table",
            Self::Early => "First layers",
            Self::Packed => "Model in 4 bits",
            Self::Chance => "Chance",
        }
    }
}

/// What becomes of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The exact rule
    ///
    /// Keep it with probability p/q, at most 1. After a rejection draw from what p has more than q.
    Exact,
    /// Wrong: nothing subtracted
    ///
    /// The same, but after a rejection draw from p itself.
    Unsubtracted,
    /// Wrong: a threshold
    ///
    /// Keep it where p is at least q, and never else.
    Threshold,
}

impl Verdict {
    fn rule(self) -> Rule {
        match self {
            Self::Exact => Rule::Exact,
            Self::Unsubtracted => Rule::Unsubtracted,
            Self::Threshold => Rule::Threshold,
        }
    }
}

/// What the model continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// Prose
    ///
    /// From a part of the corpus that no model has seen.
    Prose,
    /// Repetitive
    ///
    /// Sixteen tokens of it, four times.
    Repetitive,
    /// Shuffled
    ///
    /// The same tokens in any order.
    Shuffled,
}

impl Params {
    fn how(&self) -> How {
        How { gamma: self.gamma as usize, temperature: self.temperature, rule: self.rule.rule() }
    }

    /// The temperature at which laws are compared: at 0 every rule is the same.
    fn drawn_at(&self) -> f64 {
        if self.temperature > 0.0 { self.temperature } else { 1.0 }
    }

    /// A run for a look: fewer things are put on the clock.
    fn quick(&self) -> bool {
        self.tokens * self.prompts < 32
    }
}

/// The lab.
pub struct SpeculativeDecoding;

impl Lab for SpeculativeDecoding {
    const ID: &'static str = "speculative-decoding";
    type Params = Params;

    fn smoke() -> Params {
        Params { gamma: 2, tokens: 8, prompts: 1, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let (who, how, tokens) = (params.drafter, params.how(), params.tokens as usize);
        cx.progress("Loading the model, its drafts and two texts", 0.0);
        let material = Material::load(cx).await?;
        let prompts = material.prompts(params.text, params.prompts as usize, cx);
        cx.progress("Writing, plainly and with a draft", 0.1);
        let plain = material.write(None, how, (&prompts, tokens), cx).await?;
        let drafted = material.write(Some(who), how, (&prompts, tokens), cx).await?;
        let same = summary::compare(&material, &prompts, [&plain, &drafted], cx).await?;
        let mut report = Report {
            metrics: summary::counted(&material, &drafted, &same, &params),
            charts: vec![figures::stream(&material, &prompts, &drafted)],
            ..Report::default()
        };
        cx.publish(&report)?;

        cx.progress("What would each draft get accepted?", 0.25);
        let accepted = judge::accepted(&material, (&prompts, &plain), params.temperature, cx).await?;
        let unchanged = judge::unchanged(&material, (who, how.rule), &prompts, params.drawn_at(), cx).await?;
        report.metrics.extend(summary::judged(&accepted, &unchanged, &params));
        cx.publish(&report)?;

        cx.progress("A pass of one token, of two, of three", 0.4);
        let at = (how.gamma, how.temperature);
        let costs = Costs::measure(&material, &prompts[0], at, params.quick(), cx).await?;
        report.metrics.extend(summary::costs(&costs, &accepted, &material, &params));
        report.tables.push(figures::drafters(&costs, &accepted, &material));
        report.charts.insert(0, figures::plane(&costs, &accepted));
        report.charts.push(figures::passes(&costs));
        report.charts.push(figures::proposals(&costs, &accepted));
        cx.publish(&report)?;

        cx.progress("The same for several requests at once", 0.7);
        let batches = clock::batches(&material, &prompts[0], at, params.quick(), cx).await?;
        report.metrics.extend(summary::batches(&batches));
        report.charts.push(figures::batches(&batches, &costs, &accepted, &params));
        cx.progress("Whole texts on the clock", 0.8);
        let few = &prompts[..prompts.len().min(2)];
        let budget = if params.quick() { 0.0 } else { 300.0 };
        let texts = clock::texts(&material, (who, how), (few, tokens), budget, cx).await?;
        report.metrics.extend(summary::texts(&texts, (few.len() * tokens) as f64, cx));
        report.notes = summary::notes(&report.metrics, &same);
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context_with, ready};

    use super::*;

    const ASSETS: [&str; 5] = [
        "language/lm.safetensors",
        "language/draft.safetensors",
        "corpus/tokenizer.json",
        "corpus/validation.txt.gz",
        "corpus/test.txt.gz",
    ];

    /// Every drafter through the whole loop on the shipped model; the counts of rounds against a replay on the finished text.
    #[test]
    fn the_shipped_model_writes_the_same_text_whoever_drafts() {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &ASSETS);
        let material = ready(Material::load(&cx)).expect("loads");
        let prompts = material.prompts(Text::Prose, 1, &cx);
        let params = Params { gamma: 3, ..Params::default() };
        let write = |who| ready(material.write(who, params.how(), (&prompts, 24), &cx)).expect("writes").remove(0);
        let plain = write(None);
        assert_eq!((plain.tokens.len(), plain.rounds.len()), (24, 24));
        let accepted =
            ready(judge::accepted(&material, (&prompts, std::slice::from_ref(&plain)), 0.0, &cx)).expect("ok");
        for who in Who::ALL {
            let drafted = write(Some(who));
            assert_eq!(drafted.tokens, plain.tokens, "{who:?}");
            let kept: usize = drafted.rounds.iter().map(|round| round.accepted + 1).sum();
            assert!(kept >= 24 && drafted.rounds.len() <= 24, "{who:?}");
            let alpha = accepted.iter().find(|accepted| accepted.who == who).expect("all are judged").alpha;
            assert!((0.0..=1.0).contains(&alpha), "{who:?}: {alpha}");
            // Where everything or nothing is accepted, the number of rounds says so.
            assert!(alpha > 0.0 || drafted.rounds.len() == 24, "{who:?}");
        }
        let alpha = |who| accepted.iter().find(|accepted| accepted.who == who).expect("judged").alpha;
        assert!(alpha(Who::Packed) > alpha(Who::Chance) && alpha(Who::Chance) < 0.1);
    }

    #[test]
    fn the_law_of_the_next_token_is_the_models_only_by_the_exact_rule() {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &ASSETS);
        let material = ready(Material::load(&cx)).expect("loads");
        let prompts = material.prompts(Text::Prose, 2, &cx);
        let judge = |rule| ready(judge::unchanged(&material, (Who::Draft, rule), &prompts, 1.0, &cx)).expect("judges");
        let exact = judge(Rule::Exact);
        assert!(exact.distance < 1e-9 && exact.test.p_value > 1e-3, "{exact:?}");
        assert!(exact.unchecked > 0.1, "the draft alone is another model: {exact:?}");
        for rule in [Rule::Unsubtracted, Rule::Threshold] {
            let wrong = judge(rule);
            assert!(wrong.distance > 0.01 && wrong.test.p_value < 1e-3, "{rule:?}: {wrong:?}");
        }
    }
}
