//! `bench`: how long readers wait.

use std::{path::Path, rc::Rc};

use lab_api::{DeviceChoice, Values};
use lab_kit::{Host, find, stats::median};
use labs::registry::ALL;

use crate::{Manifest, NativeHost, Problem, Show, output::table, run_entry};

/// Runs of each lab.
const RUNS: usize = 5;
/// Limits in milliseconds: first number, whole default run. The browser's engine has the same.
const LIMITS: (f64, f64) = (1000.0, 15_000.0);

/// Times the default run of one lab or of all.
///
/// # Errors
/// [`Problem::Input`] for an unknown lab; [`Problem::Failure`] when a run fails or a median exceeds its limit.
pub fn bench(root: &Path, id: Option<&str>) -> Result<(), Problem> {
    let entries = match id {
        Some(id) => std::slice::from_ref(find(ALL, id)?),
        None => ALL,
    };
    let manifest = Manifest::read(root)?;
    let (mut rows, mut slow) = (Vec::new(), Vec::new());
    for entry in entries {
        let (mut first, mut whole, mut deaf) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let host = Rc::new(NativeHost::new(root, Show::Nothing));
            run_entry(entry, &Values::new(), 0, DeviceChoice::Cpu, &manifest, host.clone())?;
            whole.push(host.now_ms());
            first.extend(host.first_report_ms());
            deaf.push(host.longest_gap_ms());
        }
        let (first, whole) = (if first.is_empty() { median(&whole) } else { median(&first) }, median(&whole));
        if first > LIMITS.0 || whole > LIMITS.1 {
            slow.push(entry.id);
        }
        rows.push(vec![
            entry.id.to_owned(),
            format!("{first:.0}"),
            format!("{whole:.0}"),
            format!("{:.0}", median(&deaf)),
        ]);
    }
    print!(
        "{}",
        table(
            &["Lab", "First number (ms)", "Default run (ms)", "Longest deaf to Cancel (ms)"].map(str::to_owned),
            &rows
        )
    );
    if slow.is_empty() {
        return Ok(());
    }
    let (first, whole) = LIMITS;
    Err(Problem::Failure(format!(
        "{}: over {first:.0} ms to the first number or {whole:.0} ms in all.",
        slow.join(", ")
    )))
}
