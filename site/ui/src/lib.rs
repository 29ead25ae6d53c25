//! The WASM entry of the page: wakes labs.

