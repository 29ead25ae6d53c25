//! What goes into the course of a run, and what comes out.

use lab_api::{DeviceChoice, DeviceKind, Event, Report, RunRecord};

use crate::{Setting, Trouble, Wish};

/// What happens to the course.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The reader wants a run.
    Start {
        /// On which devices.
        wish: Wish,
        /// The controls at this moment.
        setting: Setting,
    },
    /// A live lab's controls have changed, to this.
    Again(Setting),
    /// It was decided where: one device, or two to compare. With a remark for the reader.
    Planned {
        /// The run.
        run_id: u32,
        /// Devices in order.
        targets: Vec<DeviceKind>,
        /// Said with the device.
        remark: String,
    },
    /// It cannot start.
    Unavailable {
        /// The run.
        run_id: u32,
        /// Why.
        trouble: Trouble,
    },
    /// An engine says something.
    Said(Event),
    /// An engine broke: an error nobody caught, or one that never loaded.
    Broke {
        /// Which.
        kind: DeviceKind,
        /// What is known.
        why: String,
    },
    /// The reader wants it to stop.
    Cancel,
    /// The engine has had its time to stop.
    CancelOverdue {
        /// The run.
        run_id: u32,
    },
    /// The reader wants everything as it was.
    Reset,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make room for results.
    Clear,
    /// Decide where to run.
    Plan {
        /// The run.
        run_id: u32,
        /// What was asked for.
        wish: Wish,
        /// What the reader had chosen then.
        device: DeviceChoice,
    },
    /// Ask an engine to run; fetch it first where needed.
    Launch {
        /// The run.
        run_id: u32,
        /// Which engine.
        kind: DeviceKind,
        /// The controls when the run was asked for; they may have moved since.
        setting: Setting,
    },
    /// Ask an engine to stop, and report back after 150 ms.
    AskToStop {
        /// The run.
        run_id: u32,
        /// Which engine.
        kind: DeviceKind,
    },
    /// Throw an engine away; the next run gets a fresh one.
    Terminate(DeviceKind),
    /// Show what is known so far.
    ShowPartial(Report),
    /// Show the result, or both to compare.
    Show(Vec<RunRecord>),
}
