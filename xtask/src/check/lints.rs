//! Clippy, with warnings as errors, over what the tests and the site compile anyway.
//!
//! `cargo clippy` checks every dependency once more, 24 minutes of a cold run. Here cargo builds what it would build, with clippy
//! in the place of the compiler for our own crates (`RUSTC_WORKSPACE_WRAPPER`, as `cargo clippy` itself does it): dependencies
//! are the compiled ones, which the tests and the site need too, and of our crates no more is made than their metadata.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::pipeline::{self, Bundle, Grade};
use crate::step::Steps;
use crate::workspace::Workspace;

/// Set for cargo: the compiler that it starts for our own crates is [`instead_of_rustc`].
const DRIVER: &str = "XTASK_CLIPPY_DRIVER";

/// What is checked together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Natively,
    /// The library and what it stands on; tests of these packages run in Chromium.
    Page,
    /// The engine with WebGPU holds what the one without holds, but for a few lines that the compiler sees when it is built.
    Engine,
}

impl Group {
    fn label(self) -> &'static str {
        match self {
            Self::Natively => "clippy of all that runs natively",
            Self::Page => "clippy of the page's WASM",
            Self::Engine => "clippy of the engine",
        }
    }

    /// Arguments of cargo, and the folder of what it compiles on the way.
    fn words(self, workspace: &Workspace) -> (Vec<String>, PathBuf) {
        match self {
            Self::Natively => (pipeline::native(&["build", "--quiet", "--all-targets"]), workspace.target.clone()),
            Self::Page => (Bundle::Ui.words(Grade::Reader), workspace.target.clone()),
            Self::Engine => (Bundle::Gpu.words(Grade::Reader), Bundle::Gpu.target(workspace)),
        }
    }
}

pub(super) fn natively(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let packages = workspace.packages()?;
    let mut failures = ungrouped(&packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>());
    failures.extend(check(Group::Natively, workspace, steps)?);
    Ok(failures)
}

pub(super) fn in_a_browser(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    pipeline::wasm_target(workspace, steps)?;
    // Each needs what is being compiled beside, and cargo would wait for it in silence.
    steps.join();
    let mut failures: Vec<String> = check(Group::Page, workspace, steps)?.into_iter().collect();
    if pipeline::has_gpu_engine(workspace)? {
        failures.extend(check(Group::Engine, workspace, steps)?);
    }
    Ok(failures)
}

fn check(group: Group, workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Option<String>> {
    let (mut words, compiled) = group.words(workspace);
    // What comes out is of no use to anybody: it must not take the place of a program.
    let out = workspace.target.join("lints").display().to_string();
    words.extend(["--target-dir".to_owned(), out]);
    let mut command = workspace.cargo(&words);
    command
        .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe().context("this program has no path")?)
        .env(DRIVER, driver(workspace)?)
        .env("CLIPPY_ARGS", "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    if std::env::var_os(BUILD_DIR).is_none() {
        command.env(BUILD_DIR, compiled);
    }
    let output = steps.observe(group.label(), &mut command, false)?;
    Ok((!output.success).then(|| {
        format!("{}\nclippy found this; correct it, or allow it with a reason beside the code.", output.text.trim_end())
    }))
}

const BUILD_DIR: &str = "CARGO_BUILD_BUILD_DIR";

/// Clippy in the form of a compiler, of the toolchain that is in use.
fn driver(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let output = workspace.program("rustc", &["--print", "sysroot"]).output().context("rustc cannot be started")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let driver = sysroot.join("bin").join(format!("clippy-driver{}", std::env::consts::EXE_SUFFIX));
    anyhow::ensure!(driver.is_file(), "the toolchain has no clippy; install it by `rustup component add clippy`");
    Ok(driver)
}

/// The compiler as cargo starts it for our own crates while lints are checked; nothing if that is not why we run. `words` are the
/// path of the real compiler and what it is asked for.
pub(crate) fn instead_of_rustc(words: &[OsString]) -> Option<ExitCode> {
    let driver = std::env::var_os(DRIVER)?;
    let is_rustc = |word: &OsString| Path::new(word).file_stem().is_some_and(|stem| stem == "rustc");
    if !words.first().is_some_and(is_rustc) {
        return None;
    }
    let (words, made) = metadata_only(words, &|path: &Path| path.metadata().map_or(0, |metadata| metadata.len()));
    let status = match Command::new(&driver).args(&words).status() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{} cannot be started: {error}", driver.display());
            return Some(ExitCode::FAILURE);
        }
    };
    if status.success() {
        // Cargo calls a crate fresh whose output is there.
        for path in made.iter().filter(|path| !path.exists()) {
            let _ = std::fs::File::create(path);
        }
    }
    Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The arguments without what makes code, and the files that cargo expects all the same. Where one of our own libraries is named
/// in its compiled form, which is empty (`length` says so), its metadata are.
fn metadata_only(words: &[OsString], length: &dyn Fn(&Path) -> u64) -> (Vec<OsString>, Vec<PathBuf>) {
    let text: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let after = |flag: &str| text.iter().position(|word| word == flag).and_then(|at| text.get(at + 1));
    let all = |flag: &str| {
        let values = text.iter().zip(text.iter().skip(1)).filter(|(word, _)| *word == flag);
        values.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let name = after("--crate-name").cloned().unwrap_or_default();
    // A build script and a macro run while others are compiled.
    let runs = name.starts_with("build_script") || all("--crate-type").contains(&"proc-macro");
    let Some(emit) = text.iter().position(|word| word.starts_with("--emit=")).filter(|_| !runs) else {
        return (words.to_vec(), Vec::new());
    };
    let mut changed = words.to_vec();
    let kinds = text[emit].trim_start_matches("--emit=").split(',').filter(|kind| !["link", "metadata"].contains(kind));
    changed[emit] = format!("--emit={}", kinds.chain(["metadata"]).collect::<Vec<_>>().join(",")).into();
    for (at, word) in text.iter().enumerate() {
        let Some((crate_name, path)) = word.split_once('=').filter(|_| at > 0 && text[at - 1] == "--extern") else {
            continue;
        };
        if path.ends_with(".rlib") && length(Path::new(path)) == 0 {
            changed[at] = format!("{crate_name}={}", Path::new(path).with_extension("rmeta").display()).into();
        }
    }
    let folder = PathBuf::from(after("--out-dir").cloned().unwrap_or_default());
    let extra = all("-C").into_iter().find_map(|value| value.strip_prefix("extra-filename=")).unwrap_or_default();
    let wasm = after("--target").is_some_and(|target| target.starts_with("wasm"));
    let file = |kind: &str| match kind {
        "lib" | "rlib" => format!("lib{name}{extra}.rlib"),
        "cdylib" if wasm => format!("{name}{extra}.wasm"),
        "bin" if wasm => format!("{name}{extra}.wasm"),
        _ => format!("{name}{extra}{}", std::env::consts::EXE_SUFFIX),
    };
    let mut kinds = all("--crate-type");
    if text.iter().any(|word| word == "--test") {
        kinds = vec!["bin"];
    }
    (changed, kinds.into_iter().map(|kind| folder.join(file(kind))).collect())
}

/// Packages of the workspace that no group holds, so that a new one cannot be forgotten.
fn ungrouped(packages: &[&str]) -> Vec<String> {
    let linted =
        |name: &&&str| pipeline::NATIVE.contains(*name) || ["site-ui", "lab-engine", pipeline::APART].contains(*name);
    let sentence =
        |name: &&str| format!("the package {name} is linted by nobody; add it to NATIVE in xtask/src/pipeline.rs.");
    packages.iter().filter(|name| !linted(name)).map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn line(words: &[OsString]) -> String {
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Our own libraries are empty where they are compiled.
    fn length(path: &Path) -> u64 {
        u64::from(!path.to_string_lossy().contains("lab_"))
    }

    #[test]
    fn a_forgotten_package_is_found() {
        assert_eq!(ungrouped(&["xtask", "lab-api", "lab-engine"]), [""; 0]);
        assert!(ungrouped(&["xtask", "newcomer"])[0].contains("newcomer"));
    }

    #[test]
    fn of_our_crates_only_metadata_are_made_and_read() {
        let asked = "/bin/rustc --crate-name lab_cli --crate-type bin --emit=dep-info,link -C extra-filename=-1 --out-dir /o \
                     --extern lab_kit=/o/liblab_kit-2.rlib --extern serde=/o/libserde-3.rlib -L dependency=/o";
        let (changed, made) = metadata_only(&words(asked), &length);
        assert_eq!(
            line(&changed),
            "/bin/rustc --crate-name lab_cli --crate-type bin --emit=dep-info,metadata -C extra-filename=-1 --out-dir /o \
             --extern lab_kit=/o/liblab_kit-2.rmeta --extern serde=/o/libserde-3.rlib -L dependency=/o"
        );
        assert_eq!(made, [PathBuf::from(format!("/o/lab_cli-1{}", std::env::consts::EXE_SUFFIX))]);
        let library = "/bin/rustc --crate-name lab_engine --crate-type cdylib --crate-type rlib --emit=dep-info,link,metadata \
                       -C extra-filename=-1 --out-dir /o --target wasm32-unknown-unknown";
        let (changed, made) = metadata_only(&words(library), &length);
        assert!(line(&changed).contains("--emit=dep-info,metadata -C"), "{}", line(&changed));
        assert_eq!(made, [PathBuf::from("/o/lab_engine-1.wasm"), PathBuf::from("/o/liblab_engine-1.rlib")]);
    }

    #[test]
    fn what_runs_while_others_are_compiled_is_compiled() {
        for asked in ["rustc -vV", "rustc --crate-name build_script_build --crate-type bin --emit=dep-info,link"] {
            let (same, made) = metadata_only(&words(asked), &length);
            assert_eq!(line(&same), asked);
            assert!(made.is_empty());
        }
    }

    #[test]
    fn who_is_started_by_hand_lints_nothing() {
        assert_eq!(instead_of_rustc(&words("check lints")), None);
    }
}
