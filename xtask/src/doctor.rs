//! `cargo xtask doctor`: what is there, what is missing, and the command that mends it.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::args::Args;
use crate::pipeline;
use crate::workspace::Workspace;

/// A program that somebody may need.
struct Tool {
    /// Names under which systems know it, first found wins.
    programs: &'static [&'static str],
    /// What needs it.
    needed_for: &'static str,
    /// How to get it on Debian and Ubuntu.
    debian: &'static str,
    /// How to get it elsewhere.
    elsewhere: &'static str,
    /// Without it nothing works; the others are for tests only.
    essential: bool,
}

const TOOLS: &[Tool] = &[
    Tool {
        programs: &["cargo"],
        needed_for: "everything",
        debian: "install Rust with rustup",
        elsewhere: "install Rust with rustup",
        essential: true,
    },
    Tool {
        programs: &["cc", "clang", "gcc", "cl"],
        needed_for: "linking, in every build",
        debian: "apt-get install build-essential",
        elsewhere: "install a C toolchain (Xcode command line tools, Visual Studio Build Tools)",
        essential: true,
    },
    Tool {
        programs: &["git"],
        needed_for: "`check`, which reads the list of files under version control",
        debian: "apt-get install git",
        elsewhere: "install git",
        essential: true,
    },
    Tool {
        programs: crate::test::CHROMIUM,
        needed_for: "browser tests",
        debian: "apt-get install chromium",
        elsewhere: "install Chromium or Chrome, or name it in CHROME",
        essential: false,
    },
    Tool {
        programs: &["chromedriver"],
        needed_for: "browser tests",
        debian: "apt-get install chromium-driver",
        elsewhere: "install the ChromeDriver of the same version as the browser, or name it in CHROMEDRIVER",
        essential: false,
    },
    Tool {
        programs: &["firefox", "firefox-esr"],
        needed_for: "the tests in Firefox, which pass over what is not there",
        debian: "apt-get install firefox-esr",
        elsewhere: "install Firefox, or name it in FIREFOX",
        essential: false,
    },
    Tool {
        programs: &["npm"],
        needed_for: "the accessibility tests, which fetch axe-core",
        debian: "apt-get install npm",
        elsewhere: "install Node.js",
        essential: false,
    },
];

pub(crate) fn run(workspace: &Workspace, args: Args) -> anyhow::Result<ExitCode> {
    args.finish()?;
    let mut essential_missing = false;
    for tool in TOOLS {
        match tool.programs.iter().find_map(|program| version_of(program)) {
            Some(version) => println!("  there    {version}"),
            None => {
                essential_missing |= tool.essential;
                let name = tool.programs.first().copied().unwrap_or_default();
                println!("  MISSING  {name}, for {}: {}", tool.needed_for, remedy(tool, has("apt-get")));
            }
        }
    }
    if pipeline::has_wasm_target(workspace)? {
        println!("  there    the compiler's target {}", pipeline::WASM);
    } else {
        essential_missing = true;
        println!("  MISSING  the compiler's target {0}, for the labs: rustup target add {0}", pipeline::WASM);
    }
    if let Some(free) = free_gb(&workspace.root) {
        let enough = free >= NEEDED_GB || workspace.target.join("debug").is_dir();
        let word = if enough { "there   " } else { "MISSING " };
        println!("  {word} {free} GB of disk; a first build with all its tests takes {NEEDED_GB}");
    }
    Ok(if essential_missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What `target/` grows to in a first `.ci/run`.
const NEEDED_GB: u64 = 22;

/// Space left where this folder lies, where `df` can say it.
fn free_gb(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    free_of(&String::from_utf8_lossy(&output.stdout))
}

/// The fourth column of the second line, in blocks of 1,024 bytes.
fn free_of(df: &str) -> Option<u64> {
    let blocks: u64 = df.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(blocks * 1024 / 1_000_000_000)
}

fn remedy(tool: &Tool, debian: bool) -> &'static str {
    if debian { tool.debian } else { tool.elsewhere }
}

/// Whether this program can be started.
pub(crate) fn has(program: &str) -> bool {
    version_of(program).is_some()
}

/// The first line that `PROGRAM --version` prints, if it can be started at all.
fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim();
    // Some print the bare number.
    let bare = line.is_empty() || line.starts_with(|c: char| c.is_ascii_digit());
    Some(if bare { format!("{program} {line}").trim_end().to_owned() } else { line.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_read_from_df() {
        let df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda 100 50 41943040 96% /\n";
        assert_eq!(free_of(df), Some(42));
        assert_eq!(free_of("df: no such file\n"), None);
    }

    #[test]
    fn missing_programs_are_noticed_and_have_a_remedy() {
        assert!(!has("no-such-program-on-any-machine"));
        assert!(has("cargo"));
        for tool in TOOLS {
            assert!(!remedy(tool, true).is_empty() && !remedy(tool, false).is_empty(), "{:?}", tool.programs);
        }
    }
}
