//! The worker: picks the device, runs a lab, streams its report.

