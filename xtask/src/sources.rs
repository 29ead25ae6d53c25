//! Which files an artifact is made of, as far as a watcher needs to know.

use std::path::Path;
use std::time::SystemTime;

use crate::pipeline::Bundle;
use crate::workspace::{Workspace, files_under};

/// Folders whose change can change this bundle. Prose (`book/`) is in none of them: a changed paragraph compiles no WASM.
pub(crate) fn folders_of(bundle: Bundle) -> &'static [&'static str] {
    match bundle {
        Bundle::Ui => &["site/ui", "crates/lab-ui", "crates/lab-charts", "crates/lab-api"],
        Bundle::Cpu | Bundle::Gpu => &[
            "labs",
            "crates/lab-engine",
            "crates/lab-kit",
            "crates/lab-layers",
            "crates/lab-kernels",
            "crates/lab-data",
            "crates/lab-api",
        ],
    }
}

/// The time of the latest change to what this bundle is compiled from.
pub(crate) fn latest_change(workspace: &Workspace, bundle: Bundle) -> Option<SystemTime> {
    let files = folders_of(bundle).iter().flat_map(|folder| files_under(&workspace.root.join(folder)));
    let compiled = files.filter(|file| is_compiled(file));
    compiled.filter_map(|file| std::fs::metadata(file).ok()?.modified().ok()).max()
}

/// A lab's words and reference result are no part of its engine.
fn is_compiled(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["rs", "toml", "json", "js", "wgsl"].contains(&extension) && name != "reference.json"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_no_source_of_wasm() {
        for bundle in [Bundle::Ui, Bundle::Cpu, Bundle::Gpu] {
            assert!(folders_of(bundle).iter().all(|folder| !folder.starts_with("book")));
        }
        assert!(is_compiled(Path::new("labs/src/quantization/mod.rs")));
        assert!(!is_compiled(Path::new("labs/src/quantization/lab.md")));
        assert!(!is_compiled(Path::new("labs/src/quantization/reference.json")));
    }
}
