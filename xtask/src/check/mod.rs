//! `cargo xtask check`: everything that can be wrong without running a lab. All checks run; all failures are told at the end.

mod code;
mod diagram;
pub(crate) mod lints;
pub(crate) mod names;
mod trees;

use std::process::ExitCode;

use crate::args::{Args, Usage};
use crate::pipeline;
use crate::step::Steps;
use crate::workspace::Workspace;

/// One thing that must hold.
struct Check {
    name: &'static str,
    /// The failures found, each a whole sentence that ends with what mends it.
    run: fn(&Workspace, &mut Steps) -> anyhow::Result<Vec<String>>,
}

const CHECKS: &[Check] = &[
    Check { name: "format", run: format },
    Check { name: "names", run: names::check },
    Check { name: "code", run: code::check },
    Check { name: "dependencies", run: trees::check },
    Check { name: "lints", run: lints::natively },
    Check { name: "diagram", run: diagram::check },
    Check { name: "generated", run: generated },
    Check { name: "overlap", run: overlap },
    Check { name: "book", run: book },
    Check { name: "site", run: site },
    // Needs the engines compiled, so last.
    Check { name: "browser-lints", run: lints::in_a_browser },
];

pub(crate) fn run(workspace: &Workspace, mut args: Args) -> anyhow::Result<ExitCode> {
    let only = args.word();
    args.finish()?;
    if let Some(name) = only.as_deref().filter(|name| CHECKS.iter().all(|check| check.name != *name)) {
        let all: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        return Err(Usage(format!("there is no check “{name}”; they are {}", all.join(", "))).into());
    }
    all(workspace, &mut Steps::new(workspace), only.as_deref())
}

/// All checks, or the one of this name.
pub(crate) fn all(workspace: &Workspace, steps: &mut Steps, only: Option<&str>) -> anyhow::Result<ExitCode> {
    if only.is_none() {
        pipeline::begin_bundles(workspace, steps, true)?;
    }
    let mut failures = Vec::new();
    for check in CHECKS.iter().filter(|check| only.is_none_or(|name| name == check.name)) {
        eprintln!("{}", check.name);
        let found = (check.run)(workspace, steps).unwrap_or_else(|error| vec![format!("{error:#}")]);
        failures.extend(found.into_iter().map(|failure| format!("[{}] {failure}", check.name)));
    }
    if failures.is_empty() {
        println!("All checks passed.");
        return Ok(ExitCode::SUCCESS);
    }
    println!();
    for failure in &failures {
        println!("{failure}\n");
    }
    println!("{}.", plural(failures.len(), "failure"));
    Ok(ExitCode::FAILURE)
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn format(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let output = steps.observe("rustfmt", &mut workspace.cargo(&["fmt", "--all", "--", "--check", "-l"]), false)?;
    let found = unformatted(&workspace.root.display().to_string(), &output.text);
    if !output.success && found.is_empty() {
        anyhow::bail!("rustfmt failed:\n{}", output.text);
    }
    Ok(found)
}

/// `rustfmt --check -l` prints one path per line.
fn unformatted(root: &str, output: &str) -> Vec<String> {
    let files = output.lines().filter(|line| line.ends_with(".rs"));
    let name = |line: &str| line.strip_prefix(root).unwrap_or(line).trim_start_matches('/').to_owned();
    let names: Vec<String> = files.map(name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![format!("Not formatted: {}. Run `cargo fmt --all`.", names.join(", "))]
}

/// Registry, parameter specifications and the sources behind reference results.
fn generated(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let cli = pipeline::tool(workspace, steps, "lab-cli")?.display().to_string();
    let mut failures = Vec::new();
    for (what, remedy) in [("registry", "cargo xtask lab registry"), ("reference", "cargo xtask reference")] {
        let output = steps.observe(what, &mut workspace.program(&cli, &[what, "--check"]), false)?;
        if !output.success {
            failures
                .push(format!("{}\nThe {what} does not match its sources; run `{remedy}`.", output.text.trim_end()));
        }
    }
    Ok(failures)
}

/// Strategy and tactics lean on each other and do not repeat each other.
fn overlap(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let mut command = pipeline::textbook(workspace, steps, "overlap", &[])?;
    let output = steps.observe("overlap", &mut command, false)?;
    // Advice, which fails nothing.
    let mut advice = pipeline::textbook(workspace, steps, "prose", &[])?;
    let advice = steps.observe("prose", &mut advice, false)?;
    let outliers = advice.text.lines().filter(|line| line.starts_with("  ")).count();
    println!("Prose: {} beyond the rules of STYLE.md; `cargo xtask prose` names them.", plural(outliers, "place"));
    Ok(if output.success { Vec::new() } else { vec![output.text.trim_end().to_owned()] })
}

/// Every directive, reference and link of the book, by building it: the builder lists all errors with file and line.
fn book(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let dist = workspace.root.join("dist");
    pipeline::build_site(workspace, steps, &dist, true, None)?;
    Ok(Vec::new())
}

/// What was built: links, images, scripts, other origins, budgets. The rules live beside the browser's tests.
fn site(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let words = pipeline::native(&["test", "--quiet", "--test", "built_site"]);
    let output =
        steps.observe("built site", workspace.cargo(&words).env("DIST", workspace.root.join("dist")), false)?;
    Ok(if output.success { Vec::new() } else { vec![output.text.trim_end().to_owned()] })
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_that_rustfmt_would_change_are_named_with_the_remedy() {
        let found = super::unformatted("/r", "/r/xtask/src/main.rs\nsome warning\n");
        assert_eq!(found, ["Not formatted: xtask/src/main.rs. Run `cargo fmt --all`."]);
        assert!(super::unformatted("/r", "").is_empty());
    }
}
