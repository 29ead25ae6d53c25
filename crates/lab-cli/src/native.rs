//! The terminal's side of a running lab.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::File,
    io::{IsTerminal, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    time::Instant,
};

use lab_api::{AssetRef, Report};
use lab_kit::{
    Host, HostInfo, LocalBoxFuture,
    measure::{CountingAllocator, MemoryReading, counting_allocator, memory_reading, reset_peak},
};

/// Counts what labs hold.
#[global_allocator]
static ALLOCATOR: CountingAllocator = counting_allocator();

/// What a native host shows of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Nothing.
    Nothing,
    /// Stages with the time left, on standard error.
    Progress,
}

/// A host that reads `assets/` from the checkout.
pub struct NativeHost {
    assets: PathBuf,
    files: BTreeMap<String, PathBuf>,
    show: Show,
    start: Instant,
    stage: RefCell<String>,
    cancelled: Cell<bool>,
    first_report_ms: Cell<Option<f64>>,
    last_yield_ms: Cell<f64>,
    longest_gap_ms: Cell<f64>,
}

impl NativeHost {
    /// A host for the checkout at `root`.
    #[must_use]
    pub fn new(root: &Path, show: Show) -> Self {
        Self {
            assets: root.join("assets"),
            files: BTreeMap::new(),
            show,
            start: Instant::now(),
            stage: RefCell::default(),
            cancelled: Cell::new(false),
            first_report_ms: Cell::new(None),
            last_yield_ms: Cell::new(0.0),
            longest_gap_ms: Cell::new(0.0),
        }
    }

    /// The same with files that come with parameters, by their names.
    #[must_use]
    pub fn with_files(self, files: BTreeMap<String, PathBuf>) -> Self {
        Self { files, ..self }
    }

    /// Makes the next checkpoint stop the run.
    pub fn cancel(&self) {
        self.cancelled.set(true);
    }

    /// Milliseconds from start to the first published report.
    #[must_use]
    pub fn first_report_ms(&self) -> Option<f64> {
        self.first_report_ms.get()
    }

    /// Longest time between two checkpoints, in milliseconds: for so long the run was deaf to Cancel.
    #[must_use]
    pub fn longest_gap_ms(&self) -> f64 {
        self.longest_gap_ms.get()
    }

    /// Ends the progress line.
    pub fn finish(&self) {
        if self.show == Show::Progress && std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

impl Host for NativeHost {
    fn fetch(&self, asset: AssetRef) -> LocalBoxFuture<'_, Result<Vec<u8>, String>> {
        let path = self.assets.join(&asset.name);
        Box::pin(async move {
            std::fs::read(&path).map_err(|error| format!("assets/{} cannot be read ({error})", asset.name))
        })
    }

    fn now_ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1e3
    }

    fn yield_now(&self) -> LocalBoxFuture<'_, ()> {
        let now = self.now_ms();
        self.longest_gap_ms.set(self.longest_gap_ms.get().max(now - self.last_yield_ms.replace(now)));
        Box::pin(std::future::ready(()))
    }

    fn cancelled(&self) -> bool {
        self.cancelled.get()
    }

    fn progress(&self, stage: &str, fraction: f64) {
        if self.show == Show::Nothing {
            return;
        }
        let spent = self.start.elapsed().as_secs_f64();
        let left = if fraction > 0.02 {
            format!(", {:.0} s left", spent / fraction * (1.0 - fraction))
        } else {
            String::new()
        };
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{:3.0} % {stage}{left}", 100.0 * fraction);
            let _ = std::io::stderr().flush();
        } else if *self.stage.borrow() != stage {
            eprintln!("{:3.0} % {stage}{left}", 100.0 * fraction);
        }
        stage.clone_into(&mut self.stage.borrow_mut());
    }

    fn publish(&self, _report: &Report) {
        if self.first_report_ms.get().is_none() {
            self.first_report_ms.set(Some(self.now_ms()));
        }
    }

    fn info(&self) -> HostInfo {
        HostInfo {
            host: "native".into(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            engine_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn memory(&self) -> Option<MemoryReading> {
        Some(memory_reading(&ALLOCATOR))
    }

    fn file_bytes(&self, param: &str) -> Option<u64> {
        Some(std::fs::metadata(self.files.get(param)?).ok()?.len())
    }

    fn read_file(&self, param: &str, range: Range<u64>) -> LocalBoxFuture<'_, Result<Vec<u8>, String>> {
        let path = self.files.get(param).cloned().unwrap_or_default();
        Box::pin(async move { part(&path, range).map_err(|error| format!("it cannot be read ({error})")) })
    }

    fn reset_peak(&self) {
        reset_peak(&ALLOCATOR);
    }
}

/// What stands in a file at these positions; less where it ends before.
fn part(path: &Path, range: Range<u64>) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_file_is_read_and_nothing_more() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        std::fs::write(&path, b"0123456789").expect("written");
        assert_eq!(part(&path, 3..6).expect("read"), b"345");
        assert_eq!(part(&path, 8..20).expect("read"), b"89");
        let host = NativeHost::new(folder.path(), Show::Nothing).with_files([("w".to_owned(), path)].into());
        assert_eq!((host.file_bytes("w"), host.file_bytes("v")), (Some(10), None));
    }
}
