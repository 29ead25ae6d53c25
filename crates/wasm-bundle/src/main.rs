//! `wasm-bundle --input FILE --name NAME --out DIR [--worker]`: see the library. Prints the bundle as one line of JSON.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use wasm_bundle::{Job, bundle};

/// Turns a WASM artifact into a browser bundle with a hashed name.
#[derive(Debug, Parser)]
struct Args {
    /// The artifact rustc made.
    #[arg(long)]
    input: PathBuf,
    /// Name of the bundle: ui, cpu or gpu.
    #[arg(long)]
    name: String,
    /// Folder that holds all bundles.
    #[arg(long)]
    out: PathBuf,
    /// Also write worker.js, which starts the engine in a worker, and make it the entry.
    #[arg(long)]
    worker: bool,
}

fn main() -> Result<()> {
    let Args { input, name, out, worker } = Args::parse();
    let bundle = bundle(&Job { input, name, out, worker })?;
    println!("{}", serde_json::to_string(&bundle)?);
    Ok(())
}
