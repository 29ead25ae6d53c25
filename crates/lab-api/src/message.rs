//! What page and worker say to each other, as JSON text over `postMessage`.
//!
//! A request that comes with files is a list: the JSON text, then for each file the parameter's name and the browser's
//! `File`, by its handle and not by its bytes: the worker reads of it what the lab asks for, when it asks. A file may be
//! larger than the memory of either, and stays where it is.

use serde::{Deserialize, Serialize};

use crate::{AssetRef, DeviceChoice, DeviceInfo, LabError, Report, RunRecord, Values};

/// Page to worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Start a run. A second one while the first runs is refused with [`Event::Failed`].
    Run(RunRequest),
    /// Stop the run at its next checkpoint. The page terminates a worker that has not answered in 150 ms.
    Cancel,
    /// The page came out of view or into it. A hidden page is slowed down, so what is timed meanwhile is timed again.
    Hidden {
        /// Whether it is out of view now.
        hidden: bool,
    },
}

/// Everything a run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Chosen by the page; every event carries it, so that a late answer of an earlier run is not mistaken.
    pub run_id: u32,
    /// Lab id.
    pub lab: String,
    /// Parameter values; the engine validates them again.
    pub values: Values,
    /// Seed of the generator.
    pub seed: u64,
    /// Where to run.
    pub device: DeviceChoice,
    /// Files the lab may read.
    pub assets: Vec<AssetRef>,
    /// Absolute address of the book's root, ending in `/`: asset paths are relative to it.
    pub root: String,
}

/// Worker to page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The engine is loaded and listens.
    Ready,
    /// The run began, on this device.
    Started {
        /// Run this belongs to.
        run_id: u32,
        /// What it runs on.
        device: DeviceInfo,
    },
    /// How far it is.
    Progress {
        /// Run this belongs to.
        run_id: u32,
        /// What is being done, for display.
        stage: String,
        /// 0 to 1.
        fraction: f64,
    },
    /// A report that later ones replace.
    Partial {
        /// Run this belongs to.
        run_id: u32,
        /// What is known so far.
        report: Report,
    },
    /// The result.
    Done {
        /// Run this belongs to.
        run_id: u32,
        /// The whole record.
        record: Box<RunRecord>,
    },
    /// No result ([`LabError::Cancelled`] included).
    Failed {
        /// Run this belongs to.
        run_id: u32,
        /// Why.
        error: LabError,
    },
}
