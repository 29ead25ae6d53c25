//! Why a command failed, and with which exit code.

use std::fmt;

use lab_api::{BadParam, LabError};

/// A failure for the person at the keyboard.
#[derive(Debug)]
pub enum Problem {
    /// What was asked for cannot be: an unknown lab, a refused value, a bad name. Exit code 2.
    Input(String),
    /// It could be asked for, and did not work. Exit code 1.
    Failure(String),
}

impl Problem {
    /// 2 for bad input, 1 for failures.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Failure(_) => 1,
        }
    }

    /// Refused parameters, all at once.
    #[must_use]
    pub fn params(lab: &str, problems: &[BadParam]) -> Self {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self::Input(format!("{lab} was not run: {}.", lines.join("; ")))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(why) | Self::Failure(why) => write!(f, "error: {why}"),
        }
    }
}

impl From<LabError> for Problem {
    fn from(error: LabError) -> Self {
        let words = format!("{} {}", sentence(&error.to_string()), error.remedy());
        match error {
            LabError::UnknownLab { .. } | LabError::BadParam(_) => Self::Input(words),
            _ => Self::Failure(words),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::Failure(format!("{error:#}"))
    }
}

/// A sentence begins with a capital and ends in one full stop, or in its question mark, as in the page.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let stop = if text.ends_with('?') { "" } else { "." };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).chain(stop.chars()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_exits_with_2_and_names_the_nearest() {
        let unknown = LabError::UnknownLab { name: "quantisation".into(), nearest: Some("quantization".into()) };
        let problem = Problem::from(unknown);
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.to_string().contains("did you mean “quantization”? List the labs"), "{problem}");
        assert_eq!(Problem::from(LabError::Cancelled).exit_code(), 1);
        assert_eq!(Problem::from(LabError::Cancelled).to_string(), "error: Cancelled. Press Run to start again.");
    }
}
