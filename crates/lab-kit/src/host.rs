//! What a lab needs of the place it runs in.

use std::{future::Future, ops::Range, pin::Pin};

use lab_api::{AssetRef, Report};

use crate::measure::MemoryReading;

/// A boxed future that stays on its thread: a browser has only one.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A terminal or a browser's worker. Methods take `&self`: a host is shared as `Rc<dyn Host>`.
pub trait Host {
    /// The bytes of a file. [`Context::asset`](crate::Context::asset) verifies them, the host need not.
    ///
    /// # Errors
    /// What went wrong, as words that follow "cannot be used:", for example "the server answered 404".
    fn fetch(&self, asset: AssetRef) -> LocalBoxFuture<'_, Result<Vec<u8>, String>>;

    /// A clock that never goes back, in milliseconds. Its zero is arbitrary.
    fn now_ms(&self) -> f64;

    /// Lets pending messages (Cancel among them) be handled. Natively this may return at once.
    fn yield_now(&self) -> LocalBoxFuture<'_, ()>;

    /// Whether the reader asked to stop.
    fn cancelled(&self) -> bool;

    /// Whether the page is hidden from its reader, or was since this was last asked: browsers slow hidden pages down, so times
    /// taken meanwhile are not what they would be. A terminal never is. What is asked right after [`Host::yield_now`] is up to date.
    fn was_hidden(&self) -> bool {
        false
    }

    /// Shows how far the run is: what is being done, and 0 to 1.
    fn progress(&self, stage: &str, fraction: f64);

    /// Shows a report that later ones replace.
    fn publish(&self, report: &Report);

    /// Where this is.
    fn info(&self) -> HostInfo;

    /// Bytes of engine memory, where the program counts them
    /// ([`measure::counting_allocator`](crate::measure::counting_allocator)).
    fn memory(&self) -> Option<MemoryReading> {
        None
    }

    /// Length in bytes of the file that the reader gave for a parameter; `None` where none came with the run.
    fn file_bytes(&self, param: &str) -> Option<u64> {
        let _ = param;
        None
    }

    /// Bytes of that file at these positions.
    ///
    /// # Errors
    /// What went wrong, as words that follow "cannot be used:".
    fn read_file(&self, param: &str, range: Range<u64>) -> LocalBoxFuture<'_, Result<Vec<u8>, String>> {
        let _ = (param, range);
        Box::pin(std::future::ready(Err("no file came with the run".to_owned())))
    }

    /// Forgets the peak of [`Host::memory`].
    fn reset_peak(&self) {}
}

/// The part of [`lab_api::Environment`] that only the host knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInfo {
    /// `native` or `browser`.
    pub host: String,
    /// Operating system and architecture, or the user agent's words.
    pub platform: String,
    /// Logical processors.
    pub cores: u32,
    /// Version of the engine.
    pub engine_version: String,
}
