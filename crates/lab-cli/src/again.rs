//! `run --from` repeats what a file of runs says.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    rc::Rc,
};

use lab_api::{DeviceChoice, Kind, ParamKind, Reference, RunRecord, Values, validate, value_text};
use lab_kit::find;

use crate::{
    Manifest, NativeHost, Problem, Show,
    compared::{Compared, compare},
    folder,
    handed_in::{self, Said},
    run_entry,
};

/// Runs here what files say was run elsewhere, each setting once.
pub(crate) struct Repeater<'a> {
    root: &'a Path,
    manifest: Manifest,
    device: DeviceChoice,
    done: HashMap<String, Result<RunRecord, String>>,
}

impl<'a> Repeater<'a> {
    /// For the labs of the project in `root`.
    ///
    /// # Errors
    /// An unreadable manifest of assets.
    pub(crate) fn new(root: &'a Path, device: DeviceChoice) -> Result<Self, Problem> {
        Ok(Self { root, manifest: Manifest::read(root)?, device, done: HashMap::new() })
    }

    /// What was said, number by number, beside what comes out here; a setting that was run already is not run again.
    ///
    /// # Errors
    /// Why it cannot be repeated, in words.
    pub(crate) fn repeat(&mut self, said: &Said) -> Result<Vec<Compared>, String> {
        let tolerances = tolerances(self.root, &said.lab);
        Ok(compare(said, &self.record(said)?.report, &tolerances))
    }

    /// What comes out here; a setting that was run already is not run again.
    ///
    /// # Errors
    /// As [`Repeater::repeat`].
    pub(crate) fn record(&mut self, said: &Said) -> Result<&RunRecord, String> {
        let key = format!("{} {} {:?}", said.lab, said.seed, said.params);
        if !self.done.contains_key(&key) {
            let found = self.run(said);
            self.done.insert(key.clone(), found);
        }
        self.done[&key].as_ref().map_err(Clone::clone)
    }

    /// Runs it, whether it was run already or not.
    ///
    /// # Errors
    /// As [`Repeater::repeat`].
    pub(crate) fn run(&self, said: &Said) -> Result<RunRecord, String> {
        let entry = find(labs::registry::ALL, &said.lab).map_err(|error| error.to_string())?;
        let specs = entry.params().map_err(|error| error.to_string())?;
        if let Some(file) = specs.iter().find(|spec| {
            let given = said.params.get(&spec.name).map(value_text).unwrap_or_default();
            matches!(spec.kind, ParamKind::File { .. }) && !given.is_empty()
        }) {
            return Err(format!("{}: a run of a file (“{}”) cannot be repeated without it", said.lab, file.name));
        }
        let pairs: Vec<(String, String)> = said
            .params
            .iter()
            .map(|(name, value)| (name.clone(), value_text(value)))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let checked = validate(&specs, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if !checked.problems.is_empty() {
            let words: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
            return Err(format!("{} was not run: {}", said.lab, words.join("; ")));
        }
        let values: Values = checked.values.into_iter().collect();
        let host = Rc::new(NativeHost::new(self.root, Show::Progress));
        let result = run_entry(entry, &values, said.seed, self.device, &self.manifest, host.clone());
        host.finish();
        result.map_err(|error| error.to_string())
    }
}

/// How far the numbers of a lab may differ from one processor or seed of the browser to another: as its reference says.
fn tolerances(root: &Path, lab: &str) -> BTreeMap<String, f64> {
    let path = root.join("labs/src").join(folder(lab)).join("reference.json");
    let reference = std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Reference>(&text).ok());
    let metrics = reference.map(|reference| reference.default_run.report.metrics).unwrap_or_default();
    metrics.into_iter().filter_map(|metric| Some((metric.id, metric.tolerance?.absolute))).collect()
}

/// Repeats every run of a file, each setting once, and prints what was said beside what came out.
///
/// # Errors
/// [`Problem::Input`] for a file that is none of ours, [`Problem::Failure`] where a run fails or an exact or trained number does
/// not agree.
pub(crate) fn run_from(root: &Path, path: &Path, device: DeviceChoice) -> Result<(), Problem> {
    let file = handed_in::read(path)?;
    let mut repeater = Repeater::new(root, device)?;
    let mut apart = 0;
    let mut failed = Vec::new();
    for run in &file.runs {
        let said = &run.record;
        let values: Vec<String> =
            said.params.iter().map(|(name, value)| format!("{name}={}", value_text(value))).collect();
        println!("\n{}: {} seed={}", said.lab, values.join(" "), said.seed);
        match repeater.repeat(said) {
            Ok(numbers) => {
                let width = numbers.iter().map(|number| number.id.len()).max().unwrap_or_default();
                for number in &numbers {
                    let now = number.now.map_or_else(|| "none".to_owned(), |now| now.to_string());
                    println!("  {:<width$}  said {:<22} here {now:<22} {}", number.id, number.said, verdict(number));
                }
                apart += numbers.iter().filter(|number| !number.agrees).count();
            }
            Err(why) => {
                println!("  {why}");
                failed.push(why);
            }
        }
    }
    match (failed.first(), apart) {
        (Some(why), _) => Err(Problem::Failure(why.clone())),
        (None, 0) => Ok(()),
        (None, 1) => Err(Problem::Failure("1 number does not agree with what the file says".to_owned())),
        (None, many) => Err(Problem::Failure(format!("{many} numbers do not agree with what the file says"))),
    }
}

fn verdict(number: &Compared) -> &'static str {
    match (number.agrees, number.now, number.kind) {
        (_, None, _) => "the lab reports no such number",
        (_, _, Kind::Measured) => "measured: not compared",
        (true, _, _) => "agrees",
        (false, _, Kind::Trained) => "apart by more than seeds are",
        (false, _, _) => "differs",
    }
}
