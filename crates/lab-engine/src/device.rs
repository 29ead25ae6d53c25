//! Opening a device in a worker.

use lab_api::{DeviceChoice, DeviceInfo, LabError};
use lab_kit::{burn::tensor::Device, open_device};

/// Opens the device of this engine, whatever was chosen: the page asks the engine that it wants.
///
/// # Errors
/// As [`open_device`].
#[cfg(not(feature = "webgpu"))]
pub(crate) async fn open(_: DeviceChoice) -> Result<((Device, DeviceInfo), Option<String>), LabError> {
    Ok((open_device(DeviceChoice::Cpu).await?, None))
}

/// Opens the GPU, and says why it is the CPU where the page left that open (`Auto`) and the GPU is of no use. What comes of an
/// adapter is compared with the processor before anything is believed of it.
///
/// # Errors
/// As [`open_device`]; or an adapter that was asked for computes wrong numbers.
#[cfg(feature = "webgpu")]
pub(crate) async fn open(choice: DeviceChoice) -> Result<((Device, DeviceInfo), Option<String>), LabError> {
    // Only the browser knows this of its shader language.
    lab_kit::gpu::use_integer_dots(has_feature("packed_4x8_integer_dot_product"));
    match verified().await {
        Err(error) if choice == DeviceChoice::Auto => {
            // What was logged explains best, and spoils nothing of what the CPU does now.
            let error = crate::trouble::logged().unwrap_or(error);
            let why = format!("This ran on the CPU, for the GPU is of no use: {error}");
            Ok((open_device(DeviceChoice::Cpu).await?, Some(why)))
        }
        opened => Ok((opened?, None)),
    }
}

#[cfg(feature = "webgpu")]
async fn verified() -> Result<(Device, DeviceInfo), LabError> {
    let opened = open_device(DeviceChoice::Webgpu).await?;
    lab_kit::gpu::verify(&opened.0, &opened.1).await?;
    match crate::trouble::logged() {
        Some(error) => Err(error),
        None => Ok(opened),
    }
}

/// Whether WGSL has a language feature here: `navigator.gpu.wgslLanguageFeatures`, which web-sys keeps among its unstable parts.
#[cfg(feature = "webgpu")]
fn has_feature(name: &str) -> bool {
    use js_sys::{Function, Reflect, global};
    use wasm_bindgen::{JsCast, JsValue};

    // A property of what is undefined is an error, and then the feature is not there.
    let features = ["navigator", "gpu", "wgslLanguageFeatures"]
        .into_iter()
        .try_fold(JsValue::from(global()), |of, property| Reflect::get(&of, &property.into()));
    let has = features.and_then(|features| {
        let has: Function = Reflect::get(&features, &"has".into())?.dyn_into()?;
        has.call1(&features, &name.into())
    });
    has.is_ok_and(|there| there.is_truthy())
}
