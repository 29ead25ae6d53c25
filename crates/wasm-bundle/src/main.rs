//! Turns a WASM artifact into a browser bundle with a hashed name.
fn main() {}
