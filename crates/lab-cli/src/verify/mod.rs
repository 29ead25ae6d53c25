//! `verify`: score cards of the Efficiency Olympics, repeated on one machine and ranked.
//!
//! A card is a file of runs as a page saves it. It can be edited, so that nothing in it is believed: each entry is run again, its exact
//! numbers must come out as the card says, and what is ranked was measured here, all on this machine.

mod card;
mod noise;
mod show;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use lab_api::DeviceChoice;

use crate::{Problem, again::Repeater, handed_in};
pub(crate) use card::stated;
use card::{Card, judge};
use noise::Noise;

/// The lab whose cards these are.
const LAB: &str = "olympics";

/// Events: the words of a table's head, and the metric. More is better in all of them.
const EVENTS: [(&str, &str); 5] = [
    ("File", "ratio_file"),
    ("Latency", "ratio_latency"),
    ("Throughput", "ratio_throughput"),
    ("Memory", "ratio_memory"),
    ("Energy", "ratio_energy"),
];

/// All events in one number.
const ALL_ROUND: &str = "all_round";

/// How far an entry may seem to differ from itself before nothing is ranked.
const MOST_NOISE: f64 = 0.05;

/// Arguments of `verify`.
#[derive(clap::Args, Debug, Clone)]
pub struct VerifyOptions {
    /// Score cards (files of runs, `.json`), or folders of them.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Write the table here too, for a spreadsheet.
    #[arg(long, value_name = "FILE.csv")]
    pub out: Option<PathBuf>,
}

/// Repeats score cards, says which hold, and ranks those by what was measured here.
///
/// # Errors
/// [`Problem::Input`] for a folder without cards or a place that cannot be written, [`Problem::Failure`] when a card does not hold.
pub fn verify(root: &Path, options: &VerifyOptions) -> Result<(), Problem> {
    if let Some(path) = &options.out {
        // Minutes of runs are not to be lost at the end.
        std::fs::write(path, "")
            .map_err(|error| Problem::Input(format!("{} cannot be written ({error})", path.display())))?;
    }
    let mut paths = Vec::new();
    for path in &options.files {
        if path.is_dir() { paths.extend(handed_in::files(path)?) } else { paths.push(path.clone()) }
    }
    let mut cards: Vec<Card> = paths.iter().map(|path| Card::read(path)).collect();
    let mut repeater = Repeater::new(root, DeviceChoice::Cpu)?;
    let noise = cards.iter().filter_map(|card| card.said.as_ref().ok()).find_map(|said| {
        eprintln!("One entry against itself, three runs");
        Noise::measure(|| repeater.run(said)).ok()
    });
    for card in &mut cards {
        eprintln!("{}", card.file);
        if let Ok(said) = card.said.clone() {
            let compared = repeater.repeat(&said);
            let record = repeater.record(&said).cloned();
            judge(card, &said, compared.and_then(|compared| Ok((compared, record?))));
        }
    }
    let noise = noise.unwrap_or_default();
    card::rank(&mut cards, &noise);
    print!("{}", show::text(&cards, &noise));
    if let Some(path) = &options.out {
        std::fs::write(path, show::table_for_spreadsheet(&cards))
            .map_err(|error| Problem::Input(format!("{} cannot be written ({error})", path.display())))?;
    }
    match cards.iter().filter(|card| !card.holds()).count() {
        0 => Ok(()),
        failed => Err(Problem::Failure(format!("{failed} of {} cards do not hold; the table says why", cards.len()))),
    }
}
