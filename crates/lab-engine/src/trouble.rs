//! Trouble that does not come as a `Result`: panics, and errors that the GPU stack only logs.
//!
//! An invalid shader or a lost device leaves wrong or stale numbers behind and a line in the log
//! (tracel-ai/cubecl#1641), so every error logged during a run spoils its result.

use std::cell::RefCell;

use lab_api::{Event, LabError};
use log::{Level, LevelFilter, Log, Metadata, Record};
use wasm_bindgen::JsCast;
use web_sys::DedicatedWorkerGlobalScope;

use crate::worker::{current_run, post};

thread_local! {
    static FIRST_ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Collector;

impl Log for Collector {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= Level::Error
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            FIRST_ERROR.with_borrow_mut(|first| {
                first.get_or_insert_with(|| brief(&record.args().to_string()));
            });
        }
    }

    fn flush(&self) {}
}

/// Routes logs and panics to the page. Call once.
pub(crate) fn watch() {
    // A second call would find a logger in place, which is just as well.
    let _ = log::set_logger(&Collector);
    log::set_max_level(LevelFilter::Error);
    std::panic::set_hook(Box::new(|info| {
        // The instance aborts right after this, and the page sees the worker's `error` event; these are the words for it.
        if let (Ok(scope), Some(run_id)) = (js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>(), current_run()) {
            post(&scope, &Event::Failed { run_id, error: error_of(&info.to_string()) });
        }
    }));
}

/// What a panic means. Burn turns an error that WebGPU raises outside of any call (memory that cannot be had, a shader that is
/// refused) into a panic; that is the device's failure, and what was logged just before says most about it.
fn error_of(panic: &str) -> LabError {
    match logged() {
        Some(error) => error,
        None => match panic.split_once("wgpu error: ") {
            Some((_, why)) => LabError::Device { why: format!("WebGPU reports: {}", brief(why)) },
            None => LabError::Engine { why: panic.to_owned() },
        },
    }
}

/// Without the source of a whole shader, which the GPU stack logs along.
fn brief(words: &str) -> String {
    const LONGEST: usize = 400;
    let words = words.split("\n--- shader source").next().unwrap_or(words).trim();
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words.to_owned(),
    }
}

/// Forgets what earlier runs left.
pub(crate) fn clear() {
    FIRST_ERROR.with_borrow_mut(Option::take);
}

/// The first error logged since [`clear`], as a failure of the device.
pub(crate) fn logged() -> Option<LabError> {
    FIRST_ERROR.with_borrow_mut(Option::take).map(|why| LabError::Device { why })
}
