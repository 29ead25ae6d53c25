//! From sources to artifacts: which packages, with which profile and features, in which order.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::UNIX_EPOCH;

use anyhow::Context as _;

use crate::args::Args;
use crate::step::Steps;
use crate::workspace::Workspace;

/// The target of everything that runs in a browser.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// A WASM artifact and the name of its bundle in `pkg/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bundle {
    /// The widgets of the page.
    Ui,
    /// The engine on the processor.
    Cpu,
    /// The engine on WebGPU.
    Gpu,
}

/// Who the artifacts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grade {
    /// Small and fast, minutes to build: `build`, `check`, `test`.
    Reader,
    /// Quick to rebuild: `serve`.
    Author,
}

impl Bundle {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ui => "ui",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Ui => "page WASM",
            Self::Cpu => "engine for the CPU",
            Self::Gpu => "engine for WebGPU",
        }
    }

    fn package(self) -> &'static str {
        if self == Self::Ui { "site-ui" } else { "lab-engine" }
    }

    fn profile(self, grade: Grade) -> &'static str {
        match (self, grade) {
            (Self::Ui, _) => "ui",
            (Self::Gpu, Grade::Reader) => "engine-gpu",
            (_, Grade::Reader) => "engine",
            (_, Grade::Author) => "engine-dev",
        }
    }

    /// The folder in which it is compiled. Both engines are the file lab_engine.wasm: in one folder each would overwrite the
    /// other behind cargo's back.
    pub(crate) fn target(self, workspace: &Workspace) -> PathBuf {
        if self == Self::Gpu { workspace.target.join("gpu") } else { workspace.target.clone() }
    }

    /// Arguments of `cargo build`, but for the folder.
    pub(crate) fn words(self, grade: Grade) -> Vec<String> {
        let (package, profile) = (self.package(), self.profile(grade));
        let mut words: Vec<String> =
            ["build", "--quiet", "--package", package, "--target", WASM, "--profile", profile].map(String::from).into();
        words.extend(["--config".to_owned(), nameless(&cargo_home())]);
        if self == Self::Gpu {
            words.extend(["--features", "webgpu"].map(String::from));
        }
        words
    }

    /// Arguments of `cargo build`, and the artifact it makes.
    fn build(self, workspace: &Workspace, grade: Grade) -> (Vec<String>, PathBuf) {
        let target = self.target(workspace);
        let mut words = self.words(grade);
        if self == Self::Gpu {
            words.extend(["--target-dir".to_owned(), target.display().to_string()]);
        }
        let file = format!("{}.wasm", self.package().replace('-', "_"));
        (words, target.join(WASM).join(self.profile(grade)).join(file))
    }
}

/// Configuration under which no artifact carries the path of this machine's sources, which panics would name: it is nobody's
/// business, and every machine builds the same bytes. Joins the flags of `.cargo/config.toml`.
fn nameless(cargo_home: &Path) -> String {
    let sources = cargo_home.join("registry").join("src").display().to_string();
    // Debug formatting quotes and escapes as TOML wants it.
    format!("target.{WASM}.rustflags=[{:?}]", format!("--remap-path-prefix={sources}{}=", std::path::MAIN_SEPARATOR))
}

/// Where cargo keeps what it has fetched.
fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// `cargo xtask build`.
pub(crate) fn run(workspace: &Workspace, mut args: Args) -> anyhow::Result<ExitCode> {
    let out = args.option("--out")?.map_or_else(|| workspace.root.join("dist"), |out| workspace.root.join(out));
    let gpu = !args.flag("--no-gpu");
    let base_url = args.option("--base-url")?;
    args.finish()?;
    build_site(workspace, &mut Steps::new(workspace), &out, gpu, base_url.as_deref())?;
    println!("The site is in {}", workspace.name_of(&out).display());
    Ok(ExitCode::SUCCESS)
}

/// Begins to compile what readers get beside the steps to come. Linking an engine keeps one core busy for minutes, and the
/// profiles of artifacts have folders of their own, so that cargo lets others work meanwhile.
pub(crate) fn begin_bundles(workspace: &Workspace, steps: &mut Steps, gpu: bool) -> anyhow::Result<()> {
    wasm_target(workspace, steps)?;
    let mut bundles = vec![Bundle::Ui, Bundle::Cpu];
    if gpu && has_gpu_engine(workspace)? {
        // The longest first.
        bundles.insert(0, Bundle::Gpu);
    }
    let command = |bundle: &Bundle| {
        let (words, _) = bundle.build(workspace, Grade::Reader);
        workspace.cargo(&words)
    };
    steps.begin_beside(bundles.iter().map(command).collect());
    Ok(())
}

/// Everything a reader gets, in `out`; nothing to do where these steps have done it.
pub(crate) fn build_site(
    workspace: &Workspace,
    steps: &mut Steps,
    out: &Path,
    gpu: bool,
    base_url: Option<&str>,
) -> anyhow::Result<()> {
    if steps.built.as_deref() == Some(out) {
        return Ok(());
    }
    wasm_target(workspace, steps)?;
    // Tools first: they are compiled while what was begun beside goes on.
    tool(workspace, steps, "wasm-bundle")?;
    let builder = tool(workspace, steps, "site-builder")?;
    steps.join();
    let pkg = workspace.target.join("pkg");
    for bundle in [Bundle::Ui, Bundle::Cpu] {
        build_bundle(workspace, steps, bundle, Grade::Reader, &pkg)?;
    }
    if gpu && has_gpu_engine(workspace)? {
        build_bundle(workspace, steps, Bundle::Gpu, Grade::Reader, &pkg)?;
    } else {
        forget(&pkg, Bundle::Gpu)?;
    }
    let mut command = Command::new(builder);
    command.current_dir(&workspace.root).args(["build", "--release", "--out"]).arg(out).arg("--pkg").arg(&pkg);
    if let Some(url) = base_url {
        command.args(["--base-url", url]);
    }
    steps.run("pages", &mut command)?;
    steps.built = Some(out.to_owned());
    Ok(())
}

/// Whether this checkout's engine can be built for WebGPU.
pub(crate) fn has_gpu_engine(workspace: &Workspace) -> anyhow::Result<bool> {
    workspace.has_feature("lab-engine", "webgpu")
}

/// Makes sure that the compiler can make WASM.
pub(crate) fn wasm_target(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    if has_wasm_target(workspace)? {
        return Ok(());
    }
    let add = steps.run("WASM target of the compiler", &mut workspace.program("rustup", &["target", "add", WASM]));
    add.context(format!(
        "the compiler lacks the target {WASM}; install it, with rustup by `rustup target add {WASM}`"
    ))?;
    Ok(())
}

/// Whether the compiler has the standard library for WASM.
pub(crate) fn has_wasm_target(workspace: &Workspace) -> anyhow::Result<bool> {
    let output = workspace.program("rustc", &["--print", "target-libdir", "--target", WASM]).output()?;
    Ok(output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// All packages that run natively, but one.
pub(crate) const NATIVE: &[&str] = &[
    "xtask",
    "source-paths",
    "lab-api",
    "lab-data",
    "asset-manifest",
    "asset-maker",
    "lab-kernels",
    "lab-layers",
    "lab-kit",
    "tiny-run",
    "labs",
    "lab-cli",
    "lab-charts",
    "lab-ui",
    "textbook",
    "site-builder",
    "wasm-bundle",
    "browser-tests",
];

/// A package that is compiled only when it has changed: see the check `diagram`.
pub(crate) const APART: &str = "diagram";

/// The features with which they are tested.
pub(crate) const NATIVE_FEATURES: &[&str] = &["lab-api/schema", "labs/schema"];

/// A cargo command for what runs natively. Whatever of it is asked for, all packages are named: cargo chooses the features of a
/// dependency by the packages that are named, so that another choice of them would compile it, and all that stands on it, again.
/// What is not asked for by `--bin` or `--test` is not compiled.
pub(crate) fn native(words: &[&str]) -> Vec<String> {
    select(words, NATIVE, NATIVE_FEATURES)
}

/// Arguments of cargo that begin with these words and name these packages and features.
pub(crate) fn select(words: &[&str], packages: &[&str], features: &[&str]) -> Vec<String> {
    let packages = packages.iter().flat_map(|package| ["--package", *package]);
    let features = features.iter().flat_map(|feature| ["--features", *feature]);
    words.iter().copied().chain(packages).chain(features).map(str::to_owned).collect()
}

/// Compiles a binary of the workspace and says where it is. In the development profile, which optimizes what is hot
/// (see Cargo.toml): one profile for tools and tests means that each dependency is compiled once.
pub(crate) fn tool(workspace: &Workspace, steps: &mut Steps, name: &str) -> anyhow::Result<PathBuf> {
    let words = native(&["build", "--quiet", "--bin", name]);
    steps.run_if_long(name, &mut workspace.cargo(&words))?;
    Ok(binary(workspace, name))
}

/// Where a program of ours lies once [`tool`] or the tests have built it.
pub(crate) fn binary(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target.join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Compiles one artifact and, if it changed, turns it into a bundle in `pkg`.
pub(crate) fn build_bundle(
    workspace: &Workspace,
    steps: &mut Steps,
    bundle: Bundle,
    grade: Grade,
    pkg: &Path,
) -> anyhow::Result<()> {
    let (words, artifact) = bundle.build(workspace, grade);
    steps.run(bundle.label(), &mut workspace.cargo(&words))?;
    let bundler = tool(workspace, steps, "wasm-bundle")?;
    let stamp = format!("{}\n{}\n", fingerprint(&artifact)?, fingerprint(&bundler)?);
    let stamp_file = pkg.join(format!(".{}.stamp", bundle.name()));
    let description = pkg.join(format!("{}.json", bundle.name()));
    if description.is_file() && std::fs::read_to_string(&stamp_file).is_ok_and(|known| known == stamp) {
        return Ok(());
    }
    std::fs::create_dir_all(pkg)?;
    let mut command = Command::new(bundler);
    command
        .current_dir(&workspace.root)
        .arg("--input")
        .arg(&artifact)
        .args(["--name", bundle.name(), "--out"])
        .arg(pkg);
    if bundle != Bundle::Ui {
        command.arg("--worker");
    }
    steps.run(&format!("bundle of the {}", bundle.label()), &mut command)?;
    std::fs::write(stamp_file, stamp)?;
    Ok(())
}

/// An engine that is not built must not be offered from an earlier build.
fn forget(pkg: &Path, bundle: Bundle) -> anyhow::Result<()> {
    for file in [format!("{}.json", bundle.name()), format!(".{}.stamp", bundle.name())] {
        match std::fs::remove_file(pkg.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Enough to notice that a file is another one: path, size and time of change.
fn fingerprint(file: &Path) -> anyhow::Result<String> {
    let facts = std::fs::metadata(file).with_context(|| format!("{} was not built", file.display()))?;
    let changed = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} {} {}", file.display(), facts.len(), changed.as_nanos()))
}

/// `cargo xtask lab|reference|train|bench`: the command line of the labs, with its own exit code.
pub(crate) fn lab_cli(workspace: &Workspace, first: &[&str], args: Args) -> anyhow::Result<ExitCode> {
    let program = tool(workspace, &mut Steps::new(workspace), "lab-cli")?;
    let status = Command::new(program).args(first).args(args.rest()).current_dir(&workspace.root).status()?;
    Ok(exit_code(status))
}

/// `cargo xtask data`: the maker of data sets, with its own exit code.
pub(crate) fn asset_maker(workspace: &Workspace, args: Args) -> anyhow::Result<ExitCode> {
    let program = tool(workspace, &mut Steps::new(workspace), "asset-maker")?;
    let status = Command::new(program).args(args.rest()).current_dir(&workspace.root).status()?;
    Ok(exit_code(status))
}

/// What the textbook's own program counts: `overlap` fails where the two parts repeat each other, `prose` advises.
pub(crate) fn textbook(
    workspace: &Workspace,
    steps: &mut Steps,
    what: &str,
    rest: &[String],
) -> anyhow::Result<Command> {
    let program = tool(workspace, steps, "mdbook-textbook")?;
    let mut command = workspace.program(&program.display().to_string(), &[what]);
    command.args(rest);
    Ok(command)
}

/// The exit code of a program we stand for.
pub(crate) fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_this_machine_are_left_out() {
        let config = nameless(Path::new("/a \"home\"/.cargo"));
        let flags = r#"["--remap-path-prefix=/a \"home\"/.cargo/registry/src/="]"#;
        assert_eq!(config, format!("target.wasm32-unknown-unknown.rustflags={flags}"));
    }

    #[test]
    fn the_two_engines_never_share_a_file() {
        let workspace = Workspace { root: "r".into(), target: "r/target".into() };
        for grade in [Grade::Reader, Grade::Author] {
            let (cpu, gpu) = (Bundle::Cpu.build(&workspace, grade), Bundle::Gpu.build(&workspace, grade));
            assert_ne!(cpu.1, gpu.1);
            assert!(gpu.0.contains(&"webgpu".to_owned()) && !cpu.0.contains(&"webgpu".to_owned()));
        }
    }

    #[test]
    fn authors_never_wait_for_the_readers_profile() {
        let workspace = Workspace { root: "r".into(), target: "r/target".into() };
        let (words, artifact) = Bundle::Cpu.build(&workspace, Grade::Author);
        assert!(words.contains(&"engine-dev".to_owned()));
        assert!(artifact.ends_with("wasm32-unknown-unknown/engine-dev/lab_engine.wasm"), "{artifact:?}");
    }
}
