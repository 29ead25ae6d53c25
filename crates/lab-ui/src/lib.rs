//! The widget around a lab: controls made from its parameters, a client of the engine in its worker, and results beside the
//! reference. No Burn, no lab: it knows only [`lab_api`].
//!
//! What decides (the course of a run, the choice of an engine, links) is plain data and tested natively; what touches the
//! page is compiled for WASM alone.
#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "natively the tests alone use it"))]

mod brush;
mod course;
mod data;
mod decode;
mod encode;
mod markup;
mod plan;
mod setting;

#[cfg(target_family = "wasm")]
mod actions;
#[cfg(target_family = "wasm")]
mod canvas;
#[cfg(target_family = "wasm")]
mod controls;
#[cfg(target_family = "wasm")]
mod drawing;
#[cfg(target_family = "wasm")]
mod engine;
#[cfg(target_family = "wasm")]
mod page;
#[cfg(target_family = "wasm")]
mod status;
#[cfg(target_family = "wasm")]
mod widget;

pub use course::{Course, Effect, Input, Phase, View};
pub use data::{Bundle, Engines, LabData, Manifest};
pub use plan::{Adapter, Trouble, Wish, choose};
pub use setting::Setting;

#[cfg(target_family = "wasm")]
pub use widget::mount;
