//! What readers save of their runs, and hand in: the files of a page's list of runs and of its report, and the records of this
//! command line.

use std::path::{Path, PathBuf};

use lab_api::{Kind, Values};
use serde::Deserialize;
use serde_json::Value;

use crate::Problem;

/// Files of runs are some hundred kilobytes.
const MOST_BYTES: u64 = 20_000_000;
/// The version of both formats that `site/js` writes.
const VERSION: u64 = 1;

/// A file of runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct HandedIn {
    /// Who hands it in, as they wrote it.
    pub(crate) student: String,
    /// Guesses that were committed before a run.
    pub(crate) guesses: usize,
    /// Questions of the page that were answered, and those of them that were answered right.
    pub(crate) answers: [usize; 2],
    /// The runs, oldest first.
    pub(crate) runs: Vec<Run>,
}

/// One run in it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Run {
    /// The page's own mark; empty in a record of the command line.
    #[serde(default)]
    pub(crate) id: String,
    /// What was run, and what came out.
    pub(crate) record: Said,
}

/// What is said to have come out.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Said {
    /// The lab.
    pub(crate) lab: String,
    /// All its parameters.
    pub(crate) params: Values,
    /// Seed of the generator.
    pub(crate) seed: u64,
    /// The numbers.
    pub(crate) metrics: Vec<Number>,
    /// Where it ran, as the file says it; null where it does not.
    #[serde(default)]
    pub(crate) environment: Value,
}

impl Said {
    /// What is said to have come out as this metric.
    pub(crate) fn number(&self, id: &str) -> Option<f64> {
        self.metrics.iter().find(|number| number.id == id).map(|number| number.value)
    }
}

/// A number in it. Of the rest of a metric nothing is believed: what counts is what the run gives here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Number {
    /// Name of the metric.
    pub(crate) id: String,
    /// Its value.
    pub(crate) value: f64,
    /// How it may differ.
    pub(crate) kind: Kind,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    right: Option<bool>,
}

/// The files of a folder that a page or the command line may have written, by name.
///
/// # Errors
/// [`Problem::Input`] for a folder that cannot be read, or holds none.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let refused =
        |error: std::io::Error| Problem::Input(format!("{}: the folder cannot be read ({error})", folder.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Problem::Input(format!(
            "{} holds no .json file: put the reports there that students saved from the page",
            folder.display()
        )));
    }
    Ok(paths)
}

/// Reads a file.
///
/// # Errors
/// [`Problem::Input`] with the file, what is wrong with it, and what would do.
pub(crate) fn read(path: &Path) -> Result<HandedIn, Problem> {
    let fail = |why: &str| Problem::Input(format!("{}: {why}", path.display()));
    let bytes = std::fs::metadata(path).map_err(|error| fail(&format!("it cannot be read ({error})")))?.len();
    if bytes > MOST_BYTES {
        return Err(fail("it is larger than any file of runs; save it from the page's list of runs"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(&format!("it is no text ({error})")))?;
    parse(&text).map_err(|why| fail(&why))
}

fn parse(text: &str) -> Result<HandedIn, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("it is not JSON, or was cut off ({error})"))?;
    let runs = |list: &Value| -> Result<Vec<Run>, String> {
        let list = list.as_array().ok_or("it holds no list of runs")?;
        let read = |(i, run): (usize, &Value)| {
            Run::deserialize(run).map_err(|error| format!("run {} is not whole ({error})", i + 1))
        };
        list.iter().enumerate().map(read).collect()
    };
    let found = match value["format"].as_str() {
        Some("efficient-ai-runs" | "efficient-ai-report") => {
            match value["version"].as_u64() {
                Some(VERSION) => {}
                Some(newer) if newer > VERSION => {
                    return Err("a newer edition of the book saved it; take the newer command line".to_owned());
                }
                _ => return Err("it does not say its version".to_owned()),
            }
            let answers: Vec<Answer> = Vec::deserialize(&value["answers"]).unwrap_or_default();
            let given: Vec<bool> = answers.iter().filter_map(|answer| answer.right).collect();
            HandedIn {
                student: value["student"].as_str().unwrap_or_default().trim().to_owned(),
                guesses: value["guesses"].as_array().map_or(0, Vec::len),
                answers: [given.len(), given.iter().filter(|right| **right).count()],
                runs: runs(&value["runs"])?,
            }
        }
        Some(other) => return Err(format!("“{other}” is no file of runs or report of this book")),
        None if value.get("metrics").is_some() => {
            let record = Said::deserialize(&value).map_err(|error| format!("the record is not whole ({error})"))?;
            HandedIn { runs: vec![Run { id: String::new(), record }], ..HandedIn::default() }
        }
        None => {
            return Err("it is neither saved from a page's list of runs or report, nor what `--json` prints".to_owned());
        }
    };
    if found.runs.is_empty() { Err("it holds no run".to_owned()) } else { Ok(found) }
}

/// The seed that a page derives from a student's name or number, so that each report is its own: FNV-1a of what was written,
/// without case and outer spaces, below a million. `site/js/report.js` has the same.
pub(crate) fn own_seed(student: &str) -> u64 {
    let hash = student
        .trim()
        .to_lowercase()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u64::from(hash % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{"id":"a1","at":"x","query":"","record":{"lab":"levels","params":{"bits":3},"seed":7,"metrics":[{"id":"m","value":1.5,"kind":"exact","label":"M"}]}}"#;

    #[test]
    fn all_three_kinds_of_file_are_read() {
        let runs = parse(&format!(r#"{{"format":"efficient-ai-runs","version":1,"lab":"levels","runs":[{RUN}]}}"#));
        let runs = runs.expect("a list");
        assert_eq!((runs.runs[0].id.as_str(), runs.runs[0].record.seed), ("a1", 7));
        let report = parse(&format!(
            r#"{{"format":"efficient-ai-report","version":1,"student":" Ann 12 ","guesses":[{{}}],"answers":[{{"right":true}},{{"right":false}},{{"right":null}}],"runs":[{RUN}]}}"#
        ))
        .expect("a report");
        assert_eq!((report.student.as_str(), report.guesses, report.answers), ("Ann 12", 1, [2, 1]));
        let record = parse(r#"{"lab":"levels","params":{},"seed":0,"environment":{},"metrics":[]}"#).expect("a record");
        assert_eq!(record.runs.len(), 1);
    }

    #[test]
    fn what_is_not_ours_is_refused_in_words() {
        let why = |text: &str| parse(text).expect_err("refused");
        assert!(why("{").contains("cut off"));
        assert!(why("{}").contains("neither"));
        assert!(why(r#"{"format":"other","version":1}"#).contains("“other”"));
        assert!(why(r#"{"format":"efficient-ai-runs","version":2,"runs":[]}"#).contains("newer"));
        assert!(why(r#"{"format":"efficient-ai-runs","runs":[]}"#).contains("version"));
        assert!(why(r#"{"format":"efficient-ai-runs","version":1,"runs":[]}"#).contains("no run"));
        assert!(why(r#"{"format":"efficient-ai-runs","version":1,"runs":{}}"#).contains("no list"));
        assert!(why(r#"{"format":"efficient-ai-runs","version":1,"runs":[{"id":"a"}]}"#).contains("run 1"));
    }

    #[test]
    fn a_seed_follows_from_a_name_however_it_is_written() {
        assert_eq!(own_seed(" S1234 "), own_seed("s1234"));
        assert_ne!(own_seed("s1234"), own_seed("s1235"));
        // FNV-1a of nothing is its offset: 2,166,136,261.
        assert_eq!(own_seed(""), 136_261);
        assert_eq!(own_seed("a"), u64::from(0xe40c_292c_u32 % 1_000_000));
    }
}
