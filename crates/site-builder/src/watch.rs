//! Which changes matter, gathered into one answer per burst.

use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use textbook::Textbook;

use crate::paths::Paths;

/// Editors write a file in several steps; what follows within this time is the same edit.
const QUIET: Duration = Duration::from_millis(30);
/// An edit that never ends is answered nevertheless.
const PATIENCE: Duration = Duration::from_millis(300);

/// What changed since the last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// Prose, template, styles, words or code of labs.
    pub(crate) book: bool,
    /// A dataset, weights or their manifest.
    pub(crate) assets: bool,
    /// A bundle is complete.
    pub(crate) bundles: bool,
}

impl Changes {
    fn any(self) -> bool {
        self.book || self.assets || self.bundles
    }

    fn add(&mut self, paths: &Paths, pkg: Option<&Path>, file: &Path) {
        let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') || name.ends_with(".tmp") || name == "4913" {
            return;
        }
        if pkg.is_some_and(|pkg| file.starts_with(pkg)) {
            self.bundles |= name.ends_with(".json");
        } else if file.starts_with(&paths.assets) {
            self.assets = true;
        } else if !file.starts_with(paths.site.join("ui")) {
            self.book = true;
        }
    }
}

/// Watches the sources of the site.
#[derive(Debug)]
pub(crate) struct Watch {
    events: Receiver<notify::Result<Event>>,
    // Watching ends when it is dropped.
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub(crate) fn new(paths: &Paths, textbook: &Textbook, pkg: Option<&Path>) -> Result<Self> {
        let (sender, events) = channel();
        let mut watcher = RecommendedWatcher::new(sender, Config::default()).context("cannot watch files")?;
        let mut places = vec![paths.book.clone(), paths.site.clone(), paths.assets.clone()];
        places.extend(pkg.map(Path::to_owned));
        // A file by itself is lost to the watcher when an editor puts another in its place; its folder is not.
        for place in textbook.watched() {
            if !places.iter().any(|watched| place.starts_with(watched)) {
                places.push(place);
            }
        }
        for place in places.iter().filter(|place| place.exists()) {
            let watched = watcher.watch(place, RecursiveMode::Recursive);
            watched.with_context(|| format!("cannot watch {}", place.display()))?;
        }
        Ok(Self { events, _watcher: watcher })
    }

    /// Waits for a change that matters; `None` after `limit` without one.
    pub(crate) fn next(&self, paths: &Paths, pkg: Option<&Path>, limit: Option<Duration>) -> Option<Changes> {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut changes = Changes::default();
        let mut first: Option<Instant> = None;
        loop {
            let patience = match (first, end) {
                (Some(first), _) => QUIET.min(PATIENCE.saturating_sub(first.elapsed())),
                (None, Some(end)) => end.saturating_duration_since(Instant::now()),
                (None, None) => Duration::from_secs(3600),
            };
            match self.events.recv_timeout(patience) {
                Ok(Ok(event)) if !matches!(event.kind, EventKind::Access(_)) => {
                    for file in &event.paths {
                        changes.add(paths, pkg, file);
                    }
                    if changes.any() {
                        first.get_or_insert_with(Instant::now);
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if changes.any() => return Some(changes),
                Err(RecvTimeoutError::Timeout) if limit.is_some() => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if changes.any() && first.is_some_and(|first| first.elapsed() >= PATIENCE) {
                return Some(changes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_seen_once_and_what_does_not_matter_is_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().canonicalize().expect("there");
        for place in [
            "book/src",
            "book/data",
            "site/ui/src",
            "assets",
            "labs/src",
            "crates/lab-kit/src",
            "crates/lab-layers/src",
            "crates/lab-kernels/src",
            "pkg",
        ] {
            std::fs::create_dir_all(root.join(place)).expect("made");
        }
        std::fs::write(root.join("book/book.toml"), "").expect("written");
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.join("site"), root.join("book/site")).expect("linked");
        let paths = Paths::new(&root).expect("a workspace");
        let textbook = Textbook::new(&root);
        let pkg = root.join("pkg");
        let watch = Watch::new(&paths, &textbook, Some(&pkg)).expect("watches");
        let next = || watch.next(&paths, Some(&pkg), Some(Duration::from_millis(500)));

        std::fs::write(root.join("site/ui/src/lib.rs"), "x").expect("written");
        std::fs::write(root.join("book/src/.a.md.swp"), "x").expect("written");
        std::fs::write(root.join("pkg/ui_bg.wasm"), "x").expect("written");
        assert_eq!(next(), None);
        std::fs::write(root.join("book/src/a.md"), "x").expect("written");
        std::fs::write(root.join("book/src/a.md"), "y").expect("written");
        assert_eq!(next(), Some(Changes { book: true, ..Changes::default() }));
        assert_eq!(next(), None);
        std::fs::write(root.join("pkg/ui.json"), "{}").expect("written");
        assert_eq!(next(), Some(Changes { bundles: true, ..Changes::default() }));
        for place in textbook.watched() {
            let file = if place.is_dir() { place.join("a") } else { place };
            std::fs::write(&file, "x").expect("written");
            let changes = next();
            assert!(changes.is_some_and(|changes| changes.book != changes.assets), "{}: {changes:?}", file.display());
        }
    }
}
