//! How a lab fails. Errors are values: nothing a reader can do may panic.

use serde::{Deserialize, Serialize};

use crate::BadParam;

/// Why a run gave no result. Serialized between worker and page and printed by the command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum LabError {
    /// No lab of this name is registered.
    #[error("there is no lab named “{name}”{}", did_you_mean(.nearest))]
    UnknownLab {
        /// The name as given.
        name: String,
        /// The registered name nearest to it, if one is near.
        nearest: Option<String>,
    },
    /// One parameter was refused by validation.
    #[error(transparent)]
    BadParam(#[from] BadParam),
    /// A dataset or weight file is missing, truncated, altered or does not fit the model.
    #[error("the file “{name}” cannot be used: {why}")]
    Asset {
        /// Name in the asset manifest.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file that the reader gave cannot be read, or is not what the lab reads.
    #[error("your file “{name}” cannot be used: {why}")]
    File {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The device could not be had, was lost, or ran out of memory.
    #[error("the device failed: {why}")]
    Device {
        /// What happened, in the driver's words where there are any.
        why: String,
    },
    /// The reader cancelled; not a failure.
    #[error("cancelled")]
    Cancelled,
    /// The lab produced something that is not a result (a number that is not finite, say).
    #[error("the result was refused: {why}")]
    Refused {
        /// The rule it broke.
        why: String,
    },
    /// The engine broke: a defect of ours.
    #[error("the engine stopped: {why}")]
    Engine {
        /// What is known of it.
        why: String,
    },
}

impl LabError {
    /// What the reader or author can do about it, as one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownLab { .. } => "List the labs with “cargo xtask lab list”.",
            Self::BadParam(_) => "Correct the value, or reset the controls to their defaults.",
            Self::Asset { .. } => {
                "Reload the page to fetch it again; in a checkout, restore it with “git checkout -- assets”, or run its command in assets/manifest.toml."
            }
            Self::File { .. } => "Choose another file, or press Reset for the lab's own.",
            Self::Device { .. } => "Run on the CPU instead: it gives the same result.",
            Self::Cancelled => "Press Run to start again.",
            Self::Refused { .. } | Self::Engine { .. } => {
                "Press Run to try again with a fresh engine; if it happens twice, please report it with these words."
            }
        }
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!("; did you mean “{name}”?"))
}
