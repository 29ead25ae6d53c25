//! Has the linker export the function that runs the constructors of all crates, and leave calling it to `worker.js`.
//!
//! Without this it takes the engine for a program that is entered once, and calls them before every exported function, each
//! allocation that JavaScript asks for included. CubeCL registers thousands: a launch on the GPU took 14 ms of processor time
//! for that alone.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=--export=__wasm_call_ctors");
    }
}
