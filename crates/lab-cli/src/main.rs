//! `lab-cli`: see `--help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lab_api::DeviceChoice;
use lab_cli::{
    BenchOptions, ExportOptions, GradeOptions, Problem, RunOptions, Task, TrainOptions, VerifyOptions, bench, export,
    grade, list, new_lab, reference, registry, root, run, time_hot_paths, train, verify,
};

/// The labs of the book, run natively.
#[derive(Parser)]
#[command(name = "lab", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the labs.
    List {
        /// As JSON, with parameters.
        #[arg(long)]
        json: bool,
    },
    /// Run a lab.
    Run(RunOptions),
    /// Repeat a folder of reports that students saved from pages, and write a table of what agrees.
    Grade(GradeOptions),
    /// Write an entry of the Efficiency Olympics as a folder that cargo builds and runs without the book.
    Export(ExportOptions),
    /// Repeat score cards of the Efficiency Olympics (files that pages or `--json` saved), say which hold, and rank those.
    Verify(VerifyOptions),
    /// Run the default and the study of a lab, or of all, and write params.json and reference.json.
    Reference {
        /// The lab; all without it.
        id: Option<String>,
        /// Write nothing: fail where a file does not match its sources.
        #[arg(long)]
        check: bool,
        /// Run the study too. This is the default; `--study false` keeps the committed one.
        #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
        study: bool,
        /// Run the default of each stale lab again, and renew its hash where no number moved.
        #[arg(long, conflicts_with = "check")]
        confirm: bool,
        /// With --confirm: the study would give the same too, since code was only moved. Say why in the commit.
        #[arg(long, requires = "confirm")]
        vouch: bool,
    },
    /// Train the weights that labs ship with, and record them in assets/manifest.toml.
    Train(TrainOptions),
    /// Write labs/src/registry.rs from the folders beside it.
    Registry {
        /// Write nothing: fail where it does not match.
        #[arg(long)]
        check: bool,
    },
    /// Start a lab that passes all tests.
    NewLab {
        /// Lower-case words with hyphens, for example `weight-sharing`.
        name: String,
    },
    /// Time the computations that decide how long readers wait; `cargo xtask bench --browser` compares devices by them.
    HotPaths {
        /// auto, webgpu or cpu.
        #[arg(long, default_value = "cpu")]
        device: String,
        /// Milliseconds for each, about.
        #[arg(long, default_value_t = 2000.0)]
        budget_ms: f64,
        /// All samples, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Benchmark a technique, or all: its numbers over several runs, what readers wait for, this machine's roof.
    Bench(BenchOptions),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(problem.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<(), Problem> {
    let root = root()?;
    match command {
        Command::List { json } => list(&root, json),
        Command::Run(options) => run(&root, &options),
        Command::Grade(options) => grade(&root, &options),
        Command::Export(options) => export(&root, &options),
        Command::Verify(options) => verify(&root, &options),
        Command::Reference { id, check, study, confirm, vouch } => {
            let task = match (check, confirm) {
                (true, _) => Task::Check,
                (_, true) => Task::Confirm { vouch },
                _ => Task::Make { study },
            };
            reference(&root, id.as_deref(), task)
        }
        Command::Train(options) => train(&root, &options),
        Command::Registry { check } => registry(&root, check),
        Command::NewLab { name } => new_lab(&root, &name),
        Command::HotPaths { device, budget_ms, json } => {
            let device = DeviceChoice::parse(&device).map_err(|bad| Problem::Input(bad.to_string()))?;
            time_hot_paths(&root, device, budget_ms, json)
        }
        Command::Bench(options) => bench(&root, &options),
    }
}
