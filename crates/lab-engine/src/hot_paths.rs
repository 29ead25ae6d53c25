//! What benchmarks and tests ask of an engine, beside the page's messages: exports that a worker calls directly. No page uses
//! them, and they add a few kilobytes; in return it is the reader's own engine that is measured.

use std::{cell::Cell, rc::Rc};

use lab_api::{DeviceChoice, LabError};
use lab_kit::{Context, hot_paths};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::DedicatedWorkerGlobalScope;

use crate::{device, host::BrowserHost, trouble};

/// Times a hot path for about `budget_ms` and returns [`hot_paths::Timing`] as JSON. In the gpu engine with our kernels or
/// with Burn's.
///
/// # Errors
/// The words of a [`LabError`], also where the GPU stack only logged one.
#[wasm_bindgen]
pub async fn time_hot_path(path: String, budget_ms: f64, own_kernels: bool) -> Result<String, JsValue> {
    let cx = context(own_kernels).await?;
    let timing = trusted(hot_paths::time(&cx, &path, budget_ms).await)?;
    serde_json::to_string(&timing).map_err(|error| JsValue::from_str(&error.to_string()))
}

/// Runs steps of a hot path, for a caller that counts what they ask of the GPU.
///
/// # Errors
/// As [`time_hot_path`].
#[wasm_bindgen]
pub async fn repeat_hot_path(path: String, steps: usize, own_kernels: bool) -> Result<(), JsValue> {
    let cx = context(own_kernels).await?;
    trusted(hot_paths::repeat(&cx, &path, steps).await)
}

/// Compares our kernels with the CPU on random shapes and returns a list of [`lab_kit::gpu::Agreement`] as JSON.
///
/// # Errors
/// As [`time_hot_path`].
#[cfg(feature = "webgpu")]
#[wasm_bindgen]
pub async fn kernel_agreement(seed: u32, cases: usize) -> Result<String, JsValue> {
    let cx = context(true).await?;
    let found = trusted(lab_kit::gpu::agreement(&cx.device, u64::from(seed), cases).await)?;
    serde_json::to_string(&found).map_err(|error| JsValue::from_str(&error.to_string()))
}

/// A product of packed weights, or all of them as floats ([`lab_kit::gpu::wide_product`]), for a caller that watches buffers.
///
/// # Errors
/// As [`time_hot_path`].
#[cfg(feature = "webgpu")]
#[wasm_bindgen]
pub async fn wide_product(width: usize, expand: bool) -> Result<(), JsValue> {
    let cx = context(true).await?;
    trusted(lab_kit::gpu::wide_product(&cx.device, width, expand).await)
}

async fn context(own_kernels: bool) -> Result<Context, JsValue> {
    trouble::clear();
    let scope: DedicatedWorkerGlobalScope = js_sys::global().dyn_into()?;
    let host = BrowserHost::new(scope, 0, String::new(), Default::default(), Rc::new(Cell::new(false)))?;
    let choice = if cfg!(feature = "webgpu") { DeviceChoice::Webgpu } else { DeviceChoice::Cpu };
    let (device, _) = device::open(choice).await.map_err(|error| words(&error))?;
    #[cfg(feature = "webgpu")]
    lab_kit::gpu::use_own_kernels(own_kernels);
    #[cfg(not(feature = "webgpu"))]
    let _ = own_kernels;
    Ok(Context::new(device, 0, Vec::new(), Rc::new(host)))
}

/// An error in the log outranks a result.
fn trusted<T>(outcome: Result<T, LabError>) -> Result<T, JsValue> {
    match trouble::logged() {
        Some(error) => Err(words(&error)),
        None => outcome.map_err(|error| words(&error)),
    }
}

fn words(error: &LabError) -> JsValue {
    JsValue::from_str(&error.to_string())
}
