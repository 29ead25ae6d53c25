//! Opening a device in a worker.

use lab_api::{DeviceChoice, DeviceInfo, LabError};
use lab_kit::{burn::tensor::Device, open_device};

/// Opens a device, and tells the kernels what only the browser knows of its shader language.
///
/// # Errors
/// As [`open_device`].
pub(crate) async fn open(choice: DeviceChoice) -> Result<(Device, DeviceInfo), LabError> {
    #[cfg(feature = "webgpu")]
    lab_kit::gpu::use_integer_dots(has_feature("packed_4x8_integer_dot_product"));
    open_device(choice).await
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
