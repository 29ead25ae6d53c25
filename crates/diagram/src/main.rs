//! Mermaid to SVG, run only when a diagram changed.
fn main() {}
