//! What the reader sees of a run.

use lab_api::DeviceInfo;

/// `data-state` of the section, from the moment the widget has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Can be run.
    Ready,
    /// Runs, or fetches its engine to run.
    Running,
    /// Shows a result.
    Done,
    /// The reader stopped it.
    Cancelled,
    /// It could not give a result; the message says why.
    Failed,
}

impl Phase {
    /// The word in `data-state`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What the reader sees of the course.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Where it is.
    pub phase: Phase,
    /// The message.
    pub message: String,
    /// What is being done, during a run.
    pub stage: String,
    /// How far it is, 0 to 1; `None` where that is not known.
    pub fraction: Option<f64>,
    /// Whether the CPU is offered after a failure.
    pub offer_cpu: bool,
    /// A live lab runs again: the old result stays until the new one is there, and nothing is said.
    pub quiet: bool,
}

impl View {
    pub(super) fn of(phase: Phase, message: impl Into<String>) -> Self {
        Self { phase, message: message.into(), stage: String::new(), fraction: None, offer_cpu: false, quiet: false }
    }
}

/// A device by its name.
pub(super) fn device_words(device: &DeviceInfo) -> String {
    if device.software_adapter { format!("{} (software adapter)", device.name) } else { device.name.clone() }
}
