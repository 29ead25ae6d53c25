//! Opening the device that a reader chose.

use burn::tensor::Device;
use lab_api::{DeviceChoice, DeviceInfo, DeviceKind, LabError};

/// Opens a device. `Auto` takes a GPU where this build can and there is one, and the CPU elsewhere: a software adapter is no
/// GPU, it gives the same numbers many times slower than the CPU device.
///
/// # Errors
/// [`LabError::Device`] when WebGPU was asked for and cannot be had.
pub async fn open_device(choice: DeviceChoice) -> Result<(Device, DeviceInfo), LabError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu()),
        DeviceChoice::Webgpu => webgpu().await,
        DeviceChoice::Auto => match webgpu().await {
            Ok(opened) if !opened.1.software_adapter => Ok(opened),
            _ => Ok(cpu()),
        },
    }
}

fn cpu() -> (Device, DeviceInfo) {
    let simd = if cfg!(all(target_family = "wasm", not(target_feature = "simd128"))) { "" } else { " SIMD" };
    let name = if cfg!(target_family = "wasm") {
        format!("CPU (WASM{simd})")
    } else {
        format!("CPU ({}{simd})", std::env::consts::ARCH)
    };
    let info = DeviceInfo {
        kind: DeviceKind::Cpu,
        name,
        vendor: String::new(),
        architecture: if cfg!(target_family = "wasm") { "wasm32" } else { std::env::consts::ARCH }.to_owned(),
        software_adapter: false,
    };
    (Device::flex(), info)
}

#[cfg(not(feature = "webgpu"))]
async fn webgpu() -> Result<(Device, DeviceInfo), LabError> {
    Err(LabError::Device { why: "this engine was built without WebGPU".into() })
}

#[cfg(feature = "webgpu")]
async fn webgpu() -> Result<(Device, DeviceInfo), LabError> {
    use std::cell::RefCell;

    // Burn refuses to initialize one adapter twice, and every run wants the same device anyway.
    thread_local! {
        static OPENED: RefCell<Option<(Device, DeviceInfo)>> = const { RefCell::new(None) };
    }
    if let Some(opened) = OPENED.with_borrow(Clone::clone) {
        return Ok(opened);
    }
    let (device, setup) = Device::wgpu_options()
        .init_with_setup_async()
        .await
        .map_err(|error| LabError::Device { why: format!("no usable GPU adapter: {error}") })?;
    let adapter = setup.adapter.get_info();
    let api = match adapter.backend.to_str() {
        "webgpu" => "WebGPU".to_owned(),
        "vulkan" => "Vulkan".to_owned(),
        "metal" => "Metal".to_owned(),
        "dx12" => "DirectX 12".to_owned(),
        other => other.to_owned(),
    };
    // Browsers may keep the adapter's name to themselves.
    let name = if adapter.name.is_empty() { format!("GPU ({api})") } else { format!("{} ({api})", adapter.name) };
    let info = DeviceInfo {
        kind: DeviceKind::Webgpu,
        name,
        vendor: vendor(adapter.vendor).to_owned(),
        architecture: adapter.driver,
        software_adapter: format!("{:?}", adapter.device_type) == "Cpu",
    };
    crate::gpu::use_own_kernels(info.software_adapter);
    OPENED.with_borrow_mut(|opened| *opened = Some((device.clone(), info.clone())));
    Ok((device, info))
}

/// The maker behind a PCI vendor number; empty where unknown (browsers report 0).
#[cfg(feature = "webgpu")]
fn vendor(pci: u32) -> &'static str {
    match pci {
        0x1002 => "AMD",
        0x10de => "NVIDIA",
        0x8086 => "Intel",
        0x106b => "Apple",
        0x13b5 => "Arm",
        0x5143 => "Qualcomm",
        0x1ae0 => "Google",
        0x10005 => "Mesa",
        _ => "",
    }
}
