//! The types of [`lab_api`] and of the page's data, field by field.

use lab_api::*;
use serde_json::Value;

use super::{Decode, Wrong, defaulted, member, optional, required};
use crate::data::{Bundle, Engines, LabData, Manifest};

impl Decode for Cell {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        value.as_f64().map_or_else(|| Self::Text(String::decode(value, wrong)), Self::Number)
    }
}

impl Decode for Box<RunRecord> {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        Self::new(RunRecord::decode(value, wrong))
    }
}

fn values(value: &Value, wrong: &mut Wrong) -> Values {
    let mut values = Values::new();
    match member(value, "params", wrong).as_object() {
        None => wrong.say("expected an object"),
        Some(object) => {
            for (name, value) in object {
                values.insert(name.clone(), value.clone());
            }
        }
    }
    values
}

/// Structs: required fields, then those with a default, then optional ones.
macro_rules! structs {
    ($($type:ident { $($field:ident),* ; $($default:ident),* ; $($option:ident),* })*) => {$(
        impl Decode for $type {
            fn decode(value: &Value, wrong: &mut Wrong) -> Self {
                Self {
                    $($field: required(value, stringify!($field), wrong),)*
                    $($default: defaulted(value, stringify!($default), wrong),)*
                    $($option: optional(value, stringify!($option), wrong),)*
                }
            }
        }
    )*};
}

structs! {
    AssetRef { name, path, sha256, size_bytes;; }
    Axis { label; scale; min, max }
    Series { name, points; band; }
    BarSeries { name, values; intervals; }
    StackSeries { name, values;; }
    Marker { at, label;; }
    Span { lane, start, end, label; colour; }
    Image { label, pixels; marked; }
    Token { text; colour; }
    Snapped { at, level; clipped; }
    GridLevel { at, code; zero; }
    Report { metrics; tables, charts, notes; }
    Metric { id, label, value, unit, better, kind, family; samples, help, detail; baseline, interval, tolerance }
    Interval { low, high, level;; }
    Tolerance { absolute, why;; }
    Table { id, title, columns, rows;; }
    Environment { device, host, platform, cores, engine_version, clock_step_ms;; }
    DeviceInfo { kind, name; vendor, architecture, software_adapter; }
    ChoiceOption { value, label; help; }
    Condition { param, is;; }
    BadParam { name, why;; }
    LabData { lab, title, params; assets, live; reference }
    Manifest { engines;; }
    Engines {;; cpu, gpu }
    Bundle { entry; gzip_bytes; }
}

/// Enums of words; an unknown one counts as the first.
macro_rules! words {
    ($($type:ident { $first:literal = $first_variant:ident $(, $word:literal = $variant:ident)* })*) => {$(
        impl Decode for $type {
            fn decode(value: &Value, wrong: &mut Wrong) -> Self {
                match value.as_str().unwrap_or_default() {
                    $($word => return Self::$variant,)*
                    $first => {}
                    _ => wrong.unknown(value),
                }
                Self::$first_variant
            }
        }
    )*};
}

words! {
    Scale { "linear" = Linear, "log" = Log }
    Better { "higher" = Higher, "lower" = Lower, "neutral" = Neutral }
    Kind { "exact" = Exact, "trained" = Trained, "measured" = Measured }
    Family {
        "time" = Time, "memory" = Memory, "quality" = Quality, "scale" = Scale, "utilization" = Utilization
    }
    DeviceKind { "cpu" = Cpu, "webgpu" = Webgpu }
}

/// Enums whose variant is named by a field beside those of the variant; an unknown one counts as `else`.
macro_rules! tagged {
    ($($type:ident by $tag:literal else $other:expr; { $($word:literal = $variant:ident {
        $($field:ident $(from $key:literal)?),* $(; $($default:ident),* ; $($option:ident),*)?
    })* $(| $tuple:literal = $inner:ident)? })*) => {$(
        impl Decode for $type {
            fn decode(value: &Value, wrong: &mut Wrong) -> Self {
                let tag = member(value, $tag, wrong);
                match tag.as_str().unwrap_or_default() {
                    $($word => Self::$variant {
                        $($field: required(value, tagged!(@ $field $($key)?), wrong),)*
                        $($($default: defaulted(value, stringify!($default), wrong),)*
                        $($option: optional(value, stringify!($option), wrong),)*)?
                    },)*
                    $($tuple => Self::$inner(Decode::decode(value, wrong)),)?
                    _ => {
                        wrong.unknown(tag);
                        $other
                    }
                }
            }
        }
    )*};
    (@ $field:ident) => { stringify!($field) };
    (@ $field:ident $key:literal) => { $key };
}

tagged! {
    ParamKind by "type" else Self::Bool { default: false }; {
        "bool" = Bool { default }
        "integer" = Integer { default, min, max, step }
        "number" = Number { default, min, max, step }
        "choice" = Choice { default, options }
        "file" = File { accept }
        "drawing" = Drawing { width, height }
    }
    Event by "event" else Self::Ready; {
        "ready" = Ready {}
        "started" = Started { run_id, device }
        "progress" = Progress { run_id, stage, fraction }
        "partial" = Partial { run_id, report }
        "done" = Done { run_id, record }
        "failed" = Failed { run_id, error }
    }
    ChartBody by "chart" else Self::TokenStream { tokens: Vec::new() }; {
        "line" = Line { series }
        "scatter" = Scatter { series }
        "bar" = Bar { categories, series }
        "histogram" = Histogram { edges, series; markers; }
        "heatmap" = Heatmap { rows, columns, values }
        "stacked_area" = StackedArea { x from "positions", series }
        "gantt" = Gantt { lanes, spans }
        "image_grid" = ImageGrid { width, height, images }
        "number_line" = NumberLine { points, levels }
        "token_stream" = TokenStream { tokens }
    }
    LabError by "error" else Self::Cancelled; {
        "unknown_lab" = UnknownLab { name;; nearest }
        "asset" = Asset { name, why }
        "file" = File { name, why }
        "device" = Device { why }
        "cancelled" = Cancelled {}
        "refused" = Refused { why }
        "engine" = Engine { why }
        | "bad_param" = BadParam
    }
}

impl Decode for Chart {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        Self {
            id: required(value, "id", wrong),
            title: required(value, "title", wrong),
            caption: required(value, "caption", wrong),
            x: required(value, "x", wrong),
            y: required(value, "y", wrong),
            body: ChartBody::decode(value, wrong),
        }
    }
}

impl Decode for ParamSpec {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        Self {
            name: required(value, "name", wrong),
            label: required(value, "label", wrong),
            help: defaulted(value, "help", wrong),
            unit: optional(value, "unit", wrong),
            kind: ParamKind::decode(value, wrong),
            enabled_when: optional(value, "enabled_when", wrong),
        }
    }
}

impl Decode for RunRecord {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        Self {
            lab: required(value, "lab", wrong),
            params: values(value, wrong),
            seed: required(value, "seed", wrong),
            environment: required(value, "environment", wrong),
            report: Report::decode(value, wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::from_json;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// What serde writes, both read alike.
    fn agrees<T: Decode + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
        let text = serde_json::to_string(value).expect("serializes");
        assert_eq!(from_json::<T>(&text).as_ref(), Ok(value), "{text}");
        assert_eq!(&serde_json::from_str::<T>(&text).expect("serde reads what it wrote"), value);
    }

    fn chart(body: ChartBody) -> Chart {
        let y = Axis { min: Some(0.5), max: Some(9.0), ..Axis::log("Time (ms)") };
        Chart { id: "c".into(), title: "T".into(), caption: "C".into(), x: Axis::linear("X"), y, body }
    }

    fn charts() -> Vec<Chart> {
        let bars =
            vec![BarSeries { name: "a".into(), values: vec![1.0, 2.5], intervals: vec![[0.5, 1.5], [2.0, 3.0]] }];
        let series = vec![Series { name: "s".into(), points: vec![[1.0, 2.0]], band: vec![[1.5, 2.5]] }];
        let names = vec!["a".to_owned(), "b".to_owned()];
        vec![
            chart(ChartBody::Line { series: series.clone() }),
            chart(ChartBody::Scatter { series }),
            chart(ChartBody::Bar { categories: names.clone(), series: bars.clone() }),
            chart(ChartBody::Histogram {
                edges: vec![0.0, 1.0, 2.0],
                series: bars,
                markers: vec![Marker { at: 0.5, label: "clip".into() }],
            }),
            chart(ChartBody::Heatmap { rows: names.clone(), columns: names.clone(), values: vec![vec![1.0, 2.0]; 2] }),
            chart(ChartBody::StackedArea {
                x: vec![0.0, 1.0],
                series: vec![StackSeries { name: "w".into(), values: vec![3.0, 4.0] }],
            }),
            chart(ChartBody::Gantt {
                lanes: names,
                spans: vec![Span { lane: 1, start: 0.0, end: 2.0, label: "l".into(), colour: 3 }],
            }),
            chart(ChartBody::ImageGrid {
                width: 1,
                height: 2,
                images: vec![Image { label: "7".into(), pixels: vec![0, 255], marked: true }],
            }),
            chart(ChartBody::NumberLine {
                points: vec![Snapped { at: -0.25, level: 0, clipped: true }],
                levels: vec![GridLevel { at: -0.5, code: -1, zero: true }],
            }),
            chart(ChartBody::TokenStream { tokens: vec![Token { text: " the".into(), colour: 2 }] }),
        ]
    }

    fn record() -> RunRecord {
        let metric = |family, kind, better| Metric {
            id: "m".into(),
            label: "M".into(),
            value: 1.25,
            unit: "ms".into(),
            better,
            kind,
            family,
            baseline: Some(2.0),
            interval: Some(Interval { low: 1.0, high: 1.5, level: 0.95 }),
            tolerance: Some(Tolerance { absolute: 0.1, why: "w".into() }),
            samples: vec![1.0, 1.5],
            help: "h".into(),
            detail: true,
        };
        let bare = Metric {
            baseline: None,
            interval: None,
            tolerance: None,
            samples: vec![],
            help: String::new(),
            detail: false,
            ..metric(Family::Scale, Kind::Trained, Better::Neutral)
        };
        let metrics = vec![
            metric(Family::Time, Kind::Measured, Better::Lower),
            metric(Family::Memory, Kind::Exact, Better::Higher),
            metric(Family::Quality, Kind::Exact, Better::Higher),
            metric(Family::Utilization, Kind::Measured, Better::Higher),
            bare,
        ];
        let row = vec![Cell::from(3.0), Cell::from("words")];
        let table = Table { id: "t".into(), title: "T".into(), columns: vec!["A".into(), "B".into()], rows: vec![row] };
        RunRecord {
            lab: "x".into(),
            params: [("bits".to_owned(), "4".into()), ("p".to_owned(), 99.9.into()), ("on".to_owned(), true.into())]
                .into(),
            seed: 7,
            environment: Environment {
                device: DeviceInfo {
                    kind: DeviceKind::Webgpu,
                    name: "SwiftShader".into(),
                    vendor: "google".into(),
                    architecture: "swiftshader".into(),
                    software_adapter: true,
                },
                host: "browser".into(),
                platform: "p".into(),
                cores: 2,
                engine_version: "0.1.0".into(),
                clock_step_ms: 0.1,
            },
            report: Report { metrics, tables: vec![table], charts: charts(), notes: vec!["n".into()] },
        }
    }

    #[test]
    fn records_and_events_are_read_as_serde_reads_them() {
        charts().iter().for_each(agrees);
        agrees(&record());
        agrees(&RunRecord { report: Report::default(), ..record() });
        let device = record().environment.device;
        let errors = [
            LabError::UnknownLab { name: "x".into(), nearest: Some("y".into()) },
            LabError::UnknownLab { name: "x".into(), nearest: None },
            LabError::BadParam(BadParam { name: "n".into(), why: "w".into() }),
            LabError::Asset { name: "a".into(), why: "w".into() },
            LabError::File { name: "f".into(), why: "w".into() },
            LabError::Device { why: "w".into() },
            LabError::Cancelled,
            LabError::Refused { why: "w".into() },
            LabError::Engine { why: "w".into() },
        ];
        for error in errors {
            agrees(&Event::Failed { run_id: 3, error });
        }
        agrees(&Event::Ready);
        agrees(&Event::Started { run_id: 1, device });
        agrees(&Event::Progress { run_id: 1, stage: "s".into(), fraction: 0.5 });
        agrees(&Event::Partial { run_id: 1, report: record().report });
        agrees(&Event::Done { run_id: 1, record: Box::new(record()) });
    }

    #[test]
    fn parameters_are_read_as_serde_reads_them() {
        let option = ChoiceOption { value: "8".into(), label: "8 bits".into(), help: "256 levels".into() };
        let kinds = [
            ParamKind::Bool { default: true },
            ParamKind::Integer { default: 32, min: -8, max: 128, step: 8 },
            ParamKind::Number { default: 99.9, min: 90.0, max: 100.0, step: 0.1 },
            ParamKind::Choice { default: "8".into(), options: vec![option] },
            ParamKind::File { accept: ".bin".into() },
            ParamKind::Drawing { width: 28, height: 28 },
        ];
        for kind in kinds {
            let condition = Condition { param: "other".into(), is: vec!["group".into()] };
            let spec = |help: &str, unit: Option<&str>, enabled_when| ParamSpec {
                name: "n".into(),
                label: "L".into(),
                help: help.into(),
                unit: unit.map(str::to_owned),
                kind: kind.clone(),
                enabled_when,
            };
            agrees(&spec("h", Some("bits"), Some(condition)));
            agrees(&spec("", None, None));
        }
        agrees(&AssetRef::new("digits/mlp.safetensors", "0123456789abcdef", 12));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        // The engine refuses it first; JSON would carry it as null.
        let mut bad = record();
        bad.report.metrics[0].value = f64::NAN;
        let text = serde_json::to_string(&bad).expect("serializes");
        assert_eq!(from_json::<RunRecord>(&text), Err("value: expected a number".to_owned()));
    }
}
