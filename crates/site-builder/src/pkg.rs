//! The WASM bundles: `pkg/manifest.json` tells the pages where they are, and which are not there.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::paths::{copy, files};

/// What `pkg/manifest.json` says, from the notes `<name>.json` that `wasm-bundle` leaves; a bundle without one is `null`.
///
/// # Errors
/// A note is not valid, or names an entry that does not exist.
pub(crate) fn manifest(pkg: Option<&Path>) -> Result<Value> {
    let bundle = |name: &str| -> Result<Value> {
        let Some(pkg) = pkg else { return Ok(Value::Null) };
        let note = pkg.join(format!("{name}.json"));
        if !note.is_file() {
            return Ok(Value::Null);
        }
        let text = std::fs::read_to_string(&note).with_context(|| format!("cannot read {}", note.display()))?;
        let bundle: Value = serde_json::from_str(&text).with_context(|| format!("{} is not valid", note.display()))?;
        let entry = bundle.get("entry").and_then(Value::as_str).unwrap_or_default();
        let file = pkg.join(entry.strip_prefix("pkg/").unwrap_or(entry));
        ensure!(file.is_file(), "{} names {entry}, which is not there: bundle {name} again", note.display());
        Ok(bundle)
    };
    Ok(json!({ "ui": bundle("ui")?, "engines": { "cpu": bundle("cpu")?, "gpu": bundle("gpu")? } }))
}

/// Copies the bundles that the manifest names and writes the manifest.
///
/// # Errors
/// See [`manifest`]; or a file cannot be copied.
pub(crate) fn install(pkg: Option<&Path>, out: &Path) -> Result<()> {
    let manifest = manifest(pkg)?;
    let place = out.join("pkg");
    std::fs::create_dir_all(&place)?;
    for bundle in [&manifest["ui"], &manifest["engines"]["cpu"], &manifest["engines"]["gpu"]] {
        let (Some(pkg), Some(entry)) = (pkg, bundle["entry"].as_str()) else { continue };
        let Some(folder) = entry.strip_prefix("pkg/").and_then(|rest| rest.split('/').next()) else { continue };
        for file in files(&pkg.join(folder))? {
            copy(&file, &place.join(file.strip_prefix(pkg)?))?;
        }
    }
    std::fs::write(place.join("manifest.json"), serde_json::to_string(&manifest)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_bundles_are_null_and_present_ones_are_copied() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let pkg = folder.path().join("pkg");
        std::fs::create_dir_all(pkg.join("ui-0123456789ab")).expect("made");
        std::fs::create_dir_all(pkg.join("ui-stale0000000")).expect("made");
        std::fs::write(pkg.join("ui-0123456789ab/ui.js"), "export {}").expect("written");
        let note = r#"{"entry":"pkg/ui-0123456789ab/ui.js","wasm_bytes":1,"gzip_bytes":1}"#;
        std::fs::write(pkg.join("ui.json"), note).expect("written");

        let out = folder.path().join("out");
        install(Some(&pkg), &out).expect("installs");
        let text = std::fs::read_to_string(out.join("pkg/manifest.json")).expect("there");
        let read: Value = serde_json::from_str(&text).expect("json");
        assert_eq!(read["engines"], json!({"cpu": null, "gpu": null}));
        assert!(out.join(read["ui"]["entry"].as_str().expect("entry")).is_file());
        assert!(!out.join("pkg/ui-stale0000000").exists());

        std::fs::remove_file(pkg.join("ui-0123456789ab/ui.js")).expect("removed");
        assert!(manifest(Some(&pkg)).is_err(), "a note without its files is refused");
        assert_eq!(manifest(None).expect("empty")["ui"], Value::Null);
    }
}
