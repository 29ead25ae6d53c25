//! The command line of the site builder; see the library.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use site_builder::{Build, Paths, Serve, build, serve, serve_static};

/// Builds and serves the static site around the book.
#[derive(Debug, Parser)]
struct Args {
    /// The workspace; found from the current folder upwards where it is not given.
    #[arg(long, global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes the whole site to a folder.
    Build {
        /// Where to; replaced as a whole when everything has succeeded.
        #[arg(long, default_value = "dist")]
        out: PathBuf,
        /// Folder of WASM bundles.
        #[arg(long)]
        pkg: Option<PathBuf>,
        /// Also write .gz and .br files.
        #[arg(long)]
        release: bool,
        /// Absolute address of the book's root, for sitemap, social cards and the 404 page.
        #[arg(long, env = "SITE_BASE_URL")]
        base_url: Option<String>,
    },
    /// Shows the book on 127.0.0.1 and reloads it on change.
    Serve {
        /// Port on 127.0.0.1.
        #[arg(long, default_value_t = 4000)]
        port: u16,
        /// Folder of WASM bundles, which may fill while this runs.
        #[arg(long)]
        pkg: Option<PathBuf>,
        /// Folder for the pages.
        #[arg(long, default_value = "target/serve")]
        out: PathBuf,
        /// Path under which the book stands, such as /some/path/.
        #[arg(long, default_value = "/")]
        base: String,
        /// Do not put the reload script into the pages.
        #[arg(long)]
        no_reload: bool,
        /// Serve this folder as it is, without building or watching.
        #[arg(long = "static", value_name = "DIR", conflicts_with_all = ["pkg", "out", "no_reload"])]
        folder: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Args { root, command }: Args) -> Result<ExitCode> {
    let paths = || match &root {
        Some(root) => Paths::new(root),
        None => Paths::find(&std::env::current_dir()?),
    };
    match command {
        Command::Build { out, pkg, release, base_url } => {
            let base_url = base_url.filter(|url| !url.is_empty());
            build(&paths()?, &Build { out, pkg, precompress: release, base_url })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve { port, base, folder: Some(folder), .. } => serve_static(&folder, port, &base),
        Command::Serve { port, pkg, out, base, no_reload, folder: None } => {
            serve(&paths()?, &Serve { port, pkg, out, base, reload: !no_reload })
        }
    }
}
