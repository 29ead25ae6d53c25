//! `run --from` repeats what a file of runs says.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    rc::Rc,
};

use lab_api::{DeviceChoice, Kind, ParamKind, Reference, Report, RunRecord, Values, validate, value_text};
use lab_kit::find;

use crate::{
    Manifest, NativeHost, Problem, Show, folder,
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

/// A number that was said, beside what came out here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compared {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) said: f64,
    /// Nothing where the lab reports no such number.
    pub(crate) now: Option<f64>,
    /// Whether both agree as far as such a number must.
    pub(crate) agrees: bool,
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
pub(crate) fn tolerances(root: &Path, lab: &str) -> BTreeMap<String, f64> {
    let path = root.join("labs/src").join(folder(lab)).join("reference.json");
    let reference = std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Reference>(&text).ok());
    let metrics = reference.map(|reference| reference.default_run.report.metrics).unwrap_or_default();
    metrics.into_iter().filter_map(|metric| Some((metric.id, metric.tolerance?.absolute))).collect()
}

pub(crate) fn compare(said: &Said, report: &Report, tolerances: &BTreeMap<String, f64>) -> Vec<Compared> {
    let compared = said.metrics.iter().map(|number| {
        let now = report.metric(&number.id);
        let own = now.and_then(|metric| metric.tolerance.as_ref()).map_or(0.0, |tolerance| tolerance.absolute);
        let known = tolerances.get(&number.id).copied().unwrap_or_default();
        let agrees = now.is_some_and(|now| {
            // What the last bits of a double lose on their way through JSON is nobody's doing. The kind is the lab's, not the file's.
            let slack = own.max(known) + 1e-9 * now.value.abs();
            now.kind == Kind::Measured || (now.value - number.value).abs() <= slack
        });
        let kind = now.map_or(number.kind, |now| now.kind);
        Compared { id: number.id.clone(), kind, said: number.value, now: now.map(|now| now.value), agrees }
    });
    compared.collect()
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

#[cfg(test)]
mod tests {
    use lab_api::{Family, Metric};
    use lab_kit::report::{MetricExt as _, metric};

    use super::*;
    use crate::handed_in::Number;

    #[test]
    fn a_number_agrees_as_far_as_its_lab_says_whatever_the_file_calls_it() {
        let number = |id: &str, value, kind| Number { id: id.into(), value, kind };
        let metrics = vec![
            number("exact", 3.0, Kind::Measured),
            number("near", 2.05, Kind::Exact),
            number("trained", 1.4, Kind::Trained),
            number("time", 9.0, Kind::Exact),
            number("gone", 1.0, Kind::Exact),
        ];
        let said = Said { lab: "levels".into(), params: Values::new(), seed: 0, metrics, environment: serde_json::Value::Null };
        let of = |id: &str, value| metric(Family::Quality, id, id, value, "");
        let report = Report {
            metrics: vec![
                of("exact", 2.0),
                of("near", 2.0).exact(0.1, "sums"),
                Metric { kind: Kind::Trained, ..of("trained", 1.0) },
                of("time", 1.0).measured(vec![1.0]),
            ],
            ..Report::default()
        };
        let agrees = |tolerances: &BTreeMap<String, f64>| -> Vec<bool> {
            compare(&said, &report, tolerances).iter().map(|number| number.agrees).collect()
        };
        assert_eq!(agrees(&BTreeMap::new()), [false, true, false, true, false]);
        // The spread over the study's seeds.
        assert_eq!(agrees(&BTreeMap::from([("trained".to_owned(), 0.5)])), [false, true, true, true, false]);
    }
}
