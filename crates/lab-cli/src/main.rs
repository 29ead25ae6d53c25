//! Runs labs natively: list, run, reference, train.
fn main() {}
