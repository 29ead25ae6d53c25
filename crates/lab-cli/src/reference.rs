//! `reference`: the committed results that pages show before anyone presses Run.

use std::{path::Path, rc::Rc};

use anyhow::Context as _;
use lab_api::{DeviceChoice, Kind, Reference, RunRecord, Values};
use lab_kit::{Context, LabEntry, find, open_device};
use labs::registry::ALL;
use serde::Serialize;

use crate::{Manifest, NativeHost, Problem, Show, lines::one_record_a_line, run_entry, source_hashes};

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

/// What to do about references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Write nothing; fail where a file does not match its sources.
    Check,
    /// Run the default and, if wanted, the study, and write both files.
    Make {
        /// The study too. Without it the committed one stays, and stays as stale as it was.
        study: bool,
    },
    /// Run the default of each lab whose reference is stale; where no exact or trained number moved by more than its tolerance,
    /// renew its hash.
    Confirm {
        /// Renew the study's hash along with it, on the author's word.
        vouch: bool,
    },
}

/// Makes, confirms or checks `params.json` and `reference.json` of one lab or of all.
///
/// # Errors
/// [`Problem::Input`] for an unknown lab; [`Problem::Failure`] when a run fails, when a file that is checked does not match its
/// sources, or when a number is not what it was.
pub fn reference(root: &Path, id: Option<&str>, task: Task) -> Result<(), Problem> {
    let entries = match id {
        Some(id) => std::slice::from_ref(find(ALL, id)?),
        None => ALL,
    };
    let mut failures = Vec::new();
    for entry in entries {
        match task {
            Task::Check => failures.extend(problems(root, entry)?),
            Task::Make { study } => make(root, entry, study)?,
            Task::Confirm { vouch } => failures.extend(confirm(root, entry, vouch)?),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Problem::Failure(failures.join("\nerror: "))) }
}

/// Runs the default again and renews the hash where nothing moved; gives what did.
fn confirm(root: &Path, entry: &LabEntry, vouch: bool) -> Result<Vec<String>, Problem> {
    let path = root.join("labs/src").join(folder(entry.id)).join("reference.json");
    let mut reference = read(&path).with_context(|| format!("reference.json of {}", entry.id))?;
    let hashes = source_hashes(root, entry)?;
    if reference.source_hash != hashes.default_run {
        eprintln!("{}: default run", entry.id);
        let host = Rc::new(NativeHost::new(root, Show::Progress));
        let manifest = Manifest::read(root)?;
        let again = run_entry(entry, &Values::new(), 0, DeviceChoice::Cpu, &manifest, host.clone());
        host.finish();
        let moved = moved(&reference.default_run, &again?);
        for (words, _) in moved.iter().filter(|(_, far)| !far) {
            eprintln!("{}: {words}, within its tolerance, as on another processor", entry.id);
        }
        let far: Vec<&str> = moved.iter().filter(|(_, far)| *far).map(|(words, _)| words.as_str()).collect();
        if !far.is_empty() {
            let all = far.join(", ");
            return Ok(vec![format!(
                "{}: {all}; if that is meant, run `cargo xtask reference {}`.",
                entry.id, entry.id
            )]);
        }
        reference.source_hash = hashes.default_run;
    }
    if vouch && reference.study.is_some() {
        reference.study_hash = Some(hashes.study.clone());
    }
    write(&path, &reference)?;
    let stale = reference.study.is_some() && reference.study_hash.as_ref() != Some(&hashes.study);
    Ok(if stale { vec![stale_study(entry)] } else { Vec::new() })
}

/// Exact and trained numbers that are not what they were, in words, and whether by more than their tolerance.
fn moved(before: &RunRecord, now: &RunRecord) -> Vec<(String, bool)> {
    let fixed = before.report.metrics.iter().filter(|metric| metric.kind != Kind::Measured);
    let differs = fixed.filter_map(|metric| {
        let Some(found) = now.report.metric(&metric.id) else { return Some((format!("{} is gone", metric.id), true)) };
        // Read as the committed number was: reading JSON may change a last bit.
        let value: f64 = serde_json::from_str(&serde_json::to_string(&found.value).ok()?).ok()?;
        let tolerance = metric.tolerance.as_ref().map_or(0.0, |tolerance| tolerance.absolute);
        let far = (value - metric.value).abs() > tolerance;
        (value != metric.value).then(|| (format!("{} was {} and is {value}", metric.id, metric.value), far))
    });
    differs.collect()
}

fn stale_study(entry: &LabEntry) -> String {
    let id = entry.id;
    format!(
        "the study of {id} was made from other code, crates or assets: run `cargo xtask reference {id}`, or, where code was only \
         moved, `cargo xtask reference {id} --confirm --vouch`."
    )
}

fn write(path: &Path, reference: &Reference) -> anyhow::Result<()> {
    let value = serde_json::to_value(reference)?;
    std::fs::write(path, one_record_a_line(&value)).with_context(|| format!("{} cannot be written", path.display()))
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
            let hashes = source_hashes(root, entry)?;
            if reference.source_hash != hashes.default_run {
                stale.push(format!(
                    "the default run of {} was made from other code, crates or assets: {remedy}, or, where no number should \
                     move, `cargo xtask reference {} --confirm`.",
                    entry.id, entry.id
                ));
            }
            if reference.study.is_some() && reference.study_hash.as_ref() != Some(&hashes.study) {
                stale.push(stale_study(entry));
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
    let hashes = source_hashes(root, &entry)?;
    let (study, study_hash) = if study {
        eprintln!("{}: study", entry.id);
        let start = std::time::Instant::now();
        let study = run_study(root, &entry, &manifest, &default_run.params)?;
        eprintln!("{}: the study took {:.0} s", entry.id, start.elapsed().as_secs_f64());
        let hash = study.is_some().then_some(hashes.study);
        (study, hash)
    } else {
        read(&path).map_or((None, None), |before| (before.study, before.study_hash))
    };
    let reference = Reference {
        lab: entry.id.into(),
        command: format!("cargo xtask reference {}", entry.id),
        source_hash: hashes.default_run,
        study_hash,
        params: entry.params()?,
        default_run,
        study,
    };
    write(&path, &reference)?;
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
