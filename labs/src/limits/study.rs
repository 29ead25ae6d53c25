//! Llama 3 8B on every device, for one user and many, as it is and with fewer bits: the tables of the chapter.

use lab_api::{Cell, Family, Metric, Report, Table};
use lab_kit::{
    measure::limits::{Limit, balance, bound_by},
    report::{MetricExt, metric},
};

use super::{
    Params,
    presets::{Bits, Device},
};

const SAME: &str = "divisions of the same numbers";

pub(super) fn run() -> Report {
    let mut report = Report::default();
    let number = |family: Family, id: String, label: &str, value: f64, unit: &str| -> Metric {
        metric(family, &id, label, value, unit).exact(1e-6 * value.abs(), SAME)
    };
    for (id, users, weights, cache) in [
        ("1", 1, Bits::Sixteen, Bits::Sixteen),
        ("8", 8, Bits::Sixteen, Bits::Sixteen),
        ("64", 64, Bits::Sixteen, Bits::Sixteen),
        ("128", 128, Bits::Sixteen, Bits::Sixteen),
        ("200", 200, Bits::Sixteen, Bits::Sixteen),
        ("1_packed", 1, Bits::Four, Bits::Eight),
        ("64_packed", 64, Bits::Four, Bits::Eight),
        ("128_packed", 128, Bits::Four, Bits::Eight),
    ] {
        let params = Params { users, weights, cache, ..Params::default() };
        let (machine, served) = (params.machine(), params.served());
        let verdict = bound_by(&machine, &served.decode());
        let words = format!("{users} users, weights in {} bits, cache in {}", weights.bits(), cache.bits());
        report.metrics.extend([
            number(
                Family::Memory,
                format!("gb_{id}"),
                &format!("Bytes a step: {words}"),
                served.decode().bytes * 1e-9,
                "GB",
            ),
            number(
                Family::Time,
                format!("bytes_ms_{id}"),
                &format!("Bytes alone: {words}"),
                1e3 * verdict.seconds[1],
                "ms",
            ),
            number(
                Family::Time,
                format!("arithmetic_ms_{id}"),
                &format!("Arithmetic alone: {words}"),
                1e3 * verdict.seconds[0],
                "ms",
            ),
            number(
                Family::Scale,
                format!("tokens_{id}"),
                &format!("Tokens per second: {words}"),
                served.users / verdict.bound_seconds(),
                "tokens/s",
            )
            .higher(),
            number(
                Family::Memory,
                format!("fit_{id}"),
                &format!("Users that fit: {words}"),
                served.users_that_fit(&machine, 0.0),
                "",
            )
            .higher(),
        ]);
    }
    let mut rows = Vec::new();
    for device in Device::ALL {
        let params = Params { machine: device, users: 1, weights: Bits::Four, cache: Bits::Eight, ..Params::default() };
        let (machine, served) = (params.machine(), params.served());
        let verdict = bound_by(&machine, &served.decode());
        let rate = if verdict.limit == Limit::Capacity { 0.0 } else { 1.0 / verdict.bound_seconds() };
        rows.push(vec![
            Cell::from(device.name()),
            Cell::from(balance(&machine)),
            Cell::from(verdict.limit.name()),
            Cell::from(rate),
            Cell::from(served.users_that_fit(&machine, 0.0)),
        ]);
    }
    report.tables.push(Table {
        id: "devices".into(),
        title: "Llama 3 8B in 4 bits, one user, 2,048 tokens of context".into(),
        columns: ["Device", "Balance (FLOP/byte)", "Limit", "Tokens per second", "Users that fit"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    });
    report
}
