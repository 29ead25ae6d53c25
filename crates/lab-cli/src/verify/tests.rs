//! Made-up cards: honest, altered, of another edition, damaged.

use std::{collections::BTreeMap, path::Path};

use lab_api::{
    Better, Cell, DeviceInfo, DeviceKind, Environment, Family, Interval, Kind, Metric, Report, RunRecord, Table,
    Tolerance, Values,
};
use serde_json::{Value, json};

use super::{
    card::{Card, judge, rank},
    noise::Noise,
    show,
};
use crate::compared::compare;

/// What the lab gives here for an entry of this all-round score.
fn record(score: f64, change: impl Fn(&mut RunRecord)) -> RunRecord {
    let metric = |id: &str, value: f64, kind: Kind| Metric {
        id: id.into(),
        label: id.into(),
        value,
        unit: String::new(),
        better: Better::Neutral,
        kind,
        family: Family::Quality,
        baseline: None,
        interval: None,
        tolerance: (kind == Kind::Exact).then(|| Tolerance { absolute: 1e-6, why: "sums".into() }),
        samples: if kind == Kind::Measured { vec![value, value * 1.01, value * 0.99, value] } else { Vec::new() },
        help: String::new(),
        detail: false,
    };
    let metrics = vec![
        metric("ratio_file", 7.6, Kind::Exact),
        metric("ratio_latency", score, Kind::Measured),
        metric("ratio_throughput", 2.0, Kind::Measured),
        metric("ratio_memory", 5.0, Kind::Exact),
        metric("ratio_energy", score, Kind::Measured),
        metric("all_round", score, Kind::Measured),
        metric("gate_upper", 0.62, Kind::Exact),
        metric("floor", 1.0, Kind::Exact),
        metric("tokens", 96.0, Kind::Exact),
    ];
    let device = DeviceInfo {
        kind: DeviceKind::Cpu,
        name: "CPU".into(),
        vendor: String::new(),
        software_adapter: false,
        architecture: String::new(),
    };
    let environment = Environment {
        device,
        host: "native".into(),
        platform: "linux x86_64".into(),
        cores: 2,
        engine_version: "0.1.0".into(),
        clock_step_ms: 0.001,
    };
    let params = [("subject", "language"), ("division", "closed"), ("step_1", "int4"), ("step_2", "cache")];
    let params: Values = params.map(|(name, value)| (name.to_owned(), value.into())).into();
    let row = |what: &str, words: &str| vec![Cell::Text(what.into()), Cell::Text(words.into())];
    let card = Table {
        id: "card".into(),
        title: "The card".into(),
        columns: vec!["Entry".into(), "Stated".into()],
        rows: vec![row("Steps", "quantize:4,channel>cache:32"), row("Violations found", "none")],
    };
    let report = Report { metrics, tables: vec![card], ..Report::default() };
    let mut record = RunRecord { lab: "olympics".into(), params, seed: 0, environment, report };
    change(&mut record);
    record
}

/// A file as a page saves it, of a run that came out as `record`, with changes by hand.
fn file(folder: &Path, name: &str, record: &RunRecord, change: impl Fn(&mut Value)) -> Card {
    let mut value = json!({ "format": "efficient-ai-report", "version": 1, "student": name, "runs": [{ "id": name, "record": record }] });
    change(&mut value);
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, value.to_string()).expect("written");
    Card::read(&path)
}

/// The card, held against what comes out here.
fn judged(mut card: Card, here: &RunRecord) -> Card {
    if let Ok(said) = card.said.clone() {
        let compared = compare(&said, &here.report, &BTreeMap::new());
        judge(&mut card, &said, Ok((compared, here.clone())));
    }
    card
}

fn quiet() -> Noise {
    let near = Interval { low: 0.99, high: 1.01, level: 0.95 };
    Noise { events: ["ratio_latency", "ratio_throughput", "ratio_energy"].map(|id| (id, near)).to_vec() }
}

#[test]
fn every_way_to_be_wrong_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = record(10.0, |_| {});
    let card = |name: &str, change: &dyn Fn(&mut Value)| judged(file(folder.path(), name, &here, change), &here);
    let honest = card("honest", &|_| {});
    assert!(
        honest.holds() && honest.author == "honest" && honest.machine == "CPU, linux x86_64, 2 cores",
        "{honest:?}"
    );
    let steps = honest.here.as_ref().map(|here| here.steps.as_str());
    assert_eq!(steps, Some("quantize:4,channel>cache:32"));
    let metric = |i: usize| move |file: &mut Value| file["runs"][0]["record"]["metrics"][i]["value"] = 99.0.into();
    for (name, change, word) in [
        ("altered", &metric(0) as &dyn Fn(&mut Value), "ratio_file: the card says 99, here 7.6"),
        ("fewer-tokens", &metric(8), "tokens: the card says 99, here 96"),
        (
            "without-tokens",
            &|file| drop(file["runs"][0]["record"]["metrics"].as_array_mut().map(|metrics| metrics.pop())),
            "tokens: missing from the card, 96 here",
        ),
        (
            "other-edition",
            &|file| file["runs"][0]["record"]["metrics"][8]["id"] = "tokens_written".into(),
            "tokens_written: the lab reports no such number; is the card of another edition?",
        ),
        ("newer", &|file| file["version"] = 2.into(), "newer edition"),
        (
            "wrong-lab",
            &|file| file["runs"][0]["record"]["lab"] = "levels".into(),
            "no run of “olympics”, but of levels",
        ),
        ("no-runs", &|file| file["runs"] = json!([]), "no run"),
        ("half", &|file| file["runs"][0]["record"]["seed"] = "x".into(), "run 1 is not whole"),
        ("foreign", &|file| *file = json!({ "a": 1 }), "neither saved"),
    ] {
        let card = card(name, change);
        assert!(!card.holds() && card.findings.iter().any(|why| why.contains(word)), "{name}: {:?}", card.findings);
    }
    // A time that was improved by hand moves nothing: what is ranked was measured here.
    let faster = card("faster", &metric(1));
    assert!(faster.holds() && faster.here.as_ref().map(|here| here.ratios[1]) == Some(Some(10.0)));
    // Of an old edition whose numbers still come out: told, and it holds.
    let old = card("old", &|file| file["runs"][0]["record"]["environment"]["engine_version"] = "0.0.9".into());
    assert!(old.holds() && old.remarks.iter().any(|what| what.contains("0.0.9")), "{:?}", old.remarks);
    // A file that says nothing of its machine.
    assert!(card("bare", &|file| file["runs"][0]["record"]["environment"] = Value::Null).holds());
}

#[test]
fn files_that_are_no_cards_are_named_and_never_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("text.json");
    std::fs::write(&path, "my entry is the best").expect("written");
    assert!(Card::read(&path).findings[0].starts_with("it is not JSON"), "{:?}", Card::read(&path).findings);
    let large = folder.path().join("large.json");
    std::fs::File::create(&large).and_then(|file| file.set_len(50_000_000)).expect("written");
    assert!(Card::read(&large).findings[0].contains("larger than any file of runs"));
    assert!(Card::read(&folder.path().join("none.json")).findings[0].contains("cannot be read"));
    let mut failed = file(folder.path(), "failed", &record(1.0, |_| {}), |_| {});
    let said = failed.said.clone().expect("a card");
    judge(&mut failed, &said, Err("there is no step “quantise”; did you mean “quantize”?".into()));
    assert!(failed.findings[0].contains("cannot be repeated: there is no step"), "{:?}", failed.findings);
}

#[test]
fn who_passes_the_floor_is_shown_and_not_ranked() {
    let folder = tempfile::tempdir().expect("a folder");
    let lossy = record(30.0, |record| record.report.metrics[6].value = 1.25);
    let mut cards = vec![
        judged(file(folder.path(), "lossy", &lossy, |_| {}), &lossy),
        judged(file(folder.path(), "sound", &record(3.0, |_| {}), |_| {}), &record(3.0, |_| {})),
    ];
    rank(&mut cards, &quiet());
    assert_eq!([cards[0].rank, cards[1].rank], [None, Some(1)]);
    let open =
        record(30.0, |record| record.report.tables[0].rows[1][1] = Cell::Text("“student” belongs elsewhere".into()));
    let broken = judged(file(folder.path(), "broken", &open, |_| {}), &open);
    assert!(broken.findings == ["violates its division: “student” belongs elsewhere"], "{:?}", broken.findings);
    let text = show::text(&cards, &quiet());
    assert!(text.contains("lossy.json: quality: it may have lost 1.25, and 1 is the most"), "{text}");
    assert!(text.contains("does not hold") && text.contains("30.00"), "{text}");
}

#[test]
fn places_are_given_within_a_division_and_shared_where_noise_decides() {
    let folder = tempfile::tempdir().expect("a folder");
    let card = |name: &str, score: f64, division: &str| {
        let here = record(score, |record| drop(record.params.insert("division".into(), division.into())));
        // What the card says of its own machine is worse.
        let said = record(score / 2.0, |record| record.params.clone_from(&here.params));
        judged(file(folder.path(), name, &said, |_| {}), &here)
    };
    let mut cards = vec![
        card("third", 4.0, "closed"),
        card("first", 9.0, "closed"),
        card("open", 20.0, "open"),
        card("near", 8.95, "closed"),
    ];
    rank(&mut cards, &quiet());
    assert_eq!(cards.iter().map(|card| card.rank).collect::<Vec<_>>(), [Some(3), Some(1), Some(1), Some(1)]);
    let text = show::text(&cards, &quiet());
    let own = text.split("As the cards say").nth(1).expect("own machines apart");
    assert!(own.contains("CPU, linux x86_64, 2 cores") && own.contains("4.50") && !own.contains("9.00"), "{text}");
    // One event that an entry does not win against itself, and nobody has a place.
    for bad in [Interval { low: 0.99, high: 1.06, level: 0.95 }, Interval { low: 0.94, high: 1.0, level: 0.95 }] {
        let mut noise = quiet();
        noise.events[0].1 = bad;
        cards.iter_mut().for_each(|card| card.rank = None);
        rank(&mut cards, &noise);
        assert!(cards.iter().all(|card| card.rank.is_none()));
        let text = show::text(&cards, &noise);
        assert!(text.contains("too noisy: nothing is ranked") && text.contains("not ranked"), "{text}");
    }
    // Nothing was measured twice.
    rank(&mut cards, &Noise::default());
    assert!(cards.iter().all(|card| card.rank.is_none()));
    assert!(show::text(&cards, &Noise::default()).contains("no entry could be run"));
}

#[test]
fn an_entry_against_itself_has_one_within_its_interval() {
    let (mut runs, mut warm) = (0, true);
    let noise = Noise::measure(|| {
        runs += 1;
        // The first run is slow, and does not count.
        let score = if std::mem::take(&mut warm) { 1.0 } else { 10.0 };
        Ok(record(score, |_| {}))
    });
    let noise = noise.expect("runs");
    assert_eq!((runs, noise.events.len()), (3, 3));
    assert!(noise.events.iter().all(|(_, interval)| interval.low <= 1.0 && interval.high >= 1.0), "{noise:?}");
    let mut drifting = 10.0;
    let noise = Noise::measure(|| {
        drifting *= 1.2;
        Ok(record(drifting, |_| {}))
    });
    assert!((noise.expect("runs").reach("ratio_latency") - 0.2).abs() < 0.03);
    assert!(Noise::measure(|| Err("no".into())).is_err());
}

#[test]
fn a_spreadsheet_gets_one_line_a_card_and_no_formula() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = record(10.0, |_| {});
    let cards = [
        judged(file(folder.path(), "a", &here, |file| file["student"] = "=1+1, \"x\"".into()), &here),
        file(folder.path(), "b", &here, |file| file["version"] = 9.into()),
    ];
    let table = show::table_for_spreadsheet(&cards);
    let lines: Vec<&str> = table.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("Author,File of the card,Steps,Division"), "{table}");
    assert!(
        lines[1].starts_with("\"'=1+1, \"\"x\"\"\",a.json,\"quantize:4,channel>cache:32\",closed,0.62,1.00,7.60,10.00"),
        "{table}"
    );
    assert!(lines[2].starts_with("b,b.json") && lines[2].contains(",no,") && lines[2].contains("newer"), "{table}");
}
