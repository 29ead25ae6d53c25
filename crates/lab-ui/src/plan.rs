//! Which engine a run takes.

use lab_api::{DeviceChoice, DeviceKind};

/// What answered when the browser was asked for a WebGPU adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// Nothing.
    None,
    /// One that is emulated on the processor: correct, and slow.
    Software,
    /// A GPU.
    Real,
}

/// What a run is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// One run where the reader chose.
    Chosen,
    /// One run on the CPU, whatever was chosen.
    Cpu,
    /// A run on each device.
    Both,
}

/// Why a run cannot start, for the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened and what to do.
    pub words: String,
    /// Whether the CPU can be offered instead.
    pub offer_cpu: bool,
}

impl Trouble {
    pub(crate) fn new(words: impl Into<String>, offer_cpu: bool) -> Self {
        Self { words: words.into(), offer_cpu }
    }
}

/// The engine for a choice, and a remark for the reader where `auto` had to decide.
///
/// `auto` takes a GPU where there is one. A software adapter is no GPU: it gives the same numbers many times slower than
/// the CPU engine, so only an explicit `webgpu` takes it.
///
/// # Errors
/// No adapter answered an explicit `webgpu`, or the engine is still being built.
pub fn choose(
    choice: DeviceChoice,
    adapter: Adapter,
    built: impl Fn(DeviceKind) -> bool,
) -> Result<(DeviceKind, &'static str), Trouble> {
    const NO_ADAPTER: &str = "This browser offers no WebGPU adapter. Run on the CPU instead: the result is the same.";
    const GPU_BUILDING: &str = "The WebGPU engine is still being built. Try again soon, or run on the CPU.";
    let cpu = |remark| {
        if built(DeviceKind::Cpu) {
            Ok((DeviceKind::Cpu, remark))
        } else {
            Err(Trouble::new("The engine is still being built. Press Run again in a minute.", false))
        }
    };
    match (choice, adapter) {
        (DeviceChoice::Cpu, _) => cpu(""),
        (DeviceChoice::Auto, Adapter::Real) if built(DeviceKind::Webgpu) => Ok((DeviceKind::Webgpu, "")),
        (DeviceChoice::Auto, Adapter::Real) => cpu("The WebGPU engine is still being built: auto took the CPU."),
        (DeviceChoice::Auto, Adapter::Software) => cpu("Only a software WebGPU adapter here: auto took the CPU."),
        (DeviceChoice::Auto, Adapter::None) => cpu("No WebGPU adapter here: auto took the CPU."),
        (DeviceChoice::Webgpu, Adapter::None) => Err(Trouble::new(NO_ADAPTER, true)),
        (DeviceChoice::Webgpu, _) if built(DeviceKind::Webgpu) => Ok((DeviceKind::Webgpu, "")),
        (DeviceChoice::Webgpu, _) => Err(Trouble::new(GPU_BUILDING, true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_a_gpu_and_nothing_worse_than_the_cpu() {
        let all = |_| true;
        let kind = |choice, adapter| choose(choice, adapter, all).map(|(kind, _)| kind);
        assert_eq!(kind(DeviceChoice::Auto, Adapter::Real), Ok(DeviceKind::Webgpu));
        assert_eq!(kind(DeviceChoice::Auto, Adapter::Software), Ok(DeviceKind::Cpu));
        assert_eq!(kind(DeviceChoice::Auto, Adapter::None), Ok(DeviceKind::Cpu));
        assert_eq!(kind(DeviceChoice::Webgpu, Adapter::Software), Ok(DeviceKind::Webgpu));
        assert_eq!(kind(DeviceChoice::Cpu, Adapter::Real), Ok(DeviceKind::Cpu));
    }

    #[test]
    fn what_cannot_be_had_is_named_with_a_way_out() {
        let none = choose(DeviceChoice::Webgpu, Adapter::None, |_| true).expect_err("no adapter");
        assert!(none.offer_cpu && none.words.contains("no WebGPU adapter"));
        let cpu_only = |kind| kind == DeviceKind::Cpu;
        assert!(choose(DeviceChoice::Webgpu, Adapter::Real, cpu_only).expect_err("not built").offer_cpu);
        let (kind, remark) = choose(DeviceChoice::Auto, Adapter::Real, cpu_only).expect("the CPU");
        assert!(kind == DeviceKind::Cpu && remark.contains("being built"));
        let nothing = choose(DeviceChoice::Auto, Adapter::None, |_| false).expect_err("not built");
        assert!(!nothing.offer_cpu && nothing.words.contains("still being built"));
    }
}
