//! From JSON to the types of [`lab_api`], without serde's derived code.
//!
//! The page's WASM is small before it is fast. The derived deserializers of these types weigh about 250 KB in it (each
//! tagged or flattened type buffers and dispatches at compile time, for each source it may come from); the functions below
//! weigh a tenth. They are held to the derived ones by a test, and a field that is added to a type does not compile here
//! until it is read.

use std::collections::BTreeMap;

use lab_api::*;
use serde_json::Value;

use crate::data::{Bundle, Engines, LabData, Manifest};

/// What is wrong, innermost first.
type Result<T> = std::result::Result<T, String>;

/// Reads a value out of parsed JSON.
pub(crate) trait Decode: Sized {
    fn decode(value: &Value) -> Result<Self>;
}

/// Reads a value out of JSON text.
pub(crate) fn from_json<T: Decode>(text: &str) -> Result<T> {
    let value = serde_json::from_str::<Value>(text).map_err(|error| error.to_string())?;
    T::decode(&value)
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|member| !member.is_null())
}

fn required<T: Decode>(value: &Value, name: &str) -> Result<T> {
    let member = value.get(name).ok_or_else(|| format!("missing field `{name}`"))?;
    T::decode(member).map_err(|error| format!("{name}: {error}"))
}

fn optional<T: Decode>(value: &Value, name: &str) -> Result<Option<T>> {
    member(value, name).map(T::decode).transpose().map_err(|error| format!("{name}: {error}"))
}

fn tag<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value.get(name).and_then(Value::as_str).ok_or_else(|| format!("missing field `{name}`"))
}

fn unknown<T>(what: &str, word: &str) -> Result<T> {
    Err(format!("unknown {what} `{word}`"))
}

macro_rules! scalars {
    ($($type:ty: $read:expr, $name:literal;)*) => {$(
        impl Decode for $type {
            fn decode(value: &Value) -> Result<Self> {
                #[allow(clippy::redundant_closure_call, reason = "one form for all")]
                ($read)(value).ok_or_else(|| concat!("expected ", $name).to_owned())
            }
        }
    )*};
}

scalars! {
    bool: Value::as_bool, "true or false";
    f64: Value::as_f64, "a number";
    i64: Value::as_i64, "a whole number";
    u64: Value::as_u64, "a whole number";
    u32: |v: &Value| v.as_u64().and_then(|n| n.try_into().ok()), "a small whole number";
    u8: |v: &Value| v.as_u64().and_then(|n| n.try_into().ok()), "a byte";
    usize: |v: &Value| v.as_u64().and_then(|n| n.try_into().ok()), "a whole number";
    String: |v: &Value| v.as_str().map(str::to_owned), "words";
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: &Value) -> Result<Self> {
        value.as_array().ok_or("expected a list")?.iter().map(T::decode).collect()
    }
}

impl Decode for [f64; 2] {
    fn decode(value: &Value) -> Result<Self> {
        match value.as_array().map(Vec::as_slice) {
            Some([a, b]) => Ok([f64::decode(a)?, f64::decode(b)?]),
            _ => Err("expected two numbers".to_owned()),
        }
    }
}

impl Decode for Cell {
    fn decode(value: &Value) -> Result<Self> {
        match value.as_f64() {
            Some(number) => Ok(Self::Number(number)),
            None => String::decode(value).map(Self::Text),
        }
    }
}

fn values(value: &Value, name: &str) -> Result<Values> {
    let object = value.get(name).and_then(Value::as_object).ok_or_else(|| format!("missing field `{name}`"))?;
    let mut values = BTreeMap::new();
    for (name, value) in object {
        values.insert(name.clone(), value.clone());
    }
    Ok(values)
}

/// Structs: required fields, then those with a default, then optional ones.
macro_rules! structs {
    ($($type:ident { $($field:ident),* ; $($default:ident),* ; $($option:ident),* })*) => {$(
        impl Decode for $type {
            fn decode(value: &Value) -> Result<Self> {
                Ok(Self {
                    $($field: required(value, stringify!($field))?,)*
                    $($default: optional(value, stringify!($default))?.unwrap_or_default(),)*
                    $($option: optional(value, stringify!($option))?,)*
                })
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
    Report { metrics; tables, charts, notes; }
    Metric { id, label, value, unit, better, kind, family; samples, help; baseline, interval, tolerance }
    Interval { low, high, level;; }
    Tolerance { absolute, why;; }
    Table { id, title, columns, rows;; }
    Environment { device, host, platform, cores, engine_version, clock_step_ms;; }
    DeviceInfo { kind, name; vendor, architecture, software_adapter; }
    ChoiceOption { value, label; help; }
    Condition { param, is;; }
    BadParam { name, why;; }
    LabData { lab, title, params; assets; reference }
    Manifest { engines;; }
    Engines {;; cpu, gpu }
    Bundle { entry; gzip_bytes; }
}

/// Enums of words.
macro_rules! words {
    ($($type:ident { $($word:literal = $variant:ident),* })*) => {$(
        impl Decode for $type {
            fn decode(value: &Value) -> Result<Self> {
                match value.as_str().unwrap_or_default() {
                    $($word => Ok(Self::$variant),)*
                    other => unknown("word", other),
                }
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

/// Enums whose variant is named by a field beside those of the variant.
macro_rules! tagged {
    ($($type:ident by $tag:literal { $($word:literal = $variant:ident {
        $($field:ident),* ; $($default:ident),* ; $($option:ident),*
    })* })*) => {$(
        impl Decode for $type {
            fn decode(value: &Value) -> Result<Self> {
                match tag(value, $tag)? {
                    $($word => Ok(Self::$variant {
                        $($field: required(value, stringify!($field))?,)*
                        $($default: optional(value, stringify!($default))?.unwrap_or_default(),)*
                        $($option: optional(value, stringify!($option))?,)*
                    }),)*
                    other => unknown($tag, other),
                }
            }
        }
    )*};
}

tagged! {
    ParamKind by "type" {
        "bool" = Bool { default;; }
        "integer" = Integer { default, min, max, step;; }
        "number" = Number { default, min, max, step;; }
        "choice" = Choice { default, options;; }
    }
    Event by "event" {
        "ready" = Ready {;;}
        "started" = Started { run_id, device;; }
        "progress" = Progress { run_id, stage, fraction;; }
        "partial" = Partial { run_id, report;; }
        "done" = Done { run_id, record;; }
        "failed" = Failed { run_id, error;; }
    }
}

impl Decode for ChartBody {
    fn decode(value: &Value) -> Result<Self> {
        Ok(match tag(value, "chart")? {
            "line" => Self::Line { series: required(value, "series")? },
            "scatter" => Self::Scatter { series: required(value, "series")? },
            "bar" => Self::Bar { categories: required(value, "categories")?, series: required(value, "series")? },
            "histogram" => Self::Histogram {
                edges: required(value, "edges")?,
                series: required(value, "series")?,
                markers: optional(value, "markers")?.unwrap_or_default(),
            },
            "heatmap" => Self::Heatmap {
                rows: required(value, "rows")?,
                columns: required(value, "columns")?,
                values: required(value, "values")?,
            },
            "stacked_area" => {
                Self::StackedArea { x: required(value, "positions")?, series: required(value, "series")? }
            }
            "gantt" => Self::Gantt { lanes: required(value, "lanes")?, spans: required(value, "spans")? },
            "image_grid" => Self::ImageGrid {
                width: required(value, "width")?,
                height: required(value, "height")?,
                images: required(value, "images")?,
            },
            "token_stream" => Self::TokenStream { tokens: required(value, "tokens")? },
            other => return unknown("chart", other),
        })
    }
}

impl Decode for Chart {
    fn decode(value: &Value) -> Result<Self> {
        Ok(Self {
            id: required(value, "id")?,
            title: required(value, "title")?,
            caption: required(value, "caption")?,
            x: required(value, "x")?,
            y: required(value, "y")?,
            body: ChartBody::decode(value)?,
        })
    }
}

impl Decode for ParamSpec {
    fn decode(value: &Value) -> Result<Self> {
        Ok(Self {
            name: required(value, "name")?,
            label: required(value, "label")?,
            help: optional(value, "help")?.unwrap_or_default(),
            unit: optional(value, "unit")?,
            kind: ParamKind::decode(value)?,
            enabled_when: optional(value, "enabled_when")?,
        })
    }
}

impl Decode for RunRecord {
    fn decode(value: &Value) -> Result<Self> {
        Ok(Self {
            lab: required(value, "lab")?,
            params: values(value, "params")?,
            seed: required(value, "seed")?,
            environment: required(value, "environment")?,
            report: Report::decode(value)?,
        })
    }
}

impl Decode for Box<RunRecord> {
    fn decode(value: &Value) -> Result<Self> {
        RunRecord::decode(value).map(Box::new)
    }
}

impl Decode for LabError {
    fn decode(value: &Value) -> Result<Self> {
        Ok(match tag(value, "error")? {
            "unknown_lab" => Self::UnknownLab { name: required(value, "name")?, nearest: optional(value, "nearest")? },
            "bad_param" => Self::BadParam(BadParam::decode(value)?),
            "asset" => Self::Asset { name: required(value, "name")?, why: required(value, "why")? },
            "device" => Self::Device { why: required(value, "why")? },
            "cancelled" => Self::Cancelled,
            "refused" => Self::Refused { why: required(value, "why")? },
            "engine" => Self::Engine { why: required(value, "why")? },
            other => return unknown("error", other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        };
        let bare = Metric {
            baseline: None,
            interval: None,
            tolerance: None,
            samples: vec![],
            help: String::new(),
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
    fn what_is_wrong_is_named() {
        let error = from_json::<Event>(r#"{"event": "progress", "run_id": 1, "stage": 5, "fraction": 0}"#);
        assert_eq!(error, Err("stage: expected words".to_owned()));
        assert_eq!(from_json::<Event>(r#"{"event": "off"}"#), Err("unknown event `off`".to_owned()));
        assert!(from_json::<Event>("{").is_err());
    }
}
