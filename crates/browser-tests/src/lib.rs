//! What the built site must be, and the tools to find out: its files read as data, a server that can misbehave on
//! request, and real browsers: Chromium through WebDriver, Firefox through WebDriver BiDi.
//!
//! `cargo xtask check` runs `tests/built_site.rs`, `cargo xtask test` also `tests/browser`. Both set the variables named in
//! [`env`].

pub mod browser;
pub mod budgets;
pub mod dist;
pub mod engine;
pub mod env;
pub mod firefox;
pub mod html;
pub mod lab;
pub mod native;
pub mod server;
