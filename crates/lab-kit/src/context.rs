//! What a running lab holds: device, generator, files, clock, and the way to its reader.

use std::{cell::Cell, rc::Rc};

use burn::tensor::Device;
use lab_api::{AssetRef, DeviceInfo, Environment, LabError, Report, nearest};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

pub use lab_kernels::rng;

use crate::{
    Host,
    data::hex,
    measure::{MemoryReading, NOTICEABLE},
};

/// Everything a lab may touch while it runs.
pub struct Context {
    /// Where tensors live. Never call `Device::default()`: it may be another one.
    pub device: Device,
    /// The same device in words.
    pub device_info: DeviceInfo,
    /// The seed of this run.
    pub seed: u64,
    assets: Vec<AssetRef>,
    host: Rc<dyn Host>,
    clock_step_ms: f64,
    /// The highest peak that was seen before the host was told to forget it.
    earlier_peak_bytes: Cell<usize>,
    /// Samples of time that were dropped because the page was hidden while they were taken.
    dropped_samples: Cell<usize>,
    /// Whether samples were kept although the page was hidden, since it stayed so.
    stayed_hidden: Cell<bool>,
    /// Variants that passed the A/A gate or did not, how many did not, and by what share at most.
    gate: Cell<(usize, usize, f64)>,
}

impl Context {
    /// A context on an opened device ([`open_device`](crate::open_device)), offering these files.
    #[must_use]
    pub fn new(device: (Device, DeviceInfo), seed: u64, assets: Vec<AssetRef>, host: Rc<dyn Host>) -> Self {
        let clock_step_ms = clock_step_ms(host.as_ref());
        Self {
            device: device.0,
            device_info: device.1,
            seed,
            assets,
            host,
            clock_step_ms,
            earlier_peak_bytes: Cell::new(0),
            dropped_samples: Cell::new(0),
            stayed_hidden: Cell::new(false),
            gate: Cell::new((0, 0, 0.0)),
        }
    }

    /// A generator for one purpose, the same on every platform. Purposes have independent streams, so that drawing one
    /// number more for the data order leaves the initial weights as they were.
    #[must_use]
    pub fn rng(&self, purpose: &str) -> ChaCha8Rng {
        rng(self.seed, purpose)
    }

    /// The verified content of a file of `assets/`.
    ///
    /// # Errors
    /// [`LabError::Asset`] when it was not offered, cannot be had, or is not the file the manifest describes.
    pub async fn asset(&self, name: &str) -> Result<Vec<u8>, LabError> {
        let fail = |why: String| LabError::Asset { name: name.to_owned(), why };
        let Some(asset) = self.assets.iter().find(|asset| asset.name == name) else {
            let near = nearest(name, self.assets.iter().map(|asset| asset.name.as_str()));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
            return Err(fail(format!("it was not offered to the lab: name it in “assets” of lab.md{hint}")));
        };
        let bytes = self.host.fetch(asset.clone()).await.map_err(fail)?;
        if bytes.len() as u64 != asset.size_bytes {
            return Err(fail(format!("it has {} bytes, but {} were expected", bytes.len(), asset.size_bytes)));
        }
        if hex(&Sha256::digest(&bytes)) != asset.sha256 {
            return Err(fail("its content was altered: the SHA-256 differs from the manifest's".into()));
        }
        Ok(bytes)
    }

    pub(crate) fn host(&self) -> Rc<dyn Host> {
        Rc::clone(&self.host)
    }

    /// Milliseconds of a clock that never goes back.
    #[must_use]
    pub fn now_ms(&self) -> f64 {
        self.host.now_ms()
    }

    /// Smallest step of that clock seen, in milliseconds: a browser may round to 0.1 ms or coarser.
    #[must_use]
    pub fn clock_step_ms(&self) -> f64 {
        self.clock_step_ms
    }

    /// Whether the page is hidden, or was since this was last asked.
    pub(crate) fn was_hidden(&self) -> bool {
        self.host.was_hidden()
    }

    /// Counts samples that the page was hidden in: dropped, or kept because it stays hidden.
    pub(crate) fn count_hidden(&self, samples: usize, dropped: bool) {
        if dropped {
            self.dropped_samples.set(self.dropped_samples.get() + samples);
        } else if samples > 0 {
            self.stayed_hidden.set(true);
        }
    }

    /// What a hidden page did to the times of this run, as a sentence for its reader; `None` where it did nothing.
    #[must_use]
    pub fn hidden_note(&self) -> Option<String> {
        let (dropped, stayed) = (self.dropped_samples.get(), self.stayed_hidden.get());
        let were = if dropped == 1 { "sample was" } else { "samples were" };
        let again = format!("{dropped} {were} dropped and taken again, because the page was hidden meanwhile");
        match (dropped, stayed) {
            (0, false) => None,
            (0, true) => Some("The page stayed hidden: times may be too long.".to_owned()),
            (_, false) => Some(again + "."),
            (_, true) => Some(again + "; it stayed hidden, so times may be too long."),
        }
    }

    /// Counts a variant before the A/A gate, and by what share it differed from itself (0: by no more than chance).
    pub(crate) fn count_gate(&self, difference: f64) {
        let (judged, apart, worst) = self.gate.get();
        self.gate.set((judged + 1, apart + usize::from(difference >= NOTICEABLE), worst.max(difference)));
    }

    /// What the A/A gate found in this run, as a sentence for its reader; `None` where every variant equals itself.
    #[must_use]
    pub fn gate_note(&self) -> Option<String> {
        let (judged, apart, worst) = self.gate.get();
        (apart > 0).then(|| {
            format!(
                "In {apart} of {judged} checks a variant's times differed from its own, by {:.0} % at most: what ran before it mattered, or another program did. Trust no smaller difference of times.",
                100.0 * worst
            )
        })
    }

    /// Bytes of engine memory (tensors of the CPU among them): held now, and the most held at once since the host last
    /// began to count. `None` where the host does not count. For the peak of one call see
    /// [`measure::peak_bytes`](crate::measure::peak_bytes).
    #[must_use]
    pub fn memory(&self) -> Option<MemoryReading> {
        let reading = self.host.memory()?;
        Some(MemoryReading { peak_bytes: reading.peak_bytes.max(self.earlier_peak_bytes.get()), ..reading })
    }

    /// Begins a scope whose peak [`Context::end_peak`] tells; gives the bytes held now and the peak before it.
    pub(crate) fn begin_peak(&self) -> Option<(usize, usize)> {
        let now = self.memory()?;
        self.earlier_peak_bytes.set(0);
        self.host.reset_peak();
        Some((now.current_bytes, now.peak_bytes))
    }

    /// The peak since [`Context::begin_peak`], beyond what was held then. Outer scopes keep theirs.
    pub(crate) fn end_peak(&self, before: Option<(usize, usize)>) -> Option<usize> {
        let (held, earlier) = before?;
        let peak = self.memory()?.peak_bytes;
        self.earlier_peak_bytes.set(earlier.max(peak));
        Some(peak.saturating_sub(held))
    }

    /// Shows what is being done, and how much of the run is behind (0 to 1).
    pub fn progress(&self, stage: &str, fraction: f64) {
        self.host.progress(stage, fraction.clamp(0.0, 1.0));
    }

    /// Shows what is known so far. A later report replaces it.
    ///
    /// # Errors
    /// [`LabError::Refused`] when the report breaks a rule of [`Report::check`].
    pub fn publish(&self, report: &Report) -> Result<(), LabError> {
        report.check()?;
        self.host.publish(report);
        Ok(())
    }

    /// Lets the host breathe. Call it at least every 30 ms of work, so that Cancel is heard.
    ///
    /// # Errors
    /// [`LabError::Cancelled`] when the reader asked to stop.
    pub async fn checkpoint(&self) -> Result<(), LabError> {
        self.host.yield_now().await;
        if self.host.cancelled() { Err(LabError::Cancelled) } else { Ok(()) }
    }

    /// Where this run happens.
    #[must_use]
    pub fn environment(&self) -> Environment {
        let info = self.host.info();
        Environment {
            device: self.device_info.clone(),
            host: info.host,
            platform: info.platform,
            cores: info.cores,
            engine_version: info.engine_version,
            clock_step_ms: self.clock_step_ms,
        }
    }
}

/// Watches the clock until it moved a few times, for 20 ms at most.
fn clock_step_ms(host: &dyn Host) -> f64 {
    let start = host.now_ms();
    let (mut last, mut smallest, mut steps) = (start, f64::INFINITY, 0);
    while steps < 8 && last - start < 20.0 {
        let now = host.now_ms();
        if now > last {
            smallest = smallest.min(now - last);
            steps += 1;
            last = now;
        }
    }
    if smallest.is_finite() { smallest } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::rng;

    #[test]
    fn streams_repeat_and_are_independent() {
        assert_eq!(rng(7, "data").next_u64(), rng(7, "data").next_u64());
        assert_ne!(rng(7, "data").next_u64(), rng(7, "weights").next_u64());
        assert_ne!(rng(7, "data").next_u64(), rng(8, "data").next_u64());
    }
}
