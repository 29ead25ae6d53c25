//! The contract of a lab: what it takes (parameters), what it gives (a report), what it says on the way (messages),
//! and how it fails (errors).
//!
//! Everything here is plain data behind serde. It is shared by the command line, the worker, the page and the book
//! builder, so it depends on no framework, no numerics and no browser.

mod asset;
mod chart;
pub mod drawing;
mod error;
mod link;
mod message;
mod meta;
mod nearest;
mod param;
mod reference;
mod report;
#[cfg(feature = "schema")]
mod schema;

pub use asset::{AssetRef, asset_path};
pub use chart::{
    Axis, BarSeries, Chart, ChartBody, GridLevel, Image, Marker, Scale, Series, Snapped, Span, StackSeries, Token,
};
pub use error::LabError;
pub use link::{DeviceChoice, Link, RESERVED};
pub use message::{Event, Request, RunRequest};
pub use meta::{Common, LabMeta, Level, PredictedChoice, Prediction};
pub use nearest::nearest;
pub use param::{
    BadParam, ChoiceOption, Condition, ParamKind, ParamSpec, Params, Validated, Values, validate, value_text,
    value_words,
};
pub use reference::Reference;
pub use report::{
    Better, Cell, DeviceInfo, DeviceKind, Environment, Family, Inapplicable, Interval, Kind, Metric, Report, RunRecord,
    Table, Tolerance,
};
#[cfg(feature = "schema")]
pub use schema::{SchemaError, specs_of};
