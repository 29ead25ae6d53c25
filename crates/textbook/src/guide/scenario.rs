//! Deployments that people have described, and what was chosen there: the guide is held against them.

use serde::Deserialize;

use super::Guide;

/// A deployment that somebody has described, and what was chosen there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) id: String,
    pub(crate) words: String,
    pub(crate) setting: String,
    pub(crate) expected: String,
    /// A key of the bibliography.
    pub(crate) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenarios {
    #[serde(default)]
    scenario: Vec<Scenario>,
}

/// `guide-scenarios.toml`.
///
/// # Errors
/// `(line, message)` where it does not parse or asks the guide for what it does not know.
pub(crate) fn scenarios(text: &str, guide: &Guide) -> Result<Vec<Scenario>, (usize, String)> {
    let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
    let all: Scenarios = toml::from_str(text).map_err(|error| {
        let message = error.message().lines().next().unwrap_or_default();
        (error.span().map_or(1, |span| line(span.start)), format!("the scenarios do not parse ({message})"))
    })?;
    for scenario in &all.scenario {
        let at = line(text.find(&format!("id = \"{}\"", scenario.id)).unwrap_or(0));
        let setting = guide.setting(&scenario.setting).map_err(|(message, _)| (at, message))?;
        if setting.len() != guide.axes.len() {
            return Err((at, format!("the scenario “{}” leaves a question open", scenario.id)));
        }
        if !guide.techniques.iter().any(|technique| technique.id == scenario.expected) {
            return Err((at, format!("“{}” is no technique of the guide", scenario.expected)));
        }
    }
    Ok(all.scenario)
}

impl Scenario {
    /// The place of what was chosen, from 1; `None` where the guide does not list it.
    pub(crate) fn place(&self, guide: &Guide) -> Option<usize> {
        let setting = guide.setting(&self.setting).ok()?;
        guide.rank(&setting).iter().position(|ranked| ranked.technique.id == self.expected).map(|at| at + 1)
    }
}
