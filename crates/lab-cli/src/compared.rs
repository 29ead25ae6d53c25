//! What a file says came out, beside what comes out here.

use std::collections::BTreeMap;

use lab_api::{Kind, Report};

use crate::handed_in::Said;

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

/// Number by number. `tolerances` are those that the lab's reference knows: how far the trained ones spread over its seeds.
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

#[cfg(test)]
mod tests {
    use lab_api::{Family, Metric, Values};
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
        let said = Said {
            lab: "levels".into(),
            params: Values::new(),
            seed: 0,
            metrics,
            environment: serde_json::Value::Null,
        };
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
