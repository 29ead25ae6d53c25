//! What the page knows of a lab and of the engines.

use lab_api::{AssetRef, DeviceKind, ParamSpec, RunRecord};

use crate::decode::from_json;

/// The content of `script[data-lab-data]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LabData {
    /// Lab id.
    pub lab: String,
    /// Title as readers see it.
    pub title: String,
    /// Controls.
    pub params: Vec<ParamSpec>,
    /// Files the lab may read.
    pub assets: Vec<AssetRef>,
    /// It runs again by itself when a control changes.
    pub live: bool,
    /// The committed default run.
    pub reference: Option<RunRecord>,
}

/// `pkg/manifest.json`, as far as the widget needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The engines that are built.
    pub engines: Engines,
}

/// One bundle per engine; `None` is still being built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engines {
    /// The CPU engine.
    pub cpu: Option<Bundle>,
    /// The WebGPU engine.
    pub gpu: Option<Bundle>,
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its worker, relative to the book's root.
    pub entry: String,
    /// What a first visit downloads, in bytes.
    pub gzip_bytes: u64,
}

impl LabData {
    /// Reads the data block.
    ///
    /// # Errors
    /// Words that name the field.
    pub fn from_json(text: &str) -> Result<Self, String> {
        from_json(text)
    }
}

impl Manifest {
    /// Reads the file.
    ///
    /// # Errors
    /// Words that name the field.
    pub fn from_json(text: &str) -> Result<Self, String> {
        from_json(text)
    }

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
        let manifest = Manifest::from_json(text).expect("valid");
        assert_eq!(manifest.bundle(DeviceKind::Cpu).map(|b| b.entry.as_str()), Some("pkg/cpu-1/worker.js"));
        assert_eq!(manifest.bundle(DeviceKind::Webgpu), None);
        let none = Manifest::from_json(r#"{"engines": {}}"#).expect("valid");
        assert_eq!(none, Manifest::default());
    }
}
