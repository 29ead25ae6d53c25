//! `cargo xtask test`: native tests, then the built site in a real browser; one line sums up.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::args::Args;
use crate::check;
use crate::doctor;
use crate::pipeline;
use crate::step::{Steps, words};
use crate::workspace::Workspace;

/// Names of the browser on various systems.
pub(crate) const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// Version of axe-core, the accessibility rules; its package is fetched by npm at test time.
const AXE: &str = "4.14.1";

/// Passed and failed tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
}

pub(crate) fn run(workspace: &Workspace, mut args: Args) -> anyhow::Result<ExitCode> {
    let no_browser = args.flag("--no-browser");
    let gpu = !args.flag("--no-gpu");
    let filter = args.word();
    args.finish()?;
    let mut steps = Steps::new(workspace);
    if !no_browser {
        // Without what it needs it fails below, where the browser's tests are prepared, and in words.
        let _ = pipeline::begin_bundles(workspace, &mut steps, gpu);
    }
    all(workspace, &mut steps, &Which { browser: !no_browser, gpu, filter, every_lab_on_webgpu: true })
}

/// `cargo xtask ci`: every check, then every test, on one build of the site.
pub(crate) fn checks_and_tests(workspace: &Workspace, args: Args) -> anyhow::Result<ExitCode> {
    args.finish()?;
    let mut steps = Steps::new(workspace);
    let checked = check::all(workspace, &mut steps, None)?;
    if checked != ExitCode::SUCCESS {
        return Ok(checked);
    }
    all(workspace, &mut steps, &Which { browser: true, gpu: true, filter: None, every_lab_on_webgpu: false })
}

/// What is tested.
struct Which {
    browser: bool,
    gpu: bool,
    filter: Option<String>,
    /// Else every second lab: WebGPU is emulated on the processor, and a landing waits for it.
    every_lab_on_webgpu: bool,
}

fn all(workspace: &Workspace, steps: &mut Steps, which: &Which) -> anyhow::Result<ExitCode> {
    let filter = which.filter.clone();
    let start = std::time::Instant::now();
    let mut total = Tally::default();
    // `--tests` leaves out examples in doc comments, of which there are none (the check `code` says so): to look for them, rustdoc
    // would read every library once more.
    let mut natively = pipeline::native(&["test", "--quiet", "--no-fail-fast", "--tests"]);
    natively.extend(filter.clone());
    let mut native_tests = workspace.cargo(&natively);
    // Cargo builds it for the tests of its own package, before any test runs.
    native_tests.env("MDBOOK_TEXTBOOK", pipeline::binary(workspace, "mdbook-textbook"));
    total.add(steps, "native tests", &mut native_tests)?;
    if which.browser {
        match prepare_browser(workspace, steps, which.gpu) {
            Ok(()) => {
                for (name, suite) in [("tests of the built site", "built_site"), ("tests in Chromium", "browser")] {
                    let mut command = browser_tests(workspace, suite, filter.as_deref());
                    if !which.every_lab_on_webgpu {
                        command.env("WEBGPU_LABS", "every second");
                    }
                    total.add(steps, name, &mut command)?;
                }
            }
            Err(error) => {
                println!("The browser's tests could not run: {error:#}");
                total.failed += 1;
            }
        }
    }
    println!("All of it took {}.", words(start.elapsed().as_secs_f64()));
    println!("{} passed, {} failed", total.passed, total.failed);
    if filter.is_some() && total == Tally::default() {
        println!("No test has “{}” in its name.", filter.unwrap_or_default());
        return Ok(ExitCode::FAILURE);
    }
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo xtask screenshots`.
pub(crate) fn screenshots(workspace: &Workspace, mut args: Args) -> anyhow::Result<ExitCode> {
    let filter = args.word();
    args.finish()?;
    let mut steps = Steps::new(workspace);
    prepare_browser(workspace, &mut steps, true)?;
    let folder = workspace.target.join("screenshots");
    let mut command = browser_tests(workspace, "screenshots", None);
    command.env("SCREENSHOTS", &folder).env("SCREENSHOTS_OF", filter.unwrap_or_default());
    command.args(["--", "--ignored", "--nocapture"]);
    let output = steps.observe("screenshots", &mut command, true)?;
    println!("Screenshots are in {}", workspace.name_of(&folder).display());
    Ok(if output.success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo xtask bench --browser`.
pub(crate) fn hot_paths(workspace: &Workspace, args: Args) -> anyhow::Result<ExitCode> {
    args.finish()?;
    let mut steps = Steps::new(workspace);
    prepare_browser(workspace, &mut steps, true)?;
    let mut command = browser_tests(workspace, "hot_paths", None);
    command.args(["--", "--ignored", "--nocapture"]);
    let output = steps.observe("hot paths in the terminal and in Chromium", &mut command, true)?;
    Ok(if output.success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn browser_tests(workspace: &Workspace, suite: &str, filter: Option<&str>) -> Command {
    let mut words = pipeline::native(&["test", "--quiet", "--test", suite]);
    words.extend(filter.map(str::to_owned));
    let mut command = workspace.cargo(&words);
    command
        .env("DIST", workspace.root.join("dist"))
        .env("LAB_CLI", pipeline::binary(workspace, "lab-cli"))
        .env("AXE", axe_file(workspace))
        // A failed expectation of a page says in words what is wrong; a Rust stack adds nothing.
        .env("RUST_BACKTRACE", "0");
    command
}

/// The built site, a browser with its driver, axe-core, and the native engine to compare with.
fn prepare_browser(workspace: &Workspace, steps: &mut Steps, gpu: bool) -> anyhow::Result<()> {
    pipeline::build_site(workspace, steps, &workspace.root.join("dist"), gpu, None)?;
    pipeline::tool(workspace, steps, "lab-cli")?;
    if std::env::var_os("CHROME").is_none() && !CHROMIUM.iter().any(|name| doctor::has(name)) {
        install(workspace, steps, &["chromium", "chromium-driver"])?;
    }
    if std::env::var_os("CHROMEDRIVER").is_none() && !doctor::has("chromedriver") {
        install(workspace, steps, &["chromium-driver"])?;
    }
    fetch_axe(workspace, steps)
}

fn axe_file(workspace: &Workspace) -> PathBuf {
    workspace.target.join(format!("axe-core-{AXE}")).join("package").join("axe.min.js")
}

/// npm verifies the package against its registry's checksum; it is fetched once per version.
fn fetch_axe(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    let file = axe_file(workspace);
    if file.is_file() {
        return Ok(());
    }
    if !doctor::has("npm") {
        install(workspace, steps, &["npm"])?;
    }
    let folder = file.parent().and_then(Path::parent).context("the file lies two folders deep")?;
    std::fs::create_dir_all(folder)?;
    let package = format!("axe-core@{AXE}");
    steps.run("axe-core", workspace.program("npm", &["pack", "--silent", &package]).current_dir(folder))?;
    let archive = format!("axe-core-{AXE}.tgz");
    steps.run("axe-core, unpacked", workspace.program("tar", &["-xzf", &archive]).current_dir(folder))?;
    anyhow::ensure!(file.is_file(), "the package {package} holds no axe.min.js; has its layout changed?");
    Ok(())
}

/// Installs Debian packages where we may, and says how where we may not.
fn install(workspace: &Workspace, steps: &mut Steps, packages: &[&str]) -> anyhow::Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("install {list} (on Debian: `apt-get install {list}`), then run this again");
    anyhow::ensure!(doctor::has("apt-get"), "{by_hand}");
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let sudo = Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|output| output.status.success());
    anyhow::ensure!(root || sudo, "{by_hand}");
    let prefix: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    let apt = |rest: &[&str]| {
        let line = [prefix, &["apt-get", "-y", "-q"], rest].concat();
        let mut command = workspace.program(line[0], &line[1..]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    steps.run("list of system packages", &mut apt(&["update"])).context(by_hand.clone())?;
    let words = [&["install", "--no-install-recommends"], packages].concat();
    steps.run(&format!("installing {list}"), &mut apt(&words)).context(by_hand)?;
    Ok(())
}

impl Tally {
    /// Runs a group and adds its count. A group that did not even compile counts as one failure.
    fn add(&mut self, steps: &mut Steps, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let output = steps.observe(name, command, false)?;
        let mut found = tally(&output.text);
        if !output.success {
            found.failed = found.failed.max(1);
            println!("{}", output.text.trim_end());
        }
        println!("{name}: {} passed, {} failed", found.passed, found.failed);
        self.passed += found.passed;
        self.failed += found.failed;
        Ok(())
    }
}

/// Adds up the lines `test result: ok. 5 passed; 0 failed; ...` that each test binary ends with.
fn tally(output: &str) -> Tally {
    let count = |line: &str, word: &str| {
        let mut before = line.split(word).next()?.split_whitespace();
        before.next_back()?.parse::<usize>().ok()
    };
    let mut total = Tally::default();
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        total.passed += count(line, " passed").unwrap_or(0);
        total.failed += count(line, " failed").unwrap_or(0);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_add_up() {
        let output = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured\nnoise\n\
                      test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(tally(output), Tally { passed: 7, failed: 1 });
        assert_eq!(tally("error: could not compile"), Tally::default());
    }

    #[test]
    fn a_group_that_does_not_compile_is_a_failure() {
        let folder = std::env::temp_dir().join(format!("xtask-tally-{}", std::process::id()));
        let workspace = Workspace { root: folder.clone(), target: folder.clone() };
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let mut total = Tally::default();
        let mut command = workspace.program("sh", &["-c", "echo error; exit 101"]);
        total.add(&mut Steps::new(&workspace), "broken", &mut command).expect("starts");
        assert_eq!(total, Tally { passed: 0, failed: 1 });
        std::fs::remove_dir_all(folder).expect("temporary folder");
    }
}
