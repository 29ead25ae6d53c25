//! The decision guide: from what binds to the techniques worth trying, in order, with what to leave alone.
//!
//! `guide.toml` holds the questions and the rows. A row holds where its conditions hold, and its place follows from two numbers
//! that readers can check: how much the technique gains there, and how much work it takes. So a page can list every row once, in
//! order, and choosing is leaving out: the table that a reader sees without JavaScript is the whole guide.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{catalogue::Catalogue, problem::near};

mod check;
mod scenario;
#[cfg(test)]
mod tests;

pub(crate) use scenario::{Scenario, scenarios};

/// `guide.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guide {
    /// The questions, in the order in which they are asked.
    #[serde(default, rename = "axis")]
    pub(crate) axes: Vec<Axis>,
    #[serde(default, rename = "technique")]
    pub(crate) techniques: Vec<Technique>,
    /// What to say where the guide has little or nothing to offer.
    #[serde(default, rename = "note")]
    pub(crate) notes: Vec<Note>,
    #[serde(default, rename = "pair")]
    pub(crate) pairs: Vec<Pair>,
}

/// One question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axis {
    pub(crate) id: String,
    pub(crate) question: String,
    #[serde(rename = "value")]
    pub(crate) values: Vec<Value>,
}

/// One answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Value {
    pub(crate) id: String,
    /// As the question offers it.
    pub(crate) words: String,
    /// As a table names it.
    pub(crate) short: String,
}

/// For each question the answers under which a row holds; a question that is not named does not matter.
pub(crate) type Conditions = BTreeMap<String, Vec<String>>;

/// One answer to each question.
pub(crate) type Setting<'a> = BTreeMap<&'a str, &'a str>;

/// A method of the catalogue, as the guide recommends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Technique {
    pub(crate) id: String,
    #[serde(default, rename = "gain")]
    pub(crate) gains: Vec<Gain>,
    #[serde(default, rename = "avoid")]
    pub(crate) avoid: Vec<Note>,
}

/// What a technique gains somewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gain {
    #[serde(rename = "where")]
    pub(crate) conditions: Conditions,
    /// 1 below one and a half times, 2 up to three times, 3 beyond; by the lower end of what is published.
    pub(crate) size: u8,
    /// 0 a setting, 1 an afternoon, 2 a training run, 3 another network, 4 a search for one.
    pub(crate) effort: u8,
    /// The number, with model, baseline and source. Markdown.
    pub(crate) expect: String,
    pub(crate) why: String,
}

/// Words for some settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    #[serde(rename = "where")]
    pub(crate) conditions: Conditions,
    pub(crate) why: String,
}

/// What two techniques do to each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    pub(crate) of: [String; 2],
    pub(crate) kind: PairKind,
    pub(crate) why: String,
}

/// How two techniques go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PairKind {
    /// They save different things: both gains remain.
    Multiply,
    /// They save some of the same: less than both gains remains.
    Overlap,
    /// One takes away what the other lives on.
    Compete,
    /// Both, but the first before the second.
    Order,
}

impl PairKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Multiply => "multiply",
            Self::Overlap => "overlap",
            Self::Compete => "compete",
            Self::Order => "in this order",
        }
    }
}

/// A technique in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranked<'a> {
    pub(crate) technique: &'a Technique,
    pub(crate) gain: &'a Gain,
}

impl Ranked<'_> {
    /// Twice the size of the gain less the effort: what decides the order.
    pub(crate) fn points(self) -> i32 {
        2 * i32::from(self.gain.size) - i32::from(self.gain.effort)
    }
}

/// How many of a list a reader is expected to look at.
pub(crate) const FIRST: usize = 3;

const SIZES: std::ops::RangeInclusive<u8> = 1..=3;
const EFFORTS: [&str; 5] = ["a setting", "an afternoon", "a training run", "another network", "a search"];

/// What an effort is called.
pub(crate) fn effort_words(effort: u8) -> &'static str {
    EFFORTS.get(usize::from(effort)).copied().unwrap_or_default()
}

/// Whether a row's conditions hold; a question that the setting leaves open holds.
pub(crate) fn holds(conditions: &Conditions, setting: &Setting<'_>) -> bool {
    conditions.iter().all(|(axis, values)| {
        setting.get(axis.as_str()).is_none_or(|chosen| values.iter().any(|value| value == chosen))
    })
}

impl Guide {
    /// Reads the file and checks it against the catalogue and itself.
    ///
    /// # Errors
    /// `(line, message)` where it does not parse, names what does not exist, contradicts itself, or leaves a setting without an answer.
    pub(crate) fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, (usize, String)> {
        let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let guide: Self = toml::from_str(text).map_err(|error| {
            let message = error.message().lines().next().unwrap_or_default();
            (error.span().map_or(1, |span| line(span.start)), format!("the guide does not parse ({message})"))
        })?;
        let at = |id: &str| line(text.find(&format!("id = \"{id}\"")).unwrap_or(0));
        guide.check(catalogue).map_err(|(id, message)| (at(&id), message))?;
        Ok(guide)
    }

    /// Every setting there is.
    pub(crate) fn settings(&self) -> Vec<Setting<'_>> {
        let mut all = vec![Setting::new()];
        for axis in &self.axes {
            all = all
                .iter()
                .flat_map(|setting| {
                    axis.values.iter().map(|value| {
                        let mut setting = setting.clone();
                        setting.insert(axis.id.as_str(), value.id.as_str());
                        setting
                    })
                })
                .collect();
        }
        all
    }

    /// The techniques for a setting, best first: by points, then by less effort, then in the order of the file.
    pub(crate) fn rank(&self, setting: &Setting<'_>) -> Vec<Ranked<'_>> {
        let mut ranked: Vec<Ranked<'_>> = self
            .techniques
            .iter()
            .flat_map(|technique| technique.gains.iter().map(move |gain| Ranked { technique, gain }))
            .filter(|ranked| holds(&ranked.gain.conditions, setting))
            .collect();
        ranked.sort_by_key(|ranked| (-ranked.points(), ranked.gain.effort));
        ranked
    }

    /// Reads `binds=memory&hardware=phone`.
    ///
    /// # Errors
    /// What the guide does not know, and the nearest that it does.
    pub(crate) fn setting<'a>(&self, query: &'a str) -> Result<Setting<'a>, (String, Option<String>)> {
        let mut setting = Setting::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (id, value) = part.split_once('=').unwrap_or((part, ""));
            let Some(axis) = self.axes.iter().find(|axis| axis.id == id) else {
                let near = near(id, self.axes.iter().map(|axis| axis.id.as_str()));
                return Err((format!("the guide asks no question “{id}”"), near));
            };
            if !axis.values.iter().any(|known| known.id == value) {
                let near = near(value, axis.values.iter().map(|known| known.id.as_str()));
                return Err((format!("“{value}” is no answer to “{id}”"), near));
            }
            setting.insert(id, value);
        }
        Ok(setting)
    }
}

/// A setting as a link writes it.
fn address(setting: &Setting<'_>) -> String {
    let parts: Vec<String> = setting.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
    parts.join("&")
}
