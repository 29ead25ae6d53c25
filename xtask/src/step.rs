//! One line per step: its name, how long it took, and on long ones how long it will still take, judged by earlier runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::workspace::Workspace;

/// What a finished program left behind.
pub(crate) struct Output {
    /// It ended with code 0.
    pub(crate) success: bool,
    /// Everything it wrote, both streams.
    pub(crate) text: String,
}

/// Runs steps and remembers how long each took.
pub(crate) struct Steps {
    times: BTreeMap<String, f64>,
    times_file: PathBuf,
    logs: PathBuf,
    live: bool,
    only_if_long: bool,
    /// What is being done beside the steps, until [`Steps::join`].
    beside: Option<JoinHandle<()>>,
    /// The site that these steps have built. Nobody changes a source between the steps of one command.
    pub(crate) built: Option<PathBuf>,
}

impl Steps {
    pub(crate) fn new(workspace: &Workspace) -> Self {
        let times_file = workspace.target.join("xtask-times.json");
        let times = std::fs::read(&times_file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let logs = workspace.target.join("xtask-logs");
        let live = std::io::stderr().is_terminal();
        Self {
            times: times.unwrap_or_default(),
            times_file,
            logs,
            live,
            only_if_long: false,
            beside: None,
            built: None,
        }
    }

    /// Begins commands beside the steps, one after the other, unless some are under way. Whoever needs what they make runs them
    /// as steps after [`Steps::join`]: that finds them done, or shows why they fail.
    pub(crate) fn begin_beside(&mut self, commands: Vec<Command>) {
        let run = move || {
            for mut command in commands {
                // A failure is shown by the step that repeats it.
                let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        };
        self.beside.get_or_insert_with(|| std::thread::spawn(run));
    }

    /// Waits for what was begun beside the steps, if anything was.
    pub(crate) fn join(&mut self) {
        let Some(beside) = self.beside.take() else { return };
        let start = Instant::now();
        // A panic there is one of ours in starting a command; the step that follows will meet the same.
        let _ = beside.join();
        let took = start.elapsed();
        if took > Duration::from_secs(2) {
            eprintln!("  the rest of what was begun beside: {}", words(took.as_secs_f64()));
        }
    }

    /// Runs a step and says how it went. Its output is shown only if it fails.
    ///
    /// # Errors
    /// The program could not be started, or failed: then the error holds what it wrote.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> anyhow::Result<String> {
        self.finish(name, command, false)
    }

    /// The same, but says nothing of a step that took less than two seconds and succeeded.
    ///
    /// # Errors
    /// As [`Steps::run`].
    pub(crate) fn run_if_long(&mut self, name: &str, command: &mut Command) -> anyhow::Result<String> {
        self.finish(name, command, true)
    }

    fn finish(&mut self, name: &str, command: &mut Command, only_if_long: bool) -> anyhow::Result<String> {
        self.only_if_long = only_if_long;
        let output = self.observe(name, command, false);
        self.only_if_long = false;
        let output = output?;
        anyhow::ensure!(output.success, "{name} failed:\n{}", output.text.trim_end());
        Ok(output.text)
    }

    /// Runs a step whose output is worth reading as it comes, or whose failure the caller words itself.
    pub(crate) fn observe(&mut self, name: &str, command: &mut Command, show: bool) -> anyhow::Result<Output> {
        std::fs::create_dir_all(&self.logs).context("the build folder cannot be written")?;
        let log = self.logs.join(format!("{}.log", name.replace(|c: char| !c.is_alphanumeric(), "-")));
        let file = File::create(&log)?;
        let mut reader = File::open(&log)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{program} cannot be started; `cargo xtask doctor` says what is missing"))?;
        if show {
            eprintln!("  {name}");
        }
        let mut bytes = Vec::new();
        let mut next_word = Duration::from_secs(10);
        let status = loop {
            let status = child.try_wait()?;
            let before = bytes.len();
            reader.read_to_end(&mut bytes)?;
            if show {
                std::io::stdout().write_all(&bytes[before..])?;
                std::io::stdout().flush()?;
            } else if status.is_none() && start.elapsed() > next_word {
                self.say_progress(name, start.elapsed());
                next_word += Duration::from_secs(if self.live { 1 } else { 30 });
            }
            if let Some(status) = status {
                break status;
            }
            std::thread::sleep(Duration::from_millis(30));
        };
        let took = start.elapsed();
        let clear = if self.live { "\r\x1b[K" } else { "" };
        let mark = if status.success() { "  " } else { "FAILED  " };
        if !self.only_if_long || !status.success() || took > Duration::from_secs(2) {
            eprintln!("{clear}{mark}{name}: {}", words(took.as_secs_f64()));
        }
        if status.success() {
            self.remember(name, took);
        }
        Ok(Output { success: status.success(), text: String::from_utf8_lossy(&bytes).into_owned() })
    }

    fn say_progress(&self, name: &str, elapsed: Duration) {
        let text = progress(name, elapsed.as_secs_f64(), self.times.get(name).copied());
        if self.live { eprint!("\r\x1b[K  {text}") } else { eprintln!("  {text}") }
    }

    /// Long steps only: a step that found nothing to do must not make the next full one look short.
    fn remember(&mut self, name: &str, took: Duration) {
        let seconds = took.as_secs_f64();
        let known = self.times.get(name).copied().unwrap_or_default();
        if seconds > 5.0 && seconds > known / 4.0 {
            self.times.insert(name.to_owned(), seconds);
            // Estimates are a courtesy: if they cannot be stored, the step still succeeded.
            let _ = serde_json::to_vec_pretty(&self.times).map(|text| std::fs::write(&self.times_file, text));
        }
    }
}

fn progress(name: &str, elapsed: f64, expected: Option<f64>) -> String {
    let so_far = words(elapsed);
    match expected {
        Some(expected) if expected > elapsed => {
            format!("{name}: {so_far} so far, about {} left", words(expected - elapsed))
        }
        Some(expected) => format!("{name}: {so_far} so far, longer than last time ({})", words(expected)),
        None => format!("{name}: {so_far} so far (first run, so no estimate)"),
    }
}

/// A duration as one reads it.
pub(crate) fn words(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_beside_is_done_after_join() {
        let folder = std::env::temp_dir().join(format!("xtask-beside-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let workspace = Workspace { root: folder.clone(), target: folder.clone() };
        let mut steps = Steps::new(&workspace);
        let touch = |name: &str| {
            let mut command = Command::new("touch");
            command.arg(folder.join(name));
            command
        };
        let mut missing = Command::new("no such program");
        missing.arg("x");
        steps.begin_beside(vec![touch("one"), missing, touch("two")]);
        // While something is under way nothing else is begun.
        steps.begin_beside(vec![touch("three")]);
        steps.join();
        steps.join();
        assert!(["one", "two"].iter().all(|name| folder.join(name).exists()) && !folder.join("three").exists());
        std::fs::remove_dir_all(folder).expect("temporary folder");
    }

    #[test]
    fn time_left_comes_from_the_last_run() {
        assert_eq!(progress("engine", 30.0, Some(150.0)), "engine: 30.0 s so far, about 2 min 00 s left");
        assert!(progress("engine", 30.0, Some(20.0)).contains("longer than last time"));
        assert!(progress("engine", 30.0, None).contains("no estimate"));
    }

    #[test]
    fn output_is_kept_and_failure_is_seen() {
        let folder = std::env::temp_dir().join(format!("xtask-step-{}", std::process::id()));
        let workspace = Workspace { root: folder.clone(), target: folder.clone() };
        let mut steps = Steps::new(&workspace);
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        assert_eq!(steps.run("works", &mut shell("echo out; echo err >&2")).expect("succeeds"), "out\nerr\n");
        let error = steps.run("fails", &mut shell("echo why; exit 3")).expect_err("fails");
        assert!(error.to_string().contains("why"), "{error}");
        std::fs::remove_dir_all(folder).expect("temporary folder");
    }
}
