//! What one list of steps comes to, in numbers; nothing is computed twice.

use lab_api::{Interval, LabError, Report};
use lab_kit::{
    Context,
    measure::{EnergyAssumptions, Work},
    olympics::EntryStep,
    stats::{median, ratio_interval},
};

use super::{Entered, Params, glyphs::Glyphs, language::Language};

/// Confidence of every interval.
pub(super) const LEVEL: f64 = 0.95;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    /// Tokens that are read.
    pub(super) prompt: usize,
    /// Tokens that are written.
    pub(super) tokens: usize,
    /// Whether requests come at random times, with lengths around these.
    pub(super) crowd: bool,
}

/// Samples of the baseline and of something else, taken turn by turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside {
    pub(super) naive: Vec<f64>,
    pub(super) own: Vec<f64>,
}

impl Beside {
    /// How many times as much the baseline takes, with its interval.
    pub(super) fn ratio(&self, cx: &Context) -> (f64, Interval) {
        (self.times(), ratio_interval(&self.naive, &self.own, LEVEL, &mut cx.rng("ratio")))
    }

    /// The same without its interval.
    pub(super) fn times(&self) -> f64 {
        median(&self.naive) / median(&self.own).max(f64::MIN_POSITIVE)
    }

    pub(super) fn ratios(&self) -> Vec<f64> {
        self.naive.iter().zip(&self.own).map(|(a, b)| a / b).collect()
    }

    pub(super) fn ms(&self) -> f64 {
        median(&self.own)
    }
}

/// An entry, measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    /// Bytes of the file, and in memory while the last token is written.
    pub(super) file: f64,
    pub(super) memory: f64,
    /// Operations and bytes of a token (of an image).
    pub(super) work: Work,
    /// Milliseconds of a token of a single request.
    pub(super) time: Beside,
    /// Milliseconds of a token with as many requests as there may be.
    pub(super) crowd: Beside,
    /// Bits per character, or right answers in per cent.
    pub(super) quality: f64,
    /// What of it is lost: per cent of the bits, or points.
    pub(super) loss: f64,
    pub(super) interval: Option<Interval>,
    /// Per cent of answers that are the baseline's.
    pub(super) agreement: f64,
    /// What tells the weights from others.
    pub(super) fingerprint: String,
    /// Whether something was trained.
    pub(super) trained: bool,
}

impl Numbers {
    pub(super) fn joules(&self) -> f64 {
        EnergyAssumptions::FP32_DRAM.energy(self.work).joules()
    }

    /// Logarithms of how much smaller the file is than another's, and how much faster a token.
    pub(super) fn over(&self, before: &Self) -> [f64; 2] {
        [(before.file / self.file).ln(), (before.speedless() / self.speedless()).ln()]
    }

    /// Milliseconds of a token in units of the baseline's: what a machine that slows down between two entries cannot move.
    fn speedless(&self) -> f64 {
        1.0 / self.time.times()
    }

    /// Upper end of what is lost.
    pub(super) fn upper(&self) -> f64 {
        self.interval.map_or(self.loss, |interval| interval.high)
    }
}

/// One of the subjects.
pub(super) enum Course {
    Language(Box<Language>),
    Glyphs(Box<Glyphs>),
}

impl Course {
    pub(super) async fn load(params: &Params, cx: &Context) -> Result<Self, LabError> {
        Ok(match params.subject {
            Entered::Language => Self::Language(Box::new(Language::load(params.text(), cx).await?)),
            Entered::Classifier => Self::Glyphs(Box::new(Glyphs::load(4, cx).await?)),
        })
    }

    pub(super) async fn numbers(&mut self, steps: &[EntryStep], cx: &Context) -> Result<Numbers, LabError> {
        match self {
            Self::Language(language) => language.numbers(steps, cx).await,
            Self::Glyphs(glyphs) => glyphs.numbers(steps, cx).await,
        }
    }

    /// What only the whole entry is asked.
    pub(super) async fn finish(
        &mut self,
        steps: &[EntryStep],
        report: &mut Report,
        cx: &Context,
    ) -> Result<(), LabError> {
        match self {
            Self::Language(language) => language.finish(steps, report, cx).await,
            Self::Glyphs(_) => Ok(()),
        }
    }
}
