//! Mermaid diagrams: drawn once by the program `diagram`, kept beside the book, looked up by content.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

/// Changes when drawing changes, so that old pictures are not taken for new ones. `crates/diagram` reads it too.
pub const DRAWING_VERSION: &str = "1";

/// The file name of a diagram's picture: the same for the same source, whatever its text alternative.
#[must_use]
pub fn file_name(source: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(DRAWING_VERSION);
    hash.update([0]);
    hash.update(source.trim());
    let hex: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.svg")
}

/// The words of a diagram for those who do not see it: `%% alt: ...` on the first line, or `accDescr`, or `accTitle`.
pub(crate) fn alternative(source: &str) -> Option<String> {
    let first = source.lines().find(|line| !line.trim().is_empty())?;
    let alt = first.trim().strip_prefix("%%").map(str::trim).and_then(|rest| rest.strip_prefix("alt:"));
    let named = |name: &str| {
        source
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix(':').map(str::to_owned))
    };
    let words = alt.map(str::to_owned).or_else(|| named("accDescr")).or_else(|| named("accTitle"))?;
    let words = words.trim().to_owned();
    (!words.is_empty()).then_some(words)
}

/// What Mermaid itself reads: without our line of words.
pub(crate) fn drawing(source: &str) -> String {
    let mut lines: Vec<&str> = source.lines().collect();
    if let Some(at) = lines.iter().position(|line| !line.trim().is_empty())
        && lines[at].trim().trim_start_matches('%').trim().starts_with("alt:")
    {
        lines.remove(at);
    }
    lines.join("\n").trim().to_owned()
}

/// Where pictures are kept, and the workspace whose program draws them.
#[derive(Debug, Clone)]
pub(crate) struct Diagrams {
    pub(crate) folder: PathBuf,
    pub(crate) workspace: PathBuf,
}

impl Diagrams {
    /// The picture of a diagram; drawn now if it was never drawn.
    ///
    /// # Errors
    /// What the drawing program says, or that it is not there.
    pub(crate) fn picture(&self, source: &str) -> Result<String, String> {
        let source = drawing(source);
        let path = self.folder.join(file_name(&source));
        if let Ok(svg) = std::fs::read_to_string(&path) {
            return Ok(svg);
        }
        let svg = draw(&self.workspace, &source)?;
        let kept = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, &svg));
        kept.map_err(|error| format!("the picture cannot be kept in {}: {error}", self.folder.display()))?;
        Ok(svg)
    }
}

fn draw(workspace: &Path, source: &str) -> Result<String, String> {
    if !workspace.join("crates/diagram").is_dir() {
        return Err("this diagram was never drawn, and the program that draws is not here".to_owned());
    }
    eprintln!("textbook: drawing a new diagram (the first time, this compiles crates/diagram for some minutes)");
    let fail = |error: std::io::Error| format!("the program that draws cannot be started: {error}");
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--package", "diagram", "--profile", "dev", "--", "draw"])
        .current_dir(workspace)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(source.as_bytes()).map_err(fail)?;
    }
    let output = child.wait_with_output().map_err(fail)?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|error| error.to_string());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(words.lines().last().unwrap_or("the diagram cannot be drawn").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_are_not_part_of_the_drawing() {
        let source = "%% alt: A to B.\nflowchart LR\n A-->B\n";
        assert_eq!(alternative(source).as_deref(), Some("A to B."));
        assert_eq!(drawing(source), "flowchart LR\n A-->B");
        assert_eq!(alternative("flowchart LR\n accDescr: Words\n A-->B").as_deref(), Some("Words"));
        assert_eq!(alternative("flowchart LR\n A-->B"), None);
        assert_eq!(alternative("%% alt:\nflowchart LR"), None);
    }
}
