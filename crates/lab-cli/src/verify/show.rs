//! The tables of `verify`.

use std::fmt::Write as _;

use super::{ALL_ROUND, EVENTS, MOST_NOISE, card::Card, noise::Noise};
use crate::output;

/// Everything for the terminal: noise, what came out here, what speaks against cards, what they say of their own machines.
pub(super) fn text(cards: &[Card], noise: &Noise) -> String {
    let mut text = String::from("One entry against itself (1 without noise):\n");
    for (words, id) in EVENTS {
        if let Some((_, interval)) = noise.events.iter().find(|(event, _)| *event == id) {
            let verdict = if noise.reach(id) > MOST_NOISE { "too noisy: nothing is ranked" } else { "quiet enough" };
            let _ = writeln!(text, "  {words}: {:.3} to {:.3}, {verdict}", interval.low, interval.high);
        }
    }
    if noise.events.is_empty() {
        text += "  no entry could be run: nothing is ranked\n";
    }
    let (heads, rows) = table(cards);
    let _ = write!(text, "\nRepeated here:\n{}", output::table(&heads, &rows));
    if cards.iter().any(|card| !card.findings.is_empty() || !card.remarks.is_empty()) {
        text += "\nFindings:\n";
    }
    for card in cards {
        card.findings.iter().for_each(|why| _ = writeln!(text, "  {}: {why}", card.file));
        card.remarks.iter().for_each(|what| _ = writeln!(text, "  {}: ({what})", card.file));
    }
    text + &elsewhere(cards)
}

/// The same for a spreadsheet, findings in the last column.
pub(super) fn table_for_spreadsheet(cards: &[Card]) -> String {
    let (mut heads, mut rows) = table(cards);
    heads.extend(["Competition", "Holds", "Said all-round", "Said machine", "Findings"].map(str::to_owned));
    for (row, card) in rows.iter_mut().zip(cards) {
        let said = card.said.as_ref().ok().and_then(|said| said.number(ALL_ROUND));
        row.push(card.here.as_ref().map_or_else(String::new, |here| here.class.clone()));
        row.push(if card.holds() { "yes" } else { "no" }.to_owned());
        row.push(short(said));
        row.push(card.machine.clone());
        row.push([card.findings.as_slice(), &card.remarks].concat().join("; "));
    }
    output::csv(&heads, &rows)
}

fn table(cards: &[Card]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut heads =
        ["Author", "File of the card", "Steps", "Division", "Lost at most", "Floor"].map(str::to_owned).to_vec();
    heads.extend(EVENTS.map(|(words, _)| words.to_owned()));
    heads.extend(["All-round", "Place"].map(str::to_owned));
    let row = |card: &Card| {
        let here = card.here.clone().unwrap_or_default();
        let mut row = vec![card.author.clone(), card.file.clone(), here.steps, here.division];
        row.extend([short(here.gate.map(|gate| gate[0])), short(here.gate.map(|gate| gate[1]))]);
        row.extend(here.ratios.map(short));
        let place = match card.rank {
            Some(place) => place.to_string(),
            None if card.holds() => "not ranked".to_owned(),
            None => "does not hold".to_owned(),
        };
        row.extend([short(here.all_round), place]);
        row
    };
    (heads, cards.iter().map(row).collect())
}

/// What cards say of the machines that they were made on: their own ratios, apart from each other and from what was measured here.
fn elsewhere(cards: &[Card]) -> String {
    let mut machines: Vec<&str> =
        cards.iter().filter(|card| card.said.is_ok()).map(|card| card.machine.as_str()).collect();
    machines.sort_unstable();
    machines.dedup();
    let mut text = String::new();
    for machine in machines {
        let mut own: Vec<(f64, Vec<String>)> = Vec::new();
        for card in cards.iter().filter(|card| card.machine == machine) {
            let Ok(said) = &card.said else { continue };
            let score = said.number(ALL_ROUND);
            let mut row = vec![card.author.clone()];
            row.extend(EVENTS.map(|(_, id)| short(said.number(id))));
            row.push(short(score));
            own.push((score.unwrap_or(f64::NEG_INFINITY), row));
        }
        own.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut heads = vec!["Author".to_owned()];
        heads.extend(EVENTS.map(|(words, _)| words.to_owned()));
        heads.push("All-round".to_owned());
        let rows: Vec<Vec<String>> = own.into_iter().map(|(_, row)| row).collect();
        let named = if machine.is_empty() { "a machine that is not named" } else { machine };
        let _ = write!(text, "\nAs the cards say, on {named} (not checked; never compare with another machine):\n");
        text += &output::table(&heads, &rows);
    }
    text
}

fn short(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.2}"))
}
