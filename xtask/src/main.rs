//! `cargo xtask`: one door to everything an author or tester does. It parses the command line and starts cargo with the
//! right packages, profiles and features; the work is done by the crates it starts.

mod args;
mod check;
mod doctor;
mod new;
mod pipeline;
mod serve;
mod sources;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

use args::Args;
use step::Steps;
use workspace::Workspace;

/// A command: its name, its arguments as shown, one line of description, and what it does.
struct Command {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&Workspace, Args) -> anyhow::Result<ExitCode>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "serve",
        usage: "[--port N] [--gpu] [--prose]",
        about: "Serve the book on 127.0.0.1, prose first; rebuild and reload on change",
        run: serve::run,
    },
    Command {
        name: "build",
        usage: "[--out DIR] [--no-gpu] [--base-url URL]",
        about: "Build the static site into dist/, as readers get it",
        run: pipeline::run,
    },
    Command {
        name: "check",
        usage: "[NAME]",
        about: "Formatting, lints, invariants, generated files, links, budgets; or one of them",
        run: check::run,
    },
    Command {
        name: "test",
        usage: "[FILTER] [--no-browser] [--no-gpu]",
        about: "Native tests, then the built site in Chromium",
        run: test::run,
    },
    Command {
        name: "ci",
        usage: "",
        about: "All of `check`, then all of `test`: what .ci/run asks for",
        run: test::checks_and_tests,
    },
    Command {
        name: "doctor",
        usage: "",
        about: "Say what is installed, what is missing, and what mends it",
        run: doctor::run,
    },
    Command {
        name: "new",
        usage: "lab NAME | chapter NAME [--part tactics|strategy]",
        about: "Start a lab or a chapter that passes all checks",
        run: new::run,
    },
    Command {
        name: "lab",
        usage: "list | run ID [--set NAME=VALUE ...] [--seed N] [--device D] [--json] | run --from FILE | export olympics --out FOLDER | verify FILES",
        about: "List the labs, run one natively, export an Olympic entry, or repeat score cards",
        run: |workspace, args| pipeline::lab_cli(workspace, &[], args),
    },
    Command {
        name: "grade",
        usage: "FOLDER [--out FILE] [--runs N]",
        about: "Repeat the reports of a class, saved from pages, and write a table of what agrees",
        run: |workspace, args| pipeline::lab_cli(workspace, &["grade"], args),
    },
    Command {
        name: "reference",
        usage: "[ID]",
        about: "Run default and study of a lab (or of all) and write reference.json",
        run: |workspace, args| pipeline::lab_cli(workspace, &["reference"], args),
    },
    Command {
        name: "data",
        usage: "corpus | tokenizer | ngram | glyphs [--check]",
        about: "Make a data set in assets/, or check that it is what the manifest says",
        run: pipeline::asset_maker,
    },
    Command {
        name: "train",
        usage: "digits|glyphs|glyph-mlp|lm|draft|cells [--seed N] [--check] [--trial] [--fresh]",
        about: "Train the weights a lab ships with, from their seed; a stopped training goes on",
        run: |workspace, args| pipeline::lab_cli(workspace, &["train"], args),
    },
    Command {
        name: "bench",
        usage: "[--technique ID] [--device cpu|webgpu] [--runs N] [--json] [--svg FILE] | --browser",
        about: "Benchmark a technique, or all, natively; with --browser the hot paths in Chromium, into docs/benchmarks.md",
        run: |workspace, mut args| {
            if args.flag("--browser") {
                return test::hot_paths(workspace, args);
            }
            pipeline::lab_cli(workspace, &["bench"], args)
        },
    },
    Command {
        name: "overlap",
        usage: "[--json]",
        about: "What strategy and tactics say in the same words, by topic; fails at 1 %",
        run: |workspace, args| {
            let status =
                pipeline::textbook(workspace, &mut Steps::new(workspace), "overlap", &args.rest())?.status()?;
            Ok(pipeline::exit_code(status))
        },
    },
    Command {
        name: "prose",
        usage: "[--json]",
        about: "Count what can be counted of the rules of language, page by page; it advises",
        run: |workspace, args| {
            let status = pipeline::textbook(workspace, &mut Steps::new(workspace), "prose", &args.rest())?.status()?;
            Ok(pipeline::exit_code(status))
        },
    },
    Command {
        name: "screenshots",
        usage: "[FILTER]",
        about: "Photograph every lab idle, running, done and failed, wide and narrow, in both themes",
        run: test::screenshots,
    },
    Command { name: "help", usage: "", about: "This list", run: |_, _| Ok(help()) },
];

fn main() -> ExitCode {
    let asked: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = check::lints::instead_of_rustc(&asked) {
        return code;
    }
    let mut words = std::env::args().skip(1);
    let Some(name) = words.next() else {
        help();
        return ExitCode::from(2);
    };
    if ["-h", "--help"].contains(&name.as_str()) {
        return help();
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("{}", unknown(&name));
        return ExitCode::from(2);
    };
    let args = Args::new(words);
    if args.wants_help() && command.name != "lab" {
        println!("cargo xtask {} {}\n\n{}.", command.name, command.usage, command.about);
        return ExitCode::SUCCESS;
    }
    let done = Workspace::find().and_then(|workspace| (command.run)(&workspace, args));
    done.unwrap_or_else(|error| match error.downcast::<args::Usage>() {
        Ok(usage) => {
            eprintln!("{usage}\nUsage: cargo xtask {} {}", command.name, command.usage);
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn help() -> ExitCode {
    println!("cargo xtask COMMAND\n");
    for Command { name, usage, about, .. } in COMMANDS {
        println!("  {:<11} {about}", name);
        if !usage.is_empty() {
            println!("  {:<11}   {name} {usage}", "");
        }
    }
    ExitCode::SUCCESS
}

fn unknown(name: &str) -> String {
    let hint = match lab_api::nearest(name, COMMANDS.iter().map(|command| command.name)) {
        Some(near) => format!("did you mean “{near}”?"),
        None => "`cargo xtask help` lists them".to_owned(),
    };
    format!("there is no command “{name}”; {hint}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_slip_of_the_keyboard_names_the_nearest_command() {
        assert!(super::unknown("sevre").contains("“serve”"));
        assert!(super::unknown("zzzz").contains("cargo xtask help"));
    }
}
