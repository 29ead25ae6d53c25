//! Time against users, and the terms of the bound.

use lab_api::{Axis, Cell, Chart, ChartBody, Series, Table};
use lab_kit::measure::limits::{Machine, RATES, Served, Verdict, bound_by};

/// Users that the curve shows.
const USERS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What each limit alone would take, for more and more users.
pub(super) fn users(machine: &Machine, served: &Served) -> Chart {
    let verdicts = USERS.map(|users| bound_by(machine, &Served { users, ..*served }.decode()));
    let of = |name: &str, term: usize| Series {
        name: name.into(),
        points: USERS.iter().zip(&verdicts).map(|(users, verdict)| [*users, 1e3 * verdict.seconds[term]]).collect(),
        band: vec![],
    };
    let mut series = vec![of("Arithmetic", 0), of("Bytes", 1)];
    if machine.launch_seconds > 0.0 && served.launches > 0.0 {
        series.push(of("Overhead", 3));
    }
    let fit = served.users_that_fit(machine, 0.0);
    if (1.0..=1024.0).contains(&fit) {
        let ends = series.iter().flat_map(|series| series.points.iter().map(|point| point[1]));
        let (low, high) = ends.fold((f64::INFINITY, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
        series.push(Series { name: "Memory is full".into(), points: vec![[fit, low], [fit, high]], band: vec![] });
    }
    Chart {
        id: "users".into(),
        title: "What binds as users come?".into(),
        caption: "Time of a step in which every user gets one token, by each limit alone: the highest line is the bound. Bytes begin with the weights, which all users share, and rise with the state that each of them brings.".into(),
        x: Axis::log("Users at once"),
        y: Axis::log("Time of a step (ms)"),
        body: ChartBody::Line { series },
    }
}

/// The four terms.
pub(super) fn terms(verdict: &Verdict) -> Table {
    let row = |(limit, seconds): (&lab_kit::measure::limits::Limit, &f64)| {
        let share = 100.0 * seconds / verdict.bound_seconds();
        vec![Cell::from(limit.name()), Cell::from(1e3 * seconds), Cell::from(share)]
    };
    Table {
        id: "terms".into(),
        title: "What each limit alone would take".into(),
        columns: ["Limit", "Time (ms)", "Share of the longest (%)"].map(str::to_owned).to_vec(),
        rows: RATES.iter().zip(&verdict.seconds).filter(|(_, seconds)| **seconds > 0.0).map(row).collect(),
    }
}
