//! `grade`: a class's reports, repeated.

use std::path::{Path, PathBuf};

use lab_api::{DeviceChoice, Kind};

use crate::{
    Problem,
    again::Repeater,
    compared::Compared,
    handed_in::{self, HandedIn, Said, own_seed},
    output,
};

/// Arguments of `grade`.
#[derive(clap::Args, Debug, Clone)]
pub struct GradeOptions {
    /// The folder of reports (files of runs, `.json`), one a student.
    pub folder: PathBuf,
    /// Where the table goes; printed without it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How many runs of each file are repeated: the last ones.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
}

/// One line of the table.
#[derive(Debug, Default)]
struct Line {
    file: String,
    student: String,
    labs: String,
    own_seed: &'static str,
    repeated: usize,
    numbers: [usize; 2],
    altered: String,
    trained_apart: String,
    copied_from: String,
    guesses: usize,
    answers: [usize; 2],
    note: String,
}

/// Repeats the reports of a class, compares their exact and trained numbers, marks what was altered or copied, and writes a table.
///
/// # Errors
/// [`Problem::Input`] for a folder without reports or a place that cannot be written.
pub fn grade(root: &Path, options: &GradeOptions) -> Result<(), Problem> {
    let paths = handed_in::files(&options.folder)?;
    let files: Vec<(String, Result<HandedIn, Problem>)> = paths
        .iter()
        .map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), handed_in::read(path)))
        .collect();
    let mut repeater = Repeater::new(root, DeviceChoice::Cpu)?;
    let mut lines = Vec::new();
    for (i, (name, file)) in files.iter().enumerate() {
        eprintln!("{name}");
        let mut line = Line { file: name.clone(), ..Line::default() };
        match file {
            Ok(file) => {
                judge(file, usize::try_from(options.runs).unwrap_or(usize::MAX), &mut repeater, &mut line);
                let earlier = files[..i].iter().filter_map(|(name, file)| Some((name, file.as_ref().ok()?)));
                line.copied_from = copies(file, earlier).unwrap_or_default();
            }
            Err(problem) => line.note = problem.to_string().replacen("error: ", "", 1),
        }
        lines.push(line);
    }
    let table = csv(&lines);
    match &options.out {
        Some(path) => std::fs::write(path, table)
            .map_err(|error| Problem::Input(format!("{} cannot be written ({error})", path.display())))?,
        None => print!("{table}"),
    }
    Ok(())
}

fn judge(file: &HandedIn, most: usize, repeater: &mut Repeater, line: &mut Line) {
    line.student.clone_from(&file.student);
    line.guesses = file.guesses;
    line.answers = file.answers;
    let runs = &file.runs[file.runs.len().saturating_sub(most)..];
    let mut labs: Vec<&str> = runs.iter().map(|run| run.record.lab.as_str()).collect();
    labs.dedup();
    line.labs = labs.join(" ");
    line.own_seed = match (file.student.is_empty(), runs.iter().any(|run| run.record.seed == own_seed(&file.student))) {
        (true, _) => "",
        (false, true) => "yes",
        (false, false) => "no",
    };
    let mut altered = [Vec::new(), Vec::new()];
    let mut notes = Vec::new();
    for run in runs {
        match repeater.repeat(&run.record) {
            Ok(numbers) => {
                line.repeated += 1;
                let fixed: Vec<&Compared> = numbers.iter().filter(|number| number.kind != Kind::Measured).collect();
                line.numbers[0] += fixed.len();
                line.numbers[1] += fixed.iter().filter(|number| number.agrees).count();
                for number in numbers.iter().filter(|number| !number.agrees) {
                    altered[usize::from(number.kind == Kind::Trained)].push(number.id.clone());
                }
            }
            Err(why) => notes.push(why),
        }
    }
    // A training at another setting than the lab's default may spread further than its reference knows: told, not accused.
    [line.altered, line.trained_apart] = altered.map(|mut names| {
        names.sort();
        names.dedup();
        names.join(" ")
    });
    notes.dedup();
    line.note = notes.join("; ");
}

/// The file that has the same run: its mark, or all its measured numbers to the last digit, which no two runs share.
fn copies<'a>(file: &HandedIn, earlier: impl Iterator<Item = (&'a String, &'a HandedIn)>) -> Option<String> {
    let measured = |said: &Said| -> Vec<u64> {
        let all = said.metrics.iter().filter(|number| number.kind == Kind::Measured && number.value.fract() != 0.0);
        all.map(|number| number.value.to_bits()).collect()
    };
    for (name, other) in earlier {
        for run in &file.runs {
            let own = measured(&run.record);
            let same = other.runs.iter().any(|twin| {
                (!run.id.is_empty() && run.id == twin.id)
                    || (own.len() > 1 && run.record.lab == twin.record.lab && own == measured(&twin.record))
            });
            if same {
                return Some(name.clone());
            }
        }
    }
    None
}

fn csv(lines: &[Line]) -> String {
    let heads = [
        "file",
        "student",
        "labs",
        "own_seed",
        "runs_repeated",
        "numbers_compared",
        "numbers_agree",
        "altered",
        "trained_apart",
        "copied_from",
        "guesses",
        "questions_answered",
        "questions_right",
        "note",
    ];
    let row = |line: &Line| {
        [
            line.file.clone(),
            line.student.clone(),
            line.labs.clone(),
            line.own_seed.to_owned(),
            line.repeated.to_string(),
            line.numbers[0].to_string(),
            line.numbers[1].to_string(),
            line.altered.clone(),
            line.trained_apart.clone(),
            line.copied_from.clone(),
            line.guesses.to_string(),
            line.answers[0].to_string(),
            line.answers[1].to_string(),
            line.note.clone(),
        ]
        .to_vec()
    };
    output::csv(&heads.map(str::to_owned), &lines.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use lab_api::Values;

    use super::*;
    use crate::handed_in::{Number, Run};

    fn said(numbers: &[(&str, f64, Kind)]) -> Said {
        let metrics = numbers.iter().map(|&(id, value, kind)| Number { id: id.into(), value, kind }).collect();
        Said { lab: "levels".into(), params: Values::new(), seed: 0, metrics, environment: serde_json::Value::Null }
    }

    fn file(id: &str, numbers: &[(&str, f64, Kind)]) -> HandedIn {
        HandedIn { runs: vec![Run { id: id.into(), record: said(numbers) }], ..HandedIn::default() }
    }

    #[test]
    fn a_copy_is_known_by_its_mark_or_by_times_that_no_two_runs_share() {
        let first = file("a", &[("x", 1.0, Kind::Exact), ("t", 1.234, Kind::Measured), ("u", 5.678, Kind::Measured)]);
        let name = "ann.json".to_owned();
        let found = |other: &HandedIn| copies(other, [(&name, &first)].into_iter());
        assert_eq!(found(&file("a", &[])).as_deref(), Some("ann.json"));
        let same_times = file("b", &[("t", 1.234, Kind::Measured), ("u", 5.678, Kind::Measured)]);
        assert_eq!(found(&same_times).as_deref(), Some("ann.json"));
        // One time may be shared by chance, an exact number must be.
        assert_eq!(found(&file("b", &[("t", 1.234, Kind::Measured), ("x", 1.0, Kind::Exact)])), None);
    }

    #[test]
    fn a_table_keeps_what_students_write_from_being_a_formula() {
        let line = Line { student: "=HYPERLINK(\"a\")".into(), note: "a, b".into(), ..Line::default() };
        let table = csv(&[line]);
        assert!(table.contains("\"'=HYPERLINK(\"\"a\"\")\"") && table.contains("\"a, b\""), "{table}");
        assert!(table.lines().all(|line| !line.is_empty()));
    }
}
