//! `hot-paths`: the computations that `cargo xtask bench --browser` compares, natively.

use std::{path::Path, rc::Rc};

use lab_api::DeviceChoice;
use lab_kit::{Context, hot_paths, open_device};

use crate::{NativeHost, Problem, Show, output::table};

/// Times every hot path on a device, for about `budget_ms` each.
///
/// # Errors
/// [`Problem::Failure`] when the device cannot be had or fails.
pub fn time_hot_paths(root: &Path, device: DeviceChoice, budget_ms: f64, json: bool) -> Result<(), Problem> {
    let device = pollster::block_on(open_device(device))?;
    let name = device.1.name.clone();
    let cx = Context::new(device, 0, Vec::new(), Rc::new(NativeHost::new(root, Show::Nothing)));
    let mut timings = Vec::new();
    for path in hot_paths::ALL {
        timings.push(pollster::block_on(hot_paths::time(&cx, path, budget_ms))?);
    }
    if json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "device": name, "paths": timings }));
        println!("{}", text.map_err(|error| Problem::Failure(error.to_string()))?);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = timings
        .iter()
        .map(|timing| {
            vec![
                timing.path.clone(),
                format!("{:.1}", timing.first_ms),
                format!("{:.3}", timing.median_ms),
                format!("{:.3} to {:.3}", timing.interval_ms.low, timing.interval_ms.high),
                format!("{:.2}", timing.operations / timing.median_ms * 1e-6),
            ]
        })
        .collect();
    println!("On {name}");
    print!("{}", table(&["Path", "First (ms)", "Step (ms)", "95 % interval", "GFLOP/s"].map(str::to_owned), &rows));
    Ok(())
}
