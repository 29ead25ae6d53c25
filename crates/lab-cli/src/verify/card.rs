//! One card: what it says, what came out here, and what speaks against it.

use std::path::Path;

use lab_api::{Cell, Kind, Report, RunRecord, value_text};
use serde_json::Value;

use super::{ALL_ROUND, EVENTS, LAB, noise::Noise};
use crate::{
    compared::Compared,
    handed_in::{self, HandedIn, Said},
};

/// A card and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Card {
    /// The file's name.
    pub(super) file: String,
    /// Who hands it in; the file's name without its ending where nobody is named.
    pub(super) author: String,
    /// Where it says it ran.
    pub(super) machine: String,
    /// The entry that it says was run, or why there is none.
    pub(super) said: Result<Said, String>,
    /// What came out here.
    pub(super) here: Option<Here>,
    /// What speaks against it, all of it.
    pub(super) findings: Vec<String>,
    /// What to know, and does not speak against it.
    pub(super) remarks: Vec<String>,
    /// Place within its division, of those that hold, where the machine is quiet enough.
    pub(super) rank: Option<usize>,
}

/// What came out here.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Here {
    pub(super) steps: String,
    pub(super) division: String,
    /// What an entry competes with: subject, division, workload, floor.
    pub(super) class: String,
    /// Upper end of the interval of what quality was lost, and the most that may be, in per cent.
    pub(super) gate: Option<[f64; 2]>,
    /// By event.
    pub(super) ratios: [Option<f64>; 5],
    pub(super) measured: [bool; 5],
    pub(super) all_round: Option<f64>,
}

impl Card {
    /// Reads a file; of several runs of the lab the last counts.
    pub(super) fn read(path: &Path) -> Self {
        Self::of(path, handed_in::read(path).map_err(|problem| problem.to_string().replacen("error: ", "", 1)))
    }

    pub(super) fn of(path: &Path, read: Result<HandedIn, String>) -> Self {
        let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let mut card = Self {
            file: name(path.file_name()),
            author: name(path.file_stem()),
            machine: String::new(),
            said: Err(String::new()),
            here: None,
            findings: Vec::new(),
            remarks: Vec::new(),
            rank: None,
        };
        let file = match read {
            Ok(file) => file,
            Err(why) => {
                // The path is said already.
                let why = why.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&why).to_owned();
                card.findings.push(why.clone());
                return Self { said: Err(why), ..card };
            }
        };
        if !file.student.is_empty() {
            card.author.clone_from(&file.student);
        }
        let entries: Vec<&Said> = file.runs.iter().map(|run| &run.record).filter(|said| said.lab == LAB).collect();
        card.said = match entries.split_last() {
            Some((last, earlier)) => {
                if !earlier.is_empty() {
                    card.remarks.push(format!("the last of {} entries", entries.len()));
                }
                card.machine = machine(&last.environment);
                Ok((*last).clone())
            }
            None => {
                let mut labs: Vec<&str> = file.runs.iter().map(|run| run.record.lab.as_str()).collect();
                labs.sort_unstable();
                labs.dedup();
                let why = format!("it holds no run of “{LAB}”, but of {}", labs.join(", "));
                card.findings.push(why.clone());
                Err(why)
            }
        };
        card
    }

    /// Whether it came out as it says, and may stand among others.
    pub(super) fn holds(&self) -> bool {
        self.here.is_some() && self.findings.is_empty()
    }
}

/// Device, platform and cores in words; empty where a file does not say.
fn machine(environment: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut words = vec![text(&environment["device"]["name"]), text(&environment["platform"])];
    words.extend(environment["cores"].as_u64().map(|cores| format!("{cores} cores")));
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

/// Holds a card against what came out here.
pub(super) fn judge(card: &mut Card, said: &Said, repeated: Result<(Vec<Compared>, RunRecord), String>) {
    let (compared, record) = match repeated {
        Ok(repeated) => repeated,
        Err(why) => {
            card.findings.push(format!("it cannot be repeated: {why}"));
            return;
        }
    };
    for number in compared.iter().filter(|number| !number.agrees) {
        card.findings.push(match number.now {
            Some(now) => format!("{}: the card says {}, here {now}", number.id, number.said),
            None => format!("{}: the lab reports no such number; is the card of another edition?", number.id),
        });
    }
    for metric in record.report.metrics.iter().filter(|metric| metric.kind != Kind::Measured) {
        if said.number(&metric.id).is_none() {
            card.findings.push(format!("{}: missing from the card, {} here", metric.id, metric.value));
        }
    }
    let here = Here::of(&record);
    if let Some([upper, floor]) = here.gate.filter(|[upper, floor]| upper > floor) {
        card.findings
            .push(format!("quality: it may have lost {upper:.2}, and {floor} is the most (per cent, or points)"));
    }
    card.findings.extend(violations(&record.report));
    let version = said.environment["engine_version"].as_str().unwrap_or_default();
    if !version.is_empty() && version != record.environment.engine_version {
        card.remarks.push(format!("made by edition {version}, repeated by {}", record.environment.engine_version));
    }
    card.here = Some(here);
}

impl Here {
    fn of(record: &RunRecord) -> Self {
        let number = |id: &str| record.report.metric(id).map(|metric| metric.value);
        let param = |name: &str| record.params.get(name).map(value_text).unwrap_or_default();
        let measured = |id: &str| record.report.metric(id).is_some_and(|metric| metric.kind == Kind::Measured);
        Self {
            steps: stated(&record.report, "Steps"),
            division: param("division"),
            // A floor or a workload of another kind is another competition.
            class: ["subject", "division", "workload", "floor"].map(param).join(" "),
            gate: number("gate_upper").zip(number("floor")).map(|(upper, floor)| [upper, floor]),
            ratios: EVENTS.map(|(_, id)| number(id)),
            measured: EVENTS.map(|(_, id)| measured(id)),
            all_round: number(ALL_ROUND),
        }
    }
}

/// What the lab's own table, the card, states under this head; nothing where it has none.
pub(crate) fn stated(report: &Report, head: &str) -> String {
    let rows = report.tables.iter().filter(|table| table.id == "card").flat_map(|table| &table.rows);
    let mut found = rows.filter_map(|row| match row.as_slice() {
        [Cell::Text(what), Cell::Text(words)] if what == head => Some(words.clone()),
        _ => None,
    });
    found.next().unwrap_or_default()
}

/// What the lab's own checker found.
fn violations(report: &Report) -> Vec<String> {
    let found = stated(report, "Violations found");
    if found.is_empty() || found == "none" { Vec::new() } else { vec![format!("violates its division: {found}")] }
}

/// Places within each subject, division, workload and floor, of the cards that hold, by what was measured here. Entries closer than the machine can tell
/// apart share one. Where one entry differs from itself too much, nobody has a place.
pub(super) fn rank(cards: &mut [Card], noise: &Noise) {
    let quiet = |here: &Here| {
        EVENTS
            .iter()
            .zip(here.measured)
            .all(|((_, id), measured)| noise.is_quiet(id, if measured { Kind::Measured } else { Kind::Exact }))
    };
    let score =
        |card: &Card| card.here.as_ref().filter(|here| card.holds() && quiet(here)).and_then(|here| here.all_round);
    let mut order: Vec<(usize, f64)> =
        cards.iter().enumerate().filter_map(|(i, card)| Some((i, score(card)?))).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let class = |cards: &[Card], i: usize| cards[i].here.as_ref().map(|here| here.class.clone());
    let mut before: Vec<(usize, f64)> = Vec::new();
    for (i, score) in order {
        let own = class(cards, i);
        let rivals: Vec<(usize, f64)> = before.iter().copied().filter(|(j, _)| class(cards, *j) == own).collect();
        let place = rivals.len() + 1;
        let shared = rivals.last().filter(|(j, _)| {
            let best = rivals.iter().find(|(k, _)| cards[*k].rank == cards[*j].rank).map_or(score, |(_, score)| *score);
            best / score < 1.0 + noise.worst()
        });
        cards[i].rank = shared.map_or(Some(place), |(j, _)| cards[*j].rank);
        before.push((i, score));
    }
}
