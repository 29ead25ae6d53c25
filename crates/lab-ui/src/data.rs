//! What the page knows of a lab and of the engines.

use lab_api::{AssetRef, DeviceKind, ParamSpec, RunRecord};
use serde::Deserialize;

/// The content of `script[data-lab-data]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LabData {
    /// Lab id.
    pub lab: String,
    /// Title as readers see it.
    pub title: String,
    /// Controls.
    pub params: Vec<ParamSpec>,
    /// Files the lab may read.
    #[serde(default)]
    pub assets: Vec<AssetRef>,
    /// The committed default run.
    #[serde(default)]
    pub reference: Option<RunRecord>,
}

/// `pkg/manifest.json`, as far as the widget needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Manifest {
    /// The engines that are built.
    pub engines: Engines,
}

/// One bundle per engine; `None` is still being built.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Engines {
    /// The CPU engine.
    #[serde(default)]
    pub cpu: Option<Bundle>,
    /// The WebGPU engine.
    #[serde(default)]
    pub gpu: Option<Bundle>,
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bundle {
    /// Its worker, relative to the book's root.
    pub entry: String,
    /// What a first visit downloads, in bytes.
    #[serde(default)]
    pub gzip_bytes: u64,
}

impl Manifest {
    /// The bundle for a device.
    #[must_use]
    pub fn bundle(&self, kind: DeviceKind) -> Option<&Bundle> {
        match kind {
            DeviceKind::Cpu => self.engines.cpu.as_ref(),
            DeviceKind::Webgpu => self.engines.gpu.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_not_built_is_null_or_absent() {
        let text = r#"{"ui": null, "engines": {"cpu": {"entry": "pkg/cpu-1/worker.js", "wasm_bytes": 9, "gzip_bytes": 4}, "gpu": null}}"#;
        let manifest: Manifest = serde_json::from_str(text).expect("valid");
        assert_eq!(manifest.bundle(DeviceKind::Cpu).map(|b| b.entry.as_str()), Some("pkg/cpu-1/worker.js"));
        assert_eq!(manifest.bundle(DeviceKind::Webgpu), None);
        let none: Manifest = serde_json::from_str(r#"{"engines": {}}"#).expect("valid");
        assert_eq!(none, Manifest::default());
    }
}
