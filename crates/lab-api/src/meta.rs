//! The front matter of a lab's `lab.md`.

use serde::{Deserialize, Serialize};

use crate::{Family, report::Inapplicable};

/// Who a lab is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Has trained a network once.
    Beginner,
    /// Has shipped one.
    Intermediate,
    /// Reads papers.
    Advanced,
}

/// TOML front matter (between `+++` lines) of `lab.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabMeta {
    /// Title as readers see it.
    pub title: String,
    /// One sentence: what the reader will find out.
    pub summary: String,
    /// Minutes a reader needs.
    pub minutes: u32,
    /// Who it is for.
    pub level: Level,
    /// After its first run it runs again by itself whenever a control changes; for labs that take a blink.
    #[serde(default)]
    pub live: bool,
    /// Metric families its report must contain.
    pub families: Vec<Family>,
    /// Families that do not apply, each with the reason.
    #[serde(default)]
    pub inapplicable: Vec<Inapplicable>,
    /// Assets it reads, by manifest name; only these are offered to it.
    #[serde(default)]
    pub assets: Vec<String>,
}

impl LabMeta {
    /// Splits `lab.md` into its front matter and the text after it; `None` where the `+++` fences are missing.
    #[must_use]
    pub fn split(lab_md: &str) -> Option<(&str, &str)> {
        let rest = lab_md.strip_prefix("+++\n")?;
        let (front, body) = rest.split_once("\n+++\n")?;
        Some((front, body))
    }
}
