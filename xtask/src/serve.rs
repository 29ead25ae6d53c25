//! `cargo xtask serve`: the prose at once, the engines when they are built, and both again on change.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use crate::args::{Args, Usage};
use crate::pipeline::{self, Bundle, Grade};
use crate::sources;
use crate::step::Steps;
use crate::workspace::Workspace;

/// Where the book is served unless the author says otherwise.
const PORT: u16 = 4000;

pub(crate) fn run(workspace: &Workspace, mut args: Args) -> anyhow::Result<ExitCode> {
    let port = match args.option("--port")? {
        None => PORT,
        Some(text) => {
            text.parse().map_err(|_| Usage(format!("--port wants a number from 0 to 65535, not “{text}”")))?
        }
    };
    let (gpu, prose) = (args.flag("--gpu"), args.flag("--prose"));
    args.finish()?;
    let mut steps = Steps::new(workspace);
    let builder = pipeline::tool(workspace, &mut steps, "site-builder")?;
    let pkg = workspace.target.join("pkg-serve");
    std::fs::create_dir_all(&pkg)?;
    let mut server = Command::new(builder)
        .current_dir(&workspace.root)
        .args(["serve", "--port", &port.to_string(), "--out"])
        .arg(workspace.target.join("serve"))
        .arg("--pkg")
        .arg(&pkg)
        .stdout(Stdio::piped())
        .spawn()?;
    // The server says its address once prose is ready; only then does compiling take the processor.
    let mut said = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if !said.is_empty() {
        print!("{said}");
        let workspace = workspace.clone();
        if !prose {
            std::thread::spawn(move || keep_bundles_fresh(&workspace, &mut steps, gpu));
        }
    }
    Ok(pipeline::exit_code(server.wait()?))
}

/// Builds what the page's labs need, and again whenever its sources change. The server watches the folder and reloads.
fn keep_bundles_fresh(workspace: &Workspace, steps: &mut Steps, gpu: bool) {
    let pkg = workspace.target.join("pkg-serve");
    let mut wanted: Vec<(Bundle, Option<SystemTime>)> = vec![(Bundle::Ui, None), (Bundle::Cpu, None)];
    if gpu {
        wanted.push((Bundle::Gpu, None));
    }
    if let Err(error) = pipeline::wasm_target(workspace, steps) {
        eprintln!("The labs cannot be built: {error:#}");
        return;
    }
    loop {
        for (bundle, built) in &mut wanted {
            let latest = sources::latest_change(workspace, *bundle);
            if latest == *built {
                continue;
            }
            *built = latest;
            if let Err(error) = pipeline::build_bundle(workspace, steps, *bundle, Grade::Author, &pkg) {
                eprintln!("{error:#}\nThe page keeps the last engine that was built; save a file to try again.");
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
