//! Builds and serves the static site around the book.
fn main() {}
