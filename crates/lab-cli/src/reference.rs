//! `reference`: the committed results that pages show before anyone presses Run.

use std::{path::Path, rc::Rc};

use anyhow::Context as _;
use lab_api::{DeviceChoice, Reference, RunRecord, Values};
use lab_kit::{Context, LabEntry, find, open_device};
use labs::registry::ALL;
use serde::Serialize;

use crate::{Manifest, NativeHost, Problem, Show, run_entry, source_hash};

/// The folder of a lab: its id with `_` for `-`.
#[must_use]
pub fn folder(id: &str) -> String {
    id.replace('-', "_")
}

/// What `params.json` of a lab must hold.
///
/// # Errors
/// [`Problem::Failure`] when the parameter struct cannot be controls.
pub fn params_text(entry: &LabEntry) -> Result<String, Problem> {
    let specs = (entry.specs)().map_err(|error| Problem::Failure(format!("parameters of {}: {error}", entry.id)))?;
    Ok(pretty(&specs)?)
}

fn pretty(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Makes or checks `params.json` and `reference.json` of one lab or of all.
///
/// # Errors
/// [`Problem::Input`] for an unknown lab; [`Problem::Failure`] when a run fails, or with `check` when a file does not
/// match its sources.
pub fn reference(root: &Path, id: Option<&str>, check: bool, study: bool) -> Result<(), Problem> {
    let entries = match id {
        Some(id) => std::slice::from_ref(find(ALL, id)?),
        None => ALL,
    };
    if check {
        let mut stale = Vec::new();
        for entry in entries {
            stale.extend(problems(root, entry)?);
        }
        return if stale.is_empty() { Ok(()) } else { Err(Problem::Failure(stale.join("\nerror: "))) };
    }
    entries.iter().try_for_each(|entry| make(root, entry, study))
}

/// What is stale about a lab's generated files.
fn problems(root: &Path, entry: &LabEntry) -> Result<Vec<String>, Problem> {
    let at = root.join("labs/src").join(folder(entry.id));
    let remedy = format!("run `cargo xtask reference {}`", entry.id);
    let mut stale = Vec::new();
    let params = std::fs::read_to_string(at.join("params.json")).unwrap_or_default();
    if params != params_text(entry)? {
        stale.push(format!("params.json of {} does not match its parameter struct: {remedy}.", entry.id));
    }
    match read(&at.join("reference.json")) {
        Err(error) => stale.push(format!("reference.json of {}: {error:#}; {remedy}.", entry.id)),
        Ok(reference) => {
            if reference.source_hash != source_hash(root, entry)? {
                stale.push(format!(
                    "reference.json of {} was made from other code, crates or assets: {remedy}.",
                    entry.id
                ));
            }
            if pretty(&reference.params)? != params {
                stale
                    .push(format!("reference.json of {} holds other parameters than params.json: {remedy}.", entry.id));
            }
        }
    }
    Ok(stale)
}

fn read(path: &Path) -> anyhow::Result<Reference> {
    let text = std::fs::read_to_string(path).context("it cannot be read")?;
    serde_json::from_str(&text).context("it is not a reference")
}

fn make(root: &Path, entry: &LabEntry, study: bool) -> Result<(), Problem> {
    let at = root.join("labs/src").join(folder(entry.id));
    let params = params_text(entry)?;
    std::fs::write(at.join("params.json"), &params).context("params.json cannot be written")?;
    // This program was compiled with the file as it was; the run must see the new one.
    let entry = LabEntry { params_json: Box::leak(params.into_boxed_str()), ..*entry };
    let manifest = Manifest::read(root)?;

    eprintln!("{}: default run", entry.id);
    let host = Rc::new(NativeHost::new(root, Show::Progress));
    let result = run_entry(&entry, &Values::new(), 0, DeviceChoice::Cpu, &manifest, host.clone());
    host.finish();
    let default_run = result?;

    let path = at.join("reference.json");
    let study = if study {
        eprintln!("{}: study", entry.id);
        run_study(root, &entry, &manifest, &default_run.params)?
    } else {
        read(&path).ok().and_then(|before| before.study)
    };
    let reference = Reference {
        lab: entry.id.into(),
        command: format!("cargo xtask reference {}", entry.id),
        source_hash: source_hash(root, &entry)?,
        params: entry.params()?,
        default_run,
        study,
    };
    std::fs::write(&path, pretty(&reference)?).context("reference.json cannot be written")?;
    eprintln!("{}: wrote labs/src/{}/reference.json", entry.id, folder(entry.id));
    Ok(())
}

fn run_study(
    root: &Path,
    entry: &LabEntry,
    manifest: &Manifest,
    params: &Values,
) -> Result<Option<RunRecord>, Problem> {
    let host = Rc::new(NativeHost::new(root, Show::Progress));
    let result = pollster::block_on(async {
        let device = open_device(DeviceChoice::Cpu).await?;
        let mut cx = Context::new(device, 0, manifest.offered(entry)?, host.clone());
        let Some(report) = (entry.study)(&mut cx).await? else { return Ok(None) };
        report.check()?;
        let environment = cx.environment();
        Ok(Some(RunRecord { lab: entry.id.into(), params: params.clone(), seed: 0, environment, report }))
    });
    host.finish();
    result.map_err(|error: lab_api::LabError| error.into())
}
